package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Limits and defaults of a Client.
const (
	maxStreams            = 1 << 15 // stream ids are 0 to 32,767
	defaultPendingBytes   = 64 << 20
	defaultConnectTimeout = 5 * time.Second
	timeoutTicks          = 8 // a timeout is noticed within an eighth of itself
	// DefaultPort is the one that CQL listens on.
	DefaultPort = "9042"
	// DefaultConsistency of requests without parameters: LOCAL_ONE, as drivers have it.
	DefaultConsistency uint16 = 10
)

// ClientOptions of Dial. The zero value is protocol v4 without compression, keyspace, TLS or timeouts.
type ClientOptions struct {
	Version         Version     // V4 or V5; 0: V4
	Compression     Compression // v5 knows only LZ4
	Keyspace        string      // USE it after connecting
	User, Password  string      // sent when the server asks
	Consistency     uint16      // of requests without parameters; 0: DefaultConsistency
	TLS             *tls.Config // nil: none
	ConnectTimeout  time.Duration
	Timeout         time.Duration // of one request, from Send to its answer; 0: none. The late answer is dropped
	MaxInFlight     int           // 0: 32,768, which is the most
	MaxPendingBytes int           // requests not yet written, bytes; default 64 MiB
	MaxFrameBytes   int           // of an answer's body; default 256 MiB, which is the most
	OnEvent         func(Event)   // runs on the connection's reader: it must not block
	Driver          string        // DRIVER_NAME told to the server; default nodedb
	Dial            func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (o ClientOptions) withDefaults() ClientOptions {
	if o.Version == 0 {
		o.Version = V4
	}
	if o.Consistency == 0 {
		o.Consistency = DefaultConsistency
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.MaxInFlight <= 0 || o.MaxInFlight > maxStreams {
		o.MaxInFlight = maxStreams
	}
	if o.MaxPendingBytes <= 0 {
		o.MaxPendingBytes = defaultPendingBytes
	}
	if o.MaxFrameBytes <= 0 || o.MaxFrameBytes > MaxFrameBytes {
		o.MaxFrameBytes = MaxFrameBytes
	}
	if o.Driver == "" {
		o.Driver = "nodedb"
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	return o
}

// Client is one pipelined connection to one node. It keeps no pool, no token map and no retry policy. Safe for concurrent use.
//
// A request takes a stream id, is appended to the writer's buffer, and its answer is given to a callback on the reader's goroutine. A request that
// timed out keeps its stream until its late answer comes: an id in use is never given twice.
type Client struct {
	addr    string
	o       ClientOptions
	conn    net.Conn
	reader  *FrameReader
	writer  *Writer
	owned   sync.WaitGroup // reader, writer, watch
	stopped chan struct{}  // closed when the connection has ended
	once    sync.Once

	mu struct {
		sync.Mutex
		slots  []slot // by stream id; grows to MaxInFlight
		free   []int16
		late   int // slots whose request timed out
		tick   uint32
		err    error // why the connection ended
		space  chan struct{}
		waiter int // how many wait for space
	}
}

// slot is a stream id in use.
type slot struct {
	done func(Response, error) // nil: free, or timed out when used
	tick uint32                // when it was sent
	used bool
}

// Dial connects to a node and does the handshake. addr is HOST or HOST:PORT.
func Dial(ctx context.Context, addr string, o ClientOptions) (*Client, error) {
	o = o.withDefaults()
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, DefaultPort)
	}
	if o.Version < MinVersion || o.Version > MaxVersion {
		return nil, fmt.Errorf("connect to %s: %w: %d", addr, ErrVersion, o.Version)
	}
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	conn, err := o.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, dialError(addr, o, err)
	}
	c := &Client{addr: addr, o: o, conn: conn, stopped: make(chan struct{})}
	if err := c.connect(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	if o.Keyspace == "" {
		return c, nil
	}
	if _, err := c.Query(ctx, `USE "`+quoteName(o.Keyspace)+`"`, nil); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: USE %s: %w", addr, o.Keyspace, err)
	}
	return c, nil
}

