package vnodes

import (
	"slices"
	"sort"
)

// owners is one ring (old or new) with the replicas of each of its ranges.
//
// Invariant: ends ascends strictly, and lists[i] are the owners of (ends[i-1], ends[i]].
type owners struct {
	ends  []Token
	lists [][]*Node
}

// advance moves i on to the range that holds t, for ascending t; past the last end it is the wrapping range.
func (o *owners) advance(i int, t Token) int {
	for i < len(o.ends) && o.ends[i] < t {
		i++
	}
	return i
}

func (o *owners) at(i int) []*Node {
	switch {
	case len(o.lists) == 0:
		return nil
	case i == len(o.lists):
		return o.lists[0]
	}
	return o.lists[i]
}

// group is the part of a ring that is counted by itself: a DC under NetworkTopologyStrategy, everything under
// SimpleStrategy. Working by group keeps a small DC from making each walk pass the big one's tokens.
type group struct {
	at      []int32 // positions in points, ascending
	factor  int     // replicas wanted, at most the group's nodes
	repeats int     // how many replicas may share a rack with an earlier one
	picks   []int32 // factor positions for each of at, in ring order
}

// walk computes the replicas of every range of a ring.
//
// SimpleStrategy takes the next distinct nodes clockwise. NetworkTopologyStrategy does so in each DC, and takes a node
// of a rack it has seen only as long as there are fewer racks than replicas to fill (Cassandra 4,
// NetworkTopologyStrategy.DatacenterEndpoints); the DCs' picks are then merged in ring order.
func (r *Ring) walk(p *points, rep Replication) *owners {
	groups := r.groups(p, rep)
	total := 0
	for _, g := range groups {
		r.pick(p, g, len(rep.Datacenters) > 0)
		total += g.factor
	}
	o := &owners{}
	if total == 0 {
		return o
	}
	arena := make([]*Node, 0, total*len(p.tokens))
	next := make([]int, len(groups))
	chosen := make([]int32, 0, total)
	for i, t := range p.tokens {
		chosen = chosen[:0]
		for gi, g := range groups {
			for next[gi] < len(g.at) && g.at[next[gi]] < int32(i) {
				next[gi]++
			}
			k := next[gi] % len(g.at)
			chosen = append(chosen, g.picks[k*g.factor:(k+1)*g.factor]...)
		}
		if i > 0 && p.tokens[i-1] == t {
			continue // an empty range: two nodes with one token
		}
		if len(groups) > 1 {
			sortFrom(chosen, int32(i), int32(len(p.tokens)))
		}
		start := len(arena)
		for _, c := range chosen {
			arena = append(arena, r.nodes[p.owner[c]])
		}
		o.ends = append(o.ends, t)
		o.lists = append(o.lists, arena[start:len(arena):len(arena)])
	}
	return o
}

// sortFrom orders positions by their distance clockwise from one; an insertion sort, since there are few.
func sortFrom(list []int32, from, n int32) {
	distance := func(c int32) int32 {
		if c < from {
			return c - from + n
		}
		return c - from
	}
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && distance(list[j]) < distance(list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

// groups splits a ring into what is counted by itself. Empty groups are left out.
func (r *Ring) groups(p *points, rep Replication) []*group {
	if len(rep.Datacenters) == 0 {
		g := &group{at: make([]int32, len(p.tokens)), factor: rep.Factor}
		for i := range g.at {
			g.at[i] = int32(i)
		}
		return r.sized([]*group{g}, p)
	}
	byDC := make(map[string]*group, len(rep.Datacenters))
	var list []*group
	for dc, factor := range rep.Datacenters {
		byDC[dc] = &group{factor: factor}
		list = append(list, byDC[dc])
	}
	for i, owner := range p.owner {
		if g := byDC[r.nodes[owner].DC]; g != nil {
			g.at = append(g.at, int32(i))
		}
	}
	list = r.sized(list, p)
	// Order doesn't matter to the result; it is settled so that two runs do the same.
	sort.Slice(list, func(i, j int) bool { return list[i].at[0] < list[j].at[0] })
	return list
}

// sized counts nodes and racks: no more replicas than nodes, and a rack is used again only if there are too few.
func (r *Ring) sized(list []*group, p *points) []*group {
	for _, g := range list {
		nodes, racks := map[int32]bool{}, map[string]bool{}
		for _, at := range g.at {
			if owner := p.owner[at]; !nodes[owner] {
				nodes[owner] = true
				racks[r.nodes[owner].Rack] = true
			}
		}
		g.repeats = max(0, g.factor-len(racks))
		g.factor = max(0, min(g.factor, len(nodes)))
	}
	return slices.DeleteFunc(list, func(g *group) bool { return g.factor == 0 })
}

// pick walks the group clockwise from each of its tokens. seen and racksSeen hold the number of the walk that last met
// a node or rack, so that nothing is cleared between walks.
func (r *Ring) pick(p *points, g *group, byRack bool) {
	rackOf := r.racks(byRack)
	seen, racksSeen := make([]int32, len(r.nodes)), make([]int32, len(r.nodes))
	g.picks = make([]int32, 0, len(g.at)*g.factor)
	for start := range g.at {
		walk, left, repeats := int32(start)+1, g.factor, g.repeats
		for k := start; left > 0; k++ {
			if k == len(g.at) {
				k = 0
			}
			owner := p.owner[g.at[k]]
			if seen[owner] == walk {
				continue
			}
			rack := rackOf[owner]
			if racksSeen[rack] == walk {
				if repeats == 0 {
					continue
				}
				repeats--
			}
			seen[owner], racksSeen[rack] = walk, walk
			left--
			g.picks = append(g.picks, g.at[k])
		}
	}
}

// racks numbers each node's rack (a number a node, when racks don't count, so that none repeats). Racks of one name
// in two DCs are never compared: a group is one DC.
func (r *Ring) racks(byRack bool) []int32 {
	numbers := make([]int32, len(r.nodes))
	if !byRack {
		for i := range numbers {
			numbers[i] = int32(i)
		}
		return numbers
	}
	byName := map[string]int32{}
	for i, n := range r.nodes {
		number, ok := byName[n.Rack]
		if !ok {
			number = int32(len(byName))
			byName[n.Rack] = number
		}
		numbers[i] = number
	}
	return numbers
}
