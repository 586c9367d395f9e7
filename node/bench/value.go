package bench

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A value is fieldBytes printable characters, eight at a time:
//
//	version [8] | pattern [92]
//
// The version is 48 bits, six a character. The pattern follows from the row's key, the field and the version, so that a value that was read can be
// checked without knowing which of several updates wrote it; it is not checked that the newest did (that is what the tests' checkers are for).
const (
	versionMask = 1<<48 - 1
	fieldStep   = 0x9E3779B97F4A7C15 // between the seeds of two fields
	sixBits     = 0x3f3f3f3f3f3f3f3f
	printable   = 0x2020202020202020 // bytes from ' ' to '_'
)

// mix is the finalizer of splitmix64: a bijection that spreads.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// seedOf begins the pattern of a field of the row of a key.
func seedOf(key []byte, field int) uint64 { return xxhash.Sum64(key) + uint64(field)*fieldStep }

// spread puts six bits in each byte, and gather takes them out.
func spread(version uint64) (w uint64) {
	for i := range 8 {
		w |= (version >> (6 * i) & 0x3f) << (8 * i)
	}
	return w
}

func gather(w uint64) (version uint64) {
	for i := range 8 {
		version |= (w >> (8 * i) & 0x3f) << (6 * i)
	}
	return version
}

// appendValue appends a value.
func appendValue(buf []byte, seed, version uint64) []byte {
	version &= versionMask
	buf = binary.LittleEndian.AppendUint64(buf, spread(version)+printable)
	x := seed ^ version
	for left := fieldBytes - 8; left > 0; left -= 8 {
		x = mix(x)
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], x&sixBits+printable)
		buf = append(buf, word[:min(left, 8)]...)
	}
	return buf
}

// checkValue reports a value that is not one of this seed's.
func checkValue(value []byte, seed uint64) error {
	if len(value) != fieldBytes {
		return fmt.Errorf("%w: a value of %d bytes", ErrWrong, len(value))
	}
	first := binary.LittleEndian.Uint64(value) - printable
	version := gather(first)
	if spread(version) != first {
		return fmt.Errorf("%w: %q", ErrWrong, value)
	}
	x := seed ^ version
	at := 8
	for ; at+8 <= fieldBytes; at += 8 {
		x = mix(x)
		if binary.LittleEndian.Uint64(value[at:]) != x&sixBits+printable {
			return fmt.Errorf("%w: %q", ErrWrong, value)
		}
	}
	x = mix(x)
	if at < fieldBytes && binary.LittleEndian.Uint32(value[at:]) != uint32(x&sixBits+printable) {
		return fmt.Errorf("%w: %q", ErrWrong, value)
	}
	return nil
}
