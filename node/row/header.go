package row

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"nodedb/node/fault"
)

// RangeDeletion deletes the rows of one partition with Start <= clustering key < End (encoded bytes) at or below Timestamp.
// A nil End is the end of the partition.
type RangeDeletion struct {
	Start, End []byte
	Timestamp  int64
}

// Header is what a partition holds beside its rows. The zero Header has Deletion 0: use EmptyHeader.
type Header struct {
	Deletion int64           // partition tombstone, or NoDeletion
	Ranges   []RangeDeletion // ascending, disjoint, normalised (no two neighbours of one timestamp touch; none at or below Deletion)
	Static   View            // the static row
}

// EmptyHeader deletes nothing.
var EmptyHeader = Header{Deletion: NoDeletion}

// The bytes of a header (little-endian; the empty header is no bytes at all):
//
//	| version u8 = 1 | flags u8 | [deletion i64] | [n uvarint, ranges] | [static row: the rest] |
//
//	flags  bit 0  deletion: a partition tombstone
//	       bit 1  ranges, n > 0 of them, ascending and disjoint
//	       bit 2  static
//	range  | timestamp i64 | start length uvarint, start | end length uvarint, end |    end of length 0: no end
const (
	headerVersion = 1

	headerDeletion = 1 << 0
	headerRanges   = 1 << 1
	headerStatic   = 1 << 2
	headerKnown    = headerDeletion | headerRanges | headerStatic

	minRangeBytes = 10
)

// Covering is the newest deletion in the header that covers a row, or NoDeletion. O(log ranges).
func (h *Header) Covering(clustering []byte) int64 {
	i := sort.Search(len(h.Ranges), func(i int) bool { return bytes.Compare(h.Ranges[i].Start, clustering) > 0 })
	if i > 0 && h.Ranges[i-1].reaches(clustering) {
		return max(h.Deletion, h.Ranges[i-1].Timestamp)
	}
	return h.Deletion
}

// reaches reports whether the range ends beyond key.
func (r *RangeDeletion) reaches(key []byte) bool {
	if fault.Planted("row/range-end-included") {
		return r.End == nil || bytes.Compare(key, r.End) <= 0
	}
	return r.End == nil || bytes.Compare(key, r.End) < 0
}

// IsEmpty reports whether the header holds nothing.
func (h *Header) IsEmpty() bool {
	return h.Deletion == NoDeletion && len(h.Ranges) == 0 && len(h.Static) == 0
}

// Append writes the canonical header (it normalises Ranges and shadows Static first).
func (h *Header) Append(dst []byte) []byte {
	ranges := h.Ranges
	if !normalised(ranges, h.Deletion) {
		ranges = normalise(slices.Clone(ranges), h.Deletion)
	}
	x := h.Static.Index()
	static := h.Static
	if x.touched(h.Deletion) && !fault.Planted("row/deletion-spares-statics") {
		static = Shadow(nil, static, h.Deletion)
	}
	return appendHeader(dst, h.Deletion, ranges, static)
}

// appendHeader writes what is canonical already.
func appendHeader(dst []byte, deletion int64, ranges []RangeDeletion, static View) []byte {
	flags := byte(0)
	if deletion != NoDeletion {
		flags |= headerDeletion
	}
	if len(ranges) > 0 {
		flags |= headerRanges
	}
	if len(static) > 0 {
		flags |= headerStatic
	}
	if flags == 0 {
		return dst
	}
	dst = append(dst, headerVersion, flags)
	if deletion != NoDeletion {
		dst = le.AppendUint64(dst, uint64(deletion))
	}
	if len(ranges) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(ranges)))
	}
	for i := range ranges {
		dst = le.AppendUint64(dst, uint64(ranges[i].Timestamp))
		dst = appendBytes(dst, ranges[i].Start)
		dst = appendBytes(dst, ranges[i].End)
	}
	return append(dst, static...)
}

// DecodeHeader reads a header in place (it aliases b). Empty b is EmptyHeader. It checks all of the bytes, the static row too.
func DecodeHeader(b []byte) (Header, error) {
	h := EmptyHeader
	err := h.decode(b)
	return h, err
}

