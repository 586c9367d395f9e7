package types

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var address = &Type{Kind: UDT, Keyspace: "ks", Name: "address", Frozen: true, Fields: []string{"street", "zip", "Phone No"},
	Elems: []*Type{VarcharType, IntType, NewSet(VarcharType, true)}}

func lookup(keyspace, name string) (*Type, error) {
	if name == "address" && (keyspace == "" || keyspace == "ks") {
		open := *address
		open.Frozen = false
		return &open, nil
	}
	return nil, errors.New("no such type")
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"int", "int"}, {" TEXT ", "text"}, {"varchar", "text"},
		{"map<text, frozen<list<int>>>", "map<text, frozen<list<int>>>"},
		{"frozen<map<text,list<set<int>>>>", "frozen<map<text, frozen<list<frozen<set<int>>>>>>"},
		{"tuple<int, list<text>>", "frozen<tuple<int, frozen<list<text>>>>"},
		{"frozen<tuple<int>>", "frozen<tuple<int>>"},
		{"list<tuple<int>>", "list<frozen<tuple<int>>>"},
		{"vector<float, 3>", "vector<float, 3>"},
		{"frozen<vector<list<int>, 2>>", "vector<frozen<list<int>>, 2>"},
		{"address", "address"}, {"Ks.ADDRESS", "address"}, {`"ks"."address"`, "address"},
		{"list<frozen<address>>", "list<frozen<address>>"},
		{"'org.apache.cassandra.db.marshal.Int32Type'", "int"},
		{"'com.example.Odd(a,b)'", "'com.example.Odd(a,b)'"},
	} {
		typ, err := Parse(c.text, lookup)
		if err != nil || typ.String() != c.want {
			t.Errorf("%q is %v, want %s: %v", c.text, typ, c.want, err)
			continue
		}
		if again, err := Parse(typ.String(), lookup); err != nil || !again.Equal(typ) {
			t.Errorf("%s read again is %v: %v", typ, again, err)
		}
	}
	if typ, _ := Parse("list<int>", nil); !typ.IsMultiCell() || typ.Equal(NewList(IntType, true)) || !typ.Equal(NewList(IntType, false)) {
		t.Error("list<int> is multi-cell, and not equal to its frozen form")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                                 "expected a type",
		"list":                             "expected <",
		"list<":                            "expected a type, not the end",
		"list<int":                         `expected ">", not the end`,
		"list<int>>":                       "expected the end",
		"list<int, int>":                   `expected ">"`,
		"map<int>":                         "a key and a value",
		"list<list<int>>":                  "must be frozen: write frozen<list<int>>",
		"map<text, address>":               "must be frozen",
		"set<duration>":                    "no order",
		"map<frozen<list<duration>>, int>": "no order",
		"list<counter>":                    "counters",
		"frozen<int>":                      "frozen<> is for",
		"vector<float>":                    `expected ","`,
		"vector<float, 0>":                 "1 to 65535",
		"vector<float, 70000>":             "1 to 65535",
		"vector<vector<vector<uuid, 60000>, 60000>, 60000>": "over the limit",
		"vector<float, x>": "dimension",
		"nosuch":           "no such type",
		"ks.":              "after",
		"<int>":            "expected a type",
		"'":                "expected a type",
		`"open`:            "expected a type",
		"'ListType('":      "expected a class",
		strings.Repeat("frozen<list<", 20) + "int": "deeper than the limit of 32",
		strings.Repeat("x", MaxTypeName+1):         "over the limit",
	} {
		typ, err := Parse(text, lookup)
		if err == nil || !errors.Is(err, ErrType) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gave %v and %v, want an error with %q", clip(text), typ, err, says)
		}
	}
}

