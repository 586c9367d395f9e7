package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/virtual"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// oneReplica is an exec.Cluster of one replica on memory files.
type oneReplica struct {
	store   *storage.Engine
	catalog atomic.Pointer[schema.Catalog]
}

func (n *oneReplica) Catalog() *schema.Catalog { return n.catalog.Load() }
func (n *oneReplica) Timestamp() int64         { return time.Now().UnixMicro() }
func (n *oneReplica) Seconds() int64           { return time.Now().Unix() }

func (n *oneReplica) Topology() virtual.Topology {
	ring := vnodes.NewRing(1, []vnodes.Node{{ID: vnodes.HostID{1}, Address: "127.0.0.1", DC: "dc", Rack: "r", Tokens: []vnodes.Token{0}}})
	node, _ := ring.Node(vnodes.HostID{1})
	return virtual.Topology{ClusterName: "test", ReleaseVersion: "4.0.11", Self: node.ID, Nodes: []virtual.NodeInfo{{Node: node, Up: true}}, Ring: ring}
}

func (n *oneReplica) Write(_ context.Context, r *coordinator.WriteRequest, done func(error)) {
	ms := make([]row.Mutation, len(r.Writes))
	for i := range r.Writes {
		ms[i] = r.Writes[i].Mutation
	}
	n.store.Apply(ms, done)
}

func (n *oneReplica) Read(ctx context.Context, r *coordinator.ReadRequest, done func([]byte, error)) {
	done(n.store.Read(ctx, &r.Spec, nil))
}

func (n *oneReplica) ChangeSchema(_ context.Context, ch *schema.Change) (schema.Target, string, error) {
	old := n.catalog.Load()
	next, target, err := old.Apply(ch, old.Epoch+1)
	if err != nil {
		return target, "", err
	}
	tables := map[row.StorageID]storage.TableKind{}
	for _, k := range next.Keyspaces {
		for _, t := range k.Tables {
			tables[t.Storage] = storage.OnDisk
		}
	}
	n.catalog.Store(next)
	return target, "", n.store.SetTables(tables, next.Highest)
}

