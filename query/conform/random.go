package conform

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// pool holds literals of a type, few enough that random rows and conditions meet.
var pool = map[string][]string{
	"int": {"0", "1", "2", "-1", "2147483647"}, "bigint": {"0", "1", "-5", "9007199254740993"}, "text": {"''", "'a'", "'b'", "'é'", "'it''s'"}, "boolean": {"true", "false"},
	"double": {"0.0", "1.5", "-2.25", "1e10"}, "decimal": {"0", "1.10", "1.1", "-7.25"}, "varint": {"0", "128", "-129", "123456789012345678901234567890"},
	"smallint": {"0", "1", "-300"}, "tinyint": {"0", "1", "-7"}, "uuid": {"00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"},
	"timestamp": {"0", "'2024-02-29T12:34:56Z'", "-1"}, "date": {"'2024-02-29'", "'1969-12-31'"}, "time": {"'12:34:56'", "'00:00:00'"}, "inet": {"'127.0.0.1'", "'::1'"}, "blob": {"0x", "0xca", "0xcafe"},
	"list<int>": {"[]", "[1]", "[1, 2, 1]", "[0, 7]"}, "set<text>": {"{}", "{'a'}", "{'b', 'a'}"}, "map<text, int>": {"{}", "{'a': 1}", "{'b': 2, 'a': 3}"},
	"frozen<list<int>>": {"[]", "[1, 2]", "[2]"}, "frozen<set<int>>": {"{}", "{1}", "{3, 1}"}, "frozen<map<int, text>>": {"{}", "{1: 'x'}"}, "tuple<int, text>": {"(1, 'a')", "(2, null)", "(null, 'b')"},
	"vector<float, 2>": {"[1, 2]", "[0, -1.5]"},
}

var (
	keyTypes = strings.Fields("int bigint text boolean double decimal varint smallint tinyint uuid timestamp date time inet blob")
	allTypes = append([]string{"list<int>", "set<text>", "map<text, int>", "frozen<list<int>>", "frozen<set<int>>", "frozen<map<int, text>>", "tuple<int, text>", "vector<float, 2>"}, keyTypes...)
)

// column is one of a random table.
type column struct{ name, kind string }

// world makes a random table and statements about it.
type world struct {
	*rand.Rand
	partition, clustering, static, regular []column
	order                                  []string // of the clustering columns
	stamp                                  int      // of the last write that names its timestamp
}

// Random makes a script of n statements about one random table. The same seed gives the same script.
func Random(seed uint64, n int) []Step {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0))}
	steps := []Step{{Statement: w.create()}}
	for len(steps) < n {
		steps = append(steps, w.step())
	}
	return steps
}

// one picks a string.
func (w *world) one(of ...string) string { return of[w.IntN(len(of))] }

// odds is true once in n times.
func (w *world) odds(n int) bool { return w.IntN(n) == 0 }

func (w *world) columns(prefix string, least, most int, kinds []string) []column {
	var all []column
	for i := range least + w.IntN(most-least+1) {
		all = append(all, column{fmt.Sprintf("%s%d", prefix, i), w.one(kinds...)})
	}
	return all
}

func (w *world) create() string {
	w.partition = w.columns("k", 1, 2, keyTypes)
	w.clustering = w.columns("c", 0, 3, keyTypes)
	if w.regular = w.columns("v", 1, 5, allTypes); len(w.clustering) > 0 {
		w.static = w.columns("s", 0, 2, allTypes)
	}
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
	if len(w.clustering) == 0 {
		return b.String() + "))"
	}
	fmt.Fprintf(&b, ", %s)) WITH CLUSTERING ORDER BY (", names(w.clustering))
	for i, c := range w.clustering {
		w.order = append(w.order, w.one("ASC", "DESC"))
		fmt.Fprintf(&b, "%s%s %s", comma(i), c.name, w.order[i])
	}
	return b.String() + ")"
}

