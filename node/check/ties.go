package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ties: all sessions write the same cells with the same timestamps, through whatever node they are at. The highest timestamp wins; among equals a
// tombstone wins over values, and the larger value over the smaller, cell by cell; every node says the same.
type ties struct {
	suite *Suite
	count []int // writes, by session
	mu    struct {
		sync.Mutex
		keys []*tie
	}
}

const (
	// tieLevels is how many timestamps a key is written with.
	tieLevels = 3
	// tiesAgo is how far timestamps lie in the past, which no clock may find too far ahead.
	tiesAgo = time.Hour
	// tieRange bounds values; b falls as a rises.
	tieRange = 1_000_000
)

// tie is what is known of one key.
type tie struct {
	writes []tied
}

// tied is one write of a cell pair; gone is the deletion of both.
type tied struct {
	level   int
	value   int // of a, unless the key has none; b is tieRange-1 less that
	gone    bool
	outcome Outcome
}

func newTies(s *Suite) *ties {
	return &ties{suite: s, count: make([]int, s.o.Sessions)}
}

func (w *ties) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("ties") + " (k int PRIMARY KEY, a int, b int)"}
}

func (w *ties) prepare(context.Context, *Session) error { return nil }

func tieKey(k int) string { return fmt.Sprintf("tie %d", k) }

// step writes the next level of the next key; sessions come to a key at different moments.
func (w *ties) step(ctx context.Context, s *Session) {
	n := w.count[s.id]
	w.count[s.id]++
	k := n / tieLevels
	t := tied{level: n % tieLevels, value: s.rand.IntN(tieRange/(s.suite.o.Sessions+1))*(s.suite.o.Sessions+1) + s.id, outcome: Unknown}
	t.gone = s.rand.IntN(12) == 0
	at := w.begin(k, t)
	text := fmt.Sprintf("UPDATE %s SET a = %d, b = %d WHERE k = %d", w.suite.table("ties"), t.value, tieRange-1-t.value, k)
	if tieNarrow(k) {
		text = fmt.Sprintf("UPDATE %s SET b = %d WHERE k = %d", w.suite.table("ties"), tieRange-1-t.value, k)
	}
	if t.gone {
		text = fmt.Sprintf("DELETE a, b FROM %s WHERE k = %d", w.suite.table("ties"), k)
	}
	stamp := w.suite.history.start.Add(-tiesAgo).UnixMicro() + int64(t.level)
	r := s.do(ctx, tieKey(k), &Statement{CQL: text, Level: w.suite.o.Level, Timestamp: stamp})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.keys[k].writes[at].outcome = r.Outcome
}

func (w *ties) begin(k int, t tied) (at int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.mu.keys) <= k {
		w.mu.keys = append(w.mu.keys, &tie{})
	}
	w.mu.keys[k].writes = append(w.mu.keys[k].writes, t)
	return len(w.mu.keys[k].writes) - 1
}

// absent stands for no value.
const absent = -1

// tieNarrow says that a key has b alone: then replicas whose timestamps are equal differ in the last bytes of a row and nowhere else.
func tieNarrow(k int) bool { return k%3 == 2 }

// possible gives the values that one cell may have: of is what a write gives it.
func (t *tie) possible(of func(tied) int) map[int]bool {
	beats := func(a, b tied) bool { // a over b
		switch {
		case a.level != b.level:
			return a.level > b.level
		case a.gone != b.gone:
			return a.gone
		}
		return of(a) > of(b)
	}
	best := tied{level: -1, gone: true} // of those that surely took effect
	for _, w := range t.writes {
		if w.outcome == Done && beats(w, best) {
			best = w
		}
	}
	out := map[int]bool{}
	add := func(w tied) {
		if w.gone {
			out[absent] = true
		} else {
			out[of(w)] = true
		}
	}
	add(best)
	for _, w := range t.writes {
		if w.outcome == Unknown && beats(w, best) {
			add(w)
		}
	}
	return out
}

// explains says what is wrong with an answer, "" if nothing is.
func (t *tie) explains(rows []string, narrow bool) string {
	a, b := absent, absent
	if len(rows) > 0 {
		row := rows[0]
		if narrow {
			row = strings.Replace(row, "null|", fmt.Sprintf("%d|", absent), 1)
		}
		v, ok := integers(row, 2)
		if !ok || len(rows) > 1 {
			return fmt.Sprintf("%q was read: no write makes that", rows)
		}
		a, b = v[0], v[1]
	}
	as := map[int]bool{absent: true}
	if !narrow {
		as = t.possible(func(w tied) int { return w.value })
	}
	bs := t.possible(func(w tied) int { return tieRange - 1 - w.value })
	if as[a] && bs[b] {
		return ""
	}
	return fmt.Sprintf("%q was read; the winner is one of %v for a and %v for b (-1: none)", rows, as, bs)
}

func (w *ties) final(ctx context.Context, s *Session) {
	for k, t := range w.mu.keys {
		rows, ok := s.readAll(ctx, "ties", fmt.Sprintf("SELECT a, b FROM %s WHERE k = %d", w.suite.table("ties"), k))
		if !ok {
			continue
		}
		if why := t.explains(rows, tieNarrow(k)); why != "" { // where nothing is unknown there is one winner: all nodes say the same
			w.suite.violation("ties", "wrong winner", tieKey(k), why)
		}
	}
}
