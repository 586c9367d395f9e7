package storage

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// The row cache follows writes: what is written to a row that has an entry is merged into the entry, so that rows that are written and read all the time stay in the
// cache. It costs a merge (1 µs for 1 KB) where the next read would search the memtables and merge all it finds there.
//
// Invariant: an entry of its slot's era is the merge of what was durable when it was put and of writes to its row that were durable since, among them each that was
// acknowledged or that some read has shown.
//   - What is put was read while nothing of its slot was in doubt, and is refused if a write of the slot has begun since (keep). So each write either was read or comes
//     later, and finds the entry.
//   - A write is followed when it is durable, before it leaves doubt and before it is acknowledged. A read that saw it in a memtable meanwhile waits for that
//     (inDoubt.await). So while a write is in doubt the cache gives the row without it, and nobody has seen it with it. (In SyncPeriodic reads don't wait, so a slot with a
//     write that is not followed yet is not given.)
//   - All rows of a write show it at once: an entry has the ticket of the write that changed it, and is given only when that write is followed whole.
//   - What merging one row can't express ends the slot's entries before it is visible: a header (the partition's deletion, range tombstones, statics), and what
//     rewrites ranges. An entry of a partition that has a header is forgotten when its row is written.
const (
	// maxUnread is how many writes an entry follows without being asked for. Then it is forgotten, so that what is written and not read costs nothing.
	maxUnread = 16
	// followSpare is the room, in bytes, that an entry gets when it has grown: for the timestamps of its other cells.
	followSpare = 64
)

// rowRef is a row that a write's batch has an operand of.
type rowRef struct {
	hash uint64
	op   uint32 // which of the batch's operations it is
}

// rowHash is a row's hash in the row cache.
func rowHash(partition uint64, clustering []byte) uint64 {
	if len(clustering) == 0 {
		return partition
	}
	return partition ^ xxhash.Sum64(clustering)
}

// follower is the scratch of a write that is being followed.
type follower struct {
	ops   batchrepr.Reader
	next  uint32 // the operation that ops gives next
	value []byte // the operand of the row that is followed

	storage    row.StorageID
	token      vnodes.Token
	key        []byte
	clustering []byte

	reader       row.PageReader
	merged, page []byte
}

// begin starts at the batch's first operation.
func (f *follower) begin(b *pebble.Batch) { f.ops, f.next = b.Reader(), 0 }

// seek goes on to an operation, which is a row's. False: there is no such.
func (f *follower) seek(op uint32) bool {
	for {
		_, key, value, ok, err := f.ops.Next()
		if !ok || err != nil {
			return false
		}
		f.next++
		if f.next <= op {
			continue
		}
		n := 0
		f.token, f.key, n = parseKey(f.key[:0], key)
		if n == 0 || n == len(key) || key[n] != markerRow {
			return false
		}
		f.storage, f.clustering, f.value = row.StorageID(binary.BigEndian.Uint32(key)), key[n+1:], value
		return true
	}
}

// followDurable follows a write whose sync is done. Only the sync waiter calls it: tickets are given by one.
func (c *rowCache) followDurable(w *write) {
	if c == nil {
		return
	}
	ticket := c.followed.Load() + 1
	if c.follow(w, ticket) {
		c.followed.Store(ticket)
	}
}

// follow merges a write's rows into their entries, and reports whether there were any. The slots of the write are in doubt.
func (c *rowCache) follow(w *write, ticket uint64) (some bool) {
	if c == nil || w.batch == nil {
		return false
	}
	f := &w.follow
	f.begin(w.batch)
	for i := range w.rows {
		r := &w.rows[i]
		s := c.shard(r.hash)
		s.mu.Lock()
		if place, ok := s.places[r.hash]; ok {
			some = true
			if e := s.entry(place); !s.follow(f, r, e, ticket, c.segments) {
				delete(s.places, r.hash)
			}
		}
		s.mu.Unlock()
	}
	f.ops, f.value, f.clustering = nil, nil, nil // of the batch
	return some
}

// follow merges an operand into an entry. False: it is to be forgotten. REQUIRES: mu is held.
func (s *rowShard) follow(f *follower, r *rowRef, e rowEntry, ticket uint64, segments int) bool {
	if !f.seek(r.op) {
		return false
	}
	if !e.is(f.storage, f.token, f.key, f.clustering) {
		return true // another row's, with the same hash
	}
	if e.unread() >= maxUnread || !f.merge(e.page()) {
		return false
	}
	size := rowHead + len(f.key) + len(f.clustering) + len(f.page)
	if size > maxCachedRow {
		return false
	}
	s.follows++
	unread, era := e.unread()+1, e.era()
	if !e.replace(era, ticket, f.page) {
		e = s.add(&rowParts{r.hash, era, ticket, f.token, f.storage, f.key, f.clustering, f.page, followSpare}, segments)
	}
	e.setUnread(unread)
	return true
}

// merge makes the page of a row with the operand: what a read gives of a partition without a header. False: it is no such page.
func (f *follower) merge(page []byte) bool {
	f.reader.Reset(page)
	event, err := f.reader.Next()
	var was []byte
	if err == nil && event == row.PagePartition && f.reader.HeaderBytes == nil {
		if event, err = f.reader.Next(); err == nil && event == row.PageRow {
			was = f.reader.Row
			event, err = f.reader.Next()
		}
	}
	if err != nil || event != row.PageEnd || f.reader.Stop() != nil {
		return false
	}
	if f.merged, err = row.Merge(f.merged[:0], was, f.value); err != nil {
		return false
	}
	var w row.PageWriter
	w.Reset(f.page)
	w.Partition(f.token, f.key, nil)
	w.Row(f.clustering, f.merged)
	f.page = w.Finish(nil)
	return true
}
