// Package merkle is what replicas compare: digests of runs of rows, in order of position, and how a run that differs is cut into smaller ones.
// It is pure. It may import vnodes and node/row. Start reading at Interval (interval.go), then Sum.
package merkle

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// ErrInvalid says that bytes from elsewhere are no intervals, sums or hashes, or break a bound.
var ErrInvalid = errors.New("merkle: invalid message")

// Sum is the digest of a set of items: the headers and rows of an interval. Hash is the sum of the items' hashes modulo 2^64, so that parts
// add up, in any order: a large interval is scanned in bounded steps. Each item's hash covers its place, so equal sums mean equal items at
// equal places, up to one chance in 2^63.
type Sum struct {
	Items uint64
	Hash  uint64
	// Partitions begun in the interval. It says how best to cut; it is neither compared nor sent.
	Partitions uint64
}

// Add counts an item.
func (s *Sum) Add(hash uint64) {
	s.Items++
	s.Hash += hash
}

// Join counts the items of another part.
func (s *Sum) Join(o Sum) {
	s.Items += o.Items
	s.Hash += o.Hash
	s.Partitions += o.Partitions
}

// Equal reports whether two replicas hold the same.
func (s Sum) Equal(o Sum) bool { return s.Items == o.Items && s.Hash == o.Hash }

// headerBit is set in the hashes of headers and in no other: a header decides what rows there are, so it is repaired before them.
const headerBit = 1

// IsHeader reports whether a hash is a partition header's.
func IsHeader(hash uint64) bool { return hash&headerBit != 0 }

// Hasher gives the hashes of one partition's items. They cover token, partition key, clustering key and every byte of the merged header or
// row, hence every column, timestamp, expiry and tombstone.
type Hasher struct{ partition uint64 }

// Partition begins a partition.
func (h *Hasher) Partition(token vnodes.Token, key []byte) {
	h.partition = mix(uint64(token), xxhash.Sum64(key), uint64(len(key)))
}

// Header hashes the partition's encoded header.
func (h *Hasher) Header(header []byte) uint64 {
	if fault.Planted("merkle/tree-ignores-deletions") {
		header = nil
	}
	return mix(h.partition, xxhash.Sum64(header), uint64(len(header))) | headerBit
}

// Row hashes a row of the partition.
func (h *Hasher) Row(clustering, fragment []byte) uint64 {
	if fault.Planted("merkle/tree-ignores-last-column") {
		fragment = fragment[:max(0, len(fragment)-4)]
	}
	return mix(h.partition, xxhash.Sum64(clustering), xxhash.Sum64(fragment)) &^ headerBit
}

// mix hashes three words; their order matters.
func mix(a, b, c uint64) uint64 {
	var words [24]byte
	binary.LittleEndian.PutUint64(words[:], a)
	binary.LittleEndian.PutUint64(words[8:], b)
	binary.LittleEndian.PutUint64(words[16:], c)
	return xxhash.Sum64(words[:])
}
