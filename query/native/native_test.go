package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// TestAllModes sends every kind of request in both versions and all compressions, and holds what the engine sees and the client gets.
func TestAllModes(t *testing.T) {
	var seen query.Params
	var text string
	e := &fakeEngine{
		query: func(_ context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error) {
			text, seen = cql, *p
			seen.Values = slices.Clone(p.Values) // they are the door's again afterwards
			res := oneRow(cql + " in " + s.Keyspace)
			res.PageState, res.Warnings = []byte("more"), []string{"careful"}
			if p.Trace {
				res.TraceID = [16]byte{9}
			}
			return res, nil
		},
		batch: func(kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error) {
			seen, text = *p, fmt.Sprint(kind, len(sts), sts[0].Query, sts[1].ID[0], string(sts[1].Values[0]), sts[1].Unset)
			return void, nil
		},
	}
	_, addr := start(t, Options{Engine: e})
	for _, o := range []wire.ClientOptions{
		{Version: wire.V4}, {Version: wire.V4, Compression: wire.LZ4}, {Version: wire.V4, Compression: wire.Snappy},
		{Version: wire.V5}, {Version: wire.V5, Compression: wire.LZ4},
	} {
		c := dial(t, addr, o)
		cql := strings.Repeat("SELECT ", 100_000)
		sent := &wire.Params{
			Consistency: 4, Serial: 9, Values: [][]byte{{1}, nil, nil}, Unset: []bool{false, true, false}, Names: []string{"a", "b", "c"}, PageSize: 7,
			PageState: []byte("p"), HasTimestamp: true, Timestamp: 5, Keyspace: "v5ks", HasNow: true, NowInSeconds: 6,
		}
		res, err := c.Trace(t.Context(), cql, sent)
		if err != nil {
			t.Fatal(o, err)
		}
		want := query.Params{
			Values: sent.Values, Unset: sent.Unset, Names: sent.Names, Level: consistency.Quorum, Serial: consistency.LocalSerial, PageSize: 7,
			PageState: sent.PageState, Timestamp: 5, Trace: true,
		}
		if o.Version == wire.V5 {
			want.Keyspace, want.NowSeconds = "v5ks", 6
		}
		if fmt.Sprintf("%#v", seen) != fmt.Sprintf("%#v", want) || text != cql {
			t.Errorf("%v: the engine saw %#v, want %#v", o, seen, want)
		}
		if !res.Next() || string(res.Row()[0]) != cql+" in " || string(res.PageState) != "more" || res.Warnings[0] != "careful" || res.TraceID[0] != 9 {
			t.Errorf("%v: %d rows, page state %q, warnings %v, trace %x", o, res.RowCount, res.PageState, res.Warnings, res.TraceID)
		}
		_, err = c.Batch(t.Context(), &wire.Batch{Kind: wire.BatchUnlogged, Params: wire.Params{Consistency: 6}, Statements: []wire.BatchStatement{
			{CQL: "INSERT"}, {ID: bytes.Repeat([]byte{7}, 16), Values: [][]byte{[]byte("x"), nil}, Unset: []bool{false, true}}}})
		if err != nil || seen.Level != consistency.LocalQuorum || seen.Timestamp != query.NoTimestamp || text != "1 2INSERT7x[false true]" {
			t.Errorf("%v: batch: %v, %+v, %s", o, err, seen, text)
		}
	}
}

