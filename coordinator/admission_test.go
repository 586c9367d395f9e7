package coordinator

import (
	"sync"
	"sync/atomic"
	"testing"

	"nodedb/query/schema"
	"nodedb/vnodes"
)

// viewCluster has a view, and nothing else.
type viewCluster struct {
	Cluster
	view atomic.Pointer[View]
}

func (c *viewCluster) View() *View { return c.view.Load() }

func (c *viewCluster) move(ring uint64) {
	c.view.Store(NewView(ring, vnodes.NewRing(ring, nil), &schema.Catalog{}))
}

func TestAdmissionDrains(t *testing.T) {
	var a Admission
	var c viewCluster
	c.move(1)
	_, first := a.Enter(&c)
	_, second := a.Enter(&c)
	c.move(2)
	_, newer := a.Enter(&c)
	drained := 0
	a.WhenDrained(1, func() { drained++ })
	if drained != 1 {
		t.Error("nothing is older than ring 1")
	}
	a.WhenDrained(2, func() { drained++ })
	first.Leave()
	newer.Leave()
	if drained != 1 {
		t.Error("drained while one of ring 1 is in flight")
	}
	second.Leave()
	if drained != 2 {
		t.Error("not drained though all of ring 1 have left")
	}
	c.move(3)
	_, third := a.Enter(&c)
	a.WhenDrained(3, func() { drained++ })
	if drained != 3 || len(a.mu.rings) != 1 {
		t.Errorf("drained %d times, %d rings are kept", drained, len(a.mu.rings))
	}
	third.Leave()
}

// While the ring moves on and on, nothing is admitted under a ring that was said to be drained, and each that waits is called.
func TestAdmissionUnderRace(t *testing.T) {
	var a Admission
	var c viewCluster
	var drained atomic.Uint64 // rings before it
	var all sync.WaitGroup
	const rings = 300
	c.move(1)
	for range 4 {
		all.Go(func() {
			for {
				v, in := a.Enter(&c)
				if ring := v.Ring.Epoch(); ring < drained.Load() {
					t.Errorf("admitted under ring %d, and all before %d were said to have ended", ring, drained.Load())
				}
				in.Leave()
				if v.Epoch == rings {
					return
				}
			}
		})
	}
	for ring := uint64(2); ring <= rings; ring++ {
		c.move(ring)
		called := make(chan struct{})
		a.WhenDrained(ring, func() {
			drained.Store(ring)
			close(called)
		})
		<-called
	}
	all.Wait()
	if len(a.mu.waiting) != 0 || a.waits.Load() != 0 {
		t.Errorf("%d still wait", len(a.mu.waiting))
	}
}
