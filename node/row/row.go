// Package row owns last-write-wins cells, tombstones, TTL and their merge, and the bytes of rows, partition headers,
// mutations and pages. It knows no schema and no clock. It may import vnodes. Start reading at Merge.
package row

import (
	"errors"
	"math"

	"nodedb/vnodes"
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

// ErrCorrupt says that bytes are not what their codec wrote.
var ErrCorrupt = errors.New("row: corrupt bytes")

// Kind of a cell. Only append to this list: it is stored.
type Kind uint8

const (
	// Live holds a value, for ever (Expiry 0) or until Expiry.
	Live Kind = iota
	// Tombstone says the cell was deleted.
	Tombstone
	// ComplexTombstone deletes all elements of a collection column at or below its timestamp. Path is empty.
	ComplexTombstone
	// Counter holds shards: host id and incarnation to (clock, sum).
	Counter
)

// Cell is one timestamped value. Elements of a collection are cells of one column with different paths.
type Cell struct {
	Column    ColumnID
	Kind      Kind
	Timestamp int64  // microseconds since 1970
	Expiry    int64  // unix seconds; NoExpiry = never. Only for Live
	TTL       int32  // seconds the writer asked for; 0 without Expiry. Informative: does not take part in merge order beyond breaking ties
	Path      []byte // the collection element's key; nil for simple columns
	Value     []byte // the CQL-encoded value
}

// LiveAt reports whether the cell holds a value at now (unix seconds).
func (c *Cell) LiveAt(now int64) bool {
	return (c.Kind == Live && (c.Expiry == NoExpiry || now < c.Expiry)) || c.Kind == Counter
}

// View is the bytes of a row fragment, read in place. The zero View is an empty row. Views alias their bytes: copy to keep.
type View []byte

// Check validates all of the bytes (lengths, order, kinds): decoders at a trust boundary call it once, other methods don't check.
func (v View) Check() error { panic("contract") }

// Deletion is the row tombstone's timestamp, or NoDeletion.
func (v View) Deletion() int64 { panic("contract") }

// Len is the number of cells, tombstones included.
func (v View) Len() int { panic("contract") }

// At decodes cell i in (Column, ComplexTombstone first, Path) order. It allocates nothing.
func (v View) At(i int) Cell { panic("contract") }

// Find gives the simple cell of a column. It allocates nothing. O(log cells).
func (v View) Find(col ColumnID) (Cell, bool) { panic("contract") }

// Span gives the half-open range of cell indexes of a column (collections).
func (v View) Span(col ColumnID) (from, to int) { panic("contract") }

// LiveAt reports whether the row exists at now: a live marker or any live cell.
func (v View) LiveAt(now int64) bool { panic("contract") }

// MaxTimestamp is the newest timestamp in the row, deletion included; NoDeletion when empty.
func (v View) MaxTimestamp() int64 { panic("contract") }

// Builder collects the cells of one row fragment. Reset and reuse it.
type Builder struct{}

// Reset empties the builder.
func (b *Builder) Reset() { panic("contract") }

// Delete sets the row tombstone (the newest given wins).
func (b *Builder) Delete(timestamp int64) { panic("contract") }

// Add takes one cell; order does not matter; two cells of one place are merged.
func (b *Builder) Add(c Cell) { panic("contract") }

// Append writes the canonical fragment: the same content always gives the same bytes.
func (b *Builder) Append(dst []byte) []byte { panic("contract") }

// Merge appends the merge of row fragments to dst. It is total, commutative, associative and idempotent, and its result is
// canonical. Higher timestamp wins; then tombstone over expiring over live; then the later expiry; then the larger value. A row
// tombstone removes cells at or below its timestamp; a complex tombstone removes elements likewise.
func Merge(dst []byte, fragments ...[]byte) ([]byte, error) { panic("contract") }

// Shadow appends v without the cells (and row tombstone) that a deletion at timestamp covers.
func Shadow(dst []byte, v View, timestamp int64) []byte { panic("contract") }

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

// Covering is the newest deletion in the header that covers a row, or NoDeletion.
func (h *Header) Covering(clustering []byte) int64 { panic("contract") }

// IsEmpty reports whether the header holds nothing.
func (h *Header) IsEmpty() bool { panic("contract") }

// Append writes the canonical header (it normalises Ranges and shadows Static first).
func (h *Header) Append(dst []byte) []byte { panic("contract") }

// DecodeHeader reads a header in place (it aliases b). Empty b is EmptyHeader.
func DecodeHeader(b []byte) (Header, error) { panic("contract") }

// MergeHeaders appends the merge of header fragments; the same laws as Merge.
func MergeHeaders(dst []byte, fragments ...[]byte) ([]byte, error) { panic("contract") }

// Entry is one row of a mutation: its encoded clustering key and a fragment.
type Entry struct {
	Clustering []byte
	Fragment   []byte
}

// Mutation is a write to one partition: opaque bytes to transport, hints and streams.
type Mutation struct {
	Storage StorageID
	Token   vnodes.Token
	Key     []byte // serialized partition key, as CQL routing keys are
	Header  []byte // encoded header fragment, or nil
	Rows    []Entry
}

// Append writes the mutation's bytes (versioned).
func (m *Mutation) Append(dst []byte) []byte { panic("contract") }

// DecodeMutation reads one mutation in place and gives what follows it. It checks fragments too: its input is not trusted.
func DecodeMutation(b []byte) (m Mutation, rest []byte, err error) { panic("contract") }
