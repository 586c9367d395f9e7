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

// The same code over real connections: three nodes found a cluster, a fourth joins, all propose.
func TestOverTCP(t *testing.T) {
	const port = 7000
	at := func(i int) string { return fmt.Sprintf("127.44.71.%d", i) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	start := func(i int) (*Log, *rpc.TCP) {
		id := rpc.Identity{HostID: vnodes.HostID(uuid.New()), ClusterName: "tcp"}
		transport, err := rpc.Listen(fmt.Sprintf("%s:%d", at(i), port), rpc.Options{Identity: id})
		if err != nil {
			t.Fatal(err)
		}
		l, err := Open(Options{
			Self: id.HostID, Name: "tcp", Store: newStore(), Transport: transport, MetaPort: port, Now: time.Now, NewID: func() [16]byte { return uuid.New() },
			Node: vnodes.Node{Address: at(i), DC: "dc", Rack: "r", Weight: 8},
		})
		if err != nil {
			t.Fatal(err)
		}
		transport.Serve()
		t.Cleanup(func() { l.Close(); transport.Close() })
		return l, transport
	}
	enter := func(l *Log, transport *rpc.TCP, list ...int) error {
		var peers []rpc.Peer
		for _, i := range list {
			peers = append(peers, rpc.Peer{Addr: fmt.Sprintf("%s:%d", at(i), port)})
		}
		err := l.FoundOrJoin(ctx, peers, func(s string) { t.Log(s) })
		if err == nil {
			err = transport.SetIdentity(rpc.Identity{HostID: l.o.Self, ClusterName: "tcp", ClusterID: l.State().ClusterID})
		}
		return err
	}
	logs := make([]*Log, 4)
	entered := make(chan error, 3)
	began := time.Now()
	for i := range 3 {
		l, transport := start(i + 1)
		logs[i] = l
		go func() { entered <- enter(l, transport, 1, 2, 3) }()
	}
	for range 3 {
		if err := <-entered; err != nil {
			t.Fatal(err)
		}
	}
	t.Log("three nodes founded a cluster in", time.Since(began))
	began = time.Now()
	l, transport := start(4)
	if err := enter(l, transport, 2); err != nil {
		t.Fatal(err)
	}
	t.Log("a fourth joined in", time.Since(began))
	logs[3] = l
	results := make(chan error, len(logs))
	began = time.Now()
	for i, l := range logs {
		go func() {
			_, _, err := l.Propose(ctx, keyspace(fmt.Sprint("k", i)))
			results <- err
		}()
	}
	for range logs {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	t.Log("four concurrent proposals took", time.Since(began))
	newest := logs[0]
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
