package simnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Endpoint is where a program other than RPC (gossip) sends and takes packets and streams, as over UDP and TCP: on the
// same network, through the same cuts, losses and delays. Its functions run in the delivery loop and must not block.
type Endpoint struct {
	net    *Network
	addr   string
	packet func(from string, body []byte)
	stream func(net.Conn)
	conns  map[*Conn]struct{} // guarded by net.mu
	closed bool               // guarded by net.mu
}

// maxPacket bounds a packet, in bytes, as UDP does.
const maxPacket = 65507

var errPacket = errors.New("simnet: a packet is too large")

// Listen opens an endpoint at an address (host:port). One that is there already is closed, as if it had crashed.
// packet may keep body; stream gets connections that others have opened.
func (n *Network) Listen(addr string, packet func(from string, body []byte), stream func(net.Conn)) *Endpoint {
	n.mu.Lock()
	old := n.mu.ends[addr]
	n.mu.Unlock()
	if old != nil {
		old.Close()
	}
	e := &Endpoint{net: n, addr: addr, packet: packet, stream: stream, conns: map[*Conn]struct{}{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.ends[addr] = e
	return e
}

// Close is the end of the program: its connections are reset, and nothing reaches it or comes from it any more.
func (e *Endpoint) Close() error {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	e.closed = true
	if n.mu.ends[e.addr] == e {
		delete(n.mu.ends, e.addr)
	}
	for c := range e.conns {
		c.hangUp(errReset)
		c.fail(net.ErrClosed)
	}
	return nil
}

// Send sends a packet, which may get lost, be doubled or overtaken. It waits while its host is stalled.
func (e *Endpoint) Send(to string, body []byte) error {
	n := e.net
	n.waitAwake(e.addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.closed || n.mu.closed {
		return net.ErrClosed
	}
	if len(body) > maxPacket {
		return fmt.Errorf("%w: %d bytes", errPacket, len(body))
	}
	body = bytes.Clone(body)
	h := n.count(hashOf(n.opts.Seed, e.addr, to, "packet", string(body)))
	now := time.Now()
	if share(mix(h, 3)) < n.mu.faults.Drop {
		n.schedule(now, h, func() { n.told(e.addr, to, len(body), Dropped) })
		return nil
	}
	n.schedule(now.Add(n.delay(mix(h, 4))), h, func() { n.land(e.addr, to, body, h, Delivered) })
	if share(mix(h, 5)) < n.mu.faults.Duplicate {
		n.schedule(now.Add(n.delay(mix(h, 6))), mix(h, 7), func() { n.land(e.addr, to, body, h, Duplicated) })
	}
	return nil
}

// land gives a packet to whoever is there.
func (n *Network) land(from, to string, body []byte, h uint64, fate Fate) {
	if n.held(to, h, func() { n.land(from, to, body, h, fate) }) {
		return
	}
	n.mu.Lock()
	e := n.mu.ends[to]
	switch {
	case n.severed(from, to):
		e, fate = nil, Cut
	case e == nil:
		fate = Refused
	}
	n.mu.Unlock()
	n.told(from, to, len(body), fate)
	if e != nil {
		e.packet(from, bytes.Clone(body))
	}
}

// told tells of a packet's or segment's fate.
func (n *Network) told(from, to string, size int, fate Fate) {
	if n.opts.Observe != nil {
		n.opts.Observe(Delivery{At: time.Now(), From: from, To: to, Size: size, Fate: fate})
	}
}

// Stall takes a host's CPU away for a while: what it sends, and what arrives for it, waits until then. Its timers do
// not: a program whose every message waits is no better off than one whose timers are late too.
func (n *Network) Stall(addr string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.stalls[hostOf(addr)] = time.Now().Add(d)
}

// awake is when what a host sends now leaves it. REQUIRES: mu.
func (n *Network) awake(addr string) time.Time {
	now := time.Now()
	if until := n.mu.stalls[hostOf(addr)]; now.Before(until) {
		return until
	}
	return now
}

// waitAwake returns when an address' host has a CPU.
func (n *Network) waitAwake(addr string) {
	for {
		n.mu.Lock()
		wait := time.Until(n.awake(addr))
		n.mu.Unlock()
		if wait <= 0 {
			return
		}
		time.Sleep(wait)
	}
}

// held puts off what arrives at a stalled host; false: it isn't stalled.
func (n *Network) held(to string, tie uint64, run func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := n.awake(to)
	if !until.After(time.Now()) {
		return false
	}
	n.schedule(until, tie, run)
	return true
}

// severed reports whether a cut lies between two addresses. REQUIRES: mu.
func (n *Network) severed(from, to string) bool {
	return n.mu.cuts[[2]string{hostOf(from), hostOf(to)}]
}

// hostOf is an address without its port.
func hostOf(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		return addr[:i]
	}
	return addr
}
