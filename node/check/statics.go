package check

import (
	"context"
	"fmt"
)

// statics: partitions with a static column that counts the owner's writes. Each write sets it; most set one row to the same number in the same
// statement: then a read of the number sees the row too.
type statics struct {
	suite *Suite
	keys  *owned
}

const (
	staticRows    = 3
	staticsPerKey = 50
)

func newStatics(s *Suite) *statics { return &statics{s, newOwned(s.o.Sessions, staticsPerKey)} }

func (w *statics) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("statics") + " (p int, c int, n int STATIC, v int, PRIMARY KEY (p, c))"}
}

func (w *statics) prepare(context.Context, *Session) error { return nil }

func staticKey(key int) string { return fmt.Sprintf("static %d", key) }

// staticAlone says that a number's write has no row.
func staticAlone(n int) bool { return n%4 == 0 }

func (w *statics) step(ctx context.Context, s *Session) {
	if s.rand.IntN(2) == 0 {
		v := w.keys.own(s)
		n := v.next()
		text := fmt.Sprintf("INSERT INTO %s (p, c, n, v) VALUES (%d, %d, %d, %d)", w.suite.table("statics"), v.key, n%staticRows, n, n)
		if staticAlone(n) {
			text = fmt.Sprintf("UPDATE %s SET n = %d WHERE p = %d", w.suite.table("statics"), n, v.key)
		}
		w.keys.wrote(s, v, n, s.write(ctx, staticKey(v.key), text))
		return
	}
	if v := w.keys.any(s); v != nil {
		f := v.begin()
		if rows, ok := s.read(ctx, staticKey(v.key), w.query(v.key)); ok {
			w.judge(v, f, rows)
		}
	}
}

func (w *statics) query(key int) string {
	return fmt.Sprintf("SELECT n, c, v FROM %s WHERE p = %d", w.suite.table("statics"), key)
}

func (w *statics) judge(v *versions, f floor, rows []string) {
	n, why := readStatic(rows)
	if why != "" {
		w.suite.violation("statics", "torn", staticKey(v.key), fmt.Sprintf("%q was read: %s", rows, why))
		return
	}
	if rule, why := v.read(f, n); rule != "" {
		w.suite.violation("statics", rule, staticKey(v.key), why)
	}
}

// readStatic gives the static's value, and what contradicts it.
func readStatic(rows []string) (n int, why string) {
	values := map[int]int{}
	for i, r := range rows {
		var s, c, v int
		if _, err := fmt.Sscanf(r, "%d|null|null", &s); err == nil && len(rows) == 1 {
			return s, ""
		}
		if _, err := fmt.Sscanf(r, "%d|%d|%d", &s, &c, &v); err != nil || c != v%staticRows || staticAlone(v) {
			return 0, "no write makes such a row"
		}
		if i > 0 && s != n {
			return 0, "the static column has two values"
		}
		n, values[c] = s, v
		if v > s {
			return 0, "the row is newer than the static column"
		}
	}
	if n > 0 && !staticAlone(n) && values[n%staticRows] != n {
		return 0, "the row that was written together with the static column isn't there"
	}
	return n, ""
}

func (w *statics) final(ctx context.Context, s *Session) {
	for _, v := range w.keys.everything() {
		f := v.begin()
		if rows, ok := s.readAll(ctx, "statics", w.query(v.key)); ok {
			w.judge(v, f, rows)
		}
	}
}
