package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// deletes: partitions of a few rows that one session writes, overwrites, deletes by cell, row, range and as a whole, and writes again. What is read is
// what a naive table would hold after the acknowledged operations and some of the unknown ones.
type deletes struct {
	suite   *Suite
	current []*partition // by session
	made    []int
	mu      struct {
		sync.Mutex
		all []*partition
	}
}

const (
	deletesRows = 6 // clustering keys of a partition
	// deletesPerKey is after how many operations a session goes on to a new partition.
	deletesPerKey = 50
	// maxUnknown is how many unknown operations a partition may have: all their subsets are tried.
	maxUnknown = 6
)

func newDeletes(s *Suite) *deletes {
	return &deletes{suite: s, current: make([]*partition, s.o.Sessions), made: make([]int, s.o.Sessions)}
}

func (w *deletes) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("deletes") + " (p int, c int, a int, b int, PRIMARY KEY (p, c))"}
}

func (w *deletes) prepare(context.Context, *Session) error { return nil }

func (w *deletes) key(p *partition) string { return fmt.Sprintf("deletes %d", p.key) }

func (w *deletes) query(p *partition) string {
	return fmt.Sprintf("SELECT c, a, b FROM %s WHERE p = %d", w.suite.table("deletes"), p.key)
}

func (w *deletes) step(ctx context.Context, s *Session) {
	p := w.current[s.id]
	if p == nil {
		p = &partition{key: s.id*keySpan + w.made[s.id]}
		w.made[s.id]++
		w.current[s.id] = p
		w.mu.Lock()
		w.mu.all = append(w.mu.all, p)
		w.mu.Unlock()
	}
	if s.rand.IntN(3) == 0 {
		if rows, ok := s.read(ctx, w.key(p), w.query(p)); ok {
			w.judge(p, rows)
		}
		return
	}
	op := drawOp(s.rand.IntN, p.count+1)
	outcome := s.write(ctx, w.key(p), op.cql(w.suite.table("deletes"), p.key))
	p.wrote(op, outcome)
	if p.count >= deletesPerKey || p.unknown == maxUnknown || outcome == Unknown && !s.hops() { // as in owned
		w.current[s.id] = nil
	}
}

func (w *deletes) judge(p *partition, rows []string) {
	if !p.explains(rows) {
		w.suite.violation("deletes", "impossible", w.key(p), fmt.Sprintf("%q was read; %s", rows, p.account()))
	}
}

func (w *deletes) final(ctx context.Context, s *Session) {
	w.mu.Lock()
	all := w.mu.all
	w.mu.Unlock()
	for _, p := range all {
		if rows, ok := s.readAll(ctx, "deletes", w.query(p)); ok {
			w.judge(p, rows)
		}
	}
}

// opKind is what an operation does.
type opKind uint8

const (
	opInsert     opKind = iota // row marker and both cells
	opInsertA                  // row marker and cell a
	opUpdateB                  // cell b alone, no marker
	opDeleteCell               // cell a
	opDeleteRow
	opDeleteRange // clustering keys from c, up to and without to
	opDeletePartition
)

// op is one operation on a partition.
type op struct {
	kind  opKind
	c, to int
	n     int // the value written
}

// drawOp draws an operation; writes are more frequent than deletes.
func drawOp(intN func(int) int, n int) op {
	kinds := [...]opKind{opInsert, opInsert, opInsertA, opInsertA, opUpdateB, opUpdateB, opDeleteCell, opDeleteRow, opDeleteRow, opDeleteRange, opDeletePartition}
	o := op{kind: kinds[intN(len(kinds))], c: intN(deletesRows), n: n}
	o.to = o.c + 1 + intN(deletesRows-o.c)
	return o
}

