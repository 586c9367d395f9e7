package conform

import (
	"fmt"
	"strings"
)

// stamping says where a write's timestamp stands.
type stamping uint8

const (
	anywhere  stamping = iota // in its text, or beside it
	inText                    // of a statement of a batch
	elsewhere                 // the batch has one
)

// using names a timestamp, often that of an earlier write, so that values have to settle ties. Every write has one: writetime() would show the servers' clocks.
func (w *world) using(at stamping, ttl bool) string {
	if w.odds(2) {
		w.stamp++
	}
	stamp := 2 + w.stamp - w.IntN(3)
	var parts []string
	if ttl && w.expires && w.odds(3) {
		parts = append(parts, "TTL "+w.value(w.one("5", "20", "1000", "0")))
	}
	switch {
	case at == anywhere && w.odds(4):
		w.options = append(w.options, fmt.Sprintf("ts=%d", stamp))
	case at != elsewhere:
		parts = append(parts, "TIMESTAMP "+w.value(fmt.Sprint(stamp)))
	}
	if len(parts) == 0 {
		return ""
	}
	return " USING " + strings.Join(parts, " AND ")
}

func (w *world) insert(at stamping) string {
	if w.odds(8) {
		return w.insertJSON(at)
	}
	var cols, values []string
	add := func(list []column, skip int) {
		for _, c := range list {
			if w.odds(skip) {
				continue
			}
			cols = append(cols, c.name)
			if w.prepared && w.odds(20) {
				w.values = append(w.values, "unset")
				values = append(values, "?")
				continue
			}
			values = append(values, w.literal(c))
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
	return fmt.Sprintf("INSERT INTO t (%s) VALUES (%s)%s", strings.Join(cols, ", "), strings.Join(values, ", "), w.using(at, true))
}

func (w *world) insertJSON(at stamping) string {
	var members []string
	for i, c := range w.all() {
		if i < len(w.partition)+len(w.clustering) || !w.odds(3) {
			members = append(members, fmt.Sprintf(`"%s": %s`, c.name, w.document(c)))
		}
	}
	text := strings.ReplaceAll("{"+strings.Join(members, ", ")+"}", "'", "''")
	return "INSERT INTO t JSON " + w.value("'"+text+"'") + w.one("", " DEFAULT UNSET", " DEFAULT NULL") + w.using(at, true)
}

// changes are the ways to change a part of a column; C stands for it, V for a value of its type.
var changes = map[string][]string{
	"list<int>":                    {"C = C + V", "C = V + C", "C += V", "C = C - V", "C -= V", "C[0] = 5", "C[1] = 6", "C[0] = null"},
	"list<text>":                   {"C = C + V", "C = V + C", "C[1] = 'z'"},
	"set<text>":                    {"C = C + V", "C += V", "C = C - V", "C -= V"},
	"set<int>":                     {"C = C + V", "C -= V"},
	"map<text, int>":               {"C = C + V", "C += V", "C = C - {'a'}", "C -= {'b'}", "C['a'] = 9", "C['b'] = null"},
	"map<int, frozen<list<text>>>": {"C = C + V", "C[1] = ['z']", "C = C - {1, 2}"},
	"u":                            {"C.a = 7", "C.b = 'y'", "C.a = null"},
	"int":                          {"C = 1 + 2", "C = (int) -3"},
	"text":                         {"C = 'a' + 'b'"},
	"blob":                         {"C = int_as_blob(7)", "C = text_as_blob('x')"},
	"date":                         {"C = to_date(6ba7b810-9dad-11d1-80b4-00c04fd430c8)"},
}

// assignment changes a column, as a whole or in part.
func (w *world) assignment(c column) string {
	if forms := changes[c.kind]; forms != nil && !w.odds(3) {
		form := w.one(forms...)
		if strings.Contains(form, "V") {
			form = strings.Replace(form, "V", w.literal(c), 1)
		}
		return strings.ReplaceAll(form, "C", c.name)
	}
	return c.name + " = " + w.literal(c)
}

func (w *world) update(at stamping) string {
	using, targets := w.using(at, true), w.regular
	statics := len(w.static) > 0 && w.odds(5)
	if statics {
		targets = w.static
	}
	set := w.assignment(targets[w.IntN(len(targets))])
	if other := targets[w.IntN(len(targets))]; w.odds(3) && !strings.HasPrefix(set, other.name) {
		set += ", " + w.assignment(other)
	}
	where := w.equalities(w.partition, 12)
	if !statics {
		where = append(where, w.equalities(w.clustering, 12)...)
	}
	return fmt.Sprintf("UPDATE t%s SET %s WHERE %s", using, set, strings.Join(where, " AND "))
}

// equalities gives conditions of equality on columns, once in some times an IN.
func (w *world) equalities(list []column, in int) []string {
	var all []string
	for _, c := range list {
		all = append(all, w.condition(c, in))
	}
	return all
}

// deletions are the parts of a column that DELETE may name.
var deletions = map[string][]string{"list<int>": {"[0]", "[1]"}, "map<text, int>": {"['a']"}, "map<int, frozen<list<text>>>": {"[1]"}, "set<text>": {"['a']"}, "u": {".a"}}

func (w *world) delete(at stamping) string {
	using, what, where := w.using(at, false), "", w.equalities(w.partition, 12)
	n := w.IntN(len(w.clustering) + 1)
	switch {
	case w.odds(3):
		list := w.regular
		if len(w.static) > 0 && w.odds(4) {
			list = w.static
		}
		for i := range 1 + w.IntN(2) {
			c := list[w.IntN(len(list))]
			what += comma(i) + c.name
			if parts := deletions[c.kind]; parts != nil && !w.odds(3) {
				what += w.one(parts...)
			}
		}
		what = " " + what
		if strings.HasPrefix(list[0].name, "v") {
			where = append(where, w.equalities(w.clustering, 12)...)
		}
	case n < len(w.clustering) && w.odds(2):
		where = append(append(where, w.equalities(w.clustering[:n], 12)...), w.slice(w.clustering[n]))
	case len(w.clustering) > 1 && w.odds(4):
		where = append(where, w.tuples())
	default:
		where = append(where, w.equalities(w.clustering[:n], 12)...)
	}
	return fmt.Sprintf("DELETE%s FROM t%s WHERE %s", what, using, strings.Join(where, " AND "))
}

// batch makes a BATCH. Its timestamp is that of all its statements, or each has its own.
func (w *world) batch() string {
	text, at := "BEGIN "+w.one("", "UNLOGGED ")+"BATCH", inText
	if w.odds(2) {
		text, at = text+w.using(inText, false), elsewhere
	}
	for range 1 + w.IntN(4) {
		switch w.IntN(5) {
		case 0:
			text += " " + w.delete(at) + ";"
		case 1, 2:
			text += " " + w.update(at) + ";"
		default:
			text += " " + w.insert(at) + ";"
		}
	}
	return text + " APPLY BATCH"
}
