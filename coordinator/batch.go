package coordinator

import (
	"context"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

const (
	// batchCopies is how many nodes keep a batch before anything of it is written, where there are so many.
	batchCopies = 2
	// holderPatience is the part of a request's time after which a holder that has not answered is slow: another one is asked, or one copy has to do.
	holderPatience = 4
	// batchDoneTimeout bounds the call that ends an entry. It isn't repeated: an entry that stays is written again, to no effect.
	batchDoneTimeout = 2 * time.Second
)

// BatchLog is this node's own batch log, for when no other node can keep a batch.
type BatchLog interface {
	Put(m *BatchMessage, done func(error))
	Remove(ids []BatchID)
}

// logged reports whether a request goes by the batch log: one mutation is atomic by itself.
func (r *WriteRequest) logged() bool { return r.Kind == WriteBatch && len(r.Writes) > 1 }

// batchOp keeps a logged batch on two other nodes, writes it, and ends the entries.
//
//	plan     the writes' owners; Unavailable, for them or for want of a holder, before anything is kept
//	keep     two holders have the entry, synced
//	write    as any write (writeOp)
//	end      the level is met: the holders may forget the entry. Otherwise they write it again (Redeliver)
//
// Invariant: nothing is sent to a replica before an entry is synced on a holder, and no entry is ended before all mutations have met the level, or while it
// is unknown whether any was sent.
type batchOp struct {
	c    *Coordinator
	op   *writeOp
	msg  BatchMessage
	done func(error)

	mu struct {
		sync.Mutex
		walk      holderWalk
		asked     []holderAsk
		exhausted bool  // the walk is
		reason    error // the first failure
		unknown   bool  // a holder that failed may have the entry
		ended     bool  // kept, or given up
		timer     *time.Timer
	}
}

// holderAsk is a node that was asked to keep an entry.
type holderAsk struct {
	node  *vnodes.Node
	state holderState
}

type holderState uint8

const (
	holderAwaited holderState = iota
	holderSlow                // awaited for longer than it should take
	holderFailed
	holderRefusesClock // finds this node's clock ahead of its own
	holderKeeps
)

// startBatch begins a logged batch. REQUIRES: r.logged().
func (c *Coordinator) startBatch(ctx context.Context, r *WriteRequest, until time.Time, done func(error)) {
	b := &batchOp{c: c, done: done}
	op, err := c.planWrite(ctx, r, until, 1, b.written)
	if err != nil {
		done(err)
		return
	}
	b.op = op
	op.kept.Store(true) // by b
	mutations := make([][]byte, len(op.targets))
	size := 1
	for i := range op.targets {
		mutations[i] = op.encoded(i)
		size += len(mutations[i])
	}
	b.msg = BatchMessage{Clock: c.Clock.Now(), ID: c.NewID(), Entry: appendBatchEntry(make([]byte, 0, size), mutations)}
	c.stats.Batches.Add(1)
	b.mu.Lock()
	b.mu.walk = c.holders(op.view).walk(c.Cluster.Alive, c.Random, r.Level == consistency.Any)
	b.mu.timer = time.AfterFunc(time.Until(until)/holderPatience, b.impatient)
	b.step()
}

// count is how many of those asked are in a state. REQUIRES: mu.
func (b *batchOp) count(s holderState) (n int) {
	for i := range b.mu.asked {
		if b.mu.asked[i].state == s {
			n++
		}
	}
	return n
}

// step asks further holders, or goes on once the entry is kept, or gives up. REQUIRES: mu; it is unlocked.
func (b *batchOp) step() {
	if b.mu.ended {
		b.mu.Unlock()
		return
	}
	first := len(b.mu.asked)
	for !b.mu.exhausted && b.count(holderKeeps)+b.count(holderAwaited) < batchCopies {
		n := b.mu.walk.next()
		if b.mu.exhausted = n == nil; n != nil {
			b.mu.asked = append(b.mu.asked, holderAsk{node: n})
		}
	}
	ask := b.mu.asked[first:len(b.mu.asked):len(b.mu.asked)]
	awaited, slow := b.count(holderAwaited), b.count(holderSlow)
	switch {
	case b.kept(awaited):
		b.end()
		b.write()
	case awaited+slow == 0:
		b.end()
		b.giveUp(b.refusal())
	default:
		b.mu.Unlock()
		for i := range ask {
			b.ask(ask[i].node)
		}
	}
}

// kept reports whether enough holders have the entry: two, or the one that there is. One alone is not enough where more nodes refuse this node's clock than
// share it: replayed, the batch would win over what others write until then. REQUIRES: mu.
func (b *batchOp) kept(awaited int) bool {
	kept := b.count(holderKeeps)
	return kept >= batchCopies || kept > 0 && awaited == 0 && b.mu.exhausted && b.count(holderRefusesClock) <= kept
}

// end ends the first phase. REQUIRES: mu; it is unlocked.
func (b *batchOp) end() {
	b.mu.ended = true
	b.mu.timer.Stop()
	b.mu.Unlock()
}

// ask sends a node the entry.
func (b *batchOp) ask(n *vnodes.Node) {
	if b.op.span != nil {
		b.op.span.Addf("Keeping the batch on /%s", n.Address)
	}
	sent := time.Now()
	answer := func(err error) {
		traceAnswer(b.op.span, n, "BATCH_LOG", sent, err)
		b.answer(n, err)
	}
	if n.ID == b.c.Self {
		b.c.BatchLog.Put(&b.msg, answer)
		return
	}
	left := time.Until(b.op.until)
	if left <= 0 {
		answer(rpc.ErrTimeout)
		return
	}
	encode(b.msg.encodeTo, func(body []byte) {
		b.c.Transport.Send(&rpc.Call{To: b.c.Cluster.Peer(n), Verb: rpc.VerbBatchLog, Body: body, Timeout: left, Trace: b.op.r.Trace,
			Done: func(_ []byte, err error) { answer(err) }})
	})
}

// answer takes a holder's outcome.
func (b *batchOp) answer(n *vnodes.Node, err error) {
	state := holderKeeps
	switch {
	case isClockRefusal(err):
		b.c.Clock.Suspect()
		state = holderRefusesClock
	case err != nil:
		state = holderFailed
	}
	b.mu.Lock()
	for i := range b.mu.asked {
		if h := &b.mu.asked[i]; h.node.ID == n.ID {
			h.state = state
		}
	}
	b.mu.unknown = b.mu.unknown || isTimeout(err)
	if b.mu.reason == nil {
		b.mu.reason = err
	}
	b.step()
}

// impatient stops waiting for holders that have not answered: others are asked, and at the end of the request's time it is given up.
func (b *batchOp) impatient() {
	b.mu.Lock()
	if left := time.Until(b.op.until); left > 0 {
		b.mu.timer.Reset(left)
		for i := range b.mu.asked {
			if h := &b.mu.asked[i]; h.state == holderAwaited {
				h.state = holderSlow
			}
		}
		b.step()
		return
	}
	if b.mu.ended {
		b.mu.Unlock()
		return
	}
	b.end()
	b.giveUp(b.timeout())
}

// write writes the batch, as any other.
func (b *batchOp) write() {
	if fault.Planted("coordinator/batch-ended-before-written") {
		b.forget()
	}
	b.op.begin()
}

// written takes the write's outcome.
func (b *batchOp) written(err error) {
	if err == nil {
		b.forget()
	}
	b.done(err)
}

// giveUp ends a batch of which nothing was written. A copy that a holder may have is taken back; where that fails it will be written: so the client is told of
// a timeout unless every holder refused.
func (b *batchOp) giveUp(err error) {
	b.op.admitted.Leave()
	b.forget()
	traceEnd(b.op.span, "write", err)
	b.done(err)
}

// refusal is the error where no holder keeps the batch. All have answered, or there is none.
func (b *batchOp) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.mu.asked) == 0:
		return &Unavailable{Level: consistency.One, Required: 1, BatchLog: true}
	case b.mu.unknown || b.count(holderKeeps) > 0:
		return b.timeoutLocked()
	case isOverload(b.mu.reason):
		return &Overloaded{What: b.mu.reason.Error()}
	}
	return &Failure{Write: true, Kind: WriteBatchLog, Level: consistency.One, BlockFor: 1, Failed: len(b.mu.asked), Reason: b.mu.reason.Error(), Nodes: b.addresses()}
}

