package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/wake"
)

// fakeServer answers each request by a function; the connection's handshake it does itself.
type fakeServer struct {
	net.Listener
	handle func(s *fakeConn, h Header, body []byte)
	auth   bool
	owned  sync.WaitGroup
}

type fakeConn struct {
	net.Conn
	reader *FrameReader
	writer *Writer
}

func (s *fakeConn) answer(h Header, op Opcode, body []byte) {
	h.Response, h.Op, h.Flags = true, op, h.Flags&(FlagTracing|FlagWarning)
	_ = s.writer.End(append(s.writer.Begin(h), body...))
}

func serve(t testing.TB, auth bool, handle func(s *fakeConn, h Header, body []byte)) *fakeServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{Listener: l, handle: handle, auth: auth}
	f.owned.Go(f.accept)
	t.Cleanup(func() { l.Close(); f.owned.Wait() })
	return f
}

func (f *fakeServer) accept() {
	for {
		conn, err := f.Accept()
		if err != nil {
			return
		}
		s := &fakeConn{Conn: conn, reader: NewFrameReader(conn, MaxFrameBytes), writer: NewWriter(conn, WriterOptions{})}
		f.owned.Go(func() { _ = s.writer.Run(); conn.Close() })
		f.owned.Go(func() { f.serveConn(s) })
	}
}

func (f *fakeServer) serveConn(s *fakeConn) {
	defer s.writer.Close()
	for {
		h, body, err := s.reader.Next()
		if err != nil {
			return
		}
		switch h.Op {
		case OpStartup:
			var m Startup
			if err := m.Decode(body); err != nil {
				return
			}
			if f.auth {
				s.answer(h, OpAuthenticate, AppendString(nil, "org.apache.cassandra.auth.PasswordAuthenticator"))
			} else {
				s.answer(h, OpReady, nil)
			}
			s.upgrade(h.Version, Compression(m.Options["COMPRESSION"]))
		case OpAuthResponse:
			if string(body[4:]) == "\x00ann\x00secret" {
				s.answer(h, OpAuthSuccess, AppendBytes(nil, nil))
			} else {
				s.answer(h, OpError, Errorf(CodeCredentials, "wrong password").Append(nil, h.Version))
			}
		default:
			f.handle(s, h, body)
		}
	}
}

func (s *fakeConn) upgrade(v Version, c Compression) {
	s.reader.Compress(c)
	s.writer.Compress(c)
	if v >= V5 {
		s.reader.Segmented()
		s.writer.Segmented()
	}
}

// echo answers a QUERY with one row of one column: its text.
func echo(s *fakeConn, h Header, body []byte) {
	var q Query
	if err := q.Decode(body, h.Version); err != nil {
		s.answer(h, OpError, Errorf(CodeProtocol, "%v", err).Append(nil, h.Version))
		return
	}
	s.answer(h, OpResult, EncodeMetadata(sampleColumns[:1]).AppendRows(nil, RowsOptions{}, 1, AppendBytes(nil, []byte(q.CQL))))
}

func dial(t testing.TB, f *fakeServer, o ClientOptions) *Client {
	c, err := Dial(t.Context(), f.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientAllModes(t *testing.T) {
	f := serve(t, true, echo)
	for _, v := range []Version{V4, V5} {
		for _, compression := range []Compression{NoCompression, LZ4, Snappy} {
			o := ClientOptions{Version: v, Compression: compression, User: "ann", Password: "secret"}
			if v == V5 && compression == Snappy {
				if _, err := Dial(t.Context(), f.Addr().String(), o); err == nil || !strings.Contains(err.Error(), "lz4 only") {
					t.Error(err)
				}
				continue
			}
			c := dial(t, f, o)
			for _, n := range []int{0, 10, 600, 200_000} {
				cql := strings.Repeat("x", n)
				res, err := c.Query(t.Context(), cql, nil)
				if err != nil {
					t.Fatal(v, compression, n, err)
				}
				if !res.Next() || string(res.Row()[0]) != cql || res.Next() {
					t.Fatal(v, compression, n, "not what was sent")
				}
			}
		}
	}
	if _, err := Dial(t.Context(), f.Addr().String(), ClientOptions{User: "ann", Password: "x"}); err == nil ||
		!strings.Contains(err.Error(), "bad credentials: wrong password") {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), f.Addr().String(), ClientOptions{}); err == nil || !strings.Contains(err.Error(), "wants a user and password") {
		t.Error(err)
	}
}

// TestPipelining: many requests from many goroutines, answered out of order, each get their own answer.
func TestPipelining(t *testing.T) {
	var mu sync.Mutex
	var held []func()
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, func() { echo(s, h, body) })
		if len(held) < 100 {
			return
		}
		for i := len(held) - 1; i >= 0; i-- {
			held[i]()
		}
		held = nil
	})
	c := dial(t, f, ClientOptions{})
	const n = 10_000
	var wg sync.WaitGroup
	var wrong atomic.Int32
	wg.Add(n)
	for g := range 4 {
		go func() {
			for i := range n / 4 {
				want := fmt.Sprint(g, i)
				err := c.SendWait(t.Context(), &Query{CQL: want}, func(r Response, err error) {
					defer wg.Done()
					res, err := r.Result(nil)
					if err != nil || !res.Next() || string(res.Row()[0]) != want {
						wrong.Add(1)
					}
				})
				if err != nil {
					t.Error(err)
					wg.Done()
				}
			}
		}()
	}
	wg.Wait()
	if wrong.Load() > 0 {
		t.Fatalf("%d wrong answers", wrong.Load())
	}
}