// TestUse: USE lasts for the connection, and for it alone.
func TestUse(t *testing.T) {
	_, addr := start(t, Options{Engine: &fakeEngine{query: func(_ context.Context, s *query.Session, cql string, _ *query.Params) (*query.Result, error) {
		if name, ok := strings.CutPrefix(cql, "USE "); ok {
			return &query.Result{Kind: query.ResultSetKeyspace, Keyspace: strings.Trim(name, `"`)}, nil
		}
		return oneRow(s.Keyspace), nil
	}}})
	a, b := dial(t, addr, wire.ClientOptions{Keyspace: "nyc"}), dial(t, addr, wire.ClientOptions{})
	for c, want := range map[*wire.Client]string{a: "nyc", b: ""} {
		res, err := c.Query(t.Context(), "where", nil)
		if err != nil || !res.Next() || string(res.Row()[0]) != want {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestResultMetadata: after the columns of a prepared statement changed, no client decodes by the old ones, on either version.
func TestResultMetadata(t *testing.T) {
	var columns atomic.Pointer[[]query.ColumnSpec]
	before, after := oneColumn, []query.ColumnSpec{oneColumn[0], {Keyspace: "k", Table: "t", Name: "d", Type: types.IntType}}
	columns.Store(&before)
	_, addr := start(t, Options{Engine: &fakeEngine{
		prepare: func(string, string) (*query.Prepared, error) {
			return &query.Prepared{ID: [16]byte{1}, Columns: *columns.Load(), Markers: oneColumn, PartitionKey: []uint16{0}}, nil
		},
		execute: func(context.Context, *query.Session, [16]byte, *query.Params) (*query.Result, error) {
			res := &query.Result{Kind: query.ResultRows, Columns: *columns.Load(), RowCount: 1}
			for range res.Columns {
				res.Rows = wire.AppendBytes(res.Rows, []byte{0, 0, 0, 1})
			}
			return res, nil
		},
	}})
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		columns.Store(&before)
		c := dial(t, addr, wire.ClientOptions{Version: v})
		st, err := c.Prepare(t.Context(), "SELECT")
		if err != nil || len(st.PartitionKey) != 1 || len(st.Columns) != 1 {
			t.Fatal(st, err)
		}
		execute := func(resultID []byte) *wire.Result {
			res, err := c.Execute(t.Context(), &wire.Prepared{ID: st.ID, ResultID: resultID, Columns: st.Columns}, &wire.Params{Consistency: 1, SkipMetadata: true})
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		if res := execute(st.ResultID); len(res.Columns) != 1 || res.NewID != nil || (v == wire.V5) != (&res.Columns[0] == &st.Columns[0]) {
			t.Errorf("v%d: %+v", v, res)
		}
		columns.Store(&after)
		res := execute(st.ResultID)
		if len(res.Columns) != 2 || (v == wire.V5) != (res.NewID != nil) {
			t.Errorf("v%d after ALTER: %+v", v, res)
		}
		if v == wire.V5 {
			st.ResultID, st.Columns = res.NewID, res.Columns
			if res := execute(res.NewID); res.NewID != nil || &res.Columns[0] != &st.Columns[0] {
				t.Errorf("v5 with the new id: %+v", res)
			}
			if res := execute(noColumns[:]); res.NewID != nil || len(res.Columns) != 2 {
				t.Errorf("v5 of a statement prepared without columns: %+v", res)
			}
		}
	}
}

// TestErrors: what an engine gives as an error is what the client gets, and a panic is one too.
func TestErrors(t *testing.T) {
	_, addr := start(t, Options{Engine: &fakeEngine{
		query: func(_ context.Context, _ *query.Session, cql string, _ *query.Params) (*query.Result, error) {
			switch cql {
			case "panic":
				panic("oh")
			case "plain":
				return nil, errors.New("disk on fire")
			}
			return nil, &wire.Error{Code: wire.CodeUnavailable, Message: "no", Required: 2, Alive: 1}
		},
		execute: func(_ context.Context, _ *query.Session, id [16]byte, _ *query.Params) (*query.Result, error) {
			return nil, &wire.Error{Code: wire.CodeUnprepared, ID: id}
		},
	}})
	c := dial(t, addr, wire.ClientOptions{})
	var e *wire.Error
	for cql, want := range map[string]wire.ErrorCode{"panic": wire.CodeServer, "plain": wire.CodeServer, "x": wire.CodeUnavailable} {
		if _, err := c.Query(t.Context(), cql, nil); !errors.As(err, &e) || e.Code != want {
			t.Errorf("%s: %v", cql, err)
		}
	}
	if _, err := c.Execute(t.Context(), &wire.Prepared{ID: bytes.Repeat([]byte{7}, 16)}, nil); !errors.As(err, &e) || e.Code != wire.CodeUnprepared || e.ID[15] != 7 {
		t.Error(err)
	}
	if _, err := c.Execute(t.Context(), &wire.Prepared{ID: []byte("short")}, nil); !errors.As(err, &e) || e.Code != wire.CodeInvalid {
		t.Error(err)
	}
	for _, p := range []wire.Params{{Consistency: 11}, {Consistency: 1, Serial: 1}, {Consistency: 1, HasTimestamp: true, Timestamp: query.NoTimestamp}} {
		if _, err := c.Query(t.Context(), "x", &p); !errors.As(err, &e) || e.Code != wire.CodeProtocol {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if _, err := c.Query(t.Context(), strings.Repeat("x", wire.DefaultMaxRequestBytes), nil); !errors.As(err, &e) || e.Code != wire.CodeInvalid ||
		!strings.Contains(e.Message, "request is too large") {
		t.Error(err)
	}
	if _, err := c.Query(t.Context(), "x", nil); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("after a request that was too large: %v", err)
	}
}

// raw speaks frames by hand.
type raw struct {
	t *testing.T
	net.Conn
	reader *wire.FrameReader
}

func dialRaw(t *testing.T, addr string) *raw {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &raw{t, nc, wire.NewFrameReader(nc, wire.MaxFrameBytes)}
}

func (r *raw) send(h wire.Header, body []byte) {
	h.Length = len(body)
	if _, err := r.Write(append(h.Append(nil), body...)); err != nil {
		r.t.Fatal(err)
	}
}

// expect reads one frame; an ERROR's message contains text.
func (r *raw) expect(op wire.Opcode, stream int16, text string) wire.Header {
	r.t.Helper()
	h, body, err := r.reader.Next()
	if err != nil || h.Op != op || h.Stream != stream || !h.Response {
		r.t.Fatalf("got %+v, %v; want %s on stream %d", h, err, op, stream)
	}
	if op == wire.OpError {
		if e, err := wire.DecodeError(body, h.Version); err != nil || !strings.Contains(e.Message, text) {
			r.t.Fatalf("got error %+v, %v; want %q", e, err, text)
		}
	}
	return h
}

// expectEnd holds that the connection ends now.
func (r *raw) expectEnd() {
	r.t.Helper()
	if h, _, err := r.reader.Next(); err == nil {
		r.t.Fatalf("the connection goes on: %+v", h)
	}
}

func (r *raw) startup() {
	r.t.Helper()
	r.send(wire.Header{Version: 4, Op: wire.OpStartup}, (&wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0"}}).AppendBody(nil, 4))
	r.expect(wire.OpReady, 0, "")
}

func TestHostileFrames(t *testing.T) {
	_, addr := start(t, Options{Engine: &fakeEngine{}, HandshakeTimeout: time.Second / 2})
	startup := func(options ...string) []byte {
		m := make(map[string]string)
		for i := 0; i < len(options); i += 2 {
			m[options[i]] = options[i+1]
		}
		return (&wire.Startup{Options: m}).AppendBody(nil, 4)
	}
	for _, tc := range []struct {
		name    string
		started bool
		header  wire.Header
		body    []byte
		want    string
		ends    bool
		stream  int16
	}{
		{"version probe", false, wire.Header{Version: 66, Stream: 3, Op: wire.OpOptions}, nil, "Invalid or unsupported protocol version (66)", true, 0},
		{"old version", false, wire.Header{Version: 3, Op: wire.OpStartup}, nil, "Invalid or unsupported protocol version (3)", true, 0},
		{"query before startup", false, wire.Header{Version: 4, Stream: 3, Op: wire.OpQuery}, nil, "Unexpected message QUERY, expecting STARTUP", true, 3},
		{"register before startup", false, wire.Header{Version: 4, Stream: 3, Op: wire.OpRegister}, nil, "Unexpected message REGISTER", true, 3},
		{"no CQL_VERSION", false, wire.Header{Version: 4, Op: wire.OpStartup}, startup(), "CQL_VERSION", true, 0},
		{"unknown compression", false, wire.Header{Version: 4, Op: wire.OpStartup}, startup("CQL_VERSION", "3.0.0", "COMPRESSION", "zip"), "zip", true, 0},
		{"v5 snappy", false, wire.Header{Version: 5, Op: wire.OpStartup}, startup("CQL_VERSION", "3.0.0", "COMPRESSION", "snappy"), "lz4 only", true, 0},
		{"a response", true, wire.Header{Version: 4, Response: true, Stream: 3, Op: wire.OpReady}, nil, "a response", true, 3},
		{"not a request", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpResult}, nil, "RESULT is not a request", true, 3},
		{"unknown opcode", true, wire.Header{Version: 4, Stream: 3, Op: 0x77}, nil, "opcode 0x77", true, 3},
		{"startup again", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpStartup}, startup("CQL_VERSION", "3.0.0"), "STARTUP", true, 3},
		{"auth unasked", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpAuthResponse}, nil, "AUTH_RESPONSE", true, 3},
		{"another version", true, wire.Header{Version: 5, Stream: 3, Op: wire.OpOptions}, nil, "protocol v5 on a connection of v4", true, 3},
		{"compressed unasked", true, wire.Header{Version: 4, Flags: wire.FlagCompressed, Stream: 3, Op: wire.OpQuery}, []byte("xxxx"), "compress", true, 3},
		{"cut query", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpQuery}, []byte{0, 0, 0, 9, 'x'}, "QUERY: malformed", false, 3},
		{"cut execute", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpExecute}, []byte{0, 9}, "EXECUTE: malformed", false, 3},
		{"cut batch", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpBatch}, []byte{9}, "BATCH: malformed", false, 3},
		{"cut prepare", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpPrepare}, []byte{9}, "PREPARE: malformed", false, 3},
		{"cut payload", true, wire.Header{Version: 4, Flags: wire.FlagCustomPayload, Stream: 3, Op: wire.OpQuery}, []byte{9, 9, 9}, "malformed", false, 3},
		{"unknown event", true, wire.Header{Version: 4, Stream: 3, Op: wire.OpRegister}, wire.AppendStringList(nil, []string{"X"}), "Unknown event type", false, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dialRaw(t, addr)
			if tc.started {
				r.startup()
			}
			r.send(tc.header, tc.body)
			h := r.expect(wire.OpError, tc.stream, tc.want)
			if tc.header.Version < wire.MinVersion || tc.header.Version > wire.MaxVersion {
				if h.Version != wire.MaxVersion {
					t.Errorf("the answer to a probe is of version %d", h.Version)
				}
			}
			if tc.ends {
				r.expectEnd()
				return
			}
			r.send(wire.Header{Version: 4, Stream: 9, Op: wire.OpOptions}, nil)
			r.expect(wire.OpSupported, 9, "")
		})
	}
	dialRaw(t, addr).expectEnd() // says nothing: the handshake's time is up
}

