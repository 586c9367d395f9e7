package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

const testTable row.StorageID = 1

var everything = vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}

// kit is some replicas with real storage on memory files over a simulated network, in a bubble.
type kit struct {
	t     testing.TB
	net   *simnet.Network
	nodes []*replica
	view  atomic.Pointer[View]
	moved atomic.Int64 // bytes of bodies on the network
}

// replica is one node: its own store and server.
type replica struct {
	kit    *kit
	id     vnodes.HostID
	engine *storage.Engine
	net    *simnet.Node
	server *Server
	// before is called before each write; nil: nothing.
	before func([]row.Mutation)
}

func nodeID(i int) (id vnodes.HostID) {
	id[0], id[15] = 0xA0, byte(i+1)
	return id
}

func address(i int) string { return fmt.Sprintf("10.0.0.%d:7000", i+1) }

// bubble runs f with n replicas of one table. The catalog says nothing of ranges: sessions are told who the owners are.
func bubble(t *testing.T, n int, f func(t *testing.T, k *kit)) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, n)
		defer k.close()
		f(t, k)
	})
}

func newKit(t testing.TB, n int) *kit {
	k := &kit{t: t}
	k.view.Store(&View{Epoch: 3, Ring: vnodes.NewRing(3, nil), Catalog: catalog(t)})
	k.net = simnet.New(simnet.Options{Seed: 1, Observe: func(d simnet.Delivery) { k.moved.Add(int64(d.Size)) }})
	for i := range n {
		r := &replica{kit: k, id: nodeID(i)}
		engine, err := storage.Open(storage.Options{FS: disk.Crashable(), Dir: "data", CacheBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler),
			Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.SetTables(map[row.StorageID]storage.TableKind{testTable: storage.OnDisk}, 1); err != nil {
			t.Fatal(err)
		}
		r.engine = engine
		r.net = k.net.Node(address(i), rpc.Identity{HostID: r.id, ClusterName: "c", ClusterID: [16]byte{1}})
		r.server = NewServer(ServerOptions{Store: engine, View: func() View { return *k.view.Load() }, Apply: r.apply,
			Await:  func(_ context.Context, _ rpc.Peer, _ uint64, done func(error)) { done(context.DeadlineExceeded) },
			Record: func(row.StorageID, []byte) error { return nil }, Suspect: func(vnodes.HostID) {}})
		r.server.Register(r.net)
		k.nodes = append(k.nodes, r)
	}
	return k
}

func (k *kit) close() {
	for _, r := range k.nodes {
		r.net.Close()
		r.server.Close()
	}
	k.net.Close()
	for _, r := range k.nodes {
		if err := r.engine.Close(); err != nil {
			k.t.Error(err)
		}
	}
}

// catalog has ks.t as storage 1.
func catalog(t testing.TB) *schema.Catalog {
	c := schema.Empty()
	for i, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "ks", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "3"}},
		{Op: schema.CreateTable, Keyspace: "ks", Name: "t", ID: [16]byte{1}, Columns: []schema.ColumnDef{
			{Name: "k", Type: "int", Kind: schema.PartitionKey}, {Name: "c", Type: "int", Kind: schema.Clustering}, {Name: "v", Type: "text", Kind: schema.Regular, Position: -1},
		}},
	} {
		next, _, err := c.Apply(ch, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		c = next
	}
	return c
}

// apply is the request path's: it refuses a stale ring.
func (r *replica) apply(_, ring uint64, mutations [][]byte, done func(error)) {
	if newer := r.kit.view.Load().Ring.Epoch(); newer > ring {
		done(&rpc.RemoteError{Code: rpc.CodeNotOwner, Message: "not the owner", Epoch: newer})
		return
	}
	ms := make([]row.Mutation, len(mutations))
	for i, b := range mutations {
		m, _, err := row.DecodeMutation(b)
		if err != nil {
			done(err)
			return
		}
		ms[i] = m
	}
	if r.before != nil {
		r.before(ms)
	}
	r.engine.Apply(ms, done)
}

// write puts mutations on one replica only.
func (r *replica) write(ms ...row.Mutation) {
	r.kit.t.Helper()
	done := make(chan error, 1)
	r.engine.Apply(ms, func(err error) { done <- err })
	if err := <-done; err != nil {
		r.kit.t.Fatal(err)
	}
}

// content is all that a replica holds, as a page's bytes.
func (r *replica) content() string {
	page, err := r.engine.Read(context.Background(), &storage.ReadSpec{Storage: testTable, Range: everything, ByteLimit: 1 << 30, WorkLimit: 1 << 30}, nil)
	if err != nil {
		r.kit.t.Fatal(err)
	}
	return string(page)
}

// session is one that node 0 drives with the others.
func (k *kit) session() (*Session, []Peer) {
	view := k.view.Load()
	s := &Session{Table: testTable, Range: everything, Needs: view.Epoch, Ring: view.Ring.Epoch(), Now: 1_000_000,
		Store: k.nodes[0].engine, Transport: k.nodes[0].net, Apply: k.nodes[0].apply, Settle: time.Second}
	var peers []Peer
	for i := 1; i < len(k.nodes); i++ {
		peers = append(peers, Peer{ID: nodeID(i), Addr: rpc.Peer{ID: nodeID(i), Addr: address(i)}})
	}
	return s, peers
}

// repair runs a session that has to come to an agreement.
func (k *kit) repair() *Outcome {
	k.t.Helper()
	s, peers := k.session()
	out, err := s.Run(context.Background(), peers)
	if err != nil || !out.Agreed() {
		k.t.Fatalf("no agreement: %v %v", err, out.Failed)
	}
	return out
}

func (k *kit) equal() {
	k.t.Helper()
	want := k.nodes[0].content()
	for i, r := range k.nodes[1:] {
		if r.content() != want {
			k.t.Errorf("replica %d differs from replica 0", i+1)
		}
	}
}

func key(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// insert writes a row with one cell.
func insert(k, c int, ts int64, value string) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: row.Marker, Timestamp: ts})
	b.Add(row.Cell{Column: 1, Timestamp: ts, Value: []byte(value)})
	return fragment(k, c, b.Append(nil))
}

func fragment(k, c int, f []byte) row.Mutation {
	return row.Mutation{Storage: testTable, Token: vnodes.PartitionToken(key(k)), Key: key(k), Rows: []row.Entry{{Clustering: key(c), Fragment: f}}}
}

func header(k int, h row.Header) row.Mutation {
	return row.Mutation{Storage: testTable, Token: vnodes.PartitionToken(key(k)), Key: key(k), Header: h.Append(nil)}
}