func TestBusyAndWait(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		<-release
		echo(s, h, body)
	})
	c := dial(t, f, ClientOptions{MaxInFlight: 2})
	var answered sync.WaitGroup
	answered.Add(3)
	done := func(Response, error) { answered.Done() }
	for range 2 {
		if err := c.Send(&Query{CQL: "x"}, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Send(&Query{CQL: "x"}, done); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.SendWait(ctx, &Query{CQL: "x"}, done); !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	if err := c.SendWait(t.Context(), &Query{CQL: "x"}, done); err != nil {
		t.Fatal(err)
	}
	answered.Wait()
}

// TestTimeout: a request without an answer fails, its stream is not used again before the late answer came, and that one is dropped.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		if strings.Contains(string(body), "slow") {
			<-release
		}
		echo(s, h, body)
	})
	c := dial(t, f, ClientOptions{Timeout: 20 * time.Millisecond, MaxInFlight: 1})
	if _, err := c.Query(t.Context(), "slow", nil); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	if err := c.Send(&Query{CQL: "x"}, nil); !errors.Is(err, ErrBusy) {
		t.Fatalf("the stream was free: %v", err)
	}
	close(release)
	got := make(chan error, 1)
	if err := c.SendWait(t.Context(), &Query{CQL: "fast"}, func(r Response, err error) { got <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil && !errors.Is(err, ErrTimeout) { // under load this one may be late too
		t.Fatal(err)
	}
}

func TestCancelledCall(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) { <-release; echo(s, h, body) })
	c := dial(t, f, ClientOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Query(ctx, "x", nil); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	close(release)
	if res, err := c.Query(t.Context(), "y", nil); err != nil || !res.Next() || string(res.Row()[0]) != "y" {
		t.Fatal(err)
	}
}

// TestLostConnection: what is in flight fails when the server goes, and so does what comes later.
func TestLostConnection(t *testing.T) {
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) { s.Close() })
	c := dial(t, f, ClientOptions{})
	_, err := c.Query(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "connection to "+f.Addr().String()+" lost") {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Send(&Query{}, nil); err == nil || errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	c2 := dial(t, f, ClientOptions{})
	c2.Close()
	if _, err := c2.Query(t.Context(), "x", nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestStrayAnswer(t *testing.T) {
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		h.Stream = 77
		s.answer(h, OpResult, AppendResultKind(nil, KindVoid))
	})
	c := dial(t, f, ClientOptions{})
	if _, err := c.Query(t.Context(), "x", nil); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
}

func TestServerError(t *testing.T) {
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		s.answer(h, OpError, sampleError(CodeUnavailable).Append(nil, h.Version))
	})
	c := dial(t, f, ClientOptions{})
	var e *Error
	if _, err := c.Query(t.Context(), "x", nil); !errors.As(err, &e) || e.Code != CodeUnavailable || e.Required != 2 || e.Alive != 1 {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), f.Addr().String(), ClientOptions{Keyspace: `a"b`}); !errors.As(err, &e) {
		t.Fatal(err)
	}
}