// TestCustomPayload: a payload is taken off before the message.
func TestCustomPayload(t *testing.T) {
	_, addr := start(t, Options{Engine: &fakeEngine{}})
	r := dialRaw(t, addr)
	r.startup()
	body := wire.AppendBytesMap(nil, map[string][]byte{"k": {1}})
	r.send(wire.Header{Version: 4, Flags: wire.FlagCustomPayload, Stream: 5, Op: wire.OpQuery},
		(&wire.Query{CQL: "x", Params: wire.Params{Consistency: 1}}).AppendBody(body, 4))
	r.expect(wire.OpResult, 5, "")
}

func TestAuthentication(t *testing.T) {
	_, addr := start(t, Options{
		Engine: &fakeEngine{query: func(_ context.Context, s *query.Session, _ string, _ *query.Params) (*query.Result, error) {
			return oneRow(s.Identity), nil
		}},
		Authenticate: func(_ context.Context, user, password string) (string, error) {
			if password != "secret" {
				return "", errors.New("user and password do not match")
			}
			return "role " + user, nil
		},
	})
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		c := dial(t, addr, wire.ClientOptions{Version: v, User: "ann", Password: "secret"})
		res, err := c.Query(t.Context(), "who", nil)
		if err != nil || !res.Next() || string(res.Row()[0]) != "role ann" {
			t.Error(err)
		}
		if _, err := wire.Dial(t.Context(), addr, wire.ClientOptions{Version: v, User: "ann", Password: "x"}); err == nil || !strings.Contains(err.Error(), "do not match") {
			t.Error(err)
		}
	}
	r := dialRaw(t, addr)
	r.send(wire.Header{Version: 4, Op: wire.OpStartup}, (&wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0"}}).AppendBody(nil, 4))
	r.expect(wire.OpAuthenticate, 0, "")
	r.send(wire.Header{Version: 4, Stream: 1, Op: wire.OpQuery}, nil)
	r.expect(wire.OpError, 1, "expecting AUTH_RESPONSE")
	r.expectEnd()
}

// TestEvents: clients get the events that they registered for, and no others.
func TestEvents(t *testing.T) {
	s, addr := start(t, Options{Engine: &fakeEngine{}})
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		got := make(chan wire.Event, 10)
		all := dial(t, addr, wire.ClientOptions{Version: v, OnEvent: func(e wire.Event) { got <- e }})
		some := make(chan wire.Event, 10)
		one := dial(t, addr, wire.ClientOptions{Version: v, OnEvent: func(e wire.Event) { some <- e }})
		if err := all.Register(t.Context(), wire.EventTopology, wire.EventStatus, wire.EventSchema); err != nil {
			t.Fatal(err)
		}
		if err := one.Register(t.Context(), wire.EventSchema); err != nil {
			t.Fatal(err)
		}
		node := netip.MustParseAddrPort("127.3.9.2:9042")
		s.NotifyStatus(node, true)
		s.NotifyTopology(node, NewNode)
		s.NotifySchema(query.Change{Kind: "CREATED", Object: "TABLE", Keyspace: "k", Name: "t"})
		if e := <-got; e.Type != wire.EventStatus || e.Change != "UP" || e.Address != node {
			t.Errorf("%+v", e)
		}
		if e := <-got; e.Type != wire.EventTopology || e.Change != "NEW_NODE" {
			t.Errorf("%+v", e)
		}
		for _, ch := range []chan wire.Event{got, some} {
			if e := <-ch; e.Type != wire.EventSchema || e.Schema.Name != "t" {
				t.Errorf("%+v", e)
			}
		}
		all.Close()
		one.Close()
	}
}