// connect does TLS and the handshake, and starts the connection's goroutines.
func (c *Client) connect(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetDeadline(deadline); err != nil {
			return dialError(c.addr, c.o, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.o.TLS != nil {
		t := tls.Client(c.conn, tlsConfig(c.o.TLS, c.addr))
		if err := t.HandshakeContext(ctx); err != nil {
			return tlsError(c.addr, err)
		}
		c.conn = t
	}
	c.reader = NewFrameReader(c.conn, c.o.MaxFrameBytes)
	c.writer = NewWriter(c.conn, WriterOptions{Drained: c.signalSpace})
	if err := c.handshake(); err != nil {
		return handshakeError(ctx, c.addr, c.o, err)
	}
	if !stop() {
		return handshakeError(ctx, c.addr, c.o, ctx.Err())
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return dialError(c.addr, c.o, err)
	}
	c.start()
	return nil
}

func (c *Client) start() {
	c.mu.space = make(chan struct{}, 1)
	c.owned.Go(c.readLoop)
	c.owned.Go(func() {
		if err := c.writer.Run(); err != nil {
			c.fail(err)
		}
	})
	if c.o.Timeout > 0 {
		c.owned.Go(c.watch)
	}
}

// Addr is the address that the client is connected to.
func (c *Client) Addr() string { return c.addr }

// Version is the protocol version in use.
func (c *Client) Version() Version { return c.o.Version }

// Done is closed when the connection has ended; Err says why.
func (c *Client) Done() <-chan struct{} { return c.stopped }

// Err is why the connection ended, or nil.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Close ends the connection; requests in flight fail with ErrClosed. It waits for the callbacks: it must not be called from one.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	c.owned.Wait()
	return nil
}

// fail ends the connection, once, and fails all that is in flight.
func (c *Client) fail(err error) {
	c.once.Do(func() {
		if !errors.Is(err, ErrClosed) {
			err = fmt.Errorf("connection to %s lost: %w", c.addr, err)
		}
		c.mu.Lock()
		c.mu.err = err
		slots := c.mu.slots
		c.mu.slots, c.mu.free = nil, nil
		c.mu.Unlock()
		c.writer.Close()
		c.conn.Close()
		close(c.stopped)
		for i := range slots {
			if slots[i].done != nil {
				slots[i].done(Response{}, err)
			}
		}
	})
}

// Send sends a request and calls done with its answer, once, on the connection's reader: done must not block (it may Send). An ERROR answer is a Response
// like any other (Response.Err). Send never waits: without a free stream, or with too many bytes unsent, it gives ErrBusy; it
// gives the connection's error when that has ended. When Send gives an error, done is not called.
func (c *Client) Send(req Request, done func(Response, error)) error {
	return c.send(req, 0, done)
}

func (c *Client) send(req Request, flags Flags, done func(Response, error)) error {
	if c.writer.Pending() > c.o.MaxPendingBytes {
		return c.busy()
	}
	stream, err := c.take(done)
	if err != nil {
		return err
	}
	buf := c.writer.Begin(Header{Version: c.o.Version, Flags: flags, Stream: stream, Op: req.Opcode()})
	start := len(buf)
	buf = req.AppendBody(buf, c.o.Version)
	if n := len(buf) - start; n > MaxFrameBytes {
		c.writer.Abort()
		if _, known := c.release(stream); !known {
			return nil // the connection has ended, and done has been called
		}
		return tooLarge(uint64(n), MaxFrameBytes)
	}
	// When the connection has just ended, fail has called done, or will.
	_ = c.writer.End(buf)
	return nil
}

func (c *Client) busy() error {
	if err := c.Err(); err != nil {
		return err
	}
	return ErrBusy
}

// take takes a free stream id.
func (c *Client) take(done func(Response, error)) (int16, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return 0, c.mu.err
	}
	var stream int16
	switch n := len(c.mu.free); {
	case n > 0:
		stream = c.mu.free[n-1]
		c.mu.free = c.mu.free[:n-1]
	case len(c.mu.slots) < c.o.MaxInFlight:
		stream = int16(len(c.mu.slots))
		c.mu.slots = append(c.mu.slots, slot{})
	default:
		return 0, ErrBusy
	}
	c.mu.slots[stream] = slot{done: done, tick: c.mu.tick, used: true}
	return stream, nil
}

