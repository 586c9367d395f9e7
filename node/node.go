// Package node is the roof: it wires one machine's storage, clock, transport, metadata log, gossip, coordinator, query engine and doors
// together, and takes the node through start, join, and drain. It may import everything below it. Start reading at Start.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nodedb/antientropy"
	"nodedb/coordinator"
	"nodedb/coordinator/batchlog"
	"nodedb/coordinator/replica"
	"nodedb/gossip"
	"nodedb/gossip/metalog"
	"nodedb/hints"
	"nodedb/node/clock"
	"nodedb/node/config"
	"nodedb/node/disk"
	"nodedb/node/metrics"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/node/wake"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// ErrOtherCluster says that the data directory belongs to a cluster of another name.
var ErrOtherCluster = errors.New("the data directory belongs to another cluster")

// Options of Start.
type Options struct {
	Config  *config.Config
	FS      disk.FS // disk.Real() by default
	Host    Host    // what the machine gives; zero: the real one
	Logger  *slog.Logger
	Release string // nodedb's version
	// Progress gets a line now and then while the node waits for others to found a cluster with.
	Progress func(string)
	// Fatal is called once when the node can't go on: the process must end.
	Fatal func(error)
}

// Node is a running node.
//
// It is built bottom up, and everything that others can reach is registered before the transport serves:
//
//	engine → clock → transport → metadata log → hints, replica, coordinator → (found or join) → gossip → settle → doors
//
// It is taken down in the opposite order (Close).
type Node struct {
	Options
	logger      *slog.Logger
	engine      *storage.Engine
	clock       *clock.HLC
	transport   Transport
	log         *metalog.Log
	hints       *hints.Store
	replica     *replica.Replica
	coordinator *coordinator.Coordinator
	batches     *batchlog.Log
	repairer    *antientropy.Repairer
	cluster     *cluster
	gossip      Membership
	metrics     *metrics.Registry
	doors       doors
	cork        wake.Cork // of all that hands bursts on: doors, transport, replica
	pending     pendingTables
	suspected   chan struct{} // has the clock judged (skew.go)
	judging     sync.Mutex    // one judgement at a time
	verdict     clock.Verdict // the last one; under judging
	clockSaid   time.Time     // when the log told of the clock; under judging
	ready       atomic.Bool
	stop        context.CancelFunc
	background  sync.WaitGroup
	fatalOnce   sync.Once
	applying    sync.Mutex // one state at a time is published
}

// Start opens the node's data, founds or joins its cluster, and opens the doors. It returns once requests are answered, or with the reason why not;
// then nothing is left running. ctx bounds the start (waiting for other founders, too), not the node's life.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if o.FS == nil {
		o.FS = disk.Real()
	}
	o.Host = o.Host.withDefaults()
	n := &Node{Options: o, logger: o.Logger, metrics: metrics.NewRegistry(), suspected: make(chan struct{}, 1)}
	life, stop := context.WithCancel(context.Background())
	n.stop = stop
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close(context.Background()))
		}
	}()
	peers, err := n.resolve(ctx)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{n.openDoors, n.openStore, n.openTransport, n.openCluster} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	restarted := n.log.State() != nil
	if err := n.enter(ctx, peers); err != nil {
		return nil, err
	}
	m, ok := n.log.State().Member(n.cluster.self)
	if err := n.checkClock(ctx, ok && m.State != vnodes.StateNormal); err != nil {
		return nil, err
	}
	if err := n.startGossip(); err != nil {
		return nil, err
	}
	n.goBackground(func() { n.hints.Run(life) })
	n.goBackground(func() { n.settle(life) })
	n.goBackground(func() { n.refill(life) })
	n.goBackground(func() { n.watchClock(life) })
	n.goBackground(func() { n.repairer.Run(life) })
	n.goBackground(func() { n.batches.Run(life) })
	if restarted {
		n.catchUp(ctx)
	}
	if err := n.serveDoors(); err != nil {
		return nil, err
	}
	n.ready.Store(true)
	return n, nil
}

// catchUpTimeout is how long a node that restarts asks for what was decided meanwhile before it opens its doors anyway: without a majority of the
// voters, reads and writes go on.
const catchUpTimeout = 2 * time.Second

// catchUp applies what was decided while the node was down, or a client that asks this node first could see a table that was truncated since.
func (n *Node) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	if err := n.log.CatchUp(ctx); err != nil {
		n.logger.Warn("the schema and the ring here may be old until other nodes are heard", "epoch", n.log.State().Epoch, "why", err)
	}
}

func (n *Node) goBackground(f func()) {
	n.background.Add(1)
	go func() {
		defer n.background.Done()
		f()
	}()
}

func (n *Node) fatal(err error) {
	n.fatalOnce.Do(func() {
		n.logger.Error("the node can't go on", "why", err)
		n.Fatal(err)
	})
}

// resolve turns the founding list into addresses; a name that doesn't resolve is an error.
func (n *Node) resolve(ctx context.Context) ([]rpc.Peer, error) {
	var peers []rpc.Peer
	for _, name := range n.Config.Join {
		ips, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("--join %s does not resolve: %w", name, err)
		}
		if ips[0] == n.Config.Listen {
			continue
		}
		peers = append(peers, rpc.Peer{Addr: net.JoinHostPort(ips[0], strconv.Itoa(n.Config.StoragePort))})
	}
	return peers, nil
}

