package check

import (
	"context"
	"fmt"
	"sync"
)

// graves: partitions with a static column and a row, each written and then deleted as a whole by one session. What an acknowledged deletion covered is
// never read again.
type graves struct {
	suite *Suite
	made  []int // partitions, by session
	mu    struct {
		sync.Mutex
		dead []int
	}
}

func newGraves(s *Suite) *graves { return &graves{suite: s, made: make([]int, s.o.Sessions)} }

func (w *graves) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("graves") + " (p int, c int, s int STATIC, v int, PRIMARY KEY (p, c))"}
}

func (w *graves) prepare(context.Context, *Session) error { return nil }

func graveKey(p int) string { return fmt.Sprintf("grave %d", p) }

func (w *graves) query(p int) string {
	return fmt.Sprintf("SELECT s, c, v FROM %s WHERE p = %d", w.suite.table("graves"), p)
}

func (w *graves) step(ctx context.Context, s *Session) {
	if p, ok := w.any(s); ok && s.rand.IntN(2) == 0 {
		if rows, ok := s.read(ctx, graveKey(p), w.query(p)); ok {
			w.judge(p, rows)
		}
		return
	}
	p := s.id*keySpan + w.made[s.id]
	w.made[s.id]++
	born := s.write(ctx, graveKey(p), fmt.Sprintf("INSERT INTO %s (p, c, s, v) VALUES (%d, 1, %d, 1)", w.suite.table("graves"), p, p))
	s.pause(ctx)
	died := s.write(ctx, graveKey(p), fmt.Sprintf("DELETE FROM %s WHERE p = %d", w.suite.table("graves"), p))
	if died == Done && (born != Unknown || s.hops()) { // as in owned: else the row may be newer than its deletion
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mu.dead = append(w.mu.dead, p)
	}
}

// any is one of the newest graves.
func (w *graves) any(s *Session) (p int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.mu.dead)
	if n == 0 {
		return 0, false
	}
	return w.mu.dead[n-1-s.rand.IntN(min(n, recentKeys))], true
}

func (w *graves) judge(p int, rows []string) {
	if len(rows) > 0 {
		w.suite.violation("graves", "undead", graveKey(p), fmt.Sprintf("%q was read, and the partition's deletion had been acknowledged", rows))
	}
}

func (w *graves) final(ctx context.Context, s *Session) {
	w.mu.Lock()
	dead := w.mu.dead
	w.mu.Unlock()
	for _, p := range dead {
		if rows, ok := s.readAll(ctx, "graves", w.query(p)); ok {
			w.judge(p, rows)
		}
	}
}