func TestNestedForms(t *testing.T) {
	scores := NewMap(VarcharType, NewList(DoubleType, true), true)
	pair := NewTuple(IntType, TimestampType, UUIDType)
	for _, c := range []struct {
		typ                              *Type
		text, printed, literal, jsonText string
	}{
		{NewList(VarcharType, true), "['b', 'a''s', 'b']", "['b', 'a''s', 'b']", "['b', 'a''s', 'b']", `["b", "a's", "b"]`},
		{NewSet(IntType, true), "{3,1, 3}", "{1, 3}", "{1, 3}", "[1, 3]"},
		{NewMap(IntType, BooleanType, true), "{2: true, 1: False, 2: false}", "{1: False, 2: False}", "{1: false, 2: false}", `{"1": false, "2": false}`},
		{scores, "{'x': [1, NaN], 'a': []}", "{'a': [], 'x': [1, NaN]}", "{'a': [], 'x': [1, NaN]}", `{"a": [], "x": [1, "NaN"]}`},
		{NewMap(NewList(IntType, true), TimestampType, true), "{[1, 2]: '2013-01-01'}", "{[1, 2]: '2013-01-01 00:00:00.000000+0000'}",
			"{[1, 2]: '2013-01-01 00:00:00.000+0000'}", `{"[1, 2]": "2013-01-01 00:00:00.000Z"}`},
		{pair, "( 7 , null, a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 )", "(7, null, a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11)",
			"(7, null, a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11)", `[7, null, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]`},
		{pair, "(7)", "(7, null, null)", "(7, null, null)", "[7, null, null]"},
		{address, `{zip: 8000, "Phone No": {'1'}}`, `{street: null, zip: 8000, "Phone No": {'1'}}`, `{street: null, zip: 8000, "Phone No": {'1'}}`,
			`{"street": null, "zip": 8000, "\"Phone No\"": ["1"]}`},
		{NewVector(FloatType, 3), "[1, 2.5, -0.0]", "[1, 2.5, -0]", "[1, 2.5, -0]", "[1, 2.5, -0]"},
		{NewVector(VarcharType, 2), "['', 'é']", "['', 'é']", "['', 'é']", `["", "é"]`},
		{NewList(IntType, true), "['']", "['']", "[blob_as_int(0x)]", `[""]`},
	} {
		v, err := c.typ.ParseText(c.text)
		if err != nil || c.typ.Validate(v) != nil {
			t.Errorf("%s %s: %v, %v", c.typ, c.text, err, c.typ.Validate(v))
			continue
		}
		if got := string(c.typ.AppendText(nil, v)); got != c.printed {
			t.Errorf("%s printed %s, want %s", c.text, got, c.printed)
		}
		if got := string(c.typ.AppendLiteral(nil, v)); got != c.literal {
			t.Errorf("%s as literal %s, want %s", c.text, got, c.literal)
		}
		if got := string(c.typ.AppendClientJSON(nil, v)); got != c.jsonText {
			t.Errorf("%s as JSON %s, want %s", c.text, got, c.jsonText)
		}
		if back, err := c.typ.FromJSON([]byte(c.jsonText)); err != nil || !bytes.Equal(back, v) {
			t.Errorf("%s read back as %x, want %x: %v", c.jsonText, back, v, err)
		}
	}
}

// In the JSON of clients decimals are strings wherever they stand; SELECT JSON has numbers. Both are read.
func TestClientJSON(t *testing.T) {
	money := &Type{Kind: UDT, Keyspace: "ks", Name: "money", Frozen: true, Fields: []string{"amount", "parts"}, Elems: []*Type{DecimalType, NewList(DecimalType, false)}}
	for _, c := range []struct {
		typ               *Type
		cassandra, client string
	}{
		{DecimalType, "1.10", `"1.10"`},
		{DecimalType, "-1.5E-30", `"-1.5E-30"`},
		{DecimalType, "null", "null"},
		{VarintType, "123456789012345678901234567890", "123456789012345678901234567890"},
		{BigintType, "9007199254740993", "9007199254740993"},
		{DoubleType, "0.1", "0.1"},
		{NewList(DecimalType, true), "[1.10, 2]", `["1.10", "2"]`},
		{NewMap(DecimalType, NewSet(DecimalType, false), true), `{"1.10": [0.50]}`, `{"1.10": ["0.50"]}`},
		{NewTuple(DecimalType, VarintType), "[0.1, 7]", `["0.1", 7]`},
		{NewVector(DecimalType, 2), "[0.1, 0.2]", `["0.1", "0.2"]`},
		{money, `{"amount": 9.99, "parts": [9, 0.99]}`, `{"amount": "9.99", "parts": ["9", "0.99"]}`},
	} {
		for _, text := range []string{c.cassandra, c.client} {
			v, err := c.typ.FromJSON([]byte(text))
			if err != nil {
				t.Errorf("%s %s: %v", c.typ, text, err)
				continue
			}
			if got := string(c.typ.AppendJSON(nil, v)); got != c.cassandra {
				t.Errorf("%s %s: AppendJSON gave %s, want %s", c.typ, text, got, c.cassandra)
			}
			if got := string(c.typ.AppendClientJSON(nil, v)); got != c.client {
				t.Errorf("%s %s: AppendClientJSON gave %s, want %s", c.typ, text, got, c.client)
			}
		}
	}
}

