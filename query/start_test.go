package query

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// startOrExecute answers a prepared statement as a door does. The result is a copy: a started one is the engine's again when done returns.
func startOrExecute(e *Engine, s *Session, id [16]byte, p *Params) (res *Result, started bool, err error) {
	type answer struct {
		res *Result
		err error
	}
	answers := make(chan answer, 2)
	started = e.Start(context.Background(), s, id, p, func(res *Result, err error) {
		if res != nil {
			c := *res
			c.Rows, c.PageState = bytes.Clone(res.Rows), bytes.Clone(res.PageState)
			res = &c
		}
		answers <- answer{res, err}
	})
	if !started {
		res, err = e.Execute(context.Background(), s, id, p)
		return res, false, err
	}
	a := <-answers
	return a.res, true, a.err
}

// TestStart: which statements are started, and that they end as Execute ends them, also where the cluster fails.
func TestStart(t *testing.T) {
	e, n, s := smallTable(t)
	must(t, e, s, "CREATE TABLE counted (k int PRIMARY KEY, v text)", "CREATE TABLE alone (k int PRIMARY KEY, v text, l list<int>)",
		"INSERT INTO t (k, c, v) VALUES (1, 1, 'a')", "INSERT INTO t (k, c, v) VALUES (1, 2, 'b')", "INSERT INTO alone (k, v) VALUES (1, 'x')")
	for _, c := range []struct {
		text   string
		values [][]byte
		starts bool
	}{
		{"INSERT INTO t (k, c, v) VALUES (?, 1, 'a')", [][]byte{int32Bytes(1)}, true},
		{"INSERT INTO alone JSON '{\"k\": 5, \"v\": \"j\"}'", nil, false},
		{"UPDATE alone SET l = l + [4] WHERE k IN (1, 2)", nil, false},
		{"UPDATE alone SET l = l - [4] WHERE k = 1", nil, false},
		{"DELETE FROM t WHERE k = 9", nil, true},
		{"SELECT * FROM t WHERE k = ? AND c = 1", [][]byte{int32Bytes(1)}, true},
		{"SELECT JSON v FROM t WHERE k = 1 AND c = 2", nil, true},
		{"SELECT v FROM t WHERE k = 1 AND c = 7", nil, true},
		{"SELECT v, count(*) FROM alone WHERE k = 1", nil, true},
		{"SELECT * FROM alone WHERE k = 3", nil, true},
		{"SELECT * FROM t WHERE k = 1", nil, false},
		{"SELECT * FROM t WHERE k = 1 AND c > 1", nil, false},
		{"SELECT * FROM t WHERE k = 1 AND c IN (1, 2)", nil, false},
		{"SELECT * FROM t WHERE k IN (1, 2) AND c = 1", nil, false},
		{"SELECT * FROM t", nil, false},
		{"SELECT * FROM system.local WHERE key = 'local'", nil, false},
		{"INSERT INTO t (k, c, v) VALUES (?, 1, 'a')", [][]byte{nil}, false}, // refused
		{"SELECT * FROM t WHERE k = ? AND c = 1", [][]byte{{1, 2}}, false},   // refused
		{"INSERT INTO t (k, c, v) VALUES (?, 1, 'a')", nil, false},           // refused
		{"BEGIN BATCH INSERT INTO alone (k, v) VALUES (1, 'x') APPLY BATCH", nil, false},
	} {
		prepared, err := e.Prepare(context.Background(), s, c.text, "")
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		for _, failure := range []error{nil, &coordinator.Timeout{Level: 1, BlockFor: 1}} {
			n.mu.Lock()
			n.mu.fail = failure
			n.mu.Unlock()
			p := testParams()
			p.Values, p.Level = c.values, consistency.Two
			got, started, gotErr := startOrExecute(e, s, prepared.ID, p)
			n.mu.Lock()
			if started && n.mu.level != p.Level {
				t.Errorf("%s: asked at %s", c.text, n.mu.level)
			}
			n.mu.Unlock()
			want, wantErr := e.Execute(context.Background(), s, prepared.ID, p)
			if started != c.starts {
				t.Errorf("%s: started: %v", c.text, started)
			}
			if (gotErr == nil) != (wantErr == nil) || gotErr != nil && code(t, gotErr) != code(t, wantErr) {
				t.Errorf("%s: %v, want %v", c.text, gotErr, wantErr)
			}
			if gotErr == nil && (got.Kind != want.Kind || got.RowCount != want.RowCount || !bytes.Equal(got.Rows, want.Rows) || len(got.Columns) != len(want.Columns)) {
				t.Errorf("%s: %+v, want %+v", c.text, got, want)
			}
		}
	}
	n.mu.Lock()
	n.mu.fail = nil
	n.mu.Unlock()
	if e.Start(context.Background(), s, [16]byte{1}, testParams(), nil) {
		t.Error("a statement that is not prepared was started")
	}
}

