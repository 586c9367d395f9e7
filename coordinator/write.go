package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/trace"
	"nodedb/vnodes"
)

// beforeAnswer is hit between a write's outcome and its answer: with an error the client is told of a timeout, though the write may be done everywhere.
var beforeAnswer = fault.New("coordinator/before-answer")

// maxAttempts bounds how often a request starts anew because the ring moved under it.
const maxAttempts = 5

// writeOp is one attempt at a write under one view.
//
//	plan       owners of every mutation; Unavailable before anything is sent
//	send       one message a node with all of its mutations; hints at once for nodes believed dead
//	answers    acks and failures to the trackers, until each is met or hopeless
//	late       failures after the answer still become hints
type writeOp struct {
	c        *Coordinator
	ctx      context.Context
	r        *WriteRequest
	view     *View
	attempt  int
	until    time.Time
	admitted Admitted
	span     *trace.Span // nil: not traced
	sent     time.Time   // of a traced write
	deadline deadline    // in c.writing

	targets []writeTarget
	nodes   []nodeWrite
	own     WriteMessage // to the own replica

	// Room of targets, nodes and own.Decoded for a write of one partition.
	oneTarget   [1]writeTarget
	fewNodes    [3]nodeWrite
	oneMutation [1]row.Mutation

	mu struct {
		sync.Mutex
		finished  bool
		restarted bool         // finished by another attempt, which writes to everybody again
		reason    error        // first failure
		broken    []*nodeWrite // nodes that failed
		met       bool         // finished with success
		remote    bool         // another node took the write, so that its clock agrees
		ahead     []*nodeWrite // nodes that refused the coordinator's clock before that
		timedOut  bool
		done      func(error)
	}
}

// writeTarget is one mutation and the count of its acknowledgements.
type writeTarget struct {
	bytes   []byte // encoded; nil where nobody but the own replica gets it
	tracker *consistency.Tracker
	hinted  bool // a hint is durable, which meets level ANY
}

func (t *writeTarget) met() bool { return t.hinted || t.tracker.Met() }

// nodeWrite is what goes to one node.
type nodeWrite struct {
	node    *vnodes.Node
	targets []int // indexes into writeOp.targets
	alive   bool
}

// onlyFirst are the targets of a node in a write of one partition. It is not changed.
var onlyFirst = []int{0}

// Write applies the request's mutations at its level. ctx's deadline bounds it (WriteTimeout otherwise).
func (c *Coordinator) Write(ctx context.Context, r *WriteRequest, done func(error)) {
	if len(r.Writes) == 0 {
		done(nil)
		return
	}
	if err := c.Clock.Trusted(); err != nil {
		done(&ClockSkew{err}) // the others would refuse it, but the own replica applies it
		return
	}
	if err := c.admit(); err != nil {
		done(err)
		return
	}
	c.stats.Writes.Add(1)
	begun := time.Now()
	until := endOf(ctx, begun, c.WriteTimeout)
	answer := func(err error) {
		c.release()
		c.answered(begun)
		done(err)
	}
	if r.logged() {
		c.startBatch(ctx, r, until, answer)
		return
	}
	c.startWrite(ctx, r, until, 1, answer)
}

func (c *Coordinator) startWrite(ctx context.Context, r *WriteRequest, until time.Time, attempt int, done func(error)) {
	op, err := c.planWrite(ctx, r, until, attempt, done)
	if err != nil {
		done(err)
		return
	}
	op.begin()
}

// planWrite prepares an attempt. It is in flight under its ring until it ends; without an error, begin sends it.
func (c *Coordinator) planWrite(ctx context.Context, r *WriteRequest, until time.Time, attempt int, done func(error)) (*writeOp, error) {
	op := &writeOp{c: c, ctx: ctx, r: r, attempt: attempt, until: until, span: c.Traces.Span(r.Trace, "coordinator")}
	op.view, op.admitted = c.Admission.Enter(c.Cluster)
	op.mu.done = done
	if err := op.plan(); err != nil {
		op.admitted.Leave()
		return nil, op.unsure(err)
	}
	return op, nil
}

// unsure is what the client is told of an error before an attempt sent anything: an earlier attempt may have written, so "nothing was written" would be a lie.
func (op *writeOp) unsure(err error) error {
	if u := (*Unavailable)(nil); op.attempt > 1 && errors.As(err, &u) {
		return &Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, BlockFor: u.Required}
	}
	return err
}

// begin sends the attempt.
func (op *writeOp) begin() {
	op.c.writing.add(&op.deadline, op.until, op)
	op.send()
}

