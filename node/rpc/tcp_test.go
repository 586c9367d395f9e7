package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/node/wake"
	"nodedb/vnodes"
)

var quiet = slog.New(slog.DiscardHandler)

func identity(host byte, cluster byte) Identity {
	id := Identity{HostID: vnodes.HostID{host}, ClusterName: "test"}
	if cluster != 0 {
		id.ClusterID = [16]byte{cluster}
	}
	return id
}

// newTCP listens on a loopback address of this package's own.
func newTCP(t testing.TB, o Options) *TCP {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	o.Cork = new(wake.Cork)
	tr, err := Listen("127.61.1.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (t *TCP) self() Peer { return Peer{ID: t.ident.Load().HostID, Addr: t.Addr().String()} }

type result struct {
	body []byte
	err  error
}

// call sends and waits for the answer.
func call(t *TCP, to Peer, v Verb, body []byte, timeout time.Duration) result {
	ch := make(chan result, 2)
	t.Send(&Call{To: to, Verb: v, Body: body, Timeout: timeout, Done: func(b []byte, err error) { ch <- result{bytes.Clone(b), err} }})
	return <-ch
}

func echo(in *Inbound) { in.Reply(in.Body, nil) }

func TestCallAnswers(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9)}), newTCP(t, Options{Identity: identity(2, 9)})
	trace := [16]byte{7, 7}
	seen := make(chan Inbound, 1)
	b.Handle(VerbWrite, func(in *Inbound) {
		cp := *in
		cp.Body = bytes.Clone(in.Body)
		seen <- cp
		in.Reply([]byte("done"), nil)
	})
	b.Handle(VerbRead, func(in *Inbound) {
		in.Reply(nil, fmt.Errorf("reading: %w", &RemoteError{Code: CodeNotOwner, Message: "not mine", Epoch: 42}))
	})
	b.Handle(VerbStatus, func(in *Inbound) { in.Reply(nil, errors.New("disk on fire")) })
	b.Serve()

	ch := make(chan result, 1)
	a.Send(&Call{To: b.self(), Verb: VerbWrite, Body: []byte("hello"), Timeout: time.Minute, Trace: trace,
		Done: func(body []byte, err error) { ch <- result{bytes.Clone(body), err} }})
	if r := <-ch; r.err != nil || string(r.body) != "done" {
		t.Fatalf("answer %q, %v", r.body, r.err)
	}
	in := <-seen
	if in.From != a.self() || in.Verb != VerbWrite || string(in.Body) != "hello" || in.Trace != trace {
		t.Fatalf("handler saw %+v", in)
	}
	if left := time.Until(in.Deadline); left < 30*time.Second || left > time.Minute {
		t.Fatalf("deadline in %v, want about a minute", left)
	}
	var re *RemoteError
	if r := call(a, b.self(), VerbRead, nil, time.Minute); !errors.As(r.err, &re) || re.Code != CodeNotOwner || re.Epoch != 42 ||
		!strings.Contains(re.Message, "not mine") {
		t.Fatalf("remote error %+v", r.err)
	}
	if r := call(a, b.self(), VerbStatus, nil, time.Minute); !errors.As(r.err, &re) || re.Code != CodeInternal || re.Message != "disk on fire" {
		t.Fatalf("internal error %+v", r.err)
	}
	if r := call(a, b.self(), VerbTree, nil, time.Minute); !errors.As(r.err, &re) || re.Code != CodeNoHandler {
		t.Fatalf("unknown verb: %+v", r.err)
	}
}

