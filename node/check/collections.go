package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// collections: sets and maps that all sessions add to. What was acknowledged is in them, and nothing that wasn't issued.
type collections struct {
	suite *Suite
	count []int // adds, by session
	mu    struct {
		sync.Mutex
		outcomes map[int]Outcome // by element; Unknown while under way
	}
}

// addsPerKey is how many adds of each session go to one key.
const addsPerKey = 12

func newCollections(s *Suite) *collections {
	w := &collections{suite: s, count: make([]int, s.o.Sessions)}
	w.mu.outcomes = map[int]Outcome{}
	return w
}

func (w *collections) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("collections") + " (k int PRIMARY KEY, s set<int>, m map<int, int>)"}
}

func (w *collections) prepare(context.Context, *Session) error { return nil }

func collectionKey(k int) string { return fmt.Sprintf("collection %d", k) }

// element is a session's n-th.
func element(session, n int) int { return session*keySpan + n }

func (w *collections) step(ctx context.Context, s *Session) {
	n := w.count[s.id]
	if k := n / addsPerKey; s.rand.IntN(3) == 0 {
		known := w.acked(k)
		if rows, ok := s.read(ctx, collectionKey(k), fmt.Sprintf("SELECT s, m FROM %s WHERE k = %d", w.suite.table("collections"), k)); ok {
			w.judge(k, known, rows)
		}
		return
	}
	w.count[s.id]++
	e, k := element(s.id, n), n/addsPerKey
	w.note(e, Unknown)
	text := fmt.Sprintf("UPDATE %s SET s = s + {%d}, m[%d] = %d WHERE k = %d", w.suite.table("collections"), e, e, e+1, k)
	if s.rand.IntN(2) == 0 {
		text = fmt.Sprintf("UPDATE %s SET s = s + {%d}, m = m + {%d: %d} WHERE k = %d", w.suite.table("collections"), e, e, e+1, k)
	}
	w.note(e, s.write(ctx, collectionKey(k), text))
}

func (w *collections) note(e int, o Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.outcomes[e] = o
}

// acked are the elements of a key that have been acknowledged, by session and number.
func (w *collections) acked(k int) (out []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for session := range w.count {
		for n := k * addsPerKey; n < (k+1)*addsPerKey; n++ {
			if o, ok := w.mu.outcomes[element(session, n)]; ok && o == Done {
				out = append(out, element(session, n))
			}
		}
	}
	return out
}

// judge holds what was read of a key against what had been acknowledged before the read began.
func (w *collections) judge(k int, acked []int, rows []string) {
	bad := func(rule, format string, args ...any) {
		w.suite.violation("collections", rule, collectionKey(k), fmt.Sprintf(format, args...))
	}
	var set, pairs []int
	if len(rows) == 1 {
		s, m, _ := strings.Cut(rows[0], "|")
		var okSet, okMap bool
		set, okSet = elements(s)
		pairs, okMap = pairsOf(m)
		if !okSet || !okMap {
			bad("invented", "%q was read", rows)
			return
		}
	} else if len(rows) > 1 {
		bad("twice", "%q was read: that is more than one row", rows)
		return
	}
	for name, have := range [...][]int{set, pairs} { // the set, the map
		what := [...]string{"set", "map"}[name]
		there := map[int]bool{}
		for _, e := range have {
			switch o, issued := w.outcome(e); {
			case !issued || e%keySpan/addsPerKey != k:
				bad("invented", "%d is in the %s, and was never added", e, what)
			case o == Refused:
				bad("refused", "%d is in the %s, and its write was refused", e, what)
			case there[e]:
				bad("twice", "%d is in the %s twice", e, what)
			}
			there[e] = true
		}
		for _, e := range acked {
			if !there[e] {
				bad("lost", "%d isn't in the %s, and had been acknowledged: %q", e, what, rows)
			}
		}
	}
}

func (w *collections) outcome(e int) (o Outcome, issued bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o, issued = w.mu.outcomes[e]
	return o, issued
}

// elements reads {1, 2}; null is the empty set.
func elements(text string) (out []int, ok bool) {
	inner, ok := strings.CutPrefix(text, "{")
	if text == "null" || text == "{}" {
		return nil, true
	}
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed {
		return nil, false
	}
	for _, part := range strings.Split(inner, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// pairsOf reads the keys of {1: 2, 3: 4} where each value is one more than its key.
func pairsOf(text string) (keys []int, ok bool) {
	flat, ok := elements(strings.ReplaceAll(text, ":", ","))
	if !ok || len(flat)%2 != 0 {
		return nil, false
	}
	for i := 0; i < len(flat); i += 2 {
		if flat[i+1] != flat[i]+1 {
			return nil, false
		}
		keys = append(keys, flat[i])
	}
	return keys, true
}

func (w *collections) final(ctx context.Context, s *Session) {
	last := 0
	for _, n := range w.count {
		last = max(last, n)
	}
	for k := range (last + addsPerKey - 1) / addsPerKey {
		acked := w.acked(k)
		if rows, ok := s.readAll(ctx, "collections", fmt.Sprintf("SELECT s, m FROM %s WHERE k = %d", w.suite.table("collections"), k)); ok {
			w.judge(k, acked, rows)
		}
	}
}
