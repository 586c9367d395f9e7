package native

import (
	"sync"
	"time"
)

// maxIdleWorkers is how many workers stay when there is nothing to do.
const maxIdleWorkers = 64

// pool runs requests on a bounded set of workers, taking connections in turn, one request each, so that no connection starves another.
//
// Waking a worker for each request of a burst would cost more than a cheap request does. So one is woken; it takes a request and, if there is
// more, wakes the next before it runs its own, unless one is on its way already. When requests are cheap the first worker has emptied the queue before
// the second runs; when they block, each is followed by another until all are running.
//
// Invariant: a connection with queued requests is in ready, or stalled, or both until its turn comes.
type pool struct {
	maxWorkers, maxQueued, maxQueuedBytes, maxPendingBytes int
	maxInFlight, maxConnBytes                              int
	owned                                                  sync.WaitGroup

	mu struct {
		sync.Mutex
		ready   fifo[*conn]
		idle    []*worker // last in, first out: its stack is warm
		workers int
		waking  bool // a worker was woken and has not looked at the queue yet
		queued  int  // requests queued or running, of all connections
		bytes   int  // of their bodies
		closed  bool
	}
}

// lane is what the pool keeps of a connection, under its mutex.
type lane struct {
	queue    fifo[*request]
	ready    bool // in pool.ready
	stalled  bool // too many answers pending: nothing is begun, and nothing more is read
	inFlight int  // queued or running
	bytes    int
	waiting  bool // the reader waits for room
	gone     bool // nothing more is to be begun
}

type worker struct{ wake chan struct{} }

func newPool(o Options) *pool {
	return &pool{
		maxWorkers: o.MaxWorkers, maxQueued: o.MaxQueued, maxQueuedBytes: o.MaxQueuedBytes, maxPendingBytes: o.MaxPendingBytes,
		maxInFlight: o.MaxInFlight, maxConnBytes: o.MaxConnBytes,
	}
}

// admit counts a connection's burst of requests as in flight, and gives those that are too many for the server.
func (p *pool) admit(c *conn, burst []*request) (admitted, shed []*request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range burst {
		if p.mu.queued >= p.maxQueued || (p.mu.bytes+len(r.body) > p.maxQueuedBytes && p.mu.queued > 0) {
			return burst[:i], burst[i:]
		}
		p.mu.queued++
		p.mu.bytes += len(r.body)
		c.lane.inFlight++
		c.lane.bytes += len(r.body)
	}
	return burst, nil
}

// submit queues requests that were admitted.
func (p *pool) submit(c *conn, burst []*request) {
	if len(burst) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var now time.Time
	if p.mu.workers >= p.maxWorkers && len(p.mu.idle) == 0 {
		now = time.Now()
	}
	for _, r := range burst {
		r.arrived = now
		c.lane.queue.push(r)
	}
	p.makeReady(c)
	p.wakeOne()
}

// done accounts for a request that no worker ran.
func (p *pool) done(r *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(r)
}

// REQUIRES: mu is held.
func (p *pool) makeReady(c *conn) {
	if !c.lane.ready && !c.lane.stalled && c.lane.queue.len() > 0 {
		c.lane.ready = true
		p.mu.ready.push(c)
	}
}

// wakeOne wakes or starts a worker when there is work and none is on its way. REQUIRES: mu is held.
func (p *pool) wakeOne() {
	if p.mu.waking || p.mu.ready.len() == 0 {
		return
	}
	if n := len(p.mu.idle); n > 0 {
		w := p.mu.idle[n-1]
		p.mu.idle = p.mu.idle[:n-1]
		p.mu.waking = true
		w.wake <- struct{}{} // of size 1 and empty, since w was idle
		return
	}
	if p.mu.workers < p.maxWorkers {
		p.mu.workers++
		p.mu.waking = true
		p.owned.Go(p.work)
	}
}

// work runs requests until there are enough idle workers without this one.
func (p *pool) work() {
	w := &worker{wake: make(chan struct{}, 1)}
	p.mu.Lock()
	p.mu.waking = false
	p.mu.Unlock()
	for r := p.next(w, nil); r != nil; r = p.next(w, r) {
		r.run()
	}
}

