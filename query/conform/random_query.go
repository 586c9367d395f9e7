package conform

import (
	"fmt"
	"strings"
)

// query makes a SELECT.
func (w *world) query() string {
	grouped, where := "", w.where()
	what := w.selection()
	if w.odds(8) {
		n := 1 + w.IntN(len(w.partition)+len(w.clustering))
		key := append(append([]column{}, w.partition...), w.clustering...)
		grouped = " GROUP BY " + names(key[:n])
		what = names(key[:n]) + ", " + w.aggregate()
	}
	if w.odds(12) {
		what = "DISTINCT " + names(append(append([]column{}, w.partition...), w.static...))
	} else if w.odds(12) {
		what = "JSON " + what
	}
	return "SELECT " + what + " FROM t" + where + grouped + w.ordering() + w.limits() + w.filtering(where)
}

func (w *world) selection() string {
	switch n := w.IntN(10); {
	case n < 5:
		return "*"
	case n < 7:
		return w.aggregate()
	}
	var parts []string
	for range 1 + w.IntN(3) {
		parts = append(parts, w.selector())
	}
	return strings.Join(parts, ", ")
}

func (w *world) aggregate() string {
	c := w.pick()
	return w.one("count(*)", fmt.Sprintf("count(%s)", c.name), fmt.Sprintf("min(%s), max(%s)", c.name, c.name), fmt.Sprintf("sum(%s)", c.name))
}

func (w *world) pick() column {
	all := w.all()
	return all[w.IntN(len(all))]
}

func (w *world) selector() string {
	c := w.pick()
	switch {
	case w.odds(2):
		return c.name
	case c.kind == "map<text, int>":
		return c.name + w.one("['a']", "['a'..'b']", "['zz']")
	case c.kind == "set<text>":
		return c.name + w.one("['a']", "['b'..]")
	}
	form := w.one("to_json(C)", "C AS x", "CAST(C AS text)", "C + 1", "-C", "abs(C)", "collection_count(C)", "map_keys(C)", "mask_default(C)", "C + C", "C / 2", "to_unix_timestamp(C)",
		"token("+names(w.partition)+")", "writetime(C)")
	return strings.NewReplacer("CAST", "CAST", "C", c.name).Replace(form)
}

func (w *world) where() string {
	var parts []string
	if !w.odds(4) {
		for _, c := range w.partition {
			parts = append(parts, w.condition(c, 4))
		}
		for _, c := range w.clustering {
			if w.odds(2) {
				break
			}
			if w.odds(3) {
				parts = append(parts, w.slice(c))
				break
			}
			parts = append(parts, w.condition(c, 3))
		}
	} else if w.odds(3) {
		parts = append(parts, fmt.Sprintf("token(%s) %s %d", names(w.partition), w.one(">", "<=", ">=", "<"), w.IntN(3)-1))
	}
	if w.odds(4) {
		parts = append(parts, w.filter(w.pick()))
	}
	if len(parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(parts, " AND ")
}

// condition is an equality, or once in some times an IN.
func (w *world) condition(c column, in int) string {
	if w.odds(in) {
		return fmt.Sprintf("%s IN (%s, %s)", c.name, w.literal(c), w.literal(c))
	}
	return fmt.Sprintf("%s = %s", c.name, w.literal(c))
}

// filter is a condition on any column.
func (w *world) filter(c column) string {
	switch c.kind {
	case "list<int>", "frozen<list<int>>", "frozen<set<int>>":
		return c.name + " CONTAINS " + w.one(pool["int"]...)
	case "set<text>":
		return c.name + " CONTAINS " + w.one(pool["text"]...)
	case "map<text, int>":
		return c.name + w.one(" CONTAINS 1", " CONTAINS KEY 'a'", "['a'] = 1")
	}
	if w.odds(2) {
		return w.slice(c)
	}
	return w.condition(c, 4)
}

func (w *world) ordering() string {
	if len(w.clustering) == 0 || !w.odds(5) {
		return ""
	}
	reverse := w.odds(2)
	var parts []string
	for i, c := range w.clustering[:1+w.IntN(len(w.clustering))] {
		order := w.order[i]
		if reverse != w.odds(20) {
			order = map[string]string{"ASC": "DESC", "DESC": "ASC"}[order]
		}
		parts = append(parts, c.name+" "+order)
	}
	return " ORDER BY " + strings.Join(parts, ", ")
}

func (w *world) limits() string {
	text := ""
	if w.odds(6) {
		text = fmt.Sprintf(" PER PARTITION LIMIT %d", 1+w.IntN(3))
	}
	if w.odds(5) {
		text += fmt.Sprintf(" LIMIT %d", 1+w.IntN(4))
	}
	return text
}

func (w *world) filtering(where string) string {
	if where != "" && !w.odds(3) {
		return " ALLOW FILTERING"
	}
	return ""
}

// Shrink leaves statements out of a script as long as what is wrong with its last one still is.
func Shrink(steps []Step, wrong func([]Step) bool) []Step {
	for size := (len(steps) - 1) / 2; size > 0; size /= 2 {
		for from := 0; from+size < len(steps); {
			less := append(append([]Step{}, steps[:from]...), steps[from+size:]...)
			if wrong(less) {
				steps = less
			} else {
				from += size
			}
		}
	}
	return steps
}
