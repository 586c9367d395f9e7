package storage

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"nodedb/node/row"
	"nodedb/vnodes"
)

const (
	// rowShards is how many locks the row cache has.
	rowShards = 16
	// segmentBytes is what a shard grows by, and forgets at once. An entry lies in one segment.
	segmentBytes = 64 << 10
	segmentShift = 16 // log2 of segmentBytes
	// maxCachedRow bounds an entry, in bytes: larger rows are read at the speed of their bytes anyway.
	maxCachedRow = 16 << 10
)

// rowCache keeps the pages of single rows as they were read, so that the rows that are read most cost neither a search nor a merge, and can be given where
// nobody may wait for a disk (ReadCached).
//
// Invariant: an entry of its slot's era is what a read of its row gives, without what is not durable (rowfollow.go has the rules that keep it true). What is put
// was read while its slot in inDoubt had no write in doubt, and no write has begun since; so nothing is put beside a write of its row. An entry of an older era is
// found out when it is asked for: nobody has to find the entries that a header or a range deletion ends.
//
// A shard is a log: entries are appended to its segments, and when all are full the oldest is forgotten. What is still asked for when it has become old is
// appended again, so that the log keeps, roughly, what was asked for last. There is no pointer in it, so the collector doesn't look into it.
//
//	entry  | hash u64 | era u64 | ticket u64 | token u64 | storage u32 | key u16 | clustering u16 | page u16 | room u16 | unread u16 |
//	       | key | clustering | page, room bytes |    (little-endian)
type rowCache struct {
	segments int // a shard's, at most
	shards   [rowShards]rowShard

	_        [64]byte
	followed atomic.Uint64 // the ticket of the last write that was followed whole
}

const rowHead = 4*8 + 4 + 5*2

// rowEntry is an entry, and what lies behind it.
type rowEntry []byte

func (e rowEntry) hash() uint64     { return binary.LittleEndian.Uint64(e) }
func (e rowEntry) era() uint64      { return binary.LittleEndian.Uint64(e[8:]) }
func (e rowEntry) ticket() uint64   { return binary.LittleEndian.Uint64(e[16:]) }
func (e rowEntry) short(at int) int { return int(binary.LittleEndian.Uint16(e[at:])) }
func (e rowEntry) keyBytes() int    { return e.short(36) }
func (e rowEntry) start() int       { return rowHead + e.keyBytes() + e.short(38) } // of the page
func (e rowEntry) page() []byte     { return e[e.start() : e.start()+e.short(40)] }
func (e rowEntry) room() int        { return e.short(42) }
func (e rowEntry) size() int        { return e.start() + e.room() }
func (e rowEntry) unread() int      { return e.short(44) } // writes that it followed since it was asked for

func (e rowEntry) setUnread(n int) { binary.LittleEndian.PutUint16(e[44:], uint16(n)) }

// is reports whether it is the entry of a row.
func (e rowEntry) is(storage row.StorageID, token vnodes.Token, key, clustering []byte) bool {
	n, start := e.keyBytes(), e.start()
	return binary.LittleEndian.Uint64(e[24:]) == uint64(token) && binary.LittleEndian.Uint32(e[32:]) == uint32(storage) &&
		n == len(key) && start-rowHead-n == len(clustering) && bytes.Equal(e[rowHead:rowHead+n], key) && bytes.Equal(e[rowHead+n:start], clustering)
}

// replace puts another page in an entry's place; false: there is no room.
func (e rowEntry) replace(era, ticket uint64, page []byte) bool {
	if len(page) > e.room() {
		return false
	}
	binary.LittleEndian.PutUint64(e[8:], era)
	binary.LittleEndian.PutUint64(e[16:], ticket)
	binary.LittleEndian.PutUint16(e[40:], uint16(len(page)))
	e.setUnread(0)
	copy(e[e.start():], page)
	return true
}

