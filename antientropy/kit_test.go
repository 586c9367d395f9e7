package antientropy

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

const testTable row.StorageID = 1

// cluster is some nodes with real storage and a repairer each, over a simulated network, in a bubble.
type cluster struct {
	t     testing.TB
	net   *simnet.Network
	view  atomic.Pointer[stream.View]
	nodes []*testNode
	rf    string // replication factor, by default 3; set before setView
	mu    struct {
		sync.Mutex
		dead map[vnodes.HostID]bool
	}
}

type testNode struct {
	c        *cluster
	index    int
	id       vnodes.HostID
	fs       disk.FS
	engine   *storage.Engine
	net      *simnet.Node
	repairer *Repairer
	pending  atomic.Bool
	hinted   atomic.Bool
	stop     context.CancelFunc
	ended    sync.WaitGroup
}

func nodeID(i int) (id vnodes.HostID) {
	id[0], id[15] = 0xA0, byte(i+1)
	return id
}

func address(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }

// members gives n nodes with four tokens each, in turns.
func members(n int, state vnodes.NodeState) []vnodes.Node {
	out := make([]vnodes.Node, n)
	const each = 4
	step := ^uint64(0) / uint64(n*each)
	for i := range out {
		out[i] = vnodes.Node{ID: nodeID(i), Address: address(i), DC: "dc1", Rack: "r1", Weight: each}
		for k := range each {
			out[i].Tokens = append(out[i].Tokens, vnodes.MinToken+vnodes.Token(uint64(k*n+i)*step)+1)
		}
	}
	out[n-1].State = state
	return out
}

// target is what the tests' repairers aim at.
const target = 20 * time.Minute

// bubble runs f with n nodes and three replicas; their repairers run.
func bubble(t *testing.T, n int, f func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t}
		c.mu.dead = map[vnodes.HostID]bool{}
		c.setView(3, members(n, vnodes.StateNormal), 0)
		c.net = simnet.New(simnet.Options{Seed: 1})
		for i := range n {
			m := &testNode{c: c, index: i, id: nodeID(i), fs: disk.Crashable()}
			c.nodes = append(c.nodes, m)
			m.start()
		}
		defer func() {
			for _, m := range c.nodes {
				m.close()
			}
			c.net.Close()
		}()
		f(t, c)
	})
}

// setView publishes a ring, and a catalog that has ks.t; truncated so often.
func (c *cluster) setView(epoch uint64, nodes []vnodes.Node, truncated int) {
	catalog := schema.Empty()
	changes := []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "ks", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": cmp.Or(c.rf, "3")}},
		{Op: schema.CreateTable, Keyspace: "ks", Name: "t", ID: [16]byte{1}, Columns: []schema.ColumnDef{
			{Name: "k", Type: "int", Kind: schema.PartitionKey}, {Name: "c", Type: "int", Kind: schema.Clustering}, {Name: "v", Type: "text", Kind: schema.Regular, Position: -1},
		}},
	}
	for range truncated {
		changes = append(changes, &schema.Change{Op: schema.TruncateTable, Keyspace: "ks", Name: "t"})
	}
	for i, ch := range changes {
		next, _, err := catalog.Apply(ch, uint64(i+1))
		if err != nil {
			c.t.Fatal(err)
		}
		catalog = next
	}
	for _, m := range c.nodes {
		if m.engine != nil {
			m.setTables(catalog)
		}
	}
	c.view.Store(&stream.View{Epoch: epoch, Ring: vnodes.NewRing(epoch, nodes), Catalog: catalog})
}

func (m *testNode) setTables(catalog *schema.Catalog) {
	t, _ := catalog.Table("ks", "t")
	if err := m.engine.SetTables(map[row.StorageID]storage.TableKind{t.Storage: storage.OnDisk}, catalog.Highest); err != nil {
		m.c.t.Fatal(err)
	}
}

