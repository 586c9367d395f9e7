package conform

import (
	"slices"
	"strings"
)

// selectors are forms of what is selected of a column of a type: C stands for the column, L for a value of its type, D for another column of a number.
var selectors = map[string][]string{
	"list<int>": {"collection_sum(C)", "collection_avg(C)", "collection_max(C)", "[1, 2]", "writetime(C)", "maxwritetime(C)"}, "list<text>": {"collection_min(C)"},
	"set<text>": {"C['a']", "C['b'..]", "C[..'a']", "writetime(C['a'])", "ttl(C)"}, "set<int>": {"C[1]", "C[1..2]", "collection_max(C)", "collection_sum(C)"},
	"map<text, int>": {"C['a']", "C['a'..'b']", "C['zz']", "map_keys(C)", "map_values(C)", "ttl(C['a'])", "writetime(C)", "C['a'] + 1"}, "map<int, frozen<list<text>>>": {"C[1]", "C[..1]", "map_keys(C)", "map_values(C)"},
	"frozen<list<int>>": {"collection_sum(C)", "collection_min(C)", "writetime(C)"}, "frozen<set<int>>": {"C[1]", "C[2..]", "collection_avg(C)"}, "frozen<map<int, text>>": {"C[1]", "C[1..1]", "map_values(C)", "ttl(C)"},
	"u": {"C.a", "C.b", "writetime(C)", "writetime(C.a)", "C.a + 1"}, "frozen<u>": {"C.a", "C.b", "writetime(C)"}, "vector<float, 2>": {"similarity_dot_product(C, [1, 2])", "similarity_euclidean(C, [0, 1])"},
	"timestamp": {"to_date(C)", "to_unix_timestamp(C)", "C + 1d", "C - 2h", "CAST(C AS date)"}, "date": {"to_timestamp(C)", "to_unix_timestamp(C)", "C + 3d", "CAST(C AS timestamp)"},
	"timeuuid": {"to_timestamp(C)", "to_date(C)", "to_unix_timestamp(C)"}, "text": {"C + 'x'", "text_as_blob(C)", "mask_inner(C, 1, 1)", "mask_outer(C, 1, null)", "mask_replace(C, 'masked')", "(text) 'hint'"},
	"blob": {"blob_as_text(C)", "mask_hash(C)"}, "boolean": {"boolean_as_blob(C)", "CAST(C AS text)"}, "uuid": {"uuid_as_blob(C)"}, "inet": {"mask_null(C)"}, "time": {"time_as_blob(C)"},
	"int": {"int_as_blob(C)", "(int) 5", "(C, 1)", "[C, 3]", "CAST(C AS tinyint)", "CAST(C AS double)"}, "bigint": {"CAST(C AS int)", "CAST(C AS varint)", "CAST(C AS float)"},
	"double": {"CAST(C AS int)", "CAST(C AS bigint)", "round(C)"}, "float": {"CAST(C AS smallint)", "CAST(C AS double)", "round(C)"}, "decimal": {"CAST(C AS int)", "CAST(C AS text)", "round(C)"}, "varint": {"CAST(C AS int)", "CAST(C AS decimal)"},
	"duration": {"to_json(C)", "duration_as_blob(C)"},
}

var (
	ofNumbers = []string{"C + 1", "C - L", "C * 2", "C / 2", "C % 2", "-C", "abs(C)", "C + C", "C * D", "C + D", "L - C", "(C + 1) * 2"}
	ofAny     = []string{"C AS x", "to_json(C)", "writetime(C)", "ttl(C)", "mask_default(C)", "CAST(C AS text)", "mask_null(C)", "maxwritetime(C)", "collection_count(C)", "abs(C)", "C.a", "C['a']"}
)

func (w *world) selection() string {
	switch n := w.IntN(10); {
	case n < 4:
		return "*"
	case n < 6:
		return w.aggregate()
	}
	var parts []string
	for range 1 + w.IntN(3) {
		parts = append(parts, w.selector())
	}
	return strings.Join(parts, ", ")
}

// numbers are the columns of a number.
func (w *world) numbers() []column {
	return slices.DeleteFunc(w.all(), func(c column) bool { return !slices.Contains(numberTypes, c.kind) })
}

// form fills in a form about a column.
func (w *world) form(form string, c column) string {
	if strings.Contains(form, "D") {
		d := c
		if list := w.numbers(); len(list) > 0 {
			d = list[w.IntN(len(list))]
		}
		if (c.kind == "decimal") != (d.kind == "decimal") { // exact-decimals
			d = c
		}
		form = strings.ReplaceAll(form, "D", d.name)
	}
	literal := ""
	if len(c.literals) > 0 {
		literal = w.one(c.literals...)
	}
	return strings.NewReplacer("CAST", "CAST", "C", c.name, "L", literal).Replace(form)
}

func (w *world) selector() string {
	c := w.pick()
	number := slices.Contains(numberTypes, c.kind)
	switch {
	case w.odds(3):
		return c.name
	case w.odds(12):
		return "token(" + names(w.partition) + ")"
	case number && w.odds(2):
		return w.form(w.one(ofNumbers...), c)
	case selectors[c.kind] != nil && !w.odds(3):
		return w.form(w.one(selectors[c.kind]...), c)
	}
	return w.form(w.one(ofAny...), c)
}

func (w *world) aggregate() string {
	c := w.pick()
	if list := w.numbers(); len(list) > 0 && w.odds(2) {
		c = list[w.IntN(len(list))]
	}
	forms := []string{"count(*)", "count(C)", "min(C), max(C)", "count(1)", "min(C)", "max(C) AS most, C", "max(writetime(C))"}
	switch {
	case slices.Contains(numberTypes, c.kind):
		if c.kind != "decimal" { // decimal-average
			forms = append(forms, "avg(C)")
		}
		forms = append(forms, "sum(C)", "sum(C), count(*)", "min(C + 1)", "max(-C)", "sum(C * 2)", "sum(C) + 1", "sum(C + D)")
	case strings.Contains(c.kind, "list<") || strings.Contains(c.kind, "set<"):
		forms = append(forms, "sum(collection_count(C))", "max(collection_count(C))")
	}
	return w.form(w.one(forms...), c)
}
