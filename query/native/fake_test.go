package native

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/virtual"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// fakeEngine answers by functions; what is nil answers VOID.
type fakeEngine struct {
	query   func(ctx context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error)
	prepare func(cql, keyspace string) (*query.Prepared, error)
	execute func(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error)
	batch   func(kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error)
}

var void = &query.Result{Kind: query.ResultVoid}

func (f *fakeEngine) Query(ctx context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error) {
	if f.query == nil {
		return void, nil
	}
	return f.query(ctx, s, cql, p)
}

func (f *fakeEngine) Prepare(_ context.Context, _ *query.Session, cql, keyspace string) (*query.Prepared, error) {
	if f.prepare == nil {
		return &query.Prepared{ID: [16]byte{1}}, nil
	}
	return f.prepare(cql, keyspace)
}

func (f *fakeEngine) Execute(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error) {
	if f.execute == nil {
		return void, nil
	}
	return f.execute(ctx, s, id, p)
}

func (f *fakeEngine) Batch(_ context.Context, _ *query.Session, kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error) {
	if f.batch == nil {
		return void, nil
	}
	return f.batch(kind, sts, p)
}

// startingEngine begins every EXECUTE at once and hands its end to a goroutine of its own.
type startingEngine struct {
	fakeEngine
	ends    chan func()
	decline func(id [16]byte) bool
}

func newStartingEngine(t testing.TB) *startingEngine {
	e := &startingEngine{ends: make(chan func(), 1<<16)}
	var owned sync.WaitGroup
	owned.Go(func() {
		for end := range e.ends {
			end()
		}
	})
	t.Cleanup(func() { close(e.ends); owned.Wait() })
	return e
}

func (e *startingEngine) Start(ctx context.Context, s *query.Session, id [16]byte, p *query.Params, done func(*query.Result, error)) bool {
	if e.decline != nil && e.decline(id) {
		return false
	}
	copied := *p
	copied.Values = append([][]byte(nil), p.Values...)
	session := *s
	e.ends <- func() { done(e.Execute(ctx, &session, id, &copied)) }
	return true
}

// start serves an engine on a port of its own until the test ends.
func start(t testing.TB, o Options) (*Server, string) {
	return startOn(t, o, "127.0.0.1:0")
}

func startOn(t testing.TB, o Options, address string) (*Server, string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := s.Serve(l); err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		owned.Wait()
	})
	return s, l.Addr().String()
}

func dial(t testing.TB, addr string, o wire.ClientOptions) *wire.Client {
	c, err := wire.Dial(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var oneColumn = []query.ColumnSpec{{Keyspace: "k", Table: "t", Name: "c", Type: types.VarcharType}}

// oneRow is a result of one text.
func oneRow(s string) *query.Result {
	return &query.Result{Kind: query.ResultRows, Columns: oneColumn, Rows: wire.AppendBytes(nil, []byte(s)), RowCount: 1}
}

// systemEngine answers what drivers ask at connect, by package virtual, and a table of one column.
type systemEngine struct {
	fakeEngine
	source systemSource
	mu     sync.Mutex
	stored map[string]string // the key-value table
	ids    map[[16]byte]string
}

type systemSource struct{ top virtual.Topology }

func (s *systemSource) Catalog() *schema.Catalog   { return schema.Empty() }
func (s *systemSource) Topology() virtual.Topology { return s.top }

func newSystemEngine(address string) *systemEngine {
	node := vnodes.Node{ID: vnodes.HostID{15: 1}, Address: address, DC: "datacenter1", Rack: "rack1", Tokens: []vnodes.Token{0}}
	e := &systemEngine{stored: make(map[string]string), ids: make(map[[16]byte]string)}
	e.source.top = virtual.Topology{
		ClusterName: "test", ReleaseVersion: "4.0.11", Self: node.ID, Nodes: []virtual.NodeInfo{{Node: &node, Up: true}},
		Ring: vnodes.NewRing(1, []vnodes.Node{node}), NativePort: 9042,
	}
	e.query = e.answer
	e.prepare = e.prepareAny
	e.execute = func(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error) {
		e.mu.Lock()
		cql, ok := e.ids[id]
		e.mu.Unlock()
		if !ok {
			return nil, &wire.Error{Code: wire.CodeUnprepared, Message: "unknown prepared statement", ID: id}
		}
		return e.answer(ctx, s, cql, p)
	}
	return e
}

// prepareAny knows an id by the text's first bytes and its length.
func (e *systemEngine) prepareAny(cql, _ string) (*query.Prepared, error) {
	p := &query.Prepared{ID: [16]byte{byte(len(cql)), byte(len(cql) >> 8)}}
	copy(p.ID[2:], cql[strings.LastIndex(cql, ".")+1:])
	e.mu.Lock()
	e.ids[p.ID] = cql
	e.mu.Unlock()
	if strings.HasPrefix(cql, "SELECT v ") {
		p.Columns = oneColumn
	}
	for range strings.Count(cql, "?") {
		p.Markers = append(p.Markers, query.ColumnSpec{Keyspace: "k", Table: "t", Name: "m", Type: types.VarcharType})
	}
	if strings.Contains(cql, " system") {
		res, err := e.system(cql)
		if err != nil {
			return nil, err
		}
		p.Columns = res.Columns
	}
	return p, nil
}

func (e *systemEngine) answer(_ context.Context, _ *query.Session, cql string, p *query.Params) (*query.Result, error) {
	switch {
	case strings.Contains(cql, " system"):
		return e.system(cql)
	case strings.HasPrefix(cql, "USE "):
		return &query.Result{Kind: query.ResultSetKeyspace, Keyspace: strings.Trim(cql[4:], `" `)}, nil
	case strings.HasPrefix(cql, "INSERT"):
		e.mu.Lock()
		defer e.mu.Unlock()
		e.stored[string(p.Values[0])] = string(p.Values[1])
		return void, nil
	case strings.HasPrefix(cql, "SELECT v "):
		e.mu.Lock()
		defer e.mu.Unlock()
		res := oneRow(e.stored[string(p.Values[0])])
		res.Columns = oneColumn
		return res, nil
	}
	return nil, wire.Errorf(wire.CodeSyntax, "line 1: the fake engine doesn't know: %s", cql)
}

// system answers SELECT … FROM system….… by whole rows.
func (e *systemEngine) system(cql string) (*query.Result, error) {
	_, from, ok := strings.Cut(cql, " FROM ")
	if !ok {
		_, from, ok = strings.Cut(cql, " from ")
	}
	keyspace, name, _ := strings.Cut(strings.Fields(from)[0], ".")
	k := virtual.Keyspaces()[keyspace]
	if !ok || k == nil || k.Tables[name] == nil {
		return nil, wire.Errorf(wire.CodeInvalid, "table %s does not exist", from)
	}
	table := k.Tables[name]
	res := &query.Result{Kind: query.ResultRows}
	var pick []int
	selected := strings.TrimSpace(cql[len("SELECT "):strings.Index(strings.ToUpper(cql), " FROM ")])
	for i, c := range table.Columns {
		if selected != "*" && !strings.Contains(","+strings.ReplaceAll(selected, " ", "")+",", ","+c.Name+",") {
			continue
		}
		pick = append(pick, i)
		res.Columns = append(res.Columns, query.ColumnSpec{Keyspace: keyspace, Table: name, Name: c.Name, Type: c.Type})
	}
	err := virtual.Rows(table, &e.source, func(values [][]byte) error {
		for _, i := range pick {
			res.Rows = wire.AppendBytes(res.Rows, values[i])
		}
		res.RowCount++
		return nil
	})
	return res, err
}
