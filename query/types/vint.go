package types

import "math/bits"

// Cassandra's variable-length integers. The count of leading ones in the first byte is the count of bytes that follow; the value's bits
// follow the first zero, big-endian:
//
//	0xxxxxxx                                  7 bits
//	10xxxxxx xxxxxxxx                        14 bits
//	110xxxxx xxxxxxxx xxxxxxxx               21 bits
//	…
//	11111111 and 8 bytes                     64 bits
//
// Signed ones are zigzag: 0, -1, 1, -2 are 0, 1, 2, 3.

// AppendUvint appends an unsigned vint.
func AppendUvint(dst []byte, v uint64) []byte {
	extra := 0
	if n := bits.Len64(v); n > 7 {
		extra = min((n-1)/7, 8)
	}
	if extra == 8 {
		dst = append(dst, 0xFF)
	} else {
		dst = append(dst, ^byte(0xFF>>extra)|byte(v>>(8*extra)))
	}
	for i := extra - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// Uvint reads an unsigned vint and gives the bytes it took, 0 when b ends before it does.
func Uvint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	extra := bits.LeadingZeros8(^b[0])
	if len(b) <= extra {
		return 0, 0
	}
	if extra < 8 {
		v = uint64(b[0] & (0xFF >> extra))
	}
	for _, c := range b[1 : 1+extra] {
		v = v<<8 | uint64(c)
	}
	return v, 1 + extra
}

// AppendVint appends a signed vint.
func AppendVint(dst []byte, v int64) []byte { return AppendUvint(dst, uint64(v<<1)^uint64(v>>63)) }

// Vint reads a signed vint and gives the bytes it took, 0 when b ends before it does.
func Vint(b []byte) (v int64, n int) {
	u, n := Uvint(b)
	return int64(u>>1) ^ -int64(u&1), n
}
