package coordinator

import "sync"

// admission counts the requests in flight by the ring they were admitted under, so that a range move can wait until every request of an
// older ring has ended (DESIGN.md, section 4: "applied").
type admission struct {
	mu struct {
		sync.Mutex
		byRing  map[uint64]int
		waiting []ringWaiter
	}
}

type ringWaiter struct {
	ring uint64
	done func()
}

// enter admits a request under a ring epoch; the returned function ends it.
func (a *admission) enter(ring uint64) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.byRing == nil {
		a.mu.byRing = make(map[uint64]int)
	}
	a.mu.byRing[ring]++
	return func() { a.leave(ring) }
}

func (a *admission) leave(ring uint64) {
	var ready []ringWaiter
	a.mu.Lock()
	if a.mu.byRing[ring]--; a.mu.byRing[ring] == 0 {
		delete(a.mu.byRing, ring)
		keep := a.mu.waiting[:0]
		for _, w := range a.mu.waiting {
			if a.older(w.ring) {
				keep = append(keep, w)
			} else {
				ready = append(ready, w)
			}
		}
		a.mu.waiting = keep
	}
	a.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
}

// older reports whether a request of a ring before the given one is still in flight. REQUIRES: a.mu.
func (a *admission) older(ring uint64) bool {
	for r := range a.mu.byRing {
		if r < ring {
			return true
		}
	}
	return false
}

// whenDrained calls done once no request of a ring before the given one is in flight.
func (a *admission) whenDrained(ring uint64, done func()) {
	a.mu.Lock()
	if a.older(ring) {
		a.mu.waiting = append(a.mu.waiting, ringWaiter{ring, done})
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	done()
}

// WhenDrained calls done once no request that was admitted under a ring before the given epoch is in flight here. At most one timeout later
// that is so.
func (c *Coordinator) WhenDrained(ring uint64, done func()) { c.admitted.whenDrained(ring, done) }
