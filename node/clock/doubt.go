package clock

import (
	"fmt"
	"time"
)

const (
	// compareEvery is how often a clock in use looks at the wall clock.
	compareEvery = 10 * time.Millisecond
	// readWithin is how long reading the wall clock may take: if the process was put aside meanwhile, the reading says nothing.
	readWithin = time.Millisecond
)

// doubt is a jump of the wall clock that was not followed.
type doubt struct {
	jump int64 // µs that the wall clock is ahead of time
	err  error
}

// Doubt says that the wall clock has jumped by more than MaxSkew and isn't followed (timestamps go on by monotonic time),
// or nil. It ends when the wall clock comes back or the jump is accepted.
func (c *HLC) Doubt() error {
	if d := c.doubt.Load(); d != nil {
		return d.err
	}
	return nil
}

// Check holds the wall clock against time now. A clock in use does so by itself; an idle one is checked by who wants to know.
func (c *HLC) Check() {
	if !c.comparing.TryLock() {
		return // another is at it
	}
	suspect := c.compare()
	c.comparing.Unlock()
	if suspect {
		c.suspect()
	}
}

// compare follows a small difference and doubts a large one; suspect says that the doubt is new. REQUIRES: comparing.
func (c *HLC) compare() (suspect bool) {
	ahead, ok := c.ahead()
	if !ok {
		return false
	}
	c.next.Store(int64(c.mono() + compareEvery))
	if within(ahead.Microseconds(), c.maxSkew) {
		c.base.Add(int64(ahead))
		c.doubt.Store(nil)
		return false
	}
	jump := ahead.Microseconds()
	if d := c.doubt.Load(); d != nil && within(jump-d.jump, c.maxSkew) {
		return false
	}
	c.doubt.Store(&doubt{jump: jump, err: fmt.Errorf("this machine's wall clock has jumped by %s; timestamps go on from before the jump", span(jump))})
	return true
}

// ahead is how far the wall clock is ahead of time. In nanoseconds: with coarser ones each look at two clocks that agree would move time by one.
func (c *HLC) ahead() (d time.Duration, ok bool) {
	before := c.mono()
	wall := c.wall().UnixNano()
	after := c.mono()
	return time.Duration(wall - c.base.Load() - int64(after)), after-before <= readWithin
}

// Accept ends a doubt by following the wall clock, if that is (within MaxSkew) still as far ahead as the caller judged it
// to be. Timestamps never go back for it, with one exception: a clock that started with a wrong wall clock and gave no
// timestamp yet starts anew, so that a machine that booted with a wrong clock isn't ahead of the others for hours.
func (c *HLC) Accept(ahead time.Duration) bool {
	c.comparing.Lock()
	defer c.comparing.Unlock()
	now, ok := c.ahead()
	if !ok || !within((now-ahead).Microseconds(), c.maxSkew) {
		return false
	}
	c.base.Add(int64(now))
	c.doubt.Store(nil)
	if now < 0 {
		c.startAnew()
	}
	return true
}

// startAnew takes back a start above the wall clock if no timestamp was given since. REQUIRES: comparing.
func (c *HLC) startAnew() {
	wall := (c.base.Load() + int64(c.mono())) / 1000
	if first := max(c.ceiling, wall-1); first < c.first && c.last.CompareAndSwap(c.first, first) {
		c.first = first
		c.stored.Store(0)
		c.extend.Store(0)
	}
}

func within(us int64, limit time.Duration) bool { return max(us, -us) <= limit.Microseconds() }

// span writes a difference for people.
func span(us int64) string {
	text := (time.Duration(us) * time.Microsecond).Round(time.Millisecond).String()
	if us > 0 {
		return "+" + text
	}
	return text
}
