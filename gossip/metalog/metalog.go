// Package metalog is the cluster's metadata log: membership and schema as one state machine, advanced by numbered
// entries each decided by one Paxos instance among the voters (DESIGN.md, section 4). It may import vnodes, node/rpc,
// node/metrics, node/fault, coordinator/paxos, query/schema, gossip. Start reading at Log; the state machine is
// apply.go.
package metalog

import (
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
	// ErrRemoved says that the node was removed from the cluster for good.
	ErrRemoved = errors.New("metadata log: this host id was removed from the cluster; wipe the data directory to join as a new node")
	// ErrUncertain says that the time was up before the change was decided. It may be decided yet.
	ErrUncertain = errors.New("metadata log: not decided in time; the change may or may not take effect")
	// ErrCorrupt says that stored or received bytes are no entry, snapshot or vote.
	ErrCorrupt = errors.New("metadata log: corrupt bytes")
	// ErrClosed says that the log was closed, or stopped after an error that it can't go on from.
	ErrClosed = errors.New("metadata log: stopped")
	// ErrOverloaded says that too many changes wait already.
	ErrOverloaded = errors.New("metadata log: too many requests wait")
)

// Bounds.
const (
	// MaxVoters is the most voters there are.
	MaxVoters = 7
	// maxTokens bounds a member's weight: its number of tokens.
	maxTokens = 4096
	// maxEntryBytes bounds an entry, so that a page of entries fits a message.
	maxEntryBytes = 1 << 20
	// keepEntries is how many entries are kept for those that are behind; who is further behind gets a snapshot.
	// Proposal ids are remembered as long.
	keepEntries = 1000
	// snapshotEvery is after how many entries the state is written out whole: so many are replayed at a start, at most.
	snapshotEvery = 200
	// maxTasks bounds the requests that wait for the log's goroutine; more are answered with CodeOverloaded.
	maxTasks = 1024
	// maxProxied bounds the proposals made for nodes that join.
	maxProxied = 16
	// maxPullBytes bounds the entries of one answer (one entry is always sent).
	maxPullBytes = 1 << 20
	// maxSet bounds a founding set.
	maxSet = 1000
)

// Times.
const (
	// callTimeout is how long a voter's answer is waited for.
	callTimeout = 2 * time.Second
	// quorumPatience is how long a proposer goes on without hearing a majority.
	quorumPatience = 6 * time.Second
	// minBackoff and maxBackoff bound the pause after a lost round; it doubles, and half of it is random.
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Second
	// minFinishPause and maxFinishPause bound the pause before a round for what somebody else began; as above.
	minFinishPause = 2 * time.Second
	maxFinishPause = 8 * time.Second
	// pullRetry is the pause after a failed pull.
	pullRetry = 200 * time.Millisecond
)

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
	// Jitter gives a random number below n for the pauses of contending proposers; nil: made from NewID.
	Jitter func(n int64) int64
	Logger *slog.Logger
	// OnApply is called in order, from one goroutine, after each applied entry is durable. target is non-zero after a
	// schema change. After a snapshot was installed it is called once. It must not wait for Propose or WaitFor.
	OnApply func(s *State, target schema.Target)
	// Fatal is called once when the log can't go on: an entry this nodedb doesn't know (ErrUnknown), corrupt bytes.
	// The process must stop. It is called from the log's goroutine, so it must not wait for Close. May be nil.
	Fatal func(error)
}

// Store is where the log keeps acceptors, entries, snapshots and identity (storage.Engine has it).
type Store interface {
	GetSystem(key string) ([]byte, error)
	PutSystemMeta(pairs map[string][]byte) error // synced, atomic; nil deletes
	ScanSystem(prefix string, f func(key string, value []byte) bool) error
}
