package check

import (
	"context"
	"fmt"
)

// appends: rows that are written once, each by one session. Every acknowledged one is there, as it was written, and no other.
type appends struct {
	suite  *Suite
	issued [][]Outcome // by session and number; only the session itself appends to its own
}

// appendsPerPartition is how many rows of a session share a partition.
const appendsPerPartition = 32

func newAppends(s *Suite) *appends { return &appends{s, make([][]Outcome, s.o.Sessions)} }

func (w *appends) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("appends") + " (s int, p int, c int, v text, PRIMARY KEY ((s, p), c))"}
}

func (w *appends) prepare(context.Context, *Session) error { return nil }

func appendKey(session, partition int) string {
	return fmt.Sprintf("appends %d.%d", session, partition)
}

func appendText(session, n int) string { return fmt.Sprintf("row %d of session %d", n, session) }

func (w *appends) step(ctx context.Context, s *Session) {
	n := len(w.issued[s.id])
	if n > 0 && s.rand.IntN(4) == 0 {
		p := s.rand.IntN(n) / appendsPerPartition
		query := fmt.Sprintf("SELECT s, c, v FROM %s WHERE s = %d AND p = %d", w.suite.table("appends"), s.id, p)
		if rows, ok := s.read(ctx, appendKey(s.id, p), query); ok {
			w.judge(s.id, p*appendsPerPartition, min(n, (p+1)*appendsPerPartition), rows)
		}
		return
	}
	p := n / appendsPerPartition
	w.issued[s.id] = append(w.issued[s.id], Unknown)
	w.issued[s.id][n] = s.write(ctx, appendKey(s.id, p), fmt.Sprintf("INSERT INTO %s (s, p, c, v) VALUES (%d, %d, %d, '%s')",
		w.suite.table("appends"), s.id, p, n, appendText(s.id, n)))
}

// judge holds the rows of a session with numbers from, up to and without to, against what was acknowledged.
func (w *appends) judge(session, from, to int, rows []string) {
	found := make([]bool, to-from)
	for _, r := range rows {
		owner, n := -1, -1
		_, err := fmt.Sscanf(r, "%d|%d|", &owner, &n)
		key := appendKey(owner, max(n, 0)/appendsPerPartition)
		switch {
		case err != nil || owner != session || n < from || n >= to || r != fmt.Sprintf("%d|%d|%s", owner, n, appendText(owner, n)):
			w.suite.violation("appends", "invented", key, fmt.Sprintf("%q was read, and never written", r))
		case w.issued[owner][n] == Refused:
			w.suite.violation("appends", "refused", key, fmt.Sprintf("%q was read, and its write was refused", r))
		case found[n-from]:
			w.suite.violation("appends", "twice", key, fmt.Sprintf("%q was read twice", r))
		default:
			found[n-from] = true
		}
	}
	for i, ok := range found {
		if n := from + i; !ok && w.issued[session][n] == Done {
			w.suite.violation("appends", "lost", appendKey(session, n/appendsPerPartition), fmt.Sprintf("row %d of session %d was acknowledged, and isn't read",
				n, session))
		}
	}
}

func (w *appends) final(ctx context.Context, s *Session) {
	rows, ok := s.readAll(ctx, "appends", "SELECT s, c, v FROM "+w.suite.table("appends"))
	if !ok {
		return
	}
	bySession := make([][]string, len(w.issued))
	for _, r := range rows {
		owner := -1
		if _, err := fmt.Sscanf(r, "%d|", &owner); err != nil || owner < 0 || owner >= len(bySession) {
			w.suite.violation("appends", "invented", "appends", fmt.Sprintf("%q was read, and never written", r))
			continue
		}
		bySession[owner] = append(bySession[owner], r)
	}
	for session, rows := range bySession {
		w.judge(session, 0, len(w.issued[session]), rows)
	}
}