// plan finds every mutation's owners and refuses a level that the live ones can't meet.
func (op *writeOp) plan() error {
	if op.targets, op.nodes = op.oneTarget[:], op.fewNodes[:0]; len(op.r.Writes) != 1 {
		op.targets = make([]writeTarget, len(op.r.Writes))
	}
	for i := range op.r.Writes {
		w := &op.r.Writes[i]
		if err := w.Mutation.CheckSize(); err != nil {
			return err // replicas would refuse it, and a hint of it could never be delivered
		}
		place, rep, ok := op.view.Placement(w.Table.Keyspace)
		if !ok {
			return fmt.Errorf("keyspace %q: %w", w.Table.Keyspace, ErrNoKeyspace)
		}
		owners := place.Replicas(w.Mutation.Token)
		tracker, err := consistency.NewWrite(op.r.Level, owners, rep, op.c.DC)
		if err != nil {
			return err
		}
		if need, live, ok := tracker.Available(op.c.Cluster.Alive); !ok {
			return &Unavailable{Level: op.r.Level, Required: need, Alive: live}
		}
		op.targets[i] = writeTarget{tracker: tracker}
		remote := false
		for _, n := range owners.Write() {
			op.assign(n, i)
			remote = remote || n.ID != op.c.Self
		}
		if remote {
			op.targets[i].bytes = w.Mutation.Append(make([]byte, 0, w.Mutation.Size()))
		}
	}
	return nil
}

func (op *writeOp) assign(n *vnodes.Node, target int) {
	for i := range op.nodes {
		if op.nodes[i].node.ID == n.ID {
			op.nodes[i].targets = append(op.nodes[i].targets, target)
			return
		}
	}
	targets := onlyFirst
	if len(op.targets) > 1 {
		targets = []int{target}
	}
	op.nodes = append(op.nodes, nodeWrite{node: n, targets: targets, alive: op.c.Cluster.Alive(n.ID)})
}

// fence gives the epochs the attempt runs under.
func (op *writeOp) fence() Fence {
	f := Fence{Ring: op.view.Ring.Epoch(), Needs: op.view.Ring.Epoch(), Clock: op.c.Clock.Now()}
	for i := range op.r.Writes {
		f.Needs = max(f.Needs, op.r.Writes[i].Table.Epoch)
	}
	return f
}

// send writes to the live nodes, oneself last (its answer may come before the call returns), and leaves hints for the dead.
func (op *writeOp) send() {
	fence := op.fence()
	if op.span != nil {
		op.sent = time.Now()
	}
	var self *nodeWrite
	for i := range op.nodes {
		n := &op.nodes[i]
		switch {
		case n.node.ID == op.c.Self:
			self = n
		case !n.alive:
			if !fault.Planted("coordinator/dead-not-hinted") {
				op.hint(n, op.r.Level == consistency.Any)
			}
			op.failed(n, rpc.ErrUnreachable, false)
		default:
			op.sendRemote(n, &fence)
		}
	}
	if self != nil {
		if op.attempt == 1 && len(self.targets) == len(op.targets) {
			op.c.stats.Owned.Add(1)
		}
		op.span.Add("Writing to the own replica")
		op.writeOwn(self, &fence)
	}
}

// writeOwn writes to the own replica. What it gets are the mutations themselves: encoding and decoding them would only cost.
func (op *writeOp) writeOwn(self *nodeWrite, f *Fence) {
	op.own = WriteMessage{Fence: *f, Decoded: op.oneMutation[:0], Trace: op.span.On("replica")}
	for _, t := range self.targets {
		op.own.Decoded = append(op.own.Decoded, op.r.Writes[t].Mutation)
	}
	op.c.Local.Write(&op.own, func(err error) { op.answer(self, err) })
}

// bytes encodes a target's mutation, if that was not done for other nodes.
func (op *writeOp) bytes(target int) []byte {
	if b := op.targets[target].bytes; b != nil {
		return b
	}
	m := &op.r.Writes[target].Mutation
	return m.Append(make([]byte, 0, m.Size()))
}

func (op *writeOp) message(n *nodeWrite, f *Fence) *WriteMessage {
	m := &WriteMessage{Fence: *f, Mutations: make([][]byte, len(n.targets))}
	for i, t := range n.targets {
		m.Mutations[i] = op.targets[t].bytes
	}
	return m
}

