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
}

func newStatement(text, keyspace string, p *plan.Plan) *statement {
	s := &statement{text: text, keyspace: keyspace}
	s.plan.Store(p)
	return s
}

// cache keeps prepared statements, at most max of them. Looking one up takes a read lock and two atomic operations;
// what is least recently used is found only when the cache is full, and then a sixteenth of it goes at once, so that a
// flood of new statements costs little each.
type cache struct {
	max  int
	tick atomic.Int64
	mu   struct {
		sync.RWMutex
		statements map[[16]byte]*statement
	}
}

func newCache(max int) *cache {
	c := &cache{max: max}
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

func (c *cache) put(id [16]byte, s *statement) {
	s.used.Store(c.tick.Add(1))
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.mu.statements[id]; !ok && len(c.mu.statements) >= c.max {
		c.evict()
	}
	c.mu.statements[id] = s
}

// evict drops the least recently used sixteenth. REQUIRES: mu is held.
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
		delete(c.mu.statements, e.id)
	}
}

func (c *cache) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.mu.statements)
}
