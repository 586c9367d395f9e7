package types

import (
	"bytes"
	"math"
	"math/big"

	"pgregory.net/rapid"
)

// keyKinds are the scalars that may be part of a key (durations have no order).
var keyKinds = []*Type{AsciiType, BigintType, BlobType, BooleanType, DecimalType, DoubleType, FloatType, IntType, TimestampType,
	UUIDType, VarcharType, VarintType, TimeuuidType, InetType, DateType, TimeType, SmallintType, TinyintType}

// genType draws a type with up to depth levels of nesting.
func genType(t *rapid.T, depth int, durations bool) *Type {
	kinds := 1
	if depth > 0 {
		kinds = 7
	}
	sub := func() *Type { return genType(t, depth-1, durations).Freeze() }
	key := func() *Type { return genType(t, depth-1, false).Freeze() }
	switch rapid.IntRange(0, kinds-1).Draw(t, "nesting") {
	case 1:
		return NewList(sub(), true)
	case 2:
		return NewSet(key(), true)
	case 3:
		return NewMap(key(), sub(), true)
	case 4:
		n := rapid.IntRange(1, 3).Draw(t, "fields")
		tuple := NewTuple()
		for range n {
			tuple.Elems = append(tuple.Elems, sub())
		}
		return tuple
	case 5:
		n := rapid.IntRange(1, 3).Draw(t, "fields")
		u := &Type{Kind: UDT, Keyspace: "ks", Name: "udt", Frozen: true}
		for i := range n {
			u.Elems = append(u.Elems, sub())
			u.Fields = append(u.Fields, []string{"a", "B b", "c_1"}[i])
		}
		return u
	case 6:
		return NewVector(sub(), rapid.IntRange(1, 3).Draw(t, "dim"))
	}
	if durations && rapid.IntRange(0, 15).Draw(t, "duration?") == 0 {
		return DurationType
	}
	return rapid.SampledFrom(keyKinds).Draw(t, "scalar")
}

// genValue draws a value that is valid and not null.
func genValue(t *rapid.T, typ *Type) []byte {
	if s := typ.Kind.scalar(); s != nil {
		if s.empty && rapid.IntRange(0, 11).Draw(t, "empty?") == 0 {
			return []byte{}
		}
		return genScalar(t, typ)
	}
	n := len(typ.Elems)
	switch typ.Kind {
	case Vector:
		n = typ.Dim
	case List, Set:
		n = rapid.IntRange(0, 3).Draw(t, "length")
	case Map:
		n = 2 * rapid.IntRange(0, 3).Draw(t, "length")
	default:
		n = rapid.IntRange(1, n).Draw(t, "length")
	}
	var values [][]byte
	for i := range n {
		e := typ.Elems[0]
		switch typ.Kind {
		case Map:
			e = typ.Elems[i&1]
		case Tuple, UDT:
			e = typ.Elems[i]
			if rapid.IntRange(0, 4).Draw(t, "null?") == 0 {
				values = append(values, nil)
				continue
			}
		}
		v := genValue(t, e)
		if w := e.fixedLength(); typ.Kind == Vector && w > 0 && len(v) == 0 {
			v = genScalarFull(t, e)
		}
		values = append(values, v)
	}
	if (typ.Kind == Tuple || typ.Kind == UDT) && rapid.Bool().Draw(t, "short") {
		dst := []byte{}
		for _, v := range values {
			dst = AppendElement(dst, v)
		}
		return dst
	}
	return typ.build(values)
}

// genNear draws a value, half of the time one that differs from a in one byte or in length, where that is valid.
func genNear(t *rapid.T, typ *Type, a []byte) []byte {
	near := bytes.Clone(a)
	switch i := rapid.IntRange(0, max(0, len(a)-1)).Draw(t, "at"); rapid.IntRange(0, 5).Draw(t, "near?") {
	case 0, 1:
		if len(near) > 0 {
			near[i] = rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 0x7F, 0x80, 0xFE, 0xFF}), rapid.Byte()).Draw(t, "byte")
		}
	case 2:
		near = append(near, rapid.SampledFrom([]byte{0, 1, 0xFF}).Draw(t, "byte"))
	case 3:
		near = near[:i]
	default:
		return genValue(t, typ)
	}
	if typ.Validate(near) != nil {
		return genValue(t, typ)
	}
	return near
}

