package gossip

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

const gossipPort = 7001

// bench is a cluster on a simulated network in a bubble: nodes 1..n, members of one metadata log.
type bench struct {
	t      *testing.T
	net    *simnet.Network
	n      int
	nodes  map[int]*Members
	stores map[int]*memory

	sync.Mutex
	addresses map[int]string // as the metadata log has them
	events    []string       // of node 1
	epochs    map[[2]int]uint64
}

func newBench(t *testing.T, n int, o simnet.Options) *bench {
	o.Settle = synctest.Wait
	b := &bench{t: t, net: simnet.New(o), n: n, nodes: map[int]*Members{}, stores: map[int]*memory{}, epochs: map[[2]int]uint64{}, addresses: map[int]string{}}
	for i := 1; i <= n; i++ {
		b.addresses[i] = address(i)
	}
	return b
}

// inBubble starts n nodes, waits until all see all, runs f, and stops what is left.
func inBubble(t *testing.T, n int, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, n, simnet.Options{})
		for i := 1; i <= n; i++ {
			b.start(i, nil)
		}
		b.await(5*time.Second, "all to see all", func() bool { return b.agree(n) })
		f(b)
		b.end()
	})
}

// end stops what is left, and lets virtual time pass until memberlist's last goroutines have run out.
func (b *bench) end() {
	for _, m := range b.nodes {
		if err := m.Stop(); err != nil {
			b.t.Error(err)
		}
	}
	time.Sleep(time.Minute)
	b.net.Close()
}

// start starts node i; edit may change its options.
func (b *bench) start(i int, edit func(*Options)) *Members {
	if b.stores[i] == nil {
		b.stores[i] = &memory{}
	}
	o := Options{
		Self: hostID(i), Address: b.addressOf(i), Port: gossipPort, ClusterID: [16]byte{1}, Store: b.stores[i], Logger: slog.New(slog.DiscardHandler),
		Wire: func(address string, packet func(string, []byte), stream func(net.Conn)) Wire {
			return b.net.Listen(address, packet, stream)
		},
		Members: b.members,
		OnEpoch: func(id vnodes.HostID, epoch uint64) {
			b.Lock()
			defer b.Unlock()
			b.epochs[[2]int{i, int(id[0])}] = epoch
		},
	}
	if i == 1 {
		o.OnChange = func(id vnodes.HostID, addr string, up bool) {
			b.Lock()
			defer b.Unlock()
			b.events = append(b.events, fmt.Sprintf("%d %s %v", id[0], addr, up))
		}
	}
	if edit != nil {
		edit(&o)
	}
	m, err := Start(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.nodes[i] = m
	return m
}

func (b *bench) addressOf(i int) string {
	b.Lock()
	defer b.Unlock()
	if a, ok := b.addresses[i]; ok {
		return a
	}
	return address(i)
}

func (b *bench) members() map[vnodes.HostID]string {
	b.Lock()
	defer b.Unlock()
	all := map[vnodes.HostID]string{}
	for i := 1; i <= b.n; i++ {
		all[hostID(i)] = b.addresses[i]
	}
	return all
}

// kill stops a node without a goodbye.
func (b *bench) kill(i int) {
	b.nodes[i].Stop()
	delete(b.nodes, i)
}

// agree: each of the nodes that run sees exactly those of 1..n that run.
func (b *bench) agree(n int) bool {
	for i, m := range b.nodes {
		for j := 1; j <= n; j++ {
			if _, runs := b.nodes[j]; i != j && m.Alive(hostID(j)) != runs {
				return false
			}
		}
	}
	return true
}

// await lets virtual time pass until ok holds, and gives how much.
func (b *bench) await(limit time.Duration, what string, ok func() bool) time.Duration {
	b.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			b.t.Fatalf("waited %v for %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}
