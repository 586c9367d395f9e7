package query

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nodedb/query/cql"
	"nodedb/query/wire"
)

// fuzzTables are what hostile statements find: every kind of column, and keys of more than one.
const fuzzTables = `CREATE TYPE ks.u (a int, b frozen<list<text>>);
CREATE TABLE ks.t (k int, c text, d timestamp, s text static, i int, b blob, f double, id uuid, vi varint, de decimal, ip inet, ti time, du duration, l list<int>,
	st set<text>, m map<text, int>, fm frozen<map<int, frozen<list<text>>>>, tu tuple<int, text>, u u, fu frozen<u>, ve vector<float, 3>,
	PRIMARY KEY (k, c, d)) WITH CLUSTERING ORDER BY (c DESC, d ASC);
CREATE TABLE ks.p (a int, b uuid, v text, PRIMARY KEY ((a, b)))`

// fuzzSeeds are the statements of testdata/query, the wrong ones included, and some about fuzzTables.
func fuzzSeeds(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/query/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	seeds := []string{
		"INSERT INTO t (k, c, d, i, l, m) VALUES (?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?",
		"UPDATE t SET l = l + ?, m['a'] = ?, u.a = ?, st = st - ?, l[?] = 1 WHERE k = ? AND c = ? AND d = ?",
		"DELETE l[?], m['a'], s FROM t WHERE k IN ? AND (c, d) > (?, ?)",
		"SELECT k, count(*), max(i), avg(f), sum(vi) FROM t WHERE (c, d) IN ? AND k = ? GROUP BY k, c ORDER BY c LIMIT ? ALLOW FILTERING",
		"SELECT JSON *, TTL(i), WRITETIME(l), CAST(f AS text), u.a, m['a'], l[0], tu, i + vi * ? FROM t WHERE token(k) > ? PER PARTITION LIMIT 2",
		"SELECT similarity_cosine(ve, [1, 2, 3]), toDate(d), blobAsInt(b) FROM t WHERE m CONTAINS KEY ? AND st CONTAINS ? ALLOW FILTERING",
		"INSERT INTO p JSON ? DEFAULT UNSET", "BEGIN UNLOGGED BATCH UPDATE p SET v = ? WHERE a = ? AND b = ?; DELETE FROM p WHERE a = 1 AND b = ? APPLY BATCH",
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(raw), "\n") {
			if len(line) > 10 {
				seeds = append(seeds, line)
			}
		}
	}
	return seeds
}

// FuzzStatement runs hostile statements with hostile values on a real engine and storage: each is answered, by rows or by an error with a code. What changes
// the schema is prepared only, so that the tables stay.
func FuzzStatement(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s, []byte{})
		f.Add(s, []byte("\x04\x00\x00\x00\x01\x01a\x08\x00\x00\x00\x00\x00\x00\x00\x01\x04\x00\x00\x00\x02\x08\x00\x00\x00\x01\x00\x00\x00\x04"))
	}
	e, _ := testEngine(f)
	s := &Session{}
	must(f, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks")
	must(f, e, s, strings.Split(fuzzTables, ";\n")...)
	f.Fuzz(func(t *testing.T, text string, values []byte) {
		p := testParams()
		p.Values, p.PageSize = splitValues(values), 10
		prepared, err := e.Prepare(t.Context(), s, text, "")
		if err == nil && !changesSchema(text) {
			var res *Result
			if res, err = e.Execute(t.Context(), s, prepared.ID, p); err == nil && res.PageState != nil {
				p.PageState = res.PageState
				_, err = e.Execute(t.Context(), s, prepared.ID, p)
			}
		}
		var coded *wire.Error
		if err != nil && !errors.As(err, &coded) {
			t.Fatalf("%q with %x: an error without a code: %v", text, values, err)
		}
	})
}

// splitValues reads values, each behind a byte that is its length; 255: null.
func splitValues(b []byte) (values [][]byte) {
	for len(b) > 0 && len(values) < 100 {
		n := int(b[0])
		b = b[1:]
		if n == 255 {
			values = append(values, nil)
			continue
		}
		n = min(n, len(b))
		values = append(values, b[:n:n])
		b = b[n:]
	}
	return values
}

func changesSchema(text string) bool {
	parsed, err := cql.Parse(text)
	if err != nil {
		return true
	}
	switch parsed.Statement.(type) {
	case *cql.Select, *cql.Insert, *cql.Update, *cql.Delete, *cql.Batch:
		return false
	}
	return true
}
