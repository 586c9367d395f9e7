package native

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/query"
	"nodedb/query/wire"
)

// gate is an engine whose QUERYs wait; it knows how many wait now and how many began.
type gate struct {
	fakeEngine
	open  chan struct{}
	begun atomic.Int32
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	g.query = func(ctx context.Context, _ *query.Session, cql string, _ *query.Params) (*query.Result, error) {
		g.begun.Add(1)
		select {
		case <-g.open:
			return oneRow(cql), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g
}

// tally counts answers by error code.
type tally struct {
	sync.WaitGroup
	ok, overloaded, failed atomic.Int32
}

func (a *tally) done(r wire.Response, err error) {
	defer a.Done()
	var e *wire.Error
	switch err := errors.Join(err, r.Err()); {
	case err == nil:
		a.ok.Add(1)
	case errors.As(err, &e) && e.Code == wire.CodeOverloaded:
		a.overloaded.Add(1)
	default:
		a.failed.Add(1)
	}
}

func (a *tally) send(t *testing.T, c *wire.Client, n int, cql string) {
	t.Helper()
	a.Add(n)
	for range n {
		if err := c.SendWait(t.Context(), &wire.Query{CQL: cql}, a.done); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInFlightLimit: of one connection's requests no more than the limit and one burst begin, another connection has its own, and all are answered in
// the end.
func TestInFlightLimit(t *testing.T) {
	g := newGate()
	s, addr := start(t, Options{Engine: g, MaxInFlight: 4})
	var a tally
	c := dial(t, addr, wire.ClientOptions{})
	a.send(t, c, 1000, "x")
	waitFor(t, func() bool { return g.begun.Load() >= 4 })
	other := dial(t, addr, wire.ClientOptions{})
	a.send(t, other, 1, "x")
	waitFor(t, func() bool { return g.begun.Load() >= 5 })
	s.pool.mu.Lock()
	queued := s.pool.mu.queued
	s.pool.mu.Unlock()
	if queued > 4+4+1 {
		t.Errorf("%d in flight, the limit is 4 and a burst of 4, and one of another connection", queued)
	}
	close(g.open)
	a.Wait()
	if a.ok.Load() != 1001 {
		t.Errorf("%d answered, %d overloaded, %d failed", a.ok.Load(), a.overloaded.Load(), a.failed.Load())
	}
}

// TestConnBytes: large requests count by their size.
func TestConnBytes(t *testing.T) {
	g := newGate()
	s, addr := start(t, Options{Engine: g, MaxConnBytes: 1 << 20})
	var a tally
	c := dial(t, addr, wire.ClientOptions{})
	a.send(t, c, 30, string(bytes.Repeat([]byte("x"), 300_000)))
	waitFor(t, func() bool { return g.begun.Load() >= 4 })
	s.pool.mu.Lock()
	held := s.pool.mu.bytes
	s.pool.mu.Unlock()
	if held > 1<<20+2*300_100 {
		t.Errorf("%d bytes held", held)
	}
	close(g.open)
	a.Wait()
	if a.ok.Load() != 30 {
		t.Errorf("%d answered", a.ok.Load())
	}
}

// TestOverload: beyond the server's limit requests are shed at once, by OVERLOADED, and the others are answered.
func TestOverload(t *testing.T) {
	g := newGate()
	_, addr := start(t, Options{Engine: g, MaxQueued: 10})
	var a tally
	for range 3 {
		a.send(t, dial(t, addr, wire.ClientOptions{}), 50, "x")
	}
	waitFor(t, func() bool { return a.overloaded.Load() == 140 })
	close(g.open)
	a.Wait()
	if a.ok.Load() != 10 || a.failed.Load() != 0 {
		t.Errorf("%d answered, %d overloaded, %d failed", a.ok.Load(), a.overloaded.Load(), a.failed.Load())
	}
}

// TestQueueTimeout: a request that waited too long for a worker is not run.
func TestQueueTimeout(t *testing.T) {
	g := newGate()
	s, addr := start(t, Options{Engine: g, MaxWorkers: 1, QueueTimeout: time.Nanosecond})
	c := dial(t, addr, wire.ClientOptions{})
	var a tally
	a.send(t, c, 1, "x")
	waitFor(t, func() bool { return g.begun.Load() == 1 })
	a.send(t, c, 5, "x")
	waitFor(t, func() bool { s.pool.mu.Lock(); defer s.pool.mu.Unlock(); return s.pool.mu.queued == 6 })
	close(g.open)
	a.Wait()
	if a.ok.Load() != 1 || a.overloaded.Load() != 5 || g.begun.Load() != 1 {
		t.Errorf("%d answered, %d overloaded, %d begun", a.ok.Load(), a.overloaded.Load(), g.begun.Load())
	}
}

// TestFairness: with one worker, a connection with one request doesn't wait for another's hundred.
func TestFairness(t *testing.T) {
	g := newGate()
	var mu sync.Mutex
	var order []string
	wait := g.query
	g.query = func(ctx context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error) {
		mu.Lock()
		order = append(order, cql)
		mu.Unlock()
		return wait(ctx, s, cql, p)
	}
	s, addr := start(t, Options{Engine: g, MaxWorkers: 1})
	var a tally
	a.send(t, dial(t, addr, wire.ClientOptions{}), 100, "many")
	waitFor(t, func() bool { s.pool.mu.Lock(); defer s.pool.mu.Unlock(); return s.pool.mu.queued == 100 })
	a.send(t, dial(t, addr, wire.ClientOptions{}), 1, "one")
	waitFor(t, func() bool { s.pool.mu.Lock(); defer s.pool.mu.Unlock(); return s.pool.mu.queued == 101 })
	close(g.open)
	a.Wait()
	for i, cql := range order {
		if cql == "one" && i > 2 {
			t.Errorf("the single request was number %d", i+1)
		}
	}
}

// TestSlowReader: for a client that takes no answers, no more of them are made than the bound; others go on; when it reads, it gets all.
func TestSlowReader(t *testing.T) {
	const size, n = 100_000, 400
	var begun atomic.Int32
	row := string(bytes.Repeat([]byte("x"), size))
	s, addr := start(t, Options{MaxPendingBytes: 1 << 20, MaxWorkers: 8, Engine: &fakeEngine{
		query: func(context.Context, *query.Session, string, *query.Params) (*query.Result, error) {
			begun.Add(1)
			return oneRow(row), nil
		},
	}})
	r := dialRaw(t, addr)
	r.startup()
	body := (&wire.Query{CQL: "x", Params: wire.Params{Consistency: 1}}).AppendBody(nil, 4)
	for i := range n {
		r.send(wire.Header{Version: 4, Stream: int16(i), Op: wire.OpQuery}, body)
	}
	var c *conn
	s.mu.Lock()
	for c = range s.mu.open {
	}
	s.mu.Unlock()
	waitFor(t, func() bool { // until no request of it runs, and none will
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return c.lane.stalled && c.lane.inFlight == c.lane.queue.len()
	})
	if stalledAt := begun.Load(); stalledAt > 250 {
		t.Errorf("%d of %d answers made for a client that reads none", stalledAt, n)
	}
	if _, err := dial(t, addr, wire.ClientOptions{}).Query(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	seen := make(map[int16]bool)
	for range n {
		h, body, err := r.reader.Next()
		if err != nil || h.Op != wire.OpResult || len(body) < size {
			t.Fatal(h, err)
		}
		seen[h.Stream] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d answered", len(seen), n)
	}
}

// TestWriteTimeout: a client that never reads is cut off.
func TestWriteTimeout(t *testing.T) {
	row := string(bytes.Repeat([]byte("x"), 32<<20))
	s, addr := start(t, Options{WriteTimeout: 50 * time.Millisecond, Engine: &fakeEngine{
		query: func(context.Context, *query.Session, string, *query.Params) (*query.Result, error) {
			return oneRow(row), nil
		},
	}})
	r := dialRaw(t, addr)
	r.startup()
	r.send(wire.Header{Version: 4, Op: wire.OpQuery}, (&wire.Query{CQL: "x", Params: wire.Params{Consistency: 1}}).AppendBody(nil, 4))
	waitFor(t, func() bool { return s.Connections() == 0 })
}

// TestClientGone: requests of a client that has gone are cancelled, and those that wait are not begun.
func TestClientGone(t *testing.T) {
	g := newGate()
	s, addr := start(t, Options{Engine: g, MaxWorkers: 2})
	c := dial(t, addr, wire.ClientOptions{})
	var a tally
	a.send(t, c, 20, "x")
	waitFor(t, func() bool { s.pool.mu.Lock(); defer s.pool.mu.Unlock(); return s.pool.mu.queued == 20 })
	waitFor(t, func() bool { return g.begun.Load() == 2 })
	c.Close()
	waitFor(t, func() bool { return s.Connections() == 0 })
	if n := g.begun.Load(); n > 2 {
		t.Errorf("%d begun", n)
	}
	a.Wait()
}

func TestFifo(t *testing.T) {
	var f fifo[int]
	next, want := 0, 0
	for i := range 10_000 {
		if i%7 < 4 {
			f.push(next)
			next++
		} else if v, ok := f.take(); ok {
			if v != want {
				t.Fatalf("got %d, want %d", v, want)
			}
			want++
		}
		if f.len() != next-want {
			t.Fatalf("length %d, want %d", f.len(), next-want)
		}
	}
}
