package types

import (
	"bytes"
	"encoding/json"
	"testing"
)

// fuzzTypes are what the fuzz targets choose from by number.
var fuzzTypes = func() []*Type {
	all := append([]*Type{DurationType, CounterType, {Kind: Custom, Name: "com.example.Odd"}}, keyKinds...)
	for _, e := range []*Type{IntType, VarcharType, DecimalType, UUIDType, NewTuple(VarintType, TimestampType), NewVector(SmallintType, 2)} {
		all = append(all, NewList(e, true), NewSet(e, true), NewMap(e, NewSet(e, true), true), NewTuple(e, e), NewVector(e, 2))
	}
	return append(all, address, NewList(address, true))
}()

func fuzzType(n uint8) *Type { return fuzzTypes[int(n)%len(fuzzTypes)] }

// FuzzValue reads hostile bytes as a value of every kind: printing never panics, and what is valid survives text, JSON and key.
func FuzzValue(f *testing.F) {
	for i := range fuzzTypes {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1})
		f.Add(uint8(i), bytes.Repeat([]byte{0xFF}, 16))
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		typ := fuzzType(n)
		typ.AppendText(nil, b)
		typ.AppendLiteral(nil, b)
		text := typ.AppendJSON(nil, b)
		typ.Compare(b, b)
		typ.Canonical(b)
		if err := typ.Validate(b); err != nil || b == nil {
			return
		}
		b = typ.Canonical(b)
		if !json.Valid(text) {
			t.Fatalf("%s %x gives %s, which is not JSON", typ, b, text)
		}
		key, err := typ.AppendKey(nil, b, true)
		if err != nil {
			t.Fatal(err)
		}
		if back, rest, err := typ.DecodeKey(key, true); err != nil || typ.Compare(back, b) != 0 || len(rest) > 0 {
			t.Fatalf("%s %x came back from its key as %x: %v", typ, b, back, err)
		}
	})
}

// FuzzKey reads hostile bytes as a key: what is accepted is a valid value whose encoding is those bytes or orders the same.
func FuzzKey(f *testing.F) {
	f.Add(uint8(3), []byte{0x20, 0x80, 0x00, 0x01}, false) // an ascii byte over 0x7f was once accepted
	for i, typ := range fuzzTypes {
		f.Add(uint8(i), []byte{0x20, 0xC0, 0x80, 0, 0, 1, 13, 0}, false)
		f.Add(uint8(i), []byte{0x20, 0x20, 0x80, 0, 0, 1, 1, 0x20, 1, 1, 1}, false)
		if key, err := typ.AppendKey(nil, []byte{}, true); err == nil {
			f.Add(uint8(i), key, true)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, key []byte, desc bool) {
		typ := fuzzType(n)
		v, rest, err := typ.DecodeKey(key, desc)
		if err != nil {
			return
		}
		if err := typ.Validate(v); err != nil && typ.Kind != Set && typ.Kind != Map {
			t.Fatalf("%s: the key %x gave %x: %v", typ, key, v, err)
		}
		if !bytes.HasSuffix(key, rest) {
			t.Fatalf("%s: the rest of %x is %x", typ, key, rest)
		}
	})
}

// FuzzText reads hostile text and JSON: what is accepted is valid and prints to something that reads back the same.
func FuzzText(f *testing.F) {
	for i := range fuzzTypes {
		for _, s := range []string{"", "1", "-1.5e3", "true", "null", "[1, 2]", "{1: {2}}", "('a', null)", "{zip: 1}", "2013-01-01T10:00:00Z", "P1Y2MT3S",
			"0xcafe", "127.0.0.1", `"a\u0041"`, `{"1": [2]}`, "a0eebc99-9c0b-1ef8-bb6d-6bb9bd380a11", "08:12:54.1234", "1y2mo"} {
			f.Add(uint8(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, s string) {
		typ := fuzzType(n)
		if v, err := typ.FromJSON([]byte(s)); err == nil && typ.Validate(v) != nil {
			t.Fatalf("%s: the JSON %q gave %x: %v", typ, s, v, typ.Validate(v))
		}
		v, err := typ.ParseText(s)
		if err != nil {
			return
		}
		if err := typ.Validate(v); err != nil || v == nil {
			t.Fatalf("%s: %q gave %x: %v", typ, s, v, err)
		}
		text := string(typ.AppendText(nil, v))
		if back, err := typ.ParseText(text); err != nil || typ.Compare(back, v) != 0 {
			t.Fatalf("%s: %q printed %q, which gave %x: %v", typ, s, text, back, err)
		}
	})
}

// FuzzType reads hostile type names, class names and wire types: what is accepted is written and read the same again.
func FuzzType(f *testing.F) {
	for _, g := range goldenValues {
		typ, err := Parse(g.typ, lookup)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(g.typ))
		f.Add([]byte(typ.ClassName()))
		f.Add(typ.AppendWireType(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if typ, err := Parse(string(b), lookup); err == nil {
			if again, err := Parse(typ.String(), lookup); err != nil || !again.Equal(typ) {
				t.Fatalf("%q is %s, read again %v: %v", b, typ, again, err)
			}
		}
		if typ, err := ParseClass(string(b)); err == nil && typ.Kind != Custom {
			if again, err := ParseClass(typ.ClassName()); err != nil || again.ClassName() != typ.ClassName() {
				t.Fatalf("%q is %s, read again %v: %v", b, typ.ClassName(), again, err)
			}
		}
		typ, rest, err := DecodeWireType(b)
		if err != nil {
			return
		}
		wire := typ.AppendWireType(nil)
		if again, more, err := DecodeWireType(append(wire, rest...)); err != nil || !again.Equal(typ) || !bytes.Equal(more, rest) {
			t.Fatalf("%x is %s, read again %v: %v", b, typ, again, err)
		}
	})
}
