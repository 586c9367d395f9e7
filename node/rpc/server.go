package rpc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Pauses of accept after an error, such as running out of file descriptors: it goes on by itself when there are some again.
const (
	acceptPause    = 5 * time.Millisecond
	maxAcceptPause = 500 * time.Millisecond
)

// maxErrorText bounds the message of an error response, in bytes.
const maxErrorText = 4 << 10

// accept is the listener's goroutine.
func (t *TCP) accept() {
	pause := acceptPause
	for {
		nc, err := t.ln.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			t.opts.Logger.Warn("accepting a connection from a node failed; trying again", "error", err)
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = acceptPause
		if !t.admit(nc) {
			_ = nc.Close() // refused: nothing to lose
		}
	}
}

// admit starts an inbound connection within the limits.
func (t *TCP) admit(nc net.Conn) bool {
	t.mu.Lock()
	full := t.mu.inbound >= t.opts.MaxConns
	if !full {
		t.mu.inbound++
		t.stats.Inbound.Store(int64(t.mu.inbound))
	}
	t.mu.Unlock()
	if full {
		t.opts.Logger.Warn("refused a connection: too many are open", "from", nc.RemoteAddr(), "limit", t.opts.MaxConns)
		return false
	}
	select {
	case t.hellos <- struct{}{}:
		c := &serverConn{t: t, nc: nc}
		c.out.init(t.opts.QueueBytes, &t.stats.BytesOut, t.opts.Cork)
		if t.spawn(c, c.run) {
			return true
		}
		<-t.hellos
	default:
		t.opts.Logger.Warn("refused a connection: too many have not said hello", "from", nc.RemoteAddr(), "limit", t.opts.MaxHellos)
	}
	t.leave()
	return false
}

func (t *TCP) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.inbound--
	t.stats.Inbound.Store(int64(t.mu.inbound))
}

// source is the address we dial from: on a loopback address of ours, so that several nodes on one machine can be told
// apart.
func (t *TCP) source() net.Addr {
	if a, ok := t.ln.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return &net.TCPAddr{IP: a.IP}
	}
	return nil
}

// serverConn is a connection that a peer dialled: its requests come in, our responses go out.
type serverConn struct {
	t       *TCP
	nc      net.Conn
	out     writer
	peer    atomic.Pointer[helloFrame]
	running atomic.Int64 // requests not yet answered
	told    struct {
		sync.Mutex
		as *helloFrame // nil: no hello sent yet
	}
}

func (c *serverConn) run() {
	defer c.t.leave()
	defer c.t.forget(c)
	fr := newFrameReader(c.nc, maxHelloSize)
	defer fr.close()
	err := c.hello(fr)
	<-c.t.hellos
	if err == nil {
		fr.src, fr.limit = &timedReader{nc: c.nc, silence: c.t.opts.Silence, bytes: &c.t.stats.BytesIn}, c.t.opts.MaxMessage
		var wg sync.WaitGroup
		wg.Go(func() {
			if c.out.run(c.nc) != nil {
				c.abort(nil)
			}
		})
		err = c.read(fr)
		c.out.close()
		c.abort(nil)
		wg.Wait()
	}
	c.abort(nil)
	c.out.close()
	c.log(err)
}

// log tells of broken and hostile connections; a peer that goes away is none.
func (c *serverConn) log(err error) {
	if err == nil || c.t.ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	c.t.opts.Logger.Debug("connection from a node ended", "from", c.nc.RemoteAddr(), "error", err)
}

// hello reads who dialled and says who answers. A node of another cluster hears who we are and is left.
func (c *serverConn) hello(fr *frameReader) error {
	if err := c.nc.SetDeadline(time.Now().Add(c.t.opts.HelloTimeout)); err != nil {
		return err
	}
	if err := fr.preamble(); err != nil {
		if errors.Is(err, errVersion) {
			_, werr := c.nc.Write(appendPreamble(nil)) // so that the other side can say so too
			err = errors.Join(err, werr)
		}
		return err
	}
	var f frame
	if err := fr.next(&f); err != nil {
		return err
	}
	if f.kind != kindHello {
		return fmt.Errorf("%w: kind %d instead of hello", errFrame, f.kind)
	}
	us := c.t.ident.Load()
	herr := c.heard(&f)
	if _, err := c.nc.Write(appendHello(appendPreamble(nil), us)); err != nil || herr != nil {
		return errors.Join(herr, err)
	}
	c.told.Lock()
	c.told.as = us
	c.told.Unlock()
	c.refresh()
	return c.nc.SetDeadline(time.Time{})
}

