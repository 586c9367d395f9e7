package types

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
)

// The order-preserving encoding of a clustering component, version 1 of the key format (the version is storage's: it is in the comparer's
// name, since a key has no room for a byte that repeats in every one). Ascending:
//
//	null      | 08 |                                                     inside tuples and user types only
//	empty     | 10 |                                                     of every type, text and blob included
//	value     | 20 | body |
//
//	body of
//	  boolean                      | 00 or 01 |
//	  tinyint … bigint, timestamp  | big-endian, sign bit inverted |
//	  date, time                   | big-endian |
//	  float, double                | IEEE bits; negative: all inverted, else: the sign bit; one NaN, the largest |
//	  timeuuid                     | version and time, high part first (8) | other eight bytes, each sign inverted |
//	  uuid, version 1              | 01 | version and time, high part first (8) | other eight bytes |
//	  uuid, other                  | version | the 16 bytes |
//	  text, blob, inet, duration   | bytes, with 00 written 00 FF | 00 01 |
//	  varint                       | length, see below | two's complement, minimal |
//	  decimal                      | 80 | for zero;  | C0 | exponent (4, sign bit inverted) | digits | 00 |;
//	                               negative: C0 and all that follows inverted. Value = 0.digits × 10^exponent, digits in pairs,
//	                               each pair + 1, without trailing zeros
//	  list, set, map               | elements (key, value …) | 01 |
//	  tuple, UDT                   | fields without trailing nulls | 01 |
//	  vector                       | elements |
//
// The length of a varint is 80 + n for non-negative ones of n bytes, FF and n (4 bytes) where n is over 7D; negative: inverted.
// Descending: all bits inverted. No encoding is a prefix of another, which is what makes inverting reverse the order.
const (
	keyNull  = 0x08
	keyEmpty = 0x10
	keyValue = 0x20

	keyEnd         = 0x01 // of elements; under every marker
	keyEscape      = 0x00 // begins both of the following in bytes
	keyEscapedZero = 0xFF
	keyBytesEnd    = 0x01

	keyZero     = 0x80 // decimal
	keyPositive = 0xC0
	keyNegative = 0x3F // keyPositive inverted

	keyShortVarint = 0x7D // bytes of the longest varint whose length takes one byte
)

// AppendKey appends the order-preserving encoding of one clustering component: comparing encodings as bytes orders as Compare does, encodings are
// self-delimiting, and no encoding starts with 0x00 or 0xFF (so that [p, p+0xFF) is everything with prefix p). desc inverts the order.
// Null is an error; the empty value is allowed.
func (t *Type) AppendKey(dst, value []byte, desc bool) ([]byte, error) {
	if value == nil {
		return dst, t.valueError("null cannot be part of a key")
	}
	at := len(dst)
	dst, err := t.appendKey(dst, value)
	if err != nil {
		return dst[:at], err
	}
	if desc {
		invert(dst[at:])
	}
	return dst, nil
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

func (t *Type) appendKey(dst, b []byte) ([]byte, error) {
	switch {
	case b == nil:
		return append(dst, keyNull), nil
	case len(b) == 0:
		return append(dst, keyEmpty), nil
	}
	if s := t.Kind.scalar(); s != nil && s.width > 0 && len(b) != s.width || t.Kind == Decimal && len(b) < 5 {
		return dst, t.valueError("%d bytes are no value of it", len(b))
	}
	dst = append(dst, keyValue)
	switch t.Kind {
	case Boolean:
		return append(dst, boolByte(b)), nil
	case Int, Bigint, Counter, Timestamp, Smallint, Tinyint:
		dst = append(dst, b...)
		dst[len(dst)-len(b)] ^= 0x80
		return dst, nil
	case Date, Time:
		return append(dst, b...), nil
	case Float:
		return appendFloatKey(dst, Uint32(b)), nil
	case Double:
		return binary.BigEndian.AppendUint64(dst, floatOrder(Float64(b))), nil
	case Timeuuid:
		dst = binary.BigEndian.AppendUint64(dst, timeuuidOrder(b))
		return binary.BigEndian.AppendUint64(dst, uint64(Int64(b[8:]))^signFlip), nil
	case UUID:
		return appendUUIDKey(dst, b), nil
	case Varint:
		return appendVarintKey(dst, trimVarint(b)), nil
	case Decimal:
		return appendDecimalKey(dst, b), nil
	case List, Set, Map, Tuple, UDT, Vector:
		return t.appendNestedKey(dst, b)
	}
	return appendBytesKey(dst, b), nil
}

func appendFloatKey(dst []byte, bits uint32) []byte {
	const exponent = 0x7F800000
	if bits&exponent == exponent && bits&^(1<<31|exponent) != 0 {
		bits = 0x7FC00000 // the one NaN
	}
	if bits>>31 != 0 {
		return binary.BigEndian.AppendUint32(dst, ^bits)
	}
	return binary.BigEndian.AppendUint32(dst, bits|1<<31)
}

func appendUUIDKey(dst, b []byte) []byte {
	version := b[6] >> 4
	dst = append(dst, version)
	if version != 1 {
		return append(dst, b...)
	}
	dst = binary.BigEndian.AppendUint64(dst, timeuuidOrder(b))
	return append(dst, b[8:16]...)
}

func appendBytesKey(dst, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, keyEscape)
		if i < 0 {
			break
		}
		dst = append(append(dst, b[:i]...), keyEscape, keyEscapedZero)
		b = b[i+1:]
	}
	return append(append(dst, b...), keyEscape, keyBytesEnd)
}

