package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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
//
// An op is used again once nothing can come back to it: see ended.
type writeOp struct {
	c        *Coordinator
	ctx      context.Context
	r        *WriteRequest
	view     *View
	attempt  int
	begun    time.Time // when the request came that ends with this op; zero: whoever gave done sees to its end
	until    time.Time
	admitted Admitted
	span     *trace.Span // nil: not traced
	sent     time.Time   // of a traced write
	deadline deadline    // in c.writing

	targets []writeTarget
	nodes   []nodeWrite
	self    int          // in nodes
	own     WriteMessage // to the own replica

	open atomic.Int32 // answers awaited, and one for send
	kept atomic.Bool  // somebody may come back after the last answer: a hint, another attempt, a deadline, a batch

	// Room of targets, nodes, own.Decoded, and of what goes to other nodes, for a write of one partition.
	oneTarget   [1]writeTarget
	fewNodes    [3]nodeWrite
	oneMutation [1]row.Mutation
	others      WriteMessage
	oneBytes    [1][]byte
	bytes       []byte

	onOwn    func(error)            // the own replica's answer, made once
	onRemote [3]func([]byte, error) // those of fewNodes, made once each

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
	tracker consistency.Tracker
	hinted  bool // a hint is durable, which meets level ANY
}

func (t *writeTarget) met() bool { return t.hinted || t.tracker.Met() }

// nodeWrite is what goes to one node.
type nodeWrite struct {
	node    *vnodes.Node
	targets []int // indexes into writeOp.targets
	alive   bool
	call    rpc.Call // of a live one that isn't oneself
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
	if r.logged() {
		c.startBatch(ctx, r, until, func(err error) { c.answer(begun, done, err) })
		return
	}
	c.startWrite(ctx, r, begun, until, 1, done)
}

// answer ends a write that was admitted.
func (c *Coordinator) answer(begun time.Time, done func(error), err error) {
	c.release()
	c.answered(begun)
	done(err)
}

func (c *Coordinator) startWrite(ctx context.Context, r *WriteRequest, begun, until time.Time, attempt int, done func(error)) {
	op, err := c.planWrite(ctx, r, until, attempt, done)
	if op.begun = begun; err != nil {
		op.answerClient(done, err)
		return
	}
	op.begin()
}

// newWriteOp takes one that was used, or makes one.
func (c *Coordinator) newWriteOp() *writeOp {
	if op, ok := c.writeOps.Get().(*writeOp); ok {
		return op
	}
	op := new(writeOp)
	op.onOwn = func(err error) { op.ended(&op.nodes[op.self], err) }
	return op
}

// planWrite prepares an attempt. It is in flight under its ring until it ends; without an error, begin sends it.
func (c *Coordinator) planWrite(ctx context.Context, r *WriteRequest, until time.Time, attempt int, done func(error)) (*writeOp, error) {
	op := c.newWriteOp()
	op.c, op.ctx, op.r, op.attempt, op.until, op.span = c, ctx, r, attempt, until, c.Traces.Span(r.Trace, "coordinator")
	op.view, op.admitted = c.Admission.Enter(c.Cluster)
	op.kept.Store(attempt > 1) // earlier attempts may still use the request
	op.mu.done = done
	if err := op.plan(); err != nil {
		op.admitted.Leave()
		return op, op.unsure(err)
	}
	return op, nil
}

// answerClient gives the outcome to who asked.
func (op *writeOp) answerClient(done func(error), err error) {
	if op.begun.IsZero() {
		done(err)
		return
	}
	op.c.answer(op.begun, done, err)
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
	op.open.Store(int32(len(op.nodes)) + 1)
	op.c.writing.add(&op.deadline, op.until, op)
	op.send()
	op.leave()
}

// leave is called by all who were counted in open. After the last one nobody has the op any more, unless it is kept: then it is used again, and the request is
// the caller's.
func (op *writeOp) leave() {
	if op.open.Add(-1) > 0 || op.kept.Load() {
		return
	}
	op.mu.Lock()
	finished := op.mu.finished
	op.mu.Unlock()
	if !finished {
		return
	}
	c, spent := op.c, op.r.Spent
	*op = writeOp{onOwn: op.onOwn, onRemote: op.onRemote, bytes: op.bytes[:0]}
	if cap(op.bytes) <= maxKeptBytes {
		c.writeOps.Put(op)
	}
	if spent != nil {
		spent()
	}
}