func (op *writeOp) sendRemote(n *nodeWrite, f *Fence) {
	if op.span != nil {
		op.span.Addf("Sending WRITE of %d mutation(s) to /%s", len(n.targets), n.node.Address)
	}
	left := time.Until(op.until)
	if left <= 0 {
		op.answer(n, rpc.ErrTimeout)
		return
	}
	encode(op.message(n, f).encodeTo, func(body []byte) {
		op.c.Transport.Send(&rpc.Call{
			To: op.c.Cluster.Peer(n.node), Verb: rpc.VerbWrite, Body: body, Timeout: left, Trace: op.r.Trace,
			Done: func(events []byte, err error) {
				op.span.Merge(n.node.Address, events)
				op.answer(n, err)
			},
		})
	})
}

// answer takes one node's outcome.
func (op *writeOp) answer(n *nodeWrite, err error) {
	traceAnswer(op.span, n.node, "WRITE", op.sent, err)
	if err == nil {
		op.acked(n)
		return
	}
	if epoch, ok := moved(err); ok {
		op.again(n, epoch)
		return
	}
	if isClockRefusal(err) {
		op.refusedClock(n)
	} else if wantsHint(err) && !fault.Planted("coordinator/timed-out-not-hinted") && (n.node.ID != op.c.Self || isOverload(err)) { // a disk that is full or broken can't keep hints for itself
		op.hint(n, false)
	}
	op.failed(n, err, isTimeout(err))
}

// refusedClock keeps a hint for a node that refused the coordinator's clock, but only once the level is met and another node took the write: if none does, this node's clock
// is the wrong one, and a hint would deliver, an hour later, what wins over an hour of others' writes.
func (op *writeOp) refusedClock(n *nodeWrite) {
	op.c.Clock.Suspect()
	op.mu.Lock()
	op.mu.ahead = append(op.mu.ahead, n)
	op.hintAhead()
}

// hintAhead keeps hints for the nodes that refused the clock, once it is known to be right. REQUIRES: op.mu; it is unlocked.
func (op *writeOp) hintAhead() {
	var ahead []*nodeWrite
	if op.mu.met && op.mu.remote {
		ahead, op.mu.ahead = op.mu.ahead, nil
	}
	op.mu.Unlock()
	for _, n := range ahead {
		op.hint(n, false)
	}
}

func (op *writeOp) acked(n *nodeWrite) {
	op.mu.Lock()
	op.mu.remote = op.mu.remote || n.node.ID != op.c.Self
	for _, t := range n.targets {
		op.targets[t].tracker.Ack(n.node.ID)
	}
	if op.mu.finished {
		op.hintAhead()
		return
	}
	op.settle()
}

func (op *writeOp) failed(n *nodeWrite, err error, timeout bool) {
	op.mu.Lock()
	for _, t := range n.targets {
		op.targets[t].tracker.Fail(n.node.ID)
	}
	op.mu.broken = append(op.mu.broken, n)
	if op.mu.reason == nil {
		op.mu.reason = err
	}
	op.mu.timedOut = op.mu.timedOut || timeout
	op.settle()
}

// settle answers the client if the outcome is known. REQUIRES: op.mu; it is unlocked.
func (op *writeOp) settle() {
	met, hopeless := true, false
	for i := range op.targets {
		met = met && op.targets[i].met()
		hopeless = hopeless || op.targets[i].tracker.Hopeless()
	}
	switch {
	case met:
		op.finish(nil)
	case hopeless && op.r.Level != consistency.Any:
		op.finish(op.outcome())
	default:
		op.mu.Unlock()
	}
}

// outcome is the error of the target that is furthest from its level. REQUIRES: op.mu.
func (op *writeOp) outcome() error {
	var received, failed, required, worst int
	for i := range op.targets {
		t := op.targets[i].tracker
		if t.Met() {
			continue
		}
		if got, bad, need := t.Counts(); required == 0 || need-got > required-received {
			received, failed, required, worst = got, bad, need, i
		}
	}
	// A replica that shed the write gets it by a hint: it may take effect, so OVERLOADED, "nothing happened", would be a lie.
	if op.mu.timedOut || op.mu.reason == nil || errors.Is(op.mu.reason, rpc.ErrUnreachable) || isOverload(op.mu.reason) {
		return &Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, Received: received, BlockFor: required}
	}
	return &Failure{Write: true, Kind: op.r.Kind, Level: op.r.Level, Received: received, BlockFor: required, Failed: failed,
		Reason: op.mu.reason.Error(), Nodes: op.brokenOf(worst)}
}