// TestPages goes through three pages, one of them empty, by text and prepared.
func TestPages(t *testing.T) {
	meta := EncodeMetadata(sampleColumns[:1])
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		var p Params
		known := RowsOptions{}
		switch h.Op {
		case OpPrepare:
			s.answer(h, OpResult, (&Prepared{ID: []byte("id"), Columns: sampleColumns[:1]}).Append(nil, h.Version))
			return
		case OpExecute:
			var e Execute
			if err := e.Decode(body, h.Version); err != nil || string(e.ID) != "id" {
				s.Close()
			}
			p, known.Skip = e.Params, e.SkipMetadata
		default:
			var q Query
			if err := q.Decode(body, h.Version); err != nil {
				s.Close()
			}
			p = q.Params
		}
		switch string(p.PageState) {
		case "":
			known.PageState = []byte("2")
			s.answer(h, OpResult, meta.AppendRows(nil, known, 2, AppendBytes(AppendBytes(nil, []byte("a")), []byte("b"))))
		case "2":
			known.PageState = []byte("3")
			s.answer(h, OpResult, meta.AppendRows(nil, known, 0, nil))
		default:
			s.answer(h, OpResult, meta.AppendRows(nil, known, 1, AppendBytes(nil, []byte("c"))))
		}
	})
	c := dial(t, f, ClientOptions{})
	st, err := c.Prepare(t.Context(), "SELECT")
	if err != nil {
		t.Fatal(err)
	}
	for name, pages := range map[string]*Pages{
		"text":     c.Pages(&Query{CQL: "SELECT", Params: Params{PageSize: 2}}),
		"prepared": c.PagesOf(st, &Params{PageSize: 2, SkipMetadata: true}),
	} {
		var got string
		for pages.Next(t.Context()) {
			got += string(pages.Row()[0])
		}
		if pages.Err() != nil || got != "abc" || pages.Page().Columns[0].Name != "origin" {
			t.Errorf("%s: %q %v", name, got, pages.Err())
		}
	}
}

func TestEvents(t *testing.T) {
	want := Event{Type: EventStatus, Change: "DOWN", Address: netip.MustParseAddrPort("127.9.0.1:9042")}
	f := serve(t, false, func(s *fakeConn, h Header, body []byte) {
		s.answer(h, OpReady, nil)
		s.answer(Header{Version: h.Version, Stream: EventStream}, OpEvent, want.Append(nil))
	})
	got := make(chan Event, 1)
	c := dial(t, f, ClientOptions{OnEvent: func(e Event) { got <- e }})
	if err := c.Register(t.Context(), EventStatus); err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.Type != want.Type || e.Change != want.Change || e.Address != want.Address {
		t.Fatalf("%+v", e)
	}
}

// TestConnectErrors: each way that there is no CQL server says so.
func TestConnectErrors(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	mute := serveRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	talks := serveRaw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) })
	gone := serveRaw(t, func(c net.Conn) {})
	old := serveRaw(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, HeaderBytes))
		c.Write(EndFrame(Errorf(CodeProtocol, "Invalid or unsupported protocol version (5)").Append(BeginFrame(nil, Header{Version: V4, Response: true, Op: OpError}), V4), 0))
		io.Copy(io.Discard, c)
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tc := range []struct{ addr, want string }{
		{closed.Addr().String(), "connection refused: nothing listens there"},
		{web.Listener.Addr().String(), "is it a CQL port?"},
		{talks, "speaks HTTP"},
		{secure.Listener.Addr().String(), "TLS"},
		{mute, "no answer to the handshake within"},
		{gone, "the server closed the connection during the handshake"},
		{old, "protocol error: Invalid or unsupported protocol version (5)"},
	} {
		_, err := Dial(t.Context(), tc.addr, ClientOptions{ConnectTimeout: time.Second / 4, Version: V5})
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "connect to "+tc.addr) {
			t.Errorf("want %q, got: %v", tc.want, err)
		}
	}
	if _, err := Dial(t.Context(), closed.Addr().String(), ClientOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), "x", ClientOptions{Version: 3}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

func serveRaw(t *testing.T, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f(c); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes, bytes int
	block         chan struct{}
}

func (c *countingConn) Write(b []byte) (int, error) {
	<-c.block
	c.writes++
	c.bytes += len(b)
	return len(b), nil
}