// start opens the node's store, as it is, and its repairer.
func (m *testNode) start() {
	c := m.c
	engine, err := storage.Open(storage.Options{FS: m.fs, Dir: "data", CacheBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { c.t.Errorf("fatal: %v", err) }})
	if err != nil {
		c.t.Fatal(err)
	}
	m.engine = engine
	m.setTables(c.view.Load().Catalog)
	m.net = c.net.Node(address(m.index)+":7000", rpc.Identity{HostID: m.id, ClusterName: "c", ClusterID: [16]byte{1}})
	m.repairer, err = New(Options{
		Self: m.id, View: func() stream.View { return *c.view.Load() }, Alive: func(id vnodes.HostID) bool { return id == m.id || c.alive(id) },
		Peer:      func(n *vnodes.Node) rpc.Peer { return rpc.Peer{ID: n.ID, Addr: n.Address + ":7000"} },
		Await:     func(_ context.Context, _ rpc.Peer, _ uint64, done func(error)) { done(context.DeadlineExceeded) },
		Transport: m.net, Store: engine, System: engine, Apply: m.apply, Pending: func(row.StorageID) bool { return m.pending.Load() },
		Hinted: m.hinted.Load, Now: time.Now, Target: target, Throttle: 1 << 30,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	m.repairer.Register(m.net)
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.ended.Go(func() { m.repairer.Run(ctx) })
}

func (m *testNode) close() {
	if m.engine == nil {
		return
	}
	m.stop()
	_ = m.net.Close()
	m.ended.Wait()
	m.repairer.Close()
	if err := m.engine.Close(); err != nil {
		m.c.t.Error(err)
	}
	m.engine = nil
}

func (m *testNode) apply(_, ring uint64, mutations [][]byte, done func(error)) {
	if newer := m.c.view.Load().Ring.Epoch(); newer > ring {
		done(&rpc.RemoteError{Code: rpc.CodeNotOwner, Message: "not the owner", Epoch: newer})
		return
	}
	ms := make([]row.Mutation, len(mutations))
	for i, b := range mutations {
		var err error
		if ms[i], _, err = row.DecodeMutation(b); err != nil {
			done(err)
			return
		}
	}
	m.engine.Apply(ms, done)
}

func (c *cluster) alive(id vnodes.HostID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.mu.dead[id]
}

func (c *cluster) setDead(i int, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.dead[nodeID(i)] = dead
}

func key(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func insert(k, c int, ts int64, value string) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: 1, Timestamp: ts, Value: []byte(value)})
	return row.Mutation{Storage: testTable, Token: vnodes.PartitionToken(key(k)), Key: key(k), Rows: []row.Entry{{Clustering: key(c), Fragment: b.Append(nil)}}}
}

// write puts mutations on one node only.
func (m *testNode) write(ms ...row.Mutation) {
	m.c.t.Helper()
	done := make(chan error, 1)
	m.engine.Apply(ms, func(err error) { done <- err })
	if err := <-done; err != nil {
		m.c.t.Fatal(err)
	}
}

func (m *testNode) content() string {
	page, err := m.engine.Read(context.Background(), &storage.ReadSpec{Storage: testTable, Range: vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken},
		ByteLimit: 1 << 30, WorkLimit: 1 << 30}, nil)
	if err != nil {
		m.c.t.Fatal(err)
	}
	return string(page)
}

func (c *cluster) same() bool {
	for _, m := range c.nodes[1:] {
		if m.engine != nil && m.content() != c.nodes[0].content() {
			return false
		}
	}
	return true
}

// ages gives how long ago a node's ranges last agreed, the longest; never counts.
func (m *testNode) ages() (oldest time.Duration, never, ranges int) {
	for _, r := range m.repairer.Records() {
		ranges++
		if r.Agreed.IsZero() {
			never++
			continue
		}
		oldest = max(oldest, time.Since(r.Agreed))
	}
	return oldest, never, ranges
}
