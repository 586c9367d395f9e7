package vnodes

import (
	"maps"
	"slices"

	"nodedb/node/fault"
)

// Replicas are the owners of one token. Old and New differ only while a range moves; then a consistency level has to
// be met on both, counted separately.
type Replicas struct {
	Old     []*Node // ring order from the token on
	New     []*Node
	ReadNew bool // reads go to New rather than Old

	write []*Node // Old and New, each once; nil when somebody else made this Replicas
}

// Read gives the owners that answer reads.
func (r *Replicas) Read() []*Node {
	if r.ReadNew {
		return r.New
	}
	return r.Old
}

// Moving reports whether the range is changing owners.
func (r *Replicas) Moving() bool { return !sameNodes(r.Old, r.New) }

// Write gives every owner that takes writes: Old and New, each once. Callers must not change it.
func (r *Replicas) Write() []*Node {
	if r.write != nil {
		return r.write
	}
	return union(r.Old, r.New)
}

// Contains reports whether id is among Write().
func (r *Replicas) Contains(id HostID) bool { return contains(r.Old, id) || contains(r.New, id) }

func contains(nodes []*Node, id HostID) bool {
	for _, n := range nodes {
		if n.ID == id {
			return true
		}
	}
	return false
}

// sameNodes compares as sets; each list holds a node at most once.
func sameNodes(a, b []*Node) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for _, n := range b {
		if !contains(a, n.ID) {
			return false
		}
	}
	return true
}

func union(a, b []*Node) []*Node {
	if sameNodes(a, b) {
		return a
	}
	all := slices.Clone(a)
	for _, n := range b {
		if !contains(a, n.ID) {
			all = append(all, n)
		}
	}
	return all
}

// newReplicas settles what the reader wants to know of one range. Where the owners are the same, Old and New are one
// list.
func newReplicas(from, to []*Node) Replicas {
	if sameNodes(from, to) {
		return Replicas{Old: from, New: from, write: from}
	}
	return Replicas{Old: from, New: to, ReadNew: readNew(from, to), write: union(from, to)}
}

// readNew: every node that comes to or goes from the range has taken the step at which reads move over. (One node moves
// at a time, so there is at most one with a say; a normal node that gains or loses the range follows it.)
func readNew(from, to []*Node) bool {
	moved := false
	for _, list := range [2][]*Node{from, to} {
		for _, n := range list {
			switch n.State {
			case StateJoining, StateLeaving:
				return fault.Planted("vnodes/new-owners-read-too-early")
			case StateJoiningRead, StateLeavingRead:
				moved = true
			}
		}
	}
	return moved
}

// Placement is a Ring seen through one replication: for each range between neighbouring tokens, its owners.
//
// Invariant: ends ascends strictly; replicas[i] owns (ends[i-1], ends[i]], replicas[0] also what lies above the last
// end. With no ends there is one replicas, for the whole ring.
type Placement struct {
	rep      Replication
	ends     []Token
	replicas []Replicas
	runs     []Token // for each end, where the owners next are others: see Run
}

// Replicas gives the owners of t. The result is shared: callers must not change it. O(log tokens), no allocation.
func (p *Placement) Replicas(t Token) *Replicas {
	lo, hi := 0, len(p.ends)
	for lo < hi { // the first end >= t
		mid := int(uint(lo+hi) >> 1)
		if p.ends[mid] < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.ends) {
		lo = 0
	}
	if fault.Planted("vnodes/token-belongs-to-next-range") && len(p.ends) > 0 && p.ends[lo] == t {
		lo = (lo + 1) % len(p.ends)
	}
	return &p.replicas[lo]
}

// Run gives the owners of what follows a token, and the last token up to which they stay the same, in whatever order. The result is shared: callers
// must not change it. O(log tokens), no allocation: a scan asks for each of its pages, and where few nodes hold everything its run is the whole ring.
func (p *Placement) Run(after Token) (*Replicas, Token) {
	i, found := slices.BinarySearch(p.ends, after)
	if found {
		i++
	}
	if i == len(p.ends) {
		return &p.replicas[0], MaxToken
	}
	return &p.replicas[i], p.runs[i]
}

