package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/batchlog"
	"nodedb/coordinator/consistency"
	"nodedb/node/clock"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// testCluster is some coordinators and replicas over a network in memory whose links can be cut. It runs in a synctest bubble: time is virtual.
type testCluster struct {
	t     *testing.T
	nodes []*testNode
	table *schema.Table
	calls sync.WaitGroup // messages under way

	mu struct {
		sync.Mutex
		dead map[vnodes.HostID]bool        // believed dead by all
		drop func(from, to, verb int) bool // messages that get lost; nodes from 0
		sent map[string]int                // messages by verb and receiver
		wait func(to int) time.Duration    // latency
	}
}

type testNode struct {
	index       int
	id          vnodes.HostID
	c           *testCluster
	view        *coordinator.View
	store       *memStore
	replica     *Replica
	coordinator *coordinator.Coordinator
	batches     *batchlog.Log
	handlers    map[rpc.Verb]rpc.Handler
	hints       map[vnodes.HostID][][]byte
	clock       *clock.HLC
	admission   coordinator.Admission
	traces      *trace.Recorder
}

const testStorage row.StorageID = 1

func nodeID(i int) (id vnodes.HostID) {
	id[0], id[15] = 0xA0, byte(i+1)
	return id
}

// members gives n normal nodes with four tokens each, spread evenly.
func members(n int) []vnodes.Node {
	out := make([]vnodes.Node, n)
	const each = 4
	step := ^uint64(0) / uint64(n*each)
	for i := range out {
		out[i] = vnodes.Node{ID: nodeID(i), Address: fmt.Sprintf("10.0.0.%d", i+1), DC: "dc1", Rack: "r1", Weight: each}
		for k := range each {
			out[i].Tokens = append(out[i].Tokens, vnodes.MinToken+vnodes.Token(uint64(k*n+i)*step)+1)
		}
	}
	return out
}

func catalogOf(t *testing.T, factor int) *schema.Catalog {
	t.Helper()
	c := schema.Empty()
	for i, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "ks", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": fmt.Sprint(factor)}},
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

func newTestCluster(t *testing.T, n, factor int) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	c.mu.dead, c.mu.sent = map[vnodes.HostID]bool{}, map[string]int{}
	catalog := catalogOf(t, factor)
	c.table, _ = catalog.Table("ks", "t")
	view := coordinator.NewView(3, vnodes.NewRing(3, members(n)), catalog)
	for i := range n {
		c.addNode(i, view)
	}
	t.Cleanup(func() {
		synctest.Wait() // a spare that was being asked while the answer came has its call begun
		c.calls.Wait()
		for _, m := range c.nodes {
			m.batches.Close()
			m.replica.Close()
		}
	})
	return c
}

func (c *testCluster) addNode(i int, view *coordinator.View) *testNode {
	m := &testNode{index: i, id: nodeID(i), c: c, view: view, store: &memStore{}, handlers: map[rpc.Verb]rpc.Handler{}, hints: map[vnodes.HostID][][]byte{}}
	var err error
	if m.clock, err = clock.New(clock.Options{}); err != nil {
		c.t.Fatal(err)
	}
	m.replica = New(Options{Self: m.id, Store: m.store, Cluster: m, Clock: m.clock, Readers: 2, Admission: &m.admission})
	m.replica.Register(m)
	m.traces = trace.New(netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1)), 7000), time.Now, nil)
	m.batches, err = batchlog.Open(batchlog.Options{Store: &memSystem{held: map[string][]byte{}}, Clock: m.clock,
		Deliver: func(entry []byte, done func(error)) { m.coordinator.Redeliver(entry, done) }})
	if err != nil {
		c.t.Fatal(err)
	}
	m.batches.Register(m)
	batches := 0
	m.coordinator = coordinator.New(coordinator.Options{Self: m.id, DC: "dc1", Cluster: m, Transport: m, Local: m.replica, Hints: m, Clock: m.clock,
		BatchLog: m.batches, Admission: &m.admission, Traces: m.traces,
		NewID: func() [16]byte { batches++; return [16]byte{byte(i), byte(batches >> 8), byte(batches)} }})
	c.nodes = append(c.nodes, m)
	return m
}

// View, Alive, Peer and Await make a testNode the coordinator's Cluster.
func (m *testNode) View() *coordinator.View {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.view
}

