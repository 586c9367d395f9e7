// Package coordinator is the request path: it finds replicas, sends in parallel, counts answers against the consistency level, merges and
// repairs reads, and leaves hints. Subpackage replica is the other side of its verbs. It may import everything of rank 0 to 2 and speaks to
// gossip, hints and storage through interfaces of its own. Start reading at Coordinator.
package coordinator

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/clock"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Write is a mutation and the table it goes to.
type Write struct {
	Table    *schema.Table
	Mutation row.Mutation
}

// WriteKind is what WriteTimeout errors name.
type WriteKind string

// The kinds of write, as the CQL protocol names them.
const (
	WriteSimple        WriteKind = "SIMPLE"
	WriteBatch         WriteKind = "BATCH"
	WriteUnloggedBatch WriteKind = "UNLOGGED_BATCH"
	WriteBatchLog      WriteKind = "BATCH_LOG" // a logged batch, of which nothing was written yet
)

// WriteRequest is one statement's or batch's mutations. Several for one partition of one table are best merged into one. Those of Kind WriteBatch are applied all
// or, whatever fails, within a minute after that (batch.go).
type WriteRequest struct {
	Level  consistency.Level
	Kind   WriteKind
	Writes []Write
	Trace  [16]byte
	// Spent, where it is set, is called once nothing uses the request and its mutations any more: after done, from any goroutine, and maybe never.
	Spent func()
}

// ReadRequest reads one partition (Spec.Key set) or a token range (Key nil; it may span many owners: the coordinator goes through them
// in token order, and a page may end where one's range ends).
type ReadRequest struct {
	Level consistency.Level
	Table *schema.Table
	Spec  storage.ReadSpec // Count is heeded where one answer is enough for the level; else the page has rows
	Trace [16]byte
	// Room, where it is not nil, is memory for the page. It is the caller's again if the page begins where Room does; else somebody may still write
	// into it.
	Room []byte
}

// View is the ring and schema at one metadata epoch. Immutable.
type View struct {
	Epoch   uint64
	Ring    *vnodes.Ring
	Catalog *schema.Catalog
	places  map[string]*vnodes.Placement // by keyspace
}

// NewView computes the placements of all keyspaces.
func NewView(epoch uint64, ring *vnodes.Ring, catalog *schema.Catalog) *View {
	v := &View{Epoch: epoch, Ring: ring, Catalog: catalog, places: make(map[string]*vnodes.Placement, len(catalog.Keyspaces))}
	for name, ks := range catalog.Keyspaces {
		v.places[name] = ring.Place(ks.Replication)
	}
	return v
}

// Placement gives where a keyspace's replicas are.
func (v *View) Placement(keyspace string) (*vnodes.Placement, vnodes.Replication, bool) {
	p, ok := v.places[keyspace]
	if !ok {
		return nil, vnodes.Replication{}, false
	}
	return p, v.Catalog.Keyspaces[keyspace].Replication, true
}

// Cluster is what the coordinator knows of the others.
type Cluster interface {
	// View is the newest view applied here. Lock-free.
	View() *View
	// Alive reports whether a node is believed up. Lock-free.
	Alive(vnodes.HostID) bool
	// Peer gives a node's RPC address.
	Peer(*vnodes.Node) rpc.Peer
	// Await calls done once epoch is applied here, pulling it from a peer if need be, or with ctx's error. It does not block.
	Await(ctx context.Context, from rpc.Peer, epoch uint64, done func(error))
}

// Local is this node's own replica: the same verbs without the network.
type Local interface {
	Write(m *WriteMessage, done func(error))
	Read(ctx context.Context, m *ReadMessage, done func(*ReadReply, error))
	// ReadNow gives the page that a Read under a ring would, appended to buf[:0], where that takes no waiting; false: ask Read.
	ReadNow(ring uint64, spec *storage.ReadSpec, buf []byte) (page []byte, ok bool)
}

// Hints keeps mutations for replicas that missed them.
type Hints interface {
	// Add must not block; done says when the hint is durable.
	Add(to vnodes.HostID, mutation []byte, done func(error))
}

