package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
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
type writer struct {
	store      Store
	queue      chan queued
	background chan queued
	requested  atomic.Int64 // when the last request came, ns
	restUntil  time.Time    // the writer's own: before then nothing is taken from background
	bytes      atomic.Int64 // of the mutations in queue
	ended      sync.WaitGroup

	mu struct {
		sync.RWMutex
		closed bool // queue is; adding would panic
	}
}

type queued struct {
	ms   []row.Mutation
	size int
	done func(error)
}

func newWriter(store Store) *writer {
	w := &writer{store: store, queue: make(chan queued, maxQueuedWrites), background: make(chan queued, maxQueuedBackground)}
	w.ended.Go(w.run)
	return w
}

func (w *writer) close() {
	w.mu.Lock()
	w.mu.closed = true
	w.mu.Unlock()
	close(w.queue)
	w.ended.Wait()
}

// touch notes that a request came.
func (w *writer) touch() { w.requested.Store(time.Now().UnixNano()) }

// touched reports whether one came a moment ago.
func (w *writer) touched(now time.Time) bool {
	return now.UnixNano()-w.requested.Load() < int64(requestsLast)
}

// add queues a message's mutations; done may be called from any goroutine.
func (w *writer) add(ms []row.Mutation, done func(error)) {
	w.touch()
	q := queued{ms, sizeOf(ms), done}
	if err := w.push(q); err != nil {
		done(err)
	}
}

// addBackground queues a message that no client waits for.
func (w *writer) addBackground(ms []row.Mutation, done func(error)) {
	if err := w.pushBackground(queued{ms, sizeOf(ms), done}); err != nil {
		done(err)
	}
}

func (w *writer) pushBackground(q queued) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.mu.closed {
		return errClosing
	}
	select {
	case w.background <- q:
		return nil
	default:
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many hints wait for the replica's disk"}
	}
}

// errClosing refuses what comes, or still waits, when the node stops.
var errClosing = &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica is shutting down"}

func (w *writer) push(q queued) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.mu.closed {
		return errClosing
	}
	if w.bytes.Add(int64(q.size)) <= maxQueuedBytes {
		select {
		case w.queue <- q:
			return nil
		default:
		}
	}
	w.bytes.Add(-int64(q.size))
	return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many writes wait for the replica's disk"}
}

func (w *writer) run() {
	for w.step() {
	}
	for {
		select {
		case q := <-w.background:
			q.done(errClosing)
		default:
			return
		}
	}
}

// step writes what comes next; false: the queue was closed. A background message goes first once it has rested: its share is bounded by that, and who
// always lets others go first may wait for ever.
func (w *writer) step() bool {
	background, rested := w.background, (<-chan time.Time)(nil)
	if rest := time.Until(w.restUntil); rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		background, rested = nil, timer.C
	} else {
		select {
		case q := <-background:
			w.writeBackground(q)
			return true
		default:
		}
	}
	select {
	case q, open := <-w.queue:
		if open {
			w.write(w.gather(q))
		}
		return open
	case q := <-background:
		w.writeBackground(q)
	case <-rested:
	}
	return true
}

func (w *writer) writeBackground(q queued) {
	begun := time.Now()
	w.write([]queued{q})
	now := time.Now()
	if w.touched(now) {
		w.restUntil = now.Add(min(backgroundRest*now.Sub(begun), maxRest))
	}
}

// gather takes what else is queued.
func (w *writer) gather(first queued) []queued {
	burst, size := []queued{first}, first.size
	defer func() { w.bytes.Add(-int64(size)) }()
	for len(burst) < maxBurst && size < maxBurstBytes {
		select {
		case q, open := <-w.queue:
			if !open {
				return burst
			}
			burst, size = append(burst, q), size+q.size
		default:
			return burst
		}
	}
	return burst
}

func sizeOf(ms []row.Mutation) (n int) {
	for i := range ms {
		n += ms[i].Size()
	}
	return n
}

// write writes a burst as one batch. When the store refuses it, each message is tried by itself: one that is refused must not take the others with it.
func (w *writer) write(burst []queued) {
	w.ended.Add(1)
	if len(burst) == 1 {
		w.store.Apply(burst[0].ms, func(err error) {
			burst[0].done(err)
			w.ended.Done()
		})
		return
	}
	var all []row.Mutation
	for _, q := range burst {
		all = append(all, q.ms...)
	}
	w.store.Apply(all, func(err error) {
		if err != nil {
			if fault.Planted("replica/burst-is-refused-whole") {
				for _, q := range burst {
					q.done(err)
				}
				w.ended.Done()
				return
			}
			go w.oneByOne(burst) // not here: done must not call Apply
			return
		}
		for _, q := range burst {
			q.done(nil)
		}
		w.ended.Done()
	})
}

// oneByOne writes a refused burst's messages by themselves.
func (w *writer) oneByOne(burst []queued) {
	var all sync.WaitGroup
	for _, q := range burst {
		all.Add(1)
		w.store.Apply(q.ms, func(err error) {
			q.done(err)
			all.Done()
		})
	}
	all.Wait()
	w.ended.Done()
}
