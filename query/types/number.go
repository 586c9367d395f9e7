package types

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// AppendVarint appends a varint: big-endian two's complement in as few bytes as hold it.
func AppendVarint(dst []byte, v *big.Int) []byte {
	if v.IsInt64() {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(v.Int64()))
		return append(dst, trimVarint(b[:])...)
	}
	if v.Sign() > 0 {
		n := v.BitLen()/8 + 1
		at := len(dst)
		dst = append(dst, make([]byte, n)...)
		v.FillBytes(dst[at:])
		return dst
	}
	// -v is the complement of v-1.
	m := new(big.Int).Not(v)
	n := m.BitLen()/8 + 1
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	m.FillBytes(dst[at:])
	for i := at; i < len(dst); i++ {
		dst[i] = ^dst[i]
	}
	return dst
}

// DecodeVarint reads a varint's bytes; the empty value is zero.
func DecodeVarint(b []byte) *big.Int {
	if len(b) <= 8 {
		return big.NewInt(smallVarint(b))
	}
	v := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return v
}

// smallVarint reads a varint of at most 8 bytes.
func smallVarint(b []byte) int64 {
	var v uint64
	if len(b) > 0 && b[0]&0x80 != 0 {
		v = math.MaxUint64
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return int64(v)
}

// trimVarint drops leading bytes that only repeat the sign.
func trimVarint(b []byte) []byte {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xFF && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

// compareVarint orders two varints by value.
func compareVarint(a, b []byte) int {
	a, b = trimVarint(a), trimVarint(b)
	negative := a[0]&0x80 != 0
	switch {
	case negative != (b[0]&0x80 != 0):
		if negative {
			return -1
		}
		return 1
	case len(a) == len(b):
		return bytes.Compare(a, b)
	case (len(a) < len(b)) != negative:
		return -1
	}
	return 1
}

// DecimalValue is Unscaled × 10^-Scale.
type DecimalValue struct {
	Unscaled *big.Int
	Scale    int32
}

// AppendDecimal appends a decimal: the scale (4 bytes) and the unscaled value as a varint.
func AppendDecimal(dst []byte, d DecimalValue) []byte {
	return AppendVarint(AppendInt32(dst, d.Scale), d.Unscaled)
}

// DecodeDecimal reads a decimal's bytes; the empty value is zero.
func DecodeDecimal(b []byte) DecimalValue {
	if len(b) < 5 {
		return DecimalValue{Unscaled: new(big.Int)}
	}
	return DecimalValue{DecodeVarint(b[4:]), Int32(b)}
}

// decimalDigits gives sign, digits without leading and trailing zeros, and the exponent: the value is sign × 0.digits × 10^exponent.
// Zero has the sign 0 and no digits.
func decimalDigits(b []byte) (sign int, digits []byte, exponent int) {
	unscaled := b[4:]
	if len(unscaled) <= 8 {
		v := smallVarint(unscaled)
		digits = strconv.AppendUint(make([]byte, 0, 20), magnitude(v), 10)
		sign = 1 - 2*int(uint64(v)>>63)
	} else {
		v := DecodeVarint(unscaled)
		sign = v.Sign()
		digits = v.Append(nil, 10)
		digits = bytes.TrimPrefix(digits, []byte("-"))
	}
	exponent = len(digits) - int(Int32(b))
	if digits = bytes.TrimRight(digits, "0"); len(digits) == 0 {
		return 0, nil, 0
	}
	return sign, digits, exponent
}

// compareDecimal orders two decimals by value. Cost: that of printing them, however far apart their scales are.
func compareDecimal(a, b []byte) int {
	if len(a) < 5 || len(b) < 5 {
		return bytes.Compare(a, b)
	}
	if bytes.Equal(a[:4], b[:4]) {
		return compareVarint(a[4:], b[4:])
	}
	signA, digitsA, exponentA := decimalDigits(a)
	signB, digitsB, exponentB := decimalDigits(b)
	switch {
	case signA != signB:
		return signA - signB
	case exponentA != exponentB:
		if (exponentA < exponentB) == (signA > 0) {
			return -1
		}
		return 1
	}
	return signA * bytes.Compare(digitsA, digitsB)
}

// appendDecimal appends a decimal as Java's BigDecimal.toString and Python's str do: plain while the scale is not negative and the value
// not under 1E-6, else with an exponent. Reading it gives scale and value back.
func appendDecimal(dst, b []byte) []byte {
	d := DecodeDecimal(b)
	digits := d.Unscaled.Append(nil, 10)
	if digits[0] == '-' {
		dst = append(dst, '-')
		digits = digits[1:]
	}
	scale := int(d.Scale)
	adjusted := len(digits) - 1 - scale
	switch {
	case scale == 0:
		return append(dst, digits...)
	case scale > 0 && adjusted >= -6:
		if len(digits) <= scale {
			dst = append(dst, "0."...)
			for range scale - len(digits) {
				dst = append(dst, '0')
			}
			return append(dst, digits...)
		}
		dst = append(dst, digits[:len(digits)-scale]...)
		return append(append(dst, '.'), digits[len(digits)-scale:]...)
	}
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	dst = append(dst, 'E')
	if adjusted >= 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(adjusted), 10)
}

// ParseDecimal reads digits, with an optional sign, fraction and exponent. The scale is kept: 1.00 has the scale 2.
func ParseDecimal(s string) (DecimalValue, error) {
	mantissa, exponent := s, int64(0)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.ParseInt(s[i+1:], 10, 32); err != nil {
			return DecimalValue{}, fmt.Errorf("%w: %q is not a decimal: its exponent is no integer of 32 bits", ErrValue, clip(s))
		}
		mantissa = s[:i]
	}
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if dotted && strings.IndexAny(fraction, "+-") == 0 {
		return DecimalValue{}, fmt.Errorf("%w: %q is not a decimal", ErrValue, clip(s))
	}
	v, err := ParseVarint(whole + fraction)
	if err != nil {
		return DecimalValue{}, fmt.Errorf("%w: %q is not a decimal: digits with an optional sign, fraction and exponent, within %d bytes", ErrValue, clip(s),
			MaxVarintBytes)
	}
	scale := int64(len(fraction)) - exponent
	if scale < -MaxDecimalScale || scale > MaxDecimalScale {
		return DecimalValue{}, fmt.Errorf("%w: the decimal %q has the scale %d, the limit is %d", ErrValue, clip(s), scale, MaxDecimalScale)
	}
	return DecimalValue{v, int32(scale)}, nil
}

