package check

import (
	"context"
	"fmt"
)

// registers: keys with one number each, written by one session and read by all. See versions for what has to hold.
type registers struct {
	suite *Suite
	name  string // of the workload and its table
	with  string // the table's options
	keys  *owned
}

const registersPerKey = 60

func newRegisters(s *Suite, name, with string) *registers {
	return &registers{s, name, with, newOwned(s.o.Sessions, registersPerKey)}
}

func (w *registers) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table(w.name) + " (k int PRIMARY KEY, n int, v text)" + w.with}
}

func (w *registers) prepare(context.Context, *Session) error { return nil }

func (w *registers) key(key int) string { return fmt.Sprintf("%s %d", w.name, key) }

// registerText goes with a number, so that a value made of two writes shows.
func registerText(key, n int) string { return fmt.Sprintf("value %d of %d", n, key) }

func (w *registers) step(ctx context.Context, s *Session) {
	switch s.rand.IntN(5) {
	case 0, 1:
		v := w.keys.own(s)
		n := v.next()
		w.keys.wrote(s, v, n, s.write(ctx, w.key(v.key), fmt.Sprintf("UPDATE %s SET n = %d, v = '%s' WHERE k = %d",
			w.suite.table(w.name), n, registerText(v.key, n), v.key)))
	case 2:
		w.read(ctx, s, w.keys.own(s))
	default:
		if v := w.keys.any(s); v != nil {
			w.read(ctx, s, v)
		}
	}
}

func (w *registers) read(ctx context.Context, s *Session, v *versions) {
	f := v.begin()
	rows, ok := s.read(ctx, w.key(v.key), w.query(v.key))
	if ok {
		w.judge(v, f, rows)
	}
	if !ok || !w.suite.o.Reread || s.rand.IntN(2) == 0 {
		return
	}
	at := s.at
	s.at++
	f = v.begin()
	if rows, ok := s.read(ctx, w.key(v.key), w.query(v.key)); ok {
		w.judge(v, f, rows)
	}
	s.at = at // writes of a session that doesn't hop go through one node
}

func (w *registers) query(key int) string {
	return fmt.Sprintf("SELECT n, v FROM %s WHERE k = %d", w.suite.table(w.name), key)
}

func (w *registers) judge(v *versions, f floor, rows []string) {
	n := 0
	if len(rows) > 0 {
		if _, err := fmt.Sscanf(rows[0], "%d|", &n); err != nil || len(rows) > 1 || rows[0] != fmt.Sprintf("%d|%s", n, registerText(v.key, n)) {
			w.suite.violation(w.name, "invented", w.key(v.key), fmt.Sprintf("%q was read: that is no one write", rows))
			return
		}
	}
	if rule, why := v.read(f, n); rule != "" {
		w.suite.violation(w.name, rule, w.key(v.key), why)
	}
}

func (w *registers) final(ctx context.Context, s *Session) {
	for _, v := range w.keys.everything() {
		f := v.begin()
		rows, ok := s.readAll(ctx, w.name, w.query(v.key))
		if ok {
			w.judge(v, f, rows)
		}
	}
}
