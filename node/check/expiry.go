package check

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// expiry: rows with a TTL, each written once. They are there until shortly before it ends, and gone shortly after; Options.Slack is how far clocks may
// be apart, and a second more for the granularity of expiry.
type expiry struct {
	suite *Suite
	rows  [][]mortal // by session and number; only the session itself writes to its own
	mu    struct {
		sync.Mutex
		end time.Duration // when the last row will be gone for sure
	}
}

// mortal is a row that expires.
type mortal struct {
	outcome     Outcome
	live, death time.Duration // until live it has to be there; from death on it must not; since the suite was made
}

// mortalsPerPartition is how many rows of a session share a partition.
const mortalsPerPartition = 8

func newExpiry(s *Suite) *expiry { return &expiry{suite: s, rows: make([][]mortal, s.o.Sessions)} }

func (w *expiry) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("expiry") + " (s int, p int, c int, v int, PRIMARY KEY ((s, p), c))"}
}

func (w *expiry) prepare(context.Context, *Session) error { return nil }

func expiryKey(session, p int) string { return fmt.Sprintf("expiry %d.%d", session, p) }

func (w *expiry) query(session, p int) string {
	return fmt.Sprintf("SELECT c, v FROM %s WHERE s = %d AND p = %d", w.suite.table("expiry"), session, p)
}

func (w *expiry) step(ctx context.Context, s *Session) {
	n := len(w.rows[s.id])
	if n > 0 && s.rand.IntN(2) == 0 {
		p := max(0, n/mortalsPerPartition-s.rand.IntN(3))
		began := w.now()
		if rows, ok := s.read(ctx, expiryKey(s.id, p), w.query(s.id, p)); ok {
			w.judge(s.id, p, began, w.now(), rows)
		}
		return
	}
	slack := w.suite.o.Slack + time.Second
	ttl := slack.Truncate(time.Second) + time.Duration(1+s.rand.IntN(int(2*slack/time.Second)))*time.Second
	m := mortal{outcome: Unknown, live: w.now() + ttl - slack}
	w.rows[s.id] = append(w.rows[s.id], m)
	p := n / mortalsPerPartition
	m.outcome = s.write(ctx, expiryKey(s.id, p), fmt.Sprintf("INSERT INTO %s (s, p, c, v) VALUES (%d, %d, %d, %d) USING TTL %d", w.suite.table("expiry"),
		s.id, p, n, n, ttl/time.Second))
	m.death = w.now() + ttl + slack
	w.rows[s.id][n] = m
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.end = max(w.mu.end, m.death)
}

func (w *expiry) now() time.Duration { return time.Since(w.suite.history.start) }

// judge holds a read of a partition, that began and ended at these times, against what was written.
func (w *expiry) judge(session, p int, began, ended time.Duration, rows []string) {
	bad := func(rule, format string, args ...any) {
		w.suite.violation("expiry", rule, expiryKey(session, p), fmt.Sprintf(format, args...))
	}
	there := map[int]bool{}
	for _, r := range rows {
		v, ok := integers(r, 2)
		if !ok || v[0] != v[1] || v[0]/mortalsPerPartition != p || v[0] >= len(w.rows[session]) || there[v[0]] {
			bad("invented", "%q was read", r)
			continue
		}
		there[v[0]] = true
	}
	for n := p * mortalsPerPartition; n < min((p+1)*mortalsPerPartition, len(w.rows[session])); n++ {
		switch m := w.rows[session][n]; {
		case m.outcome == Refused && there[n]:
			bad("refused", "row %d was read, and its write was refused", n)
		case m.outcome == Done && !there[n] && ended < m.live:
			bad("lost", "row %d isn't read at %s, and lives until %s", n, ended, m.live)
		case m.outcome == Done && there[n] && began > m.death: // an unknown write may come late, and live longer
			bad("undead", "row %d is read at %s, and should be gone since %s", n, began, m.death)
		}
	}
}

func (w *expiry) final(ctx context.Context, s *Session) {
	w.mu.Lock()
	end := w.mu.end
	w.mu.Unlock()
	if now := w.now(); now <= end {
		s.sleep(ctx, end-now+1)
	}
	for session := range w.rows {
		for p := 0; p*mortalsPerPartition < len(w.rows[session]); p++ {
			began := w.now()
			if rows, ok := s.readAll(ctx, "expiry", w.query(session, p)); ok {
				w.judge(session, p, began, w.now(), rows)
			}
		}
	}
}
