package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// flushDelayDeleteRange is how soon the space of a dropped table or range is given back.
const flushDelayDeleteRange = 10 * time.Second

// TableKind says how a storage id is kept.
type TableKind uint8

const (
	// OnDisk is the default.
	OnDisk TableKind = iota
	// InMemory keeps rows in a btree: empty after a restart.
	InMemory
)

// table is one storage id.
type table struct {
	id     row.StorageID
	memory *memTable // nil: on disk

	// headers says that some partition may have a header, so that reads look for it; without, a read deep inside a
	// partition is one seek. It is set before the first header is visible and read after an iterator is made.
	headers atomic.Bool
	// headersLogged says that the log has the entry that brings headers back after a restart.
	headersLogged atomic.Bool
}

// tableSet is all tables at one time. Immutable.
type tableSet struct {
	kinds   map[row.StorageID]*table
	highest row.StorageID
}

// find gives a table, or ErrDropped.
func (s *tableSet) find(id row.StorageID) (*table, error) {
	if t := s.kinds[id]; t != nil {
		return t, nil
	}
	if id > s.highest {
		return nil, fmt.Errorf("%w: storage id %d is not known here yet (highest %d)", ErrDropped, id, s.highest)
	}
	return nil, fmt.Errorf("%w: storage id %d", ErrDropped, id)
}

// admit checks that all mutations are for tables that exist.
func (s *tableSet) admit(ms []row.Mutation) error {
	for i := range ms {
		if _, err := s.find(ms[i].Storage); err != nil {
			return err
		}
	}
	return nil
}

// SetTables tells the engine all storage ids that exist now, and their kinds. Writes to others fail with ErrDropped;
// data of storage ids that are absent and at or below highest is deleted in the background; ids above highest are not
// known yet (ErrDropped as well).
func (e *Engine) SetTables(tables map[row.StorageID]TableKind, highest row.StorageID) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.tables.Load()
	next := &tableSet{kinds: make(map[row.StorageID]*table, len(tables)), highest: highest}
	for id, kind := range tables {
		if id == 0 || id > min(highest, maxStorageID) {
			return fmt.Errorf("storage: SetTables: storage id %d, want 1 to the highest, %d", id, min(highest, maxStorageID))
		}
		t := old.kinds[id]
		if t == nil {
			t = e.newTable(id, kind)
		}
		if (t.memory != nil) != (kind == InMemory) {
			return fmt.Errorf("storage: SetTables: storage id %d changes its kind; give the table a new id", id)
		}
		next.kinds[id] = t
	}
	e.tables.Store(next)
	select {
	case e.drop <- struct{}{}:
	default: // the dropper has yet to look, and will see this set
	}
	return nil
}

// newTable is called with e.mu held.
func (e *Engine) newTable(id row.StorageID, kind TableKind) *table {
	t := &table{id: id}
	if kind == InMemory {
		t.memory = newMemTable()
	}
	t.headers.Store(t.memory != nil || e.mu.headers[id])
	t.headersLogged.Store(e.mu.headers[id])
	return t
}

// headersName is the engine's own entry that says a table has headers.
func headersName(id row.StorageID) string {
	return headersPrefix + string(binary.BigEndian.AppendUint32(nil, uint32(id)))
}

const headersPrefix = "headers/"

// loadHeaderFlags reads which tables have headers.
func (e *Engine) loadHeaderFlags() error {
	e.mu.headers = make(map[row.StorageID]bool)
	return e.scanSpace(spaceEngine, headersPrefix, func(name string, _ []byte) bool {
		if id := name[len(headersPrefix):]; len(id) == storageBytes && !fault.Planted("storage/header-flags-lost") {
			e.mu.headers[row.StorageID(binary.BigEndian.Uint32([]byte(id)))] = true
		}
		return true
	})
}

// dropTables deletes the data of dropped tables, whenever SetTables asks.
func (e *Engine) dropTables() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.drop:
		}
		if err := e.dropAbsent(); err != nil && e.failed.Load() == nil {
			e.logger.Error("storage: dropped tables keep their space until the next schema change", "err", err, "dir", e.dir)
		}
	}
}

