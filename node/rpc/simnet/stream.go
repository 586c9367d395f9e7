package simnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// maxSegment is how many bytes of a stream travel together.
	maxSegment = 16 << 10
	// maxWindow bounds what a stream has under way or unread, in bytes: Write waits beyond it.
	maxWindow = 1 << 20
	// dialAgain is after how long a connection's first packet is sent again, doubling, and sendAgain any later one.
	dialAgain = time.Second
	sendAgain = 200 * time.Millisecond
	// maxLosses bounds how often one segment is lost in a row.
	maxLosses = 5
)

var (
	errRefused = errors.New("simnet: connection refused")
	errReset   = errors.New("simnet: connection reset by peer")
	errSilent  = errors.New("simnet: nothing heard for too long")
)

// streamError is what net's connections give.
func streamError(op, addr string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: name(addr), Err: err}
}

// name is an endpoint's address as a net.Addr.
type name string

// Network implements net.Addr.
func (name) Network() string { return "tcp" }

// String implements net.Addr.
func (a name) String() string { return string(a) }

// dialing is an attempt to connect; done gets what became of it.
type dialing struct {
	end  *Endpoint
	to   string
	hash uint64
	by   time.Time
	done chan error // room for one
	conn *Conn      // set before done gets nil
}

// Dial opens a stream, or gives an error after timeout.
func (e *Endpoint) Dial(to string, timeout time.Duration) (net.Conn, error) {
	n := e.net
	n.waitAwake(e.addr)
	d := &dialing{end: e, to: to, by: time.Now().Add(timeout), done: make(chan error, 1)}
	n.mu.Lock()
	if e.closed || n.mu.closed {
		n.mu.Unlock()
		return nil, streamError("dial", to, net.ErrClosed)
	}
	d.hash = n.count(hashOf(n.opts.Seed, e.addr, to, "dial"))
	n.knock(d, 0)
	n.mu.Unlock()
	late := time.NewTimer(timeout) // not an event: the loop may end before
	defer late.Stop()
	err := os.ErrDeadlineExceeded
	select {
	case err = <-d.done:
	case <-late.C:
	}
	if err != nil {
		return nil, streamError("dial", to, err)
	}
	return d.conn, nil
}

// knock sends a connection's first packet, for the k-th time. REQUIRES: mu.
func (n *Network) knock(d *dialing, k int) {
	h := mix(d.hash, uint64(10+k))
	again := func() { n.schedule(time.Now().Add(dialAgain<<k), h, func() { n.knockAgain(d, k+1) }) }
	if share(mix(h, 3)) < n.mu.faults.Drop {
		again()
		return
	}
	var arrive func()
	arrive = func() {
		if n.held(d.to, h, arrive) {
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.severed(d.end.addr, d.to) || n.severed(d.to, d.end.addr) {
			again()
			return
		}
		n.schedule(time.Now().Add(n.delay(mix(h, 6))), mix(h, 7), func() { n.connect(d) })
	}
	n.schedule(time.Now().Add(n.delay(mix(h, 4))), h, arrive)
}

func (n *Network) knockAgain(d *dialing, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().Before(d.by) && !d.end.closed {
		n.knock(d, k)
	}
}

// connect makes the stream, as far as somebody is there.
func (n *Network) connect(d *dialing) {
	n.mu.Lock()
	to := n.mu.ends[d.to]
	if to == nil || d.end.closed || !time.Now().Before(d.by) {
		n.mu.Unlock()
		d.done <- errRefused
		return
	}
	here := &Conn{end: d.end, local: d.end.addr, remote: d.to, hash: mix(d.hash, 8), changed: make(chan struct{})}
	there := &Conn{end: to, local: d.to, remote: d.end.addr, hash: mix(d.hash, 9), changed: make(chan struct{})}
	here.peer, there.peer = there, here
	d.end.conns[here], to.conns[there] = struct{}{}, struct{}{}
	d.conn = here
	n.mu.Unlock()
	to.stream(there)
	d.done <- nil
}

// Conn is one end of a stream. Bytes arrive in order and once, or not at all: loss and cuts make them late, a cut that
// outlasts Options.Silence breaks the end that sends into it. Everything is guarded by the network's mutex.
type Conn struct {
	end           *Endpoint
	peer          *Conn
	local, remote string
	hash          uint64
	changed       chan struct{} // closed, and replaced, when something is worth another look
	in            []byte        // arrived and not read
	inErr         error         // what follows it
	err           error         // why this end is of no use any more
	out           []segment     // under way, in order
	sent          uint64        // segments, ever
	stuck         time.Time     // since when a cut holds out back
	retrying      bool          // an event to try again is scheduled
	readBy        time.Time
	writeBy       time.Time
}

var _ net.Conn = (*Conn)(nil)

// segment is a piece of a stream, or its end.
type segment struct {
	body []byte
	end  error
	at   time.Time
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n := c.end.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case c.err != nil:
			return 0, streamError("read", c.remote, c.err)
		case len(c.in) > 0:
			k := copy(b, c.in)
			c.in = c.in[k:]
			c.peer.poke() // there is room again
			return k, nil
		case c.inErr == io.EOF:
			return 0, io.EOF
		case c.inErr != nil:
			return 0, streamError("read", c.remote, c.inErr)
		case !c.await(&c.readBy):
			return 0, streamError("read", c.remote, os.ErrDeadlineExceeded)
		}
	}
}

