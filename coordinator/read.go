package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/coordinator/readrepair"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/vnodes"
)

// readOp is one attempt at one page from one set of owners, under one view.
//
//	ask       data from the best replica, digests from as many more as the level needs
//	spare     a failure, or slowness, asks one more for its data
//	compare   all digests equal the data's: answer. Otherwise:
//	resolve   data from every live owner; merge (package readrepair)
//	repair    what replicas lack is written to them; the answer leaves once enough for the level hold it
type readOp struct {
	c        *Coordinator
	ctx      context.Context
	r        *ReadRequest
	spec     storage.ReadSpec
	view     *View
	owners   *vnodes.Replicas
	rep      vnodes.Replication
	attempt  int
	until    time.Time
	admitted Admitted
	span     *trace.Span // nil: not traced
	deadline deadline    // in deadlines()
	patience deadline    // in c.sparing
	// single says that one answer is enough for the level: there is nothing to compare, so pages need no digest. Set before anybody is asked.
	single        bool
	fewCandidates [3]*vnodes.Node // room of mu.candidates

	mu struct {
		sync.Mutex
		phase       readPhase
		candidates  []*vnodes.Node // live owners that count for the level, best first
		next        int            // the next candidate to ask
		tracker     *consistency.Tracker
		page        []byte // the first data answer
		havePage    bool
		pagesComing int        // data requests under way
		digest      [16]byte   // of page
		digests     [][16]byte // answered
		pages       []answered // resolving: data of each replica
		merged      []byte     // repairing: the answer to give
		spread      bool       // repairing: the owners that were not waited for are asked, too
		reason      error
		broken      []string // addresses of the replicas that failed
		timedOut    bool
		overloads   int // replicas that shed the request
		done        func([]byte, error)
		hurries     bool // patience is set
	}
}

type readPhase uint8

const (
	asking readPhase = iota
	resolving
	repairing
	answeredPhase
)

// answered is one replica's full page while resolving.
type answered struct {
	node *vnodes.Node
	page []byte
}

// Read gives one page; it may be short, or empty with a stop. The page's bytes are the callee's to keep.
func (c *Coordinator) Read(ctx context.Context, r *ReadRequest, done func(page []byte, err error)) {
	if err := c.admit(); err != nil {
		done(nil, err)
		return
	}
	timeout := c.ReadTimeout
	if r.Spec.Key == nil {
		timeout = c.RangeTimeout
		c.stats.Ranges.Add(1)
	} else {
		c.stats.Reads.Add(1)
	}
	begun := time.Now()
	c.startRead(ctx, r, endOf(ctx, begun, timeout), 1, func(page []byte, err error) {
		c.release()
		if r.Spec.Key != nil {
			c.answered(begun)
		}
		done(page, err)
	})
}

func (c *Coordinator) startRead(ctx context.Context, r *ReadRequest, until time.Time, attempt int, done func([]byte, error)) {
	op := &readOp{c: c, ctx: ctx, r: r, spec: r.Spec, attempt: attempt, until: until, span: c.Traces.Span(r.Trace, "coordinator")}
	op.view, op.admitted = c.Admission.Enter(c.Cluster)
	op.mu.done = done
	if err := op.plan(); err != nil {
		op.admitted.Leave()
		done(nil, err)
		return
	}
	op.deadlines().add(&op.deadline, until, op)
	op.ask()
}

// deadlines are those of reads with the same timeout.
func (op *readOp) deadlines() *deadlines {
	if op.spec.Key == nil {
		return &op.c.scanning
	}
	return &op.c.reading
}

// plan finds the owners of the partition, or of the first run of ranges with the same owners.
func (op *readOp) plan() error {
	place, rep, ok := op.view.Placement(op.r.Table.Keyspace)
	if !ok {
		return fmt.Errorf("keyspace %q: %w", op.r.Table.Keyspace, ErrNoKeyspace)
	}
	op.rep = rep
	if op.spec.Key != nil {
		op.owners = place.Replicas(op.spec.Token)
	} else {
		op.spec, op.owners = firstRange(place, op.spec)
	}
	tracker, err := op.newTracker()
	if err != nil {
		return err
	}
	if need, live, ok := tracker.Available(op.c.Cluster.Alive); !ok {
		return &Unavailable{Level: op.r.Level, Required: need, Alive: live}
	}
	op.mu.tracker, op.mu.candidates = tracker, op.fewCandidates[:0]
	for _, n := range op.owners.Read() {
		if n.ID == op.c.Self && op.attempt == 1 && op.spec.Key != nil {
			op.c.stats.Owned.Add(1)
		}
		if tracker.Eligible(n.ID) && op.c.Cluster.Alive(n.ID) {
			op.mu.candidates = append(op.mu.candidates, n)
		}
	}
	op.c.latency.order(op.mu.candidates, op.c.Self, op.c.Random)
	return nil
}

