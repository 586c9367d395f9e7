package coordinator

import (
	"slices"

	"nodedb/vnodes"
)

// batchHolders are the nodes that may keep this node's batches, in the order in which they are preferred. Immutable; made once a view, because a request must not
// look at all nodes.
//
// They are the normal members beside oneself: a node that joins may be gone with its log tomorrow, and one that leaves is about to.
type batchHolders struct {
	view *View
	// tiers: of the own datacenter those in other racks and those in one's own, then those of other datacenters. Within a tier neighbours in the list stand in
	// different racks, as far as racks go.
	tiers [3][]*vnodes.Node
	self  *vnodes.Node // nil: not a member yet
}

func newBatchHolders(view *View, self vnodes.HostID, dc string) *batchHolders {
	h := &batchHolders{view: view}
	rack := ""
	if n, ok := view.Ring.Node(self); ok {
		h.self, rack = n, n.Rack
	}
	for _, n := range view.Ring.Nodes() {
		switch {
		case n.ID == self || n.State != vnodes.StateNormal:
		case n.DC != dc:
			h.tiers[2] = append(h.tiers[2], n)
		case n.Rack == rack:
			h.tiers[1] = append(h.tiers[1], n)
		default:
			h.tiers[0] = append(h.tiers[0], n)
		}
	}
	for i := range h.tiers {
		h.tiers[i] = interleaved(h.tiers[i])
	}
	return h
}

// interleaved deals nodes out rack by rack: the first of each, then the second of each …
func interleaved(nodes []*vnodes.Node) []*vnodes.Node {
	type place struct{ dc, rack string }
	seen := map[place]int{}
	round := make(map[*vnodes.Node]int, len(nodes))
	for _, n := range nodes {
		at := place{n.DC, n.Rack}
		round[n] = seen[at]
		seen[at]++
	}
	slices.SortStableFunc(nodes, func(a, b *vnodes.Node) int { return round[a] - round[b] })
	return nodes
}

// alone reports whether there is no other normal member.
func (h *batchHolders) alone() bool {
	return len(h.tiers[0])+len(h.tiers[1])+len(h.tiers[2]) == 0
}

// holderWalk goes through the holders that are up, best first, from a random place in each tier.
type holderWalk struct {
	*batchHolders
	alive  func(vnodes.HostID) bool
	random func(n int) int
	tier   int
	start  int
	step   int
	last   bool // oneself may be a holder, where there are too few others
}

// walk begins to choose holders for one batch. anyLevel: a batch at ANY is kept here rather than refused, where nobody else is up.
func (h *batchHolders) walk(alive func(vnodes.HostID) bool, random func(n int) int, anyLevel bool) holderWalk {
	return holderWalk{batchHolders: h, alive: alive, random: random, last: h.self != nil && (anyLevel || h.alone())}
}

// next gives the next holder; nil: there is none left.
func (w *holderWalk) next() *vnodes.Node {
	for ; w.tier < len(w.tiers); w.tier, w.step = w.tier+1, 0 {
		nodes := w.tiers[w.tier]
		if w.step == 0 && len(nodes) > 0 {
			w.start = w.random(len(nodes))
		}
		for w.step < len(nodes) {
			n := nodes[(w.start+w.step)%len(nodes)]
			w.step++
			if w.alive(n.ID) {
				return n
			}
		}
	}
	if w.last {
		w.last = false
		return w.self
	}
	return nil
}

// holders gives the batch holders of a view, made once.
func (c *Coordinator) holders(view *View) *batchHolders {
	if h := c.batchHolders.Load(); h != nil && h.view == view {
		return h
	}
	h := newBatchHolders(view, c.Self, c.DC)
	c.batchHolders.Store(h)
	return h
}