// appendVarintKey wants the minimal form.
func appendVarintKey(dst, b []byte) []byte {
	at := len(dst)
	if len(b) <= keyShortVarint {
		dst = append(dst, byte(0x80+len(b)))
	} else {
		dst = binary.BigEndian.AppendUint32(append(dst, 0xFF), uint32(len(b)))
	}
	if b[0]&0x80 != 0 {
		invert(dst[at:])
	}
	return append(dst, b...)
}

func appendDecimalKey(dst, b []byte) []byte {
	sign, digits, exponent := decimalDigits(b)
	if sign == 0 {
		return append(dst, keyZero)
	}
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(append(dst, keyPositive), uint32(int32(exponent))^1<<31)
	for i := 0; i < len(digits); i += 2 {
		pair := 10 * (digits[i] - '0')
		if i+1 < len(digits) {
			pair += digits[i+1] - '0'
		}
		dst = append(dst, pair+1)
	}
	dst = append(dst, 0)
	if sign < 0 {
		invert(dst[at:])
	}
	return dst
}

func (t *Type) appendNestedKey(dst, b []byte) ([]byte, error) {
	it := t.Elements(b)
	end := len(dst) // after the last field that is not null
	for it.Next() {
		if it.Value() == nil && t.Kind != Tuple && t.Kind != UDT {
			return dst, t.valueError("element %d is null, which only tuples and user types may contain", it.Index())
		}
		var err error
		if dst, err = it.Type().appendKey(dst, it.Value()); err != nil {
			return dst, err
		}
		if it.Value() != nil {
			end = len(dst)
		}
	}
	if err := it.Err(); err != nil {
		return dst, err
	}
	if t.Kind == Vector {
		return dst, nil
	}
	return append(dst[:end], keyEnd), nil
}

// DecodeKey reads one component back and gives what follows it. The value may alias key. Types whose values compare equal in several forms
// give one of them: decimals without trailing zeros, booleans 0 and 1, one NaN, minimal varints, tuples with all fields.
func (t *Type) DecodeKey(key []byte, desc bool) (value, rest []byte, err error) {
	value, _, rest, err = t.DecodeKeyInto(nil, key, desc)
	return value, rest, err
}

