package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// clientConn is a connection that we dialled: it carries our requests there and the responses back.
//
// Invariant: a call is in mu.calls until exactly one of reader, keeper, end or send takes it out; whoever takes it
// calls Done.
type clientConn struct {
	t    *TCP
	link *link
	out  writer
	done chan struct{} // closed when it has ended
	kick chan struct{} // tells the keeper of an earlier deadline

	mu struct {
		sync.Mutex
		calls   callTable
		next    int64    // the keeper wakes by then; 0: no deadline
		used    int64    // when the last call was sent
		waiting []queued // calls until the connection is ready
		bytes   int      // of their bodies
		ready   bool
		ended   bool
		cause   error // why abort was called
		nc      net.Conn
		told    *helloFrame // the identity that the peer knows
	}
}

// queued is a call that waits for the dial.
type queued struct {
	id       uint64
	call     Call // a copy, with a body of its own
	deadline int64
}

func newClientConn(l *link) *clientConn {
	c := &clientConn{t: l.t, link: l, done: make(chan struct{}), kick: make(chan struct{}, 1)}
	c.out.init(l.t.opts.QueueBytes, &l.t.stats.BytesOut, l.t.opts.Cork)
	c.mu.calls.limit = l.t.opts.InFlight
	c.mu.used = l.t.now()
	return c
}

// send takes the call, or says why not; false and no error: the connection has ended, try another.
func (c *clientConn) send(call *Call) (taken bool, err error) {
	timeout := call.Timeout
	if timeout <= 0 {
		timeout = c.t.opts.Timeout
	}
	now := c.t.now()
	id, queued, err := c.enter(call, now, now+int64(timeout))
	if id == 0 || queued {
		return queued, err
	}
	buf, ok := c.out.lock(requestSize + traceSize + len(call.Body))
	if ok {
		buf = appendRequest(buf, id, call, timeout)
	}
	c.out.unlock(buf)
	if ok {
		return true, nil
	}
	if c.take(id) == nil {
		return true, nil // the connection ended meanwhile, and has failed the call
	}
	return false, c.overloaded("bytes waiting to be sent", c.t.opts.QueueBytes)
}

// enter gives the call an id; queued: it waits for the dial. id 0: it was not taken.
func (c *clientConn) enter(call *Call, now, deadline int64) (id uint64, wait bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.ended {
		return 0, false, nil
	}
	if !c.mu.ready && c.mu.bytes > 0 && c.mu.bytes+len(call.Body) > c.t.opts.QueueBytes {
		return 0, false, c.overloaded("bytes waiting for the connection", c.t.opts.QueueBytes)
	}
	id, ok := c.mu.calls.add(call, deadline)
	if !ok {
		return 0, false, c.overloaded("calls outstanding", c.t.opts.InFlight)
	}
	c.t.stats.Calls.Add(1)
	c.mu.used = now
	if c.mu.next == 0 || deadline < c.mu.next {
		c.mu.next = deadline
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
	if !c.mu.ready {
		q := queued{id: id, call: *call, deadline: deadline}
		q.call.Body = bytes.Clone(call.Body)
		c.mu.waiting = append(c.mu.waiting, q)
		c.mu.bytes += len(call.Body)
	}
	return id, !c.mu.ready, nil
}

func (c *clientConn) overloaded(what string, limit int) error {
	return fmt.Errorf("%w: %s has %d %s", ErrOverloaded, c.link.to.Addr, limit, what)
}

func (c *clientConn) take(id uint64) *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.calls.take(id)
}

// run is the connection's life: dial, hello, read until it fails.
func (c *clientConn) run() {
	var wg sync.WaitGroup
	wg.Go(c.keep)
	worked := false
	fr, err := c.dial()
	if err == nil {
		worked = true
		wg.Go(func() {
			if err := c.out.run(c.mu.nc); err != nil {
				c.abort(err)
			}
		})
		err = c.read(fr)
	}
	if fr != nil {
		fr.close()
	}
	c.end(worked, err)
	wg.Wait()
}