// TestConnectionLimit: one too many is told so, and there is room again when one has left.
func TestConnectionLimit(t *testing.T) {
	s, addr := start(t, Options{Engine: &fakeEngine{}, MaxConnections: 2})
	a := dial(t, addr, wire.ClientOptions{})
	dial(t, addr, wire.ClientOptions{})
	r := dialRaw(t, addr)
	r.expect(wire.OpError, 0, "too many connections")
	r.expectEnd()
	a.Close()
	waitFor(t, func() bool { return s.Connections() == 1 })
	dial(t, addr, wire.ClientOptions{})
}

// waitFor waits for something that another goroutine brings about. The package's test timeout is the only bound.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		<-tick.C
	}
}

// TestShutdownDrains: requests in flight end and are answered; what comes later finds no server.
func TestShutdownDrains(t *testing.T) {
	begun, release := make(chan struct{}, 100), make(chan struct{})
	e := &fakeEngine{query: func(context.Context, *query.Session, string, *query.Params) (*query.Result, error) {
		begun <- struct{}{}
		<-release
		return oneRow("done"), nil
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Engine: e})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, l.Addr().String(), wire.ClientOptions{})
	var answered atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		if err := c.Send(&wire.Query{CQL: "x"}, func(r wire.Response, err error) {
			defer wg.Done()
			if err == nil && r.Err() == nil {
				answered.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		<-begun
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(t.Context()) }()
	if err := <-served; err != ErrServerClosed {
		t.Error(err)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wg.Wait()
	if answered.Load() != 50 {
		t.Errorf("%d of 50 answered", answered.Load())
	}
	if _, err := wire.Dial(t.Context(), l.Addr().String(), wire.ClientOptions{}); err == nil {
		t.Error("still listening")
	}
	if err := s.Serve(l); err != ErrServerClosed {
		t.Error(err)
	}
}

// TestShutdownGivesUp: with a request that would never end, the deadline cancels it.
func TestShutdownGivesUp(t *testing.T) {
	begun := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Engine: &fakeEngine{query: func(ctx context.Context, _ *query.Session, _ string, _ *query.Params) (*query.Result, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}}})
	go s.Serve(l)
	c := dial(t, l.Addr().String(), wire.ClientOptions{})
	if err := c.Send(&wire.Query{CQL: "x"}, func(wire.Response, error) {}); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
