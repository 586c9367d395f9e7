package types

import (
	"bytes"
	"errors"
	"math/big"
	"strings"
	"testing"
)

// keysAscend holds that the keys of ascending values ascend, descend when inverted, and read back to values that compare equal and are valid.
func keysAscend(t *testing.T, typ *Type, values [][]byte) {
	t.Helper()
	var before, beforeDesc []byte
	for i, v := range values {
		key, err1 := typ.AppendKey(nil, v, false)
		desc, err2 := typ.AppendKey(nil, v, true)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if i > 0 && (bytes.Compare(before, key) >= 0 || bytes.Compare(beforeDesc, desc) <= 0) {
			t.Errorf("%s: value %d of %d bytes does not follow the one before it", typ, i, len(v))
		}
		back, rest, err := typ.DecodeKey(desc, true)
		if err != nil || len(rest) > 0 || typ.Compare(back, v) != 0 || typ.Validate(back) != nil {
			t.Errorf("%s: value %d of %d bytes came back as %d bytes: %v, %v", typ, i, len(v), len(back), err, typ.Validate(back))
		}
		before, beforeDesc = key, desc
	}
}

// Lengths around the one where a varint's length takes more than one byte.
func TestLongVarintKeys(t *testing.T) {
	var values [][]byte
	for n := 132; n > 120; n-- {
		v := new(big.Int).Lsh(big.NewInt(-1), uint(8*n))
		values = append(values, AppendVarint(nil, v), AppendVarint(nil, new(big.Int).Add(v, big.NewInt(1))))
	}
	for n := 120; n < 132; n++ {
		v := new(big.Int).Lsh(big.NewInt(1), uint(8*n))
		values = append(values, AppendVarint(nil, new(big.Int).Sub(v, big.NewInt(1))), AppendVarint(nil, v))
	}
	most := bytes.Repeat([]byte{0x7F}, MaxVarintBytes)
	keysAscend(t, VarintType, append(values, most))
}

// Scales at the limit, where zeros cannot be cut off or have to come back.
func TestDecimalKeyLimits(t *testing.T) {
	var values [][]byte
	for _, text := range []string{"-1e100000", "-1e-100000", "1e-100000", "1e-99999", "0.001", "1", "1e30", "1e31", "1e99999", "1e100000", "10e100000", "1" +
		strings.Repeat("0", 1000) + "e100000"} {
		v, err := DecimalType.ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	keysAscend(t, DecimalType, values)
}

// All NaNs are one.
func TestNaNKeys(t *testing.T) {
	for _, c := range []struct {
		typ  *Type
		nans []string
	}{
		{FloatType, []string{"7fc00000", "ffc00000", "7f800001", "ffffffff"}},
		{DoubleType, []string{"7ff8000000000000", "fff8000000000000", "7ff0000000000001", "ffffffffffffffff"}},
	} {
		infinity, _ := c.typ.ParseText("Infinity")
		for _, n := range c.nans {
			nan := unhex(t, n)
			keysAscend(t, c.typ, [][]byte{infinity, nan})
			if c.typ.Compare(nan, unhex(t, c.nans[0])) != 0 {
				t.Errorf("%s: %s is not equal to the other NaNs", c.typ, n)
			}
		}
	}
}

func TestDamagedKeys(t *testing.T) {
	for _, c := range []struct {
		typ *Type
		key string
	}{
		{IntType, ""}, {IntType, "08"}, {IntType, "20800000"}, {IntType, "99"}, {TinyintType, "10"},
		{BooleanType, "2002"}, {VarcharType, "2061"}, {VarcharType, "206100"}, {VarcharType, "20610002"}, {VarcharType, "200001"}, {VarcharType, "20ff0001"},
		{VarintType, "2080"}, {VarintType, "20820001"}, {VarintType, "2081ff"}, {VarintType, "20ff00000001 01"}, {VarintType, "20ff7fffffff 01"},
		{DecimalType, "2011"}, {DecimalType, "20c08000000100"}, {DecimalType, "20c080000001ff00"}, {DecimalType, "20c07000000102 00"},
		{UUIDType, "2001" + strings.Repeat("40", 16)}, {NewList(IntType, true), "20 2080000001"}, {NewTuple(IntType), "20 08 08 01"},
		{NewMap(IntType, IntType, true), "20 2080000001 01"}, {NewVector(IntType, 1), "20 10"}, {InetType, "2001020001"},
	} {
		if v, _, err := c.typ.DecodeKey(unhex(t, c.key), false); !errors.Is(err, ErrValue) {
			t.Errorf("%s: the damaged key %s gave %x, %v", c.typ, c.key, v, err)
		}
	}
}

// Types nested beyond the limit are refused from the wire and as classes, and do not exhaust the stack.
func TestDepth(t *testing.T) {
	wire := append(bytes.Repeat([]byte{0, 0x20}, 10_000), 0, 9)
	if _, _, err := DecodeWireType(wire); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), "deeper than the limit") {
		t.Errorf("from the wire: %v", err)
	}
	class := strings.Repeat("ListType(", 5000) + "Int32Type" + strings.Repeat(")", 5000)
	if _, err := ParseClass(class); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), "deeper than the limit") {
		t.Errorf("as a class: %v", err)
	}
	for _, b := range [][]byte{{}, {0}, {0, 0x30}, {0, 0x31, 0xFF, 0xFF}, {0, 0x0A}, {0, 0, 0, 9}} {
		if typ, _, err := DecodeWireType(b); !errors.Is(err, ErrType) {
			t.Errorf("%x from the wire gave %v, %v", b, typ, err)
		}
	}
}
