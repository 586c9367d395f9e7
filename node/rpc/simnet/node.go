package simnet

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"nodedb/node/rpc"
)

const (
	// maxMessage bounds a body, in bytes, as rpc.TCP does by default.
	maxMessage = 32 << 20
	// maxInFlight bounds a node's outstanding calls.
	maxInFlight = 1 << 16
	// defaultTimeout is that of calls that name none, as with rpc.TCP.
	defaultTimeout = 10 * time.Second
)

// Node is one incarnation of a node on the network. Its Done functions and handlers run in the delivery loop.
type Node struct {
	net      *Network
	addr     string
	ident    atomic.Pointer[rpc.Identity]
	handlers [256]atomic.Pointer[rpc.Handler]
	calls    map[*flight]struct{} // outstanding; guarded by net.mu
	serving  bool                 // guarded by net.mu
	crashed  bool                 // guarded by net.mu
	closed   bool                 // guarded by net.mu
}

var _ rpc.Transport = (*Node)(nil)

// Node starts an incarnation at an address (host:port) that serves at once. One that is there already is closed, as if it had crashed.
func (n *Network) Node(addr string, id rpc.Identity) *Node {
	x := n.Open(addr, id)
	x.Serve()
	return x
}

// Open starts an incarnation that others reach once it serves. One that is there already is closed, as if it had crashed.
func (n *Network) Open(addr string, id rpc.Identity) *Node {
	n.mu.Lock()
	old := n.mu.nodes[addr]
	n.mu.Unlock()
	if old != nil {
		old.Close()
	}
	x := &Node{net: n, addr: addr, calls: map[*flight]struct{}{}}
	x.ident.Store(&id)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.nodes[addr] = x
	return x
}

// Addr is where the node answers.
func (x *Node) Addr() string { return x.addr }

// Handle implements rpc.Transport.
func (x *Node) Handle(v rpc.Verb, h rpc.Handler) { x.handlers[v].Store(&h) }

// Serve lets requests in.
func (x *Node) Serve() {
	x.net.mu.Lock()
	defer x.net.mu.Unlock()
	x.serving = true
}

// Retry does nothing: here a failed call earns its peer no pause.
func (x *Node) Retry(rpc.Peer) {}

// SetIdentity changes what others are told of the node.
func (x *Node) SetIdentity(id rpc.Identity) error {
	x.ident.Store(&id)
	return nil
}

// Crash cuts the node off: nothing reaches it or comes from it any more, and calls to it soon fail with ErrUnreachable. It calls nothing back, and so can
// be called where locks are held, as inside a write to a disk. What still runs on the node sees its calls time out until it is closed.
func (x *Node) Crash() {
	n := x.net
	n.mu.Lock()
	defer n.mu.Unlock()
	x.crash()
}

// crash does so. REQUIRES: mu.
func (x *Node) crash() {
	n := x.net
	if x.crashed {
		return
	}
	x.crashed = true
	if n.mu.nodes[x.addr] == x {
		delete(n.mu.nodes, x.addr)
	}
	for _, other := range n.mu.nodes {
		for f := range other.calls {
			if f.call.To.Addr == x.addr {
				n.reset(f)
			}
		}
	}
}

// Close is Crash, and ends the node's own calls with ErrClosed before it returns.
func (x *Node) Close() error {
	n := x.net
	n.mu.Lock()
	x.crash()
	x.closed = true
	var own []*flight
	for f := range x.calls {
		own = append(own, f)
	}
	x.calls = map[*flight]struct{}{}
	n.mu.Unlock()
	slices.SortFunc(own, func(a, b *flight) int { return cmp.Compare(a.hash, b.hash) })
	for _, f := range own {
		f.call.Done(nil, rpc.ErrClosed)
	}
	return nil
}

// flight is an outstanding call.
type flight struct {
	from     *Node
	call     rpc.Call // a copy, with a body of its own
	hash     uint64
	deadline time.Time
}

