package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// logged: groups of partitions, in two tables, that are written together by a logged batch with the same number. Sessions read one partition at a time, for a
// batch is not isolated. In the end, within wholeWithin, all partitions of a group have one number.
type logged struct {
	suite *Suite
	parts [loggedParts]*owned // the same groups, with the same numbers: what is known of each partition
}

const (
	loggedParts  = 3 // the last one is in a table of its own
	loggedPerKey = 40
	wholeWithin  = 60 * time.Second // after all is well a batch is there as a whole, or not at all
	wholePause   = 500*time.Millisecond + 3
)

func newLogged(s *Suite) *logged {
	w := &logged{suite: s}
	for p := range w.parts {
		w.parts[p] = newOwned(s.o.Sessions, loggedPerKey)
	}
	return w
}

func (w *logged) tables() []string {
	return []string{
		"CREATE TABLE IF NOT EXISTS " + w.suite.table("logged") + " (g int, p int, n int, PRIMARY KEY ((g, p)))",
		"CREATE TABLE IF NOT EXISTS " + w.suite.table("logged_too") + " (g int PRIMARY KEY, n int)",
	}
}

func (w *logged) prepare(context.Context, *Session) error { return nil }

func loggedKey(group int) string { return fmt.Sprintf("logged %d", group) }

func (w *logged) step(ctx context.Context, s *Session) {
	if s.rand.IntN(3) > 0 {
		w.write(ctx, s)
		return
	}
	p := s.rand.IntN(loggedParts)
	if v := w.parts[p].any(s); v != nil {
		f := v.begin()
		if rows, ok := s.read(ctx, loggedKey(v.key), w.query(v.key, p)); ok {
			w.judge(v, f, p, rows)
		}
	}
}

func (w *logged) write(ctx context.Context, s *Session) {
	var all [loggedParts]*versions
	n := 0
	for p := range w.parts {
		all[p] = w.parts[p].own(s)
		n = all[p].next()
	}
	// At the suite's level: what is acknowledged at ONE is there at one replica of each partition, and its entries are gone.
	outcome := s.writeAt(ctx, loggedKey(all[0].key), w.batch(all[0].key, n), w.suite.o.Level)
	for p := range w.parts {
		w.parts[p].wrote(s, all[p], n, outcome)
	}
}

func (w *logged) batch(group, n int) string {
	text := "BEGIN BATCH " // as drivers and cqlsh send it by default
	for p := range loggedParts - 1 {
		text += fmt.Sprintf("INSERT INTO %s (g, p, n) VALUES (%d, %d, %d); ", w.suite.table("logged"), group, p, n)
	}
	return text + fmt.Sprintf("INSERT INTO %s (g, n) VALUES (%d, %d); APPLY BATCH", w.suite.table("logged_too"), group, n)
}

func (w *logged) query(group, p int) string {
	if p == loggedParts-1 {
		return fmt.Sprintf("SELECT n FROM %s WHERE g = %d", w.suite.table("logged_too"), group)
	}
	return fmt.Sprintf("SELECT n FROM %s WHERE g = %d AND p = %d", w.suite.table("logged"), group, p)
}

// judge looks at what was read of one partition, and gives its number.
func (w *logged) judge(v *versions, f floor, p int, rows []string) (n int) {
	if len(rows) > 0 {
		values, ok := integers(rows[0], 1)
		if !ok || len(rows) > 1 {
			w.suite.violation("logged", "invented", loggedKey(v.key), fmt.Sprintf("%q was read of partition %d: that is no one write", rows, p))
			return 0
		}
		n = values[0]
	}
	if rule, why := v.read(f, n); rule != "" {
		w.suite.violation("logged", rule, loggedKey(v.key), fmt.Sprintf("partition %d: %s", p, why))
	}
	return n
}

func (w *logged) final(ctx context.Context, s *Session) {
	began := time.Now()
	for _, group := range w.groups() {
		for {
			numbers, ok := w.readGroup(ctx, s, group)
			if !ok || whole(numbers) {
				break
			}
			if time.Since(began) > wholeWithin {
				w.suite.violation("logged", "torn", loggedKey(group[0].key),
					fmt.Sprintf("%v after all was well its partitions have the numbers %v, which no batches give", wholeWithin, numbers))
				break
			}
			s.sleep(ctx, wholePause)
		}
	}
}

// groups are all groups, each with its partitions. Sessions that begin groups at the same moment may have them in another order in each partition.
func (w *logged) groups() [][loggedParts]*versions {
	groups := make([][loggedParts]*versions, len(w.parts[0].everything()))
	for p := range w.parts {
		byKey := slices.SortedFunc(slices.Values(w.parts[p].everything()), func(a, b *versions) int { return cmp.Compare(a.key, b.key) })
		for i, v := range byKey {
			groups[i][p] = v
		}
	}
	return groups
}

// readGroup reads all partitions of a group.
func (w *logged) readGroup(ctx context.Context, s *Session, group [loggedParts]*versions) (numbers [loggedParts]int, ok bool) {
	for p, v := range group {
		f := v.begin()
		rows, ok := s.readAll(ctx, "logged", w.query(v.key, p))
		if !ok {
			return numbers, false
		}
		numbers[p] = w.judge(v, f, p, rows)
	}
	return numbers, true
}

// whole reports whether all partitions have the same number.
func whole(numbers [loggedParts]int) bool {
	for _, n := range numbers {
		if n != numbers[0] {
			return false
		}
	}
	return true
}
