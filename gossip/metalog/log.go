package metalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator/paxos"
	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Log is one node's copy of the metadata log, acceptor and proposer.
//
// One goroutine, run, does everything that changes the copy: it votes, applies entries, installs snapshots, and reads
// for others. Handlers and proposers hand it tasks. So there are no locks around the protocol, and what is answered is
// durable, because the task that answers stored it before. Invariants:
//
//	L1  a vote is synced before its answer leaves;
//	L2  entry N is stored before state N is visible, and OnApply(N) has returned before Propose or WaitFor of N do;
//	L3  stored entries are contiguous up to the state's epoch, from the snapshot's epoch + 1 or earlier on;
//	L4  a value is proposed for N+1 only at state N, which is what its validity was checked against.
//
// Proposers (propose.go) run in the caller's goroutine, one at a time a node; the puller (catchup.go) fetches what
// others know; the finisher (finish.go) has decided what others began; founding (found.go) brings the first state.
type Log struct {
	o       Options
	logger  *slog.Logger
	state   atomic.Pointer[State]
	founder atomic.Pointer[founder] // while FoundOrJoin runs

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	tasks  chan func() // see maxTasks
	core   core

	proposing chan struct{} // held by the one who proposes
	proxied   chan struct{} // one for each proposal made for somebody else
	behind    chan struct{} // wakes the puller
	// unfinished wakes the finisher.
	unfinished chan struct{}

	mu struct {
		sync.Mutex
		closed  error // why no more tasks are taken
		applied uint64
		changed chan struct{} // closed when applied grows
		waiting map[[16]byte]chan outcome
		ahead   rpc.Peer // who has said to be at
		newest  uint64   // this epoch
		left    open     // what a proposer of this node left undecided, the last time
	}
}

// outcome is what applying an entry came to.
type outcome struct {
	state  *State
	target schema.Target
	err    error
}

// spareTasks is room in the queue for the log's own tasks: a proposer, the puller and the founder have few at a time.
const spareTasks = 64

// Open loads what is stored and registers the handlers (VerbHello, VerbFound, VerbMeta*).
func Open(o Options) (*Log, error) {
	l := &Log{
		o: o, logger: o.Logger, tasks: make(chan func(), maxTasks+spareTasks), proposing: make(chan struct{}, 1),
		proxied: make(chan struct{}, maxProxied), behind: make(chan struct{}, 1),
		unfinished: make(chan struct{}, 1),
	}
	l.o.Node.ID = o.Self
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.o.Jitter == nil {
		l.o.Jitter = func(n int64) int64 {
			id := o.NewID()
			return int64(binary.BigEndian.Uint64(id[8:])>>2) % n
		}
	}
	l.core.acceptors = map[uint64]*paxos.Acceptor{}
	l.mu.changed = make(chan struct{})
	l.mu.waiting = map[[16]byte]chan outcome{}
	if err := l.load(); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.register()
	l.wg.Go(l.run)
	l.wg.Go(l.pull)
	l.wg.Go(l.keepAddress)
	l.wg.Go(l.finisher)
	l.wakeFinisher() // a vote may be stored
	return l, nil
}

// Close stops background work and waits for it.
func (l *Log) Close() error {
	l.shut(ErrClosed)
	l.cancel()
	l.wg.Wait()
	return nil
}

func (l *Log) shut(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed == nil {
		l.mu.closed = why
	}
}

// halt stops the log for good, and says so once.
func (l *Log) halt(err error) error {
	l.mu.Lock()
	first := l.mu.closed == nil
	if first {
		l.mu.closed = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	l.mu.Unlock()
	if first {
		l.logger.Error("the metadata log can't go on", "why", err)
		l.cancel()
		if l.o.Fatal != nil {
			l.o.Fatal(err)
		}
	}
	return err
}

// State is the newest applied state; nil before there is a cluster. Lock-free.
func (l *Log) State() *State { return l.state.Load() }

// run is the log's goroutine. Tasks that are queued when it stops still run: they answer that it has stopped.
func (l *Log) run() {
	for {
		select {
		case task := <-l.tasks:
			task()
		case <-l.ctx.Done():
			for {
				select {
				case task := <-l.tasks:
					task()
				default:
					return
				}
			}
		}
	}
}

// do queues a task of a peer's request; it never blocks.
func (l *Log) do(task func()) error { return l.queue(task, maxTasks) }

// own queues a task of the log itself, and waits for its result.
func (l *Log) own(task func() error) error {
	done := make(chan error, 1)
	run := func() {
		err := l.stopped()
		if err == nil {
			err = task()
		}
		done <- err
	}
	if err := l.queue(run, maxTasks+spareTasks); err != nil {
		return err
	}
	return <-done // every queued task runs
}

func (l *Log) queue(task func(), limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed != nil {
		return l.mu.closed
	}
	if len(l.tasks) >= limit {
		return ErrOverloaded
	}
	l.tasks <- task // has room: only queue sends, under the lock
	return nil
}

// stopped is why tasks that run after Close or halt have to be refused.
func (l *Log) stopped() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.closed
}