func (w *world) all() []column {
	all := append(append([]column{}, w.partition...), w.clustering...)
	return append(append(all, w.static...), w.regular...)
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

// literal picks a value of a column; now and then null, or a value of another type.
func (w *world) literal(c column) string {
	switch {
	case w.odds(60):
		return "null"
	case w.odds(150):
		return w.one(pool[w.one(allTypes...)]...)
	}
	return w.one(pool[c.kind]...)
}

func (w *world) step() Step {
	switch n := w.IntN(100); {
	case n < 30:
		return Step{Statement: w.insert()}
	case n < 45:
		return Step{Statement: w.update()}
	case n < 53:
		return Step{Statement: w.delete()}
	case n < 55:
		return Step{Statement: "BEGIN UNLOGGED BATCH " + w.insert() + "; " + w.update() + "; APPLY BATCH"}
	}
	s := Step{Statement: w.query()}
	if w.odds(3) {
		s.Options = fmt.Sprintf("page=%d", 1+w.IntN(4))
	}
	return s
}

// using names a timestamp, often that of an earlier write, so that values have to settle ties. Every write has one: writetime() would show the servers' clocks.
func (w *world) using() string {
	if w.odds(2) {
		w.stamp++
	}
	return fmt.Sprintf(" USING TIMESTAMP %d", 1+w.stamp-w.IntN(3))
}

func (w *world) insert() string {
	var cols, values []string
	add := func(list []column, skip int) {
		for _, c := range list {
			if !w.odds(skip) {
				cols, values = append(cols, c.name), append(values, w.literal(c))
			}
		}
	}
	add(w.partition, 200)
	if len(w.static) > 0 && w.odds(6) {
		add(w.static, 2)
	} else {
		add(w.clustering, 100)
		add(w.static, 3)
		add(w.regular, 3)
	}
	return fmt.Sprintf("INSERT INTO t (%s) VALUES (%s)%s", strings.Join(cols, ", "), strings.Join(values, ", "), w.using())
}

// assignment changes a column, as a whole or in part.
func (w *world) assignment(c column) string {
	v := w.literal(c)
	switch c.kind {
	case "list<int>":
		return fmt.Sprintf(w.one("%[1]s = %[2]s", "%[1]s = %[1]s + %[2]s", "%[1]s = %[2]s + %[1]s", "%[1]s += %[2]s", "%[1]s = %[1]s - %[2]s", "%[1]s[0] = 5"), c.name, v)
	case "set<text>":
		return fmt.Sprintf(w.one("%[1]s = %[2]s", "%[1]s = %[1]s + %[2]s", "%[1]s += %[2]s", "%[1]s = %[1]s - %[2]s"), c.name, v)
	case "map<text, int>":
		return fmt.Sprintf(w.one("%[1]s = %[2]s", "%[1]s = %[1]s + %[2]s", "%[1]s += %[2]s", "%[1]s = %[1]s - {'a'}", "%[1]s['a'] = 9", "%[1]s['b'] = null"), c.name, v)
	}
	return c.name + " = " + v
}

func (w *world) update() string {
	targets, key := w.regular, w.key(w.partition, true)+w.key(w.clustering, false)
	if len(w.static) > 0 && w.odds(5) {
		targets, key = w.static, w.key(w.partition, true)
	}
	set := w.assignment(targets[w.IntN(len(targets))])
	if other := targets[w.IntN(len(targets))]; w.odds(3) && !strings.HasPrefix(set, other.name) {
		set += ", " + w.assignment(other)
	}
	return fmt.Sprintf("UPDATE t%s SET %s WHERE %s", w.using(), set, key)
}

// key gives conditions of equality on columns, joined by AND.
func (w *world) key(list []column, first bool) string {
	var b strings.Builder
	for _, c := range list {
		if !first {
			b.WriteString(" AND ")
		}
		first = false
		fmt.Fprintf(&b, "%s = %s", c.name, w.literal(c))
	}
	return b.String()
}

func (w *world) delete() string {
	what, where := "", w.key(w.partition, true)
	n := w.IntN(len(w.clustering) + 1)
	switch {
	case w.odds(3):
		c := w.regular[w.IntN(len(w.regular))]
		if what = " " + c.name; c.kind == "map<text, int>" {
			what += "['a']"
		}
		where += w.key(w.clustering, false)
	case n < len(w.clustering) && w.odds(2):
		where += w.key(w.clustering[:n], false) + " AND " + w.slice(w.clustering[n])
	default:
		where += w.key(w.clustering[:n], false)
	}
	return fmt.Sprintf("DELETE%s FROM t%s WHERE %s", what, w.using(), where)
}

// slice bounds a column from one side or both.
func (w *world) slice(c column) string {
	s := fmt.Sprintf("%s %s %s", c.name, w.one("<", "<=", ">", ">="), w.literal(c))
	if w.odds(3) {
		s += fmt.Sprintf(" AND %s %s %s", c.name, w.one("<", "<=", ">", ">="), w.literal(c))
	}
	return s
}
