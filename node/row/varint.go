package row

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

var le = binary.LittleEndian

// uvarint reads a minimal unsigned varint. size is 0 when b is short, the number overflows or is not written in its shortest form: one
// number has one encoding, or equal content would not have equal bytes.
func uvarint(b []byte) (x uint64, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	x, size = binary.Uvarint(b)
	if size <= 0 || b[size-1] == 0 {
		return 0, 0
	}
	return x, size
}

func uvarintLen(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }

// zigzag folds small negative numbers into small unsigned ones.
func zigzag(x int64) uint64   { return uint64(x<<1) ^ uint64(x>>63) }
func unzigzag(x uint64) int64 { return int64(x>>1) ^ -int64(x&1) }

// appendBytes writes b behind its length.
func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// takeBytes reads bytes behind their length; the result aliases b and can't be appended to.
func takeBytes(b []byte, limit int, what string) (taken, rest []byte, err error) {
	if len(b) > 0 && b[0] < 0x80 { // most lengths
		if end := 1 + int(b[0]); end <= len(b) && end <= limit {
			return b[1:end:end], b[end:], nil
		}
	}
	return takeLong(b, limit, what)
}

// takeLong is takeBytes for any length, and says what is wrong.
func takeLong(b []byte, limit int, what string) (taken, rest []byte, err error) {
	n, size := uvarint(b)
	switch {
	case size == 0:
		return nil, nil, corrupt("length of %s is not a number", what)
	case n > uint64(limit):
		return nil, nil, corrupt("%s of %d bytes, want at most %d", what, n, limit)
	case n > uint64(len(b)-size):
		return nil, nil, corrupt("%s of %d bytes, but only %d are left", what, n, len(b)-size)
	}
	end := size + int(n)
	return b[size:end:end], b[end:], nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// checkVersion says whether the first byte of what is a version this code knows.
func checkVersion(got, want byte, what string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%w %d of a %s, this nodedb knows %d", ErrVersion, got, what, want)
}

func tooLarge(what string, got, limit int) error {
	return fmt.Errorf("%w: %s of %d bytes, the limit is %d", ErrTooLarge, what, got, limit)
}