// DecodeKeyInto is DecodeKey without an allocation a value: what cannot alias key is appended to arena, which is given back, grown.
func (t *Type) DecodeKeyInto(arena, key []byte, desc bool) (value, grown, rest []byte, err error) {
	if t.Kind == Varchar || t.Kind == Ascii || t.Kind == Blob || t.Kind == Inet {
		if value, rest, ok := aliasKey(key, desc); ok {
			return value, arena, rest, t.Validate(value)
		}
	}
	r := keyReader{t: t, rest: key}
	if desc {
		r.mask = 0xFF
	}
	at := len(arena)
	if len(key) > 0 && key[0]^r.mask == keyNull {
		return nil, arena, key, r.damaged("null cannot be part of a key")
	}
	grown, err = r.value(arena, t)
	if err != nil {
		return nil, arena, key, err
	}
	if grown == nil {
		grown = []byte{}
	}
	return grown[at:len(grown):len(grown)], grown, r.rest, nil
}

// aliasKey finds an ascending byte string without escapes in place.
func aliasKey(key []byte, desc bool) (value, rest []byte, ok bool) {
	if desc || len(key) < 4 || key[0] != keyValue {
		return nil, nil, false
	}
	i := bytes.IndexByte(key, keyEscape)
	if i < 0 || i+1 == len(key) || key[i+1] != keyBytesEnd {
		return nil, nil, false
	}
	return key[1:i:i], key[i+2:], true
}

// keyReader decodes a component; every byte is read through mask, which inverts what descending order and negative numbers inverted.
type keyReader struct {
	t    *Type
	rest []byte
	mask byte
}

func (r *keyReader) damaged(what string) error {
	return fmt.Errorf("%w: the key of a %s is damaged: %s", ErrValue, r.t, what)
}

// take appends the next n bytes to dst.
func (r *keyReader) take(dst []byte, n int) ([]byte, error) {
	if n > len(r.rest) {
		return dst, r.damaged("it ends early")
	}
	at := len(dst)
	dst = append(dst, r.rest[:n]...)
	if r.mask != 0 {
		invert(dst[at:])
	}
	r.rest = r.rest[n:]
	return dst, nil
}

func (r *keyReader) byte() (byte, error) {
	if len(r.rest) == 0 {
		return 0, r.damaged("it ends early")
	}
	b := r.rest[0] ^ r.mask
	r.rest = r.rest[1:]
	return b, nil
}

// value appends the bytes of the value that comes next, which is not null. The empty value appends nothing.
func (r *keyReader) value(dst []byte, t *Type) ([]byte, error) {
	marker, err := r.byte()
	switch {
	case err != nil:
		return dst, err
	case marker == keyEmpty && t.AllowsEmpty():
		return dst, nil
	case marker != keyValue:
		return dst, r.damaged(fmt.Sprintf("%#02x is no marker", marker))
	}
	at := len(dst)
	switch t.Kind {
	case Int, Bigint, Counter, Timestamp, Smallint, Tinyint:
		if dst, err = r.take(dst, t.Kind.scalar().width); err == nil {
			dst[at] ^= 0x80
		}
		return dst, err
	case Boolean, Date, Time, Float, Double, UUID, Timeuuid:
		return r.fixed(dst, t)
	case Varint:
		return r.varint(dst)
	case Decimal:
		return r.decimal(dst)
	case List, Set, Map:
		return r.collection(dst, t)
	case Tuple, UDT:
		return r.tuple(dst, t)
	case Vector:
		return r.vector(dst, t)
	}
	if dst, err = r.bytes(dst); err != nil {
		return dst, err
	}
	if len(dst) == at {
		return dst, r.damaged("the empty value has a marker of its own")
	}
	return dst, t.Validate(dst[at:])
}

