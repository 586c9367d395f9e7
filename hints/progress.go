package hints

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// position is a place in a peer's segments: everything before it was delivered (or dropped).
type position struct {
	seq    uint64
	offset int64
}

func (p position) before(q position) bool {
	return p.seq < q.seq || (p.seq == q.seq && p.offset < q.offset)
}

// A peer's progress file, <host id>.progress, replaced as a whole (little-endian):
//
//	| version u8 = 1 | sequence u64 | offset u64 | crc32c of the rest u32 |     21 bytes
const (
	progressVersion = 1
	progressBytes   = 21
)

func (p position) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, progressVersion)
	dst = binary.LittleEndian.AppendUint64(dst, p.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.offset))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// decodeProgress reads a progress file. Damage gives an error; the caller then begins at the start: hints may be delivered twice.
func decodeProgress(b []byte) (position, error) {
	if len(b) > 0 && b[0] != progressVersion {
		return position{}, fmt.Errorf("%w: progress version %d, this nodedb knows %d", ErrVersion, b[0], progressVersion)
	}
	if len(b) != progressBytes {
		return position{}, fmt.Errorf("progress of %d bytes, want %d", len(b), progressBytes)
	}
	if crc32.Checksum(b[:17], castagnoli) != binary.LittleEndian.Uint32(b[17:]) {
		return position{}, errChecksum
	}
	p := position{binary.LittleEndian.Uint64(b[1:]), int64(binary.LittleEndian.Uint64(b[9:]))}
	if p.offset < 0 {
		return position{}, errLength
	}
	return p, nil
}
