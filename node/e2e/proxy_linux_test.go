package e2e

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"nodedb/node/check"
	"nodedb/node/proc"
)

// proxy carries the connections from one node to another's storage port, and can make them slow. The firewall sends them to it unasked; it goes on from an
// address of its own, which the firewall lets through.
type proxy struct {
	listener net.Listener
	from, to string
	delay    time.Duration // of each chunk, one way; both ways have it
	running  sync.WaitGroup
	mu       struct {
		sync.Mutex
		conns  map[net.Conn]bool
		closed bool
	}
}

// chunkBytes is how much a proxy takes from a connection at once, and chunksOnTheWay how many wait in it for their time.
const (
	chunkBytes     = 64 << 10
	chunksOnTheWay = 256
)

// newProxy starts a proxy for the connections that one node dials to another.
func newProxy(t *testing.T, c *proc.Cluster, from, to int, delay time.Duration) *proxy {
	t.Helper()
	own := fmt.Sprintf("%s.%d", c.Prefix, 200+from*10+to)
	l, err := net.Listen("tcp", own+":0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, from: own, to: fmt.Sprintf("%s:%d", c.Nodes[to].Address, c.Port("storage_port")), delay: delay}
	p.mu.conns = map[net.Conn]bool{}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	nft(t, "add table ip via", "add chain ip via out { type nat hook output priority -100; }",
		fmt.Sprintf("add rule ip via out ip saddr %s ip daddr %s tcp dport %d dnat to %s", c.Nodes[from].Address, c.Nodes[to].Address,
			c.Port("storage_port"), l.Addr()))
	return p
}

// keep notes a connection to be closed with the proxy; false: it is closed already.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		_ = c.Close()
		return false
	}
	p.mu.conns[c] = true
	return true
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.mu.closed = true
	for c := range p.mu.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.from)}}
		out, err := d.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		if p.keep(in) && p.keep(out) {
			p.running.Go(func() { p.carry(in, out) })
			p.running.Go(func() { p.carry(out, in) })
		}
	}
}

// carry takes what comes from one side to the other, each chunk after the delay, in order. The end of one direction ends both.
func (p *proxy) carry(from, to net.Conn) {
	type chunk struct {
		due   time.Time
		bytes []byte
	}
	way := make(chan chunk, chunksOnTheWay)
	p.running.Go(func() {
		broken := false
		for c := range way {
			pass(time.Until(c.due))
			if _, err := to.Write(c.bytes); err != nil && !broken {
				broken = true
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	defer close(way)
	for {
		b := make([]byte, chunkBytes)
		n, err := from.Read(b)
		if n > 0 {
			way <- chunk{time.Now().Add(p.delay), b[:n]}
		}
		if err != nil {
			if err != io.EOF {
				_ = to.Close()
			}
			return
		}
	}
}

// TestRow13Delay lets everything between one node and the others take 300 ms longer each way, by proxies on its connections, in both directions. Requests
// through the others don't wait for it, and nothing is lost. (Loss, duplicates and reordering are the simulation's.)
func TestRow13Delay(t *testing.T) {
	campaignOnly(t, time.Minute)
	t.Parallel()
	if !isolated(t) {
		return
	}
	began := begins()
	const delay = 300 * time.Millisecond
	c := newCluster(t, 3, nil)
	for other := range 2 {
		newProxy(t, c, 2, other, delay)
		newProxy(t, c, other, 2, delay)
	}
	start(t, c, c.Nodes...)
	s := startSuite(t, c, check.Options{Think: 50 * time.Millisecond})
	probes, far := newProbes(t, c, 0, 1), newProbes(t, c, 2)
	measure(append(probes, far...), probePace, settle)
	near, slow := percentile(probes, 0.5), percentile(far, 0.5)
	if slow < delay {
		t.Errorf("requests through the far node take %s: the proxies carry nothing", slow)
	}
	if near > delay {
		t.Errorf("requests through the others take %s", near)
	}
	text := s.finish()
	report(t, 13, began, "one node %s away, each way: median %.1f ms through the others, %.1f ms through it; %s", delay, ms(near), ms(slow), text)
}
