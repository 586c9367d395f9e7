// Package vnodes owns tokens, the partitioner, the ring and replica placement, as immutable snapshots.
// It imports nothing of nodedb. Start reading at Ring.
package vnodes

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

// Replicas are the owners of one token. Old and New differ only while a range moves; then a consistency level has to
// be met on both, counted separately.
type Replicas struct {
	Old     []*Node // ring order from the token on
	New     []*Node
	ReadNew bool // reads go to New rather than Old
}

// Read gives the owners that answer reads.
func (r *Replicas) Read() []*Node {
	if r.ReadNew {
		return r.New
	}
	return r.Old
}

// Moving reports whether the range is changing owners.
func (r *Replicas) Moving() bool { panic("contract") }

// Write gives every owner that takes writes: Old and New, each once.
func (r *Replicas) Write() []*Node { panic("contract") }

// Contains reports whether id is among Write().
func (r *Replicas) Contains(id HostID) bool { panic("contract") }

// Ring is an immutable snapshot of who owns which tokens at an epoch of the metadata log.
type Ring struct {
	// unexported fields by the owner of this package
}

// NewRing builds the snapshot. epoch is the number of the metadata entry that last changed the topology.
func NewRing(epoch uint64, nodes []Node) *Ring { panic("contract") }

// Epoch is the number of the metadata entry that last changed the topology.
func (r *Ring) Epoch() uint64 { panic("contract") }

// Nodes gives all members, by host id. Callers must not change it.
func (r *Ring) Nodes() []*Node { panic("contract") }

// Node finds a member.
func (r *Ring) Node(id HostID) (*Node, bool) { panic("contract") }

// Place computes (or returns the cached) placement for a replication. O(tokens) the first time; lookups are O(log tokens).
func (r *Ring) Place(rep Replication) *Placement { panic("contract") }

// Placement is a Ring seen through one replication: for each range between neighbouring tokens, its owners.
type Placement struct{}

// Replicas gives the owners of t. The result is shared: callers must not change it.
func (p *Placement) Replicas(t Token) *Replicas { panic("contract") }

// RangeReplicas is one range of a placement and its owners.
type RangeReplicas struct {
	Range    Range
	Replicas *Replicas
}

// Ranges gives all ranges, ascending by start; the wrapping one is split at MinToken, so none wraps, and together they cover the ring once.
func (p *Placement) Ranges() []RangeReplicas { panic("contract") }

// Owned gives the ranges for which id takes writes, neighbouring ones joined.
func (p *Placement) Owned(id HostID) []Range { panic("contract") }

// PartitionToken hashes a serialized partition key: Murmur3 x64 128, first half, with Cassandra's signed-byte quirk.
func PartitionToken(key []byte) Token { panic("contract") }

// Hash128 is Murmur3 x64 128 as published (no quirk); nodedb uses it for digests.
func Hash128(b []byte) (uint64, uint64) { panic("contract") }

// ChooseTokens picks n tokens for a new node such that ownership stays even: it halves the largest ranges of its
// DC. Deterministic in the ring and seed.
func ChooseTokens(r *Ring, dc string, n int, seed uint64) []Token { panic("contract") }