// addresses of those asked. REQUIRES: mu.
func (b *batchOp) addresses() (list []string) {
	for i := range b.mu.asked {
		list = append(list, b.mu.asked[i].node.Address)
	}
	return list
}

func (b *batchOp) timeout() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.timeoutLocked()
}

// timeoutLocked says, as Cassandra does, how many of the holders asked have the entry. REQUIRES: mu.
func (b *batchOp) timeoutLocked() error {
	level, want := consistency.Two, batchCopies
	if len(b.mu.asked) == 1 {
		level, want = consistency.One, 1
	}
	return &Timeout{Write: true, Kind: WriteBatchLog, Level: level, Received: b.count(holderKeeps), BlockFor: want}
}

// forget ends the entry on all that may have it. Nobody waits for that.
func (b *batchOp) forget() {
	b.mu.Lock()
	asked := b.mu.asked
	b.mu.Unlock()
	ids := []BatchID{b.msg.ID}
	for i := range asked {
		n := asked[i].node
		if n.ID == b.c.Self {
			b.c.BatchLog.Remove(ids)
			continue
		}
		encode(func(e *encoder) { encodeBatchDone(e, ids) }, func(body []byte) {
			b.c.Transport.Send(&rpc.Call{To: b.c.Cluster.Peer(n), Verb: rpc.VerbBatchDone, Body: body, Timeout: batchDoneTimeout, Done: func([]byte, error) {}})
		})
	}
}