// Write implements net.Conn. It waits while its host is stalled, and while too much is under way.
func (c *Conn) Write(b []byte) (done int, err error) {
	n := c.end.net
	n.waitAwake(c.local)
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(b) > 0 {
		switch {
		case c.err != nil:
			return done, streamError("write", c.remote, c.err)
		case c.inErr != nil && c.inErr != io.EOF:
			return done, streamError("write", c.remote, c.inErr)
		case c.pending() >= maxWindow:
			if !c.await(&c.writeBy) {
				return done, streamError("write", c.remote, os.ErrDeadlineExceeded)
			}
			continue
		}
		k := min(len(b), maxSegment)
		c.push(segment{body: bytes.Clone(b[:k])})
		b, done = b[k:], done+k
	}
	return done, nil
}

// pending is how many bytes the other end has not read. REQUIRES: mu.
func (c *Conn) pending() int {
	total := len(c.peer.in)
	for i := range c.out {
		total += len(c.out[i].body)
	}
	return total
}

// await waits for a change, at most until a deadline: then it gives false. REQUIRES: mu, which it lets go meanwhile.
func (c *Conn) await(by *time.Time) bool {
	n, changed, deadline := c.end.net, c.changed, *by
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return false
	}
	n.mu.Unlock()
	defer n.mu.Lock()
	if deadline.IsZero() {
		<-changed
		return true
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
	return true // the caller looks again, at the deadline too
}

// poke wakes who waits. REQUIRES: mu.
func (c *Conn) poke() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// push sends a segment on its way: lost ones are sent again, and those after them wait. REQUIRES: mu.
func (c *Conn) push(s segment) {
	n := c.end.net
	c.sent++
	h := mix(c.hash, 100+c.sent)
	s.at = n.awake(c.local).Add(n.delay(mix(h, 4)))
	for k := range maxLosses {
		if share(mix(h, uint64(10+k))) >= n.mu.faults.Drop {
			break
		}
		s.at = s.at.Add(sendAgain << k)
	}
	if k := len(c.out); k > 0 && c.out[k-1].at.After(s.at) {
		s.at = c.out[k-1].at
	}
	c.out = append(c.out, s)
	n.schedule(s.at, h, func() { c.deliver(h) })
}

// deliver hands over what has arrived by now.
func (c *Conn) deliver(h uint64) {
	n := c.end.net
	if n.held(c.remote, h, func() { c.deliver(h) }) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if len(c.out) > 0 && n.severed(c.local, c.remote) {
		c.retry(h, now)
		return
	}
	c.stuck = time.Time{}
	for len(c.out) > 0 && !c.out[0].at.After(now) {
		s := c.out[0]
		c.out = c.out[1:]
		if c.peer.inErr == nil {
			c.peer.in, c.peer.inErr = append(c.peer.in, s.body...), s.end
			c.peer.poke()
		}
	}
}

// retry tries again what a cut holds back, until it has been silent for too long. REQUIRES: mu.
func (c *Conn) retry(h uint64, now time.Time) {
	n := c.end.net
	if c.stuck.IsZero() {
		c.stuck = now
	}
	if now.Sub(c.stuck) >= n.opts.Silence {
		c.fail(errSilent)
		return
	}
	if c.retrying {
		return
	}
	c.retrying = true
	n.schedule(now.Add(sendAgain), mix(h, 2), func() {
		n.mu.Lock()
		c.retrying = false
		n.mu.Unlock()
		c.deliver(h)
	})
}

// hangUp tells the other end that this was all. REQUIRES: mu.
func (c *Conn) hangUp(how error) {
	if c.err == nil {
		c.push(segment{end: how})
	}
}

// fail makes this end useless. REQUIRES: mu.
func (c *Conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	if err == errSilent {
		c.out = nil
	}
	delete(c.end.conns, c)
	c.poke()
}

// Close implements net.Conn. What was written still arrives.
func (c *Conn) Close() error {
	c.end.net.mu.Lock()
	defer c.end.net.mu.Unlock()
	c.hangUp(io.EOF)
	c.fail(net.ErrClosed)
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return name(c.local) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return name(c.remote) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy, &c.writeBy) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeBy) }

func (c *Conn) setDeadlines(t time.Time, which ...*time.Time) error {
	c.end.net.mu.Lock()
	defer c.end.net.mu.Unlock()
	for _, d := range which {
		*d = t
	}
	c.poke()
	return nil
}
