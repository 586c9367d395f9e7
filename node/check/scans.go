package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// scans: a table of stable rows, written before anything fails, is read in small pages, each through whatever node the session is at, while the
// sessions write and delete other rows among them. Every scan that comes to its end has each stable row exactly once.
type scans struct {
	suite   *Suite
	changed []int // rows written and deleted, by session
	mu      struct {
		sync.Mutex
		scans int // that came to their end
	}
}

const (
	scanPartitions = 12
	// stableRows of each partition have even clustering keys; the rows between them come and go.
	stableRows = 20
)

func newScans(s *Suite) *scans { return &scans{suite: s, changed: make([]int, s.o.Sessions)} }

func (w *scans) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("scans") + " (p int, c int, v int, PRIMARY KEY (p, c))"}
}

// stable is a stable row as it is read.
func stable(p, i int) string { return fmt.Sprintf("%d|%d|%d", p, 2*i, p*stableRows+i) }

func (w *scans) prepare(ctx context.Context, s *Session) error {
	for p := range scanPartitions {
		var b strings.Builder
		b.WriteString("BEGIN UNLOGGED BATCH ")
		for i := range stableRows {
			fmt.Fprintf(&b, "INSERT INTO %s (p, c, v) VALUES (%d, %d, %d); ", w.suite.table("scans"), p, 2*i, p*stableRows+i)
		}
		b.WriteString("APPLY BATCH")
		if r := s.insist(ctx, "scans", &Statement{CQL: b.String(), Level: w.suite.o.Level}); r.Err != nil {
			return r.Err
		}
	}
	return nil
}

func (w *scans) step(ctx context.Context, s *Session) {
	if s.rand.IntN(3) > 0 {
		w.churn(ctx, s)
		return
	}
	query, from, to := "SELECT p, c, v FROM "+w.suite.table("scans"), 0, scanPartitions
	if s.rand.IntN(2) == 0 {
		from = s.rand.IntN(scanPartitions)
		to = from + 1
		query += fmt.Sprintf(" WHERE p = %d", from)
		if s.rand.IntN(2) == 0 {
			query += " ORDER BY c DESC"
		}
	}
	st := Statement{CQL: query, Level: w.suite.o.Read, PageSize: 5 + s.rand.IntN(40)}
	rows, ok := s.scan(ctx, "scans", st)
	if !ok {
		return
	}
	w.mu.Lock()
	w.mu.scans++
	w.mu.Unlock()
	w.judge(st, from, to, rows)
}

// churn writes a row between the stable ones, or deletes one or a few: the clustering keys are odd, those of a session its own.
func (w *scans) churn(ctx context.Context, s *Session) {
	w.changed[s.id]++
	p, c := s.rand.IntN(scanPartitions), 2*s.rand.IntN(stableRows)+1
	text := fmt.Sprintf("INSERT INTO %s (p, c, v) VALUES (%d, %d, -1)", w.suite.table("scans"), p, c)
	switch s.rand.IntN(4) {
	case 0:
		text = fmt.Sprintf("DELETE FROM %s WHERE p = %d AND c = %d", w.suite.table("scans"), p, c)
	case 1: // a range tombstone that ends before the next stable row
		text = fmt.Sprintf("DELETE FROM %s WHERE p = %d AND c > %d AND c < %d", w.suite.table("scans"), p, c-1, c+1)
	}
	s.write(ctx, "scans", text)
}

// judge holds a whole scan of the partitions from, up to and without to, against the stable rows.
func (w *scans) judge(st Statement, from, to int, rows []string) {
	if rule, why := judgeScan(from, to, rows); rule != "" {
		w.suite.violation("scans", rule, "scans", fmt.Sprintf("%s in pages of %d: %s", st.CQL, st.PageSize, why))
	}
}

func judgeScan(from, to int, rows []string) (rule, why string) {
	seen := map[string]bool{}
	found := 0
	for _, r := range rows {
		v, ok := integers(r, 3)
		switch {
		case !ok || v[0] < from || v[0] >= to || v[1] < 0 || v[1] >= 2*stableRows || v[1]%2 == 0 && r != stable(v[0], v[1]/2) || v[1]%2 == 1 && v[2] != -1:
			return "invented", fmt.Sprintf("%q was read, and never written", r)
		case seen[r]:
			return "twice", fmt.Sprintf("%q was read twice", r)
		case v[1]%2 == 0:
			found++
		}
		seen[r] = true
	}
	if found == (to-from)*stableRows {
		return "", ""
	}
	for p := from; p < to; p++ {
		for i := range stableRows {
			if !seen[stable(p, i)] {
				return "lost", fmt.Sprintf("%d of %d stable rows were read; %q isn't there", found, (to-from)*stableRows, stable(p, i))
			}
		}
	}
	return "", ""
}

func (w *scans) final(ctx context.Context, s *Session) {
	query := "SELECT p, c, v FROM " + w.suite.table("scans")
	if rows, ok := s.readAll(ctx, "scans", query); ok {
		w.judge(Statement{CQL: query, PageSize: finalPage}, 0, scanPartitions, rows)
	}
}
