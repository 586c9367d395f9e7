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

	"nodedb/node/fault"
)

// ErrSkew says that a timestamp lies too far in the future.
var ErrSkew = errors.New("clock: timestamp too far in the future")

// errSlow is what Err says while the disk takes longer than patience to store a ceiling.
var errSlow = errors.New("clock: the ceiling is not stored yet: the disk is slow")

const (
	// DefaultMaxSkew is how far ahead of its own time other nodes may push a clock, and how far its wall clock may jump.
	DefaultMaxSkew = 5 * time.Second

	// lead is how far ahead of itself the clock stores its ceiling: one small synced write every lead/2.
	lead = 4 * time.Second

	// patience is how long a timestamp waits for a ceiling to be stored.
	patience = 100 * time.Millisecond

	// shortLead is used while the clock runs ahead of time, as it does after a restart (it starts above the
	// old ceiling). Without it each quick restart would add a whole lead, and a crash loop would drive the clock past
	// the others' MaxSkew.
	shortLead = 100 * time.Millisecond
)

// HLC gives strictly increasing timestamps in microseconds since 1970. Safe for concurrent use.
//
// Invariants:
//  1. last only grows, and every timestamp given is a value that one caller alone moved last to (but see Accept, and
//     Now of a clock that is not trusted).
//  2. No timestamp is given above stored, the newest ceiling that Persist has confirmed (unless Persist fails; see Err).
//  3. The time that timestamps follow (base + monotonic time) never moves by more than MaxSkew against monotonic time
//     because the wall clock does, unless Accept says so.
//
// Invariant 3 is what keeps a wall clock that jumps from shadowing other nodes' writes: a timestamp an hour ahead wins
// over every write of that hour. The wall clock is held against base + monotonic time every few milliseconds of use
// (doubt.go); small differences are taken over, beyond MaxSkew the clock is in doubt until the other nodes' clocks
// settle it (judge.go).
//
// The ceiling is stored by a goroutine of its own once half of the lead is used up, so that callers meet no fsync; they
// wait only where they run through the other half first. Rejected: storing inside Now by whoever gets there first (it
// would put an fsync on a connection's reader).
type HLC struct {
	wall    func() time.Time
	mono    func() time.Duration
	persist func(int64) error
	suspect func()
	maxSkew time.Duration
	ceiling int64 // of the last run, µs
	first   int64 // what last began with, µs; under comparing

	base     atomic.Int64 // time is base + mono(), ns; moved under comparing
	next     atomic.Int64 // the wall clock is looked at again once mono() reaches this, ns
	doubt    atomic.Pointer[doubt]
	distrust atomic.Pointer[error]
	heard    atomic.Int64 // mono() of the last judgement that had an answer, ns

	comparing sync.Mutex // one comparison at a time

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
	Mono    func() time.Duration      // time that no one sets, since any moment; time.Since of the start by default
	Ceiling int64                     // as stored by the last run; timestamps start above it
	Persist func(ceiling int64) error // stores, synced, a ceiling ahead of what is given; called rarely (every few seconds of time), outside locks
	MaxSkew time.Duration             // how far Update may push the clock ahead, and a jump of the wall clock that is followed; default 5 s
	// Suspect is called, and must not block, when the clocks should be held against the other nodes' at once: the wall
	// clock has jumped, or Suspect was called.
	Suspect func()
}

// New starts a clock above the ceiling. It stores nothing: the first timestamp does, so that a clock that was found to be wrong before it gave one leaves
// no ceiling behind.
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
	if o.Mono == nil {
		start := time.Now()
		o.Mono = func() time.Duration { return time.Since(start) }
	}
	if o.Suspect == nil {
		o.Suspect = func() {}
	}
	c := &HLC{wall: o.Wall, mono: o.Mono, persist: o.Persist, suspect: o.Suspect, maxSkew: o.MaxSkew, ceiling: o.Ceiling}
	c.base.Store(c.wall().UnixNano() - int64(c.mono()))
	c.first = max(o.Ceiling, c.Time()-1)
	if fault.Planted("clock/restarts-below-ceiling") {
		c.first = c.Time() - 1
	}
	c.last.Store(c.first)
	return c, nil
}

// Now gives the next timestamp, in microseconds. A clock that is not trusted gives its last one again: nothing may be
// written with it (see Trusted), and it must not run ahead by what nobody uses.
func (c *HLC) Now() int64 {
	limit := int64(math.MaxInt64)
	for {
		last := c.last.Load()
		if c.distrust.Load() != nil {
			return last
		}
		next := max(last+1, min(c.Time(), limit))
		if next >= c.extend.Load() && c.raise(next) {
			// Time may be past the new ceiling again (a store that took longer than the lead): lag behind it,
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
	if ahead := seen - c.Time(); ahead > c.maxSkew.Microseconds() {
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

// Time is what timestamps follow, in microseconds since 1970: the wall clock without its jumps. It may go back by up to MaxSkew.
func (c *HLC) Time() int64 {
	m := c.mono()
	if int64(m) >= c.next.Load() {
		c.Check()
	}
	return (c.base.Load() + int64(m)) / 1000
}

// Seconds is Time in unix seconds, for TTL; it never goes back.
func (c *HLC) Seconds() int64 {
	for {
		last, now := c.seconds.Load(), c.Time()/1_000_000
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
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-running:
	case <-wait.C:
		c.goWithout(next)
	}
	return true
}

// goWithout lets timestamps go on above the ceiling while a disk that stalls is storing a higher one, as they do when it fails (see Err): requests through
// this node must not wait for its disk.
func (c *HLC) goWithout(next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next > c.stored.Load() {
		c.stored.Store(next + lead.Microseconds())
		c.mu.err = errSlow
	}
}

// store persists a ceiling ahead of the clock and publishes it.
func (c *HLC) store() {
	now, last := c.Time(), c.last.Load()
	ahead := lead.Microseconds()
	if last > now {
		ahead = shortLead.Microseconds()
	}
	// Never below the old one: a caller may have checked its timestamp against that and not yet have taken it.
	ceiling := max(max(now, last)+ahead, c.stored.Load())
	err := c.persist(ceiling)
	c.mu.Lock()
	c.mu.err = err
	c.mu.Unlock()
	c.stored.Store(max(ceiling, c.stored.Load()))
	c.extend.Store(ceiling - ahead/2)
}
