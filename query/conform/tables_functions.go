package conform

import "strings"

// sample is a column of each type for functions, casts and arithmetic, with its value in row 1 and in row 2; row 3 is empty.
type sample struct{ name, kind, one, two string }

var samples = []sample{
	{"ascii1", "ascii", "'abc'", "''"}, {"bigint1", "bigint", "9007199254740993", "-9223372036854775808"}, {"blob1", "blob", "0xcafe", "0x"},
	{"boolean1", "boolean", "true", "false"}, {"date1", "date", "'2024-02-29'", "'1969-12-31'"}, {"decimal1", "decimal", "12.50", "-7.25"},
	{"double1", "double", "2.5", "-3.5"}, {"duration1", "duration", "1mo2d3h", "-1d"}, {"float1", "float", "1.1", "-2.5"},
	{"inet1", "inet", "'127.0.0.1'", "'::1'"}, {"int1", "int", "7", "-2147483648"}, {"smallint1", "smallint", "300", "-32768"}, {"text1", "text", "'tëxt'", "''"},
	{"time1", "time", "'12:34:56.789'", "'00:00:00'"}, {"timestamp1", "timestamp", "'2024-02-29T12:34:56.789Z'", "-1"},
	{"timeuuid1", "timeuuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-1000-8080-808080808080"}, {"tinyint1", "tinyint", "100", "-128"},
	{"uuid1", "uuid", "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "00000000-0000-0000-0000-000000000000"},
	{"varint1", "varint", "123456789012345678901234567890", "-128"}, {"list1", "list<int>", "[3, 1, 2]", "[2147483647, 1]"},
	{"set1", "set<text>", "{'b', 'a'}", "{'c'}"}, {"map1", "map<text, double>", "{'x': 1.5, 'a': 2.5}", "{'z': -0.0}"},
	{"frozen1", "frozen<list<decimal>>", "[1.5, 2]", "[]"}, {"tuple1", "tuple<int, text>", "(1, 'a')", "(2, null)"},
	{"udt1", "u", "{a: 1, b: 'x'}", "{a: 2}"}, {"vector1", "vector<float, 3>", "[1, 2, 3]", "[0, 0, 1]"},
}

// ofOneArgument are the functions tried with each sample.
var ofOneArgument = strings.Fields(`abs exp log log10 round to_json min max sum avg count map_keys map_values collection_count collection_min collection_max collection_sum
	collection_avg to_timestamp to_date to_unix_timestamp mask_default mask_null mask_hash ttl writetime maxwritetime`)

// fill makes the table of samples.
func (s *script) fill() {
	s.add("CREATE TYPE u (a int, b text)")
	var columns, names, one, two []string
	for _, c := range samples {
		columns, names = append(columns, c.name+" "+c.kind), append(names, c.name)
		one, two = append(one, c.one), append(two, c.two)
	}
	s.add("CREATE TABLE t (k int PRIMARY KEY, %s)", strings.Join(columns, ", "))
	s.add("INSERT INTO t (k, %s) VALUES (1, %s) USING TIMESTAMP 1000", strings.Join(names, ", "), strings.Join(one, ", "))
	s.add("INSERT INTO t (k, %s) VALUES (2, %s) USING TIMESTAMP 2000", strings.Join(names, ", "), strings.Join(two, ", "))
	s.add("INSERT INTO t (k) VALUES (3)")
}

// functionScripts try functions of one argument with columns of every type: functions_NAME.
func functionScripts() map[string][]Step {
	all := map[string][]Step{}
	for _, f := range ofOneArgument {
		s := &script{}
		s.fill()
		for _, c := range samples {
			s.add("SELECT %s(%s) FROM t", f, c.name)
		}
		s.add("SELECT %s() FROM t", f)
		s.add("SELECT %s(int1, int1) FROM t", f)
		s.add("SELECT %s(k) FROM t", f)
		s.add("SELECT %s(1) FROM t", f)
		s.add("SELECT %s('x') FROM t", f)
		s.add("SELECT %s(null) FROM t", f)
		s.bind("SELECT "+f+"(?) FROM t WHERE k = 1", "0x00000001")
		s.add("SELECT system.%s(double1) AS r FROM t WHERE k = 2", f)
		s.add("INSERT INTO t (k, double1) VALUES (4, %s(1.5))", f)
		all["functions_"+f] = s.steps
	}
	all["functions_blob"] = blobScript()
	return all
}

// blobScript tries TYPE_as_blob and blob_as_TYPE of every scalar type, under both names.
func blobScript() []Step {
	s := &script{}
	s.fill()
	for _, c := range samples {
		if strings.ContainsAny(c.kind, "<") || c.kind == "u" || c.kind == "blob" {
			continue
		}
		s.add("SELECT k, %s_as_blob(%s) FROM t", c.kind, c.name)
		s.add("SELECT blob_as_%s(%s_as_blob(%s)) FROM t WHERE k = 1", c.kind, c.kind, c.name)
		s.add("SELECT %sAsBlob(%s) FROM t WHERE k = 1", c.kind, c.name)
		for _, v := range []string{"0x", "0x00", "0x0000000000000000", "0xffffffff", "0x6ba7b8109dad11d180b400c04fd430c8"} {
			s.add("SELECT blob_as_%s(%s) FROM t WHERE k = 1", c.kind, v)
		}
	}
	return s.steps
}

// castScript tries CAST between all types.
func castScript() []Step {
	s := &script{}
	s.fill()
	for _, from := range samples {
		for _, to := range samples {
			s.add("SELECT CAST(%s AS %s) FROM t", from.name, to.kind)
		}
	}
	s.add("SELECT CAST(1 AS text) FROM t WHERE k = 1")
	s.add("SELECT CAST(? AS text) FROM t WHERE k = 1")
	s.add("SELECT CAST(CAST(int1 AS bigint) AS text) AS r FROM t WHERE k = 1")
	s.add("SELECT CAST(nope AS text) FROM t")
	s.add("SELECT CAST(int1 AS nope) FROM t")
	s.add("SELECT CAST(int1 + 1 AS double) FROM t")
	s.add("SELECT avg(CAST(int1 AS double)) FROM t")
	s.add("INSERT INTO t (k, text1) VALUES (9, CAST(1 AS text))")
	return s.steps
}

// arithmeticScript tries each operator on all pairs of types that have one.
func arithmeticScript() []Step {
	s := &script{}
	s.fill()
	for _, a := range samples {
		s.add("SELECT -%s FROM t", a.name)
		s.add("SELECT %s + 1 FROM t WHERE k = 1", a.name)
		s.add("SELECT 1 - %s FROM t WHERE k = 1", a.name)
		s.add("SELECT %s + 1d FROM t WHERE k = 1", a.name)
		s.add("SELECT %s / 0 FROM t WHERE k = 1", a.name)
		s.add("SELECT %s %% 0 FROM t WHERE k = 1", a.name)
	}
	numbers := strings.Fields("tinyint1 smallint1 int1 bigint1 varint1 decimal1 float1 double1")
	for _, op := range []string{"+", "-", "*", "/", "%"} {
		for _, a := range numbers {
			for _, b := range numbers {
				s.add("SELECT %s %s %s FROM t", a, op, b)
			}
		}
	}
	for _, e := range []string{"1 + 2 * 3", "(1 + 2) * 3", "10 - 3 - 2", "100 / 7", "-100 / 7", "100 % 7", "-100 % 7", "7 / 2.0", "1.5 + 1", "-(1)", "- -1", "2147483647 + 1", "9223372036854775807 + 1",
		"-9223372036854775808 - 1", "1 + 'x'", "1 + null", "NaN + 1", "1 / 0", "1.0 / 0", "int1 + ?", "(int)? + 1", "text1 + text1", "'a' + 'b'", "date1 + 2d", "date1 - 1mo", "date1 + 1h",
		"timestamp1 + 1h", "timestamp1 - 1mo2d", "timestamp1 + 1ns", "timestamp1 + timestamp1", "timestamp1 - timestamp1", "1d + date1", "time1 + 1h", "duration1 + 1d", "duration1 * 2",
		"list1 + list1", "set1 + set1", "map1 + map1"} {
		s.add("SELECT %s FROM t WHERE k = 1", e)
		s.add("SELECT %s AS r FROM t", e)
	}
	for _, v := range []string{"1 + 1", "2 * 3 + 1", "? + 1", "(1 + 2) * 3", "1 / 0", "int1 + 1", "- 5", "1.5 + 1", "2147483647 + 1"} {
		s.add("INSERT INTO t (k, int1) VALUES (5, %s)", v)
		s.add("SELECT int1 FROM t WHERE k = %s", v)
	}
	s.add("UPDATE t SET int1 = 1 + 2 WHERE k = 5")
	s.add("UPDATE t SET int1 = int1 + 1 WHERE k = 5")
	s.add("UPDATE t SET int1 = int1 - 1 WHERE k = 5")
	s.add("SELECT int1 FROM t WHERE k = 5")
	s.add("DELETE FROM t WHERE k = 4 + 1")
	s.add("SELECT int1 FROM t WHERE k = 5")
	return s.steps
}