// rowParts are what an entry is made of. They lie outside the cache.
type rowParts struct {
	hash, era, ticket     uint64
	token                 vnodes.Token
	storage               row.StorageID
	key, clustering, page []byte
	spare                 int // bytes of room beyond the page
}

type rowShard struct {
	mu           sync.Mutex
	places       map[uint64]uint32 // by hash: | segment | offset, 16 bits |
	segments     [][]byte
	at           int // the segment that is being filled
	hits, misses uint64
	follows      uint64
	_            [56]byte // to 128 bytes: no neighbour's lock in the same cache line
}

// newRowCache makes a cache of at most about so many bytes; nil for less than a segment a shard.
func newRowCache(size int64) *rowCache {
	n := size / rowShards / segmentBytes
	if n < 1 {
		return nil
	}
	c := &rowCache{segments: int(min(n, 1<<(32-segmentShift)))}
	for i := range c.shards {
		c.shards[i].places = make(map[uint64]uint32)
	}
	return c
}

// rowLook is a look for one row: where it would be, and its slot's word and era then.
type rowLook struct {
	spec *ReadSpec
	hash uint64
	slot *partitionSlot
	word uint64
	era  uint64
}

// atRest reports whether nothing of the slot was in doubt.
func (l *rowLook) atRest() bool { return l.word&doubtMask == 0 }

// oneRow reports whether a read gives one row whole, or nothing: the same bytes whatever its limits and its time are.
func (s *ReadSpec) oneRow() bool {
	return s.Key != nil && len(s.Slices) == 1 && s.Slices[0].point() && !s.NoRows && !s.Count && !s.Reverse && s.After == nil && s.Until == nil &&
		(s.RowLimit != 1 || len(s.Slices[0].Start) == 0) && s.WorkLimit != 1 && s.WorkLimit != 2 && (s.ByteLimit <= 0 || s.ByteLimit > maxCachedRow)
}

// look begins a look; false: the cache has nothing to do with such a read.
func (e *Engine) look(spec *ReadSpec) (l rowLook, ok bool) {
	if e.rows == nil || !spec.oneRow() {
		return l, false
	}
	if t := e.tables.Load().kinds[spec.Storage]; t == nil || t.memory != nil {
		return l, false // memory tables are their own cache, and their writes change no slot
	}
	h := partitionHash(spec.Storage, spec.Token)
	slot := &e.doubt.slots[slotOf(h)]
	word := slot.word.Load() // before era: see partitionSlot
	return rowLook{spec: spec, hash: rowHash(h, spec.Slices[0].Start), slot: slot, word: word, era: slot.era.Load()}, true
}

// ReadCached gives a row, appended to buf[:0], where that takes no disk and no waiting. False: it has to be asked for by Read.
//
// It gives what Read would, but for writes that are not acknowledged yet: Read waits until they are durable, ReadCached leaves them out, as long as no Read has
// shown them. So who reads in order to write must use Read.
func (e *Engine) ReadCached(spec *ReadSpec, buf []byte) (page []byte, ok bool) {
	l, ok := e.look(spec)
	if !ok || (e.mode == SyncPeriodic && !l.atRest()) {
		return nil, false
	}
	return e.cached(&l, buf)
}

// cached answers a look. False also where Read has to say what is wrong.
func (e *Engine) cached(l *rowLook, buf []byte) (page []byte, ok bool) {
	if e.failed.Load() != nil || e.closing.Load() {
		return nil, false
	}
	return e.rows.get(l, buf)
}

