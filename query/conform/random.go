package conform

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// column is one of a random table. literals are the values it gets: of a key column few, so that rows meet.
type column struct {
	name, kind string
	literals   []string
}

// world makes a random table and statements about it.
type world struct {
	*rand.Rand
	partition, clustering, static, regular []column
	order                                  []string // of the clustering columns
	made                                   int      // value columns so far: a name is never used again
	stamp                                  int      // of the last write that names its timestamp
	expires                                bool     // writes may have a TTL, and each statement says what second it is
	now                                    int      // that second

	// The statement being made.
	prepared bool
	values   []string
	options  []string
}

// epoch is the second in which a table with TTLs begins. Servers take it for the time of a statement that says so.
const epoch = 1_800_000_000

// Random makes a script of n statements about one random table. The same seed gives the same script.
func Random(seed uint64, n int) []Step {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), now: epoch}
	steps := []Step{{Statement: "CREATE TYPE u (a int, b text)"}, {Statement: w.create()}}
	for len(steps) < n {
		steps = append(steps, w.step())
	}
	return steps
}

// one picks a string.
func (w *world) one(of ...string) string { return of[w.IntN(len(of))] }

// odds is true once in n times.
func (w *world) odds(n int) bool { return w.IntN(n) == 0 }

// keys makes key columns, each with two to four values.
func (w *world) keys(prefix string, least, most int) []column {
	var all []column
	for i := range least + w.IntN(most-least+1) {
		kind := w.one(keyTypes...)
		literals := slices.Clone(pool[kind])
		w.Shuffle(len(literals), func(i, j int) { literals[i], literals[j] = literals[j], literals[i] })
		all = append(all, column{fmt.Sprintf("%s%d", prefix, i), kind, literals[:min(len(literals), 2+w.IntN(3))]})
	}
	return all
}

// column makes a value column.
func (w *world) column(prefix string) column {
	kind := w.kinds()
	w.made++
	return column{fmt.Sprintf("%s%d", prefix, w.made), kind, pool[kind]}
}

func (w *world) create() string {
	w.partition, w.clustering = w.keys("k", 1, 2), w.keys("c", 0, 3)
	for range 1 + w.IntN(5) {
		w.regular = append(w.regular, w.column("v"))
	}
	if len(w.clustering) > 0 {
		for range w.IntN(3) {
			w.static = append(w.static, w.column("s"))
		}
	}
	w.expires = w.odds(2)
	var b strings.Builder
	b.WriteString("CREATE TABLE t (")
	for _, c := range w.all() {
		fmt.Fprintf(&b, "%s %s", c.name, c.kind)
		if strings.HasPrefix(c.name, "s") {
			b.WriteString(" static")
		}
		b.WriteString(", ")
	}
	fmt.Fprintf(&b, "PRIMARY KEY ((%s)", names(w.partition))
	for _, c := range w.clustering {
		b.WriteString(", " + c.name)
		w.order = append(w.order, w.one("ASC", "DESC"))
	}
	b.WriteString(")) WITH comment = 'random'")
	for i, c := range w.clustering {
		if i == 0 {
			b.WriteString(" AND CLUSTERING ORDER BY (")
		}
		fmt.Fprintf(&b, "%s%s %s", comma(i), c.name, w.order[i])
	}
	if len(w.clustering) > 0 {
		b.WriteString(")")
	}
	if w.expires && w.odds(3) {
		b.WriteString(" AND default_time_to_live = 40")
	}
	return b.String()
}

func (w *world) key() []column { return slices.Concat(w.partition, w.clustering) }

func (w *world) all() []column {
	return slices.Concat(w.partition, w.clustering, w.static, w.regular)
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ", "
}

func names(list []column) string {
	var all []string
	for _, c := range list {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

// step makes the next statement.
func (w *world) step() Step {
	w.values, w.options, w.prepared = nil, nil, w.odds(4)
	s := Step{Statement: w.statement()}
	if w.prepared {
		s.Values = append([]string{}, w.values...)
	}
	if w.expires {
		w.now += w.IntN(3)
		w.options = append(w.options, fmt.Sprintf("now=%d", w.now))
	}
	s.Options = strings.Join(w.options, " ")
	return s
}

func (w *world) statement() string {
	switch n := w.IntN(200); {
	case n < 50:
		return w.insert(anywhere)
	case n < 84:
		return w.update(anywhere)
	case n < 100:
		return w.delete(anywhere)
	case n < 106:
		return w.batch()
	case n < 107 && w.odds(3):
		w.prepared = false
		return w.alter()
	}
	if w.odds(3) {
		w.options = append(w.options, "page="+w.one("1", "2", "3", "5", "10"))
	}
	return w.query()
}

// alter changes the table.
func (w *world) alter() string {
	switch {
	case w.odds(3):
		c := w.column("v")
		w.regular = append(w.regular, c)
		return fmt.Sprintf("ALTER TABLE t ADD %s %s", c.name, c.kind)
	case w.odds(2) && len(w.regular) > 1:
		i := w.IntN(len(w.regular))
		if w.regular[i].kind == "u" {
			break // dropped-columns: Cassandra drops none of a user type
		}
		name := w.regular[i].name
		w.regular = slices.Delete(slices.Clone(w.regular), i, i+1)
		return "ALTER TABLE t DROP " + name
	case w.odds(2) && len(w.clustering) > 0:
		i := w.IntN(len(w.clustering))
		w.made++
		old := w.clustering[i].name
		w.clustering[i].name = fmt.Sprintf("c%d", 10+w.made)
		return fmt.Sprintf("ALTER TABLE t RENAME %s TO %s", old, w.clustering[i].name)
	}
	return w.one("ALTER TABLE t WITH gc_grace_seconds = 1000000", "ALTER TABLE t WITH comment = 'altered'", "ALTER TABLE t ADD k0 int", "ALTER TABLE t DROP k0", "ALTER TABLE t DROP nothing")
}
