package wire

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"nodedb/node/wake"
)

// keepBufferBytes is the largest buffer that a Writer keeps for the next burst.
const keepBufferBytes = 1 << 20

// Writer sends frames over a connection. Any goroutine appends frames to its buffer; one goroutine, Run, writes. It yields once before it takes what
// has gathered, so that one system call carries what a burst of requests brought (2.7 to 4 times the throughput), and it never waits for more.
//
// Where a cork is held while frames are appended, whoever releases it writes them himself, as much as the connection takes at once, and wakes Run only for the rest.
//
// Invariants:
//  1. Frames in the buffer are whole when mu is free.
//  2. One goroutine writes at a time: Run while idle is false, or whoever made it false until he has woken Run or made it true again.
type Writer struct {
	conn    net.Conn
	cork    *wake.Cork
	raw     syscall.RawConn // nil: only Run writes
	timeout time.Duration
	drained func()
	wake    wake.Bell // there is something to do

	// Room of whoever writes.
	spare, segments, scratch []byte
	bounded                  time.Time // Run's: when the write deadline was set

	mu struct {
		sync.Mutex
		rest        []byte // what Wake could not write; it goes before buf
		buf         []byte
		start       int // of the frame that Begin began
		plain       int // bytes at the start of buf that are not to be put in segments
		writing     int // bytes that Run has taken and not yet written
		compression Compression
		segmented   bool
		idle        bool // Run waits for wake, and nobody is about to wake it
		closed      bool
		err         error
		scratch     []byte
	}
}

// WriterOptions of NewWriter. The zero value waits for ever for a reader that doesn't read.
type WriterOptions struct {
	Timeout time.Duration // for one write; one that takes longer ends the connection. 0: none
	Drained func()        // called after every write
	Cork    *wake.Cork    // held while bursts of answers are appended; nil: never
}

// NewWriter writes to conn. The caller runs Run in a goroutine that it waits for.
func NewWriter(conn net.Conn, o WriterOptions) *Writer {
	return &Writer{conn: conn, raw: wake.Raw(conn), timeout: o.Timeout, drained: o.Drained, cork: o.Cork, wake: wake.NewBell()}
}

// Compress says that STARTUP agreed on a compression: frames that are begun from now on may be compressed.
func (w *Writer) Compress(c Compression) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.compression = c
}

// Segmented says that frames that are begun from now on go in v5 segments.
func (w *Writer) Segmented() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.segmented = true
	w.mu.plain = len(w.mu.buf)
}

// Begin locks the writer and begins a frame. The caller appends the body to the slice it gets and gives it to End, which unlocks.
func (w *Writer) Begin(h Header) []byte {
	w.mu.Lock()
	w.mu.start = len(w.mu.buf)
	return BeginFrame(w.mu.buf, h)
}

// Reserve makes room for n more bytes in a slice that Begin gave. The room of large answers is shared by all connections, and none keeps it: a connection's
// own would either stay for as long as it is open, or be made anew, and copied as it grows, for each burst.
func (w *Writer) Reserve(buf []byte, n int) []byte {
	need := len(buf) + n
	if need <= cap(buf) || need <= keepBufferBytes/2 {
		return slices.Grow(buf, n)
	}
	if large, ok := largeBuffers.Get().(*[]byte); ok && cap(*large) >= need {
		buf = append((*large)[:0], buf...)
	} else {
		buf = append(make([]byte, 0, max(need, 2*keepBufferBytes, 2*cap(buf))), buf...)
	}
	return buf // the one before is still the writer's until End
}

// largeBuffers are those above keepBufferBytes.
var largeBuffers sync.Pool

// maxLargeBytes is the largest buffer that is used again.
const maxLargeBytes = 16 << 20

// leaveLarge gives a buffer to whoever needs a large one next.
func leaveLarge(b []byte) {
	if cap(b) > keepBufferBytes && cap(b) <= maxLargeBytes {
		b = b[:0]
		largeBuffers.Put(&b)
	}
}

// End ends the frame that Begin began and wakes Run. The error is the one that ended the connection: then the frame is gone.
func (w *Writer) End(buf []byte) error {
	defer w.mu.Unlock()
	if w.mu.err != nil {
		return w.mu.err
	}
	if w.mu.closed {
		return ErrClosed
	}
	buf = EndFrame(buf, w.mu.start)
	if w.mu.compression != NoCompression && !w.mu.segmented {
		buf, w.mu.scratch = compressFrame(buf, w.mu.start, w.mu.compression, w.mu.scratch)
	}
	w.mu.buf = buf
	w.signal()
	return nil
}

// REQUIRES: mu is held.
func (w *Writer) signal() {
	if w.mu.idle {
		w.mu.idle = false
		w.cork.Wake(w)
	}
}

