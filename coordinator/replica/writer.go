package replica

import (
	"sync"
	"sync/atomic"

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
)

// writer brings messages to the store: what arrived while it wrote the last batch becomes the next one. A store whose disk stalls holds up the writer alone, not the
// connections' readers nor the coordinator's callers.
type writer struct {
	store Store
	queue chan queued
	bytes atomic.Int64 // of the mutations in queue
	ended sync.WaitGroup

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
	w := &writer{store: store, queue: make(chan queued, maxQueuedWrites)}
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

// add queues a message's mutations; done may be called from any goroutine.
func (w *writer) add(ms []row.Mutation, done func(error)) {
	q := queued{ms, sizeOf(ms), done}
	if err := w.push(q); err != nil {
		done(err)
	}
}

func (w *writer) push(q queued) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.mu.closed {
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica is shutting down"}
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
	for first := range w.queue {
		w.write(w.gather(first))
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
