package conform

import (
	"fmt"
	"strings"
)

// typeCase is a CQL type with the literals that try its edges, good and bad.
type typeCase struct {
	name     string
	literals []string
	json     []string // as JSON values
}

// ofEachKind are literals of every kind: each type is tried with all of them.
var ofEachKind = []string{
	"null", "1", "-1.5", "'x'", "''", "true", "0xca", "0x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "1d2h", "NaN", "[1]", "{1}", "{1: 2}", "(1, 'a')", "{a: 1}",
	"[]", "{}", "now()", "foo", "(int)1", "(text)'x'", "1 + 1", "[null]", "x.y",
}

// jsonOfEachKind are JSON values of every kind.
var jsonOfEachKind = []string{
	"null", "1", "-1.5", `"x"`, `""`, `"1"`, "true", `"true"`, "[]", "[1]", "{}", `{"1": 2}`, `{"a": 1}`, "1e2", "01", "NaN", `"\u00e9"`, "[null]", `"0xca"`,
}

var typeCases = []typeCase{
	{"ascii", []string{"'abc'", "'é'", "'it''s'", "$$a'b$$", "$$$$", "'a\tb'"}, []string{`"é"`, `"a\nb"`}},
	{"bigint", []string{"0", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"},
		[]string{"9223372036854775807", "9223372036854775808", `"-9223372036854775808"`, "9007199254740993"}},
	{"blob", []string{"0xFF", "0xabc", "0xABCDEF", "'0xff'", "int_as_blob(3)"}, []string{`"0x"`, `"ca"`, `"0xabc"`, `"0xZZ"`}},
	{"boolean", []string{"TRUE", "False", "'true'", "0"}, []string{"false", `"FALSE"`, `"yes"`, "0"}},
	{"counter", nil, nil},
	{"date", []string{"'2024-02-29'", "'2023-02-29'", "'-5877641-06-23'", "'5881580-07-11'", "'5881580-07-12'", "'0001-01-01'", "'0000-01-01'", "'2024-1-5'", "2147483648", "0",
		"4294967295", "4294967296", "-1", "'2024-02-29 00:00:00'", "'20240229'", "'2024-13-01'", "' 2024-01-01'"}, []string{`"2024-02-29"`, "2147483648", `"2024-02-30"`}},
	{"decimal", []string{"0", "0.0", "-0.00", "1.10", "1e10", "1E-10", "123456789012345678901234567890.123456789", "1e2147483647", "-1e-2147483648", "1e3000"},
		[]string{"1.10", `"1.10"`, "1e10", "123456789012345678901234567890.5"}},
	{"double", []string{"0.0", "-0.0", "1", "1e308", "1e309", "-1e309", "1e-400", "Infinity", "-Infinity", "-NaN", "infinity", "nan", "0.1", "123456789.123456789"},
		[]string{"0.1", `"NaN"`, `"Infinity"`, `"-Infinity"`, "1e309", `"0.5"`}},
	{"duration", []string{"1y2mo3w4d5h6m7s8ms9us10ns", "-1d", "P1Y2M3DT4H5M6S", "P1W", "PT1M", "P0001-02-03T04:05:06", "1mo1y", "1d1d", "0s", "178956970y", "178956971y", "9223372036854775807ns",
		"9223372036854775808ns", "1µs", "-P1D", "P-1D", "1Y", "'1d'", "P", "PT", "1h1h"}, []string{`"1d2h"`, `"-1d"`, `"P1D"`, `"xyz"`, "5"}},
	{"float", []string{"0.1", "3.4028235e38", "3.5e38", "1e-46", "-0.0", "16777217", "Infinity", "-Infinity"}, []string{"0.1", `"NaN"`, "3.5e38"}},
	{"inet", []string{"'127.0.0.1'", "'::1'", "'::ffff:1.2.3.4'", "'1.2.3'", "'256.1.1.1'", "'fe80::1'", "'[::1]'", "'2001:DB8::1'", "127"}, []string{`"127.0.0.1"`, `"::1"`, `"a.b"`}},
	{"int", []string{"2147483647", "2147483648", "-2147483648", "-2147483649", "007", "1e2", "-0", "99999999999999999999"}, []string{"2147483648", `"-5"`, "1.0", `"1.0"`}},
	{"smallint", []string{"32767", "32768", "-32768", "-32769"}, []string{"32767", "32768", `"-32768"`}},
	{"text", []string{"'é'", "'日本'", "'it''s'", "$$a'b$$", "'😀'", "\"x\"", "text_as_blob('x')"}, []string{`"日本"`, `"\ud83d\ude00"`, `"\\\"\/\b\f\n\r\t"`}},
	{"time", []string{"'12:34:56'", "'12:34:56.123456789'", "'12:34:56.1'", "'24:00:00'", "'12:34'", "'25:00:00'", "'12:60:00'", "'00:00:00.000000000'", "'12:34:56.1234567890'", "0",
		"86399999999999", "86400000000000", "-1", "'1:2:3'"}, []string{`"12:34:56"`, "0", `"24:00:00"`}},
	{"timestamp", []string{"'2024-02-29'", "'2024-02-29 12:34'", "'2024-02-29 12:34:56'", "'2024-02-29 12:34:56.1'", "'2024-02-29 12:34:56.123'", "'2024-02-29T12:34:56Z'",
		"'2024-02-29T12:34:56.123456Z'", "'2024-02-29 12:34:56+0100'", "'2024-02-29 12:34:56+01:00'", "'2024-02-29 12:34:56+01'", "'2024-02-29 12:34:56 UTC'", "'2024-02-29+0100'",
		"'2023-02-29'", "'2024-02-29 25:00'", "0", "9223372036854775807", "-62135596800000", "'1'", "'-1'", "'0001-01-01'", "'9999-12-31 23:59:59.999Z'", "'10000-01-01'", "'2024/02/29'", "'now'"},
		[]string{`"2024-02-29 12:34:56.123Z"`, "0", "-1", `"2024-02-29"`, `"nonsense"`}},
	{"timeuuid", []string{"'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "00000000-0000-1000-8080-808080808080", "uuid()", "min_timeuuid(0)"},
		[]string{`"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`, `"6ba7b810-9dad-41d1-80b4-00c04fd430c8"`, `"nonsense"`}},
	{"tinyint", []string{"127", "128", "-128", "-129"}, []string{"127", "128", `"-128"`}},
	{"uuid", []string{"'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "6BA7B810-9DAD-41D1-80B4-00C04FD430C8", "00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-41d1-80b4-00c04fd430c", "uuid()"},
		[]string{`"6ba7b810-9dad-41d1-80b4-00c04fd430c8"`, `"6ba7b810"`}},
	{"varchar", []string{"'é'"}, []string{`"é"`}},
	{"varint", []string{"0", "-0", "128", "-128", "-129", "123456789012345678901234567890", "-123456789012345678901234567890"},
		[]string{"123456789012345678901234567890", `"123456789012345678901234567890"`, "1.0"}},
	{"list<int>", []string{"[1, 2, 1]", "[1, 'a']", "[1, null]", "[2147483648]", "[[1]]", "(list<int>)[1]"}, []string{"[1, 2, 1]", `["1"]`, `"[1]"`, `[1, "a"]`}},
	{"set<text>", []string{"{'b', 'a', 'b'}", "{'a', null}", "{''}", "['a']"}, []string{`["b", "a", "b"]`, `["a", null]`, `{"a": 1}`}},
	{"map<text, int>", []string{"{'b': 1, 'a': 2}", "{'a': 1, 'a': 2}", "{'a': null}", "{null: 1}", "{'a': 'b'}"}, []string{`{"b": 1, "a": "2"}`, `{"a": null}`, `{"a": 1, "a": 2}`}},
	{"frozen<list<int>>", []string{"[1, 2]", "[1, null]"}, []string{"[1, 2]", "[null]"}},
	{"tuple<int, text>", []string{"(1)", "(1, null)", "(null, null)", "(1, 'a', 2)", "('a', 1)"}, []string{`[1, "a"]`, `[1]`, `[1, "a", 2]`, `[null, "a"]`}},
	{"udt", []string{"{a: 1, b: 'x'}", "{b: 'x'}", "{c: 1}", "{a: 'x'}", "{a: null}", "{\"a\": 1}", "{a: 1, a: 2}", "(1, 'x')"}, []string{`{"a": 1, "b": "x"}`, `{"b": "x"}`, `{"c": 1}`, `{"a": null}`, `{"A": 1}`, `{"\"a\"": 1}`}},
	{"vector<float, 2>", []string{"[1, 2]", "[1.5, -2]", "[1, 2, 3]", "[1, null]", "[NaN, Infinity]", "(vector<float, 2>)[1, 2]"}, []string{"[1, 2.5]", `["1", 2]`, "[1]", "[1, null]"}},
	{"vector<text, 2>", []string{"['a', '']", "['a', null]", "['a']"}, []string{`["a", "b"]`}},
}

// typeScripts give each type's literals, JSON and prepared values: types_TYPE.
func typeScripts() map[string][]Step {
	all := map[string][]Step{}
	for _, c := range typeCases {
		s := &script{}
		if c.name == "udt" {
			s.add("CREATE TYPE udt (a int, b text)")
		}
		s.add("CREATE TABLE t (k int PRIMARY KEY, v %s)", c.name)
		var varying []string // rows that differ each time
		for i, l := range append(append([]string{}, ofEachKind...), c.literals...) {
			s.add("INSERT INTO t (k, v) VALUES (%d, %s)", i, l)
			if l == "now()" || l == "uuid()" {
				varying = append(varying, fmt.Sprint(i))
			}
		}
		for i, j := range append(append([]string{}, jsonOfEachKind...), c.json...) {
			s.add(`INSERT INTO t JSON '{"k": %d, "v": %s}'`, 100+i, j)
		}
		for i, v := range boundValues {
			s.bind("INSERT INTO t (k, v) VALUES (?, ?)", fmt.Sprint(200+i), v)
		}
		s.add("SELECT k, v FROM t WHERE k IN (%s)", strings.Join(varying, ", "))
		s.options("mask")
		s.add("DELETE FROM t WHERE k IN (%s)", strings.Join(varying, ", "))
		s.add("SELECT k, v FROM t")
		s.add("SELECT JSON k, v FROM t")
		s.add("SELECT k, to_json(v) FROM t")
		all["types_"+word(c.name)] = s.steps
	}
	return all
}

// boundValues are bytes of many lengths: which are values of a type, and what those that aren't are told.
var boundValues = []string{
	"null", "unset", "0x", "0x00", "0xff", "0x0001", "0x000102", "0x00000001", "0x0000000100000004", "0x6ba7b8109dad11d180b400c04fd430c8", "0x6ba7b8109dad41d180b400c04fd430c8", "0x0000000000",
	"0x000000010000000400000007", "0xffffffff", "0x00000001000000016100000004ffffffff",
}