// brokenOf gives the addresses of the nodes that failed to write one target. REQUIRES: op.mu.
func (op *writeOp) brokenOf(target int) (addresses []string) {
	for _, n := range op.mu.broken {
		if slices.Contains(n.targets, target) {
			addresses = append(addresses, n.node.Address)
		}
	}
	return addresses
}

// finish answers once. REQUIRES: op.mu; it is unlocked.
func (op *writeOp) finish(err error) {
	if op.mu.finished {
		op.mu.Unlock()
		return
	}
	op.mu.finished, op.mu.met = true, err == nil
	op.c.writing.remove(&op.deadline)
	done := op.mu.done
	op.hintAhead()
	op.admitted.Leave()
	if beforeAnswer.Hit() != nil {
		err = &Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, BlockFor: 1}
	}
	traceEnd(op.span, "write", err)
	done(err)
}

// expire is the backstop: the local disk may stall, remote calls time out by themselves. Its hints come with those calls' answers.
func (op *writeOp) expire() {
	op.mu.Lock()
	op.mu.timedOut = true
	if op.mu.finished {
		op.mu.Unlock()
		return
	}
	op.finish(op.outcome())
}

// hint keeps a node's mutations for later. countsAs says that a durable hint is an acknowledgement (level ANY).
func (op *writeOp) hint(n *nodeWrite, countsAs bool) {
	if op.span != nil {
		op.span.Addf("Leaving %d hint(s) for /%s", len(n.targets), n.node.Address)
	}
	to := n.node.ID
	if fault.Planted("coordinator/hint-for-another-node") {
		to = op.nodes[0].node.ID
	}
	for _, t := range n.targets {
		op.c.stats.Hinted.Add(1)
		op.c.Hints.Add(to, op.bytes(t), func(err error) {
			if err == nil && countsAs {
				op.hinted(t)
			}
		})
	}
}

// hinted takes a durable hint for a write at ANY: all nodes of the target may be down.
func (op *writeOp) hinted(target int) {
	op.mu.Lock()
	op.targets[target].hinted = true
	op.settle()
}

// again ends this attempt and begins another under the newer ring, with the same mutations and timestamps; no earlier answer counts.
// After the answer it is a replica like any other that missed the write: its hint is delivered to the present owners.
func (op *writeOp) again(n *nodeWrite, epoch uint64) {
	op.mu.Lock()
	if op.mu.finished {
		restarted := op.mu.restarted
		op.mu.Unlock()
		if !restarted {
			op.hint(n, false)
		}
		return
	}
	op.mu.restarted = true
	op.mu.finished = true
	op.c.writing.remove(&op.deadline)
	done := op.mu.done
	op.mu.Unlock()
	op.admitted.Leave()
	op.c.stats.Retried.Add(1)
	op.span.Add("The ring has moved: beginning again")
	op.c.afterMove(op.until, op.attempt, op.c.Cluster.Peer(n.node), epoch, func(err error) {
		if err != nil {
			done(&Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, BlockFor: 1})
			return
		}
		if fault.Planted("coordinator/move-ends-write") { // as if what was answered under the older ring were enough
			done(nil)
			return
		}
		op.c.startWrite(op.ctx, op.r, op.until, op.attempt+1, done)
	})
}

// errTooManyMoves says that the ring went on faster than a request could follow.
var errTooManyMoves = errors.New("the ring moved too often")

// afterMove waits until a newer epoch is applied here.
func (c *Coordinator) afterMove(until time.Time, attempt int, from rpc.Peer, epoch uint64, done func(error)) {
	if attempt >= maxAttempts {
		done(errTooManyMoves)
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	c.Cluster.Await(ctx, from, epoch, func(err error) {
		cancel()
		done(err)
	})
}

// SendHints delivers mutations' bytes to a replica that missed them and owns them under view, as one message: the replica takes all or none. done gets
// its own error.
func (c *Coordinator) SendHints(view *View, to *vnodes.Node, mutations [][]byte, timeout time.Duration, done func(error)) {
	m := &WriteMessage{Fence: Fence{Ring: view.Ring.Epoch(), Needs: view.Epoch, Clock: c.Clock.Now()}, Mutations: mutations, Background: true}
	if to.ID == c.Self {
		c.Local.Write(m, done)
		return
	}
	encode(m.encodeTo, func(body []byte) {
		c.Transport.Send(&rpc.Call{To: c.Cluster.Peer(to), Verb: rpc.VerbWrite, Body: body, Timeout: timeout,
			Done: func(_ []byte, err error) { done(err) }})
	})
}