// release frees a stream id and gives its callback; known is false for an id that is not in use.
func (c *Client) release(stream int16) (done func(Response, error), known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream < 0 || int(stream) >= len(c.mu.slots) || !c.mu.slots[stream].used {
		return nil, false
	}
	done = c.mu.slots[stream].done
	if done == nil {
		c.mu.late--
	}
	c.mu.slots[stream] = slot{}
	c.mu.free = append(c.mu.free, stream)
	if c.mu.waiter > 0 {
		c.notifySpace()
	}
	return done, true
}

// REQUIRES: mu is held, or the channel's receivers check again.
func (c *Client) notifySpace() {
	select {
	case c.mu.space <- struct{}{}:
	default:
	}
}

func (c *Client) signalSpace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.waiter > 0 {
		c.notifySpace()
	}
}

// SendWait is Send that waits for room. It must not be called from a done callback.
func (c *Client) SendWait(ctx context.Context, req Request, done func(Response, error)) error {
	return c.sendWait(ctx, req, 0, done)
}

func (c *Client) sendWait(ctx context.Context, req Request, flags Flags, done func(Response, error)) error {
	err := c.send(req, flags, done)
	if !errors.Is(err, ErrBusy) {
		return err
	}
	c.addWaiter(1)
	defer c.addWaiter(-1)
	for {
		err := c.send(req, flags, done)
		if !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-c.mu.space:
		case <-c.stopped:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
		}
	}
}

// addWaiter counts who waits for room, and passes the signal on to the next.
func (c *Client) addWaiter(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.waiter += n
	if c.mu.waiter > 0 {
		c.notifySpace()
	}
}

// readLoop gives answers to their callbacks.
func (c *Client) readLoop() {
	for {
		h, body, err := c.reader.Next()
		switch {
		case errors.Is(err, ErrTooLarge):
			if done, _ := c.release(h.Stream); done != nil {
				done(Response{Header: h}, err)
			}
			continue
		case err != nil:
			c.fail(err)
			return
		case h.Stream == EventStream:
			c.event(body)
			continue
		}
		done, known := c.release(h.Stream)
		if !known {
			c.fail(fmt.Errorf("%w: an answer on stream %d, which was not asked on", ErrMalformed, h.Stream))
			return
		}
		if done != nil {
			done(Response{Header: h, Body: body}, nil)
		}
	}
}

func (c *Client) event(body []byte) {
	if c.o.OnEvent == nil {
		return
	}
	if e, err := DecodeEvent(body); err == nil {
		c.o.OnEvent(e)
	}
}

// watch fails requests that got no answer in time.
func (c *Client) watch() {
	ticker := time.NewTicker(max(c.o.Timeout/timeoutTicks, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-c.stopped:
			return
		case <-ticker.C:
		}
		for _, done := range c.expired() {
			done(Response{}, fmt.Errorf("%s: %w (%v)", c.addr, ErrTimeout, c.o.Timeout))
		}
	}
}

// expired gives the callbacks of requests that are too old; their streams stay in use.
func (c *Client) expired() (late []func(Response, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.tick++
	for i := range c.mu.slots {
		s := &c.mu.slots[i]
		if s.done != nil && c.mu.tick-s.tick > timeoutTicks {
			late = append(late, s.done)
			s.done = nil
			c.mu.late++
		}
	}
	return late
}