// heard takes a hello, the first or a later one.
func (c *serverConn) heard(f *frame) error {
	h, err := decodeHello(f.body)
	if err != nil {
		return err
	}
	if us := c.t.ident.Load(); otherCluster(us, &h) {
		return fmt.Errorf("%w: %s is of cluster %q, this node of cluster %q, with another id", ErrWrongPeer, h.addr, h.ClusterName, us.ClusterName)
	}
	c.peer.Store(&h)
	c.t.Retry(Peer{ID: h.HostID, Addr: h.addr}) // who dials us is up
	return nil
}

// refresh implements conn.
func (c *serverConn) refresh() {
	c.told.Lock()
	defer c.told.Unlock()
	us := c.t.ident.Load()
	if c.told.as == nil || c.told.as == us {
		return
	}
	c.told.as = us
	buf, _ := c.out.lock(0)
	c.out.unlock(appendHello(buf, us))
}

// abort implements conn.
func (c *serverConn) abort(error) { _ = c.nc.Close() }

// read runs requests until the connection fails.
func (c *serverConn) read(fr *frameReader) error {
	var f frame
	fr.cork = c.t.opts.Cork
	defer fr.hold(false)
	for {
		if err := fr.next(&f); err != nil {
			return err
		}
		switch f.kind {
		case kindRequest:
			c.request(&f, fr)
		case kindPing:
			c.out.bare(kindPong)
		case kindHello:
			if err := c.heard(&f); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: kind %d from the asking side", errFrame, f.kind)
		}
	}
}

// request runs a handler, unless the request is refused before.
func (c *serverConn) request(f *frame, fr *frameReader) {
	verb, peer := Verb(f.code), c.peer.Load()
	now, deadline := time.Now(), fr.at.Add(f.left)
	h := c.t.handlers[verb].Load()
	c.t.stats.Requests.Add(1)
	code, text := Code(0), ""
	switch {
	case !verb.Unclustered() && !(peer.clustered() && c.t.ident.Load().clustered()):
		code, text = CodeNotReady, fmt.Sprintf("%s: one of the two nodes belongs to no cluster yet", verb)
	case h == nil:
		code, text = CodeNoHandler, fmt.Sprintf("%s (verb %d) is not known to this node", verb, uint8(verb))
	case f.left <= 0 || now.After(deadline):
		code, text = CodeExpired, verb.String()+" came to its turn after its deadline"
	case c.running.Load() >= int64(c.t.opts.InFlight):
		code, text = CodeOverloaded, fmt.Sprintf("%d requests of this peer are running", c.t.opts.InFlight)
	case fr.held.Load() > int64(c.t.opts.HeldBytes):
		code, text = CodeOverloaded, fmt.Sprintf("requests of this peer hold %d bytes", c.t.opts.HeldBytes)
	}
	if code != 0 {
		c.t.stats.refused(code)
		c.respond(f.id, code, 0, []byte(text))
		return
	}
	c.running.Add(1)
	fr.chunk.retain()
	in := &inbound{conn: c, id: f.id, chunk: fr.chunk}
	in.Inbound = Inbound{From: Peer{ID: peer.HostID, Addr: peer.addr}, Verb: verb, Body: f.body, Trace: f.trace,
		Deadline: deadline, Reply: in.reply}
	(*h)(&in.Inbound)
}

// inbound is a running request: what Reply needs.
type inbound struct {
	Inbound
	conn    *serverConn
	id      uint64
	chunk   *chunk
	replied atomic.Bool
}

// reply sends the answer; a second one is a bug of the handler, told and dropped.
func (in *inbound) reply(body []byte, err error) {
	c := in.conn
	if in.replied.Swap(true) {
		c.t.opts.Logger.Error("a handler replied twice", "verb", in.Verb)
		return
	}
	if len(body)+responseSize > c.t.opts.MaxMessage {
		err = fmt.Errorf("%w: answer to %s of %d bytes, at most %d are allowed", ErrTooLarge, in.Verb, len(body), c.t.opts.MaxMessage)
	}
	if err == nil {
		c.respond(in.id, 0, 0, body)
	} else {
		code, epoch := CodeInternal, uint64(0)
		if re := (*RemoteError)(nil); errors.As(err, &re) && re.Code != 0 {
			code, epoch = re.Code, re.Epoch
		}
		text := err.Error()
		c.respond(in.id, code, epoch, []byte(text[:min(len(text), maxErrorText)]))
	}
	in.chunk.release()
	c.running.Add(-1)
}

// respond appends a response. When the peer lets too many bytes pile up its connection is closed: an answer must not be
// dropped silently.
func (c *serverConn) respond(id uint64, code Code, epoch uint64, body []byte) {
	buf, ok := c.out.lock(responseSize + len(body))
	if ok {
		buf = appendResponse(buf, id, code, epoch, body)
	}
	c.out.unlock(buf)
	if !ok {
		c.log(errBacklog)
		c.abort(errBacklog)
	}
}