// newTracker counts answers afresh; the dead are counted as failed.
func (op *readOp) newTracker() (*consistency.Tracker, error) {
	tracker, err := consistency.NewRead(op.r.Level, op.owners, op.rep, op.c.DC)
	if err != nil {
		return nil, err
	}
	for _, n := range op.owners.Read() {
		if !op.c.Cluster.Alive(n.ID) {
			tracker.Fail(n.ID)
		}
	}
	return tracker, nil
}

// enough is how many candidates have to answer for the level, from the first on.
func (op *readOp) enough() (n int, err error) {
	if op.r.Level != consistency.EachQuorum { // one count, of any of them
		_, _, required := op.mu.tracker.Counts()
		op.single = required == 1
		return min(required, len(op.mu.candidates)), nil
	}
	probe, err := op.newTracker()
	if err != nil {
		return 0, err
	}
	for n < len(op.mu.candidates) && !probe.Met() {
		probe.Ack(op.mu.candidates[n].ID)
		n++
	}
	return n, nil
}

// ask sends the first requests: as many as the level needs.
func (op *readOp) ask() {
	enough, err := op.enough()
	if err != nil {
		op.fail(err)
		return
	}
	if !op.single {
		op.spec.Count, op.spec.Columns = false, nil // what differs between replicas is seen in rows only
	}
	op.mu.Lock()
	op.mu.next = enough
	first := op.mu.candidates[:op.mu.next]
	if op.mu.next < len(op.mu.candidates) {
		op.mu.hurries = true
		op.c.sparing.add(&op.patience, time.Now().Add(op.c.patience(first, op.c.SpeculateAfter)), (*impatience)(op))
	}
	op.mu.Unlock()
	traceReplicas(op.span, "Data is asked of the first, digests of the others:", first)
	// Remote ones first: the local one may answer before its call returns.
	for i := len(first) - 1; i >= 0; i-- {
		if first[i].ID != op.c.Self {
			op.send(first[i], i > 0)
		}
	}
	for i, n := range first {
		if n.ID == op.c.Self {
			op.send(n, i > 0)
		}
	}
}

// impatience is a read whose replicas are slow: one more is asked.
type impatience readOp

func (i *impatience) expire() {
	op := (*readOp)(i)
	op.c.stats.Speculated.Add(1)
	op.span.Add("The replicas asked are slow: asking one more (speculative retry)")
	op.askSpare()
}

// askSpare asks the next candidate for its data, if there is one; it reports whether there was.
func (op *readOp) askSpare() bool {
	op.mu.Lock()
	if op.mu.phase != asking || op.mu.next >= len(op.mu.candidates) {
		op.mu.Unlock()
		return false
	}
	n := op.mu.candidates[op.mu.next]
	op.mu.next++
	op.mu.Unlock()
	op.send(n, false)
	return true
}

func (op *readOp) send(n *vnodes.Node, digest bool) {
	if !digest {
		op.mu.Lock()
		op.mu.pagesComing++
		op.mu.Unlock()
	}
	op.request(n, &op.spec, digest, func(reply *ReadReply, err error) {
		if !digest {
			op.mu.Lock()
			op.mu.pagesComing--
			op.mu.Unlock()
		}
		op.answer(n, digest, reply, err)
	})
}

// request reads from one replica, local or remote, and keeps its latency. The reply is the caller's to keep.
func (op *readOp) request(n *vnodes.Node, spec *storage.ReadSpec, digest bool, done func(*ReadReply, error)) {
	r := &replicaRead{op: op, node: n, digest: digest, done: done}
	if n.ID == op.c.Self {
		r.own(spec)
		return
	}
	r.remote(spec)
}

// replicaRead is what one replica is asked for.
type replicaRead struct {
	op     *readOp
	node   *vnodes.Node
	digest bool
	begun  time.Time
	done   func(*ReadReply, error)
	reply  ReadReply
	call   rpc.Call // remote
}