// maxKeptBytes is the largest encoded mutation whose room an op keeps.
const maxKeptBytes = 16 << 10

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
		owners, t := place.Replicas(w.Mutation.Token), &op.targets[i]
		if err := t.tracker.StartWrite(op.r.Level, owners, rep, op.c.DC); err != nil {
			return err
		}
		if need, live, ok := t.tracker.Available(op.c.Cluster.Alive); !ok {
			return &Unavailable{Level: op.r.Level, Required: need, Alive: live}
		}
		remote := false
		for _, n := range owners.Write() {
			op.assign(n, i)
			remote = remote || n.ID != op.c.Self
		}
		switch {
		case !remote:
		case len(op.targets) == 1:
			op.bytes = w.Mutation.Append(slices.Grow(op.bytes[:0], w.Mutation.Size()))
			t.bytes = op.bytes
		default:
			t.bytes = w.Mutation.Append(make([]byte, 0, w.Mutation.Size()))
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

// fence gives the epochs the attempt runs under. The clock is for other nodes.
func (op *writeOp) fence() Fence {
	f := Fence{Ring: op.view.Ring.Epoch(), Needs: op.view.Ring.Epoch()}
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
	self, remote := -1, 0
	for i := range op.nodes {
		n := &op.nodes[i]
		switch {
		case n.node.ID == op.c.Self:
			self = i
		case !n.alive:
			if !fault.Planted("coordinator/dead-not-hinted") {
				op.hint(n, op.r.Level == consistency.Any)
			}
			op.failed(n, rpc.ErrUnreachable, false)
			op.leave()
		default:
			remote++
		}
	}
	if remote > 0 {
		op.sendRemotes(fence)
	}
	if self >= 0 {
		if op.attempt == 1 && len(op.nodes[self].targets) == len(op.targets) {
			op.c.stats.Owned.Add(1)
		}
		op.span.Add("Writing to the own replica")
		op.writeOwn(self, &fence)
	}
}

// writeOwn writes to the own replica. What it gets are the mutations themselves: encoding and decoding them would only cost.
func (op *writeOp) writeOwn(self int, f *Fence) {
	op.self = self
	op.own = WriteMessage{Fence: *f, Decoded: op.oneMutation[:0], Trace: op.span.On("replica")}
	for _, t := range op.nodes[self].targets {
		op.own.Decoded = append(op.own.Decoded, op.r.Writes[t].Mutation)
	}
	op.c.Local.Write(&op.own, op.onOwn)
}

// encoded encodes a target's mutation, if that was not done for other nodes.
func (op *writeOp) encoded(target int) []byte {
	if b := op.targets[target].bytes; b != nil {
		return b
	}
	m := &op.r.Writes[target].Mutation
	return m.Append(make([]byte, 0, m.Size()))
}

// sendRemotes sends to all live nodes but oneself. A write of one partition is the same for all.
func (op *writeOp) sendRemotes(f Fence) {
	f.Clock = op.c.Clock.Now()
	if len(op.targets) == 1 {
		op.oneBytes[0] = op.targets[0].bytes
		op.others = WriteMessage{Fence: f, Mutations: op.oneBytes[:]}
		encode(op.others.encodeTo, func(body []byte) {
			for i := range op.nodes {
				op.sendRemote(i, body)
			}
		})
		return
	}
	for i := range op.nodes {
		if n := &op.nodes[i]; op.takesCall(n) {
			encode(op.message(n, &f).encodeTo, func(body []byte) { op.sendRemote(i, body) })
		}
	}
}

func (op *writeOp) message(n *nodeWrite, f *Fence) *WriteMessage {
	m := &WriteMessage{Fence: *f, Mutations: make([][]byte, len(n.targets))}
	for i, t := range n.targets {
		m.Mutations[i] = op.targets[t].bytes
	}
	return m
}

// takesCall reports whether a node is written to by a call.
func (op *writeOp) takesCall(n *nodeWrite) bool { return n.alive && n.node.ID != op.c.Self }

// sendRemote sends one node its message, if it takes a call.
func (op *writeOp) sendRemote(i int, body []byte) {
	n := &op.nodes[i]
	if !op.takesCall(n) {
		return
	}
	if op.span != nil {
		op.span.Addf("Sending WRITE of %d mutation(s) to /%s", len(n.targets), n.node.Address)
	}
	left := time.Until(op.until)
	if left <= 0 {
		op.ended(n, rpc.ErrTimeout)
		return
	}
	n.call = rpc.Call{To: op.c.Cluster.Peer(n.node), Verb: rpc.VerbWrite, Body: body, Timeout: left, Trace: op.r.Trace, Done: op.remoteDone(i)}
	op.c.Transport.Send(&n.call)
}

// remoteDone gives what takes a remote node's answer.
func (op *writeOp) remoteDone(i int) func([]byte, error) {
	if i < len(op.onRemote) && op.onRemote[i] != nil {
		return op.onRemote[i]
	}
	done := func(events []byte, err error) {
		n := &op.nodes[i]
		op.span.Merge(n.node.Address, events)
		op.ended(n, err)
	}
	if i < len(op.onRemote) {
		op.onRemote[i] = done
	}
	return done
}

// ended takes one node's outcome, which is the last that is heard of the node.
func (op *writeOp) ended(n *nodeWrite, err error) {
	op.answer(n, err)
	op.leave()
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
		t := &op.targets[i].tracker
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
	if !op.c.writing.remove(&op.deadline) {
		op.kept.Store(true) // expire is on its way
	}
	done := op.mu.done
	op.hintAhead()
	op.admitted.Leave()
	if beforeAnswer.Hit() != nil {
		err = &Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, BlockFor: 1}
	}
	traceEnd(op.span, "write", err)
	op.answerClient(done, err)
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
	op.kept.Store(true)
	if op.span != nil {
		op.span.Addf("Leaving %d hint(s) for /%s", len(n.targets), n.node.Address)
	}
	to := n.node.ID
	if fault.Planted("coordinator/hint-for-another-node") {
		to = op.nodes[0].node.ID
	}
	for _, t := range n.targets {
		op.c.stats.Hinted.Add(1)
		op.c.Hints.Add(to, op.encoded(t), func(err error) {
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
	op.kept.Store(true)
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
			op.answerClient(done, &Timeout{Write: true, Kind: op.r.Kind, Level: op.r.Level, BlockFor: 1})
			return
		}
		if fault.Planted("coordinator/move-ends-write") { // as if what was answered under the older ring were enough
			op.answerClient(done, nil)
			return
		}
		op.c.startWrite(op.ctx, op.r, op.begun, op.until, op.attempt+1, done)
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
