package hints

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// A segment is a header and records, one behind the other (little-endian):
//
//	header  | magic "NDBHINT" 7 | version u8 = 1 | host id 16 |                                        24 bytes
//	record  | length u32 | crc32c u32 | created, unix ms u64 | mutation, length bytes |        16 + length bytes
//
// length is at least 1. The checksum covers length, created and mutation, so that neither zeros nor a flipped length pass. Files are named
// <host id>-<sequence, 16 hex digits>.hints; a peer's sequences only grow.
const (
	segmentMagic   = "NDBHINT"
	segmentVersion = 1
	headerBytes    = 24
	recordBytes    = 16 // beside the mutation

	// MaxHintBytes bounds one hint: what a mutation may take.
	MaxHintBytes = row.MaxMutationBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Reasons why bytes are not a record.
var (
	errShort    = errors.New("record is cut short")
	errLength   = errors.New("record has an impossible length")
	errChecksum = errors.New("record's checksum does not match")
)

// record is one hint as it lies in a segment.
type record struct {
	createdMs int64
	mutation  []byte
}

func (r *record) size() int64 { return recordBytes + int64(len(r.mutation)) }

func appendRecord(dst []byte, createdMs int64, mutation []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(mutation)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(createdMs))
	dst = append(dst, mutation...)
	binary.LittleEndian.PutUint32(dst[start+4:], checksum(dst[start:]))
	return dst
}

// checksum is that of a whole record but for the checksum's own bytes.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[8:])
}

// decodeRecord reads the record at the start of b. It aliases b.
func decodeRecord(b []byte) (record, error) {
	if len(b) < recordBytes {
		return record{}, errShort
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 0 || length > MaxHintBytes {
		return record{}, errLength
	}
	end := recordBytes + int(length)
	if end > len(b) {
		return record{}, errShort
	}
	if checksum(b[:end]) != binary.LittleEndian.Uint32(b[4:]) {
		return record{}, errChecksum
	}
	return record{int64(binary.LittleEndian.Uint64(b[8:])), b[recordBytes:end:end]}, nil
}

func appendHeader(dst []byte, peer vnodes.HostID) []byte {
	dst = append(dst, segmentMagic...)
	dst = append(dst, segmentVersion)
	return append(dst, peer[:]...)
}

// errHeader says that a file does not begin as a segment of its peer.
var errHeader = errors.New("not a segment of this peer")

// checkHeader looks at a segment's first bytes. A version of the future is an ErrVersion: it must not be mistaken for damage.
func checkHeader(b []byte, peer vnodes.HostID) error {
	switch {
	case len(b) < headerBytes:
		return errShort
	case string(b[:len(segmentMagic)]) != segmentMagic || vnodes.HostID(b[8:headerBytes]) != peer:
		return errHeader
	case b[7] != segmentVersion:
		return fmt.Errorf("%w: segment version %d, this nodedb knows %d", ErrVersion, b[7], segmentVersion)
	}
	return nil
}

// span is where a record lies in its segment.
type span struct {
	start, end int64
	createdMs  int64
}

// scanned is what is sound in a segment's bytes.
type scanned struct {
	records []span
	damaged int   // stretches of bad bytes with good records behind them
	end     int64 // of the last good record; bad bytes from there on are a torn tail
}

// maxResyncBytes bounds the bytes that resync computes checksums of, a segment.
const maxResyncBytes = 64 << 20

// scan walks a segment's records. Behind bad bytes it looks for the next good record: if there is one the damage is in the middle,
// otherwise it is the tail that a crash tore.
func scan(b []byte) scanned {
	s := scanned{end: headerBytes}
	budget := maxResyncBytes
	for at := headerBytes; at < len(b); {
		r, err := decodeRecord(b[at:])
		if err != nil {
			next, ok := resync(b, at, &budget)
			if !ok {
				return s
			}
			s.damaged++
			at = next
			continue
		}
		end := at + int(r.size())
		s.records = append(s.records, span{int64(at), int64(end), r.createdMs})
		s.end, at = int64(end), end
	}
	return s
}

// resync finds the next good record behind a bad one: where the bad one's length says, or else by trying every byte.
func resync(b []byte, bad int, budget *int) (next int, ok bool) {
	good := func(at int) bool {
		if at+recordBytes > len(b) {
			return false
		}
		length := int(binary.LittleEndian.Uint32(b[at:]))
		if length == 0 || length > MaxHintBytes || at+recordBytes+length > len(b) || *budget <= 0 {
			return false
		}
		*budget -= length
		_, err := decodeRecord(b[at:])
		return err == nil
	}
	if bad+recordBytes <= len(b) {
		if length := binary.LittleEndian.Uint32(b[bad:]); length <= MaxHintBytes {
			if at := bad + recordBytes + int(length); good(at) {
				return at, true
			}
		}
	}
	for at := bad + 1; at+recordBytes < len(b) && *budget > 0; at++ {
		if good(at) {
			return at, true
		}
	}
	return 0, false
}
