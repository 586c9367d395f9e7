package check

import (
	"context"
	"fmt"
	"strings"
)

// batches: partitions of batchRows rows that are written together, by an unlogged batch, with the same number; batches with an odd number write one
// row more, the others delete it. A read of the partition sees one batch, whole.
type batches struct {
	suite *Suite
	keys  *owned
}

const (
	batchRows     = 5
	batchesPerKey = 40
)

func newBatches(s *Suite) *batches { return &batches{s, newOwned(s.o.Sessions, batchesPerKey)} }

func (w *batches) tables() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + w.suite.table("batches") + " (p int, c int, n int, PRIMARY KEY (p, c))"}
}

func (w *batches) prepare(context.Context, *Session) error { return nil }

func batchKey(key int) string { return fmt.Sprintf("batch %d", key) }

func (w *batches) step(ctx context.Context, s *Session) {
	if s.rand.IntN(2) == 0 {
		v := w.keys.own(s)
		n := v.next()
		w.keys.wrote(s, v, n, s.write(ctx, batchKey(v.key), w.batch(v.key, n)))
		return
	}
	if v := w.keys.any(s); v != nil {
		f := v.begin()
		if rows, ok := s.read(ctx, batchKey(v.key), w.query(v.key)); ok {
			w.judge(v, f, rows)
		}
	}
}

func (w *batches) query(key int) string {
	return fmt.Sprintf("SELECT c, n FROM %s WHERE p = %d", w.suite.table("batches"), key)
}

func (w *batches) batch(key, n int) string {
	var b strings.Builder
	b.WriteString("BEGIN UNLOGGED BATCH ")
	for c := range batchRows {
		fmt.Fprintf(&b, "INSERT INTO %s (p, c, n) VALUES (%d, %d, %d); ", w.suite.table("batches"), key, c, n)
	}
	if n%2 == 1 {
		fmt.Fprintf(&b, "INSERT INTO %s (p, c, n) VALUES (%d, %d, %d); ", w.suite.table("batches"), key, batchRows, n)
	} else {
		fmt.Fprintf(&b, "DELETE FROM %s WHERE p = %d AND c = %d; ", w.suite.table("batches"), key, batchRows)
	}
	return b.String() + "APPLY BATCH"
}

// wantBatch is what a partition holds after the batch of a number.
func wantBatch(n int) (rows []string) {
	if n == 0 {
		return nil
	}
	for c := range batchRows + n%2 {
		rows = append(rows, fmt.Sprintf("%d|%d", c, n))
	}
	return rows
}

func (w *batches) judge(v *versions, f floor, rows []string) {
	n := 0
	if len(rows) > 0 {
		if first, ok := integers(rows[0], 2); ok {
			n = first[1]
		}
	}
	if strings.Join(rows, " ") != strings.Join(wantBatch(n), " ") {
		w.suite.violation("batches", "torn", batchKey(v.key), fmt.Sprintf("%q was read: that is no one batch", rows))
		return
	}
	if rule, why := v.read(f, n); rule != "" {
		w.suite.violation("batches", rule, batchKey(v.key), why)
	}
}

func (w *batches) final(ctx context.Context, s *Session) {
	for _, v := range w.keys.everything() {
		f := v.begin()
		if rows, ok := s.readAll(ctx, "batches", w.query(v.key)); ok {
			w.judge(v, f, rows)
		}
	}
}