// Send implements rpc.Transport.
func (x *Node) Send(c *rpc.Call) {
	n := x.net
	n.mu.Lock()
	if x.closed || n.mu.closed {
		n.mu.Unlock()
		c.Done(nil, rpc.ErrClosed)
		return
	}
	defer n.mu.Unlock()
	f := &flight{from: x, call: *c}
	f.call.Body = bytes.Clone(c.Body)
	if f.call.Timeout <= 0 {
		f.call.Timeout = defaultTimeout
	}
	now := time.Now()
	f.deadline = now.Add(f.call.Timeout)
	f.hash = n.count(hashOf(n.opts.Seed, x.addr, c.To.Addr, string([]byte{byte(c.Verb)}), string(c.Body)))
	full := len(x.calls) >= maxInFlight
	x.calls[f] = struct{}{}
	switch {
	case x.crashed:
		n.fail(f, f.deadline, fmt.Errorf("%w: this node is off", rpc.ErrTimeout))
	case len(c.Body) > maxMessage:
		n.fail(f, now, fmt.Errorf("%w: %s of %d bytes", rpc.ErrTooLarge, c.Verb, len(c.Body)))
	case full:
		n.fail(f, now, fmt.Errorf("%w: %d calls outstanding", rpc.ErrOverloaded, maxInFlight))
	default:
		n.fail(f, f.deadline, fmt.Errorf("%w: %s did not answer %s in time", rpc.ErrTimeout, c.To.Addr, c.Verb))
		n.transmit(message{f, x.addr, c.To.Addr, f.call.Body, false}, f.hash, func() { n.arrive(f) })
	}
}

// fail ends a call with an error at a time, if it is outstanding then. REQUIRES: mu.
func (n *Network) fail(f *flight, at time.Time, err error) {
	n.schedule(at, mix(f.hash, 1), func() { f.end(nil, err) })
}

// reset ends a call as a closed connection does, after the time a packet takes. REQUIRES: mu.
func (n *Network) reset(f *flight) {
	err := fmt.Errorf("%w: %s: connection refused", rpc.ErrUnreachable, f.call.To.Addr)
	n.fail(f, time.Now().Add(n.delay(mix(f.hash, 2))), err)
}

// end calls Done, once, unless the caller is gone.
func (f *flight) end(body []byte, err error) {
	n := f.from.net
	n.mu.Lock()
	_, live := f.from.calls[f]
	delete(f.from.calls, f)
	n.mu.Unlock()
	if live {
		f.call.Done(body, err)
	}
}

// message is a request or a response on its way.
type message struct {
	flight   *flight
	from, to string
	body     []byte
	response bool
}

// transmit decides a message's fate and when it arrives. REQUIRES: mu.
func (n *Network) transmit(m message, h uint64, arrive func()) {
	if share(mix(h, 3)) < n.mu.faults.Drop {
		n.schedule(time.Now(), h, func() { n.observe(m, Dropped, h) })
		return
	}
	var deliver func(fate Fate) func()
	deliver = func(fate Fate) func() {
		return func() {
			if n.held(m.to, h, deliver(fate)) {
				return
			}
			if n.lost(m) {
				n.observe(m, Cut, h)
				return
			}
			n.observe(m, fate, h)
			arrive()
		}
	}
	leaves := n.awake(m.from)
	n.schedule(leaves.Add(n.latency(m, mix(h, 4))), h, deliver(Delivered))
	if share(mix(h, 5)) < n.mu.faults.Duplicate {
		n.schedule(leaves.Add(n.latency(m, mix(h, 6))), mix(h, 7), deliver(Duplicated))
	}
}

// lost reports whether a cut, or a deaf host, swallows the message; then the call finds out after the silence.
func (n *Network) lost(m message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.severed(m.from, m.to) && !slices.Contains(n.mu.deaf[hostOf(m.to)], m.flight.call.Verb) {
		return false
	}
	err := fmt.Errorf("%w: %s: nothing heard for too long", rpc.ErrUnreachable, m.flight.call.To.Addr)
	n.fail(m.flight, time.Now().Add(n.opts.Silence), err)
	return true
}

func (n *Network) delay(h uint64) time.Duration {
	f := n.mu.faults
	return f.MinDelay + time.Duration(share(h)*float64(f.MaxDelay-f.MinDelay))
}

