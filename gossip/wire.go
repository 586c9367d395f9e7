package gossip

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Wire sends packets and opens streams: node/rpc/simnet's Endpoint is one. Addresses have ports.
type Wire interface {
	Send(to string, body []byte) error
	Dial(to string, timeout time.Duration) (net.Conn, error)
	Close() error
}

// OpenWire opens a wire at an address. What arrives is handed to packet and stream, which don't block.
type OpenWire func(address string, packet func(from string, body []byte), stream func(net.Conn)) Wire

const (
	// maxPackets and maxStreams bound what has arrived and waits for memberlist; more is dropped, as sockets do.
	maxPackets = 1024
	maxStreams = 64
)

// transport is memberlist's Transport over a Wire.
type transport struct {
	wire    Wire
	ip      net.IP
	port    int
	packets chan *memberlist.Packet
	streams chan net.Conn
	mu      struct {
		sync.Mutex
		closed bool
	}
}

var _ memberlist.Transport = (*transport)(nil)

func newTransport(open OpenWire, address string, port int) (*transport, error) {
	t := &transport{ip: net.ParseIP(address), port: port, packets: make(chan *memberlist.Packet, maxPackets), streams: make(chan net.Conn, maxStreams)}
	if t.ip == nil {
		return nil, fmt.Errorf("gossip: %q is no IP", address)
	}
	if v4 := t.ip.To4(); v4 != nil {
		t.ip = v4
	}
	t.wire = open(net.JoinHostPort(address, strconv.Itoa(port)), t.packet, t.stream)
	return t, nil
}

func (t *transport) packet(from string, body []byte) {
	addr, err := net.ResolveUDPAddr("udp", from)
	if err != nil {
		return
	}
	select {
	case t.packets <- &memberlist.Packet{Buf: body, From: addr, Timestamp: time.Now()}:
	default:
	}
}

func (t *transport) stream(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.closed {
		select {
		case t.streams <- c:
			return
		default:
		}
	}
	_ = c.Close() // nothing was read or written
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return t.ip, t.port, nil }

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return time.Now(), t.wire.Send(addr, b)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.wire.Dial(addr, timeout)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.mu.closed = true
	for len(t.streams) > 0 {
		_ = (<-t.streams).Close() // nothing was read or written
	}
	t.mu.Unlock()
	return t.wire.Close()
}
