package types

import "testing"

// What SELECT JSON prints where Java has its own way: held to Cassandra's text by query/conform, here to the corners that no script has.
func TestCassandraJSON(t *testing.T) {
	for _, c := range []struct {
		typ        *Type
		text, json string
	}{
		{DoubleType, "1234567", "1234567.0"}, {DoubleType, "12345678", "1.2345678E7"}, {DoubleType, "1e100", "1.0E100"}, {DoubleType, "-0.0", "-0.0"},
		{DoubleType, "0.001", "0.001"}, {DoubleType, "0.00099", "9.9E-4"}, {DoubleType, "4.9e-324", "4.9E-324"}, {FloatType, "1.4e-45", "1.4E-45"},
		{DoubleType, "NaN", "null"}, {DoubleType, "-Infinity", "null"}, {FloatType, "16777216", "1.6777216E7"},
		{DateType, "5881580-07-11", `"+5881580-07-11"`}, {DateType, "-0001-01-01", `"-0001-01-01"`}, {DateType, "9999-12-31", `"9999-12-31"`},
		{InetType, "2001:DB8::1", `"2001:db8:0:0:0:0:0:1"`}, {InetType, "1.2.3.4", `"1.2.3.4"`},
		{DurationType, "0s", `""`}, {DecimalType, "1.00", "1.00"},
		{NewMap(VarcharType, NewList(DoubleType, true), true), "{'x': [1, NaN], 'a': []}", `{"a": [], "x": [1.0, null]}`},
		{NewVector(FloatType, 3), "[1, 2.5, -0.0]", "[1.0, 2.5, -0.0]"}, {NewList(IntType, true), "['']", `[""]`},
	} {
		v, err := c.typ.ParseText(c.text)
		if err != nil {
			t.Errorf("%s %s: %v", c.typ, c.text, err)
			continue
		}
		if got := string(c.typ.AppendJSON(nil, v)); got != c.json {
			t.Errorf("%s %s as JSON %s, want %s", c.typ, c.text, got, c.json)
		}
	}
}
