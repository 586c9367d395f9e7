package query

import (
	"slices"
	"sync"
	"sync/atomic"

	"nodedb/query/plan"
)

// statement is a prepared statement: its text, and the newest plan of it.
type statement struct {
	text, keyspace string
	plan           atomic.Pointer[plan.Plan]
	used           atomic.Int64 // the cache's tick when it was last asked for
	bytes          int64        // what it is taken to cost in memory
}

// A prepared statement is taken to cost this much memory, in bytes: its entry, plan and metadata; and a literal of two characters (`1,` in a list) is a node of
// the syntax tree and a value of the plan.
const (
	statementBytes   = 4 << 10
	statementPerByte = 64
)

// costOf is what keeping a statement of so many bytes is taken to cost.
func costOf(text int) int64 { return statementBytes + statementPerByte*int64(text) }

func newStatement(text, keyspace string, p *plan.Plan) *statement {
	s := &statement{text: text, keyspace: keyspace, bytes: costOf(len(text))}
	s.plan.Store(p)
	return s
}

// cache keeps prepared statements, at most max of them that cost at most maxBytes together. Looking one up takes a read
// lock and two atomic operations; what is least recently used is found only when the cache is full, and then a sixteenth
// of it goes at once, so that a flood of new statements costs little each.
type cache struct {
	max      int
	maxBytes int64
	tick     atomic.Int64
	mu       struct {
		sync.RWMutex
		statements map[[16]byte]*statement
		bytes      int64 // cost of all
	}
}

func newCache(max int, maxBytes int64) *cache {
	c := &cache{max: max, maxBytes: maxBytes}
	c.mu.statements = make(map[[16]byte]*statement)
	return c
}

func (c *cache) get(id [16]byte) (*statement, bool) {
	c.mu.RLock()
	s, ok := c.mu.statements[id]
	c.mu.RUnlock()
	if ok {
		s.used.Store(c.tick.Add(1))
	}
	return s, ok
}

// put keeps a statement. REQUIRES: it costs at most maxBytes.
func (c *cache) put(id [16]byte, s *statement) {
	s.used.Store(c.tick.Add(1))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
	for len(c.mu.statements) >= c.max || c.mu.bytes+s.bytes > c.maxBytes {
		c.evict()
	}
	c.mu.statements[id] = s
	c.mu.bytes += s.bytes
}

// drop forgets a statement, if it is there. REQUIRES: mu is held.
func (c *cache) drop(id [16]byte) {
	if s, ok := c.mu.statements[id]; ok {
		c.mu.bytes -= s.bytes
		delete(c.mu.statements, id)
	}
}

// evict drops the least recently used sixteenth, at least one. REQUIRES: mu is held, and there is one.
func (c *cache) evict() {
	type entry struct {
		id   [16]byte
		used int64
	}
	list := make([]entry, 0, len(c.mu.statements))
	for id, s := range c.mu.statements {
		list = append(list, entry{id, s.used.Load()})
	}
	slices.SortFunc(list, func(a, b entry) int { return int(a.used - b.used) })
	for _, e := range list[:max(1, len(list)/16)] {
		c.drop(e.id)
	}
}

func (c *cache) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.mu.statements)
}
