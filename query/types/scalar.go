package types

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// The Append functions append a value's bytes as the binary protocol has them (big-endian two's complement, IEEE 754). The readers beside
// them want a valid value of the type: the empty value gives zero.

// AppendInt8 appends a tinyint.
func AppendInt8(dst []byte, v int8) []byte { return append(dst, byte(v)) }

// AppendInt16 appends a smallint.
func AppendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

// AppendInt32 appends an int.
func AppendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendInt64 appends a bigint, counter, timestamp (ms since 1970) or time (ns since midnight).
func AppendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendUint32 appends a date's bytes: days since 1970-01-01 plus 2^31.
func AppendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendFloat appends a float.
func AppendFloat(dst []byte, v float32) []byte {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v))
}

// AppendDouble appends a double.
func AppendDouble(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}

// Int8 reads a tinyint.
func Int8(b []byte) int8 {
	if len(b) < 1 {
		return 0
	}
	return int8(b[0])
}

// Int16 reads a smallint.
func Int16(b []byte) int16 {
	if len(b) < 2 {
		return 0
	}
	return int16(binary.BigEndian.Uint16(b))
}

// Int32 reads an int.
func Int32(b []byte) int32 { return int32(Uint32(b)) }

// Int64 reads a bigint, counter, timestamp or time.
func Int64(b []byte) int64 {
	if len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// Uint32 reads a date's days since 1970-01-01 plus 2^31.
func Uint32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// Bool reads a boolean.
func Bool(b []byte) bool { return len(b) > 0 && b[0] != 0 }

// Float32 reads a float.
func Float32(b []byte) float32 { return math.Float32frombits(Uint32(b)) }

// Float64 reads a double.
func Float64(b []byte) float64 { return math.Float64frombits(uint64(Int64(b))) }

// Integer reads a value of any of the fixed-width integer types: tinyint, smallint, int, bigint, counter, timestamp, time.
func Integer(b []byte) int64 {
	switch len(b) {
	case 1:
		return int64(Int8(b))
	case 2:
		return int64(Int16(b))
	case 4:
		return int64(Int32(b))
	}
	return Int64(b)
}

// ParseUUID reads a UUID in its usual 36 characters, hexadecimal digits of either case.
func ParseUUID(s string) (u [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("%w: %q is not a UUID (8-4-4-4-12 hexadecimal digits)", ErrValue, clip(s))
	}
	at := 0
	for i := range u {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			at++
		}
		hi, lo := hexDigit(s[at]), hexDigit(s[at+1])
		if hi > 15 || lo > 15 {
			return u, fmt.Errorf("%w: %q is not a UUID (8-4-4-4-12 hexadecimal digits)", ErrValue, clip(s))
		}
		u[i] = hi<<4 | lo
		at += 2
	}
	return u, nil
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// AppendUUID appends the 36 characters of a UUID of 16 bytes.
func AppendUUID(dst, u []byte) []byte {
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendBlob appends 0x and the bytes in hexadecimal.
func appendBlob(dst, b []byte) []byte { return hex.AppendEncode(append(dst, "0x"...), b) }

// parseBlob reads what appendBlob writes.
func parseBlob(s string) ([]byte, error) {
	if len(s) < 2 || s[0] != '0' || s[1] != 'x' && s[1] != 'X' {
		return nil, fmt.Errorf("%w: a blob starts with 0x, this is %q", ErrValue, clip(s))
	}
	b, err := hex.AppendDecode(make([]byte, 0, len(s)/2), []byte(s[2:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not a blob: an even number of hexadecimal digits follows 0x", ErrValue, clip(s))
	}
	return b, nil
}

// clip shortens a text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