// Bodies of all sizes come back as they went, many at once, answered out of order and from other goroutines.
func TestManySizesOutOfOrder(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9)}), newTCP(t, Options{Identity: identity(2, 9)})
	var wg sync.WaitGroup
	b.Handle(VerbWrite, func(in *Inbound) {
		if in.Body[0]%2 == 0 {
			in.Reply(in.Body, nil)
			return
		}
		wg.Go(func() { in.Reply(in.Body, nil) })
	})
	b.Serve()
	var calls sync.WaitGroup
	for i := range 400 {
		body := bytes.Repeat([]byte{byte(i), byte(i >> 8), 3}, 1+i*i*7%40000)
		if i%100 == 99 {
			body = bytes.Repeat([]byte{byte(i)}, 3<<20)
		}
		calls.Add(1)
		a.Send(&Call{To: b.self(), Verb: VerbWrite, Body: body, Timeout: time.Minute, Done: func(got []byte, err error) {
			defer calls.Done()
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("call %d: %d bytes back of %d, %v", i, len(got), len(body), err)
			}
		}})
	}
	calls.Wait()
	wg.Wait()
}

func TestWrongPeer(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 9)})
	b := newTCP(t, Options{Identity: identity(2, 9)})
	other := newTCP(t, Options{Identity: identity(3, 8)})
	for _, tr := range []*TCP{a, b, other} {
		tr.Handle(VerbPing, echo)
		tr.Serve()
	}
	r := call(a, Peer{ID: vnodes.HostID{5}, Addr: b.Addr().String()}, VerbPing, nil, time.Minute)
	if !errors.Is(r.err, ErrWrongPeer) || !strings.Contains(r.err.Error(), vnodes.HostID{2}.String()) {
		t.Fatalf("another host id: %v", r.err)
	}
	for _, p := range []Peer{other.self(), {Addr: other.Addr().String()}} {
		if r = call(a, p, VerbPing, nil, time.Minute); !errors.Is(r.err, ErrWrongPeer) {
			t.Fatalf("another cluster, asked for %v: %v", p, r.err)
		}
	}
	if r = call(a, Peer{Addr: b.Addr().String()}, VerbPing, []byte("x"), time.Minute); r.err != nil {
		t.Fatalf("whoever answers: %v", r.err)
	}
}

// Before there is a cluster only founding's verbs pass; SetIdentity opens the rest on the connections that are there.
func TestIdentityChangesOnce(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 0)}), newTCP(t, Options{Identity: identity(2, 0)})
	b.Handle(VerbPing, echo)
	from := make(chan Peer, 1)
	b.Handle(VerbWrite, func(in *Inbound) { from <- in.From; in.Reply(nil, nil) })
	b.Serve()
	var re *RemoteError
	if r := call(a, b.self(), VerbPing, nil, time.Minute); r.err != nil {
		t.Fatal(r.err)
	}
	refused := func(when string) {
		t.Helper()
		if r := call(a, b.self(), VerbWrite, nil, time.Minute); !errors.As(r.err, &re) || re.Code != CodeNotReady {
			t.Fatalf("%s: %v", when, r.err)
		}
	}
	refused("no cluster on either side")
	if err := a.SetIdentity(identity(1, 9)); err != nil {
		t.Fatal(err)
	}
	refused("only the caller has a cluster")
	if err := b.SetIdentity(identity(2, 9)); err != nil {
		t.Fatal(err)
	}
	if r := call(a, b.self(), VerbWrite, nil, time.Minute); r.err != nil {
		t.Fatalf("both in the cluster: %v", r.err)
	}
	if p := <-from; p != a.self() {
		t.Fatalf("from %v", p)
	}
	if n := connections(a); n != 1 {
		t.Fatalf("%d connections, want the first one to live on", n)
	}
	if err := b.SetIdentity(identity(2, 8)); err != nil {
		t.Fatal(err)
	}
	for { // the hello of another cluster ends the connection; calls before it arrives are still answered
		if r := call(a, b.self(), VerbPing, nil, time.Minute); errors.Is(r.err, ErrWrongPeer) {
			break
		} else if r.err != nil && !errors.Is(r.err, ErrUnreachable) {
			t.Fatal(r.err)
		}
	}
}