func (r *keyReader) fixed(dst []byte, t *Type) ([]byte, error) {
	at := len(dst)
	if t.Kind == UUID {
		return r.uuid(dst)
	}
	dst, err := r.take(dst, t.Kind.scalar().width)
	if err != nil {
		return dst, err
	}
	b := dst[at:]
	switch t.Kind {
	case Boolean:
		if b[0] > 1 {
			return dst, r.damaged("a boolean is 0 or 1")
		}
	case Float, Double:
		// An inverted sign bit: not negative. Else all bits were inverted.
		if b[0]&0x80 != 0 {
			b[0] ^= 0x80
		} else {
			invert(b)
		}
	case Timeuuid:
		putTimeuuidOrder(b, uint64(Int64(b)))
		binary.BigEndian.PutUint64(b[8:], uint64(Int64(b[8:]))^signFlip)
	}
	return dst, t.Validate(b)
}

func (r *keyReader) uuid(dst []byte) ([]byte, error) {
	at := len(dst)
	version, err := r.byte()
	if err != nil {
		return dst, err
	}
	if dst, err = r.take(dst, 16); err != nil {
		return dst, err
	}
	if version == 1 {
		putTimeuuidOrder(dst[at:], uint64(Int64(dst[at:])))
	}
	if dst[at+6]>>4 != version {
		return dst, r.damaged("the version before a UUID is not its own")
	}
	return dst, nil
}

func (r *keyReader) bytes(dst []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(r.rest, keyEscape^r.mask)
		if i < 0 {
			return dst, r.damaged("its end is missing")
		}
		dst, _ = r.take(dst, i)
		r.rest = r.rest[1:]
		switch c, err := r.byte(); {
		case err != nil:
			return dst, err
		case c == keyBytesEnd:
			return dst, nil
		case c == keyEscapedZero:
			dst = append(dst, 0)
		default:
			return dst, r.damaged(fmt.Sprintf("%#02x is no escape", c))
		}
	}
}

func (r *keyReader) varint(dst []byte) ([]byte, error) {
	head, err := r.byte()
	if err != nil {
		return dst, err
	}
	negative := head < 0x80
	if negative {
		head = ^head
	}
	n := int(head) - 0x80
	if head == 0xFF {
		var b [4]byte
		if _, err := r.take(b[:0], 4); err != nil {
			return dst, err
		}
		if negative {
			invert(b[:])
		}
		n = int(binary.BigEndian.Uint32(b[:]))
		if n <= keyShortVarint {
			return dst, r.damaged("a short varint has a long length")
		}
	}
	if n == 0 || n > MaxVarintBytes || head != 0xFF && n > keyShortVarint {
		return dst, r.damaged("a varint has no such length")
	}
	at := len(dst)
	if dst, err = r.take(dst, n); err != nil {
		return dst, err
	}
	if len(trimVarint(dst[at:])) != n || negative != (dst[at]&0x80 != 0) {
		return dst, r.damaged("a varint is not in its minimal form")
	}
	return dst, nil
}

func (r *keyReader) decimal(dst []byte) ([]byte, error) {
	head, err := r.byte()
	if err != nil {
		return dst, err
	}
	switch head {
	case keyZero:
		return AppendDecimal(dst, DecimalValue{Unscaled: new(big.Int)}), nil
	case keyPositive:
		return r.digits(dst, false)
	case keyNegative:
		r.mask ^= 0xFF
		dst, err = r.digits(dst, true)
		r.mask ^= 0xFF
		return dst, err
	}
	return dst, r.damaged(fmt.Sprintf("%#02x is no sign", head))
}

// digits reads exponent and digits of a decimal that is not zero.
func (r *keyReader) digits(dst []byte, negative bool) ([]byte, error) {
	var b [4]byte
	if _, err := r.take(b[:0], 4); err != nil {
		return dst, err
	}
	exponent := int(int32(binary.BigEndian.Uint32(b[:]) ^ 1<<31))
	text := make([]byte, 1, 24)
	text[0] = '-'
	for {
		c, err := r.byte()
		if err != nil {
			return dst, err
		}
		if c == 0 {
			break
		}
		if c > 100 {
			return dst, r.damaged("a pair of digits is over 99")
		}
		text = append(text, '0'+(c-1)/10, '0'+(c-1)%10)
	}
	if text = bytes.TrimRight(text, "0"); len(text) < 2 {
		return dst, r.damaged("it has no digits")
	}
	return r.scaled(dst, text, len(text)-1-exponent, negative)
}

