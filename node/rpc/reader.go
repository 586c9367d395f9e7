package rpc

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/node/wake"
)

// chunkSize is what a connection reads at most in one system call while its frames are small. Larger frames get a chunk
// of their own, that grows as their bytes arrive: a length alone makes nobody allocate.
const chunkSize = 32 << 10

// minRead is the room below which the rest of a chunk isn't worth a system call.
const minRead = 4 << 10

// chunk is a read buffer that frames are views into. It goes back to the pool when the reader has moved on and every
// request in it was answered.
type chunk struct {
	buf  []byte
	refs atomic.Int32
	held *atomic.Int64 // bytes of chunks in use on this connection
}

var chunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, chunkSize)} }}

func newChunk(size int, held *atomic.Int64) *chunk {
	var c *chunk
	if size <= chunkSize {
		c = chunks.Get().(*chunk)
	} else {
		c = &chunk{buf: make([]byte, size)}
	}
	c.held = held
	c.refs.Store(1)
	held.Add(int64(len(c.buf)))
	return c
}

func (c *chunk) retain() { c.refs.Add(1) }

func (c *chunk) release() {
	if c.refs.Add(-1) != 0 {
		return
	}
	c.held.Add(-int64(len(c.buf)))
	c.held = nil
	if len(c.buf) == chunkSize {
		chunks.Put(c)
	}
}

// frameReader cuts a byte stream into frames. It is not safe for concurrent use.
type frameReader struct {
	src   io.Reader
	limit int // bytes a frame
	chunk *chunk
	r, w  int // unread bytes of chunk.buf
	held  atomic.Int64
	at    time.Time // when the newest bytes were read
	cork  *wake.Cork
	holds bool // cork
	given int  // frames since it did not
}

// maxHeld is how many frames are given out before those who go on with them are woken, and maxHeldBytes the size of those that are cheap enough to let others wait.
const (
	maxHeld      = 64
	maxHeldBytes = 4 << 10
)

// hold begins or ends to hold wake-ups back.
func (fr *frameReader) hold(want bool) {
	switch {
	case fr.holds == want || fr.cork == nil: // there is none until the hellos were said
		return
	case want:
		fr.cork.Hold()
	default:
		fr.cork.Release()
		fr.given = 0
	}
	fr.holds = want
}

func newFrameReader(src io.Reader, limit int) *frameReader {
	fr := &frameReader{src: src, limit: limit}
	fr.chunk = newChunk(chunkSize, &fr.held)
	return fr
}

// next decodes the next frame. Its views live until the next call of next, unless the chunk is retained.
func (fr *frameReader) next(f *frame) error {
	for {
		n, err := frameLength(fr.chunk.buf[fr.r:fr.w], fr.limit)
		if err != nil {
			return err
		}
		if n > 0 && fr.w-fr.r >= n {
			raw := fr.chunk.buf[fr.r : fr.r+n : fr.r+n]
			fr.r += n
			if fr.given == maxHeld {
				fr.hold(false)
			}
			fr.hold(n <= maxHeldBytes)
			fr.given++
			return decodeFrame(raw, f)
		}
		if err := fr.fill(max(n, headerSize)); err != nil {
			return err
		}
	}
}

// preamble reads and checks the first bytes of a connection.
func (fr *frameReader) preamble() error {
	for fr.w-fr.r < preambleSize {
		if err := fr.fill(preambleSize); err != nil {
			return err
		}
	}
	err := checkPreamble(fr.chunk.buf[fr.r:fr.w])
	fr.r += preambleSize
	return err
}

// fill reads more bytes, after making room for a frame of need bytes.
func (fr *frameReader) fill(need int) error {
	if fr.r == fr.w && fr.chunk.refs.Load() == 1 && len(fr.chunk.buf) == chunkSize {
		fr.r, fr.w = 0, 0
	}
	free := len(fr.chunk.buf) - fr.w
	if free == 0 || free < minRead && len(fr.chunk.buf)-fr.r < need {
		fr.moveOn(need)
	}
	fr.hold(false)
	n, err := fr.src.Read(fr.chunk.buf[fr.w:])
	fr.w += n
	fr.at = time.Now()
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if err == io.EOF && fr.w > fr.r {
		return io.ErrUnexpectedEOF
	}
	return err
}

// moveOn takes a chunk with room, and the unread bytes with it. A large frame's chunk doubles with what has arrived.
func (fr *frameReader) moveOn(need int) {
	have := fr.w - fr.r
	size := chunkSize
	if need > chunkSize {
		size = min(need, max(2*have, chunkSize+chunkSize))
	}
	old := fr.chunk
	fresh := newChunk(size, &fr.held)
	copy(fresh.buf, old.buf[fr.r:fr.w])
	fr.chunk, fr.r, fr.w = fresh, 0, have
	old.release()
}

func (fr *frameReader) close() { fr.chunk.release() }
