package conform

import "strings"

// pool holds literals of a type, few enough that random rows and conditions meet.
var pool = map[string][]string{
	"int": {"0", "1", "2", "-1", "2147483647"}, "bigint": {"0", "1", "-5", "9007199254740993"}, "text": {"''", "'a'", "'b'", "'é'", "'it''s'"}, "ascii": {"''", "'a'", "'Zz'"},
	"boolean": {"true", "false"}, "float": {"0.0", "1.5", "-2.25"}, "double": {"0.0", "1.5", "-2.25", "1e10"}, "decimal": {"0", "1.10", "1.1", "-7.25"},
	"varint": {"0", "128", "-129", "123456789012345678901234567890"}, "smallint": {"0", "1", "-300"}, "tinyint": {"0", "1", "-7"},
	"uuid":      {"00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
	"timeuuid":  {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "8bb08a00-c34b-11ee-9c33-325096b39f47"},
	"timestamp": {"0", "'2024-02-29T12:34:56Z'", "-1"}, "date": {"'2024-02-29'", "'1969-12-31'"}, "time": {"'12:34:56'", "'00:00:00'"}, "inet": {"'127.0.0.1'", "'::1'"},
	"blob": {"0x", "0xca", "0xcafe"}, "duration": {"1mo", "2d3h", "-1s"},
	"list<int>": {"[]", "[1]", "[1, 2, 1]", "[0, 7]"}, "list<text>": {"['a']", "['b', 'a']"}, "set<text>": {"{}", "{'a'}", "{'b', 'a'}"}, "set<int>": {"{}", "{1}", "{3, 1, 2}"},
	"map<text, int>": {"{}", "{'a': 1}", "{'b': 2, 'a': 3}"}, "map<int, frozen<list<text>>>": {"{}", "{1: ['x']}", "{2: [], 1: ['y', 'x']}"},
	"frozen<list<int>>": {"[]", "[1, 2]", "[2]"}, "frozen<set<int>>": {"{}", "{1}", "{3, 1}"}, "frozen<map<int, text>>": {"{}", "{1: 'x'}"},
	"tuple<int, text>": {"(1, 'a')", "(2, null)", "(null, 'b')"}, "vector<float, 2>": {"[1, 2]", "[0, -1.5]"}, "u": {"{a: 1, b: 'x'}", "{a: 2}", "{b: ''}"}, "frozen<u>": {"{a: 1, b: 'x'}", "{a: 2}", "{b: ''}"},
}

// documents holds the same values as JSON, of the types whose values are no single number, word or string.
var documents = map[string][]string{
	"list<int>": {"[]", "[1]", "[1, 2, 1]"}, "list<text>": {`["a"]`, `["b", "a"]`}, "set<text>": {"[]", `["b", "a"]`}, "set<int>": {"[]", "[3, 1]"},
	"map<text, int>": {"{}", `{"b": 2, "a": 3}`}, "map<int, frozen<list<text>>>": {"{}", `{"2": [], "1": ["y"]}`}, "frozen<list<int>>": {"[]", "[1, 2]"}, "frozen<set<int>>": {"[1]", "[3, 1]"},
	"frozen<map<int, text>>": {"{}", `{"1": "x"}`}, "tuple<int, text>": {`[1, "a"]`, "[2, null]"}, "vector<float, 2>": {"[1, 2]", "[0, -1.5]"}, "u": {`{"a": 1, "b": "x"}`, `{"a": 2}`}, "frozen<u>": {`{"a": 1, "b": "x"}`, `{"b": ""}`},
	"decimal": {"0", "-7", "3"}, // the others' digits: exact-json
}

var (
	keyTypes    = strings.Fields("int bigint text ascii boolean float double decimal varint smallint tinyint uuid timeuuid timestamp date time inet blob")
	scalarTypes = append([]string{"duration"}, keyTypes...)
	wholeTypes  = []string{"frozen<list<int>>", "frozen<set<int>>", "frozen<map<int, text>>", "tuple<int, text>", "vector<float, 2>", "frozen<u>"} // one cell each
	partTypes   = []string{"list<int>", "list<text>", "set<text>", "set<int>", "map<text, int>", "map<int, frozen<list<text>>>", "u"}              // a cell for each part
	numberTypes = strings.Fields("int bigint float double decimal varint smallint tinyint")
)

// kinds draws the type of a value column: half of them scalars.
func (w *world) kinds() string {
	switch w.IntN(4) {
	case 0:
		return w.one(wholeTypes...)
	case 1:
		return w.one(partTypes...)
	}
	return w.one(scalarTypes...)
}

// plain is a literal as the text of a bound value.
func plain(literal string) string {
	if len(literal) > 1 && literal[0] == '\'' {
		return strings.ReplaceAll(literal[1:len(literal)-1], "''", "'")
	}
	return literal
}

// document is a value of a type as JSON.
func (w *world) document(c column) string {
	if list := documents[c.kind]; list != nil {
		return w.one(list...)
	}
	literal := w.one(c.literals...)
	switch c.kind {
	case "text", "ascii", "date", "time", "inet", "uuid", "timeuuid", "blob", "duration":
		return `"` + plain(literal) + `"`
	}
	return strings.ReplaceAll(literal, "'", `"`)
}

// literal picks a value of a column, or a marker with that value; now and then null, or a value of another type.
func (w *world) literal(c column) string {
	switch {
	case w.odds(80):
		return w.value("null")
	case w.odds(150) && c.kind != "decimal": // canonical-values
		return w.one(pool[w.one(scalarTypes...)]...)
	}
	return w.value(w.one(c.literals...))
}

// value is a literal, or in a prepared statement mostly a marker.
func (w *world) value(literal string) string {
	if !w.prepared || w.odds(4) {
		return literal
	}
	w.values = append(w.values, plain(literal))
	return "?"
}
