// Package replica is the replica's side of every data verb: it checks that a request went to the right owner at the right epoch, and applies
// or reads. It may import what package coordinator may, and coordinator itself. Start reading at Replica.
package replica

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/readrepair"
	"nodedb/node/clock"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/node/wake"
	"nodedb/vnodes"
)

// Store is this node's storage.
type Store interface {
	Apply(ms []row.Mutation, done func(error))
	Read(ctx context.Context, spec *storage.ReadSpec, buf []byte) ([]byte, error)
	ReadCached(spec *storage.ReadSpec, buf []byte) (page []byte, ok bool)
}

// Options of New.
type Options struct {
	Self    vnodes.HostID
	Store   Store
	Cluster coordinator.Cluster
	Clock   *clock.HLC
	// Admission counts this replica's writes in flight; it is shared with the node's coordinator.
	Admission *coordinator.Admission
	// Pending reports whether a memory table's rows are not back yet after a restart: its reads are refused. nil: never.
	Pending func(row.StorageID) bool
	// Readers is how many reads run at once; default 16 a core. Queue is how many may wait for one; default 2,048, well over what this node's own engine
	// asks for at once: more are refused as overload.
	Readers, Queue int
	// Cork holds wake-ups back while a burst of requests or answers is under way; nil: nothing does.
	Cork *wake.Cork
}

// Replica applies and reads on this node's own storage, for itself (Write, Read) and for others (Register).
type Replica struct {
	Options
	readers readers
	writer  *writer
	hinted  atomic.Int64 // when hints last came, ns
	atOnce  atomic.Uint64
}

// New starts the writer; Close stops it, and the readers.
func New(o Options) *Replica {
	if o.Readers == 0 {
		o.Readers = 16 * runtime.GOMAXPROCS(0)
	}
	if o.Queue == 0 {
		o.Queue = 2048
	}
	r := &Replica{Options: o, writer: newWriter(o.Store, o.Cork)}
	r.readers.run, r.readers.most, r.readers.mostQueue = r.run, o.Readers, o.Queue
	return r
}

// Close waits for what is queued. The transport must have stopped delivering.
func (r *Replica) Close() {
	r.readers.close()
	r.writer.close()
}

// Register sets the verbs' handlers.
func (r *Replica) Register(t rpc.Transport) {
	t.Handle(rpc.VerbWrite, r.handleWrite)
	t.Handle(rpc.VerbRead, r.handleRead)
}

func (r *Replica) handleWrite(in *rpc.Inbound) {
	w := newRemoteWrite()
	w.r, w.in = r, in
	if err := w.m.Decode(in.Body); err != nil {
		w.end(&rpc.RemoteError{Code: rpc.CodeInvalid, Message: "write: " + err.Error()})
		return
	}
	w.m.Trace = r.collect(in, "WRITE")
	r.admit(in.From, in.Deadline, &w.m.Fence, w.onAdmitted)
}

func (r *Replica) handleRead(in *rpc.Inbound) {
	m, err := coordinator.DecodeRead(in.Body)
	if err != nil {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "read: " + err.Error()})
		return
	}
	m.Trace = r.collect(in, "READ")
	r.admit(in.From, in.Deadline, &m.Fence, func(err error) {
		if err != nil {
			in.Reply(nil, err)
			return
		}
		if m.Trace == nil && r.answerNow(in, m) {
			return
		}
		r.enqueue(in, m)
	})
}

// answerNow answers for another node what takes no waiting.
func (r *Replica) answerNow(in *rpc.Inbound, m *coordinator.ReadMessage) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	page, ok := r.ReadNow(m.Ring, &m.Spec, *buf)
	if !ok {
		return false
	}
	*buf = page[:0]
	reply := coordinator.ReadReply{Page: page}
	if m.Digest {
		reply = coordinator.ReadReply{Digest: readrepair.Digest(page)}
	}
	coordinator.EncodeReadReply(&reply, func(body []byte) { in.Reply(body, nil) })
	return true
}

// run answers a read, on a reader.
func (r *Replica) run(j *readJob) {
	if j.in != nil {
		r.answer(j.in, j.m)
		return
	}
	room := j.m.Room
	if room == nil {
		room = make([]byte, 0, firstPageBytes)
	}
	j.done(r.read(j.ctx, j.m, room[:0]))
}

