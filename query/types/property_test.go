package types

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestGeneratedValuesAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 3, true)
		if v := genValue(t, typ); typ.Validate(v) != nil {
			t.Fatalf("%s: %x: %v", typ, v, typ.Validate(v))
		}
	})
}

// Encodings order as values do, in both directions, and read back to a value that compares equal.
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 2, false)
		a := genValue(t, typ)
		b := genNear(t, typ, a)
		desc := rapid.Bool().Draw(t, "desc")
		checkKeyOrder(t, typ, a, b, desc)
		checkKeyOrder(t, typ, a, a, desc)
	})
}

func checkKeyOrder(t *rapid.T, typ *Type, a, b []byte, desc bool) {
	keyA, err := typ.AppendKey(nil, a, desc)
	if err != nil {
		t.Fatal(err)
	}
	keyB, err := typ.AppendKey(nil, b, desc)
	if err != nil {
		t.Fatal(err)
	}
	want := sign(typ.Compare(a, b))
	if want != -sign(typ.Compare(b, a)) {
		t.Fatalf("%s: Compare is not antisymmetric for %x and %x", typ, a, b)
	}
	if desc {
		want = -want
	}
	if got := bytes.Compare(keyA, keyB); got != want {
		t.Fatalf("%s desc=%v: %x and %x order %d, their keys %x and %x order %d", typ, desc, a, b, want, keyA, keyB, got)
	}
	if keyA[0] == 0 || keyA[0] == 0xFF {
		t.Fatalf("%s: the key %x starts with %#x", typ, keyA, keyA[0])
	}
	got, rest, err := typ.DecodeKey(append(keyA, 0xFF, 0, 7), desc)
	if err != nil || !bytes.Equal(rest, []byte{0xFF, 0, 7}) {
		t.Fatalf("%s: decoding %x: %v, rest %x", typ, keyA, err, rest)
	}
	if got == nil || typ.Compare(got, a) != 0 || typ.Validate(got) != nil {
		t.Fatalf("%s: %x came back as %x (%v)", typ, a, got, typ.Validate(got))
	}
}

// Several components, each in its own direction, order as the tuple of their values does, and a prefix bounds what begins with it.
func TestKeyComponents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "components")
		var typs []*Type
		var descs []bool
		for range n {
			typs = append(typs, genType(t, 1, false))
			descs = append(descs, rapid.Bool().Draw(t, "desc"))
		}
		var keys [2][]byte
		var prefixes [2][][]byte
		var values [2][][]byte
		for side := range keys {
			for i, typ := range typs {
				v := genValue(t, typ)
				if side == 1 && rapid.Bool().Draw(t, "same") {
					v = values[0][i]
				}
				values[side] = append(values[side], v)
				key, err := typ.AppendKey(keys[side], v, descs[i])
				if err != nil {
					t.Fatal(err)
				}
				keys[side] = key
				prefixes[side] = append(prefixes[side], bytes.Clone(key))
			}
		}
		want, same := 0, true
		for i, typ := range typs {
			c := sign(typ.Compare(values[0][i], values[1][i]))
			if descs[i] {
				c = -c
			}
			if want == 0 {
				want = c
			}
			same = same && c == 0
			p := prefixes[0][i]
			inside := bytes.Compare(keys[1], p) >= 0 && bytes.Compare(keys[1], append(bytes.Clone(p), 0xFF)) < 0
			if inside != same {
				t.Fatalf("prefix %x holds %x: %v, its components are equal: %v", p, keys[1], inside, same)
			}
		}
		if got := bytes.Compare(keys[0], keys[1]); got != want {
			t.Fatalf("keys %x and %x order %d, want %d", keys[0], keys[1], got, want)
		}
		rest, arena := keys[0], []byte(nil)
		for i, typ := range typs {
			var v []byte
			var err error
			if v, arena, rest, err = typ.DecodeKeyInto(arena, rest, descs[i]); err != nil || typ.Compare(v, values[0][i]) != 0 {
				t.Fatalf("component %d: %x came back as %x: %v", i, values[0][i], v, err)
			}
		}
		if len(rest) > 0 {
			t.Fatalf("%x is left", rest)
		}
	})
}

// Compare is an order: transitive.
func TestCompareTransitive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 2, true)
		a, b, c := genValue(t, typ), genValue(t, typ), genValue(t, typ)
		if typ.Compare(a, b) <= 0 && typ.Compare(b, c) <= 0 && typ.Compare(a, c) > 0 {
			t.Fatalf("%s: %x <= %x <= %x but not transitive", typ, a, b, c)
		}
	})
}

// canonicalText is what a value reads back as from text: short tuples filled, sets sorted, varints minimal, NaN one.
func sameValue(typ *Type, a, b []byte) bool {
	return a == nil && b == nil || a != nil && b != nil && typ.Compare(a, typ.Canonical(b)) == 0
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 2, true)
		v := typ.Canonical(genValue(t, typ))
		text := string(typ.AppendText(nil, v))
		got, err := typ.ParseText(text)
		if err != nil || !sameValue(typ, got, v) {
			if (typ.Kind == Tuple || typ.Kind == UDT) && len(v) == 0 {
				return
			}
			t.Fatalf("%s: %x is %q and came back as %x: %v", typ, v, text, got, err)
		}
		if again := string(typ.AppendText(nil, got)); again != text {
			t.Fatalf("%s: %x is %q, read and written again it is %q", typ, v, text, again)
		}
	})
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 2, true)
		v := typ.Canonical(genValue(t, typ))
		if text := typ.AppendJSON(nil, v); !json.Valid(text) { // it loses NaN and infinities
			t.Fatalf("%s: %x gives %s, which is not JSON", typ, v, text)
		}
		text := typ.AppendClientJSON(nil, v)
		if !json.Valid(text) {
			t.Fatalf("%s: %x gives %s, which is not JSON", typ, v, text)
		}
		got, err := typ.FromJSON(text)
		if err != nil || !sameValue(typ, got, v) {
			t.Fatalf("%s: %x is %s and came back as %x: %v", typ, v, text, got, err)
		}
	})
}

func TestNameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := genType(t, 3, true)
		udts := map[string]*Type{}
		var collect func(*Type)
		collect = func(u *Type) {
			if u.Kind == UDT {
				u.Name = string(rune('a'+len(udts))) + "_t"
				udts[u.Name] = u
			}
			for _, e := range u.Elems {
				collect(e)
			}
		}
		collect(typ)
		got, err := Parse(typ.String(), func(_, name string) (*Type, error) { return udts[name], nil })
		if err != nil || !got.Equal(typ) {
			t.Fatalf("%s read as %v: %v", typ, got, err)
		}
		if got, err = ParseClass(typ.ClassName()); err != nil || !got.Equal(typ) {
			t.Fatalf("%s read as %v: %v", typ.ClassName(), got, err)
		}
		got, rest, err := DecodeWireType(append(typ.AppendWireType(nil), 9))
		if err != nil || !got.Freeze().Equal(typ) || len(rest) != 1 {
			t.Fatalf("%s read as %v from the wire: %v", typ, got, err)
		}
	})
}
