// Package metalog is the cluster's metadata log: membership and schema as one state machine, advanced by numbered entries each decided by
// one Paxos instance among the voters (DESIGN.md, section 4). It may import vnodes, node/rpc, node/metrics, node/fault, coordinator/paxos,
// query/schema, gossip. Start reading at Log.
package metalog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Errors.
var (
	ErrNoQuorum    = errors.New("metadata log: no majority of the voters answers")
	ErrInvalid     = errors.New("metadata log: the change is not valid any more")
	ErrNoCluster   = errors.New("metadata log: this node belongs to no cluster yet")
	ErrOtherName   = errors.New("metadata log: another cluster_name")
	ErrAddressUsed = errors.New("metadata log: the address belongs to another host id; replace or remove that node first")
	ErrUnknown     = errors.New("metadata log: unknown entry or version; this nodedb is too old")
)

// Member of the cluster.
type Member struct {
	vnodes.Node
	Joined  uint64 // epoch
	Applied uint64 // reserved
}

// State is the cluster's metadata after entry Epoch. Immutable.
type State struct {
	Generation uint64 // recovery generation
	Epoch      uint64
	ClusterID  [16]byte
	Name       string
	Members    []Member // by host id
	Voters     []vnodes.HostID
	RingEpoch  uint64 // last entry that changed members, states or tokens
	Ring       *vnodes.Ring
	Catalog    *schema.Catalog
	Removed    []vnodes.HostID // never admitted again
}

// Member finds a member.
func (s *State) Member(id vnodes.HostID) (*Member, bool) { panic("contract") }

// EntryKind. Only append to this list: it is stored.
type EntryKind uint8

const (
	// EntryFound is epoch 1: the cluster's id, name, first members with tokens, voters.
	EntryFound EntryKind = iota + 1
	// EntryAddMember adds a member in StateWaiting; refused for a used address or removed id.
	EntryAddMember
	// EntrySetState moves a member to its next state; tokens are chosen (ChooseTokens) when it goes to StateJoining. Only one member may be in a
	// moving state at a time; others wait.
	EntrySetState
	// EntryRemoveMember removes it for good (its id goes to Removed).
	EntryRemoveMember
	// EntryVoters adds or drops one voter.
	EntryVoters
	// EntrySchema is a schema.Change.
	EntrySchema
	// EntryAddress records that a member restarted at another address.
	EntryAddress
)

// Entry is one step of the state machine, as proposed.
type Entry struct {
	Kind   EntryKind
	ID     [16]byte    // proposal id: a duplicate is a no-op
	Node   vnodes.Node // AddMember; SetState: ID, State, expected former state in From
	From   vnodes.NodeState
	Host   vnodes.HostID // RemoveMember, Voters, Address
	Drop   bool          // Voters
	Change []byte        // Schema: schema.Change bytes
	Found  *Founding
}

// Founding is the first entry.
type Founding struct {
	ClusterID [16]byte
	Name      string
	Nodes     []vnodes.Node // with tokens
}

// Store is where the log keeps acceptors, entries, snapshots and identity (storage.Engine has it).
type Store interface {
	GetSystem(key string) ([]byte, error)
	PutSystemMeta(pairs map[string][]byte) error // synced, atomic; nil deletes
	ScanSystem(prefix string, f func(key string, value []byte) bool) error
}

// Options of Open.
type Options struct {
	Self      vnodes.HostID
	Node      vnodes.Node // our address, DC, rack, weight
	Name      string      // cluster_name
	Store     Store
	Transport rpc.Transport
	MetaPort  int // RPC port of all nodes: a voter's address + this port
	Now       func() time.Time
	NewID     func() [16]byte // random ids, injected
	Logger    *slog.Logger
	// OnApply is called in order, from one goroutine, after each applied entry is durable. target is non-zero after a schema change.
	OnApply func(s *State, target schema.Target)
}

// Log is one node's copy of the metadata log, acceptor and proposer.
type Log struct{}

// Open loads what is stored and registers the handlers (VerbHello, VerbFound, VerbMeta*).
func Open(o Options) (*Log, error) { panic("contract") }

// State is the newest applied state; nil before there is a cluster. Lock-free.
func (l *Log) State() *State { panic("contract") }

// FoundOrJoin brings an empty node into a cluster (DESIGN.md, Founding): alone without a list; joins any cluster found among peers (it is then a
// member in StateWaiting, or whatever state it had reached); else founds one with a majority of peers and self. progress gets a line every 5 s: who
// is missing or has another list. It returns once State() is not nil and contains us.
func (l *Log) FoundOrJoin(ctx context.Context, peers []rpc.Peer, progress func(string)) error {
	panic("contract")
}

// Propose has an entry decided and applied here, and returns the state right after it. ErrInvalid (wrapped with why) when it was decided, or already known,
// to be a no-op; ErrNoQuorum names the voters that are missing. Schema errors wrap schema's sentinels.
func (l *Log) Propose(ctx context.Context, e *Entry) (*State, schema.Target, error) {
	panic("contract")
}

// Heard tells that a peer has an epoch; when it is newer, entries are pulled from it in the background.
func (l *Log) Heard(from rpc.Peer, epoch uint64) { panic("contract") }

// WaitFor returns when epoch is applied, pulling from peer if needed.
func (l *Log) WaitFor(ctx context.Context, from rpc.Peer, epoch uint64) error { panic("contract") }

// Close stops background work and waits for it.
func (l *Log) Close() error { panic("contract") }