func (n *Node) openStore() error {
	mode := storage.SyncBatch
	if n.Config.CommitlogSync == "periodic" {
		mode = storage.SyncPeriodic
	}
	engine, err := storage.Open(storage.Options{
		FS: n.FS, Dir: filepath.Join(n.Config.Data, "store"), Sync: mode, SyncPeriod: time.Duration(n.Config.CommitlogSyncPeriod),
		CacheBytes: int64(n.Config.CacheSize), RowBytes: int64(n.Config.RowCacheSize), Logger: n.logger, Fatal: n.fatal, Metrics: n.metrics,
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", n.Config.Data, err)
	}
	n.engine = engine
	sys := system{engine}
	ceiling, err := sys.ceiling()
	if err != nil {
		return err
	}
	n.clock, err = clock.New(clock.Options{Wall: n.Host.Wall, Ceiling: ceiling, Persist: sys.putCeiling, Suspect: n.suspectClock})
	return err
}

func (n *Node) openTransport() error {
	id, err := system{n.engine}.hostID(n.Host.NewID)
	if err != nil {
		return err
	}
	n.transport, err = n.Host.Transport(net.JoinHostPort(n.Config.Listen, strconv.Itoa(n.Config.StoragePort)), rpc.Options{
		Identity: rpc.Identity{HostID: id, ClusterName: n.Config.ClusterName}, Logger: n.logger, Cork: &n.cork,
	})
	if err != nil {
		return busy("storage_port", err)
	}
	n.cluster = &cluster{
		settings: n.Config.Values(),
		self:     id, name: n.Config.ClusterName, release: cassandraRelease, transport: n.transport, clock: n.clock,
		storagePort: n.Config.StoragePort, nativePort: n.Config.NativeTransportPort,
	}
	self, _ := netip.ParseAddr(n.Config.Listen)
	n.cluster.traces = trace.New(netip.AddrPortFrom(self, uint16(n.Config.StoragePort)), n.Host.Wall, n.cluster.shareTrace)
	n.cluster.view.Store(coordinator.NewView(0, vnodes.NewRing(0, nil), schema.Empty()))
	return nil
}

// openCluster loads the metadata log and wires the request path; then the transport serves.
func (n *Node) openCluster() (err error) {
	c := n.cluster
	n.log, err = metalog.Open(metalog.Options{
		Self: c.self, Name: c.name, Store: system{n.engine}, Transport: n.transport, MetaPort: c.storagePort, Logger: n.logger,
		Node: vnodes.Node{ID: c.self, Address: n.Config.Listen, DC: n.Config.Datacenter, Rack: n.Config.Rack, Weight: n.Config.NumTokens},
		Now:  n.Host.Wall, NewID: n.Host.NewID, OnApply: n.applied, Fatal: n.fatal,
	})
	if err != nil {
		return err
	}
	c.log = n.log
	if st := n.log.State(); st != nil {
		if st.Name != n.Config.ClusterName {
			return fmt.Errorf("%w: %s holds data of cluster %q, but cluster_name is %q", ErrOtherCluster, n.Config.Data, st.Name, n.Config.ClusterName)
		}
		n.applied(st, schema.Target{})
		n.markPending(st.Catalog)
	}
	n.hints, err = hints.Open(hints.Options{
		FS: n.FS, Dir: n.FS.PathJoin(n.Config.Data, "hints"), MaxBytes: int64(n.Config.MaxHintsSizePerHost),
		MaxAge: time.Duration(n.Config.MaxHintWindow), BytesPerSecond: int64(n.Config.HintedHandoffRate),
		Now:    func() time.Time { return time.UnixMicro(n.clock.Time()) }, // a wall clock that jumps must not age hints
		Logger: n.logger, Deliver: n.deliverHints, Alive: n.takesHints, Foreground: n.foreground, Metrics: n.metrics, Fatal: n.fatal,
		Lost: func(id vnodes.HostID) { n.repairer.LostHints(id) }, // Run tells, when there is one
	})
	if err != nil {
		return err
	}
	n.replica = replica.New(replica.Options{Self: c.self, Store: n.engine, Cluster: c, Clock: n.clock, Pending: n.pending.Contains,
		Admission: &c.admission, Cork: &n.cork})
	if err := n.openBatchLog(); err != nil {
		return err
	}
	n.coordinator = coordinator.New(coordinator.Options{
		Self: c.self, DC: n.Config.Datacenter, Cluster: c, Transport: n.transport, Local: n.replica, Hints: n.hints, BatchLog: n.batches, Clock: n.clock,
		Admission:    &c.admission,
		Traces:       c.traces,
		Random:       n.Host.Random,
		NewID:        n.Host.NewID,
		WriteTimeout: time.Duration(n.Config.WriteRequestTimeout), ReadTimeout: time.Duration(n.Config.ReadRequestTimeout),
		RangeTimeout: time.Duration(n.Config.RangeRequestTimeout),
	})
	c.coordinator = n.coordinator
	n.replica.Register(n.transport)
	n.batches.Register(n.transport)
	n.transport.Handle(rpc.VerbApplied, c.handleApplied)
	n.transport.Handle(rpc.VerbStatus, n.handleStatus)
	n.transport.Handle(rpc.VerbTrace, c.handleTrace)
	n.transport.Handle(rpc.VerbPing, func(in *rpc.Inbound) { in.Reply(nil, nil) })
	if err := n.openRepair(); err != nil {
		return err
	}
	n.transport.Serve()
	return nil
}

// applied publishes a state of the metadata log: storage first, so that what a view names exists.
//
// The log's goroutine may be ahead of the state that Start found when it opened the log: an older state changes nothing.
func (n *Node) applied(st *metalog.State, target schema.Target) {
	n.applying.Lock()
	defer n.applying.Unlock()
	if n.cluster.View().Epoch > st.Epoch {
		return
	}
	tables := map[row.StorageID]storage.TableKind{}
	for _, ks := range st.Catalog.Keyspaces {
		for _, t := range ks.Tables {
			tables[t.Storage] = storage.OnDisk
			if t.Options.Memory {
				tables[t.Storage] = storage.InMemory
			}
		}
	}
	if err := n.engine.SetTables(tables, st.Catalog.Highest); err != nil {
		n.fatal(fmt.Errorf("apply schema of epoch %d: %w", st.Epoch, err))
		return
	}
	before := n.cluster.View()
	n.cluster.view.Store(coordinator.NewView(st.Epoch, st.Ring, st.Catalog))
	if g := n.cluster.members.Load(); g != nil {
		(*g).SetEpoch(st.Epoch)
	}
	n.notify(before, st, target)
}

// enter founds or joins a cluster, unless the node belongs to one already.
func (n *Node) enter(ctx context.Context, peers []rpc.Peer) error {
	if n.log.State() == nil {
		if err := n.log.FoundOrJoin(ctx, peers, n.Progress); err != nil {
			return err
		}
	}
	st := n.log.State()
	if err := n.settled(st); err != nil {
		return err
	}
	return n.transport.SetIdentity(rpc.Identity{HostID: n.cluster.self, ClusterName: st.Name, ClusterID: st.ClusterID})
}

// settled refuses settings that were decided when the node joined and that this release can't change: ignoring them would hide a mistake.
func (n *Node) settled(st *metalog.State) error {
	m, ok := st.Member(n.cluster.self)
	if !ok {
		return nil
	}
	for _, s := range []struct{ name, was, is string }{
		{"datacenter", m.DC, n.Config.Datacenter}, {"rack", m.Rack, n.Config.Rack},
		{"num_tokens", strconv.Itoa(m.Weight), strconv.Itoa(n.Config.NumTokens)},
	} {
		if s.was != s.is {
			return fmt.Errorf("%s is %s, but this node joined with %s, and that can't be changed: set it back, or join as a new node with an empty data directory",
				s.name, s.is, s.was)
		}
	}
	return nil
}

func (n *Node) startGossip() error {
	st := n.log.State()
	var seeds []string
	for i := range st.Members {
		if st.Members[i].ID != n.cluster.self {
			seeds = append(seeds, st.Members[i].Address)
		}
	}
	g, err := n.Host.Membership(gossip.Options{
		Self: n.cluster.self, Address: n.Config.Listen, Port: n.Config.GossipPort, ClusterID: st.ClusterID, Seeds: seeds,
		Store: system{n.engine}, Logger: n.logger, OnChange: n.changed, OnEpoch: n.heard, Members: n.addresses,
	})
	if err != nil {
		return busy("gossip_port", err)
	}
	n.gossip = g
	n.cluster.members.Store(&g)
	g.SetEpoch(n.log.State().Epoch)
	return nil
}

func (n *Node) addresses() map[vnodes.HostID]string {
	st := n.log.State()
	out := make(map[vnodes.HostID]string, len(st.Members))
	for i := range st.Members {
		out[st.Members[i].ID] = st.Members[i].Address
	}
	return out
}

// changed takes gossip's news of a node.
func (n *Node) changed(id vnodes.HostID, address string, up bool) {
	n.logger.Info("node seen", "host_id", id, "address", address, "up", up)
	if up {
		if m, ok := n.log.State().Member(id); ok {
			n.transport.Retry(n.cluster.Peer(&m.Node))
		}
		n.hints.Wake(id)
		n.repairer.Suspect(id)
		n.suspectClock() // its clock may differ
	}
	n.announce(address, up)
}

// heard takes gossip's news of an epoch.
func (n *Node) heard(id vnodes.HostID, epoch uint64) {
	if m, ok := n.log.State().Member(id); ok {
		n.log.Heard(n.cluster.Peer(&m.Node), epoch)
	}
}

// busy says what to do when a port can't be had.
func busy(setting string, err error) error {
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fmt.Errorf("%w (listen has to be an address of this machine)", err)
	}
	return fmt.Errorf("%w (is another nodedb running here? set %s, or listen on another address)", err, setting)
}
