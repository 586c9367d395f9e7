package replica

import (
	"context"
	"sync"

	"nodedb/coordinator"
	"nodedb/node/rpc"
)

// readJob is a read that waits for a reader: a remote one, or one of this node's own coordinator.
type readJob struct {
	m    *coordinator.ReadMessage
	in   *rpc.Inbound // remote
	ctx  context.Context
	done func(*coordinator.ReadReply, error) // own
}

// readers run reads on a bounded set of goroutines. There are more of them than a machine has use for while reads find all in memory, since one that
// waits for the disk, or for the sync of what it read, holds its reader. So they wake each other, the one that rested least first: a reader that takes a job wakes the next if more
// is queued and none is on its way. A burst of cheap reads is run by one or two with warm stacks, one of waiting reads by as many as there are.
//
// Invariant: while jobs are queued, a reader runs or is on its way.
type readers struct {
	run       func(*readJob)
	most      int // readers
	mostQueue int // jobs
	ended     sync.WaitGroup

	mu struct {
		sync.Mutex
		queue  []readJob // from head on
		head   int
		idle   []*reader // last in, first out
		count  int       // of readers
		waking bool      // one was woken and has not looked at the queue yet
		closed bool
	}
}

type reader struct{ wake chan struct{} }

// push queues a job, or refuses it.
func (p *readers) push(j readJob) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return errClosing
	}
	if len(p.mu.queue)-p.mu.head >= p.mostQueue {
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many reads wait on the replica"}
	}
	if len(p.mu.queue) == cap(p.mu.queue) && p.mu.head > len(p.mu.queue)/2 {
		n := copy(p.mu.queue, p.mu.queue[p.mu.head:])
		clear(p.mu.queue[n:])
		p.mu.queue, p.mu.head = p.mu.queue[:n], 0
	}
	p.mu.queue = append(p.mu.queue, j)
	p.wakeOne()
	return nil
}

// wakeOne wakes or starts a reader when there is a job and none is on its way. REQUIRES: mu is held.
func (p *readers) wakeOne() {
	if p.mu.waking || p.mu.head == len(p.mu.queue) {
		return
	}
	if n := len(p.mu.idle); n > 0 {
		r := p.mu.idle[n-1]
		p.mu.idle = p.mu.idle[:n-1]
		p.mu.waking = true
		r.wake <- struct{}{} // of size 1 and empty, since r was idle
		return
	}
	if p.mu.count < p.most {
		p.mu.count++
		p.mu.waking = true
		p.ended.Go(p.work)
	}
}

// work is a reader's life.
func (p *readers) work() {
	r := &reader{wake: make(chan struct{}, 1)}
	p.mu.Lock()
	p.mu.waking = false
	p.mu.Unlock()
	for j, ok := p.next(r); ok; j, ok = p.next(r) {
		p.run(&j)
	}
}

// next waits for a job. False: the reader shall end.
func (p *readers) next(r *reader) (j readJob, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.mu.head < len(p.mu.queue) {
			j, p.mu.queue[p.mu.head] = p.mu.queue[p.mu.head], readJob{}
			if p.mu.head++; p.mu.head == len(p.mu.queue) {
				p.mu.queue, p.mu.head = p.mu.queue[:0], 0
			}
			p.wakeOne()
			return j, true
		}
		if p.mu.closed {
			return j, false
		}
		p.mu.idle = append(p.mu.idle, r)
		p.mu.Unlock()
		<-r.wake
		p.mu.Lock()
		p.mu.waking = false
	}
}

// close refuses what comes from now on, and waits for what is queued.
func (p *readers) close() {
	p.mu.Lock()
	p.mu.closed = true
	for _, r := range p.mu.idle {
		r.wake <- struct{}{}
	}
	p.mu.idle = nil
	p.mu.Unlock()
	p.ended.Wait()
}
