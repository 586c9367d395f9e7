package metalog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nodedb/node/rpc"
	"nodedb/vnodes"

	"github.com/google/uuid"
)

// tcpPort is every node's in this package's network of its own, 127.44.71.0/24.
const tcpPort = 7000

func tcpHost(i int) string { return fmt.Sprintf("127.44.71.%d", i) }

// tcpNode starts node i, still outside of any cluster.
func tcpNode(t *testing.T, i int) (*Log, *rpc.TCP) {
	id := rpc.Identity{HostID: vnodes.HostID(uuid.New()), ClusterName: "tcp"}
	transport, err := rpc.Listen(fmt.Sprintf("%s:%d", tcpHost(i), tcpPort), rpc.Options{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{
		Self: id.HostID, Name: "tcp", Store: newStore(), Transport: transport, MetaPort: tcpPort, Now: time.Now,
		NewID: func() [16]byte { return uuid.New() }, Node: vnodes.Node{Address: tcpHost(i), DC: "dc", Rack: "r", Weight: 8},
	})
	if err != nil {
		t.Fatal(err)
	}
	transport.Serve()
	t.Cleanup(func() { l.Close(); transport.Close() })
	return l, transport
}

// enter brings it into a cluster.
func enter(ctx context.Context, l *Log, transport *rpc.TCP, list ...int) error {
	var peers []rpc.Peer
	for _, i := range list {
		peers = append(peers, rpc.Peer{Addr: l.address(tcpHost(i))})
	}
	if err := l.FoundOrJoin(ctx, peers, nil); err != nil {
		return err
	}
	return transport.SetIdentity(rpc.Identity{HostID: l.o.Self, ClusterName: "tcp", ClusterID: l.State().ClusterID})
}

// The same code over real connections: three nodes found a cluster, a fourth joins, all propose.
func TestOverTCP(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	logs := make([]*Log, 4)
	entered := make(chan error, 3)
	began := time.Now()
	for i := range 3 {
		l, transport := tcpNode(t, i+1)
		logs[i] = l
		go func() { entered <- enter(ctx, l, transport, 1, 2, 3) }()
	}
	for range 3 {
		if err := <-entered; err != nil {
			t.Fatal(err)
		}
	}
	t.Log("three nodes founded a cluster in", time.Since(began))
	l, transport := tcpNode(t, 4)
	if err := enter(ctx, l, transport, 2); err != nil {
		t.Fatal(err)
	}
	logs[3] = l
	results := make(chan error, len(logs))
	for i, l := range logs {
		go func() {
			_, _, err := l.Propose(ctx, keyspace(fmt.Sprint("k", i)))
			results <- err
		}()
	}
	newest := logs[0]
	for range logs {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, l := range logs {
		if l.State().Epoch > newest.State().Epoch {
			newest = l
		}
	}
	for _, l := range logs {
		if err := l.WaitFor(ctx, l.peer(&newest.o.Node), newest.State().Epoch); err != nil {
			t.Error(err)
		}
		if n := len(l.State().Catalog.Keyspaces); n != 4 {
			t.Errorf("%d keyspaces", n)
		}
	}
}