// joinRuns fills runs.
func (p *Placement) joinRuns() {
	p.runs = make([]Token, len(p.ends))
	next, end := &p.replicas[0], MaxToken // what lies above the last end
	for i := len(p.ends) - 1; i >= 0; i-- {
		if here := &p.replicas[i]; !here.sameAs(next) {
			next, end = here, p.ends[i]
		}
		p.runs[i] = end
	}
}

// sameAs reports whether two ranges have the same owners for every purpose.
func (r *Replicas) sameAs(other *Replicas) bool {
	return r.ReadNew == other.ReadNew && sameNodes(r.Old, other.Old) && sameNodes(r.New, other.New)
}

// RangeReplicas is one range of a placement and its owners.
type RangeReplicas struct {
	Range    Range
	Replicas *Replicas
}

// Ranges gives all ranges, ascending by start; the wrapping one is split at MinToken, so none wraps, and together they
// cover the ring once. (MinToken itself lies in none: no partition has it.)
func (p *Placement) Ranges() []RangeReplicas {
	all := make([]RangeReplicas, 0, len(p.ends)+1)
	start := MinToken
	for i, end := range p.ends {
		if end == MinToken {
			continue
		}
		all = append(all, RangeReplicas{Range{start, end}, &p.replicas[i]})
		start = end
	}
	if start != MaxToken && !fault.Planted("vnodes/wrapping-range-left-out") {
		all = append(all, RangeReplicas{Range{start, MaxToken}, &p.replicas[0]})
	}
	return all
}

// Owned gives the ranges for which id takes writes, neighbouring ones joined. None wraps.
func (p *Placement) Owned(id HostID) []Range {
	var owned []Range
	for _, rr := range p.Ranges() {
		if !rr.Replicas.Contains(id) {
			continue
		}
		if n := len(owned); n > 0 && owned[n-1].End == rr.Range.Start {
			owned[n-1].End = rr.Range.End
			continue
		}
		owned = append(owned, rr.Range)
	}
	return owned
}

// newPlacement lays the old and the new ring over each other: a range ends wherever one of them has a token.
func newPlacement(r *Ring, rep Replication) *Placement {
	p := &Placement{rep: rep}
	p.rep.Datacenters = maps.Clone(rep.Datacenters) // the caller may change its own
	if rep.Everywhere {
		// One list for the whole ring: a list a range would be O(nodes * tokens).
		p.replicas = []Replicas{newReplicas(r.holders(NodeState.inOld), r.holders(NodeState.inNew))}
		return p
	}
	from := r.walk(r.old, rep)
	to := from
	if r.new != r.old {
		to = r.walk(r.new, rep)
	}
	p.ends = mergeEnds(from.ends, to.ends)
	p.replicas = make([]Replicas, max(1, len(p.ends)))
	i, j := 0, 0
	for k, end := range p.ends {
		i, j = from.advance(i, end), to.advance(j, end)
		p.replicas[k] = newReplicas(from.at(i), to.at(j))
	}
	p.joinRuns()
	return p
}

// holders gives the nodes that have a share of the ring in the given sense, by host id.
func (r *Ring) holders(in func(NodeState) bool) []*Node {
	var list []*Node
	for _, n := range r.nodes {
		if in(n.State) && len(n.Tokens) > 0 {
			list = append(list, n)
		}
	}
	return list
}

// mergeEnds merges two ascending lists; equal tokens once.
func mergeEnds(a, b []Token) []Token {
	if len(b) == 0 || len(a) > 0 && &a[0] == &b[0] {
		return a
	}
	all := make([]Token, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			all, a = append(all, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			all, b = append(all, b[0]), b[1:]
		default:
			all, a, b = append(all, a[0]), a[1:], b[1:]
		}
	}
	return all
}