func (m *testNode) setView(v *coordinator.View) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.view = v
}

func (m *testNode) Alive(id vnodes.HostID) bool {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return !m.c.mu.dead[id]
}

func (m *testNode) Peer(n *vnodes.Node) rpc.Peer { return rpc.Peer{ID: n.ID, Addr: n.Address} }

// Await pulls the view from the peer at once.
func (m *testNode) Await(_ context.Context, from rpc.Peer, epoch uint64, done func(error)) {
	for _, o := range m.c.nodes {
		if o.id == from.ID && o.View().Epoch >= epoch {
			m.setView(o.View())
			done(nil)
			return
		}
	}
	done(errors.New("nobody knows that epoch"))
}

// Add keeps a hint.
func (m *testNode) Add(to vnodes.HostID, mutation []byte, done func(error)) {
	m.c.mu.Lock()
	m.hints[to] = append(m.hints[to], slices.Clone(mutation))
	m.c.mu.Unlock()
	done(nil)
}

func (m *testNode) hinted(to int) int {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return len(m.hints[nodeID(to)])
}

// Handle and Send make it a Transport.
func (m *testNode) Handle(v rpc.Verb, h rpc.Handler) { m.handlers[v] = h }

func (m *testNode) Send(call *rpc.Call) {
	c := m.c
	to := slices.IndexFunc(c.nodes, func(o *testNode) bool { return o.id == call.To.ID })
	c.mu.Lock()
	c.mu.sent[fmt.Sprintf("%d>%d", call.Verb, to)]++
	lost := c.mu.drop != nil && c.mu.drop(m.index, to, int(call.Verb))
	latency := time.Millisecond
	if c.mu.wait != nil {
		latency = c.mu.wait(to)
	}
	c.mu.Unlock()
	body := slices.Clone(call.Body)
	until := time.Now().Add(call.Timeout)
	c.calls.Add(1)
	go func() {
		defer c.calls.Done()
		if lost {
			time.Sleep(call.Timeout)
			call.Done(nil, rpc.ErrTimeout)
			return
		}
		time.Sleep(latency)
		c.nodes[to].handlers[call.Verb](&rpc.Inbound{From: rpc.Peer{ID: m.id}, Verb: call.Verb, Body: body, Deadline: until, Trace: call.Trace,
			Reply: func(body []byte, err error) { call.Done(slices.Clone(body), err) }})
	}()
}

func (c *testCluster) sent(v rpc.Verb, to int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.sent[fmt.Sprintf("%d>%d", v, to)]
}

func (c *testCluster) kill(nodes ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range nodes {
		c.mu.dead[nodeID(i)] = true
	}
}

func (c *testCluster) revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.mu.dead)
	c.mu.drop = nil
}

func (c *testCluster) lose(drop func(from, to, verb int) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.drop = drop
}

// mutation writes row (k, clustering) = value at a timestamp.
func mutation(k string, clustering byte, value string, timestamp int64) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: row.Marker, Timestamp: timestamp})
	b.Add(row.Cell{Column: 1, Timestamp: timestamp, Value: []byte(value)})
	key := []byte(k)
	return row.Mutation{Storage: testStorage, Token: vnodes.PartitionToken(key), Key: key,
		Rows: []row.Entry{{Clustering: []byte{0x40, clustering}, Fragment: b.Append(nil)}}}
}

// deletion deletes row (k, clustering) at a timestamp.
func deletion(k string, clustering byte, timestamp int64) row.Mutation {
	m := mutation(k, clustering, "", timestamp)
	var b row.Builder
	b.Delete(timestamp)
	m.Rows[0].Fragment = b.Append(nil)
	return m
}

func (m *testNode) write(level consistency.Level, mut row.Mutation) error {
	ch := make(chan error, 1)
	m.coordinator.Write(context.Background(), &coordinator.WriteRequest{
		Level: level, Kind: coordinator.WriteSimple, Writes: []coordinator.Write{{Table: m.c.table, Mutation: mut}},
	}, func(err error) { ch <- err })
	return <-ch
}

// read gives the live rows of a partition as "clustering=value".
func (m *testNode) read(level consistency.Level, k string) ([]string, error) {
	rows, _, err := m.page(level, storage.ReadSpec{Storage: testStorage, Key: []byte(k), Token: vnodes.PartitionToken([]byte(k)), Now: 1})
	return rows, err
}

