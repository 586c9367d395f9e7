// Package wake wakes goroutines that take work over from others, and lets who brings a burst of work wake them once, at its end: to wake a goroutine on
// another core costs several times what a small request does, and who is woken by the first piece of a burst takes it in several bites, each with a system
// call or a batch of its own. It imports nothing of nodedb. Start reading at Cork.
package wake

import (
	"sync"
	"sync/atomic"
)

// Cork holds wake-ups back while a burst of work is on its way. It is one for a node: a wake-up by anybody is held back while anybody holds, until the first
// of those who hold releases; so it comes no later than the end of the shortest burst under way. Bursts must be short (tens of microseconds), and bounded.
//
// A nil Cork holds nothing back. The zero value is ready.
type Cork struct {
	held atomic.Int32 // how many hold: changed under mu

	mu struct {
		sync.Mutex
		waiting []Sleeper
	}
}

// Sleeper is who goes on with work, or knows who does.
type Sleeper interface {
	// Wake is called once for each call of Cork.Wake. burst says that it comes at the end of a burst, from whoever brought that: he may then do a little of
	// the work himself instead of waking another goroutine. It must not block, and without burst not take locks: its caller may hold some.
	Wake(burst bool)
}

// Bell is a Sleeper that wakes a goroutine which receives from it. Make it by NewBell.
type Bell chan struct{}

// NewBell makes a bell.
func NewBell() Bell { return make(Bell, 1) }

// Ring wakes who receives, now or when he next does; a ring that he has not heard yet will do.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Wake implements Sleeper.
func (b Bell) Wake(bool) { b.Ring() }

// Hold begins a burst. Release must follow, on all ways.
func (c *Cork) Hold() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.held.Add(1)
	c.mu.Unlock()
}

// Release ends a burst, and wakes who was to be woken meanwhile.
func (c *Cork) Release() {
	if c == nil {
		return
	}
	var fixed [8]Sleeper
	c.mu.Lock()
	c.held.Add(-1)
	waiting := append(fixed[:0], c.mu.waiting...)
	clear(c.mu.waiting)
	c.mu.waiting = c.mu.waiting[:0]
	c.mu.Unlock()
	for _, s := range waiting {
		s.Wake(true)
	}
}

// Wake wakes now, or at the end of the burst that somebody is bringing.
func (c *Cork) Wake(s Sleeper) {
	if c == nil || c.held.Load() == 0 || !c.keep(s) {
		s.Wake(false)
	}
}

// keep keeps a wake-up for later; false: nobody holds any more.
func (c *Cork) keep(s Sleeper) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held.Load() == 0 {
		return false
	}
	c.mu.waiting = append(c.mu.waiting, s)
	return true
}
