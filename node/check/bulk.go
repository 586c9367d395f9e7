package check

import (
	"context"
	"fmt"
	"strings"
)

// bulk: partitions of many rows, which their session appends to in batches: enough rows for ranges of a small cluster to be cut into pieces when replicas
// are compared. Every acknowledged batch is there, and each is there as a whole or not at all.
type bulk struct {
	suite  *Suite
	issued [][]Outcome // by session and number; only the session itself appends to its own
}

const (
	bulkRows = 24 // of a batch
	// bulkPerPartition is how many batches of a session share a partition.
	bulkPerPartition = 8
)

func newBulk(s *Suite) *bulk { return &bulk{s, make([][]Outcome, s.o.Sessions)} }

func (w *bulk) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("bulk") + " (s int, p int, c int, n int, PRIMARY KEY ((s, p), c))"}
}

func (w *bulk) prepare(context.Context, *Session) error { return nil }

func bulkKey(session, p int) string { return fmt.Sprintf("bulk %d.%d", session, p) }

func (w *bulk) query(session, p int) string {
	return fmt.Sprintf("SELECT c, n FROM %s WHERE s = %d AND p = %d", w.suite.table("bulk"), session, p)
}

func (w *bulk) step(ctx context.Context, s *Session) {
	n := len(w.issued[s.id])
	if n > 0 && s.rand.IntN(8) == 0 {
		p := s.rand.IntN(n) / bulkPerPartition
		if rows, ok := s.read(ctx, bulkKey(s.id, p), w.query(s.id, p)); ok {
			w.judge(s.id, p, rows)
		}
		return
	}
	p := n / bulkPerPartition
	var b strings.Builder
	b.WriteString("BEGIN UNLOGGED BATCH ")
	for i := range bulkRows {
		fmt.Fprintf(&b, "INSERT INTO %s (s, p, c, n) VALUES (%d, %d, %d, %d); ", w.suite.table("bulk"), s.id, p, n*bulkRows+i, n)
	}
	b.WriteString("APPLY BATCH")
	w.issued[s.id] = append(w.issued[s.id], Unknown)
	w.issued[s.id][n] = s.write(ctx, bulkKey(s.id, p), b.String())
}

// judge holds a partition against what was acknowledged.
func (w *bulk) judge(session, p int, rows []string) {
	bad := func(rule, format string, args ...any) {
		w.suite.violation("bulk", rule, bulkKey(session, p), fmt.Sprintf(format, args...))
	}
	first, found := p*bulkPerPartition, make([]int, bulkPerPartition)
	end := min(first+bulkPerPartition, len(w.issued[session]))
	last := -1
	for _, r := range rows {
		v, ok := integers(r, 2)
		if !ok || v[0] <= last || v[0]/bulkRows != v[1] || v[1] < first || v[1] >= end {
			bad("invented", "%q was read behind row %d", r, last)
			return
		}
		last = v[0]
		found[v[1]-first]++
	}
	for n := first; n < end; n++ {
		switch have := found[n-first]; {
		case have > 0 && have < bulkRows:
			bad("torn", "%d of the %d rows of batch %d were read", have, bulkRows, n)
		case have > 0 && w.issued[session][n] == Refused:
			bad("refused", "batch %d was read, and was refused", n)
		case have == 0 && w.issued[session][n] == Done:
			bad("lost", "batch %d was acknowledged, and isn't read", n)
		}
	}
}

func (w *bulk) final(ctx context.Context, s *Session) {
	for session, issued := range w.issued {
		for p := 0; p*bulkPerPartition < len(issued); p++ {
			if rows, ok := s.readAll(ctx, "bulk", w.query(session, p)); ok {
				w.judge(session, p, rows)
			}
		}
	}
}