func (o op) cql(table string, p int) string {
	switch o.kind {
	case opInsert:
		return fmt.Sprintf("INSERT INTO %s (p, c, a, b) VALUES (%d, %d, %d, %d)", table, p, o.c, o.n, o.n)
	case opInsertA:
		return fmt.Sprintf("INSERT INTO %s (p, c, a) VALUES (%d, %d, %d)", table, p, o.c, o.n)
	case opUpdateB:
		return fmt.Sprintf("UPDATE %s SET b = %d WHERE p = %d AND c = %d", table, o.n, p, o.c)
	case opDeleteCell:
		return fmt.Sprintf("DELETE a FROM %s WHERE p = %d AND c = %d", table, p, o.c)
	case opDeleteRow:
		return fmt.Sprintf("DELETE FROM %s WHERE p = %d AND c = %d", table, p, o.c)
	case opDeleteRange:
		return fmt.Sprintf("DELETE FROM %s WHERE p = %d AND c >= %d AND c < %d", table, p, o.c, o.to)
	}
	return fmt.Sprintf("DELETE FROM %s WHERE p = %d", table, p)
}

// naiveRow is a row as a table without timestamps holds it; 0 is null.
type naiveRow struct {
	marker bool
	a, b   int
}

// naiveRows is a partition so.
type naiveRows [deletesRows]naiveRow

func (t *naiveRows) apply(o op) {
	switch o.kind {
	case opInsert:
		t[o.c] = naiveRow{true, o.n, o.n}
	case opInsertA:
		t[o.c].marker, t[o.c].a = true, o.n
	case opUpdateB:
		t[o.c].b = o.n
	case opDeleteCell:
		t[o.c].a = 0
	case opDeleteRow:
		t[o.c] = naiveRow{}
	case opDeleteRange:
		clear(t[o.c:o.to])
	case opDeletePartition:
		*t = naiveRows{}
	}
}

// text is what a SELECT c, a, b gives.
func (t *naiveRows) text() (rows []string) {
	null := func(n int) string {
		if n == 0 {
			return "null"
		}
		return fmt.Sprint(n)
	}
	for c, r := range t {
		if r != (naiveRow{}) {
			rows = append(rows, fmt.Sprintf("%d|%s|%s", c, null(r.a), null(r.b)))
		}
	}
	return rows
}

// partition is what is known of one.
//
// Operations take effect in the order in which they were issued, whenever they arrive, for so are their timestamps. Base is the table after all
// operations before the first unknown one; later are that one and all after it.
type partition struct {
	key     int
	count   int // operations issued
	base    naiveRows
	later   []laterOp
	unknown int // of later
}

type laterOp struct {
	op
	unknown bool
}

func (p *partition) wrote(o op, outcome Outcome) {
	p.count++
	switch {
	case outcome == Refused:
	case outcome == Done && o.kind == opDeletePartition: // nothing older matters any more
		p.base, p.later, p.unknown = naiveRows{}, nil, 0
	case outcome == Done && len(p.later) == 0:
		p.base.apply(o)
	default:
		p.later = append(p.later, laterOp{o, outcome == Unknown})
		if outcome == Unknown {
			p.unknown++
		}
	}
}

// with is the table where those unknown operations took effect whose bits are set.
func (p *partition) with(bits int) naiveRows {
	t := p.base
	for _, l := range p.later {
		if l.unknown {
			take := bits&1 == 1
			bits >>= 1
			if !take {
				continue
			}
		}
		t.apply(l.op)
	}
	return t
}

// explains reports whether some of the unknown operations explain what was read.
func (p *partition) explains(rows []string) bool {
	for bits := range 1 << p.unknown {
		t := p.with(bits)
		if slices.Equal(t.text(), rows) {
			return true
		}
	}
	return false
}

// account is what might have been read instead.
func (p *partition) account() string {
	none, all := p.with(0), p.with(1<<p.unknown-1)
	if p.unknown == 0 {
		return fmt.Sprintf("acknowledged operations make it %q", none.text())
	}
	return fmt.Sprintf("acknowledged operations make it %q, with the %d unknown ones %q", none.text(), p.unknown, strings.Join(all.text(), " "))
}
