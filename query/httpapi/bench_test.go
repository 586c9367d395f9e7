package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nodedb/query"
)

// discard is a client that takes everything.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) Flush()                      {}

// BenchmarkStream measures a row of three columns, from the engine's bytes to NDJSON.
func BenchmarkStream(b *testing.B) {
	columns := []query.ColumnSpec{column(b, "id", "bigint"), column(b, "name", "text"), column(b, "at", "timestamp")}
	row := []string{"9007199254740993", `"a name of some length"`, `"2013-01-01 10:00:00Z"`}
	rows := make([][]string, 1000)
	for i := range rows {
		rows[i] = row
	}
	page := result(b, columns, rows...)
	left := b.N
	f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(*query.Session, *query.Params) (*query.Result, error) {
		r := *page
		if left -= len(rows); left > 0 {
			r.PageState = []byte{1}
		}
		return &r, nil
	}}}
	s := newServer(b, f, nil)
	r := httptest.NewRequest("POST", "/v1/query", strings.NewReader(`{"cql":"S"}`))
	r.Header.Set("Accept", ndjsonType)
	b.ReportAllocs()
	b.ResetTimer()
	s.Handler().ServeHTTP(&discard{http.Header{}}, r)
}