// latency is a message's delay, with what its ends add. REQUIRES: mu.
func (n *Network) latency(m message, h uint64) time.Duration {
	d := n.delay(h)
	for _, end := range []string{m.from, m.to} {
		if slow := n.mu.slow[hostOf(end)]; slow > 0 {
			d += time.Duration(share(mix(h, 8)) * float64(slow))
		}
	}
	return d
}

func (n *Network) observe(m message, fate Fate, h uint64) {
	if n.opts.Observe != nil {
		n.opts.Observe(Delivery{time.Now(), m.from, m.to, m.flight.call.Verb, m.response, len(m.body), fate, h})
	}
}

// arrive runs a request's handler, or answers why not.
func (n *Network) arrive(f *flight) {
	n.mu.Lock()
	to := n.mu.nodes[f.call.To.Addr]
	if to == nil || !to.serving || f.from.crashed {
		defer n.mu.Unlock()
		n.reset(f)
		return
	}
	n.mu.Unlock()
	us, them := f.from.ident.Load(), to.ident.Load()
	if err := wrongPeer(f, us, them); err != nil {
		f.end(nil, err)
		return
	}
	reply := n.replier(f, to)
	h := to.handlers[f.call.Verb].Load()
	clustered := us.ClusterID != [16]byte{} && them.ClusterID != [16]byte{}
	switch {
	case !clustered && !f.call.Verb.Unclustered():
		reply(nil, &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "one of the two nodes belongs to no cluster yet"})
	case h == nil:
		reply(nil, &rpc.RemoteError{Code: rpc.CodeNoHandler, Message: f.call.Verb.String() + " is not known to this node"})
	case !time.Now().Before(f.deadline):
		reply(nil, &rpc.RemoteError{Code: rpc.CodeExpired, Message: f.call.Verb.String() + " came after its deadline"})
	default:
		(*h)(&rpc.Inbound{From: rpc.Peer{ID: us.HostID, Addr: f.from.addr}, Verb: f.call.Verb, Body: bytes.Clone(f.call.Body),
			Deadline: f.deadline, Trace: f.call.Trace, Reply: reply})
	}
}

func wrongPeer(f *flight, us, them *rpc.Identity) error {
	none := [16]byte{}
	if id := f.call.To.ID; !id.IsZero() && id != them.HostID {
		return fmt.Errorf("%w: host id %s answers at %s, not %s", rpc.ErrWrongPeer, them.HostID, f.call.To.Addr, id)
	}
	if us.ClusterID != none && them.ClusterID != none && us.ClusterID != them.ClusterID {
		return fmt.Errorf("%w: the node at %s is of cluster %q", rpc.ErrWrongPeer, f.call.To.Addr, them.ClusterName)
	}
	return nil
}

// replier makes the Reply of one run of a handler: a duplicated request has two, and the first answer that arrives counts.
func (n *Network) replier(f *flight, to *Node) func([]byte, error) {
	var replied atomic.Bool
	return func(body []byte, err error) {
		if replied.Swap(true) {
			panic("simnet: a handler of " + f.call.Verb.String() + " replied twice")
		}
		body, text := bytes.Clone(body), ""
		if err != nil {
			err = remote(err)
			body, text = nil, err.Error()
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if to.crashed || n.mu.closed {
			return
		}
		told := string(body)
		if n.opts.Opaque != nil && n.opts.Opaque(f.call.Verb) {
			told = ""
		}
		h := n.count(hashOf(n.opts.Seed, to.addr, f.from.addr, string([]byte{byte(f.call.Verb)}), string(f.call.Body), told, text))
		n.transmit(message{f, to.addr, f.from.addr, body, true}, h, func() {
			n.mu.Lock()
			gone := f.from.crashed
			n.mu.Unlock()
			if !gone {
				f.end(body, err)
			}
		})
	}
}

// remote makes a handler's error what the caller of rpc.TCP would see.
func remote(err error) error {
	out := &rpc.RemoteError{Code: rpc.CodeInternal, Message: err.Error()}
	if re := (*rpc.RemoteError)(nil); errors.As(err, &re) && re.Code != 0 {
		out.Code, out.Epoch = re.Code, re.Epoch
	}
	return out
}
