package rpc

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"nodedb/node/wake"
)

// keepBuffer is the largest output buffer that is kept for reuse after a burst.
const keepBuffer = 1 << 20

// writer collects frames and writes them from one goroutine. It yields once before each write, so that whoever is about
// to append does; never a timer (PERFORMANCE.md, rule 1: 2.7 to 4 times the throughput).
type writer struct {
	limit int // bytes that may wait; a frame into an empty buffer always may
	bytes *atomic.Int64
	cork  *wake.Cork
	wake  wake.Bell // run has something to do

	mu struct {
		sync.Mutex
		buf    []byte
		asleep bool
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
	if w.mu.closed || len(w.mu.buf) > 0 && len(w.mu.buf)+size > w.limit {
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
		w.cork.Wake(w.wake)
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

// run writes until the connection fails or close is called. What waits at close is dropped.
func (w *writer) run(nc net.Conn) error {
	var spare []byte
	for {
		if !w.await() {
			return nil
		}
		runtime.Gosched()
		w.mu.Lock()
		out := w.mu.buf
		w.mu.buf = spare[:0]
		w.mu.Unlock()
		w.bytes.Add(int64(len(out)))
		if _, err := nc.Write(out); err != nil {
			return err
		}
		if spare = out; cap(out) > keepBuffer {
			spare = nil
		}
	}
}

// await blocks until there is something to write; false: closed.
func (w *writer) await() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.mu.buf) == 0 && !w.mu.closed {
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
	w.mu.buf = nil
	w.mu.Unlock()
	w.cork.Wake(w.wake)
}
