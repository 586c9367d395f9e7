package rpc

import (
	"fmt"
	"time"
)

// sweepStep is the least time between two looks at the deadlines: how late ErrTimeout may be.
const sweepStep = 2 * time.Millisecond

// keep times out calls, pings, and closes the connection when it is idle. Deadlines are looked at when the earliest
// that there was at the last look has passed, so calls that are answered in time cost no timer each (measured in
// DESIGN.md).
func (c *clientConn) keep() {
	nextPing := c.t.now() + int64(c.t.opts.Ping)
	timer := time.NewTimer(c.t.opts.Ping)
	defer timer.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-c.kick:
		case <-timer.C:
		}
		now := c.t.now()
		next := c.sweep(now)
		if now >= nextPing {
			c.ping(now)
			nextPing = now + int64(c.t.opts.Ping)
		}
		if next == 0 || nextPing < next {
			next = nextPing
		}
		timer.Reset(max(time.Duration(next-now), sweepStep))
	}
}

// sweep fails the calls that are out of time and gives the earliest deadline left.
func (c *clientConn) sweep(now int64) int64 {
	c.mu.Lock()
	if c.mu.next == 0 || c.mu.next > now {
		defer c.mu.Unlock()
		return c.mu.next
	}
	late, next := c.mu.calls.expired(nil, now)
	c.mu.next = next
	c.mu.Unlock()
	c.t.stats.TimedOut.Add(int64(len(late)))
	for _, call := range late {
		call.Done(nil, fmt.Errorf("%w: %s did not answer %s in time", ErrTimeout, c.link.to.Addr, call.Verb))
	}
	return next
}

// ping keeps the connection from falling silent, or closes it when nobody has used it for long.
func (c *clientConn) ping(now int64) {
	c.mu.Lock()
	ready := c.mu.ready
	idle := ready && c.mu.calls.live == 0 && now-c.mu.used > int64(c.t.opts.Idle)
	if idle {
		c.mu.ended = true // from here on send dials anew
	}
	c.mu.Unlock()
	if idle {
		c.abort(errIdle)
		return
	}
	if ready {
		c.out.bare(kindPing)
	}
}
