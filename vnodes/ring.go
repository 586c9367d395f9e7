// Package vnodes owns tokens, the partitioner, the ring and replica placement, as immutable snapshots.
// It imports nothing of nodedb. Start reading at Ring.
package vnodes

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// NodeState says which of its ranges a node answers for. Only append to this list: it is stored in the metadata log.
type NodeState uint8

const (
	// StateNormal owns its tokens for reads and writes.
	StateNormal NodeState = iota
	// StateJoining takes writes for its tokens, answers no reads: it is streaming. (step "write both, read old")
	StateJoining
	// StateJoiningRead answers reads too; the former owners still take writes. ("write both, read new")
	StateJoiningRead
	// StateLeaving still answers reads; the future owners take its writes too. ("write both, read old")
	StateLeaving
	// StateLeavingRead answers no more reads but takes writes. ("write both, read new")
	StateLeavingRead
	// StateWaiting is a member without ranges: it waits in line for its turn to join.
	StateWaiting
)

var stateNames = [...]string{"normal", "joining", "joining-read", "leaving", "leaving-read", "waiting"}

// String is the state's name in logs and errors.
func (s NodeState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Moving reports whether ranges change owners because of a node in this state.
func (s NodeState) Moving() bool {
	return s == StateJoining || s == StateJoiningRead || s == StateLeaving || s == StateLeavingRead
}

// inOld and inNew say on which ring a node's tokens lie: the one its ranges come from, and the one they go to.
func (s NodeState) inOld() bool {
	return s == StateNormal || s == StateLeaving || s == StateLeavingRead
}

func (s NodeState) inNew() bool {
	return s == StateNormal || s == StateJoining || s == StateJoiningRead
}

// Node is a member of the cluster as the metadata log knows it.
type Node struct {
	ID      HostID
	Address string // IP, without a port: all nodes of a cluster use the same ports
	DC      string
	Rack    string
	Weight  int // number of tokens asked for
	State   NodeState
	Tokens  []Token // ascending
}

// Replication says how many replicas a keyspace keeps, and where.
type Replication struct {
	// Factor is the number of replicas under SimpleStrategy; 0 when Datacenters is set.
	Factor int
	// Datacenters is the number of replicas in each DC under NetworkTopologyStrategy; nil under SimpleStrategy.
	Datacenters map[string]int
	// Everywhere puts one replica on every node (lookup and system tables).
	Everywhere bool
}

// Equal reports whether two replications place alike.
func (r Replication) Equal(o Replication) bool {
	if r.Factor != o.Factor || r.Everywhere != o.Everywhere || len(r.Datacenters) != len(o.Datacenters) {
		return false
	}
	for dc, n := range r.Datacenters {
		if m, ok := o.Datacenters[dc]; !ok || m != n {
			return false
		}
	}
	return true
}

// Ring is an immutable snapshot of who owns which tokens at an epoch of the metadata log.
//
// While a node joins or leaves there are two rings in one: the old, where its ranges come from (normal and leaving
// nodes), and the new, where they go to (normal and joining nodes). A Placement answers for both at once.
//
// Placements are computed on first use and kept with the Ring. The cache is copied on write, so that a lookup is one
// atomic load; a cluster has a handful of different replications, which is why a linear search does.
type Ring struct {
	epoch    uint64
	nodes    []*Node // by host id
	byID     map[HostID]*Node
	old, new *points // the same when nobody moves

	placements atomic.Pointer[[]*Placement]
	building   sync.Mutex // held by the one who adds to placements
}

// points is the sorted list of the tokens of some nodes, and who holds each.
//
// Invariant: tokens ascend; equal ones (which the metadata log refuses) are ordered by host id.
type points struct {
	tokens []Token
	owner  []int32 // index into Ring.nodes
}

// NewRing builds the snapshot. epoch is the number of the metadata entry that last changed the topology. It copies
// nodes, not their token lists.
func NewRing(epoch uint64, nodes []Node) *Ring {
	r := &Ring{epoch: epoch, byID: make(map[HostID]*Node, len(nodes))}
	copied := slices.Clone(nodes)
	slices.SortFunc(copied, func(a, b Node) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	moving := false
	for i := range copied {
		n := &copied[i]
		r.nodes = append(r.nodes, n)
		r.byID[n.ID] = n
		moving = moving || n.State.Moving()
	}
	r.old = newPoints(r.nodes, NodeState.inOld)
	r.new = r.old
	if moving {
		r.new = newPoints(r.nodes, NodeState.inNew)
	}
	r.placements.Store(&[]*Placement{})
	return r
}

func newPoints(nodes []*Node, in func(NodeState) bool) *points {
	type point struct {
		token Token
		owner int32
	}
	var all []point
	for i, n := range nodes {
		if !in(n.State) {
			continue
		}
		for _, t := range n.Tokens {
			all = append(all, point{t, int32(i)})
		}
	}
	slices.SortFunc(all, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.token, b.token), cmp.Compare(a.owner, b.owner))
	})
	p := &points{tokens: make([]Token, len(all)), owner: make([]int32, len(all))}
	for i, pt := range all {
		p.tokens[i], p.owner[i] = pt.token, pt.owner
	}
	return p
}

// Epoch is the number of the metadata entry that last changed the topology.
func (r *Ring) Epoch() uint64 { return r.epoch }

// Nodes gives all members, by host id. Callers must not change it.
func (r *Ring) Nodes() []*Node { return r.nodes }

// Node finds a member.
func (r *Ring) Node(id HostID) (*Node, bool) {
	n, ok := r.byID[id]
	return n, ok
}

// Place computes (or returns the cached) placement for a replication. O(tokens) the first time; later calls do not
// allocate or lock.
func (r *Ring) Place(rep Replication) *Placement {
	if p := r.cached(rep); p != nil {
		return p
	}
	r.building.Lock()
	defer r.building.Unlock()
	if p := r.cached(rep); p != nil {
		return p
	}
	p := newPlacement(r, rep)
	old := *r.placements.Load()
	grown := append(old[:len(old):len(old)], p)
	r.placements.Store(&grown)
	return p
}

func (r *Ring) cached(rep Replication) *Placement {
	for _, p := range *r.placements.Load() {
		if p.rep.Equal(rep) {
			return p
		}
	}
	return nil
}
