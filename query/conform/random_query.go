package conform

import (
	"fmt"
	"slices"
	"strings"
)

// query makes a SELECT.
func (w *world) query() string {
	where := w.where()
	grouped, what := "", w.selection()
	if w.odds(8) {
		key := w.key()
		n := len(w.partition) + w.IntN(len(w.clustering)+1)
		if w.odds(10) {
			n = 1 + w.IntN(len(key))
		}
		grouped = " GROUP BY " + names(key[:n])
		if !w.odds(6) {
			what = names(key[:n]) + ", " + w.aggregate()
		}
	}
	if w.odds(12) {
		what = "DISTINCT " + names(append(append([]column{}, w.partition...), w.static...))
	}
	order := w.ordering()
	if w.odds(12) {
		if what = "JSON " + what; what == "JSON *" && strings.Contains(where, " IN ") { // json-order
			order = ""
		}
	}
	return "SELECT " + what + " FROM t" + where + grouped + order + w.limits() + w.filtering(where)
}

// pick picks a column.
func (w *world) pick() column {
	all := w.all()
	return all[w.IntN(len(all))]
}

func (w *world) where() string {
	var parts []string
	switch {
	case !w.odds(4):
		parts = w.equalities(w.partition, 4)
		if len(w.clustering) > 0 && w.odds(8) {
			parts = append(parts, w.tuples())
			break
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
	case w.odds(3):
		parts = append(parts, w.tokens(w.one(">", ">=", "=")))
		if w.odds(3) {
			parts = append(parts, w.tokens(w.one("<", "<=")))
		}
	case w.odds(3):
		parts = append(parts, w.condition(w.key()[w.IntN(len(w.key()))], 3))
	}
	if c := w.pick(); w.odds(4) && !(len(parts) > 1 && strings.HasPrefix(parts[0], "token(") && slices.ContainsFunc(w.partition, func(k column) bool { return k.name == c.name })) { // wrapping-tokens
		parts = append(parts, w.filter(c))
	}
	if len(parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(parts, " AND ")
}

// tokens bounds the token of the partition key.
func (w *world) tokens(op string) string {
	bound := ""
	if w.odds(2) {
		bound = w.value(fmt.Sprint(w.IntN(3) - 1))
	} else {
		var values []string
		for _, c := range w.partition {
			values = append(values, w.literal(c))
		}
		bound = "token(" + strings.Join(values, ", ") + ")"
	}
	return fmt.Sprintf("token(%s) %s %s", names(w.partition), op, bound)
}

// tuples restricts several clustering columns together.
func (w *world) tuples() string {
	from := 0
	if w.odds(4) {
		from = w.IntN(len(w.clustering))
	}
	list := w.clustering[from : from+1+w.IntN(len(w.clustering)-from)]
	tuple := func(n int) string {
		var values []string
		for _, c := range list[:n] {
			values = append(values, w.literal(c))
		}
		return "(" + strings.Join(values, ", ") + ")"
	}
	left := "(" + names(list) + ") "
	switch w.IntN(4) {
	case 0:
		return left + "IN (" + tuple(len(list)) + ", " + tuple(len(list)) + ")"
	case 1:
		n := 1 + w.IntN(len(list))
		return left + w.one(">", ">=") + " " + tuple(len(list)) + " AND (" + names(list[:n]) + ") " + w.one("<", "<=") + " " + tuple(n)
	}
	return left + w.one("=", "<", "<=", ">", ">=") + " " + tuple(len(list))
}

// condition is an equality, or once in some times an IN.
func (w *world) condition(c column, in int) string {
	if !w.odds(in) {
		return fmt.Sprintf("%s = %s", c.name, w.literal(c))
	}
	if w.prepared && w.odds(3) {
		w.values = append(w.values, "["+w.one(c.literals...)+", "+w.one(c.literals...)+"]")
		return c.name + " IN ?"
	}
	var list []string
	for range w.one("", ".", "..", "...") {
		list = append(list, w.literal(c))
	}
	return fmt.Sprintf("%s IN (%s)", c.name, strings.Join(list, ", "))
}

// slice bounds a column from one side or both.
func (w *world) slice(c column) string {
	s := fmt.Sprintf("%s %s %s", c.name, w.one("<", "<=", ">", ">="), w.literal(c))
	if w.odds(3) {
		s += fmt.Sprintf(" AND %s %s %s", c.name, w.one("<", "<=", ">", ">="), w.literal(c))
	}
	return s
}

// inside are conditions on what a collection holds.
var inside = map[string][]string{
	"list<int>": {" CONTAINS 1", " CONTAINS 7", "[0] = 1"}, "list<text>": {" CONTAINS 'a'"}, "set<text>": {" CONTAINS 'a'", " CONTAINS 'b'", " CONTAINS ''"}, "set<int>": {" CONTAINS 1"},
	"map<text, int>": {" CONTAINS 1", " CONTAINS KEY 'a'", "['a'] = 1", "['b'] = 2"}, "map<int, frozen<list<text>>>": {" CONTAINS KEY 1", " CONTAINS ['x']", "[1] = ['x']"},
	"frozen<list<int>>": {" CONTAINS 2"}, "frozen<set<int>>": {" CONTAINS 1"}, "frozen<map<int, text>>": {" CONTAINS KEY 1", " CONTAINS 'x'"},
}

// filter is a condition on any column.
func (w *world) filter(c column) string {
	if w.expires && strings.HasPrefix(c.name, "s") { // expired-statics
		c = w.regular[w.IntN(len(w.regular))]
	}
	if forms := inside[c.kind]; forms != nil && !w.odds(5) {
		return c.name + w.one(forms...)
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
		text = " PER PARTITION LIMIT " + w.value(fmt.Sprint(1+w.IntN(3)))
	}
	if w.odds(5) {
		text += " LIMIT " + w.value(fmt.Sprint(1+w.IntN(4)))
	}
	return text
}

func (w *world) filtering(where string) string {
	if where != "" && !w.odds(3) {
		return " ALLOW FILTERING"
	}
	return ""
}
