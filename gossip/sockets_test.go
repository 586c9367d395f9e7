package gossip

import (
	"net"
	"testing"
	"time"
)

// TestDialsFromItsOwnAddress: on loopback addresses a peer, or a firewall, sees which node a connection is of.
func TestDialsFromItsOwnAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.77.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &sockets{from: net.ParseIP("127.0.77.1")}
	c, err := s.DialTimeout(l.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if from := c.LocalAddr().(*net.TCPAddr).IP.String(); from != "127.0.77.1" {
		t.Errorf("dialled from %s", from)
	}
}
