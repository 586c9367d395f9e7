package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"nodedb/coordinator"
	"nodedb/node/storage"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// laterNode answers each read from a goroutine of its own, as a coordinator does. It counts those of a part of the tokens.
type laterNode struct {
	*oneNode
	parts *atomic.Int64
}

func (n laterNode) Read(ctx context.Context, r *coordinator.ReadRequest, done func([]byte, error)) {
	if r.Spec.Range.End != vnodes.MaxToken {
		n.parts.Add(1)
	}
	go n.oneNode.Read(ctx, r, done)
}

// TestReadAhead: aggregates over a table of many pages give the same read ahead by several and read page after page, whatever the client's pages are; and
// they are read ahead.
func TestReadAhead(t *testing.T) {
	n := newOneNode(t)
	parts := new(atomic.Int64)
	e, s := NewEngine(laterNode{n, parts}, Options{}), &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k int, c int, s int static, v int, PRIMARY KEY (k, c))")
	const partitions, rows = 120, 5
	total := 0
	for k := range partitions {
		if k%10 == 0 {
			must(t, e, s, fmt.Sprintf("INSERT INTO t (k, s) VALUES (%d, %d)", k, k))
		}
		for c := range k % rows {
			must(t, e, s, fmt.Sprintf("INSERT INTO t (k, c, v) VALUES (%d, %d, %d)", k, c, k+c))
			total++
		}
	}
	for c := range 300 { // one partition that spans many pages
		must(t, e, s, fmt.Sprintf("INSERT INTO t (k, c, v) VALUES (7, %d, 1)", 100+c))
		total++
	}
	answers := func(cores, page int, cql string) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		run := func(text string, p *Params) (*Result, error) { return e.Query(context.Background(), s, text, p) }
		return strings.Join(ask(t, run, cql, page), "\n")
	}
	n.mu.workLimit = 9
	for _, cql := range []string{
		"SELECT count(*) FROM t", "SELECT k, s, count(*) FROM t GROUP BY k", "SELECT k, c, sum(v) FROM t GROUP BY k, c", "SELECT sum(v), max(k), avg(v) FROM t",
		"SELECT k, count(*) FROM t WHERE token(k) > 0 GROUP BY k", "SELECT k, count(*) FROM t GROUP BY k LIMIT 7",
	} {
		for _, page := range []int{0, 1, 13, 1000} {
			parts.Store(0)
			one := answers(1, page, cql)
			if parts.Load() > 0 {
				t.Errorf("%s: one core reads ahead", cql)
			}
			if many := answers(4, page, cql); many != one {
				t.Errorf("%s in pages of %d: read ahead\n%s\none after the other\n%s", cql, page, many, one)
			}
			if page == 0 && parts.Load() == 0 {
				t.Errorf("%s: four cores don't read ahead", cql)
			}
		}
	}
	statics := 0
	for k := 0; k < partitions; k += 10 { // those whose partition has no rows are rows themselves
		if k%rows == 0 {
			statics++
		}
	}
	res, err := e.Query(context.Background(), s, "SELECT count(*) FROM t", testParams())
	if err != nil || types.Int64(res.Rows[4:]) != int64(total+statics) {
		t.Errorf("%v, %x; want %d", err, res.Rows, total+statics)
	}
	n.setFailure(errors.New("no disk"))
	defer n.setFailure(nil)
	if _, err := e.Query(context.Background(), s, "SELECT count(*) FROM t", testParams()); err == nil {
		t.Error("no error")
	}
}

// countingNode notes which reads asked for counts.
type countingNode struct {
	*oneNode
	specs []storage.ReadSpec
}

func (n *countingNode) Read(ctx context.Context, r *coordinator.ReadRequest, done func([]byte, error)) {
	n.specs = append(n.specs, r.Spec)
	n.oneNode.Read(ctx, r, done)
}

