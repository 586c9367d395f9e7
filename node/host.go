package node

import (
	"math/rand/v2"
	"net"
	"time"

	"github.com/google/uuid"

	"nodedb/gossip"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// Host is what a node has of the machine it runs on, beside its disk. Zero fields are the real machine's; a simulation (package node/sim) gives its own, so
// that what it runs is this code and no other.
type Host struct {
	// Transport opens the way to the other nodes at host:port. Default: rpc.Listen.
	Transport func(addr string, o rpc.Options) (Transport, error)
	// Membership starts failure detection. Default: gossip.Start.
	Membership func(o gossip.Options) (Membership, error)
	// Listen opens a client's door at host:port. Default: TCP.
	Listen func(addr string) (net.Listener, error)
	// NewID gives an id that is never given again: of hosts, clusters, proposals, tables. Default: a random UUID.
	NewID func() [16]byte
	// Random gives a number below n, for choices that only have to vary. Default: math/rand.
	Random func(n int) int
	// Wall is the wall clock. Default: time.Now.
	Wall func() time.Time
}

// Transport is what a node needs of its way to the others; rpc.TCP is one.
type Transport interface {
	rpc.Transport
	// SetIdentity changes what others are told of this node.
	SetIdentity(id rpc.Identity) error
	// Retry ends the pause that follows failed attempts to reach a peer: it is heard to be up.
	Retry(to rpc.Peer)
	// Serve begins to take requests.
	Serve()
	// Close ends all calls with rpc.ErrClosed and waits.
	Close() error
}

// Membership is what a node needs of failure detection; gossip.Members is one.
type Membership interface {
	// Alive reports whether a node is believed up.
	Alive(id vnodes.HostID) bool
	// SetEpoch spreads the newest metadata epoch applied here.
	SetEpoch(epoch uint64)
	// Leave says goodbye and stops.
	Leave() error
}

func (h Host) withDefaults() Host {
	if h.Transport == nil {
		h.Transport = func(addr string, o rpc.Options) (Transport, error) { return rpc.Listen(addr, o) }
	}
	if h.Membership == nil {
		h.Membership = func(o gossip.Options) (Membership, error) { return gossip.Start(o) }
	}
	if h.Listen == nil {
		h.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	if h.NewID == nil {
		h.NewID = func() [16]byte { return uuid.New() }
	}
	if h.Random == nil {
		h.Random = rand.IntN
	}
	if h.Wall == nil {
		h.Wall = time.Now
	}
	return h
}
