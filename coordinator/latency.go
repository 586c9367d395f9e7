package coordinator

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/vnodes"
)

// latencies keeps a moving average of each replica's read latency, in µs, for choosing whom to ask first.
type latencies struct{ byNode sync.Map } // vnodes.HostID → *atomic.Int64

const (
	// latencyWeight: a new sample counts 1/8.
	latencyWeight = 8
	// exploreOne in so many reads asks in random order, so that a replica that was slow once is measured again.
	exploreOneIn = 64
	// minPatience is the least a read waits before it asks a spare replica.
	minPatience = 10 * time.Millisecond
)

func (l *latencies) of(id vnodes.HostID) *atomic.Int64 {
	if v, ok := l.byNode.Load(id); ok {
		return v.(*atomic.Int64)
	}
	v, _ := l.byNode.LoadOrStore(id, new(atomic.Int64))
	return v.(*atomic.Int64)
}

func (l *latencies) observe(id vnodes.HostID, took time.Duration) {
	a := l.of(id)
	old := a.Load()
	if old == 0 {
		a.Store(took.Microseconds())
		return
	}
	a.Store(old + (took.Microseconds()-old)/latencyWeight)
}

// order sorts replicas best first: oneself, unless it is much slower, then by latency. Now and then it shuffles.
func (l *latencies) order(nodes []*vnodes.Node, self vnodes.HostID, random func(n int) int) {
	if len(nodes) < 2 {
		return
	}
	if random(exploreOneIn) == 0 {
		for i := len(nodes) - 1; i > 0; i-- {
			j := random(i + 1)
			nodes[i], nodes[j] = nodes[j], nodes[i]
		}
		return
	}
	score := func(n *vnodes.Node) int64 {
		us := l.of(n.ID).Load()
		if n.ID == self {
			return us / 4 // no network, no codec
		}
		return us + 1
	}
	slices.SortStableFunc(nodes, func(a, b *vnodes.Node) int { return int(score(a) - score(b)) })
}

// patience is how long to wait for the chosen replicas before a spare is asked.
func (c *Coordinator) patience(chosen []*vnodes.Node, fixed time.Duration) time.Duration {
	if fixed > 0 {
		return fixed
	}
	var slowest int64
	for _, n := range chosen {
		slowest = max(slowest, c.latency.of(n.ID).Load())
	}
	return max(minPatience, 2*time.Duration(slowest)*time.Microsecond)
}
