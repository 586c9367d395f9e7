package check

import (
	"context"
	"fmt"
)

// edges: partitions that have a static column and nothing else, among partitions with rows, written before anything fails and read in pages of a few
// rows, so that pages end before, at and behind them. Sessions write and delete other rows in the partitions that have some.
type edges struct{ suite *Suite }

const (
	edgePartitions = 24
	// edgeRows is one more than the clustering keys of a partition with rows: even ones are stable.
	edgeRows = 5
	// edgePage bounds the page sizes of scans, in rows.
	edgePage = 5
)

func newEdges(s *Suite) *edges { return &edges{s} }

func (w *edges) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("edges") + " (p int, c int, s int STATIC, v int, PRIMARY KEY (p, c))"}
}

// edgeAlone says that a partition has statics alone.
func edgeAlone(p int) bool { return p%3 > 0 }

// wantEdge is what is always read of a partition.
func wantEdge(p int) (rows []string) {
	if edgeAlone(p) {
		return []string{fmt.Sprintf("%d|%d|null|null", p, p)}
	}
	for c := 0; c < edgeRows; c += 2 {
		rows = append(rows, fmt.Sprintf("%d|%d|%d|%d", p, p, c, p))
	}
	return rows
}

func (w *edges) prepare(ctx context.Context, s *Session) error {
	table := w.suite.table("edges")
	for p := range edgePartitions {
		statements := []string{fmt.Sprintf("UPDATE %s SET s = %d WHERE p = %d", table, p, p)}
		for c := 0; c < edgeRows && !edgeAlone(p); c += 2 {
			statements = append(statements, fmt.Sprintf("INSERT INTO %s (p, c, v) VALUES (%d, %d, %d)", table, p, c, p))
		}
		for _, text := range statements {
			if r := s.insist(ctx, "edges", &Statement{CQL: text, Level: w.suite.o.Level}); r.Err != nil {
				return r.Err
			}
		}
	}
	return nil
}

func (w *edges) query() string { return "SELECT p, s, c, v FROM " + w.suite.table("edges") }

func (w *edges) step(ctx context.Context, s *Session) {
	if s.rand.IntN(2) == 0 {
		w.churn(ctx, s)
		return
	}
	size := 1 + s.rand.IntN(edgePage)
	if rows, ok := s.scan(ctx, "edges", Statement{CQL: w.query(), Level: w.suite.o.Read, PageSize: size}); ok {
		w.judge(size, rows)
	}
}

// churn writes or deletes a row with an odd clustering key.
func (w *edges) churn(ctx context.Context, s *Session) {
	p, c := 3*s.rand.IntN(edgePartitions/3), 1+2*s.rand.IntN(edgeRows/2)
	text := fmt.Sprintf("INSERT INTO %s (p, c, v) VALUES (%d, %d, -1)", w.suite.table("edges"), p, c)
	if s.rand.IntN(2) == 0 {
		text = fmt.Sprintf("DELETE FROM %s WHERE p = %d AND c = %d", w.suite.table("edges"), p, c)
	}
	s.write(ctx, "edges", text)
}

func (w *edges) judge(size int, rows []string) {
	if rule, why := judgeEdges(rows); rule != "" {
		w.suite.violation("edges", rule, "edges", fmt.Sprintf("in pages of %d: %s", size, why))
	}
}

// judgeEdges holds a whole scan against the stable rows.
func judgeEdges(rows []string) (rule, why string) {
	stable, seen := map[string]bool{}, map[string]bool{}
	for p := range edgePartitions {
		for _, r := range wantEdge(p) {
			stable[r] = true
		}
	}
	for _, r := range rows {
		v, ok := integers(r, 4)
		churned := ok && v[0] >= 0 && v[0] < edgePartitions && !edgeAlone(v[0]) && v[1] == v[0] && v[2]%2 == 1 && v[2] < edgeRows && v[3] == -1
		switch {
		case !stable[r] && !churned:
			return "invented", fmt.Sprintf("%q was read, and never written", r)
		case seen[r]:
			return "twice", fmt.Sprintf("%q was read twice", r)
		}
		seen[r] = true
	}
	for p := range edgePartitions {
		for _, r := range wantEdge(p) {
			if !seen[r] {
				return "lost", fmt.Sprintf("%q isn't there", r)
			}
		}
	}
	return "", ""
}

func (w *edges) final(ctx context.Context, s *Session) {
	if rows, ok := s.readAll(ctx, "edges", w.query()); ok {
		w.judge(finalPage, rows)
	}
}
