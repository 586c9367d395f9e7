package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/wake"
)

const (
	// maxQueuedWrites bounds the messages that wait for the store, and maxQueuedBytes their mutations; more are refused as overload.
	maxQueuedWrites = 8192
	maxQueuedBytes  = 128 << 20
	// maxBurst bounds how many messages are written as one batch, and maxBurstBytes their mutations.
	maxBurst      = 64
	maxBurstBytes = 1 << 20
	// maxQueuedBackground bounds the messages that wait though no client waits for them; more are refused as overload, and their senders slow down.
	maxQueuedBackground = 16
	// backgroundRest is how long such messages wait behind one that took the writer some time, as a multiple of that, beside requests: they get at
	// most a twentieth of the writer, for what they cost later (log, flush, compaction) is several times what they cost here.
	backgroundRest = 19
	// maxRest bounds that: a disk that hung says nothing of what a message costs.
	maxRest = time.Second
	// requestsLast is how long after the last request there still are some.
	requestsLast = 100 * time.Millisecond
)

// writer brings messages to the store: what arrived while it wrote the last batch becomes the next one. A store whose disk stalls holds up the writer alone, not the
// connections' readers nor the coordinator's callers.
//
// Messages that no client waits for have a queue of their own. While the node has no other requests they are written as they come; beside requests they rest
// after each. They are never left out altogether: then a busy node would not be whole again.
//
// Invariant: while messages are queued, the writer runs or its wake-up is on its way.
type writer struct {
	store      Store
	cork       *wake.Cork
	wake       wake.Bell
	requested  atomic.Int64 // when a request came and found none waiting, or a read came, ns
	background chan queued
	restUntil  time.Time // the writer's own: before then nothing is taken from background
	batches    sync.Pool // of *batch
	ended      sync.WaitGroup

	mu struct {
		sync.Mutex
		queue  []queued // from head on
		head   int
		bytes  int  // of the mutations in queue
		idle   bool // the writer waits for wake
		closed bool
	}
}

// queued is a message that waits for the store.
type queued struct {
	ms       []row.Mutation
	size     int
	admitted coordinator.Admitted      // ends with it
	m        *coordinator.WriteMessage // for its trace
	done     func(error)
}

// end answers a message.
func (q *queued) end(err error) {
	q.admitted.Leave()
	traceWrite(q.m, err)
	q.done(asRemote(err))
}

func newWriter(store Store, cork *wake.Cork) *writer {
	w := &writer{store: store, cork: cork, wake: wake.NewBell(), background: make(chan queued, maxQueuedBackground)}
	w.ended.Go(w.run)
	return w
}

func (w *writer) close() {
	w.mu.Lock()
	w.mu.closed = true
	w.mu.Unlock()
	w.cork.Wake(w.wake)
	w.ended.Wait()
}

// touch notes that a request came.
func (w *writer) touch() { w.requested.Store(time.Now().UnixNano()) }

// touched reports whether one came a moment ago, or waits.
func (w *writer) touched(now time.Time) bool {
	if now.UnixNano()-w.requested.Load() < int64(requestsLast) {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.head < len(w.mu.queue)
}

// add queues a message; its end may be called from any goroutine.
func (w *writer) add(q queued) {
	q.size = sizeOf(q.ms)
	if err := w.push(&q); err != nil {
		q.end(err)
	}
}

// addBackground queues a message that no client waits for.
func (w *writer) addBackground(q queued) {
	if err := w.pushBackground(&q); err != nil {
		q.end(err)
	}
}

func (w *writer) pushBackground(q *queued) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed {
		return errClosing
	}
	select {
	case w.background <- *q:
		return nil
	default:
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many hints wait for the replica's disk"}
	}
}

// errClosing refuses what comes, or still waits, when the node stops.
var errClosing = &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica is shutting down"}

func (w *writer) push(q *queued) error {
	w.mu.Lock()
	if w.mu.closed {
		w.mu.Unlock()
		return errClosing
	}
	waiting := len(w.mu.queue) - w.mu.head
	if waiting >= maxQueuedWrites || w.mu.bytes+q.size > maxQueuedBytes {
		w.mu.Unlock()
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many writes wait for the replica's disk"}
	}
	if waiting == 0 {
		w.touch()
	}
	w.makeRoom()
	w.mu.queue = append(w.mu.queue, *q)
	w.mu.bytes += q.size
	idle := w.mu.idle
	w.mu.idle = false
	w.mu.Unlock()
	if idle {
		w.cork.Wake(w.wake)
	}
	return nil
}