// realServer is the door over the real engine.
func realServer(t *testing.T) *Server {
	t.Helper()
	store, err := storage.Open(storage.Options{FS: disk.Crashable(), Dir: "d", Logger: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { t.Errorf("storage stopped: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &oneReplica{store: store}
	n.catalog.Store(schema.Empty())
	return New(Options{Engine: query.NewEngine(n, query.Options{ReleaseVersion: "4.0.11"}), Catalog: n.Catalog, Logger: slog.New(slog.DiscardHandler)})
}

// run wants a 200 and gives its rows.
func run(t *testing.T, s *Server, request string) []map[string]json.RawMessage {
	t.Helper()
	w := do(s, "POST", "/v1/query", request)
	var a struct{ Rows []map[string]json.RawMessage }
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
		t.Fatalf("%s: %d %s", request, w.Code, w.Body)
	}
	return a.Rows
}

// Every type through parser, planner, executor and storage, as a parameter and back.
func TestRealEngineKeepsValuesExactly(t *testing.T) {
	s := realServer(t)
	run(t, s, `{"cql":"CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"}`)
	values := []struct{ typ, value string }{
		{"ascii", `"a"`}, {"bigint", "9007199254740993"}, {"blob", `"0x00ff"`}, {"boolean", "true"},
		{"decimal", `"123456789012345678901234567890.123456789"`}, {"double", `"NaN"`}, {"double", "0.1"}, {"float", `"-Infinity"`}, {"int", "-2147483648"},
		{"uuid", `"6f1a0e0e-3b5c-4f6d-8a2b-0123456789ab"`}, {"text", `"grüße \"x\""`}, {"varint", "123456789012345678901234567890123456789"},
		{"timeuuid", `"50554d6e-29bb-11e5-b345-feff819cdc9f"`}, {"inet", `"2001:db8::1"`}, {"date", `"2013-12-31"`}, {"time", `"13:30:54.234000000"`},
		{"timestamp", `"2013-01-01 10:00:00.123Z"`}, {"smallint", "-32768"}, {"tinyint", "127"}, {"duration", `"1mo2d3h"`},
		{"frozen<list<bigint>>", "[1, 9007199254740993]"}, {"frozen<map<text, int>>", `{"a": 1}`}, {"frozen<set<int>>", "[1, 2]"}, {"tuple<int, text>", `[1, null]`},
		{"frozen<list<decimal>>", `["1.10"]`},
	}
	columns, names, marks, params := "k int PRIMARY KEY", "k", "?", "1"
	for i, v := range values {
		columns += fmt.Sprintf(", c%d %s", i, v.typ)
		names += fmt.Sprintf(", c%d", i)
		marks += ", ?"
		params += ", " + v.value
	}
	run(t, s, `{"keyspace":"ks","cql":"CREATE TABLE t (`+columns+`)"}`)
	run(t, s, `{"keyspace":"ks","cql":"INSERT INTO t (`+names+`) VALUES (`+marks+`)","params":[`+params+`],"consistency":"ONE"}`)
	rows := run(t, s, `{"cql":"SELECT * FROM ks.t WHERE k = :key","params":{"key":1},"consistency":"ONE"}`)
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, v := range values {
		if got := rows[0][fmt.Sprintf("c%d", i)]; !equalJSON(t, got, v.value) {
			t.Errorf("%s: %s came back as %s", v.typ, v.value, got)
		}
	}
}

func TestRealEngineBatchesPagesAndErrors(t *testing.T) {
	s := realServer(t)
	run(t, s, `{"cql":"CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"}`)
	run(t, s, `{"cql":"CREATE TABLE ks.t (p int, c int, v text, PRIMARY KEY (p, c))"}`)
	var sts []string
	for i := range 2500 {
		sts = append(sts, fmt.Sprintf(`{"cql":"INSERT INTO t (p, c, v) VALUES (?, ?, 'x')","params":[%d, %d]}`, i%3, i))
	}
	w := do(s, "POST", "/v1/batch", `{"type":"unlogged","keyspace":"ks","consistency":"ONE","statements":[`+strings.Join(sts, ",")+`]}`)
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	w = do(s, "POST", "/v1/query", `{"cql":"SELECT c FROM ks.t","page_size":100,"consistency":"ONE"}`, "Accept", ndjsonType)
	seen := map[string]bool{}
	for line := range strings.Lines(w.Body.String()) {
		seen[line] = true
	}
	if len(seen) != 2500 || !seen["{\"c\":2499}\n"] {
		t.Errorf("%d different rows of 2500 in the stream", len(seen))
	}
	w = do(s, "POST", "/v1/query", `{"cql":"SELECT c FROM ks.t WHERE p = 1 ORDER BY c DESC","page_size":2,"consistency":"ONE"}`)
	var page struct {
		Rows      []struct{ C int }
		PageState string `json:"page_state"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Rows) != 2 || page.Rows[0].C != 2497 || page.PageState == "" {
		t.Fatal(w.Body, err)
	}
	rows := run(t, s, `{"cql":"SELECT c FROM ks.t WHERE p = 1 ORDER BY c DESC","page_size":2,"consistency":"ONE","page_state":"`+page.PageState+`"}`)
	if len(rows) != 2 || string(rows[0]["c"]) != "2491" {
		t.Errorf("the next page is %s", rows)
	}
	for _, c := range []struct {
		request string
		status  int
		code    wire.ErrorCode
		detail  string // how it begins
	}{
		{`{"cql":"SELEC * FROM ks.t"}`, 400, wire.CodeSyntax, `line 1:0 unexpected "SELEC"`},
		{`{"cql":"SELECT * FROM ks.missing"}`, 400, wire.CodeInvalid, "line 1:14 table ks.missing does not exist"},
		{`{"cql":"SELECT * FROM ks.t WHERE v = ?","params":["x"]}`, 400, wire.CodeInvalid, "line 1:25 Cannot execute this query"},
		{`{"cql":"SELECT * FROM ks.t WHERE p = ?","params":[null]}`, 400, wire.CodeInvalid, "line 1:29 Invalid null value in condition for column p, for marker 1 (column p)"},
		{`{"cql":"CREATE TABLE ks.t (p int PRIMARY KEY)"}`, 409, wire.CodeAlreadyExists, "line 1:13 Cannot add already existing table"},
		{`{"cql":"SELECT * FROM ks.t","page_state":"AAAA"}`, 400, wire.CodeInvalid, "Invalid value for the paging state"},
	} {
		w := do(s, "POST", "/v1/query", c.request)
		if p := problem(t, w, c.status, c.code); !strings.HasPrefix(p.Detail, c.detail) {
			t.Errorf("%s: %q doesn't begin with %q", c.request, p.Detail, c.detail)
		}
	}
}
