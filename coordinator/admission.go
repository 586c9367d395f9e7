package coordinator

import "sync"

// Admission counts what is in flight on one node by the ring it was admitted under: requests that the node coordinates, and its own replica's writes. A
// range move waits until all that was admitted under an older ring has ended (DESIGN.md, section 4: "applied"). The zero value is ready.
type Admission struct {
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

// Admitted is something in flight. Leave, called once, ends it.
type Admitted struct {
	a    *Admission
	ring uint64
}

// Leave ends what was admitted.
func (in Admitted) Leave() { in.a.leave(in.ring) }

// Enter admits something under the newest view of c and gives that view. The view is read again after it was counted: else a new ring could be applied, and
// found without anything older in flight, between the two.
func (a *Admission) Enter(c Cluster) (*View, Admitted) {
	for {
		v := c.View()
		ring := v.Ring.Epoch()
		a.enter(ring)
		if c.View().Ring.Epoch() == ring {
			return v, Admitted{a, ring}
		}
		a.leave(ring)
	}
}

func (a *Admission) enter(ring uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.byRing == nil {
		a.mu.byRing = make(map[uint64]int)
	}
	a.mu.byRing[ring]++
}

func (a *Admission) leave(ring uint64) {
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

// older reports whether something of a ring before the given one is still in flight. REQUIRES: a.mu.
func (a *Admission) older(ring uint64) bool {
	for r := range a.mu.byRing {
		if r < ring {
			return true
		}
	}
	return false
}

// WhenDrained calls done once nothing that was admitted under a ring before the given epoch is in flight. That is at most one request timeout later, unless
// the disk stalls.
func (a *Admission) WhenDrained(ring uint64, done func()) {
	a.mu.Lock()
	if a.older(ring) {
		a.mu.waiting = append(a.mu.waiting, ringWaiter{ring, done})
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	done()
}
