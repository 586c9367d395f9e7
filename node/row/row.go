// Package row owns last-write-wins cells, tombstones, TTL and their merge, and the bytes of rows, partition headers,
// mutations and pages. It knows no schema and no clock. It may import vnodes. Start reading at Merge
// (merge.go); the bytes of a row are in layout.go.
package row

import (
	"errors"
	"fmt"
	"math"

	"nodedb/node/fault"
)

// StorageID names a table's storage; TRUNCATE gives a table a new one. 0 is the system's own key space.
type StorageID uint32

// ColumnID names a column of a table for ever; ids are never reused.
type ColumnID uint16

// Marker is the column of a row's liveness: INSERT writes it (empty value), UPDATE does not. Real columns start at 1.
const Marker ColumnID = 0

// NoDeletion is the timestamp of a deletion that never happened.
const NoDeletion int64 = math.MinInt64

// NoExpiry is the expiry of a cell that never expires.
const NoExpiry int64 = 0

// Sentinel errors; decoders wrap them with what they read and what they expected.
var (
	// ErrCorrupt says that bytes are not what their codec wrote.
	ErrCorrupt = errors.New("row: corrupt bytes")
	// ErrVersion says that bytes were written by a newer nodedb. It is an ErrCorrupt too: both stop a node.
	ErrVersion = fmt.Errorf("%w: unknown version", ErrCorrupt)
	// ErrTooLarge says that a mutation exceeds MaxMutationBytes, or a key MaxKeyBytes or MaxClusteringBytes.
	ErrTooLarge = errors.New("row: mutation is too large")
)

// Limits of what decoders accept and writers should refuse before they encode.
const (
	// MaxMutationBytes bounds an encoded mutation, key and version included.
	MaxMutationBytes = 16 << 20
	// MaxKeyBytes bounds a serialized partition key.
	MaxKeyBytes = 65535
	// MaxClusteringBytes bounds an encoded clustering key: CQL allows 65,535 bytes of values, and their order-preserving encoding may take more than twice
	// as many.
	MaxClusteringBytes = 4 * MaxKeyBytes
)

// Kind of a cell. Only append to this list: it is stored.
type Kind uint8

const (
	// Live holds a value, for ever (Expiry 0) or until Expiry.
	Live Kind = iota
	// Tombstone says the cell was deleted.
	Tombstone
	// ComplexTombstone deletes all elements of a collection column at or below its timestamp. Path is empty.
	ComplexTombstone
	// Counter holds shards: host id and incarnation to (clock, sum). See Shard. To delete a counter column write a
	// ComplexTombstone: it removes the shards at or below it, and the counter goes on from zero.
	Counter
)

// Cell is one timestamped value. Elements of a collection are cells of one column with different paths.
type Cell struct {
	Column    ColumnID
	Kind      Kind
	Timestamp int64  // microseconds since 1970, above NoDeletion. Of a Counter: its newest shard's clock
	Expiry    int64  // unix seconds; NoExpiry = never. Only for Live
	TTL       int32  // seconds the writer asked for; 0 without Expiry. Informative: does not take part in merge order beyond breaking ties
	Path      []byte // the collection element's key; nil for simple columns
	Value     []byte // the CQL-encoded value
}

// LiveAt reports whether the cell holds a value at now (unix seconds).
func (c *Cell) LiveAt(now int64) bool {
	if fault.Planted("row/expired-a-second-late") {
		now--
	}
	return (c.Kind == Live && (c.Expiry == NoExpiry || now < c.Expiry)) || c.Kind == Counter
}
