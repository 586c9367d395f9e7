package query

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/types"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// Rows of BenchmarkScan: 100 bytes of values each.
const (
	scanPartitions = 300
	scanRows       = 1000 // of a partition
	scanColumns    = 5    // of 20 bytes
)

// scanEngine has ks.t (k bigint, c int, five texts of 20 bytes) in tables on disk, as a node that was stopped and started has.
func scanEngine(b *testing.B) (*Engine, *Session) {
	n := newOneNode(b)
	e, s := NewEngine(n, Options{}), &Session{}
	must(b, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k bigint, c int, v1 text, v2 text, v3 text, v4 text, v5 text, PRIMARY KEY (k, c))")
	t, _ := n.Catalog().Table("ks", "t")
	fs := disk.Crashable()
	open := func() *storage.Engine {
		store, err := storage.Open(storage.Options{FS: fs, Dir: "scan", Sync: storage.SyncPeriodic, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			b.Fatal(err)
		}
		if err := store.SetTables(map[row.StorageID]storage.TableKind{t.Storage: storage.OnDisk}, t.Storage); err != nil {
			b.Fatal(err)
		}
		return store
	}
	store := open()
	done := make(chan error, scanPartitions)
	for k := range scanPartitions {
		key := types.AppendInt64(nil, int64(k))
		m := row.Mutation{Storage: t.Storage, Token: vnodes.PartitionToken(key), Key: key}
		for c := range scanRows {
			var rb row.Builder
			for id := range row.ColumnID(scanColumns + 1) {
				cell := row.Cell{Column: id, Timestamp: int64(k*scanRows + c + 1)}
				if id != row.Marker {
					cell.Value = fmt.Appendf(nil, "%08d twenty  %03d", k*scanRows+c, id)
				}
				rb.Add(cell)
			}
			ck, err := t.AppendClustering(nil, [][]byte{types.AppendInt32(nil, int32(c))})
			if err != nil {
				b.Fatal(err)
			}
			m.Rows = append(m.Rows, row.Entry{Clustering: ck, Fragment: rb.Append(nil)})
		}
		store.Apply([]row.Mutation{m}, func(err error) { done <- err })
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	n.store = open()
	b.Cleanup(func() {
		if err := n.store.Close(); err != nil {
			b.Error(err)
		}
	})
	return e, s
}

// cpuTime is what the process has used, the collector included: on a busy machine it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScan runs queries over all rows, from storage to the frame that goes to the client: CPU time a row.
func BenchmarkScan(b *testing.B) {
	e, s := scanEngine(b)
	for _, q := range []struct {
		cql  string
		rows int // of the result, in all
	}{
		{"SELECT count(*) FROM t", 1}, {"SELECT k, count(*) FROM t GROUP BY k", scanPartitions}, {"SELECT k, sum(c) FROM t GROUP BY k", scanPartitions},
		{"SELECT c, v3 FROM t", scanPartitions * scanRows}, {"SELECT * FROM t", scanPartitions * scanRows},
	} {
		b.Run(q.cql, func(b *testing.B) {
			id := prepare(b, e, s, q.cql)
			p := testParams()
			p.PageSize = 5000
			var frame []byte
			b.ReportAllocs()
			used := cpuTime()
			for b.Loop() {
				rows := 0
				for p.PageState = nil; ; {
					res, err := e.Execute(context.Background(), s, id, p)
					if err != nil {
						b.Fatal(err)
					}
					rows += res.RowCount
					frame = wire.EncodeMetadata(nil).AppendRows(frame[:0], wire.RowsOptions{PageState: res.PageState, Skip: true}, res.RowCount, res.Rows)
					if p.PageState = res.PageState; p.PageState == nil {
						break
					}
				}
				if rows != q.rows {
					b.Fatal(rows)
				}
			}
			b.ReportMetric(float64(cpuTime()-used)/float64(b.N)/(scanPartitions*scanRows), "cpu-ns/row")
		})
	}
}