// silentNode answers when it is told to.
type silentNode struct {
	*oneNode
	waiting []func()
}

func (n *silentNode) Write(_ context.Context, _ *coordinator.WriteRequest, done func(error)) {
	n.waiting = append(n.waiting, func() { done(nil) })
}

func (n *silentNode) Read(_ context.Context, _ *coordinator.ReadRequest, done func([]byte, error)) {
	n.waiting = append(n.waiting, func() { done(nil, nil) })
}

// TestStartIsBounded: beyond its bounds the engine declines, and starts again when some have ended. A large write is never started.
func TestStartIsBounded(t *testing.T) {
	_, n, _ := smallTable(t)
	silent := &silentNode{oneNode: n}
	e, s := NewEngine(silent, Options{}), &Session{Keyspace: "ks"}
	for text, most := range map[string]int{"INSERT INTO t (k, c, v) VALUES (1, 1, ?)": 4096, "SELECT v FROM t WHERE k = 1 AND c = 1 AND v = ? ALLOW FILTERING": 512} {
		prepared, err := e.Prepare(context.Background(), s, text, "")
		if err != nil {
			t.Fatal(err)
		}
		p := testParams()
		p.Values = [][]byte{[]byte("x")}
		ended := 0
		start := func() bool {
			return e.Start(context.Background(), s, prepared.ID, p, func(_ *Result, err error) {
				if ended++; err != nil {
					t.Error(err)
				}
			})
		}
		n := 0
		for n <= most && start() {
			n++
		}
		if n != most {
			t.Errorf("%s: %d started, want %d", text, n, most)
		}
		silent.waiting[0]()
		if !start() || start() {
			t.Errorf("%s: one ended, so one could begin", text)
		}
		for _, end := range silent.waiting[1:] {
			end()
		}
		if silent.waiting = nil; ended != most+1 {
			t.Errorf("%s: %d ended", text, ended)
		}
	}
	large, err := e.Prepare(context.Background(), s, "INSERT INTO t (k, c, v) VALUES (1, 1, ?)", "")
	p := testParams()
	p.Values = [][]byte{[]byte(strings.Repeat("x", 1<<20))}
	if err != nil || e.Start(context.Background(), s, large.ID, p, nil) {
		t.Error(err, "a large write was started")
	}
}

// TestStartedAtOnce: started reads are used again, by many at once, and never show another's row.
func TestStartedAtOnce(t *testing.T) {
	e, _, s := smallTable(t)
	ctx := context.Background()
	insert, err := e.Prepare(ctx, s, "INSERT INTO t (k, c, v) VALUES (?, ?, ?)", "")
	if err != nil {
		t.Fatal(err)
	}
	sel, err := e.Prepare(ctx, s, "SELECT v, k, c FROM t WHERE k = ? AND c = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for k := range int32(8) {
		wg.Go(func() {
			for c := range int32(100) {
				p := testParams()
				v := bytes.Repeat([]byte{byte('a' + k)}, int(c)+1)
				p.Values = [][]byte{int32Bytes(k), int32Bytes(c), v}
				if _, started, err := startOrExecute(e, s, insert.ID, p); err != nil || !started {
					t.Error(started, err)
				}
				p.Values = p.Values[:2]
				res, started, err := startOrExecute(e, s, sel.ID, p)
				want := slices.Concat(int32Bytes(int32(len(v))), v, int32Bytes(4), int32Bytes(k), int32Bytes(4), int32Bytes(c))
				if err != nil || !started || res.RowCount != 1 || !bytes.Equal(res.Rows, want) {
					t.Errorf("%d %d: %v %+v, %v", k, c, started, res, err)
				}
			}
		})
	}
	wg.Wait()
	var we *wire.Error
	p := testParams()
	p.Values = [][]byte{int32Bytes(1), int32Bytes(1)}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if e.Start(gone, s, sel.ID, p, nil) {
		t.Error("a read was started for a client that is gone")
	}
	if _, err := e.Execute(gone, s, sel.ID, p); !errors.As(err, &we) {
		t.Error(err)
	}
}