// next accounts for the request that w has finished and waits for another. nil: w shall end.
func (p *pool) next(w *worker, finished *request) *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if finished != nil {
		p.finish(finished)
	}
	for {
		if r := p.pop(); r != nil {
			p.wakeOne()
			return r
		}
		if p.mu.closed || len(p.mu.idle) >= maxIdleWorkers {
			p.mu.workers--
			return nil
		}
		p.mu.idle = append(p.mu.idle, w)
		p.mu.Unlock()
		<-w.wake
		p.mu.Lock()
		p.mu.waking = false
	}
}

// pop takes the next request of the connection whose turn it is. REQUIRES: mu is held.
func (p *pool) pop() *request {
	for p.mu.ready.len() > 0 {
		c := p.mu.ready.pop()
		c.lane.ready = false
		if p.stalls(c) {
			continue
		}
		r, _ := c.lane.queue.take()
		p.makeReady(c)
		if r != nil {
			return r
		}
	}
	return nil
}

// stalls reports whether a connection's client must take answers before more are made. The pending bytes are looked at again after stalled is
// set: unstall, which the writer calls after every write, either saw it set or had made them fewer. REQUIRES: mu is held.
func (p *pool) stalls(c *conn) bool {
	if c.writer.Pending() <= p.maxPendingBytes {
		return false
	}
	c.lane.stalled = true
	c.stalled.Store(true)
	if c.writer.Pending() > p.maxPendingBytes {
		return true
	}
	c.lane.stalled = false
	c.stalled.Store(false)
	return false
}

// unstall lets a connection's requests begin again when its client has taken answers.
func (p *pool) unstall(c *conn) {
	if !c.stalled.Load() || c.writer.Pending() > p.maxPendingBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.lane.stalled = false
	c.stalled.Store(false)
	p.makeReady(c)
	p.wakeOne()
	p.giveRoom(c)
}

// finish accounts for a request that is done with. REQUIRES: mu is held.
func (p *pool) finish(r *request) {
	c := r.conn
	p.mu.queued--
	p.mu.bytes -= len(r.body)
	c.lane.inFlight--
	c.lane.bytes -= len(r.body)
	p.giveRoom(c)
	r.release()
}

// giveRoom wakes the reader that waits for room. REQUIRES: mu is held.
func (p *pool) giveRoom(c *conn) {
	if c.lane.waiting && p.hasRoom(c, 2) {
		c.lane.waiting = false
		c.room <- struct{}{}
	}
}

// hasRoom reports whether less than a part of the limits is in use, or, once the connection is gone, whether nothing is in flight.
// REQUIRES: mu is held.
func (p *pool) hasRoom(c *conn, part int) bool {
	if c.lane.gone {
		return c.lane.inFlight == 0
	}
	return c.lane.inFlight <= p.maxInFlight/part && c.lane.bytes <= p.maxConnBytes/part && !c.lane.stalled
}

// waitRoom lets the reader wait until the connection has room for more requests.
func (p *pool) waitRoom(c *conn) {
	p.mu.Lock()
	p.stalls(c)
	wait := !p.hasRoom(c, 1)
	c.lane.waiting = wait
	p.mu.Unlock()
	if wait {
		<-c.room
	}
}

// drain lets the reader, which has ended, wait until the connection's requests have ended; with drop, those not begun are forgotten.
func (p *pool) drain(c *conn, drop bool) {
	p.mu.Lock()
	c.lane.gone = true
	if drop {
		for r, ok := c.lane.queue.take(); ok; r, ok = c.lane.queue.take() {
			p.finish(r)
		}
	}
	p.mu.Unlock()
	p.waitRoom(c)
}

// close ends the workers. No connection is left.
func (p *pool) close() {
	p.mu.Lock()
	p.mu.closed = true
	for _, w := range p.mu.idle {
		w.wake <- struct{}{}
	}
	p.mu.idle = nil
	p.mu.Unlock()
	p.owned.Wait()
}

// fifo is a queue that keeps its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v T) {
	if len(f.items) == cap(f.items) && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

func (f *fifo[T]) pop() T {
	v, _ := f.take()
	return v
}

// take gives the first item; false: there is none.
func (f *fifo[T]) take() (v T, ok bool) {
	if f.head == len(f.items) {
		return v, false
	}
	var zero T
	v, f.items[f.head] = f.items[f.head], zero
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return v, true
}
