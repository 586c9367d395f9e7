package storage

import (
	"bytes"
	"sync"

	"github.com/google/btree"

	"nodedb/node/row"
)

const (
	btreeDegree = 32
	// itemOverhead is what an item takes in memory beside its bytes, about.
	itemOverhead = 64
)

// memItem is one row or header. Its bytes are never changed: a write puts a new item in its place, so that readers keep
// what they hold.
type memItem struct{ key, value []byte }

func lessItem(a, b memItem) bool { return bytes.Compare(a.key, b.key) < 0 }

// memTable keeps a table's rows and headers under the same keys as the disk does. Readers of one partition hold mu
// shared for a page; readers of a token range take a copy-on-write clone and hold nothing.
type memTable struct {
	mu   sync.RWMutex
	tree *btree.BTreeG[memItem]
}

func newMemTable() *memTable { return &memTable{tree: btree.NewG(btreeDegree, lessItem)} }

// applyMemory writes the mutations of memory tables, those of one table atomically.
func (s *tableSet) applyMemory(ms []row.Mutation) {
	for i := range ms {
		if t := s.kinds[ms[i].Storage]; t != nil && t.memory != nil && !seenBefore(ms, i) {
			t.memory.apply(ms, t.id)
		}
	}
}

// seenBefore reports whether an earlier mutation was for the same table.
func seenBefore(ms []row.Mutation, i int) bool {
	for j := range i {
		if ms[j].Storage == ms[i].Storage {
			return true
		}
	}
	return false
}

// apply writes the mutations for table id.
func (t *memTable) apply(ms []row.Mutation, id row.StorageID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range ms {
		m := &ms[i]
		if m.Storage != id {
			continue
		}
		prefix := appendPrefix(nil, m.Storage, m.Token, m.Key)
		if len(m.Header) > 0 {
			t.merge(append(prefix, markerHeader), true, m.Header)
		}
		for r := range m.Rows {
			if len(m.Rows[r].Fragment) > 0 {
				key := append(append(prefix[:len(prefix):len(prefix)], markerRow), m.Rows[r].Clustering...)
				t.merge(key, false, m.Rows[r].Fragment)
			}
		}
	}
}

// merge is called with mu held. Fragments are valid (admitted by their decoder), and so is what is stored, so merging
// them can't fail.
func (t *memTable) merge(key []byte, header bool, fragment []byte) {
	var value []byte
	var err error
	if old, ok := t.tree.Get(memItem{key: key}); ok {
		value, err = mergeFragments(nil, header, [][]byte{old.value, fragment})
	} else {
		value, err = mergeFragments(nil, header, [][]byte{fragment})
	}
	if err != nil {
		panic("storage: a memory table was given bytes that are no row: " + err.Error())
	}
	t.tree.ReplaceOrInsert(memItem{key: key, value: value})
}

func (t *memTable) deleteRange(lower, upper []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var doomed []memItem
	t.tree.AscendRange(memItem{key: lower}, memItem{key: upper}, func(i memItem) bool {
		doomed = append(doomed, i)
		return true
	})
	for _, i := range doomed {
		t.tree.Delete(i)
	}
}

func (t *memTable) size(lower, upper []byte) (total uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.tree.AscendRange(memItem{key: lower}, memItem{key: upper}, func(i memItem) bool {
		total += uint64(len(i.key) + len(i.value) + itemOverhead)
		return true
	})
	return total
}

// memChunk is how many items a memCursor takes from the tree at once.
const memChunk = 64

// memCursor walks over a memTable. It holds mu shared where single is set, a clone otherwise.
type memCursor struct {
	table        *memTable
	tree         *btree.BTreeG[memItem]
	lower, upper []byte
	items        [memChunk]memItem
	n, at        int
	reverse      bool // items descend
	single       bool
}

func newMemCursor(t *memTable, lower, upper []byte, single bool) *memCursor {
	c := &memCursor{table: t, lower: lower, upper: upper, single: single}
	if single {
		t.mu.RLock()
		c.tree = t.tree
		return c
	}
	t.mu.Lock()
	c.tree = t.tree.Clone()
	t.mu.Unlock()
	return c
}

func (c *memCursor) seekPrefixGE(key []byte) bool { return c.seekGE(key) }

func (c *memCursor) seekGE(key []byte) bool {
	if bytes.Compare(key, c.lower) < 0 {
		key = c.lower
	}
	c.n, c.at, c.reverse = 0, 0, false
	c.tree.AscendRange(memItem{key: key}, memItem{key: c.upper}, c.take)
	return c.n > 0
}

func (c *memCursor) seekLT(key []byte) bool {
	if bytes.Compare(key, c.upper) > 0 {
		key = c.upper
	}
	c.n, c.at, c.reverse = 0, 0, true
	c.tree.DescendLessOrEqual(memItem{key: key}, func(i memItem) bool {
		if bytes.Equal(i.key, key) {
			return true
		}
		return bytes.Compare(i.key, c.lower) >= 0 && c.take(i)
	})
	return c.n > 0
}

// take fills the chunk.
func (c *memCursor) take(i memItem) bool {
	c.items[c.n] = i
	c.n++
	return c.n < memChunk
}

func (c *memCursor) next() bool {
	switch {
	case c.reverse:
		return c.seekGE(append(bytes.Clone(c.key()), 0))
	case c.at+1 < c.n:
		c.at++
		return true
	case c.n < memChunk:
		c.n = 0
		return false
	}
	return c.seekGE(append(bytes.Clone(c.key()), 0))
}

func (c *memCursor) prev() bool {
	switch {
	case !c.reverse:
		return c.seekLT(c.key())
	case c.at+1 < c.n:
		c.at++
		return true
	case c.n < memChunk:
		c.n = 0
		return false
	}
	return c.seekLT(c.key())
}

func (c *memCursor) nextPrefix() bool {
	k := c.key()
	return c.seekGE(appendPrefixEnd(nil, k[:splitKey(k)]))
}

func (c *memCursor) key() []byte            { return c.items[c.at].key }
func (c *memCursor) value() ([]byte, error) { return c.items[c.at].value, nil }
func (c *memCursor) close() error {
	if c.single {
		c.table.mu.RUnlock()
	}
	return nil
}