// remote sends the read to another node.
func (r *replicaRead) remote(spec *storage.ReadSpec) {
	op := r.op
	r.begun = time.Now()
	if op.span != nil {
		op.span.Addf("Sending READ of %s to /%s", readKind(r.digest), r.node.Address)
	}
	left := op.until.Sub(r.begun)
	if left <= 0 {
		r.finish(nil, rpc.ErrTimeout)
		return
	}
	r.call = rpc.Call{To: op.c.Cluster.Peer(r.node), Verb: rpc.VerbRead, Timeout: left, Trace: op.r.Trace, Done: r.answered}
	m := ReadMessage{Fence: op.fence(), Digest: r.digest, Spec: *spec}
	e := newEncoder()
	m.encodeTo(e)
	r.call.Body = e.buf.Bytes()
	op.c.Transport.Send(&r.call) // which copies the body
	e.release()
}

// answered takes a remote answer, whose bytes are the transport's again when it returns.
func (r *replicaRead) answered(body []byte, err error) {
	if err != nil {
		r.finish(nil, err)
		return
	}
	err = r.reply.decode(body)
	if err == nil {
		r.reply.Page = append([]byte(nil), r.reply.Page...)
		r.op.span.Merge(r.node.Address, r.reply.Events)
	}
	r.finish(&r.reply, err)
}

// own reads from this node's own replica: at once where it can.
func (r *replicaRead) own(spec *storage.ReadSpec) {
	op := r.op
	if op.span == nil {
		if page, ok := op.c.Local.ReadNow(op.view.Ring.Epoch(), spec, nil); ok {
			if r.reply.Page = page; r.digest {
				r.reply = ReadReply{Digest: readrepair.Digest(page)}
			}
			r.done(&r.reply, nil)
			return
		}
	} else {
		op.span.Addf("Sending READ of %s to /%s", readKind(r.digest), r.node.Address)
	}
	r.begun = time.Now()
	m := &ReadMessage{Fence: op.fence(), Digest: r.digest, Spec: *spec, Trace: op.span.On("replica")}
	if op.single && op.attempt == 1 { // else the page may go into repairs that outlive the answer, or an earlier read may still write there
		m.Room = op.r.Room
	}
	op.c.Local.Read(op.ctx, m, r.finish)
}

func (r *replicaRead) finish(reply *ReadReply, err error) {
	traceAnswer(r.op.span, r.node, readKind(r.digest), r.begun, err)
	if err == nil {
		r.op.c.latency.observe(r.node.ID, time.Since(r.begun))
	}
	r.done(reply, err)
}

// fence gives the epochs the read and its repairs run under. They carry no timestamp of this node: a clock that isn't trusted doesn't stop them.
func (op *readOp) fence() Fence {
	f := Fence{Ring: op.view.Ring.Epoch(), Needs: max(op.view.Ring.Epoch(), op.r.Table.Epoch)}
	if op.c.Clock.Trusted() == nil {
		f.Clock = op.c.Clock.Now()
	}
	return f
}

// answer takes one replica's data or digest.
func (op *readOp) answer(n *vnodes.Node, digest bool, reply *ReadReply, err error) {
	if err != nil {
		op.refused(n, err)
		return
	}
	sum := reply.Digest
	if !digest && !op.single {
		sum = readrepair.Digest(reply.Page)
	}
	op.mu.Lock()
	if op.mu.phase != asking {
		op.mu.Unlock()
		return
	}
	op.mu.tracker.Ack(n.ID)
	if !op.single {
		op.mu.digests = append(op.mu.digests, sum)
	}
	if !digest && !op.mu.havePage {
		op.mu.page, op.mu.digest, op.mu.havePage = reply.Page, sum, true
	}
	if !op.mu.tracker.Met() || !op.mu.havePage {
		op.resolveOrWait()
		return
	}
	for _, d := range op.mu.digests {
		if d != op.mu.digest && !fault.Planted("coordinator/digest-mismatch-ignored") {
			op.mu.phase = resolving
			op.mu.Unlock()
			op.span.Add("The digests differ: asking every live owner for its data")
			op.resolve()
			return
		}
	}
	op.finish(op.mu.page, nil)
}

// refused takes one replica's failure: another is asked, or the level can't be met.
func (op *readOp) refused(n *vnodes.Node, err error) {
	if epoch, ok := moved(err); ok {
		op.again(n, epoch)
		return
	}
	op.c.latency.observe(n.ID, op.c.ReadTimeout/4)
	op.mu.Lock()
	op.note(n, err)
	op.mu.Unlock()
	if op.askSpare() {
		return
	}
	op.mu.Lock()
	if op.mu.phase == asking && op.mu.tracker.Hopeless() {
		op.finish(nil, op.outcome())
		return
	}
	op.resolveOrWait()
}

