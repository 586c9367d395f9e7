package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// must runs statements that have to succeed.
func must(t testing.TB, e *Engine, s *Session, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := e.Query(context.Background(), s, text, testParams()); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func smallTable(t testing.TB) (*Engine, *oneNode, *Session) {
	t.Helper()
	e, n := testEngine(t)
	s := &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks",
		"CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))")
	return e, n, s
}

func code(t *testing.T, err error) wire.ErrorCode {
	t.Helper()
	var we *wire.Error
	if !errors.As(err, &we) {
		t.Fatalf("%v is no *wire.Error", err)
	}
	return we.Code
}

func int32Bytes(v int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

func TestPreparedFollowsItsTable(t *testing.T) {
	e, _, s := smallTable(t)
	ctx := context.Background()
	p, err := e.Prepare(ctx, s, "SELECT * FROM t WHERE k = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Markers) != 1 || p.Markers[0].Name != "k" || len(p.PartitionKey) != 1 || p.PartitionKey[0] != 0 || len(p.Columns) != 3 {
		t.Fatalf("%+v", p)
	}
	must(t, e, s, "INSERT INTO t (k, c, v) VALUES (1, 1, 'a')")
	params := testParams()
	params.Values = [][]byte{int32Bytes(1)}
	columns := func(want int) {
		t.Helper()
		res, err := e.Execute(ctx, s, p.ID, params)
		if err != nil || len(res.Columns) != want || res.RowCount != 1 {
			t.Fatalf("%+v, %v; want %d columns", res, err, want)
		}
	}
	columns(3)
	must(t, e, s, "CREATE TABLE other (k int PRIMARY KEY)")
	columns(3)
	must(t, e, s, "ALTER TABLE t ADD w int")
	columns(4)
	now, err := e.Describe(p.ID)
	if err != nil || now.ResultID == p.ResultID || now.ID != p.ID {
		t.Errorf("described as %+v, %v: the result's metadata changed", now, err)
	}
	must(t, e, s, "DROP TABLE t")
	if _, err := e.Execute(ctx, s, p.ID, params); code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
	must(t, e, s, "CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t (k) VALUES (1)")
	columns(1)
	unknown := p.ID
	unknown[0]++
	_, err = e.Execute(ctx, s, unknown, params)
	var we *wire.Error
	if !errors.As(err, &we) || we.Code != wire.CodeUnprepared || we.ID != unknown {
		t.Errorf("%+v", err)
	}
}

func TestStatementIDsDependOnTheKeyspace(t *testing.T) {
	e, _, s := smallTable(t)
	ctx := context.Background()
	must(t, e, s, "CREATE KEYSPACE other WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "CREATE TABLE other.t (k int PRIMARY KEY)")
	a, err := e.Prepare(ctx, s, "SELECT * FROM t", "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Prepare(ctx, s, "SELECT * FROM t", "other")
	if err != nil || a.ID == b.ID || len(a.Columns) == len(b.Columns) {
		t.Errorf("%x and %x, %v", a.ID, b.ID, err)
	}
	if s.Keyspace != "ks" {
		t.Errorf("session in %q", s.Keyspace)
	}
}

func TestPreparedStatementsAreBounded(t *testing.T) {
	n := newOneNode(t)
	e := NewEngine(n, Options{MaxPrepared: 32})
	s := &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks", "CREATE TABLE t (k int PRIMARY KEY)")
	ctx := context.Background()
	first, err := e.Prepare(ctx, s, "SELECT k FROM t", "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := e.Prepare(ctx, s, fmt.Sprintf("SELECT k AS k%d FROM t", i), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Execute(ctx, s, first.ID, testParams()); err != nil {
			t.Fatalf("after %d others the one in use is gone: %v", i, err)
		}
		if e.prepared.len() > 32 {
			t.Fatalf("%d statements kept", e.prepared.len())
		}
	}
}

// TestPreparedStatementsCostABound: large ones make way for each other however few they are, and one that alone is over the limit is refused.
func TestPreparedStatementsCostABound(t *testing.T) {
	n := newOneNode(t)
	const limit = 1 << 20
	e := NewEngine(n, Options{MaxPreparedCost: limit})
	s := &Session{}
	must(t, e, s, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE ks", "CREATE TABLE t (k int PRIMARY KEY)")
	for i := range 200 {
		text := fmt.Sprintf("SELECT k AS k%d FROM t /* %s */", i, strings.Repeat("x", i*50))
		for range 2 { // the second replaces the first, and counts once
			p, err := e.Prepare(t.Context(), s, text, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Execute(t.Context(), s, p.ID, testParams()); err != nil {
				t.Fatalf("the newest is gone: %v", err)
			}
		}
		sum := int64(0)
		for _, st := range e.prepared.mu.statements {
			sum += costOf(len(st.text))
		}
		if sum > limit || sum != e.prepared.mu.bytes {
			t.Fatalf("%d statements that cost %d, counted as %d", e.prepared.len(), sum, e.prepared.mu.bytes)
		}
	}
	if n := e.prepared.len(); n < 1 || n > 3 {
		t.Errorf("%d statements of 10 kB are kept", n)
	}
	_, err := e.Prepare(t.Context(), s, "SELECT k FROM t /* "+strings.Repeat("x", limit/statementPerByte)+" */", "")
	if code(t, err) != wire.CodeInvalid || !strings.Contains(err.Error(), "prepared_statements_cache_size") {
		t.Error(err)
	}
}

func TestPageStateBelongsToItsStatement(t *testing.T) {
	e, _, s := smallTable(t)
	ctx := context.Background()
	for c := range 5 {
		must(t, e, s, fmt.Sprintf("INSERT INTO t (k, c, v) VALUES (1, %d, 'x')", c))
	}
	p, err := e.Prepare(ctx, s, "SELECT c FROM t WHERE k = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	params := testParams()
	params.PageSize, params.Values = 2, [][]byte{int32Bytes(1)}
	res, err := e.Execute(ctx, s, p.ID, params)
	if err != nil || res.PageState == nil {
		t.Fatal(res, err)
	}
	good := *params
	good.PageState = res.PageState
	if next, err := e.Execute(ctx, s, p.ID, &good); err != nil || next.RowCount != 2 {
		t.Fatal(next, err)
	}
	foreign := good
	foreign.Values = [][]byte{int32Bytes(2)}
	if _, err := e.Execute(ctx, s, p.ID, &foreign); code(t, err) != wire.CodeInvalid {
		t.Error("a state of other values is taken")
	}
	other := good
	other.Values = nil
	if _, err := e.Query(ctx, s, "SELECT c FROM t", &other); code(t, err) != wire.CodeInvalid {
		t.Error("a state of another statement is taken")
	}
	forged := good
	forged.PageState = []byte("forged paging state, long enough")
	if _, err := e.Execute(ctx, s, p.ID, &forged); code(t, err) != wire.CodeInvalid {
		t.Error("a forged state is taken")
	}
	// Another engine, as another node's, goes on with it.
	twin := NewEngine(e.exec.Cluster().(*oneNode), Options{})
	id, err := twin.Prepare(ctx, s, "SELECT c FROM t WHERE k = ?", "")
	if err != nil || id.ID != p.ID {
		t.Fatal(id, err)
	}
	if next, err := twin.Execute(ctx, s, p.ID, &good); err != nil || next.RowCount != 2 {
		t.Error(next, err)
	}
}

func TestErrorsOfTheCluster(t *testing.T) {
	e, n, s := smallTable(t)
	read, write := "SELECT * FROM t", "INSERT INTO t (k, c) VALUES (1, 1)"
	for _, c := range []struct {
		text string
		err  error
		want wire.Error
	}{
		{read, &coordinator.Unavailable{Level: consistency.Quorum, Required: 2, Alive: 1}, wire.Error{Code: wire.CodeUnavailable, Consistency: 4, Required: 2, Alive: 1}},
		{read, &coordinator.Timeout{Level: consistency.One, Received: 0, BlockFor: 1, DataPresent: true},
			wire.Error{Code: wire.CodeReadTimeout, Consistency: 1, BlockFor: 1, DataPresent: true}},
		{write, &coordinator.Timeout{Write: true, Kind: coordinator.WriteSimple, Level: consistency.All, Received: 2, BlockFor: 3},
			wire.Error{Code: wire.CodeWriteTimeout, Consistency: 5, Received: 2, BlockFor: 3, WriteType: "SIMPLE"}},
		{write, &coordinator.Failure{Write: true, Kind: coordinator.WriteSimple, Failed: 1}, wire.Error{Code: wire.CodeWriteFailure, Failures: 1, WriteType: "SIMPLE"}},
		{read, &coordinator.Failure{Failed: 2, Nodes: []string{"127.0.0.2", "::1"}}, wire.Error{Code: wire.CodeReadFailure, Failures: 2, Reasons: []wire.FailureReason{
			{Address: netip.MustParseAddr("127.0.0.2")}, {Address: netip.IPv6Loopback()}}}},
		{read, &coordinator.Overloaded{What: "busy"}, wire.Error{Code: wire.CodeOverloaded}},
		{read, errors.New("something else"), wire.Error{Code: wire.CodeServer}},
	} {
		n.mu.Lock()
		n.mu.fail = c.err
		n.mu.Unlock()
		_, err := e.Query(context.Background(), s, c.text, testParams())
		var got *wire.Error
		if !errors.As(err, &got) {
			t.Fatalf("%v: %v", c.err, err)
		}
		if got.Message != c.err.Error() {
			t.Errorf("message %q, want %q", got.Message, c.err)
		}
		got.Message = ""
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%v: got %+v, want %+v", c.err, *got, c.want)
		}
		onWire(t, got)
	}
}

// onWire: version 4 counts the failures, version 5 maps the addresses to reasons.
func onWire(t *testing.T, e *wire.Error) {
	t.Helper()
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		back, err := wire.DecodeError(e.Append(nil, v), v)
		if err != nil {
			t.Fatal(err)
		}
		want := int(e.Failures)
		if v >= wire.V5 {
			want = len(e.Reasons)
		}
		if int(back.Failures) != want || v >= wire.V5 && !slices.Equal(back.Reasons, e.Reasons) {
			t.Errorf("version %v: %d failures of %v, want %d of %v", v, back.Failures, back.Reasons, want, e.Reasons)
		}
	}
}

func TestLevels(t *testing.T) {
	e, _, s := smallTable(t)
	p := testParams()
	p.Level = consistency.Any
	if _, err := e.Query(context.Background(), s, "SELECT * FROM t", p); code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
	p.Level = consistency.Serial
	if _, err := e.Query(context.Background(), s, "INSERT INTO t (k, c) VALUES (1, 1)", p); code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
}

func TestBatch(t *testing.T) {
	e, n, s := smallTable(t)
	ctx := context.Background()
	p, err := e.Prepare(ctx, s, "INSERT INTO t (k, c, v) VALUES (?, ?, ?)", "")
	if err != nil {
		t.Fatal(err)
	}
	var list []BatchStatement
	for c := range int32(3) {
		list = append(list, BatchStatement{ID: &p.ID, Values: [][]byte{int32Bytes(1), int32Bytes(c), []byte("v")}})
	}
	list = append(list, BatchStatement{Query: "UPDATE t SET v = 'text' WHERE k = 1 AND c = 9"})
	res, err := e.Batch(ctx, s, BatchLogged, list, testParams())
	if err != nil || len(res.Warnings) > 0 || res.Kind != ResultVoid {
		t.Fatal(res, err)
	}
	if rows, err := e.Query(ctx, s, "SELECT * FROM t", testParams()); err != nil || rows.RowCount != 4 {
		t.Fatal(rows, err)
	}
	list = append(list, BatchStatement{Query: "DELETE FROM t WHERE k = 2"})
	for kind, want := range map[BatchKind]coordinator.WriteKind{BatchLogged: coordinator.WriteBatch, BatchUnlogged: coordinator.WriteUnloggedBatch} {
		if res, err = e.Batch(ctx, s, kind, list, testParams()); err != nil || len(res.Warnings) != 0 || n.lastKind() != want {
			t.Errorf("%+v, %v: the coordinator was told of a write of kind %s, want %s", res, err, n.lastKind(), want)
		}
	}
	for _, bad := range []struct {
		kind BatchKind
		st   BatchStatement
		want wire.ErrorCode
	}{
		{BatchLogged, BatchStatement{Query: "SELECT * FROM t"}, wire.CodeInvalid},
		{BatchLogged, BatchStatement{Query: "nonsense"}, wire.CodeSyntax},
		{BatchLogged, BatchStatement{ID: &[16]byte{1}}, wire.CodeUnprepared},
		{BatchLogged, BatchStatement{ID: &p.ID}, wire.CodeInvalid},
		{BatchCounter, list[0], wire.CodeInvalid},
		{9, list[0], wire.CodeProtocol},
	} {
		if _, err := e.Batch(ctx, s, bad.kind, []BatchStatement{bad.st}, testParams()); code(t, err) != bad.want {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	second := []BatchStatement{list[0], {Query: "UPDATE t SET nosuch = 1 WHERE k = 1 AND c = 1"}}
	if _, err := e.Batch(ctx, s, BatchLogged, second, testParams()); err == nil || !strings.HasPrefix(err.Error(), "line 1:13 Undefined column name nosuch") ||
		!strings.HasSuffix(err.Error(), ", in statement 2 of the batch") {
		t.Errorf("%v: want its place and the statement", err)
	}
	second[1] = BatchStatement{ID: &p.ID, Values: [][]byte{int32Bytes(1), nil, nil}}
	if _, err := e.Batch(ctx, s, BatchLogged, second, testParams()); code(t, err) != wire.CodeInvalid || !strings.HasSuffix(err.Error(), "for marker 2 (column c), in statement 2 of the batch") {
		t.Errorf("%v: want the marker and the statement", err)
	}
	big := BatchStatement{ID: &p.ID, Values: [][]byte{int32Bytes(5), int32Bytes(1), []byte(strings.Repeat("x", 70<<10))}}
	other := BatchStatement{ID: &p.ID, Values: [][]byte{int32Bytes(6), int32Bytes(1), []byte("x")}}
	for n, batch := range [][]BatchStatement{{big}, {big, other}} { // of one partition it is one write
		if res, err = e.Batch(ctx, s, BatchUnlogged, batch, testParams()); err != nil || len(res.Warnings) != n {
			t.Errorf("%+v, %v: a big batch of %d partitions has %d warnings", res, err, n+1, n)
		}
	}
	huge := []BatchStatement{}
	for c := range int32(3) {
		huge = append(huge, BatchStatement{ID: &p.ID, Values: [][]byte{int32Bytes(6), int32Bytes(c), make([]byte, 6<<20)}})
	}
	if _, err = e.Batch(ctx, s, BatchUnlogged, huge, testParams()); code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
}

func TestLimitsOfAStatement(t *testing.T) {
	e, _, s := smallTable(t)
	list := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",%d", i)
		}
		return b.String()[1:]
	}
	_, err := e.Query(context.Background(), s, "SELECT * FROM t WHERE k IN ("+list(200)+") AND c IN ("+list(10_001)+")", testParams())
	if code(t, err) != wire.CodeInvalid || !strings.Contains(err.Error(), "limit of 10000") {
		t.Error(err)
	}
	p, err := e.Prepare(context.Background(), s, "INSERT INTO t (k, c, v) VALUES (1, 1, ?)", "")
	if err != nil {
		t.Fatal(err)
	}
	params := testParams()
	params.Values = [][]byte{make([]byte, 17<<20)}
	if _, err := e.Execute(context.Background(), s, p.ID, params); code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	e, _, s := smallTable(t)
	ctx := context.Background()
	insert, err := e.Prepare(ctx, s, "INSERT INTO t (k, c, v) VALUES (?, ?, ?)", "")
	if err != nil {
		t.Fatal(err)
	}
	sel, err := e.Prepare(ctx, s, "SELECT v FROM t WHERE k = ? AND c = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for k := range int32(4) {
		wg.Go(func() {
			for c := range int32(50) {
				p := testParams()
				p.Values = [][]byte{int32Bytes(k), int32Bytes(c), []byte(fmt.Sprint(k, c))}
				if _, err := e.Execute(ctx, s, insert.ID, p); err != nil {
					t.Error(err)
				}
				p.Values = p.Values[:2]
				res, err := e.Execute(ctx, s, sel.ID, p)
				if err != nil || res.RowCount != 1 || string(res.Rows[4:]) != fmt.Sprint(k, c) {
					t.Errorf("%d %d: %+v, %v", k, c, res, err)
				}
			}
		})
	}
	wg.Wait()
}

// What the cluster warns of at a schema change reaches the client.
func TestSchemaChangeCarriesTheWarning(t *testing.T) {
	n := newOneNode(t)
	e := NewEngine(n, Options{})
	s, ctx := &Session{}, context.Background()
	n.warning = "1 node has not applied it yet: 10.0.0.9"
	for _, q := range []string{
		"CREATE KEYSPACE w WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "CREATE TABLE w.t (k int PRIMARY KEY)", "TRUNCATE w.t",
	} {
		res, err := e.Query(ctx, s, q, testParams())
		if err != nil || len(res.Warnings) != 1 || res.Warnings[0] != n.warning {
			t.Errorf("%s: %+v, %v", q, res, err)
		}
	}
}

// TestDistinctOverShortPages: a page that ends, because enough was read for it, behind the only row of a partition goes on with that partition, which is
// owed though nothing more of it is read.
func TestDistinctOverShortPages(t *testing.T) {
	e, n, s := smallTable(t)
	want := map[string]bool{}
	for k := range 30 {
		must(t, e, s, fmt.Sprintf("INSERT INTO t (k, c) VALUES (%d, 1)", k))
		want[fmt.Sprint(k)] = true
	}
	n.mu.workLimit = 1
	run := func(text string, p *Params) (*Result, error) { return e.Query(context.Background(), s, text, p) }
	for _, k := range ask(t, run, "SELECT DISTINCT k FROM t", 100) {
		if !want[k] {
			t.Errorf("%s again, or never written", k)
		}
		delete(want, k)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
