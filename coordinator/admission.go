package coordinator

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Admission counts what is in flight on one node by the ring it was admitted under: requests that the node coordinates, and its own replica's writes. A
// range move waits until all that was admitted under an older ring has ended (DESIGN.md, section 4: "applied"). The zero value is ready.
//
// Each request enters and leaves twice, so that costs an atomic operation each; the mutex is for rings that come and go, and for who waits.
//
// Who leaves last looks for waiters after it has counted itself out, and who waits looks at the counts after it has put itself on the list: one of the two
// sees the other.
type Admission struct {
	newest atomic.Pointer[ringCount]
	waits  atomic.Int64 // length of mu.waiting

	mu struct {
		sync.Mutex
		rings   []*ringCount // those with anything in flight, and the newest
		waiting []ringWaiter
	}
}

// ringCount is what is in flight under one ring.
type ringCount struct {
	ring uint64
	n    atomic.Int64
}

type ringWaiter struct {
	ring uint64
	done func()
}

// Admitted is something in flight. Leave, called once, ends it.
type Admitted struct {
	a  *Admission
	in *ringCount
}

// Leave ends what was admitted; the zero value is nothing.
func (in Admitted) Leave() {
	if in.in == nil {
		return
	}
	if in.in.n.Add(-1) == 0 && in.a.waits.Load() > 0 {
		in.a.settle()
	}
}

// Enter admits something under the newest view of c and gives that view. The view is read again after it was counted: else a new ring could be applied, and
// found without anything older in flight, between the two.
func (a *Admission) Enter(c Cluster) (*View, Admitted) {
	for {
		v := c.View()
		ring := v.Ring.Epoch()
		in := Admitted{a, a.count(ring)}
		in.in.n.Add(1)
		if c.View().Ring.Epoch() == ring {
			return v, in
		}
		in.Leave()
	}
}

// count gives the count of a ring.
func (a *Admission) count(ring uint64) *ringCount {
	if r := a.newest.Load(); r != nil && r.ring == ring {
		return r
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.mu.rings {
		if r.ring == ring {
			return r
		}
	}
	r := &ringCount{ring: ring}
	if newest := a.newest.Load(); newest == nil || newest.ring < ring {
		a.newest.Store(r)
	}
	// An older ring without anything in flight is forgotten. Who has just looked its count up, and counts itself in now, finds a newer view and leaves again.
	a.mu.rings = slices.DeleteFunc(a.mu.rings, func(old *ringCount) bool { return old.ring < ring && old.n.Load() == 0 })
	a.mu.rings = append(a.mu.rings, r)
	return r
}

// older reports whether something of a ring before the given one is still in flight. REQUIRES: a.mu.
func (a *Admission) older(ring uint64) bool {
	return slices.ContainsFunc(a.mu.rings, func(r *ringCount) bool { return r.ring < ring && r.n.Load() > 0 })
}

// WhenDrained calls done once nothing that was admitted under a ring before the given epoch is in flight. That is at most one request timeout later, unless
// the disk stalls.
func (a *Admission) WhenDrained(ring uint64, done func()) {
	a.mu.Lock()
	a.mu.waiting = append(a.mu.waiting, ringWaiter{ring, done})
	a.waits.Add(1)
	a.mu.Unlock()
	a.settle()
}

// settle calls those who wait for nothing any more.
func (a *Admission) settle() {
	var ready []ringWaiter
	a.mu.Lock()
	keep := a.mu.waiting[:0]
	for _, w := range a.mu.waiting {
		if a.older(w.ring) {
			keep = append(keep, w)
		} else {
			ready = append(ready, w)
		}
	}
	clear(a.mu.waiting[len(keep):])
	a.mu.waiting = keep
	a.waits.Add(int64(-len(ready)))
	a.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
}
