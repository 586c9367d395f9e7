// Package antientropy makes replicas agree without an operator: it compares every range of every table with the other owners once in a target time,
// first those of a node that was away, and keeps what came of it. Subpackage merkle is what is compared, stream how. It may import vnodes, node/row,
// node/rpc, node/storage, node/metrics, query/schema and its subpackages. Start reading at Repairer.
package antientropy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/metrics"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// System is the store's system key space.
type System interface {
	PutSystem(pairs ...storage.Pair) error
	ScanSystem(prefix string, f func(key string, value []byte) bool) error
}

// Options of New.
type Options struct {
	Self  vnodes.HostID
	View  func() stream.View
	Alive func(vnodes.HostID) bool
	Peer  func(*vnodes.Node) rpc.Peer
	// Await calls done once a metadata epoch is applied here; it does not block.
	Await     func(ctx context.Context, from rpc.Peer, epoch uint64, done func(error))
	Transport rpc.Transport
	Store     stream.Store
	System    System
	// Apply writes mutations on this node's own replica as the request path does; done: durably.
	Apply func(needs, ring uint64, mutations [][]byte, done func(error))
	// Pending reports whether a memory table's rows are not back yet after a restart.
	Pending func(row.StorageID) bool
	// Requested reports whether this node has requests, for which comparing makes way; nil: never.
	Requested func() bool
	// Hinted reports whether hints were sent to this node a moment ago: its ranges are not compared out of turn until they have come. nil: never.
	Hinted func() bool
	Now    func() time.Time // dates agreements, and TTLs

	Target   time.Duration // within which all ranges are compared; default 24 h
	Throttle int64         // bytes a second read here, for all comparisons together; 0: no bound
	// Settle is how long a write on its way is given before replicas count as different; default 500 ms.
	Settle time.Duration
	// Grace is how long after a node came up, or hints for it were lost, its ranges are compared: hints come first. Default 10 s, at most a twentieth
	// of Target.
	Grace   time.Duration
	Logger  *slog.Logger
	Metrics *metrics.Registry
}

func (o *Options) setDefaults() {
	if o.Target <= 0 {
		o.Target = 24 * time.Hour
	}
	if o.Settle <= 0 {
		o.Settle = 500 * time.Millisecond
	}
	if o.Grace <= 0 {
		o.Grace = min(10*time.Second, o.Target/20)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Pending == nil {
		o.Pending = func(row.StorageID) bool { return false }
	}
}

// Repairer is one node's anti-entropy.
//
// Each range is driven by its first live owner in ring order, so that one node compares it with the others. It takes its ranges by the age of their last
// comparison, one at a time, spread over Options.Target (schedule.go); those of a suspected node come first. What came of a session is a Record, kept by
// every owner, so that whoever drives next goes on from there. A person's command runs the same sessions as a job (job.go).
//
// Invariant: a Record's Agreed is the beginning of a session at whose end all that any owner held at that time was durable on every owner.
type Repairer struct {
	Options
	server *stream.Server
	pace   *stream.Pace
	wake   chan struct{} // capacity 1: something is to be done sooner
	stats  stats
	jobs   jobs

	mu struct {
		sync.Mutex
		epoch    uint64 // of the view that tasks are of
		tasks    map[taskKey]*task
		agenda   agenda             // of them, those to drive
		records  map[taskKey]Record // those read at the start that no task has taken yet
		dirty    map[taskKey]bool   // to be stored
		loaded   bool
		nextAt   time.Time // when the next range is due, as far as the pace goes
		urgent   bool      // the last turn was an urgent range's
		suspects map[vnodes.HostID]time.Time
	}
}

type stats struct {
	sessions, agreed, failed, rows, fetched, pushed, sent, received, scanned atomic.Uint64
}

// New makes a repairer; Run starts it. It reads its records at once.
func New(o Options) (*Repairer, error) {
	o.setDefaults()
	r := &Repairer{Options: o, pace: stream.NewPace(o.Throttle, o.Requested), wake: make(chan struct{}, 1)}
	r.mu.tasks, r.mu.agenda, r.mu.dirty, r.mu.suspects = map[taskKey]*task{}, newAgenda(), map[taskKey]bool{}, map[vnodes.HostID]time.Time{}
	r.jobs.byID = map[[16]byte]*job{}
	if err := r.load(); err != nil {
		return nil, err
	}
	r.server = stream.NewServer(stream.ServerOptions{Store: o.Store, View: o.View, Await: o.Await, Apply: o.Apply, Pending: o.Pending,
		Record: r.told, Suspect: r.Suspect, Hinted: o.Hinted, Pace: r.pace})
	r.measure()
	return r, nil
}

// Register sets the verbs' handlers.
func (r *Repairer) Register(t rpc.Transport) {
	r.server.Register(t)
	t.Handle(rpc.VerbRepairRun, r.handleRun)
}

// Close ends jobs and waits for what is under way. Run must have ended, and the transport have stopped delivering.
func (r *Repairer) Close() {
	r.jobs.close()
	r.server.Close()
}

func (r *Repairer) measure() {
	for _, m := range []struct {
		name, help string
		value      *atomic.Uint64
	}{
		{"nodedb_anti_entropy_sessions_total", "Ranges compared with their other owners, driven by this node.", &r.stats.sessions},
		{"nodedb_anti_entropy_agreed_total", "Of those, the ones after which all owners agreed.", &r.stats.agreed},
		{"nodedb_anti_entropy_failed_total", "Of those, the ones in which some owner could not be compared.", &r.stats.failed},
		{"nodedb_anti_entropy_rows_total", "Rows and partition headers that differed.", &r.stats.rows},
		{"nodedb_anti_entropy_fetched_total", "Rows and headers written here that another owner had.", &r.stats.fetched},
		{"nodedb_anti_entropy_pushed_total", "Rows and headers written to other owners.", &r.stats.pushed},
		{"nodedb_anti_entropy_sent_bytes_total", "Bytes sent in sessions driven by this node.", &r.stats.sent},
		{"nodedb_anti_entropy_received_bytes_total", "Bytes received in sessions driven by this node.", &r.stats.received},
		{"nodedb_anti_entropy_scanned_bytes_total", "Bytes read here in sessions driven by this node.", &r.stats.scanned},
	} {
		r.Metrics.CounterFunc(m.name, m.help, func() float64 { return float64(m.value.Load()) })
	}
}

// count counts a session: compared says that all owners were, agreed that they hold the same now. A verification may be the one and not the other.
func (r *Repairer) count(o *stream.Outcome, compared, agreed bool) {
	r.stats.sessions.Add(1)
	if agreed {
		r.stats.agreed.Add(1)
	}
	if !compared {
		r.stats.failed.Add(1)
	}
	r.stats.rows.Add(o.Rows)
	r.stats.fetched.Add(o.Fetched)
	r.stats.pushed.Add(o.Pushed)
	r.stats.sent.Add(o.Sent)
	r.stats.received.Add(o.Received)
	r.stats.scanned.Add(o.Scanned)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
