package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"nodedb/node/trace"
	"nodedb/query"
	"nodedb/query/virtual"
	"nodedb/query/wire"
)

// maxBurst is how many requests the reader hands to the pool at once; maxHeld is how many of them are started before those who go on with them are woken.
const (
	maxBurst = 128
	maxHeld  = 64
)

// lingerTime is how long a connection that is closed after an error waits for the client to read it; lingerBytes is how much it reads meanwhile.
const (
	lingerTime  = time.Second
	lingerBytes = 16 << 20
)

// conn is one client's connection. Its reader decodes frame headers, answers what needs no engine, and queues the rest.
type conn struct {
	server *Server
	nc     net.Conn
	reader *wire.FrameReader
	writer *wire.Writer
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Set by the reader before the first request is queued.
	version wire.Version
	started bool // STARTUP has been answered
	ready   bool // and authenticated

	session atomic.Pointer[query.Session]  // replaced by USE
	events  atomic.Uint32                  // bits of eventBit
	stalled atomic.Bool                    // lane.stalled, for the writer
	room    chan struct{}                  // wakes the reader in pool.waitRoom
	shown   atomic.Pointer[virtual.Client] // what doesn't change after STARTUP
	frames  atomic.Int64                   // requests that came
	lane    lane                           // under the pool's mutex
	burst   []*request
}

// errHangUp ends a connection once its answers are out: the client has been told why.
var errHangUp = errors.New("protocol error answered")

// errClientGone is why requests of a lost connection are cancelled.
var errClientGone = errors.New("the client is gone")

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, nc: nc, version: wire.MaxVersion, room: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	c.reader = wire.NewFrameReader(nc, s.o.MaxRequestBytes)
	c.writer = wire.NewWriter(nc, wire.WriterOptions{Timeout: s.o.WriteTimeout, Cork: s.o.Cork, Drained: func() { s.pool.unstall(c) }})
	c.session.Store(&query.Session{Client: nc.RemoteAddr().String()})
	return c
}

// serve is the connection's life, on its reader's goroutine.
func (c *conn) serve() {
	defer c.server.forget(c)
	writerEnded := make(chan struct{})
	go func() {
		defer close(writerEnded)
		if err := c.writer.Run(); err != nil {
			c.nc.Close() // so that the reader ends
		}
	}()
	c.deadline(c.server.o.HandshakeTimeout)
	err := c.read()
	lost := !errors.Is(err, errHangUp) && !c.server.isClosed()
	if lost {
		c.cancel(errClientGone)
	}
	c.server.pool.drain(c, lost)
	c.writer.Close()
	<-writerEnded
	if errors.Is(err, errHangUp) {
		c.linger()
	}
	c.cancel(nil)
	c.nc.Close()
}

// linger reads on for a moment, since closing with unread bytes would destroy the error that has just been written.
func (c *conn) linger() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}

// deadline sets when the next read must have ended; 0: never. Shutdown's deadline, which is now, stays.
func (c *conn) deadline(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = c.nc.SetReadDeadline(at)
	if c.server.isClosed() {
		c.stopReading()
	}
}

// stopReading makes the reader end soon.
func (c *conn) stopReading() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// read reads frames until the connection ends, and gives the reason.
func (c *conn) read() error {
	for {
		h, body, err := c.reader.Next()
		if err == nil || errors.Is(err, wire.ErrTooLarge) {
			err = c.take(h, body, err)
		} else {
			err = c.broken(h, err)
		}
		if err != nil {
			c.submit() // what came before the bad frame is answered
			return err
		}
		if len(c.burst) > 0 && (len(c.burst) >= min(maxBurst, c.server.o.MaxInFlight) || !c.reader.Buffered()) {
			c.submit()
			c.server.pool.waitRoom(c)
		}
	}
}

// submit begins or queues the burst, and answers those that are too many.
func (c *conn) submit() {
	if len(c.burst) == 0 {
		return
	}
	admitted, shed := c.server.pool.admit(c, c.burst)
	for _, r := range shed {
		c.server.stats.overloaded.Add(1)
		c.refuse(r.header, wire.Errorf(wire.CodeOverloaded, "overloaded: the node has %d requests in flight; try again later", c.server.o.MaxQueued))
		r.release()
	}
	if c.server.starter != nil {
		admitted = c.start(admitted)
	}
	c.server.pool.submit(c, admitted)
	clear(c.burst)
	c.burst = c.burst[:0]
}