// An identity that changes after a connection's hello and before its first request is told in between.
func TestIdentityChangesDuringTheHello(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 0)})
	c := newClientConn(a.link(Peer{Addr: "127.61.1.9:1"}, laneData))
	told := a.ident.Load()
	if err := a.SetIdentity(identity(1, 9)); err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	if err := c.open(told, here); err != nil {
		t.Fatal(err)
	}
	if want := appendHello(nil, a.ident.Load()); !bytes.Equal(c.out.mu.buf, want) {
		t.Fatalf("waiting to be sent: %x, want %x", c.out.mu.buf, want)
	}
}

func connections(t *TCP) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.mu.conns)
}

func TestTimeoutThenLateAnswer(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9), Ping: time.Hour, Silence: 3 * time.Hour}), newTCP(t, Options{Identity: identity(2, 9)})
	held := make(chan *Inbound, 1)
	b.Handle(VerbRead, func(in *Inbound) { held <- in })
	b.Handle(VerbPing, echo)
	b.Serve()
	var dones atomic.Int32
	ch := make(chan error, 2)
	start := time.Now()
	a.Send(&Call{To: b.self(), Verb: VerbRead, Timeout: 40 * time.Millisecond, Done: func(_ []byte, err error) { dones.Add(1); ch <- err }})
	select {
	case err := <-ch:
		if !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a timeout waited for the next ping")
	}
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Fatalf("timed out after %v", took)
	}
	(<-held).Reply([]byte("late"), nil)
	if r := call(a, b.self(), VerbPing, []byte("next"), time.Minute); r.err != nil || string(r.body) != "next" {
		t.Fatalf("after a late answer: %q %v", r.body, r.err)
	}
	if dones.Load() != 1 {
		t.Fatalf("Done called %d times", dones.Load())
	}
}

// A request whose time ran out while an earlier one of its burst kept the reader busy is not run.
func TestExpiredIsNotRun(t *testing.T) {
	b := newTCP(t, Options{Identity: identity(2, 9)})
	b.Handle(VerbRead, func(in *Inbound) { <-time.After(time.Until(in.Deadline)); in.Reply(nil, nil) })
	b.Handle(VerbWrite, func(in *Inbound) { t.Error("an expired request was run"); in.Reply(nil, nil) })
	b.Serve()
	nc := dialRaw(t, b)
	burst := appendRequest(greeting(), 1<<32, &Call{Verb: VerbRead}, 60*time.Millisecond)
	if _, err := nc.Write(appendRequest(burst, 2<<32, &Call{Verb: VerbWrite}, 20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	fr := newFrameReader(nc, 1<<20)
	if err := fr.preamble(); err != nil {
		t.Fatal(err)
	}
	for f := (frame{}); f.id != 2<<32; {
		if err := fr.next(&f); err != nil {
			t.Fatal(err)
		}
		if f.id == 2<<32 && Code(f.code) != CodeExpired {
			t.Fatalf("answered %+v, want CodeExpired", f)
		}
	}
	if n := b.Stats().Expired.Load(); n == 0 {
		t.Error("not counted")
	}
}

func TestStats(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9)}), newTCP(t, Options{Identity: identity(2, 9)})
	b.Handle(VerbPing, echo)
	b.Serve()
	for range 3 {
		if r := call(a, b.self(), VerbPing, nil, time.Minute); r.err != nil {
			t.Fatal(r.err)
		}
	}
	x, y := a.Stats(), b.Stats()
	if x.Calls.Load() != 3 || y.Requests.Load() != 3 || y.Inbound.Load() != 1 || x.Dials.Load() != 1 || x.BytesOut.Load() == 0 ||
		y.BytesOut.Load() == 0 || y.BytesIn.Load() == 0 {
		t.Fatalf("a counted %+v, b %+v", x, y)
	}
}

