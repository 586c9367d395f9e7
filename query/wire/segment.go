package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/pierrec/lz4/v4"
)

// Segments carry the frames of v5 once STARTUP has been answered. All of a segment is little-endian:
//
//	uncompressed   | payload length 17 bits, self-contained 1 bit, 6 bits 0 | CRC24 of these 3 bytes | payload | CRC32 of payload |
//	lz4            | compressed length 17 bits, uncompressed length 17 bits, self-contained 1 bit, 5 bits 0 | CRC24 of these 5 bytes |
//	               | compressed payload | CRC32 of it |     uncompressed length 0: the payload is as it is
//
// A self-contained segment has one or more whole frames; the others have a part of one frame that is larger than a segment.
const (
	maxPayloadBytes    = 1<<17 - 1
	crcHeaderBytes     = 3
	crcPayloadBytes    = 4
	plainSegmentHeader = 3 + crcHeaderBytes
	lz4SegmentHeader   = 5 + crcHeaderBytes
)

const (
	crc24Init = 0x875060
	crc24Poly = 0x1974F0B // Koopman's, as the protocol's v5 names it
)

var crc24Table = func() (t [256]uint32) {
	for i := range t {
		crc := uint32(i) << 16
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= crc24Poly
			}
		}
		t[i] = crc
	}
	return t
}()

func crc24(b []byte) uint32 {
	crc := uint32(crc24Init)
	for _, c := range b {
		crc = (crc<<8 ^ crc24Table[byte(crc>>16)^c]) & 0xFFFFFF
	}
	return crc
}

// crc32Seed is the CRC32 of FA 2D 55 CA, with which the protocol begins every payload's.
var crc32Seed = crc32.ChecksumIEEE([]byte{0xFA, 0x2D, 0x55, 0xCA})

func payloadCRC(b []byte) uint32 { return crc32.Update(crc32Seed, crc32.IEEETable, b) }

// appendSegments packs frames, which stand back to back and are whole, into segments.
func appendSegments(dst, frames []byte, c Compression, scratch []byte) (out, scratchOut []byte) {
	for len(frames) > 0 {
		n := wholeFrames(frames)
		selfContained := n > 0
		if !selfContained {
			n = frameBytes(frames)
		}
		for part := frames[:n]; len(part) > 0; {
			size := min(len(part), maxPayloadBytes)
			dst, scratch = appendSegment(dst, part[:size], selfContained, c, scratch)
			part = part[size:]
		}
		frames = frames[n:]
	}
	return dst, scratch
}

// wholeFrames gives the size of the frames at the start of b that fit in one segment; 0: the first one is too large.
func wholeFrames(b []byte) int {
	n := 0
	for n < len(b) {
		size := frameBytes(b[n:])
		if n+size > maxPayloadBytes {
			break
		}
		n += size
	}
	return n
}

func frameBytes(b []byte) int { return HeaderBytes + int(binary.BigEndian.Uint32(b[5:])) }

func appendSegment(dst, payload []byte, selfContained bool, c Compression, scratch []byte) (out, scratchOut []byte) {
	start := len(dst)
	if c == NoCompression {
		dst = appendUint24(dst, uint32(len(payload))|bit(selfContained)<<17)
		dst = appendUint24(dst, crc24(dst[start:]))
		dst = append(dst, payload...)
		return binary.LittleEndian.AppendUint32(dst, payloadCRC(payload)), scratch
	}
	uncompressed := 0
	if len(payload) >= minCompressBytes {
		scratch = sized(scratch, lz4.CompressBlockBound(len(payload)))
		if n, err := lz4.CompressBlock(payload, scratch, nil); err == nil && n > 0 && n < len(payload) {
			uncompressed, payload = len(payload), scratch[:n]
		}
	}
	h := uint64(len(payload)) | uint64(uncompressed)<<17 | uint64(bit(selfContained))<<34
	dst = append(dst, byte(h), byte(h>>8), byte(h>>16), byte(h>>24), byte(h>>32))
	dst = appendUint24(dst, crc24(dst[start:]))
	dst = append(dst, payload...)
	return binary.LittleEndian.AppendUint32(dst, payloadCRC(payload)), scratch
}

func appendUint24(dst []byte, v uint32) []byte { return append(dst, byte(v), byte(v>>8), byte(v>>16)) }

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// segmentHeader is a segment's header, decoded.
type segmentHeader struct {
	size          int // of the payload as it is sent
	uncompressed  int // 0: it is not compressed
	selfContained bool
}

// segmentHeaderBytes is the size of a segment's header.
func segmentHeaderBytes(c Compression) int {
	if c == NoCompression {
		return plainSegmentHeader
	}
	return lz4SegmentHeader
}

func decodeSegmentHeader(b []byte, c Compression) (h segmentHeader, err error) {
	n := segmentHeaderBytes(c) - crcHeaderBytes
	if got, want := crc24(b[:n]), uint24(b[n:]); got != want {
		return h, fmt.Errorf("%w: segment header %x has CRC24 %06x, computed %06x", ErrMalformed, b[:n], want, got)
	}
	if c == NoCompression {
		v := uint24(b)
		return segmentHeader{size: int(v & maxPayloadBytes), selfContained: v>>17&1 != 0}, nil
	}
	v := uint64(uint24(b)) | uint64(b[3])<<24 | uint64(b[4])<<32
	return segmentHeader{size: int(v & maxPayloadBytes), uncompressed: int(v >> 17 & maxPayloadBytes), selfContained: v>>34&1 != 0}, nil
}

// decodeSegmentPayload checks the payload's CRC32, which follows it in b, and gives the payload, uncompressed.
func decodeSegmentPayload(b []byte, h segmentHeader) ([]byte, error) {
	payload := b[:h.size:h.size]
	if got, want := payloadCRC(payload), binary.LittleEndian.Uint32(b[h.size:]); got != want {
		return nil, fmt.Errorf("%w: segment of %d bytes has CRC32 %08x, computed %08x", ErrMalformed, h.size, want, got)
	}
	if h.uncompressed == 0 {
		return payload, nil
	}
	return decompressLZ4(payload, uint64(h.uncompressed), maxPayloadBytes)
}