// TestCounts: statements that ask for nothing but the number of rows have them counted where they lie, all others read them.
func TestCounts(t *testing.T) {
	n := &countingNode{oneNode: newOneNode(t)}
	e, s := NewEngine(n, Options{}), &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k int, j int, c int, s int static, v int, PRIMARY KEY ((k, j), c))", "INSERT INTO t (k, j, c, s, v) VALUES (1, 2, 3, 4, 5)",
		"INSERT INTO t (k, j, c, v) VALUES (1, 2, 4, 5)", "CREATE TABLE dropped (k int PRIMARY KEY, v int, w int)", "INSERT INTO dropped (k, v) VALUES (1, 1)",
		"ALTER TABLE dropped DROP v")
	for cql, want := range map[string]bool{
		"SELECT count(*) FROM t": true, "SELECT count(1), k + j, s FROM t GROUP BY k, j": true, "SELECT count(*) FROM t WHERE k = 1 AND j = 2 AND c > 3": true,
		"SELECT s FROM t WHERE k = 1 AND j = 2 GROUP BY k, j": true, "SELECT token(k, j), count(*) FROM t GROUP BY k, j": true,
		"SELECT count(v) FROM t": false, "SELECT count(*), v FROM t": false, "SELECT count(*), max(c) FROM t": false, "SELECT count(*) FROM t GROUP BY k, j, c": false,
		"SELECT count(*) FROM t WHERE v = 5 ALLOW FILTERING": false, "SELECT * FROM t": false, "SELECT count(*) FROM dropped": false,
		"SELECT count(*) FROM t GROUP BY k, j PER PARTITION LIMIT 1": false, "SELECT DISTINCT k, j FROM t": false,
		"SELECT k, count(*) FROM t WHERE k IN (1, 2) AND j = 2 GROUP BY k, j ORDER BY c": false,
	} {
		n.specs = nil
		if _, err := e.Query(context.Background(), s, cql, testParams()); err != nil {
			t.Errorf("%s: %v", cql, err)
			continue
		}
		if counts := slices.ContainsFunc(n.specs, func(s storage.ReadSpec) bool { return s.Count }); counts != want {
			t.Errorf("%s: counts %v", cql, counts)
		}
	}
}

// TestPicks: statements that ask for nothing but regular columns have those picked where the rows lie, all others read rows.
func TestPicks(t *testing.T) {
	n := &countingNode{oneNode: newOneNode(t)}
	e, s := NewEngine(n, Options{}), &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k int, c int, s int static, v int, w int, l list<int>, PRIMARY KEY (k, c))", "INSERT INTO t (k, c, s, v) VALUES (1, 3, 4, 5)",
		"CREATE TABLE dropped (k int PRIMARY KEY, v int, w int)", "ALTER TABLE dropped DROP v")
	for cql, want := range map[string]bool{
		"SELECT v FROM t": true, "SELECT w, v, l FROM t WHERE k = 1 AND c > 2 LIMIT 3": true, "SELECT v FROM t WHERE k IN (1, 2)": true,
		"SELECT * FROM t": false, "SELECT k, v FROM t": false, "SELECT s, v FROM t": false, "SELECT c FROM t": false, "SELECT v + 1 FROM t": false,
		"SELECT JSON v FROM t": false, "SELECT writetime(v) FROM t": false, "SELECT v FROM t PER PARTITION LIMIT 1": false, "SELECT sum(v) FROM t": false,
		"SELECT v FROM t WHERE v = 5 ALLOW FILTERING": false, "SELECT w FROM dropped": false, "SELECT v FROM t WHERE k IN (1, 2) ORDER BY c": false,
	} {
		n.specs = nil
		if _, err := e.Query(context.Background(), s, cql, testParams()); err != nil {
			t.Errorf("%s: %v", cql, err)
			continue
		}
		if picks := slices.ContainsFunc(n.specs, func(s storage.ReadSpec) bool { return len(s.Columns) > 0 }); picks != want {
			t.Errorf("%s: picks %v", cql, picks)
		}
	}
}