// maxAtOnce is the largest burst that is written by who brought it, in bytes: to compress and copy more would keep him from his work.
const maxAtOnce = 64 << 10

// Wake implements wake.Sleeper. At the end of a burst it writes what has gathered, as far as that takes no waiting, and leaves the rest to Run.
func (w *Writer) Wake(burst bool) {
	if !burst || w.raw == nil || !w.writeBurst() {
		w.wake.Ring()
	}
}

// writeBurst writes what the connection takes at once. False: Run is needed.
func (w *Writer) writeBurst() bool {
	w.mu.Lock()
	if n := len(w.mu.buf); n == 0 || n > maxAtOnce || len(w.mu.rest) > 0 {
		w.mu.Unlock()
		return false
	}
	b := w.take()
	w.mu.Unlock()
	out := w.pack(&b)
	n := wake.WriteSome(w.raw, out)
	w.mu.Lock()
	w.mu.rest = append(w.mu.rest, out[n:]...)
	w.mu.writing = 0
	w.keep(&b)
	w.mu.idle = !w.waiting() && !w.mu.closed
	idle := w.mu.idle
	w.mu.Unlock()
	if w.drained != nil {
		w.drained()
	}
	return idle
}

// waiting reports whether there is something to write. REQUIRES: mu is held.
func (w *Writer) waiting() bool { return len(w.mu.buf)+len(w.mu.rest) > 0 }

// Abort forgets the frame that Begin began.
func (w *Writer) Abort() { w.mu.Unlock() }

// Pending is the number of bytes that wait to be written or are being written.
func (w *Writer) Pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.buf) + len(w.mu.rest) + w.mu.writing
}

// Close lets Run write what is there and then end. Frames begun later are refused.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.closed = true
	w.signal()
}

// Run writes until Close or an error of the connection, which it gives back.
func (w *Writer) Run() error {
	for {
		b, ok := w.next()
		if !ok {
			return w.err()
		}
		var err error
		if len(b.rest) > 0 {
			err = w.write(b.rest)
		}
		if err == nil && len(b.buf) > 0 {
			err = w.write(w.pack(&b))
		}
		w.wrote(&b, err)
		if err != nil {
			return err
		}
	}
}

// burst is what is taken to be written at once.
type burst struct {
	rest        []byte // as it is, before buf
	buf         []byte
	plain       int
	segmented   bool
	compression Compression
}

// next waits until there is something to write, yields once, and takes it. False: the writer is closed and everything is written.
func (w *Writer) next() (b burst, ok bool) {
	w.mu.Lock()
	for !w.waiting() && !w.mu.closed {
		w.mu.idle = true
		w.mu.Unlock()
		<-w.wake
		w.mu.Lock()
	}
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting() {
		return b, false
	}
	return w.take(), true
}

// take takes what has gathered. REQUIRES: mu is held.
func (w *Writer) take() burst {
	b := burst{rest: w.mu.rest, buf: w.mu.buf, plain: w.mu.plain, segmented: w.mu.segmented, compression: w.mu.compression}
	w.mu.rest, w.mu.buf, w.mu.plain, w.mu.writing = nil, w.spare, 0, len(b.buf)+len(b.rest)
	return b
}

// pack gives the bytes that a burst's frames go over the connection as.
func (w *Writer) pack(b *burst) []byte {
	if !b.segmented {
		return b.buf
	}
	w.segments = append(w.segments[:0], b.buf[:b.plain]...)
	w.segments, w.scratch = appendSegments(w.segments, b.buf[b.plain:], b.compression, w.scratch)
	return w.segments
}

// keep makes a burst's buffer the next one's, unless it is large.
func (w *Writer) keep(b *burst) {
	if w.spare = b.buf[:0]; cap(w.spare) > keepBufferBytes {
		leaveLarge(w.spare)
		w.spare = nil
	}
	if cap(w.segments) > keepBufferBytes {
		w.segments = nil
	}
}

// write bounds a write by the timeout, or by little less: a deadline costs as much as the rest of a small write.
func (w *Writer) write(b []byte) error {
	if now := time.Now(); w.timeout > 0 && now.Sub(w.bounded) > w.timeout/16 {
		if err := w.conn.SetWriteDeadline(now.Add(w.timeout)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		w.bounded = now
	}
	_, err := w.conn.Write(b)
	return err
}

func (w *Writer) wrote(b *burst, err error) {
	w.mu.Lock()
	w.mu.writing = 0
	w.keep(b)
	if err != nil {
		w.mu.err, w.mu.buf = err, nil
	}
	w.mu.Unlock()
	if w.drained != nil {
		w.drained()
	}
}

func (w *Writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.err
}
