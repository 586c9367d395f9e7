// Package clock is the hybrid logical clock that stamps writes: never behind what it gave before, even after a restart.
// It imports nothing of nodedb. Start reading at HLC.
package clock

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSkew says that a timestamp lies too far in the future.
var ErrSkew = errors.New("clock: timestamp too far in the future")

const (
	// DefaultMaxSkew is how far ahead of the wall clock other nodes may push this one.
	DefaultMaxSkew = 5 * time.Second

	// lead is how far ahead of itself the clock stores its ceiling: one small synced write every lead/2.
	lead = 4 * time.Second

	// shortLead is used while the clock runs ahead of the wall clock, as it does after a restart (it starts above the
	// old ceiling). Without it each quick restart would add a whole lead, and a crash loop would drive the clock past
	// the others' MaxSkew.
	shortLead = 100 * time.Millisecond
)

// HLC gives strictly increasing timestamps in microseconds since 1970. Safe for concurrent use.
//
// Invariants:
//  1. last only grows, and every timestamp given is a value that one caller alone moved last to.
//  2. No timestamp is given above stored, the newest ceiling that Persist has confirmed (unless Persist fails; see Err).
//
// The ceiling is stored by a goroutine of its own once half of the lead is used up, so that callers meet no fsync; they
// wait only where they run through the other half first. Rejected: storing inside Now by whoever gets there first (it
// would put an fsync on a connection's reader).
type HLC struct {
	wall    func() time.Time
	persist func(int64) error
	maxSkew time.Duration

	last    atomic.Int64 // newest timestamp given or seen, µs
	stored  atomic.Int64 // invariant 2, µs
	extend  atomic.Int64 // a new ceiling is stored once last reaches this, µs
	seconds atomic.Int64 // newest answer of Seconds

	mu struct {
		sync.Mutex
		running chan struct{} // closed when the extension under way ends; nil when there is none
		err     error         // the last Persist's
	}
}

// Options of New.
type Options struct {
	Wall    func() time.Time          // time.Now by default
	Ceiling int64                     // as stored by the last run; timestamps start above it
	Persist func(ceiling int64) error // stores, synced, a ceiling ahead of what is given; called rarely (every few seconds of time), outside locks
	MaxSkew time.Duration             // how far Update may push the clock ahead of the wall clock; default 5 s
}

// New starts a clock above the ceiling. It stores the first ceiling before it returns.
func New(o Options) (*HLC, error) {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Persist == nil {
		o.Persist = func(int64) error { return nil }
	}
	if o.MaxSkew <= 0 {
		o.MaxSkew = DefaultMaxSkew
	}
	c := &HLC{wall: o.Wall, persist: o.Persist, maxSkew: o.MaxSkew}
	c.last.Store(max(o.Ceiling, c.wall().UnixMicro()-1))
	c.store()
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("clock: cannot store the first ceiling: %w", err)
	}
	return c, nil
}

// Now gives the next timestamp, in microseconds.
func (c *HLC) Now() int64 {
	limit := int64(math.MaxInt64)
	for {
		last := c.last.Load()
		next := max(last+1, min(c.wall().UnixMicro(), limit))
		if next >= c.extend.Load() && c.raise(next) {
			// The wall clock may be past the new ceiling again (a store that took longer than the lead): lag behind it,
			// don't wait for ever.
			limit = c.stored.Load()
			continue
		}
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Update moves the clock above a timestamp another node's clock gave; beyond MaxSkew it is ErrSkew and changes nothing.
func (c *HLC) Update(seen int64) error {
	if ahead := seen - c.wall().UnixMicro(); ahead > c.maxSkew.Microseconds() {
		return fmt.Errorf("%w: %v ahead of this node's clock, at most %v are allowed; set the clocks of both nodes (NTP)",
			ErrSkew, time.Duration(ahead)*time.Microsecond, c.maxSkew)
	}
	for {
		last := c.last.Load()
		if seen <= last || c.last.CompareAndSwap(last, seen) {
			return nil
		}
	}
}

// Seconds is the wall clock in unix seconds, for TTL; it never goes back.
func (c *HLC) Seconds() int64 {
	for {
		last, now := c.seconds.Load(), c.wall().Unix()
		if now <= last {
			return last
		}
		if c.seconds.CompareAndSwap(last, now) {
			return now
		}
	}
}

// Err is why the newest ceiling could not be stored, or nil. The clock goes on without it and tries again: a node whose
// disk is full still coordinates writes to others, and a missing ceiling matters only if the wall clock is also set
// back before the restart.
func (c *HLC) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Close waits for the store of a ceiling that is under way. The clock goes on giving timestamps up to its ceiling.
func (c *HLC) Close() {
	c.mu.Lock()
	running := c.mu.running
	c.mu.Unlock()
	if running != nil {
		<-running
	}
}

// raise starts storing a higher ceiling unless that is already under way. It waits, and says so, only when next lies
// above the stored one.
func (c *HLC) raise(next int64) (waited bool) {
	c.mu.Lock()
	running := c.mu.running
	if running == nil && next >= c.extend.Load() {
		running = make(chan struct{})
		c.mu.running = running
		go func() {
			c.store()
			c.mu.Lock()
			c.mu.running = nil
			c.mu.Unlock()
			close(running)
		}()
	}
	c.mu.Unlock()
	if running == nil || next <= c.stored.Load() {
		return false
	}
	<-running
	return true
}

// store persists a ceiling ahead of the clock and publishes it.
func (c *HLC) store() {
	wall, last := c.wall().UnixMicro(), c.last.Load()
	ahead := lead.Microseconds()
	if last > wall {
		ahead = shortLead.Microseconds()
	}
	// Never below the old one: a caller may have checked its timestamp against that and not yet have taken it.
	ceiling := max(max(wall, last)+ahead, c.stored.Load())
	err := c.persist(ceiling)
	c.mu.Lock()
	c.mu.err = err
	c.mu.Unlock()
	c.stored.Store(ceiling)
	c.extend.Store(ceiling - ahead/2)
}
