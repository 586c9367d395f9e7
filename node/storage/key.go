package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// The bytes of a key. Comparing keys as bytes orders them by table, token, partition key, then header before rows, then
// clustering key:
//
//	| storage u32 BE | token u64 BE, sign bit flipped | partition key, escaped | 0x00 0x01 | marker u8 | clustering |
//	'------------------------------- prefix: one partition --------------------'
//
//	escaped     0x00 is written 0x00 0xFF, so the first 0x00 0x01 at or after byte 12 ends the partition key, and a key sorts
//	            before those it is a prefix of
//	marker      1 header (no clustering follows), 2 row
//	clustering  as query/types encodes it; opaque here
//
// Storage id 0 is the system key space, where each key is a prefix of its own:
//
//	| 0 u32 BE | space u8 | name |       space 0: the engine's own entries, 1: GetSystem and PutSystem
//
// The layout is permanent: the comparer's name stands for it.
const (
	storageBytes = 4
	tokenBytes   = 8
	fixedBytes   = storageBytes + tokenBytes // what stands before the partition key

	markerHeader = 0x01
	markerRow    = 0x02
	markerEnd    = 0x03 // no key has it: the end of a partition

	spaceEngine = 0x00
	spaceSystem = 0x01

	escapeByte = 0xFF
	signBit    = 1 << 63
)

// terminator ends the escaped partition key.
var terminator = []byte{0x00, 0x01}

// prefixLen is the room that appendPrefix needs for a partition key.
func prefixLen(key []byte) int {
	return fixedBytes + len(key) + bytes.Count(key, terminator[:1]) + len(terminator)
}

// appendToken appends the first part of the keys of all partitions with one token.
func appendToken(dst []byte, id row.StorageID, token vnodes.Token) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	return binary.BigEndian.AppendUint64(dst, uint64(token)^signBit)
}

// appendPrefix appends the part that all keys of one partition share.
func appendPrefix(dst []byte, id row.StorageID, token vnodes.Token, key []byte) []byte {
	dst = appendToken(dst, id, token)
	for _, b := range key {
		if dst = append(dst, b); b == 0 {
			dst = append(dst, escapeByte)
		}
	}
	return append(dst, terminator...)
}

// appendPrefixEnd appends the smallest key above all keys of a partition.
func appendPrefixEnd(dst, prefix []byte) []byte {
	dst = append(dst, prefix...)
	dst[len(dst)-1]++
	return dst
}

// splitKey is Comparer.Split: where the partition's prefix ends.
func splitKey(k []byte) int {
	if len(k) <= fixedBytes || k[0]|k[1]|k[2]|k[3] == 0 {
		return len(k)
	}
	i := bytes.Index(k[fixedBytes:], terminator)
	if i < 0 {
		return len(k)
	}
	return fixedBytes + i + len(terminator)
}

// parseKey reads token and partition key back from a key of a table; the partition key is appended to dst. n is where
// the prefix ends, as splitKey says too; 0: the bytes are no such key. One pass: keys are short, and often full of
// zeros.
func parseKey(dst, k []byte) (token vnodes.Token, key []byte, n int) {
	if len(k) < fixedBytes+len(terminator) {
		return 0, dst, 0
	}
	token = vnodes.Token(binary.BigEndian.Uint64(k[storageBytes:]) ^ signBit)
	for i := fixedBytes; i < len(k); i++ {
		b := k[i]
		if b != 0 {
			dst = append(dst, b)
			continue
		}
		if i++; i == len(k) {
			break
		}
		if k[i] == terminator[1] {
			return token, dst, i + 1
		}
		dst = append(dst, 0) // k[i] is escapeByte
	}
	return 0, dst, 0
}

// appendSystemKey appends the key of an entry of the system key space.
func appendSystemKey(dst []byte, space byte, name string) []byte {
	return append(append(dst, 0, 0, 0, 0, space), name...)
}

// maxStorageID is the largest storage id: the one above it bounds its keys.
const maxStorageID = ^row.StorageID(0) - 1

// tableSpan gives the bounds of all keys of a table.
func tableSpan(id row.StorageID) (lower, upper []byte) {
	return binary.BigEndian.AppendUint32(nil, uint32(id)), binary.BigEndian.AppendUint32(nil, uint32(id)+1)
}

// appendRangeBounds appends the bounds of the tokens (Start, End] of a range that does not wrap. No partition has
// MinToken.
func appendRangeBounds(lower, upper []byte, id row.StorageID, r vnodes.Range) (l, u []byte) {
	lower = appendToken(lower, id, r.Start+1)
	if r.End == vnodes.MaxToken {
		return lower, binary.BigEndian.AppendUint32(upper, uint32(id)+1)
	}
	return lower, appendToken(upper, id, r.End+1)
}

// unwrap cuts a range into at most two that do not wrap.
func unwrap(r vnodes.Range) []vnodes.Range {
	switch {
	case r.Start < r.End:
		return []vnodes.Range{r}
	case r.Start == r.End:
		return []vnodes.Range{{Start: vnodes.MinToken, End: vnodes.MaxToken}}
	case r.Start == vnodes.MaxToken:
		return []vnodes.Range{{Start: vnodes.MinToken, End: r.End}}
	case r.End == vnodes.MinToken:
		return []vnodes.Range{{Start: r.Start, End: vnodes.MaxToken}}
	}
	return []vnodes.Range{{Start: vnodes.MinToken, End: r.End}, {Start: r.Start, End: vnodes.MaxToken}}
}

// comparerName is permanent: a store remembers it and refuses another.
const comparerName = "nodedb.v1.comparer"

// comparer orders keys as bytes. What it adds to Pebble's default is Split, which makes bloom filters work per
// partition, and so ImmediateSuccessor: appending a byte to a prefix would stay inside the partition, so the terminator
// is raised instead.
var comparer = &pebble.Comparer{
	Name:                 comparerName,
	Compare:              bytes.Compare,
	Equal:                bytes.Equal,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	Split:                splitKey,
	AbbreviatedKey:       pebble.DefaultComparer.AbbreviatedKey,
	Separator:            pebble.DefaultComparer.Separator,
	Successor:            pebble.DefaultComparer.Successor,
	ImmediateSuccessor:   immediateSuccessor,
	FormatKey:            func(k []byte) fmt.Formatter { return keyFormatter(k) },
}

// immediateSuccessor appends the smallest prefix above the prefix a.
func immediateSuccessor(dst, a []byte) []byte {
	if len(a) >= fixedBytes+len(terminator) && a[0]|a[1]|a[2]|a[3] != 0 && bytes.HasSuffix(a, terminator) {
		return appendPrefixEnd(dst, a)
	}
	return append(append(dst, a...), 0x00)
}

// keyFormatter prints a key as table/token/partition key/marker+clustering.
type keyFormatter []byte

// Format implements fmt.Formatter.
func (k keyFormatter) Format(s fmt.State, _ rune) {
	token, key, n := parseKey(nil, k)
	if n == 0 || k[0]|k[1]|k[2]|k[3] == 0 {
		fmt.Fprintf(s, "%x", []byte(k))
		return
	}
	fmt.Fprintf(s, "%d/%d/%x/%x", binary.BigEndian.Uint32(k), token, key, []byte(k[n:]))
}