// spawn runs a goroutine that Close waits for; refused runs instead if it is too late.
func (l *Log) spawn(run, refused func()) {
	l.mu.Lock()
	closed := l.mu.closed != nil
	if !closed {
		l.wg.Add(1)
	}
	l.mu.Unlock()
	if closed {
		refused()
		return
	}
	go func() {
		defer l.wg.Done()
		run()
	}()
}

// publish makes a state visible and tells everybody who waits, proposers by settle first. Run by the log's goroutine.
func (l *Log) publish(next *State, target schema.Target, settle func()) {
	l.state.Store(next)
	if l.o.OnApply != nil {
		l.o.OnApply(next, target)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	settle()
	l.mu.applied = next.Epoch
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
	l.wakeFinisher() // this node may have voted for the epoch after
}

// applied gives the epoch up to which OnApply has returned, and a channel that is closed when that changes.
func (l *Log) applied() (uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.applied, l.mu.changed
}

// await registers interest in a proposal's outcome; forget ends it.
func (l *Log) await(id [16]byte) <-chan outcome {
	ch := make(chan outcome, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.waiting[id] = ch
	return ch
}

func (l *Log) forget(id [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.waiting, id)
}

// settle hands an outcome to the proposer that waits here for it. REQUIRES: l.mu.
func (l *Log) settle(id [16]byte, o outcome) {
	if ch, ok := l.mu.waiting[id]; ok {
		delete(l.mu.waiting, id)
		ch <- o // has room for one
	}
}

// seenOutcome is what is still known of a proposal that was decided before, or that a snapshot brought.
func seenOutcome(st *State, ok bool) outcome {
	if ok {
		return outcome{state: st}
	}
	return outcome{st, schema.Target{}, fmt.Errorf("%w: it was refused when it was decided", ErrInvalid)}
}

// peer is where a member's log answers.
func (l *Log) peer(n *vnodes.Node) rpc.Peer {
	return rpc.Peer{ID: n.ID, Addr: net.JoinHostPort(n.Address, strconv.Itoa(l.o.MetaPort))}
}

// call sends a request and waits for the answer.
func (l *Log) call(ctx context.Context, to rpc.Peer, verb rpc.Verb, timeout time.Duration, body []byte, reply any) error {
	done := make(chan error, 1)
	l.o.Transport.Send(&rpc.Call{To: to, Verb: verb, Body: body, Timeout: timeout, Done: func(b []byte, err error) {
		if err == nil && reply != nil {
			err = decode(b, reply)
		}
		done <- err
	}})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits, or returns false when ctx or the log ends.
func (l *Log) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-l.ctx.Done():
	}
	return false
}

// keepAddress records where this node is now, if it restarted at another address.
func (l *Log) keepAddress() {
	for {
		st := l.state.Load()
		if st == nil {
			return
		}
		m, ok := st.Member(l.o.Self)
		if !ok || m.Address == l.o.Node.Address {
			return
		}
		_, _, err := l.Propose(l.ctx, &Entry{Kind: EntryAddress, Host: l.o.Self, Node: vnodes.Node{Address: l.o.Node.Address}})
		if err != nil && !errors.Is(err, ErrClosed) {
			l.logger.Warn("the cluster doesn't know this node's new address yet", "address", l.o.Node.Address, "why", err)
		}
		if !l.sleep(l.ctx, maxBackoff) {
			return
		}
	}
}
