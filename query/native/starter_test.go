package native

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"nodedb/query"
	"nodedb/query/wire"
)

// TestStarter: what an engine starts is answered by its end; what it declines, and everything but EXECUTE, goes to the workers.
func TestStarter(t *testing.T) {
	var executed, queried atomic.Int32
	e := newStartingEngine(t)
	e.decline = func(id [16]byte) bool {
		if id[0] == 4 {
			panic("oh")
		}
		return id[0] == 2
	}
	e.execute = func(_ context.Context, _ *query.Session, id [16]byte, p *query.Params) (*query.Result, error) {
		executed.Add(1)
		if id[0] == 3 {
			return nil, &wire.Error{Code: wire.CodeUnprepared, ID: id}
		}
		if id[0] == 5 {
			return nil, &query.Panicked{Value: "oh"}
		}
		return oneRow(string(p.Values[0])), nil
	}
	e.query = func(_ context.Context, _ *query.Session, cql string, _ *query.Params) (*query.Result, error) {
		queried.Add(1)
		return oneRow(cql), nil
	}
	_, addr := start(t, Options{Engine: e})
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		c := dial(t, addr, wire.ClientOptions{Version: v})
		for _, id := range []byte{1, 2, 4} {
			st := &wire.Prepared{ID: bytes.Repeat([]byte{id}, 16), ResultID: noColumns[:]}
			res, err := c.Execute(t.Context(), st, &wire.Params{Consistency: 1, Values: [][]byte{{'a', id}}})
			if err != nil || !res.Next() || !bytes.Equal(res.Row()[0], []byte{'a', id}) {
				t.Errorf("v%d id %d: %v", v, id, err)
			}
		}
		var e *wire.Error
		if _, err := c.Execute(t.Context(), &wire.Prepared{ID: bytes.Repeat([]byte{3}, 16)}, nil); !errors.As(err, &e) || e.Code != wire.CodeUnprepared || e.ID[9] != 3 {
			t.Errorf("v%d: %v", v, err)
		}
		if _, err := c.Execute(t.Context(), &wire.Prepared{ID: bytes.Repeat([]byte{5}, 16)}, nil); !errors.As(err, &e) || e.Code != wire.CodeServer {
			t.Errorf("v%d: %v", v, err)
		}
		if _, err := c.Execute(t.Context(), &wire.Prepared{ID: []byte("short")}, nil); !errors.As(err, &e) || e.Code != wire.CodeInvalid {
			t.Errorf("v%d: %v", v, err)
		}
		if _, err := c.Query(t.Context(), "x", nil); err != nil {
			t.Errorf("v%d: %v", v, err)
		}
	}
	if executed.Load() != 10 || queried.Load() != 2 {
		t.Errorf("%d executed, %d queried", executed.Load(), queried.Load())
	}
}

// TestStarterBounds: started requests count for the in-flight limit, and none are started while the client takes no answers.
func TestStarterBounds(t *testing.T) {
	const size, n = 100_000, 400
	var begun atomic.Int32
	row := string(bytes.Repeat([]byte("x"), size))
	e := newStartingEngine(t)
	e.execute = func(context.Context, *query.Session, [16]byte, *query.Params) (*query.Result, error) {
		begun.Add(1)
		return oneRow(row), nil
	}
	s, addr := start(t, Options{MaxPendingBytes: 1 << 20, MaxInFlight: 8, Engine: e})
	r := dialRaw(t, addr)
	r.startup()
	body := (&wire.Execute{ID: make([]byte, 16), Params: wire.Params{Consistency: 1}}).AppendBody(nil, 4)
	for i := range n {
		r.send(wire.Header{Version: 4, Stream: int16(i), Op: wire.OpExecute}, body)
	}
	waitFor(t, func() bool { // the reader waits, and nothing that it started is on its way
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		for c := range s.mu.open {
			return c.lane.waiting && c.lane.stalled && c.lane.inFlight == 0
		}
		return false
	})
	if stalledAt := begun.Load(); stalledAt > 250 {
		t.Errorf("%d of %d answers made for a client that reads none", stalledAt, n)
	}
	for range n {
		if h, body, err := r.reader.Next(); err != nil || h.Op != wire.OpResult || len(body) < size {
			t.Fatal(h, err)
		}
	}
}