// plainZeros is how many trailing zeros a decoded decimal gets rather than a negative scale, so that 100 stays 100 and not 1E+2.
const plainZeros = 30

// scaled appends the decimal of a text, "-" and digits, and a scale.
func (r *keyReader) scaled(dst, text []byte, scale int, negative bool) ([]byte, error) {
	zeros := 0
	switch {
	case scale < 0 && scale >= -plainZeros:
		zeros = -scale
	case scale < -MaxDecimalScale:
		zeros = -MaxDecimalScale - scale
	}
	if scale > MaxDecimalScale || zeros > 3*MaxVarintBytes {
		return dst, r.damaged(fmt.Sprintf("its scale is %d", scale))
	}
	text = append(text, bytes.Repeat([]byte("0"), zeros)...)
	if !negative {
		text = text[1:]
	}
	v, err := ParseVarint(string(text))
	if err != nil {
		return dst, err
	}
	return AppendDecimal(dst, DecimalValue{v, int32(scale + zeros)}), nil
}

// more says whether another element comes before the end of a collection or tuple.
func (r *keyReader) more() (bool, error) {
	if len(r.rest) == 0 {
		return false, r.damaged("it ends early")
	}
	if r.rest[0]^r.mask == keyEnd {
		r.rest = r.rest[1:]
		return false, nil
	}
	return true, nil
}

func (r *keyReader) collection(dst []byte, t *Type) ([]byte, error) {
	dst, count := BeginElement(dst)
	for n := 0; ; n++ {
		more, err := r.more()
		if err != nil {
			return dst, err
		}
		if !more {
			if t.Kind == Map {
				if n&1 != 0 {
					return dst, r.damaged("a key has no value")
				}
				n /= 2
			}
			binary.BigEndian.PutUint32(dst[count:], uint32(n))
			return dst, nil
		}
		if dst, err = r.element(dst, t.elem(n)); err != nil {
			return dst, err
		}
	}
}

func (r *keyReader) element(dst []byte, t *Type) ([]byte, error) {
	dst, mark := BeginElement(dst)
	dst, err := r.value(dst, t)
	if err == nil {
		EndElement(dst, mark)
	}
	return dst, err
}

func (r *keyReader) tuple(dst []byte, t *Type) ([]byte, error) {
	more := true
	for _, e := range t.Elems {
		var err error
		if more {
			if more, err = r.more(); err != nil {
				return dst, err
			}
		}
		switch {
		case !more:
			dst = AppendElement(dst, nil)
		case r.rest[0]^r.mask == keyNull:
			r.rest = r.rest[1:]
			dst = AppendElement(dst, nil)
		default:
			if dst, err = r.element(dst, e); err != nil {
				return dst, err
			}
		}
	}
	if !more {
		return dst, nil
	}
	if more, err := r.more(); err != nil || more {
		return dst, r.damaged("it has more fields than the type")
	}
	return dst, nil
}

func (r *keyReader) vector(dst []byte, t *Type) ([]byte, error) {
	fixed := t.Elems[0].fixedLength()
	for range t.Dim {
		if fixed > 0 {
			at := len(dst)
			var err error
			if dst, err = r.value(dst, t.Elems[0]); err != nil {
				return dst, err
			}
			if len(dst)-at != fixed {
				return dst, r.damaged("a vector's element is empty")
			}
			continue
		}
		// The length comes first and has no fixed size, so the element is decoded aside.
		element, err := r.value(nil, t.Elems[0])
		if err != nil {
			return dst, err
		}
		dst = append(AppendUvint(dst, uint64(len(element))), element...)
	}
	return dst, nil
}