// ParseVarint reads an integer of any size up to MaxVarintBytes.
func ParseVarint(s string) (*big.Int, error) {
	const bytesPerDigit = 0.415242 // log(10)/log(256), rounded up
	if float64(len(strings.TrimLeft(s, "+-0")))*bytesPerDigit > MaxVarintBytes {
		return nil, fmt.Errorf("%w: an integer of %d digits is over the limit of %d bytes", ErrValue, len(s), MaxVarintBytes)
	}
	if len(s) < 19 {
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			return big.NewInt(v), nil
		}
	} else if v, ok := new(big.Int).SetString(s, 10); ok {
		return v, nil
	}
	return nil, fmt.Errorf("%w: %q is not an integer", ErrValue, clip(s))
}

// notFinite names what is no finite number, as cqlsh and Java have it.
func notFinite(f float64) (name string, ok bool) {
	switch {
	case math.IsNaN(f):
		return "NaN", true
	case math.IsInf(f, 1):
		return "Infinity", true
	case math.IsInf(f, -1):
		return "-Infinity", true
	}
	return "", false
}

// appendFloat appends the shortest text that reads back as the same number of the given bits: plain between 1e-5 and 1e16, else with an
// exponent; NaN, Infinity and -Infinity as cqlsh has them.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if name, ok := notFinite(f); ok {
		return append(dst, name...)
	}
	format := byte('e')
	if a := math.Abs(f); a == 0 || a >= 1e-5 && a < 1e16 {
		format = 'f'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// NaN is Java's: the quiet one without a payload.
var NaN = math.Float64frombits(0x7FF8000000000000)

// parseFloat reads a decimal number, NaN, Infinity or -Infinity (in any case). Beyond the range of the type is an error, not infinity.
func parseFloat(s string, bits int) (float64, error) {
	bare := strings.TrimLeft(s, "+-")
	if bare == "" || strings.ContainsAny(s, "xXpP_") {
		return 0, fmt.Errorf("%w: %q is not a number", ErrValue, clip(s))
	}
	if c := bare[0]; c > '9' && !strings.EqualFold(bare, "NaN") && !strings.EqualFold(bare, "Infinity") {
		return 0, fmt.Errorf("%w: %q is not a number", ErrValue, clip(s))
	}
	if strings.EqualFold(bare, "NaN") {
		return NaN, nil
	}
	f, err := strconv.ParseFloat(s, bits)
	if err != nil && math.IsInf(f, 0) {
		return 0, fmt.Errorf("%w: %s is beyond the range of a floating-point number of %d bits", ErrValue, clip(s), bits)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number", ErrValue, clip(s))
	}
	return f, nil
}
