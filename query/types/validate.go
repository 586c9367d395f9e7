package types

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// Validate checks that b is a value of the type, exactly. Nil is valid (null).
func (t *Type) Validate(b []byte) error {
	if b == nil {
		return nil
	}
	s := t.Kind.scalar()
	switch {
	case s == nil:
		return t.validateNested(b)
	case len(b) == 0 && s.empty:
		return nil
	case s.width > 0 && len(b) != s.width:
		return t.valueError("it has %d bytes and not %d", s.width, len(b))
	}
	return t.validateScalar(b)
}

// validateScalar checks a scalar that is not empty and has its fixed width, if it has one.
func (t *Type) validateScalar(b []byte) error {
	switch t.Kind {
	case Varchar:
		if !utf8.Valid(b) {
			return t.valueError("these bytes are not UTF-8")
		}
	case Ascii:
		for i, c := range b {
			if c >= 0x80 {
				return t.valueError("byte %d is %#x, over 0x7f", i, c)
			}
		}
	case Timeuuid:
		if b[6]>>4 != 1 {
			return t.valueError("it is a UUID of version 1, this one has version %d", b[6]>>4)
		}
	case Inet:
		if len(b) != 4 && len(b) != 16 {
			return t.valueError("an address has 4 or 16 bytes and not %d", len(b))
		}
	case Time:
		if n := Int64(b); n < 0 || n >= dayNanos {
			return t.valueError("%d ns is no time of day: it has 0 to %d", n, int64(dayNanos-1))
		}
	case Varint:
		if len(b) > MaxVarintBytes {
			return t.valueError("%d bytes are over the limit of %d", len(b), MaxVarintBytes)
		}
	case Decimal:
		if len(b) < 5 || len(b) > 4+MaxVarintBytes {
			return t.valueError("a scale of 4 bytes and an unscaled value of 1 to %d bytes expected, this has %d bytes", MaxVarintBytes, len(b))
		}
		if scale := Int32(b); scale < -MaxDecimalScale || scale > MaxDecimalScale {
			return t.valueError("its scale is %d, the limit is %d", scale, MaxDecimalScale)
		}
	case Duration:
		_, err := DecodeDuration(b)
		return err
	}
	return nil
}

func (t *Type) validateNested(b []byte) error {
	switch {
	case t.Kind == Custom:
		return nil
	case len(t.Elems) == 0 && t.Kind != Tuple && t.Kind != UDT:
		return t.valueError("the type has no element types")
	}
	nulls := t.Kind == Tuple || t.Kind == UDT
	it := t.Elements(b)
	for it.Next() {
		v := it.Value()
		if v == nil && !nulls {
			return t.valueError("element %d is null, which only tuples and user types may contain", it.Index())
		}
		if err := it.Type().Validate(v); err != nil {
			return err
		}
	}
	return it.Err()
}

// Compare orders two values as Cassandra orders them. Null and empty sort first. Values are valid.
func (t *Type) Compare(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return compareEmpty(a, b)
	}
	switch t.Kind {
	case Ascii, Varchar, Blob, Inet, Date, Time, Duration, Custom:
		return bytes.Compare(a, b)
	case Int, Bigint, Counter, Timestamp, Smallint, Tinyint:
		return compareSigned(a, b)
	case Boolean:
		return compareOrdered(boolByte(a), boolByte(b))
	case Float:
		return compareOrdered(floatOrder(float64(Float32(a))), floatOrder(float64(Float32(b))))
	case Double:
		return compareOrdered(floatOrder(Float64(a)), floatOrder(Float64(b)))
	case Varint:
		return compareVarint(a, b)
	case Decimal:
		return compareDecimal(a, b)
	case UUID, Timeuuid:
		if len(a) < 16 || len(b) < 16 {
			return bytes.Compare(a, b)
		}
		if t.Kind == UUID {
			return compareUUID(a, b)
		}
		return compareTimeuuid(a, b)
	}
	return t.compareNested(a, b)
}

// compareEmpty orders values of which one at least is null or empty.
func compareEmpty(a, b []byte) int {
	rank := func(v []byte) int {
		switch {
		case v == nil:
			return 0
		case len(v) == 0:
			return 1
		}
		return 2
	}
	return rank(a) - rank(b)
}

func compareOrdered[T ~uint8 | ~uint64 | ~int64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareSigned orders two's complement integers of one width: the sign bit inverted, their bytes order as unsigned.
func compareSigned(a, b []byte) int {
	if c := compareOrdered(a[0]^0x80, b[0]^0x80); c != 0 {
		return c
	}
	return bytes.Compare(a, b)
}

func boolByte(b []byte) byte {
	if b[0] != 0 {
		return 1
	}
	return 0
}

// floatOrder maps floating-point numbers to integers of the same order: -Infinity, …, -0, 0, …, Infinity, NaN (all NaNs are one).
func floatOrder(f float64) uint64 {
	if f != f {
		f = math.NaN()
	}
	b := math.Float64bits(f)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// signFlip inverts the sign of each of eight bytes.
const signFlip = 0x8080808080808080

// compareTimeuuid orders by time, then by the other eight bytes, each signed, which is Cassandra's heritage.
func compareTimeuuid(a, b []byte) int {
	if c := compareOrdered(timeuuidOrder(a), timeuuidOrder(b)); c != 0 {
		return c
	}
	return compareOrdered(uint64(Int64(a[8:]))^signFlip, uint64(Int64(b[8:]))^signFlip)
}

// compareUUID orders by version, then version 1 by time and others by bytes, then by the other eight bytes, unsigned.
func compareUUID(a, b []byte) int {
	version := a[6] >> 4
	if c := compareOrdered(version, b[6]>>4); c != 0 {
		return c
	}
	if version == 1 {
		if c := compareOrdered(timeuuidOrder(a), timeuuidOrder(b)); c != 0 {
			return c
		}
		return bytes.Compare(a[8:], b[8:])
	}
	return bytes.Compare(a, b)
}

// compareNested orders element by element, then the shorter first. Missing fields of tuples and user types count as null.
func (t *Type) compareNested(a, b []byte) int {
	x, y := t.Elements(a), t.Elements(b)
	for {
		moreX, moreY := x.Next(), y.Next()
		switch {
		case moreX && moreY:
			if c := x.Type().Compare(x.Value(), y.Value()); c != 0 {
				return c
			}
		case moreX:
			return t.compareRest(&x)
		case moreY:
			return -t.compareRest(&y)
		default:
			return 0
		}
	}
}

// compareRest orders what one value has beyond the other's end, from the current element: 1, or 0 for trailing nulls of a tuple.
func (t *Type) compareRest(it *Elements) int {
	if t.Kind != Tuple && t.Kind != UDT {
		return 1
	}
	for {
		if it.Value() != nil {
			return 1
		}
		if !it.Next() {
			return 0
		}
	}
}