// dial connects and says hello both ways.
func (c *clientConn) dial() (*frameReader, error) {
	c.t.stats.Dials.Add(1)
	d := net.Dialer{Timeout: c.t.opts.DialTimeout, LocalAddr: c.t.source()}
	nc, err := d.DialContext(c.t.ctx, "tcp", c.link.to.Addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.mu.nc = nc
	ended := c.mu.cause != nil
	c.mu.Unlock()
	if ended {
		return nil, errors.Join(ErrClosed, nc.Close())
	}
	if err := nc.SetDeadline(time.Now().Add(c.t.opts.DialTimeout)); err != nil {
		return nil, err
	}
	us := c.t.ident.Load()
	if _, err := nc.Write(appendHello(appendPreamble(nil), us)); err != nil {
		return nil, err
	}
	src := &timedReader{nc: nc, silence: c.t.opts.Silence, bytes: &c.t.stats.BytesIn}
	fr := newFrameReader(nc, maxHelloSize)
	if err := c.hello(fr, us); err != nil {
		return fr, err
	}
	fr.src, fr.limit = src, c.t.opts.MaxMessage
	return fr, c.open(us, nc)
}

func (c *clientConn) hello(fr *frameReader, us *helloFrame) error {
	if err := fr.preamble(); err != nil {
		return err
	}
	var f frame
	if err := fr.next(&f); err != nil {
		return err
	}
	if f.kind != kindHello {
		return fmt.Errorf("%w: kind %d instead of hello", errFrame, f.kind)
	}
	return c.checkHello(&f, us)
}

func (c *clientConn) checkHello(f *frame, us *helloFrame) error {
	h, err := decodeHello(f.body)
	if err != nil {
		return err
	}
	return c.link.checkPeer(us, &h)
}

// open lets the calls go that waited for the dial.
func (c *clientConn) open(told *helloFrame, nc net.Conn) error {
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.mu.Lock()
	buf, _ := c.out.lock(0)
	now := c.t.now()
	for i := range c.mu.waiting {
		q := &c.mu.waiting[i]
		if q.deadline <= now {
			continue // the keeper fails it, or has
		}
		buf = appendRequest(buf, q.id, &q.call, time.Duration(q.deadline-now))
	}
	c.out.unlock(buf)
	c.mu.waiting, c.mu.bytes, c.mu.told, c.mu.ready = nil, 0, told, true
	c.mu.Unlock()
	c.refresh() // the identity may have changed since the hello
	return nil
}

// refresh implements conn.
func (c *clientConn) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	us := c.t.ident.Load()
	if !c.mu.ready || c.mu.told == us {
		return
	}
	c.mu.told = us
	buf, _ := c.out.lock(0)
	c.out.unlock(appendHello(buf, us))
}

// read runs Done of what is answered, until the connection fails.
func (c *clientConn) read(fr *frameReader) error {
	var f frame
	fr.cork = c.t.opts.Cork
	defer fr.hold(false)
	for {
		if err := fr.next(&f); err != nil {
			return err
		}
		switch f.kind {
		case kindResponse:
			c.answer(&f)
		case kindPong:
		case kindHello:
			if err := c.checkHello(&f, c.t.ident.Load()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: kind %d from the answering side", errFrame, f.kind)
		}
	}
}

func (c *clientConn) answer(f *frame) {
	call := c.take(f.id)
	switch {
	case call == nil: // timed out here
	case f.code == 0:
		call.Done(f.body, nil)
	default:
		call.Done(nil, &RemoteError{Code: Code(f.code), Message: string(f.body), Epoch: f.epoch})
	}
}

// abort implements conn: the reader fails, and ends the connection with the cause.
func (c *clientConn) abort(cause error) {
	c.mu.Lock()
	if c.mu.cause == nil {
		c.mu.cause = cause
	}
	nc := c.mu.nc
	c.mu.Unlock()
	if nc != nil {
		_ = nc.Close() // its error would tell nothing more
	}
}

// end fails what is outstanding.
func (c *clientConn) end(worked bool, err error) {
	c.abort(err)
	c.mu.Lock()
	c.mu.ended = true
	err = c.failure(c.mu.cause)
	calls := c.mu.calls.drain()
	c.mu.waiting = nil
	c.mu.Unlock()
	c.out.close() // only now: send takes a closed buffer for a drained table
	close(c.done)
	c.link.ended(c, worked, err)
	c.t.forget(c)
	if !errors.Is(err, ErrClosed) && !errors.Is(err, errIdle) {
		c.t.opts.Logger.Debug("connection to peer ended", "peer", c.link.to.Addr, "calls", len(calls), "error", err)
	}
	c.t.stats.Lost.Add(int64(len(calls)))
	for _, call := range calls {
		call.Done(nil, err)
	}
}

// failure makes a connection's error one of the package's.
func (c *clientConn) failure(err error) error {
	switch {
	case c.t.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, ErrWrongPeer):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errSilent
	case errors.Is(err, io.EOF):
		err = errors.New("it closed the connection")
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.link.to.Addr, err)
}

// timedReader fails a read that nothing ends for the length of silence. The deadline is set anew only now and then: it
// costs a timer.
type timedReader struct {
	nc      net.Conn
	silence time.Duration
	set     time.Time
	bytes   *atomic.Int64
}

func (r *timedReader) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(r.set) > r.silence/8 {
		if err := r.nc.SetReadDeadline(now.Add(r.silence)); err != nil {
			return 0, err
		}
		r.set = now
	}
	n, err := r.nc.Read(b)
	r.bytes.Add(int64(n))
	return n, err
}