func (m *testNode) page(level consistency.Level, spec storage.ReadSpec) ([]string, *row.Position, error) {
	type answer struct {
		page []byte
		err  error
	}
	ch := make(chan answer, 1)
	m.coordinator.Read(context.Background(), &coordinator.ReadRequest{Level: level, Table: m.c.table, Spec: spec},
		func(page []byte, err error) { ch <- answer{page, err} })
	a := <-ch
	if a.err != nil {
		return nil, nil, a.err
	}
	return rowsOf(m.c.t, a.page)
}

func rowsOf(t *testing.T, page []byte) (out []string, stop *row.Position, err error) {
	t.Helper()
	var r row.PageReader
	r.Reset(page)
	for {
		ev, err := r.Next()
		if err != nil {
			return nil, nil, err
		}
		switch ev {
		case row.PageEnd:
			return out, r.Stop(), nil
		case row.PageRow:
			if cell, ok := r.Row.Find(1); ok && cell.LiveAt(1) {
				out = append(out, fmt.Sprintf("%s/%d=%s", r.Key, r.Clustering[1], cell.Value))
			}
		}
	}
}

// memStore is a naive store: sorted partitions of merged rows.
type memStore struct {
	mu         sync.Mutex
	partitions []*memPartition
	fail       error
	atHand     bool // ReadCached answers
	cached     int  // times that it did
}

type memPartition struct {
	token vnodes.Token
	key   []byte
	rows  []row.Entry
}

func (s *memStore) Apply(ms []row.Mutation, done func(error)) {
	s.mu.Lock()
	err := s.fail
	for i := range ms {
		if err == nil {
			err = s.apply(&ms[i])
		}
	}
	s.mu.Unlock()
	done(err)
}

func (s *memStore) apply(m *row.Mutation) error {
	at, ok := slices.BinarySearchFunc(s.partitions, m, func(p *memPartition, m *row.Mutation) int {
		if p.token != m.Token {
			return map[bool]int{true: -1, false: 1}[p.token < m.Token]
		}
		return bytes.Compare(p.key, m.Key)
	})
	if !ok {
		s.partitions = slices.Insert(s.partitions, at, &memPartition{token: m.Token, key: bytes.Clone(m.Key)})
	}
	p := s.partitions[at]
	for _, e := range m.Rows {
		i, ok := slices.BinarySearchFunc(p.rows, e, func(a, b row.Entry) int { return bytes.Compare(a.Clustering, b.Clustering) })
		if !ok {
			p.rows = slices.Insert(p.rows, i, row.Entry{Clustering: bytes.Clone(e.Clustering), Fragment: bytes.Clone(e.Fragment)})
			continue
		}
		merged, err := row.Merge(nil, p.rows[i].Fragment, e.Fragment)
		if err != nil {
			return err
		}
		p.rows[i].Fragment = merged
	}
	return nil
}

func (s *memStore) ReadCached(spec *storage.ReadSpec, buf []byte) ([]byte, bool) {
	if !s.atHand {
		return nil, false
	}
	page, err := s.Read(context.Background(), spec, buf)
	if err == nil {
		s.cached++
	}
	return page, err == nil
}

func (s *memStore) Read(_ context.Context, spec *storage.ReadSpec, buf []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var w row.PageWriter
	w.Reset(buf)
	rows := 0
	for _, p := range s.partitions {
		if !inSpec(spec, p) {
			continue
		}
		w.Partition(p.token, p.key, nil)
		live := 0
		for _, e := range p.rows {
			if spec.PartitionRows > 0 && live == spec.PartitionRows {
				break // without a stop, as storage does
			}
			w.Row(e.Clustering, e.Fragment)
			rows++
			if row.View(e.Fragment).LiveAt(spec.Now) {
				live++
			}
		}
		if spec.RowLimit > 0 && rows >= spec.RowLimit {
			return w.Finish(&row.Position{Token: p.token, Key: p.key, Done: true}), nil
		}
	}
	return w.Finish(nil), nil
}

func inSpec(spec *storage.ReadSpec, p *memPartition) bool {
	if spec.Key != nil {
		return bytes.Equal(spec.Key, p.key)
	}
	if a := spec.After; a != nil && (p.token < a.Token || p.token == a.Token && bytes.Compare(p.key, a.Key) <= 0) {
		return false
	}
	return spec.Range.Contains(p.token)
}
