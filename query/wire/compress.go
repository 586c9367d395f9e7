package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"
)

// Compression of frame bodies (v4) and segments (v5: LZ4 only). As STARTUP and SUPPORTED spell it.
type Compression string

// The compressions.
const (
	NoCompression Compression = ""
	LZ4           Compression = "lz4"
	Snappy        Compression = "snappy"
)

// minCompressBytes is the size from which a body is worth compressing: below, the flag is left off.
const minCompressBytes = 512

// maxLZ4Ratio is the most that an LZ4 block can grow: a claimed size beyond it is a lie, found before anything is allocated.
const maxLZ4Ratio = 255

// maxSnappyRatio is the same of snappy, of which an element of 3 bytes copies at most 64.
const maxSnappyRatio = 22

// ParseCompression reads the name in a STARTUP's COMPRESSION option, which older drivers write in capitals too.
func ParseCompression(s string) (Compression, error) {
	switch s {
	case "", "none":
		return NoCompression, nil
	case "lz4", "LZ4":
		return LZ4, nil
	case "snappy", "SNAPPY":
		return Snappy, nil
	}
	return NoCompression, fmt.Errorf("unknown compression algorithm %q: want lz4 or snappy", s)
}

// compressFrame compresses the body of the v4 frame at dst[start:] in place when that makes it smaller, and sets the flag.
//
//	lz4     uncompressed length [int, big-endian] | block
//	snappy  block, which begins with its uncompressed length
func compressFrame(dst []byte, start int, c Compression, scratch []byte) (out, scratchOut []byte) {
	body := dst[start+HeaderBytes:]
	if c == NoCompression || len(body) < minCompressBytes {
		return dst, scratch
	}
	switch c {
	case LZ4:
		scratch = sized(scratch, 4+lz4.CompressBlockBound(len(body)))
		binary.BigEndian.PutUint32(scratch, uint32(len(body)))
		n, err := lz4.CompressBlock(body, scratch[4:], nil)
		if err != nil || n == 0 {
			return dst, scratch
		}
		scratch = scratch[:4+n]
	case Snappy:
		scratch = snappy.Encode(scratch[:cap(scratch)], body)
	}
	if len(scratch) >= len(body) {
		return dst, scratch
	}
	dst = append(dst[:start+HeaderBytes], scratch...)
	dst[start+1] |= byte(FlagCompressed)
	return EndFrame(dst, start), scratch
}

// decompressBody gives the body of a v4 frame whose compressed flag is set, in a buffer of its own of at most limit bytes.
func decompressBody(body []byte, c Compression, limit int) ([]byte, error) {
	if len(body) == 0 {
		return body, nil
	}
	switch c {
	case LZ4:
		if len(body) < 4 {
			return nil, fmt.Errorf("%w: an lz4 body of %d bytes", ErrMalformed, len(body))
		}
		return decompressLZ4(body[4:], uint64(binary.BigEndian.Uint32(body)), limit)
	case Snappy:
		n, err := snappy.DecodedLen(body)
		if err != nil {
			return nil, fmt.Errorf("%w: snappy: %w", ErrMalformed, err)
		}
		if n > limit {
			return nil, tooLarge(uint64(n), limit)
		}
		if n > len(body)*maxSnappyRatio+16 {
			return nil, fmt.Errorf("%w: snappy body of %d bytes claims to hold %d", ErrMalformed, len(body), n)
		}
		out, err := snappy.Decode(nil, body)
		if err != nil {
			return nil, fmt.Errorf("%w: snappy: %w", ErrMalformed, err)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%w: a compressed frame, but STARTUP agreed on no compression", ErrMalformed)
	}
}

// decompressLZ4 decompresses a block that must hold exactly size bytes.
func decompressLZ4(block []byte, size uint64, limit int) ([]byte, error) {
	if size > uint64(limit) {
		return nil, tooLarge(size, limit)
	}
	if size > uint64(len(block))*maxLZ4Ratio {
		return nil, fmt.Errorf("%w: lz4 block of %d bytes claims to hold %d", ErrMalformed, len(block), size)
	}
	out := make([]byte, size)
	if size == 0 {
		return out, nil
	}
	n, err := lz4.UncompressBlock(block, out)
	if err != nil {
		return nil, fmt.Errorf("%w: lz4: %w", ErrMalformed, err)
	}
	if uint64(n) != size {
		return nil, fmt.Errorf("%w: lz4 block holds %d bytes, claims %d", ErrMalformed, n, size)
	}
	return out, nil
}

func tooLarge(n uint64, limit int) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, n, limit)
}

// sized gives a slice of length n that reuses b's memory when it is large enough.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