func genScalarFull(t *rapid.T, typ *Type) []byte {
	if typ.Kind == Vector {
		return genValue(t, typ)
	}
	return genScalar(t, typ)
}

// genBytes draws bytes that like the edges of the key encoding.
func genBytes(t *rapid.T, most int) []byte {
	return rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 2, 0x10, 0x7F, 0x80, 0xFE, 0xFF}), rapid.Byte()), 0, most).Draw(t, "bytes")
}

func genScalar(t *rapid.T, typ *Type) []byte {
	switch typ.Kind {
	case Blob:
		return genBytes(t, 6)
	case Varchar:
		return []byte(rapid.StringOfN(rapid.OneOf(rapid.SampledFrom([]rune("\x00\x01a'\"\\,:]}) 𝄞￿")), rapid.Rune()), 0, 6, -1).Draw(t, "text"))
	case Ascii:
		return rapid.SliceOfN(rapid.ByteRange(0, 0x7F), 0, 5).Draw(t, "ascii")
	case Float:
		return AppendFloat(nil, rapid.OneOf(rapid.SampledFrom([]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0,
			float32(math.Copysign(0, -1)), math.MaxFloat32, math.SmallestNonzeroFloat32}), rapid.Float32()).Draw(t, "float"))
	case Double:
		return AppendDouble(nil, rapid.OneOf(rapid.SampledFrom([]float64{math.NaN(), -math.NaN(), math.Inf(1), math.Inf(-1), 0,
			math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64}), rapid.Float64()).Draw(t, "double"))
	case Time:
		return AppendInt64(nil, rapid.Int64Range(0, dayNanos-1).Draw(t, "time"))
	case Varint:
		return genVarint(t)
	case Decimal:
		scale := rapid.OneOf(rapid.Int32Range(-3, 3), rapid.Int32Range(-MaxDecimalScale, MaxDecimalScale)).Draw(t, "scale")
		return append(AppendInt32(nil, scale), genVarint(t)...)
	case Inet:
		n := rapid.SampledFrom([]int{4, 16}).Draw(t, "length")
		return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "inet")
	case UUID, Timeuuid:
		u := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")
		u[6] = u[6]&0xF | rapid.SampledFrom([]byte{0x10, 0x40, 0x70}).Draw(t, "version")
		if typ.Kind == Timeuuid {
			u[6] = u[6]&0xF | 0x10
		}
		return u
	case Duration:
		sign := rapid.SampledFrom([]int64{1, -1}).Draw(t, "sign")
		return AppendDuration(nil, DurationValue{int32(sign * int64(rapid.Int32Min(0).Draw(t, "months"))),
			int32(sign * int64(rapid.Int32Min(0).Draw(t, "days"))), sign * rapid.Int64Min(0).Draw(t, "nanos")})
	}
	w := typ.Kind.scalar().width
	edge := make([]byte, w)
	edge[0] = rapid.SampledFrom([]byte{0, 0x7F, 0x80, 0xFF}).Draw(t, "edge")
	return rapid.OneOf(rapid.Just(edge), rapid.SliceOfN(rapid.Byte(), w, w)).Draw(t, "fixed")
}

// genVarint draws integers, now and then not in their minimal form, and around the length where the key encoding changes.
func genVarint(t *rapid.T) []byte {
	switch rapid.IntRange(0, 5).Draw(t, "varint form") {
	case 0:
		n := rapid.IntRange(1, 140).Draw(t, "length")
		return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "varint")
	case 1:
		v := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(rapid.IntRange(0, 40).Draw(t, "power"))), nil)
		if rapid.Bool().Draw(t, "negative") {
			v.Neg(v)
		}
		return AppendVarint(nil, v)
	case 2:
		return append([]byte{0}, AppendVarint(nil, big.NewInt(int64(rapid.Int32Min(0).Draw(t, "padded"))))...)
	}
	return AppendVarint(nil, big.NewInt(rapid.Int64().Draw(t, "varint")))
}