// dropAbsent walks over the storage ids that have data: one seek each.
func (e *Engine) dropAbsent() error {
	for id := row.StorageID(1); ; id++ {
		next, found, err := e.nextStored(id)
		if err != nil || !found {
			return err
		}
		tables := e.tables.Load()
		if next > tables.highest {
			return nil
		}
		if tables.kinds[next] == nil {
			if err := e.dropStored(next); err != nil {
				return err
			}
		}
		if id = next; id >= maxStorageID {
			return nil
		}
	}
}

// nextStored gives the first storage id at or above id under which anything is stored.
func (e *Engine) nextStored(id row.StorageID) (next row.StorageID, found bool, err error) {
	lower, _ := tableSpan(id)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower})
	if err != nil {
		return 0, false, err
	}
	if it.First() && len(it.Key()) >= storageBytes {
		next, found = row.StorageID(binary.BigEndian.Uint32(it.Key())), true
	}
	return next, found, errors.Join(it.Error(), it.Close())
}

func (e *Engine) dropStored(id row.StorageID) error {
	lower, upper := tableSpan(id)
	b := e.db.NewBatch()
	_ = b.DeleteRange(lower, upper, nil) // batches that are not indexed take anything
	_ = b.Delete(appendSystemKey(nil, spaceEngine, headersName(id)), nil)
	if err := e.rewrite(b); err != nil {
		return fmt.Errorf("storage: drop the data of storage id %d: %w", id, err)
	}
	e.mu.Lock()
	delete(e.mu.headers, id)
	e.mu.Unlock()
	e.logger.Info("storage: data of a dropped table deleted", "storage_id", id)
	return nil
}

// rewrite commits, synced, a batch that takes content away, while no writer is between its check and its commit.
func (e *Engine) rewrite(b *pebble.Batch) error {
	e.doubt.beginAll()
	unlock := e.hot.lockAll()
	err := e.db.ApplyNoSyncWait(b, pebble.Sync)
	unlock()
	if err == nil {
		err = b.SyncWait()
	}
	if f := e.failed.Load(); f != nil {
		return *f
	}
	e.doubt.endAll()
	return errors.Join(err, b.Close())
}

// DeleteRange drops a token range of a table for good (a former owner's clean-up). Not a tombstone: it is not
// replicated. It returns when that is synced.
func (e *Engine) DeleteRange(id row.StorageID, r vnodes.Range) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	t, err := e.tables.Load().find(id)
	if err != nil {
		return fmt.Errorf("storage: delete a range: %w", err)
	}
	if t.memory != nil {
		for _, part := range unwrap(r) {
			lower, upper := appendRangeBounds(nil, nil, id, part)
			t.memory.deleteRange(lower, upper)
		}
		return nil
	}
	b := e.db.NewBatch()
	for _, part := range unwrap(r) {
		lower, upper := appendRangeBounds(nil, nil, id, part)
		_ = b.DeleteRange(lower, upper, nil)
	}
	if err := e.rewrite(b); err != nil {
		return fmt.Errorf("storage: delete a range of storage id %d: %w", id, err)
	}
	return nil
}

// Size estimates the bytes on disk (or in memory) of a table's token range. What has not been flushed yet is not
// counted.
func (e *Engine) Size(id row.StorageID, r vnodes.Range) (uint64, error) {
	if err := e.enter(); err != nil {
		return 0, err
	}
	defer e.leave()
	t, err := e.tables.Load().find(id)
	if err != nil {
		return 0, fmt.Errorf("storage: size: %w", err)
	}
	total := uint64(0)
	for _, part := range unwrap(r) {
		lower, upper := appendRangeBounds(nil, nil, id, part)
		if t.memory != nil {
			total += t.memory.size(lower, upper)
			continue
		}
		n, err := e.db.EstimateDiskUsage(lower, upper)
		if err != nil {
			return 0, e.readError("estimate the size of a range", err)
		}
		total += n
	}
	return total, nil
}

// DiskBytes is what the whole store takes on disk; 0 once it is closed.
func (e *Engine) DiskBytes() uint64 {
	if e.enter() != nil {
		return 0
	}
	defer e.leave()
	return e.db.Metrics().DiskSpaceUsage()
}
