package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/metrics"
	"nodedb/node/row"
	"nodedb/vnodes"
)

const (
	testTable   = row.StorageID(7)
	memoryTable = row.StorageID(8)
	testNow     = int64(1_000_000)
)

// everything is all tokens.
var everything = vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}

// fatals records calls of Options.Fatal.
type fatals struct {
	count atomic.Int32
	first atomic.Pointer[error]
}

func (f *fatals) call(err error) {
	f.count.Add(1)
	f.first.CompareAndSwap(nil, &err)
}

// openTest opens an engine with the two test tables on a crashable file system; Fatal fails the test.
func openTest(tb testing.TB, fs disk.FS, change ...func(*Options)) *Engine {
	tb.Helper()
	o := Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(err error) { tb.Errorf("fatal: %v", err) }}
	for _, c := range change {
		c(&o)
	}
	e, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	check(tb, e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk, memoryTable: InMemory}, 10))
	return e
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// tokenOf gives keys few tokens, so that several share one.
func tokenOf(key []byte) vnodes.Token {
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return vnodes.Token(h%16)*1e18 - 8e18
}

// apply writes and waits.
func apply(tb testing.TB, e *Engine, ms ...row.Mutation) {
	tb.Helper()
	check(tb, applyErr(e, ms...))
}

func applyErr(e *Engine, ms ...row.Mutation) error {
	done := make(chan error, 1)
	e.Apply(ms, func(err error) { done <- err })
	return <-done
}

// insert is a mutation that writes one row with a marker and one cell.
func insert(id row.StorageID, key, clustering string, ts int64, value string) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: row.Marker, Timestamp: ts})
	b.Add(row.Cell{Column: 1, Timestamp: ts, Value: []byte(value)})
	return rowMutation(id, key, clustering, b.Append(nil))
}

func rowMutation(id row.StorageID, key, clustering string, fragment []byte) row.Mutation {
	return row.Mutation{Storage: id, Token: tokenOf([]byte(key)), Key: []byte(key),
		Rows: []row.Entry{{Clustering: []byte(clustering), Fragment: fragment}}}
}

func headerMutation(id row.StorageID, key string, h row.Header) row.Mutation {
	return row.Mutation{Storage: id, Token: tokenOf([]byte(key)), Key: []byte(key), Header: h.Append(nil)}
}

// readRow is one row of a page; header is that of its partition.
type readRow struct {
	key, clustering string
	header, row     string
}

// readAll reads pages until the end and gives header lines (clustering "") and rows.
func readAll(tb testing.TB, e *Engine, spec ReadSpec) (rows []readRow) {
	tb.Helper()
	for range 100_000 {
		page, err := e.Read(context.Background(), &spec, nil)
		check(tb, err)
		got, stop := parsePage(tb, page)
		rows = append(rows, got...)
		if stop == nil {
			return rows
		}
		spec.After = stop
	}
	tb.Fatal("the pages don't end")
	return nil
}

func parsePage(tb testing.TB, page []byte) (rows []readRow, stop *row.Position) {
	tb.Helper()
	check(tb, row.CheckPage(page))
	var r row.PageReader
	r.Reset(page)
	for {
		event, err := r.Next()
		check(tb, err)
		switch event {
		case row.PageEnd:
			return rows, r.Stop()
		case row.PagePartition:
			rows = append(rows, readRow{key: string(r.Key), header: string(r.HeaderBytes)})
		case row.PageRow:
			rows = append(rows, readRow{key: string(r.Key), clustering: string(r.Clustering), row: string(r.Row)})
		}
	}
}

// values gives key/clustering=value of the live rows.
func values(rows []readRow) (out []string) {
	for _, r := range rows {
		if v := row.View(r.row); v.LiveAt(testNow) {
			c, _ := v.Find(1)
			out = append(out, fmt.Sprintf("%s/%s=%s", r.key, r.clustering, c.Value))
		}
	}
	return out
}

func partition(id row.StorageID, key string) ReadSpec {
	return ReadSpec{Storage: id, Token: tokenOf([]byte(key)), Key: []byte(key), Now: testNow}
}

func uint32Key(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

// scrape gives the /metrics page.
func scrape(t *testing.T, r *metrics.Registry) string {
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// tokenRangeOf is the range of one partition's token.
func tokenRangeOf(key string) vnodes.Range {
	token := tokenOf([]byte(key))
	return vnodes.Range{Start: token - 1, End: token}
}

// reportRow says the figures of a row of FAULTS.md in the line that .ci/campaign gathers: row, test, figures, verdict.
func reportRow(t *testing.T, row int, format string, args ...any) {
	t.Helper()
	verdict := "ok"
	if t.Failed() {
		verdict = "FAILED"
	}
	t.Logf("row %d: storage/%s: %s: %s", row, t.Name(), fmt.Sprintf(format, args...), verdict)
}
