package gossip

import (
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// sockets is memberlist's own transport, which dials from the node's own address. Where nodes share a machine, on loopback addresses, the kernel would
// else choose 127.0.0.1 for each of them, and nothing between them could tell whose connection it sees (node/rpc does the same).
type sockets struct {
	*memberlist.NetTransport
	from net.IP
}

var _ memberlist.NodeAwareTransport = (*sockets)(nil)

// newSockets opens the sockets of a configuration with a loopback address and a port.
func newSockets(c *memberlist.Config) (*sockets, error) {
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	return &sockets{t, net.ParseIP(c.BindAddr)}, nil
}

// DialTimeout implements memberlist.Transport.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: s.from}}
	return d.Dial("tcp", addr)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *sockets) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(a.Addr, timeout)
}
