package storage

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/cespare/xxhash/v2"
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
// Invariant: an entry is what a read of its row gives, durable, as long as its partition's slot in inDoubt has the entry's word, without a write in doubt.
// Whoever puts one took the word before it read; each write of the partition changes the word for good, before it is visible. So nobody has to
// find entries when something is written: an old one is found out when it is asked for.
//
// A shard is a log: entries are appended to its segments, and when all are full the oldest is forgotten. What is still asked for when it has become old is
// appended again, so that the log keeps, roughly, what was asked for last. There is no pointer in it, so the collector doesn't look into it.
//
//	entry  | hash u64 | word u64 | token u64 | storage u32 | key u32 | clustering u32 | page u32 | key | clustering | page |    (little-endian)
type rowCache struct {
	segments int // a shard's, at most
	shards   [rowShards]rowShard
}

const rowHead = 3*8 + 4*4

type rowShard struct {
	mu           sync.Mutex
	places       map[uint64]uint32 // by hash: | segment | offset, 16 bits |
	segments     [][]byte
	at           int // the segment that is being filled
	hits, misses uint64
	_            [64]byte // to 128 bytes: no neighbour's lock in the same cache line
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

// rowLook is a look for one row: where it would be, and the word of its partition then.
type rowLook struct {
	spec *ReadSpec
	hash uint64
	word uint64
}

// oneRow reports whether a read gives one row whole, or nothing: the same bytes whatever its limits and its time are.
func (s *ReadSpec) oneRow() bool {
	return s.Key != nil && len(s.Slices) == 1 && s.Slices[0].point() && !s.NoRows && !s.Count && !s.Reverse && s.After == nil && s.Until == nil &&
		(s.RowLimit != 1 || len(s.Slices[0].Start) == 0) && s.WorkLimit != 1 && s.WorkLimit != 2 && (s.ByteLimit <= 0 || s.ByteLimit > maxCachedRow)
}

// look begins a look; false: the cache has nothing to do with such a read, or with one at this moment.
func (e *Engine) look(spec *ReadSpec) (l rowLook, ok bool) {
	if e.rows == nil || !spec.oneRow() {
		return l, false
	}
	if t := e.tables.Load().kinds[spec.Storage]; t == nil || t.memory != nil {
		return l, false // memory tables are their own cache, and their writes change no word
	}
	h := partitionHash(spec.Storage, spec.Token)
	l = rowLook{spec: spec, hash: h, word: e.doubt.slots[h>>(64-doubtSlotBits)].Load()}
	if start := spec.Slices[0].Start; len(start) > 0 {
		l.hash ^= xxhash.Sum64(start)
	}
	return l, l.word&doubtMask == 0
}

// ReadCached gives what Read would, appended to buf[:0], where that takes no disk and no waiting. False: it has to be asked for by Read.
func (e *Engine) ReadCached(spec *ReadSpec, buf []byte) (page []byte, ok bool) {
	l, ok := e.look(spec)
	if !ok {
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

// keep puts what a look missed, unless its partition was written meanwhile.
func (e *Engine) keep(l *rowLook, page []byte) {
	size := rowHead + len(l.spec.Key) + len(l.spec.Slices[0].Start) + len(page)
	slot := &e.doubt.slots[doubtSlot(l.spec.Storage, l.spec.Token)]
	if size > maxCachedRow || slot.Load() != l.word {
		return
	}
	s := e.rows.shard(l.hash)
	s.mu.Lock()
	s.put(l, page, size, e.rows.segments)
	s.mu.Unlock()
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
	segment := int(place >> segmentShift)
	page, size := l.match(s.segments[segment][place%segmentBytes:])
	if size == 0 || wordOf(s.segments[segment][place%segmentBytes:]) != l.word {
		s.misses++
		return nil, false
	}
	s.hits++
	buf = append(buf[:0], page...)
	if age := s.at - segment; c.segments >= 4 && (age+c.segments)%c.segments > c.segments/4*3 {
		s.put(l, buf, size, c.segments)
	}
	return buf, true
}

func wordOf(entry []byte) uint64 { return binary.LittleEndian.Uint64(entry[8:]) }

// match gives the page of an entry of the row that is looked for, and the entry's size; 0: it is another's, whose hash is the same.
func (l *rowLook) match(e []byte) (page []byte, size int) {
	spec, clustering := l.spec, l.spec.Slices[0].Start
	keyBytes, clusteringBytes := int(binary.LittleEndian.Uint32(e[28:])), int(binary.LittleEndian.Uint32(e[32:]))
	if binary.LittleEndian.Uint64(e[16:]) != uint64(spec.Token) || binary.LittleEndian.Uint32(e[24:]) != uint32(spec.Storage) ||
		keyBytes != len(spec.Key) || clusteringBytes != len(clustering) {
		return nil, 0
	}
	at := rowHead + keyBytes + clusteringBytes
	if !bytes.Equal(e[rowHead:rowHead+keyBytes], spec.Key) || !bytes.Equal(e[rowHead+keyBytes:at], clustering) {
		return nil, 0
	}
	size = at + int(binary.LittleEndian.Uint32(e[36:]))
	return e[at:size], size
}

// put writes an entry: over the old one of the row where it has the same size, else behind the newest. REQUIRES: mu is held; page lies outside the cache.
func (s *rowShard) put(l *rowLook, page []byte, size, segments int) {
	if place, ok := s.places[l.hash]; ok && (s.at-int(place>>segmentShift)+segments)%segments <= segments/2 {
		old := s.segments[place>>segmentShift][place%segmentBytes:]
		if was, n := l.match(old); n == size {
			binary.LittleEndian.PutUint64(old[8:], l.word)
			copy(was, page)
			return
		}
	}
	if len(s.segments) == 0 || len(s.segments[s.at])+size > segmentBytes {
		s.advance(segments)
	}
	b := s.segments[s.at]
	s.places[l.hash] = uint32(s.at)<<segmentShift | uint32(len(b))
	b = binary.LittleEndian.AppendUint64(b, l.hash)
	b = binary.LittleEndian.AppendUint64(b, l.word)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.spec.Token))
	b = binary.LittleEndian.AppendUint32(b, uint32(l.spec.Storage))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.spec.Key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.spec.Slices[0].Start)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(page)))
	b = append(append(append(b, l.spec.Key...), l.spec.Slices[0].Start...), page...)
	s.segments[s.at] = b
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
		e := b[at:]
		hash := binary.LittleEndian.Uint64(e)
		if place, ok := s.places[hash]; ok && place == uint32(s.at)<<segmentShift|uint32(at) {
			delete(s.places, hash)
		}
		at += rowHead + int(binary.LittleEndian.Uint32(e[28:])) + int(binary.LittleEndian.Uint32(e[32:])) + int(binary.LittleEndian.Uint32(e[36:]))
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