func TestRefusedConnectionBacksOffAndRecovers(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 9), Backoff: time.Hour})
	ln, err := net.Listen("tcp", "127.61.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	p := Peer{ID: vnodes.HostID{2}, Addr: addr}
	if r := call(a, p, VerbPing, nil, time.Minute); !errors.Is(r.err, ErrUnreachable) {
		t.Fatal(r.err)
	}
	b, err := Listen(addr, Options{Identity: identity(2, 9), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Handle(VerbPing, echo)
	b.Serve()
	if r := call(a, p, VerbPing, nil, time.Minute); !errors.Is(r.err, ErrUnreachable) {
		t.Fatalf("dialled during the pause: %v", r.err)
	}
	l := a.link(p, laneData)
	l.dial.Lock()
	l.dial.retryAt = 0 // the pause is over
	l.dial.Unlock()
	if r := call(a, p, VerbPing, nil, time.Minute); r.err != nil {
		t.Fatalf("after the peer is back: %v", r.err)
	}
}

// TestRetryEndsThePause: a node that has started again is called before the pause after failed dials is over, when gossip has heard of it, or when it
// has called us.
func TestRetryEndsThePause(t *testing.T) {
	for _, tc := range []struct {
		name string
		news func(a, b *TCP)
	}{
		{"Retry", func(a, b *TCP) {
			a.Retry(b.self())
			a.Retry(Peer{ID: vnodes.HostID{3}, Addr: b.self().Addr}) // never called
		}},
		{"a call from it", func(a, b *TCP) { call(b, a.self(), VerbPing, nil, time.Minute) }},
	} {
		t.Run(tc.name, func(t *testing.T) { testEndOfPause(t, tc.news) })
	}
}

func testEndOfPause(t *testing.T, news func(a, b *TCP)) {
	t.Helper()
	a := newTCP(t, Options{Identity: identity(1, 9), Backoff: time.Hour})
	ln, err := net.Listen("tcp", "127.61.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Peer{ID: vnodes.HostID{2}, Addr: ln.Addr().String()}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if r := call(a, p, VerbPing, nil, time.Minute); !errors.Is(r.err, ErrUnreachable) {
		t.Fatal(r.err)
	}
	b, err := Listen(p.Addr, Options{Identity: identity(2, 9), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Handle(VerbPing, echo)
	b.Serve()
	a.Handle(VerbPing, echo)
	a.Serve()
	news(a, b)
	if r := call(a, p, VerbPing, nil, time.Minute); r.err != nil {
		t.Fatalf("after the peer is known to be up: %v", r.err)
	}
}

func TestPeerDiesFailsCallsAtOnce(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9)}), newTCP(t, Options{Identity: identity(2, 9)})
	held := make(chan *Inbound, 10)
	b.Handle(VerbRead, func(in *Inbound) { held <- in })
	b.Serve()
	ch := make(chan error, 10)
	for range 10 {
		a.Send(&Call{To: b.self(), Verb: VerbRead, Timeout: time.Hour, Done: func(_ []byte, err error) { ch <- err }})
	}
	for range 10 {
		<-held
	}
	b.Close()
	for range 10 {
		if err := <-ch; !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
	}
}

// A peer that was cut off silently: bytes vanish, nothing is reset.
func TestSilenceFailsCalls(t *testing.T) {
	ln, err := net.Listen("tcp", "127.61.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() { // says hello, then swallows everything
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		h := helloFrame{Identity: identity(2, 9)}
		nc.Write(appendHello(appendPreamble(nil), &h))
		io.Copy(io.Discard, nc)
	}()
	a := newTCP(t, Options{Identity: identity(1, 9), Ping: 20 * time.Millisecond, Silence: 100 * time.Millisecond})
	r := call(a, Peer{Addr: ln.Addr().String()}, VerbRead, nil, time.Hour)
	if !errors.Is(r.err, ErrUnreachable) || !errors.Is(r.err, errSilent) {
		t.Fatal(r.err)
	}
	<-done
}

// Pings keep a connection that nobody uses, and one whose calls take longer than silence.
func TestPingsKeepQuietConnections(t *testing.T) {
	o := Options{Identity: identity(1, 9), Ping: 10 * time.Millisecond, Silence: 500 * time.Millisecond}
	a := newTCP(t, o)
	o.Identity = identity(2, 9)
	b := newTCP(t, o)
	b.Handle(VerbRead, func(in *Inbound) { time.AfterFunc(700*time.Millisecond, func() { in.Reply(nil, nil) }) })
	b.Serve()
	if r := call(a, b.self(), VerbRead, nil, time.Hour); r.err != nil {
		t.Fatal(r.err)
	}
}

func TestCloseFailsOutstanding(t *testing.T) {
	a, b := newTCP(t, Options{Identity: identity(1, 9)}), newTCP(t, Options{Identity: identity(2, 9)})
	held := make(chan *Inbound, 1)
	b.Handle(VerbRead, func(in *Inbound) { held <- in })
	b.Serve()
	ch := make(chan error, 1)
	done := func(_ []byte, err error) { ch <- err }
	a.Send(&Call{To: b.self(), Verb: VerbRead, Timeout: time.Hour, Done: done})
	in := <-held
	a.Close()
	if err := <-ch; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	a.Send(&Call{To: b.self(), Verb: VerbRead, Done: done})
	if err := <-ch; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	b.Close()
	in.Reply([]byte("too late"), nil) // must not panic
	in.Reply(nil, nil)                // a bug of the handler, told in the log
}

func TestLimits(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 9), InFlight: 4, MaxMessage: 1 << 20})
	b := newTCP(t, Options{Identity: identity(2, 9), InFlight: 3, MaxMessage: 1 << 20})
	held := make(chan *Inbound, 4)
	b.Handle(VerbRead, func(in *Inbound) { held <- in })
	b.Handle(VerbStream, func(in *Inbound) { in.Reply(make([]byte, 2<<20), nil) })
	b.Serve()
	if r := call(a, b.self(), VerbWrite, make([]byte, 1<<20), time.Minute); !errors.Is(r.err, ErrTooLarge) {
		t.Fatal(r.err)
	}
	var re *RemoteError
	if r := call(a, b.self(), VerbStream, nil, time.Minute); !errors.As(r.err, &re) || !strings.Contains(re.Message, "larger than the limit") {
		t.Fatal(r.err)
	}
	ch := make(chan error, 8)
	for range 5 {
		a.Send(&Call{To: b.self(), Verb: VerbRead, Timeout: time.Hour, Done: func(_ []byte, err error) { ch <- err }})
	}
	var ours, theirs int
	for range 2 {
		if err := <-ch; errors.Is(err, ErrOverloaded) {
			ours++
		} else if errors.As(err, &re) && re.Code == CodeOverloaded {
			theirs++
		}
	}
	if ours != 1 || theirs != 1 {
		t.Fatalf("%d refused here and %d there, want one each", ours, theirs)
	}
	if got := a.Stats().Overloaded.Load(); got != 1 {
		t.Errorf("%d calls counted as refused here, want 1", got)
	}
	if got := b.Stats().Shed.Load(); got != 1 {
		t.Errorf("%d requests counted as refused there, want 1", got)
	}
	for range 3 {
		(<-held).Reply(nil, nil)
		if err := <-ch; err != nil {
			t.Fatal(err)
		}
	}
}

func TestIdleConnectionIsClosedAndDialledAgain(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 9), Ping: 5 * time.Millisecond, Idle: 20 * time.Millisecond})
	b := newTCP(t, Options{Identity: identity(2, 9)})
	b.Handle(VerbPing, echo)
	b.Serve()
	for range 2 {
		if r := call(a, b.self(), VerbPing, nil, time.Minute); r.err != nil {
			t.Fatal(r.err)
		}
		a.link(b.self(), laneData).await(t)
	}
}

// await blocks until the link has no connection.
func (l *link) await(t *testing.T) {
	if c := l.cur.Load(); c != nil {
		select {
		case <-c.done:
		case <-time.After(time.Minute):
			t.Fatal("idle connection still open")
		}
	}
}