// TestWriterCoalesces: what gathers during a write goes in one write.
func TestWriterCoalesces(t *testing.T) {
	conn := &countingConn{block: make(chan struct{})}
	w := NewWriter(conn, WriterOptions{})
	ended := make(chan error)
	go func() { ended <- w.Run() }()
	for range 1000 {
		if err := w.End(append(w.Begin(Header{Version: V4}), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.Pending(); n != 10_000 {
		t.Errorf("%d bytes pending", n)
	}
	close(conn.block)
	w.Close()
	if err := <-ended; err != nil || conn.bytes != 10_000 || conn.writes > 2 {
		t.Fatalf("%d bytes in %d writes: %v", conn.bytes, conn.writes, err)
	}
	if err := w.End(w.Begin(Header{})); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// keptConn keeps what is written to it.
type keptConn struct {
	net.Conn
	bytes []byte
}

func (c *keptConn) Write(b []byte) (int, error) {
	c.bytes = append(c.bytes, b...)
	return len(b), nil
}

// TestWriterReserve: large frames of several connections, whose room is shared, go out whole and in order.
func TestWriterReserve(t *testing.T) {
	var owned sync.WaitGroup
	for c := range byte(4) {
		owned.Go(func() {
			conn := &keptConn{}
			w := NewWriter(conn, WriterOptions{})
			ended := make(chan error)
			go func() { ended <- w.Run() }()
			sizes := []int{10, 3 << 20, 100, 1 << 20, 600 << 10, 5 << 20, 0, 2 << 20}
			for i, size := range sizes {
				buf := w.Reserve(w.Begin(Header{Version: V4}), size)
				if err := w.End(append(buf, bytes.Repeat([]byte{c<<4 | byte(i)}, size)...)); err != nil {
					t.Error(err)
				}
			}
			w.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			rest := conn.bytes
			for i, size := range sizes {
				if len(rest) < HeaderBytes+size || frameBytes(rest) != HeaderBytes+size || bytes.Count(rest[HeaderBytes:HeaderBytes+size], []byte{c<<4 | byte(i)}) != size {
					t.Errorf("frame %d of connection %d is broken", i, c)
					return
				}
				rest = rest[HeaderBytes+size:]
			}
			if len(rest) > 0 {
				t.Errorf("%d bytes too many", len(rest))
			}
		})
	}
	owned.Wait()
}

// TestWriterCorked: what is answered while a cork is held goes out at once, in one write.
func TestWriterCorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &countingConn{block: make(chan struct{})}
		close(conn.block)
		var cork wake.Cork
		w := NewWriter(conn, WriterOptions{Cork: &cork})
		ended := make(chan error)
		go func() { ended <- w.Run() }()
		synctest.Wait()
		cork.Hold()
		for range 10 {
			if err := w.End(append(w.Begin(Header{Version: V4}), 1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if conn.writes != 0 {
			t.Errorf("%d writes while it was held", conn.writes)
		}
		cork.Release()
		synctest.Wait()
		if conn.writes != 1 || conn.bytes != 100 {
			t.Errorf("%d bytes in %d writes", conn.bytes, conn.writes)
		}
		w.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkClient(b *testing.B) {
	f := serve(b, false, func(s *fakeConn, h Header, _ []byte) { s.answer(h, OpResult, AppendResultKind(nil, KindVoid)) })
	c := dial(b, f, ClientOptions{})
	window := make(chan struct{}, 64)
	req := &Execute{ID: make([]byte, 16), Params: Params{Consistency: 1, Values: [][]byte{make([]byte, 8), make([]byte, 92)}}}
	done := func(Response, error) { <-window }
	b.ReportAllocs()
	for b.Loop() {
		window <- struct{}{}
		if err := c.Send(req, done); err != nil {
			b.Fatal(err)
		}
	}
	for range cap(window) {
		window <- struct{}{}
	}
}

// TestCompressedReady: Cassandra compresses its very answer to STARTUP.
func TestCompressedReady(t *testing.T) {
	addr := serveRaw(t, func(c net.Conn) {
		if _, _, err := NewFrameReader(c, 1000).Next(); err != nil {
			return
		}
		empty := AppendInt(nil, 0) // an lz4 body of 0 bytes
		c.Write(append(Header{Version: V4, Response: true, Flags: FlagCompressed, Op: OpReady, Length: len(empty)}.Append(nil), empty...))
		io.Copy(io.Discard, c)
	})
	c, err := Dial(t.Context(), addr, ClientOptions{Compression: LZ4})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
