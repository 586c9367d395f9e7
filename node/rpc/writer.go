package rpc

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"nodedb/node/wake"
)

// keepBuffer is the largest output buffer that is kept for reuse after a burst.
const keepBuffer = 1 << 20

// maxAtOnce is the largest burst that is written by who brought it, in bytes: the kernel's copy of more would keep him from his work.
const maxAtOnce = 64 << 10

// writer collects frames and writes them from one goroutine, run. It yields once before each write, so that whoever is about
// to append does; never a timer (PERFORMANCE.md, rule 1: 2.7 to 4 times the throughput).
//
// Where the cork is held while frames are appended, whoever releases it writes them himself, as much as the connection takes at once, and wakes run only for
// the rest.
//
// Invariant: one goroutine writes at a time: run while asleep is false, or whoever made it false until he has woken run or made it true again.
type writer struct {
	limit int // bytes that may wait; a frame into an empty buffer always may
	bytes *atomic.Int64
	cork  *wake.Cork
	wake  wake.Bell       // run has something to do
	raw   syscall.RawConn // nil: only run writes
	spare []byte          // room of whoever writes

	mu struct {
		sync.Mutex
		rest   []byte // what Wake could not write; it goes before buf
		buf    []byte
		asleep bool // run waits for wake, and nobody is about to wake it
		closed bool
	}
}

func (w *writer) init(limit int, bytes *atomic.Int64, cork *wake.Cork) {
	w.limit, w.bytes, w.cork, w.wake = limit, bytes, cork, wake.NewBell()
}

// lock gives the buffer to append a frame of about size bytes to, or false when it is full or closed. unlock must
// follow either way.
func (w *writer) lock(size int) (buf []byte, ok bool) {
	w.mu.Lock()
	waiting := len(w.mu.rest) + len(w.mu.buf)
	if w.mu.closed || waiting > 0 && waiting+size > w.limit {
		return w.mu.buf, false
	}
	return w.mu.buf, true
}

func (w *writer) unlock(buf []byte) {
	w.mu.buf = buf
	wake := w.mu.asleep && len(buf) > 0
	if wake {
		w.mu.asleep = false
	}
	w.mu.Unlock()
	if wake {
		w.cork.Wake(w)
	}
}

// bare appends a ping or pong, unless the buffer is full: whoever doesn't read needs none.
func (w *writer) bare(kind byte) {
	buf, ok := w.lock(headerSize)
	if ok {
		buf = appendBare(buf, kind)
	}
	w.unlock(buf)
}

// Wake implements wake.Sleeper. At the end of a burst it writes what has gathered, as far as that takes no waiting, and leaves the rest to run.
func (w *writer) Wake(burst bool) {
	if !burst || w.raw == nil || !w.writeBurst() {
		w.wake.Ring()
	}
}

// writeBurst writes what the connection takes at once. False: run is needed.
func (w *writer) writeBurst() bool {
	w.mu.Lock()
	if n := len(w.mu.buf); n == 0 || n > maxAtOnce || w.mu.closed {
		w.mu.Unlock()
		return false
	}
	out := w.take()
	w.mu.Unlock()
	n := wake.WriteSome(w.raw, out)
	w.bytes.Add(int64(n))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.rest = append(w.mu.rest, out[n:]...)
	w.keep(out)
	w.mu.asleep = !w.waiting() && !w.mu.closed
	return w.mu.asleep
}

// waiting reports whether there is something to write. REQUIRES: mu is held.
func (w *writer) waiting() bool { return len(w.mu.rest)+len(w.mu.buf) > 0 }

// take takes the buffer and leaves the spare one. REQUIRES: mu is held.
func (w *writer) take() []byte {
	out := w.mu.buf
	w.mu.buf, w.spare = w.spare[:0], nil
	return out
}

// keep makes a buffer that was written the spare one.
func (w *writer) keep(out []byte) {
	if cap(out) <= keepBuffer {
		w.spare = out
	}
}

// run writes until the connection fails or close is called. What waits at close is dropped.
func (w *writer) run(nc net.Conn) error {
	w.mu.Lock()
	w.raw = wake.Raw(nc)
	w.mu.Unlock()
	for w.await() {
		runtime.Gosched()
		w.mu.Lock()
		rest, out := w.mu.rest, w.take()
		w.mu.rest = nil
		w.mu.Unlock()
		w.bytes.Add(int64(len(rest) + len(out)))
		if len(rest) > 0 {
			if _, err := nc.Write(rest); err != nil {
				return err
			}
		}
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return err
			}
		}
		w.keep(out)
	}
	return nil
}

// await blocks until there is something to write; false: closed.
func (w *writer) await() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.waiting() && !w.mu.closed {
		w.mu.asleep = true
		w.mu.Unlock()
		<-w.wake
		w.mu.Lock()
	}
	return !w.mu.closed
}

func (w *writer) close() {
	w.mu.Lock()
	w.mu.closed = true
	w.mu.rest, w.mu.buf = nil, nil
	w.mu.Unlock()
	w.wake.Ring()
}