// handyNode has every page at hand.
type handyNode struct {
	*oneNode
	given int
	level consistency.Level
}

func (n *handyNode) ReadNow(r *coordinator.ReadRequest, buf []byte) ([]byte, bool) {
	n.given, n.level = n.given+1, r.Level
	page, err := n.store.Read(context.Background(), &r.Spec, buf)
	return page, err == nil
}

// TestStartWithPagesAtHand: a page that is at hand is answered before Start returns, as Execute would answer, again and again on the same memory.
func TestStartWithPagesAtHand(t *testing.T) {
	_, n, _ := smallTable(t)
	handy := &handyNode{oneNode: n}
	e, s := NewEngine(handy, Options{}), &Session{Keyspace: "ks"}
	must(t, e, s, "INSERT INTO t (k, c, v) VALUES (1, 1, 'a')", "INSERT INTO t (k, c, v) VALUES (1, 2, 'a longer value than the others')")
	for _, text := range []string{"SELECT * FROM t WHERE k = 1 AND c = 1", "SELECT v FROM t WHERE k = 1 AND c = 2", "SELECT v FROM t WHERE k = 1 AND c = 7",
		"SELECT JSON * FROM t WHERE k = 1 AND c = 2", "SELECT count(*) FROM t WHERE k = 1 AND c = 2", "SELECT v FROM t WHERE k = 1 AND c = 1 LIMIT 1"} {
		prepared, err := e.Prepare(context.Background(), s, text, "")
		if err != nil {
			t.Fatal(err)
		}
		p := testParams()
		p.Level = consistency.Two
		want, err := e.Execute(context.Background(), s, prepared.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			before, answered := handy.given, false
			started := e.Start(context.Background(), s, prepared.ID, p, func(got *Result, err error) {
				answered = true
				if err != nil || got.RowCount != want.RowCount || !bytes.Equal(got.Rows, want.Rows) {
					t.Errorf("%s: %v, %d rows %q, want %d %q", text, err, got.RowCount, got.Rows, want.RowCount, want.Rows)
				}
			})
			if !started || !answered || handy.given == before || handy.level != p.Level {
				t.Errorf("%s: started %v, answered %v, given %d at %s", text, started, answered, handy.given-before, handy.level)
			}
		}
	}
}

// TestStartedReadsExpire: a row that was read, and so may be kept somewhere, ends with its time to live.
func TestStartedReadsExpire(t *testing.T) {
	_, n, _ := smallTable(t)
	e, s := NewEngine(&handyNode{oneNode: n}, Options{}), &Session{Keyspace: "ks"}
	must(t, e, s, "INSERT INTO t (k, c, v) VALUES (1, 1, 'a') USING TTL 10")
	prepared, err := e.Prepare(context.Background(), s, "SELECT v, ttl(v) FROM t WHERE k = 1 AND c = 1", "")
	if err != nil {
		t.Fatal(err)
	}
	for second, want := range []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0} {
		n.seconds.Store(startSeconds + int64(second))
		res, _, err := startOrExecute(e, s, prepared.ID, testParams())
		if err != nil || res.RowCount != want {
			t.Errorf("%d seconds later: %d rows, %v", second, res.RowCount, err)
		}
		if want == 1 && !bytes.HasSuffix(res.Rows, int32Bytes(int32(10-second))) {
			t.Errorf("%d seconds later: %x", second, res.Rows)
		}
	}
}