// keep puts what a look missed, unless its partition has been written since.
func (e *Engine) keep(l *rowLook, page []byte) {
	if rowHead+len(l.spec.Key)+len(l.spec.Slices[0].Start)+len(page) > maxCachedRow {
		return
	}
	s := e.rows.shard(l.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Looked at with the shard held: a write that begins after this finds the entry when it is followed.
	if l.slot.word.Load() == l.word {
		s.put(l, page, 0, e.rows.segments)
	}
}

func (c *rowCache) shard(hash uint64) *rowShard { return &c.shards[hash%rowShards] }

// get appends an entry's page to buf[:0].
func (c *rowCache) get(l *rowLook, buf []byte) (page []byte, ok bool) {
	s := c.shard(l.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	place, ok := s.places[l.hash]
	if !ok {
		s.misses++
		return nil, false
	}
	e := s.entry(place)
	if !e.is(l.spec.Storage, l.spec.Token, l.spec.Key, l.spec.Slices[0].Start) || e.era() != l.era || e.ticket() > c.followed.Load() {
		s.misses++
		return nil, false
	}
	s.hits++
	if e.unread() > 0 {
		e.setUnread(0)
	}
	buf = append(buf[:0], e.page()...)
	if age := s.at - int(place>>segmentShift); c.segments >= 4 && (age+c.segments)%c.segments > c.segments/4*3 {
		s.put(l, buf, e.ticket(), c.segments)
	}
	return buf, true
}

// entry is the one at a place.
func (s *rowShard) entry(place uint32) rowEntry {
	return rowEntry(s.segments[place>>segmentShift][place%segmentBytes:])
}

// put writes an entry: over the old one of the row where that has the room and is not old, else behind the newest. REQUIRES: mu is held; page lies outside the cache.
func (s *rowShard) put(l *rowLook, page []byte, ticket uint64, segments int) {
	storage, token, key, clustering := l.spec.Storage, l.spec.Token, l.spec.Key, l.spec.Slices[0].Start
	if place, ok := s.places[l.hash]; ok && (s.at-int(place>>segmentShift)+segments)%segments <= segments/2 {
		if e := s.entry(place); e.is(storage, token, key, clustering) && e.replace(l.era, ticket, page) {
			return
		}
	}
	s.add(&rowParts{l.hash, l.era, ticket, token, storage, key, clustering, page, 0}, segments)
}

// add writes an entry behind the newest. REQUIRES: mu is held.
func (s *rowShard) add(p *rowParts, segments int) rowEntry {
	size := rowHead + len(p.key) + len(p.clustering) + len(p.page) + p.spare
	if len(s.segments) == 0 || len(s.segments[s.at])+size > segmentBytes {
		s.advance(segments)
	}
	b := s.segments[s.at]
	at := len(b)
	s.places[p.hash] = uint32(s.at)<<segmentShift | uint32(at)
	b = binary.LittleEndian.AppendUint64(b, p.hash)
	b = binary.LittleEndian.AppendUint64(b, p.era)
	b = binary.LittleEndian.AppendUint64(b, p.ticket)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.token))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.storage))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.key)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.clustering)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.page)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.page)+p.spare))
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = append(append(append(b, p.key...), p.clustering...), p.page...)
	s.segments[s.at] = b[:at+size] // what the spare room holds doesn't matter
	return rowEntry(s.segments[s.at][at:])
}

// advance goes on to a new segment, or to the oldest, which is forgotten. REQUIRES: mu is held.
func (s *rowShard) advance(segments int) {
	if len(s.segments) < segments {
		s.segments = append(s.segments, make([]byte, 0, segmentBytes))
		s.at = len(s.segments) - 1
		return
	}
	s.at = (s.at + 1) % segments
	b := s.segments[s.at]
	for at := 0; at < len(b); {
		e := rowEntry(b[at:])
		if place, ok := s.places[e.hash()]; ok && place == uint32(s.at)<<segmentShift|uint32(at) {
			delete(s.places, e.hash())
		}
		at += e.size()
	}
	s.segments[s.at] = b[:0]
}

// figures adds up the shards' counters, and the bytes of their entries.
func (c *rowCache) figures() (hits, misses, size uint64) {
	if c == nil {
		return 0, 0, 0
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		hits, misses = hits+s.hits, misses+s.misses
		for _, b := range s.segments {
			size += uint64(len(b))
		}
		s.mu.Unlock()
	}
	return hits, misses, size
}