// enqueue hands a remote read to a reader, or sheds it.
func (r *Replica) enqueue(in *rpc.Inbound, m *coordinator.ReadMessage) {
	if err := r.push(readJob{m: m, in: in}); err != nil {
		in.Reply(nil, err)
	}
}

// answer reads for another node.
func (r *Replica) answer(in *rpc.Inbound, m *coordinator.ReadMessage) {
	ctx, cancel := context.WithDeadline(context.Background(), in.Deadline)
	defer cancel()
	if ctx.Err() != nil {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeExpired, Message: "read expired while it waited"})
		return
	}
	buf := buffers.Get().(*[]byte)
	reply, err := r.read(ctx, m, (*buf)[:0])
	if err != nil {
		in.Reply(nil, err)
	} else {
		reply.Events = m.Trace.Bytes()
		coordinator.EncodeReadReply(reply, func(body []byte) { in.Reply(body, nil) })
		if cap(reply.Page) > cap(*buf) && cap(reply.Page) <= maxPooled {
			*buf = reply.Page[:0]
		}
	}
	buffers.Put(buf)
}

// firstPageBytes is the room that an own read's page begins with: a small row's page needs no other.
const firstPageBytes = 256

// maxPooled is the largest page buffer kept for reuse, in bytes: well over a full page, which ends behind the row that takes it over 1 MiB.
const maxPooled = 2 << 20

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// admit makes sure that what the request depends on is applied here, and takes the sender's clock into account.
func (r *Replica) admit(from rpc.Peer, until time.Time, f *coordinator.Fence, next func(error)) {
	if f.Clock != 0 {
		if err := r.Clock.Update(f.Clock); err != nil {
			next(&rpc.RemoteError{Code: rpc.CodeClock, Message: err.Error()})
			return
		}
	}
	if r.Cluster.View().Epoch >= f.Needs || fault.Planted("replica/lacking-epoch-not-awaited") {
		next(nil)
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	r.Cluster.Await(ctx, from, f.Needs, func(err error) {
		cancel()
		if err != nil {
			err = &rpc.RemoteError{Code: rpc.CodeStale, Message: "replica lacks metadata: " + err.Error(), Epoch: r.Cluster.View().Epoch}
		}
		next(err)
	})
}

// Write applies a message of this node's own coordinator.
func (r *Replica) Write(m *coordinator.WriteMessage, done func(error)) {
	ms, err := m.Decoded, error(nil)
	if ms == nil {
		if ms, err = decode(nil, m); err != nil {
			done(err)
			return
		}
	}
	r.apply(m, ms, done)
}

// apply checks the ring, and queues a message's mutations as one batch. Until it is durable it counts as in flight under the ring it was admitted under.
func (r *Replica) apply(m *coordinator.WriteMessage, ms []row.Mutation, done func(error)) {
	view, admitted := r.Admission.Enter(r.Cluster)
	for i := range ms {
		if err := r.owns(view, &m.Fence, ms[i].Storage); err != nil {
			admitted.Leave()
			done(err)
			return
		}
	}
	q := queued{ms: ms, admitted: admitted, m: m, done: done}
	if m.Background {
		r.hinted.Store(time.Now().UnixNano())
		r.writer.addBackground(q)
		return
	}
	r.writer.add(q)
}

// hintsLast is how long after hints came more are on their way: a holder rests for hints.maxShedPause, 5 s, at most between two messages.
const hintsLast = 10 * time.Second

// Hinted reports whether hints are being sent to this replica.
func (r *Replica) Hinted() bool { return time.Now().UnixNano()-r.hinted.Load() < int64(hintsLast) }

// decode decodes a message's mutations, in place, into dst[:0] and the room of its rows.
func decode(dst []row.Mutation, m *coordinator.WriteMessage) ([]row.Mutation, error) {
	dst = slices.Grow(dst[:0], len(m.Mutations))[:len(m.Mutations)]
	for i, b := range m.Mutations {
		if rest, err := dst[i].Decode(b); err != nil || len(rest) != 0 {
			return dst, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: fmt.Sprintf("mutation %d of %d is malformed: %v", i+1, len(dst), err)}
		}
	}
	return dst, nil
}