func TestNestedRefuses(t *testing.T) {
	for _, c := range []struct {
		typ  *Type
		text string
		says string
	}{
		{NewList(IntType, true), "1, 2", "expected '['"},
		{NewList(IntType, true), "[1 2]", "not an integer"},
		{NewList(IntType, true), "[1,]", "expected a value"},
		{NewList(IntType, true), "[1] x", "follows the value"},
		{NewList(IntType, true), "[null]", "is null"},
		{NewList(VarcharType, true), "['a]", "never closed"},
		{NewMap(IntType, IntType, true), "{1}", "between key and value"},
		{NewTuple(IntType), "(1, 2)", "1 fields, these are 2"},
		{NewVector(FloatType, 2), "[1]", "2 dimensions, these are 1"},
		{NewVector(IntType, 1), "['']", "empty"},
		{address, "{town: 'x'}", "no field"},
		{address, "{zip 1}", "expected ':'"},
		{address, "{zip: 1 street: 2}", "not an integer"},
	} {
		v, err := c.typ.ParseText(c.text)
		if err == nil || !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s gave %x and %v, want an error with %q", c.typ, c.text, v, err, c.says)
		}
	}
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct {
		typ  *Type
		json string
		text string // the same value as text
	}{
		{BigintType, "9007199254740993", "9007199254740993"},
		{BigintType, ` "9007199254740993" `, "9007199254740993"},
		{DecimalType, "0.10000000000000000000000000001", "0.10000000000000000000000000001"},
		{VarintType, "123456789012345678901234567890", "123456789012345678901234567890"},
		{DoubleType, `"Infinity"`, "Infinity"},
		{BooleanType, `"true"`, "true"},
		{VarcharType, `"\ud834\udd1e\n\u0041\/"`, "𝄞\nA/"},
		{TimestampType, "1357034400000", "1357034400000"},
		{BlobType, `"0xff"`, "0xff"},
		{NewMap(IntType, VarcharType, true), `{"5": "x"}`, "{5: 'x'}"},
		{NewMap(NewTuple(IntType, VarcharType), IntType, true), `{"[1, \"a\"]": 2}`, "{(1, 'a'): 2}"},
		{NewList(IntType, true), `"[1, 2]"`, "[1, 2]"},
		{address, `{"ZIP": 3, "Phone No": ["1"]}`, `{zip: 3, "Phone No": {'1'}}`},
	} {
		got, err := c.typ.FromJSON([]byte(c.json))
		want, err2 := c.typ.ParseText(c.text)
		if err != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s %s read as %x, want %x: %v, %v", c.typ, c.json, got, want, err, err2)
		}
	}
	for _, typ := range []*Type{IntType, VarcharType, NewList(IntType, true), address} {
		if got, err := typ.FromJSON([]byte(" null ")); got != nil || err != nil {
			t.Errorf("%s null read as %x: %v", typ, got, err)
		}
	}
	for _, c := range []struct {
		typ  *Type
		json string
	}{
		{IntType, "1.0"}, {IntType, "1e2"}, {IntType, "true"}, {IntType, "[1]"}, {IntType, ""}, {IntType, "1 2"},
		{VarcharType, "1"}, {VarcharType, `"\ud834"`}, {VarcharType, `"\ud834\u0041"`}, {VarcharType, `"\udd1ex"`}, {VarcharType, "\"\xff\""},
		{BooleanType, "1"}, {UUIDType, "1"}, {NewList(IntType, true), `{"1": 2}`}, {NewList(IntType, true), "[null]"}, {NewMap(IntType, IntType, true), "[1]"},
		{NewTuple(IntType), "[1, 2]"}, {address, `{"town": 1}`}, {address, "[1]"}, {NewVector(FloatType, 2), "[1]"},
	} {
		if got, err := c.typ.FromJSON([]byte(c.json)); err == nil || !errors.Is(err, ErrValue) {
			t.Errorf("%s %s gave %x and %v, want an error", c.typ, c.json, got, err)
		}
	}
}

func TestElements(t *testing.T) {
	m := NewMap(VarcharType, IntType, true)
	b := AppendCount(nil, 1)
	b = AppendElement(b, []byte("k"))
	b, mark := BeginElement(b)
	b = AppendInt32(b, 42)
	EndElement(b, mark)
	if want := unhex(t, "00000001 00000001 6b 00000004 0000002a"); !bytes.Equal(b, want) || Count(b) != 1 {
		t.Fatalf("built %x, want %x", b, want)
	}
	var sum int
	if n := testing.AllocsPerRun(100, func() {
		it := m.Elements(b)
		for it.Next() {
			if it.Type() == IntType {
				sum += int(Int32(it.Value()))
			}
		}
	}); n != 0 || sum == 0 {
		t.Errorf("a walk allocates %v times; the sum is %d", n, sum)
	}
	it := m.Elements(b[:len(b)-1])
	for it.Next() {
	}
	if err := it.Err(); !errors.Is(err, ErrValue) {
		t.Errorf("a damaged map gives %v", err)
	}
}

// Keys are decoded without an allocation a value.
func TestDecodeKeyAllocates(t *testing.T) {
	key, _ := IntType.AppendKey(nil, AppendInt32(nil, -5), true)
	key, _ = VarcharType.AppendKey(key, []byte("EWR"), false)
	arena := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		v, grown, rest, err := IntType.DecodeKeyInto(arena, key, true)
		w, _, rest, err2 := VarcharType.DecodeKeyInto(grown, rest, false)
		if err != nil || err2 != nil || Int32(v) != -5 || string(w) != "EWR" || len(rest) != 0 {
			t.Fatal(v, w, rest, err, err2)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := IntType.AppendKey(dst, key[:4], true); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("encoding: %v allocations", n)
	}
	if _, err := IntType.AppendKey(nil, nil, false); !errors.Is(err, ErrValue) {
		t.Errorf("null in a key gave %v", err)
	}
}