// decode reuses the room of h.Ranges. After an error h is EmptyHeader.
func (h *Header) decode(b []byte) error {
	*h = Header{Deletion: NoDeletion, Ranges: h.Ranges[:0]}
	if len(b) == 0 {
		return nil
	}
	if err := h.read(b); err != nil {
		*h = EmptyHeader
		return err
	}
	return nil
}

func (h *Header) read(b []byte) error {
	if err := checkVersion(b[0], headerVersion, "partition header"); err != nil {
		return err
	}
	if len(b) < 2 || b[1] == 0 || b[1]&^headerKnown != 0 {
		return corrupt("partition header of %d bytes, flags unknown", len(b))
	}
	flags, b := b[1], b[2:]
	if flags&headerDeletion != 0 {
		if len(b) < 8 {
			return corrupt("partition header ends in its deletion")
		}
		h.Deletion, b = int64(le.Uint64(b)), b[8:]
		if h.Deletion == NoDeletion {
			return corrupt("partition deletion at NoDeletion")
		}
	}
	if flags&headerRanges != 0 {
		rest, err := h.readRanges(b)
		if err != nil {
			return err
		}
		b = rest
	}
	if (len(b) > 0) != (flags&headerStatic != 0) {
		return corrupt("partition header: %d bytes of static row against its flags", len(b))
	}
	h.Static = View(b[:len(b):len(b)])
	return h.checkStatic()
}

func (h *Header) readRanges(b []byte) (rest []byte, err error) {
	n, size := uvarint(b)
	b = b[size:]
	if size == 0 || n == 0 || n > uint64(len(b)/minRangeBytes) {
		return nil, corrupt("partition header: number of range deletions")
	}
	for range n {
		if len(b) < 8 {
			return nil, corrupt("partition header ends in a range deletion")
		}
		r := RangeDeletion{Timestamp: int64(le.Uint64(b))}
		if r.Start, b, err = takeBytes(b[8:], len(b), "range start"); err != nil {
			return nil, err
		}
		if r.End, b, err = takeBytes(b, len(b), "range end"); err != nil {
			return nil, err
		}
		if len(r.End) == 0 {
			r.End = nil
		}
		h.Ranges = append(h.Ranges, r)
	}
	if !normalised(h.Ranges, h.Deletion) {
		return nil, corrupt("range deletions are not normalised")
	}
	return b, nil
}

func (h *Header) checkStatic() error {
	if err := h.Static.Check(); err != nil {
		return err
	}
	x := h.Static.Index()
	if x.touched(h.Deletion) && len(Shadow(nil, h.Static, h.Deletion)) != len(h.Static) {
		return corrupt("static row has cells that the partition deletion covers")
	}
	return nil
}

// MergeHeaders appends the merge of header fragments; the same laws as Merge: the newest partition deletion, the newest range
// deletion in each piece of the partition, the merge of the static rows; and what the partition deletion covers goes. One fragment alone
// is copied. Bytes that are not a header give ErrCorrupt, and dst is returned as it was.
func MergeHeaders(dst []byte, fragments ...[]byte) ([]byte, error) {
	var single []byte
	full := 0
	for _, f := range fragments {
		if len(f) > 0 {
			single = f
			full++
		}
	}
	switch full {
	case 0:
		return dst, nil
	case 1:
		if err := checkVersion(single[0], headerVersion, "partition header"); err != nil {
			return dst, err
		}
		return append(dst, single...), nil
	}
	merged := EmptyHeader
	statics := make([][]byte, 0, 8)
	var one Header
	for _, f := range fragments {
		if err := one.decode(f); err != nil {
			return dst, err
		}
		merged.Deletion = max(merged.Deletion, one.Deletion)
		merged.Ranges = append(merged.Ranges, one.Ranges...)
		statics = append(statics, one.Static)
	}
	static, err := Merge(nil, statics...)
	if err != nil {
		return dst, err
	}
	merged.Static = static
	merged.Ranges = normalise(merged.Ranges, merged.Deletion)
	return merged.Append(dst), nil
}