// makeRoom moves what is queued to the front when that spares an allocation. REQUIRES: mu is held.
func (w *writer) makeRoom() {
	if len(w.mu.queue) < cap(w.mu.queue) || w.mu.head <= len(w.mu.queue)/2 {
		return
	}
	n := copy(w.mu.queue, w.mu.queue[w.mu.head:])
	clear(w.mu.queue[n:])
	w.mu.queue, w.mu.head = w.mu.queue[:n], 0
}

func (w *writer) run() {
	for w.step() {
	}
	for {
		select {
		case q := <-w.background:
			q.end(errClosing)
		default:
			return
		}
	}
}

// step writes what comes next; false: the writer was closed. A background message goes first once it has rested: its share is bounded by that, and who
// always lets others go first may wait for ever.
func (w *writer) step() bool {
	background, rested := w.background, (<-chan time.Time)(nil)
	if rest := w.rest(); rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		background, rested = nil, timer.C
	} else {
		select {
		case q := <-background:
			w.writeBackground(&q)
			return true
		default:
		}
	}
	b, open := w.take()
	if b != nil {
		w.write(b)
	}
	if b != nil || !open {
		return open
	}
	select {
	case <-w.wake:
	case q := <-background:
		w.writeBackground(&q)
	case <-rested:
	}
	return true
}

// rest is how long background messages have to wait.
func (w *writer) rest() time.Duration {
	if w.restUntil.IsZero() {
		return 0
	}
	rest := time.Until(w.restUntil)
	if rest <= 0 {
		w.restUntil = time.Time{}
	}
	return rest
}

func (w *writer) writeBackground(q *queued) {
	begun := time.Now()
	b := w.newBatch()
	b.messages = append(b.messages, *q)
	w.write(b)
	now := time.Now()
	if w.touched(now) {
		w.restUntil = now.Add(min(backgroundRest*now.Sub(begun), maxRest))
	}
}

// take takes what is queued, as much of it as one batch may have; nil: nothing is, and the writer is to wait. open is false once the writer was closed and
// everything taken.
func (w *writer) take() (b *batch, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.head == len(w.mu.queue) {
		w.mu.idle = !w.mu.closed
		return nil, !w.mu.closed
	}
	b = w.newBatch()
	size := 0
	for w.mu.head < len(w.mu.queue) && len(b.messages) < maxBurst && size < maxBurstBytes {
		q := &w.mu.queue[w.mu.head]
		b.messages = append(b.messages, *q)
		size += q.size
		*q = queued{}
		w.mu.head++
	}
	w.mu.bytes -= size
	if w.mu.head == len(w.mu.queue) {
		w.mu.queue, w.mu.head = w.mu.queue[:0], 0
	}
	return b, true
}

func sizeOf(ms []row.Mutation) (n int) {
	for i := range ms {
		n += ms[i].Size()
	}
	return n
}

// batch is messages that are written at once. Batches are used again.
type batch struct {
	w        *writer
	messages []queued
	all      []row.Mutation // of all messages
	done     func(error)    // written, made once
}

func (w *writer) newBatch() *batch {
	if b, ok := w.batches.Get().(*batch); ok {
		return b
	}
	b := &batch{w: w}
	b.done = b.written
	return b
}

// end gives the batch back: all its messages are answered.
func (b *batch) end() {
	w := b.w
	clear(b.messages)
	clear(b.all)
	b.messages, b.all = b.messages[:0], b.all[:0]
	w.batches.Put(b)
	w.ended.Done()
}

// write writes a batch. When the store refuses it, each message is tried by itself: one that is refused must not take the others with it.
func (w *writer) write(b *batch) {
	w.ended.Add(1)
	if len(b.messages) == 1 {
		w.store.Apply(b.messages[0].ms, b.done)
		return
	}
	for i := range b.messages {
		b.all = append(b.all, b.messages[i].ms...)
	}
	w.store.Apply(b.all, b.done)
}

// written answers a batch's messages. Their answers leave together.
func (b *batch) written(err error) {
	if err != nil && len(b.messages) > 1 && !fault.Planted("replica/burst-is-refused-whole") {
		go b.oneByOne() // not here: done must not call Apply
		return
	}
	b.w.cork.Hold()
	for i := range b.messages {
		b.messages[i].end(err)
	}
	b.w.cork.Release()
	b.end()
}

// oneByOne writes a refused batch's messages by themselves.
func (b *batch) oneByOne() {
	var all sync.WaitGroup
	for i := range b.messages {
		q := &b.messages[i]
		all.Add(1)
		b.w.store.Apply(q.ms, func(err error) {
			q.end(err)
			all.Done()
		})
	}
	all.Wait()
	b.end()
}
