// Package storage keeps one node's rows: the only importer of Pebble's engine, and of btree for memory tables. It may import
// vnodes, node/row, node/disk, node/metrics, node/fault. Start reading at Engine.
package storage

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// Sentinel errors; operations wrap them with what they did.
var (
	ErrClosed   = errors.New("storage: closed")
	ErrCorrupt  = errors.New("storage: corrupt data")
	ErrDiskFull = errors.New("storage: disk full, writes are refused until space is free")
	ErrLocked   = errors.New("storage: data directory is in use by another process")
	ErrTooNew   = errors.New("storage: data directory was written by a newer nodedb")
	ErrDropped  = errors.New("storage: table was dropped or truncated")
	ErrTooLarge = errors.New("storage: mutation is larger than the limit")
	ErrFailStop = errors.New("storage: stopped after a failed write or sync")
)

// SyncMode says when a write is acknowledged.
type SyncMode uint8

const (
	// SyncBatch acknowledges after fsync (group commit). The default.
	SyncBatch SyncMode = iota
	// SyncPeriodic acknowledges at once and syncs every SyncPeriod.
	SyncPeriodic
)

// Options of Open.
type Options struct {
	FS         disk.FS
	Dir        string
	Sync       SyncMode
	SyncPeriod time.Duration // default 10 s, as Cassandra's commitlog_sync_period
	CacheBytes int64         // block cache; 0: sized from the machine's memory, at most an eighth of it
	Logger     *slog.Logger
	// Fatal is called once, from any goroutine, when the engine can't go on (corruption, failed fsync): the process must stop. It names the file.
	Fatal func(error)
}

// Engine is one node's store.
type Engine struct{}

// Open opens or creates the store and locks the directory.
func Open(o Options) (*Engine, error) { panic("contract") }

// Close syncs and closes. Outstanding Apply calls complete first.
func (e *Engine) Close() error { panic("contract") }

// TableKind says how a storage id is kept.
type TableKind uint8

const (
	// OnDisk is the default.
	OnDisk TableKind = iota
	// InMemory keeps rows in a btree: empty after a restart.
	InMemory
)

// SetTables tells the engine all storage ids that exist now, and their kinds. Writes to others fail with ErrDropped; data of
// storage ids that are absent and at or below highest is deleted in the background; ids above highest are not known yet (ErrDropped as well).
func (e *Engine) SetTables(tables map[row.StorageID]TableKind, highest row.StorageID) error {
	panic("contract")
}

// Apply writes mutations blindly as one atomic batch and calls done once, when they are visible and as durable as the mode promises. It
// may call done before it returns or from another goroutine; done must not block. It copies what it keeps.
func (e *Engine) Apply(ms []row.Mutation, done func(error)) { panic("contract") }

// Slice is a half-open interval [Start, End) of encoded clustering keys; a nil End is unbounded.
type Slice struct{ Start, End []byte }

// ReadSpec says what to read: one partition (Key set), or the partitions of a token range (Key nil), in token and key order.
type ReadSpec struct {
	Storage row.StorageID
	Token   vnodes.Token // of Key
	Key     []byte
	Range   vnodes.Range // when Key is nil: (Start, End] without wrap; Start MinToken and End MaxToken is everything
	Slices  []Slice      // ascending, disjoint; empty: all rows
	NoRows  bool         // headers only, plus the first live row where there is no live static (DISTINCT)
	Reverse bool         // rows in descending clustering order inside each partition (slices still given ascending)
	After   *row.Position

	Now           int64 // unix seconds: which cells are live, for the limits
	RowLimit      int   // stop after so many live rows; 0: no limit. A partition with a live static and no live rows counts as one
	PartitionRows int   // PER PARTITION LIMIT; 0: no limit
	ByteLimit     int   // stop at a page of so many bytes (at least one row is given); 0: 1 MiB
	WorkLimit     int   // stop after looking at so many entries, dead ones included; 0: 100,000. The page may be empty with a stop
}

// Read appends one page of what spec asks for to buf[:0] and returns it (row.PageReader reads it). Fragments are merged, shadowed by
// their header, canonical. ctx is looked at now and then.
func (e *Engine) Read(ctx context.Context, spec *ReadSpec, buf []byte) ([]byte, error) {
	panic("contract")
}

// Snapshot pins a consistent state to stream from.
type Snapshot struct{}

// NewSnapshot pins the current state (tables on disk; memory tables are read live).
func (e *Engine) NewSnapshot() *Snapshot { panic("contract") }

// Read is Engine.Read at the snapshot.
func (s *Snapshot) Read(ctx context.Context, spec *ReadSpec, buf []byte) ([]byte, error) {
	panic("contract")
}

// Close lets the snapshot go.
func (s *Snapshot) Close() error { panic("contract") }

// DeleteRange drops a token range of a table for good (a former owner's clean-up). Not a tombstone: it is not replicated.
func (e *Engine) DeleteRange(id row.StorageID, r vnodes.Range) error { panic("contract") }

// Size estimates the bytes on disk (or in memory) of a table's token range.
func (e *Engine) Size(id row.StorageID, r vnodes.Range) (uint64, error) { panic("contract") }

// DiskBytes is what the whole store takes on disk.
func (e *Engine) DiskBytes() uint64 { panic("contract") }

// Pair is an entry of the system key space.
type Pair struct {
	Key   string
	Value []byte // nil deletes
}

// GetSystem reads an entry of the system key space (metadata log, Paxos, identity); nil, nil when absent. The result is the caller's.
func (e *Engine) GetSystem(key string) ([]byte, error) { panic("contract") }

// PutSystem writes entries atomically and returns when they are synced, whatever the mode.
func (e *Engine) PutSystem(pairs ...Pair) error { panic("contract") }

// ScanSystem calls f for the entries with a prefix, in key order, until it returns false.
func (e *Engine) ScanSystem(prefix string, f func(key string, value []byte) bool) error {
	panic("contract")
}