// owns checks that a write was sent under a ring as new as this node's. A request of an older ring counts its answers among owners that may not be the
// present ones: even a replica that still is an owner refuses it, or former owners could make up a level.
func (r *Replica) owns(view *coordinator.View, f *coordinator.Fence, id row.StorageID) error {
	if view.Ring.Epoch() > f.Ring && !fault.Planted("replica/stale-ring-may-write") {
		return r.notOwner(view)
	}
	return r.exists(view, id)
}

func (r *Replica) notOwner(view *coordinator.View) error {
	return &rpc.RemoteError{Code: rpc.CodeNotOwner, Epoch: view.Epoch,
		Message: fmt.Sprintf("not the owner under the ring of epoch %d", view.Ring.Epoch())}
}

func (r *Replica) exists(view *coordinator.View, id row.StorageID) error {
	if _, ok := view.Catalog.TableByStorage(id); !ok {
		return dropped(id)
	}
	return nil
}

func dropped(id row.StorageID) error {
	return &rpc.RemoteError{Code: rpc.CodeDropped, Message: fmt.Sprintf("the table (storage %d) was dropped or truncated", id)}
}

// Requested reports whether this replica has requests: one came a moment ago, from its own node or another. What nobody waits for makes way for them.
func (r *Replica) Requested() bool { return r.writer.touched(time.Now()) }

// Read answers a message of this node's own coordinator, on a reader: a disk that stalls must hold up neither the coordinator's caller nor the connection
// on whose reader an answer came. The page is the caller's to keep.
func (r *Replica) Read(ctx context.Context, m *coordinator.ReadMessage, done func(*coordinator.ReadReply, error)) {
	if err := r.push(readJob{m: m, ctx: ctx, done: done}); err != nil {
		done(nil, err)
	}
}

// ReadNow answers a read under a ring from memory, on the caller's goroutine. False: it isn't there, or something is wrong that Read says.
func (r *Replica) ReadNow(ring uint64, spec *storage.ReadSpec, buf []byte) (page []byte, ok bool) {
	if r.answersReads(ring, spec) != nil {
		return nil, false
	}
	if page, ok = r.Store.ReadCached(spec, buf); ok && r.atOnce.Add(1)%touchOneIn == 0 {
		r.writer.touch()
	}
	return page, ok
}

// touchOneIn so many reads that were answered at once notes that there are requests: a look at the clock costs as much as a third of such a read.
const touchOneIn = 8

// push hands a read to a reader, or sheds it.
func (r *Replica) push(j readJob) error {
	r.writer.touch()
	return r.readers.push(j)
}

func (r *Replica) read(ctx context.Context, m *coordinator.ReadMessage, buf []byte) (*coordinator.ReadReply, error) {
	if err := r.answersReads(m.Ring, &m.Spec); err != nil {
		return nil, err
	}
	page, err := r.Store.Read(ctx, &m.Spec, buf)
	if err != nil {
		return nil, asRemote(err)
	}
	traceRead(m, page)
	if m.Digest {
		return &coordinator.ReadReply{Digest: readrepair.Digest(page)}, nil
	}
	return &coordinator.ReadReply{Page: page}, nil
}

// answersReads checks that a read was sent under a ring as new as this node's, and that what it asks for is here.
func (r *Replica) answersReads(ring uint64, spec *storage.ReadSpec) error {
	if r.Pending != nil && r.Pending(spec.Storage) && !fault.Planted("replica/pending-answers-reads") {
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica was restarted and waits for the memory table's rows"}
	}
	if view := r.Cluster.View(); view.Ring.Epoch() > ring && !fault.Planted("replica/stale-ring-may-read") {
		return r.notOwner(view)
	}
	return nil
}

// asRemote gives storage's failures their code.
func asRemote(err error) error {
	if err == nil {
		return nil
	}
	var re *rpc.RemoteError
	switch {
	case errors.As(err, &re):
		return re
	case errors.Is(err, storage.ErrDropped):
		return &rpc.RemoteError{Code: rpc.CodeDropped, Message: err.Error()}
	case errors.Is(err, storage.ErrDiskFull):
		return &rpc.RemoteError{Code: rpc.CodeDiskFull, Message: err.Error()}
	case errors.Is(err, storage.ErrTooLarge):
		return &rpc.RemoteError{Code: rpc.CodeInvalid, Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &rpc.RemoteError{Code: rpc.CodeExpired, Message: err.Error()}
	}
	return err
}
