package types

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// appendJavaJSON appends what Cassandra's JSON has as Java prints it; ok is false for types that it has as everybody.
func (t *Type) appendJavaJSON(dst, value []byte) (out []byte, ok bool) {
	switch t.Kind {
	case Float, Double:
		bits := 64
		if t.Kind == Float {
			bits = 32
		}
		f := t.float(value)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(dst, "null"...), true
		}
		return AppendJavaFloat(dst, f, bits), true
	case Inet:
		if a, valid := netip.AddrFromSlice(value); valid {
			return append(appendJavaInet(append(dst, '"'), a), '"'), true
		}
	case Timestamp:
		if at := DecodeTimestamp(value); at.Year() > 9999 || at.Year() < 0 {
			dst = fmt.Appendf(append(dst, '"'), "%+05d", at.Year())
			return append(at.AppendFormat(dst, "-01-02 15:04:05.000Z"), '"'), true
		}
	case Date:
		if d := DateTime(Uint32(value)); len(value) == 4 && d.Year() > 9999 {
			return append(t.appendScalar(append(dst, '"', '+'), value, plain), '"'), true
		}
	case Duration:
		if d, err := DecodeDuration(value); err == nil && d == (DurationValue{}) {
			return append(dst, `""`...), true
		}
	}
	return dst, false
}

// AppendJavaFloat appends a number of 32 or 64 bits as Double.toString and Float.toString do: at least one digit on both sides of the point, in scientific notation
// outside of 10^-3 to 10^7.
func AppendJavaFloat(dst []byte, f float64, bits int) []byte {
	if name, ok := notFinite(f); ok {
		return append(dst, name...)
	}
	if f == 0 {
		if math.Signbit(f) {
			dst = append(dst, '-')
		}
		return append(dst, "0.0"...)
	}
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		return appendPoint(dst, strconv.FormatFloat(f, 'f', -1, bits))
	}
	text := strconv.FormatFloat(f, 'e', -1, bits)
	if !strings.Contains(text, ".") && strings.Contains(text, "e-") && subnormal(f, bits) {
		text = strconv.FormatFloat(f, 'e', 1, bits) // Java gives two digits here: 1.4E-45, 4.9E-324
	}
	mantissa, exponent, _ := strings.Cut(text, "e")
	dst = append(appendPoint(dst, mantissa), 'E')
	n, _ := strconv.Atoi(exponent) // FormatFloat's own
	return strconv.AppendInt(dst, int64(n), 10)
}

func subnormal(f float64, bits int) bool {
	if bits == 32 {
		return math.Abs(f) < 0x1p-126
	}
	return math.Abs(f) < 0x1p-1022
}

func appendPoint(dst []byte, digits string) []byte {
	dst = append(dst, digits...)
	if !strings.Contains(digits, ".") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// appendJavaInet appends an address as getHostAddress does: all eight groups of an IPv6 address.
func appendJavaInet(dst []byte, a netip.Addr) []byte {
	if a = a.Unmap(); a.Is4() {
		return a.AppendTo(dst)
	}
	b := a.As16()
	for i := 0; i < len(b); i += 2 {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = strconv.AppendUint(dst, uint64(b[i])<<8|uint64(b[i+1]), 16)
	}
	return dst
}

// AppendJavaText appends a scalar as CAST(… AS text) writes it, which is Java's way for floats, dates and addresses.
func (t *Type) AppendJavaText(dst, value []byte) []byte {
	switch t.Kind {
	case Float, Double:
		if len(value) == 0 {
			return dst
		}
		bits := 64
		if t.Kind == Float {
			bits = 32
		}
		return AppendJavaFloat(dst, t.float(value), bits)
	case Boolean:
		return strconv.AppendBool(dst, Bool(value))
	case Timestamp:
		if len(value) == 8 {
			return DecodeTimestamp(value).AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		}
	case Inet, Date:
		if out, ok := t.appendJavaJSON(nil, value); ok {
			return append(dst, strings.Trim(string(out), `"`)...)
		}
	}
	return t.AppendText(dst, value)
}