// start begins what the Starter takes, and gives the others. What it is begun with, the replica's writer above all, is woken for up to maxHeld requests at once.
func (c *conn) start(admitted []*request) []*request {
	cork, begun := c.server.o.Cork, 0
	cork.Hold()
	defer cork.Release()
	return slices.DeleteFunc(admitted, func(r *request) bool {
		if begun++; begun > maxHeld {
			cork.Release()
			cork.Hold()
			begun = 1
		}
		return r.start(c.server.starter)
	})
}

// broken answers bytes that are no frame of ours, and says that the connection ends.
func (c *conn) broken(h wire.Header, err error) error {
	switch {
	case errors.Is(err, wire.ErrVersion):
		// Drivers that probe for a newer version look for this text, in a frame of a version that they can read, on stream 0.
		h = wire.Header{Version: wire.MaxVersion}
		c.protocolError(h, "Invalid or unsupported protocol version (%s", after(err.Error(), "("))
		return errHangUp
	case errors.Is(err, wire.ErrMalformed):
		if h.Version != c.version {
			h = wire.Header{Version: c.version}
		}
		c.protocolError(h, "%v", err)
		return errHangUp
	}
	return err
}

// take handles one frame. An error ends the connection.
func (c *conn) take(h wire.Header, body []byte, tooLarge error) error {
	switch {
	case h.Response:
		c.protocolError(h, "%s: a response where a request is expected", h.Op)
		return errHangUp
	case c.started && h.Version != c.version:
		c.protocolError(wire.Header{Version: c.version, Stream: h.Stream}, "a frame of protocol v%d on a connection of v%d", h.Version, c.version)
		return errHangUp
	case tooLarge != nil:
		c.refuse(h, wire.Errorf(wire.CodeInvalid, "request is too large: %v (native_transport_max_frame_size)", tooLarge))
		return nil
	}
	if h.Flags&wire.FlagCustomPayload != 0 {
		d := wire.NewDecoder(body)
		d.BytesMap() // no statement of ours takes a payload: ignored, as Cassandra does
		if body = d.Rest(); d.Err() != nil {
			return c.malformed(h, d.Err())
		}
	}
	switch h.Op {
	case wire.OpStartup, wire.OpOptions, wire.OpRegister, wire.OpAuthResponse:
		return c.control(h, body)
	case wire.OpQuery, wire.OpPrepare, wire.OpExecute, wire.OpBatch:
		c.frames.Add(1)
		if !c.ready {
			c.protocolError(h, "Unexpected message %s, expecting %s", h.Op, c.expecting())
			return errHangUp
		}
		c.burst = append(c.burst, newRequest(c, h, body))
		return nil
	}
	c.protocolError(h, "%s is not a request", h.Op)
	return errHangUp
}

func (c *conn) expecting() string {
	if c.started {
		return "AUTH_RESPONSE"
	}
	return "STARTUP or OPTIONS"
}

// malformed answers a body that can't be decoded. The frame was whole, so the connection goes on.
func (c *conn) malformed(h wire.Header, err error) error {
	c.protocolError(h, "%v", err)
	return nil
}

func (c *conn) protocolError(h wire.Header, format string, args ...any) {
	c.server.stats.protocolErrors.Add(1)
	c.server.o.Log.Debug("CQL protocol error", "client", c.nc.RemoteAddr().String(), "error", fmt.Sprintf(format, args...))
	c.refuse(h, wire.Errorf(wire.CodeProtocol, format, args...))
}

// refuse answers a frame by an error.
func (c *conn) refuse(h wire.Header, e *wire.Error) { c.refuseTraced(h, e, trace.ID{}) }

// refuseTraced answers a frame by an error and the id of its trace, if it has one.
func (c *conn) refuseTraced(h wire.Header, e *wire.Error, id trace.ID) {
	c.server.stats.errors.Add(1)
	out := wire.Header{Version: h.Version, Response: true, Stream: h.Stream, Op: wire.OpError}
	if id == (trace.ID{}) {
		_ = c.writer.End(e.Append(c.writer.Begin(out), h.Version))
		return
	}
	out.Flags |= wire.FlagTracing
	_ = c.writer.End(e.Append(append(c.writer.Begin(out), id[:]...), h.Version))
}

// after gives what follows the first separator; s itself when there is none.
func after(s, separator string) string {
	for i := range s {
		if s[i:i+1] == separator {
			return s[i+1:]
		}
	}
	return s
}