// resolveOrWait resolves when the level is met by digests alone and nobody is left to give data, as can be at EACH_QUORUM; else there are answers to wait
// for. REQUIRES: op.mu; it is unlocked.
func (op *readOp) resolveOrWait() {
	stuck := op.mu.phase == asking && op.mu.tracker.Met() && !op.mu.havePage && op.mu.pagesComing == 0 && op.mu.next >= len(op.mu.candidates)
	if stuck {
		op.mu.phase = resolving
	}
	op.mu.Unlock()
	if stuck {
		op.resolve()
	}
}

// note records a failure. REQUIRES: op.mu.
func (op *readOp) note(n *vnodes.Node, err error) {
	op.mu.tracker.Fail(n.ID)
	if !slices.Contains(op.mu.broken, n.Address) { // asked for a digest, then for data
		op.mu.broken = append(op.mu.broken, n.Address)
	}
	if op.mu.reason == nil {
		op.mu.reason = err
	}
	op.mu.timedOut = op.mu.timedOut || isTimeout(err)
	if isOverload(err) {
		op.mu.overloads++
	}
}

// outcome is the error of a read that can't be answered. REQUIRES: op.mu.
func (op *readOp) outcome() error {
	received, failed, required := op.mu.tracker.Counts()
	if op.mu.reason != nil && op.mu.overloads == failed && received == 0 {
		return &Overloaded{What: op.mu.reason.Error()}
	}
	if op.mu.timedOut || op.mu.reason == nil {
		return &Timeout{Level: op.r.Level, Received: received, BlockFor: required, DataPresent: op.mu.havePage}
	}
	return &Failure{Level: op.r.Level, Received: received, BlockFor: required, Failed: failed, DataPresent: op.mu.havePage,
		Reason: op.mu.reason.Error(), Nodes: op.mu.broken}
}

// finish answers once. REQUIRES: op.mu; it is unlocked.
func (op *readOp) finish(page []byte, err error) {
	if op.mu.phase == answeredPhase {
		op.mu.Unlock()
		return
	}
	done := op.end()
	op.mu.Unlock()
	op.admitted.Leave()
	if err == nil {
		page, err = op.endOfRange(page)
	}
	traceEnd(op.span, "read", err)
	done(page, err)
}

// end makes this attempt answered, and gives whom to tell. REQUIRES: op.mu.
func (op *readOp) end() (done func([]byte, error)) {
	op.mu.phase = answeredPhase
	op.deadlines().remove(&op.deadline)
	if op.mu.hurries {
		op.c.sparing.remove(&op.patience)
	}
	return op.mu.done
}

func (op *readOp) fail(err error) {
	op.mu.Lock()
	op.finish(nil, err)
}

// expire ends a read whose replicas (the local disk, say) don't answer.
func (op *readOp) expire() {
	op.mu.Lock()
	op.mu.timedOut = true
	op.finish(nil, op.outcome())
}

// again ends this attempt and begins another under the newer ring; no earlier answer counts.
func (op *readOp) again(n *vnodes.Node, epoch uint64) {
	op.mu.Lock()
	if op.mu.phase == answeredPhase {
		op.mu.Unlock()
		return
	}
	done := op.end()
	op.mu.Unlock()
	op.admitted.Leave()
	op.c.stats.Retried.Add(1)
	op.span.Add("The ring has moved: beginning again")
	op.c.afterMove(op.until, op.attempt, op.c.Cluster.Peer(n), epoch, func(err error) {
		if err != nil {
			done(nil, &Timeout{Level: op.r.Level, BlockFor: 1})
			return
		}
		op.c.startRead(op.ctx, op.r, op.until, op.attempt+1, done)
	})
}

// firstRange narrows a range read to where its owners are the same, from where it goes on. When that is not all of it, the page ends there
// (see endOfRange).
func firstRange(place *vnodes.Placement, spec storage.ReadSpec) (storage.ReadSpec, *vnodes.Replicas) {
	if a := spec.After; a != nil && len(a.Key) == 0 {
		spec.Range.Start, spec.After = a.Token, nil
	}
	from := spec.Range.Start
	if spec.After != nil {
		from = spec.After.Token - 1 // the partition itself may go on
	}
	owners, end := place.Run(from)
	spec.Range.End = min(end, spec.Range.End)
	return spec, owners
}

// endOfRange gives the page of a narrowed range read a stop at the range's end, so that the caller goes on with the next owners.
func (op *readOp) endOfRange(page []byte) ([]byte, error) {
	if op.r.Spec.Key != nil || op.spec.Range.End >= op.r.Spec.Range.End {
		return page, nil
	}
	if fault.Planted("coordinator/ends-at-range-boundary") {
		return page, nil
	}
	return row.WithStop(page, &row.Position{Token: op.spec.Range.End, Done: true})
}
