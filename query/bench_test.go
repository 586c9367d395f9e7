package query

import (
	"context"
	"testing"

	"nodedb/coordinator"
	"nodedb/node/row"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// nullCluster answers writes at once and every read with one page: what is left is the engine's own cost.
type nullCluster struct {
	*oneNode
	page []byte
}

func (n *nullCluster) Write(_ context.Context, _ *coordinator.WriteRequest, done func(error)) {
	done(nil)
}

func (n *nullCluster) Read(_ context.Context, _ *coordinator.ReadRequest, done func([]byte, error)) {
	done(n.page, nil)
}

// nullEngine has ks.t (k bigint, c int, five texts of 20 bytes) and answers reads with rows rows of partition 1.
func nullEngine(b *testing.B, rows int) (*Engine, *Session) {
	n := &nullCluster{oneNode: newOneNode(b)}
	e, s := NewEngine(n, Options{}), &Session{}
	must(b, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k bigint, c int, v1 text, v2 text, v3 text, v4 text, v5 text, PRIMARY KEY (k, c))")
	t, _ := n.Catalog().Table("ks", "t")
	key := types.AppendInt64(nil, 1)
	var w row.PageWriter
	w.Reset(nil)
	w.Partition(vnodes.PartitionToken(key), key, nil)
	for c := range rows {
		var rb row.Builder
		for id := range row.ColumnID(6) {
			cell := row.Cell{Column: id, Timestamp: 1}
			if id != row.Marker {
				cell.Value = []byte("twenty bytes of text")
			}
			rb.Add(cell)
		}
		ck, err := t.AppendClustering(nil, [][]byte{types.AppendInt32(nil, int32(c))})
		if err != nil {
			b.Fatal(err)
		}
		w.Row(ck, rb.Append(nil))
	}
	n.page = w.Finish(nil)
	return e, s
}

func prepare(b *testing.B, e *Engine, s *Session, text string) [16]byte {
	p, err := e.Prepare(context.Background(), s, text, "")
	if err != nil {
		b.Fatal(err)
	}
	return p.ID
}

func run(b *testing.B, e *Engine, s *Session, id [16]byte, rows int, values ...[]byte) {
	p := testParams()
	p.Values, p.PageSize = values, 5000
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		res, err := e.Execute(ctx, s, id, p)
		if err != nil || res.RowCount != rows {
			b.Fatal(res, err)
		}
	}
	if rows > 1 {
		b.ReportMetric(float64(b.N)*float64(rows)/b.Elapsed().Seconds(), "rows/s")
	}
}

func BenchmarkInsert(b *testing.B) {
	e, s := nullEngine(b, 1)
	id := prepare(b, e, s, "INSERT INTO t (k, c, v1, v2, v3, v4, v5) VALUES (?, ?, ?, ?, ?, ?, ?)")
	v := []byte("twenty bytes of text")
	run(b, e, s, id, 0, types.AppendInt64(nil, 1), types.AppendInt32(nil, 1), v, v, v, v, v)
}

func BenchmarkPointSelect(b *testing.B) {
	e, s := nullEngine(b, 1)
	run(b, e, s, prepare(b, e, s, "SELECT * FROM t WHERE k = ? AND c = ?"), 1, types.AppendInt64(nil, 1), types.AppendInt32(nil, 0))
}

func BenchmarkSelectThousandRows(b *testing.B) {
	e, s := nullEngine(b, 1000)
	run(b, e, s, prepare(b, e, s, "SELECT c, v1, v2 FROM t WHERE k = ?"), 1000, types.AppendInt64(nil, 1))
}

func BenchmarkCountThousandRows(b *testing.B) {
	e, s := nullEngine(b, 1000)
	run(b, e, s, prepare(b, e, s, "SELECT count(*) FROM t WHERE k = ?"), 1, types.AppendInt64(nil, 1))
}

func BenchmarkGroupThousandRows(b *testing.B) {
	e, s := nullEngine(b, 1000)
	run(b, e, s, prepare(b, e, s, "SELECT k, c, count(*), max(v1) FROM t WHERE k = ? GROUP BY k, c"), 1000, types.AppendInt64(nil, 1))
}

func BenchmarkParseAndPlan(b *testing.B) {
	e, s := nullEngine(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Query(context.Background(), s, "SELECT * FROM t WHERE k = 1 AND c = 0", testParams()); err != nil {
			b.Fatal(err)
		}
	}
}