// Options of New. Timeouts carry Cassandra's names and defaults.
type Options struct {
	Self         vnodes.HostID
	DC           string
	Cluster      Cluster
	Transport    rpc.Transport
	Local        Local
	Hints        Hints
	BatchLog     BatchLog
	Clock        *clock.HLC
	Traces       *trace.Recorder // nil: traced requests leave none
	Admission    *Admission      // shared with this node's replica
	WriteTimeout time.Duration   // write_request_timeout, 2 s
	ReadTimeout  time.Duration   // read_request_timeout, 5 s
	RangeTimeout time.Duration   // range_request_timeout, 10 s
	// SpeculateAfter is how long a read waits before it asks one more replica; 0: twice the slowest chosen replica's
	// usual latency, at least 10 ms.
	SpeculateAfter time.Duration
	MaxInFlight    int // requests coordinated at once; default 16,384
	// Random gives a number below n, for the reads that explore and for the choice of who keeps a batch. Default: math/rand's.
	Random func(n int) int
	// NewID gives an id that is never given again, of batches. Required where there are logged batches.
	NewID func() [16]byte
}

func (o *Options) setDefaults() {
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 2 * time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 5 * time.Second
	}
	if o.RangeTimeout == 0 {
		o.RangeTimeout = 10 * time.Second
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 16384
	}
	if o.Random == nil {
		o.Random = rand.IntN
	}
}

// Coordinator runs requests. Its methods call done exactly once, from any goroutine; done must not block.
//
// Invariants:
//  1. Nothing is written before the live replicas are known to suffice for the level.
//  2. An answer counts only if its replica owned the token at the ring the request was sent under; a replica that knows a
//     newer ring under which the request went to the wrong owners refuses, and the whole attempt begins anew on the newer ring.
//  3. A replica that did not acknowledge a write gets a hint, also after the client was answered.
//  4. A read that found replicas to differ is answered only once enough of them for its level hold the merge.
//
// Every request is a small state machine driven by callbacks (write.go, read.go): no goroutine waits for a replica.
type Coordinator struct {
	Options
	inFlight     atomic.Int64
	writing      deadlines // of writes
	reading      deadlines // of reads of one partition
	scanning     deadlines // of reads of a range
	sparing      deadlines // when a read asks one more replica
	writeOps     sync.Pool // of *writeOp
	latency      latencies
	batchHolders atomic.Pointer[batchHolders] // of the newest view that a batch came under
	stats        Stats
}

// Stats counts what a coordinator did since the start. All fields grow.
type Stats struct {
	Writes, Batches, Reads, Ranges, Hinted, Mismatches, Repaired, Speculated, Retried, Shed atomic.Int64
	// Owned counts the Writes and Reads that came to an owner of all they touch, as those of a token-aware client do.
	Owned atomic.Int64
	// Answered counts writes, and reads of one partition, that were answered; AnsweredUs is how long they took together, µs.
	Answered, AnsweredUs atomic.Int64
}

// New makes a coordinator.
func New(o Options) *Coordinator {
	o.setDefaults()
	return &Coordinator{Options: o}
}

// Stats gives the counters.
func (c *Coordinator) Stats() *Stats { return &c.stats }

// admit takes a place for a request, or sheds it.
func (c *Coordinator) admit() error {
	if c.inFlight.Add(1) > int64(c.MaxInFlight) {
		c.inFlight.Add(-1)
		c.stats.Shed.Add(1)
		return &Overloaded{What: "too many requests in flight on this coordinator; try again later"}
	}
	return nil
}

func (c *Coordinator) release() { c.inFlight.Add(-1) }

// answered measures a request that ended. It is what background work goes by: how long a scan takes says nothing of the others.
func (c *Coordinator) answered(begun time.Time) {
	c.stats.Answered.Add(1)
	c.stats.AnsweredUs.Add(time.Since(begun).Microseconds())
}

// endOf is ctx's deadline, or begun + timeout if that is sooner.
func endOf(ctx context.Context, begun time.Time, timeout time.Duration) time.Time {
	at := begun.Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		return d
	}
	return at
}
