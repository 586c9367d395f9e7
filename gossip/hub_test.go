package gossip

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// hub is a network in memory for memberlist: packets and streams between IPs, with cuts and loss.
type hub struct {
	sync.Mutex
	ends map[string]*port
	cut  func(from, to string) bool
	loss func() bool // whether to lose a packet; called under the lock
}

func newHub() *hub {
	return &hub{ends: map[string]*port{}, cut: func(string, string) bool { return false }, loss: func() bool { return false }}
}

func (h *hub) set(cut func(from, to string) bool) {
	h.Lock()
	defer h.Unlock()
	h.cut = cut
}

func (h *hub) lose() bool {
	h.Lock()
	defer h.Unlock()
	return h.loss()
}

const hubPort = 7001

// port is one node's memberlist.Transport.
type port struct {
	hub     *hub
	ip      string
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (h *hub) port(ip string) *port {
	h.Lock()
	defer h.Unlock()
	p := &port{hub: h, ip: ip, packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 16), done: make(chan struct{})}
	h.ends[ip] = p
	return p
}

// route finds who listens at an address; nil: nobody. ok is false across a cut.
func (h *hub) route(from, addr string) (p *port, ok bool) {
	host, _, _ := net.SplitHostPort(addr)
	h.Lock()
	defer h.Unlock()
	return h.ends[host], !h.cut(from, host)
}

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(p.ip).To4(), hubPort, nil
}

func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to, ok := p.hub.route(p.ip, addr)
	if !ok || to == nil || p.hub.lose() {
		return now, nil // packets vanish silently
	}
	from := &net.UDPAddr{IP: net.ParseIP(p.ip), Port: hubPort}
	select {
	case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: from, Timestamp: now}:
	default:
	}
	return now, nil
}

func (p *port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, ok := p.hub.route(p.ip, addr)
	if !ok {
		time.Sleep(timeout)
		return nil, errors.New("hub: no answer from " + addr)
	}
	if to == nil {
		return nil, errors.New("hub: refused by " + addr)
	}
	here, there := net.Pipe()
	select {
	case to.streams <- there:
		return here, nil
	case <-to.done:
		return nil, errors.New("hub: refused by " + addr)
	}
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *port) StreamCh() <-chan net.Conn           { return p.streams }

func (p *port) Shutdown() error {
	p.once.Do(func() {
		close(p.done)
		p.hub.Lock()
		defer p.hub.Unlock()
		if p.hub.ends[p.ip] == p {
			delete(p.hub.ends, p.ip)
		}
	})
	return nil
}
