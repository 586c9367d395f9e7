// Package gossip is membership over memberlist: who is alive, and the newest metadata epoch. It decides nothing.
// Subpackage metalog holds the cluster's metadata. It may import vnodes, node/rpc, node/metrics, node/fault. Start
// reading at Members.
package gossip

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"nodedb/vnodes"
)

// PeersKey is where Store keeps what PutPeers was given: GetSystem reads it at the start.
const PeersKey = "gossip/peers"

// Store keeps the peer list across restarts.
type Store interface {
	GetSystem(key string) ([]byte, error)
	PutPeers(value []byte) error
}

// Options of Start.
type Options struct {
	Self      vnodes.HostID
	Address   string   // IP that others reach us at
	Port      int      // gossip port (7001 by default: TCP and UDP)
	ClusterID [16]byte // memberlist's label: others are not heard
	Seeds     []string // IPs: last known peers and the metadata log's members
	Store     Store
	Logger    *slog.Logger
	// OnChange tells that a node came up or went down (not called for oneself), from one goroutine, in order. A node
	// that is up at another address is told once more. Changes that undo each other before they could be told are not
	// told.
	OnChange func(id vnodes.HostID, address string, up bool)
	// OnEpoch tells that a peer has seen a metadata epoch, from the same goroutine.
	OnEpoch func(id vnodes.HostID, epoch uint64)
	// Members gives the current addresses of the metadata log's members: the re-join loop tries those that are not seen.
	Members func() map[vnodes.HostID]string

	// Timing: zero fields take the defaults.
	Timing Timing
	// Wire replaces the UDP and TCP sockets of Address and Port, for simulation.
	Wire OpenWire
	// Generation makes what we say after a restart newer than what we said before: larger at each start. Default: the
	// wall clock in µs.
	Generation uint64
}

// Timing of failure detection and spreading.
//
// A node that dies is suspected after at most two probes (of the survivors in turn), confirmed by a second survivor's
// probe, and declared dead suspicionMult × max(1, log10 nodes) × Probe after the first suspicion: with the defaults 2
// to 3 s. Without a second accuser it takes up to suspicionMaxMult times as long, so that one node with bad connections
// doesn't bury others. A suspected node that lives has the same time to object.
type Timing struct {
	Probe        time.Duration // between probes of one node after the other; default 400 ms
	ProbeTimeout time.Duration // for the direct answer, before others are asked to probe too; default 200 ms
	Gossip       time.Duration // between rounds of spreading news; default 100 ms
	PushPull     time.Duration // between exchanges of the whole state with one random node; default 15 s
	ToTheDead    time.Duration // how long news is still sent to a dead node, so that it may object; default 30 s
	Rejoin       time.Duration // between attempts to reach members that are not seen; default 3 s
	Stream       time.Duration // bounds a connection of push/pull and of joining; default 2 s
}

const (
	suspicionMult    = 3
	suspicionMaxMult = 3
	// leaveTimeout bounds how long Leave waits for its goodbye to be sent.
	leaveTimeout = time.Second
)

func (t *Timing) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Probe, 400 * time.Millisecond}, {&t.ProbeTimeout, 200 * time.Millisecond}, {&t.Gossip, 100 * time.Millisecond},
		{&t.PushPull, 15 * time.Second}, {&t.ToTheDead, 30 * time.Second}, {&t.Rejoin, 3 * time.Second}, {&t.Stream, 2 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// Members is the local view of who is alive.
//
// memberlist calls back under its own lock, so its callbacks only note what happened in view; a goroutine of ours tells
// OnChange and OnEpoch, and another re-joins. memberlist's own goroutines end with Shutdown, though it doesn't wait for
// the last of them; after Stop they reach nobody.
type Members struct {
	opts Options
	list *memberlist.Memberlist
	view view
	news *newsroom
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// Start joins the gossip and keeps re-joining members that are not seen, every few seconds, for ever.
func Start(o Options) (*Members, error) {
	o.Timing.setDefaults()
	if o.Generation == 0 {
		o.Generation = uint64(time.Now().UnixMicro())
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	known, err := loadPeers(o.Store)
	if err != nil {
		return nil, err
	}
	m := &Members{opts: o, stop: make(chan struct{})}
	m.view.init(o.Self)
	m.news = newNewsroom(o.Self, o.Generation, &m.view, m.size)
	conf := m.config()
	switch ip := net.ParseIP(o.Address); {
	case o.Wire != nil:
		if conf.Transport, err = newTransport(o.Wire, o.Address, o.Port); err != nil {
			return nil, err
		}
	case ip != nil && ip.IsLoopback() && o.Port != 0:
		if conf.Transport, err = newSockets(conf); err != nil {
			return nil, fmt.Errorf("gossip: listen on %s: %w", net.JoinHostPort(o.Address, strconv.Itoa(o.Port)), err)
		}
	}
	if m.list, err = memberlist.Create(conf); err != nil {
		return nil, fmt.Errorf("gossip: listen on %s: %w", net.JoinHostPort(o.Address, strconv.Itoa(o.Port)), err)
	}
	m.view.confirm(m.doubt)
	m.wg.Go(m.tell)
	m.wg.Go(func() { m.rejoin(known) })
	return m, nil
}

func (m *Members) config() *memberlist.Config {
	o, t := &m.opts, &m.opts.Timing
	c := memberlist.DefaultLANConfig()
	c.Name = o.Self.String()
	c.Label = hex.EncodeToString(o.ClusterID[:])
	c.BindAddr, c.AdvertiseAddr = o.Address, o.Address
	c.BindPort, c.AdvertisePort = o.Port, o.Port
	c.ProbeInterval, c.ProbeTimeout = t.Probe, t.ProbeTimeout
	c.GossipInterval, c.GossipToTheDeadTime = t.Gossip, t.ToTheDead
	c.PushPullInterval, c.TCPTimeout = t.PushPull, t.Stream
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	c.RetransmitMult = retransmitMult
	c.DeadNodeReclaimTime = t.Probe // a member may come back at another address; the metadata log says whether it may stay
	c.EnableCompression = false     // news is small
	c.Delegate = m.news
	c.Events, c.Alive, c.Conflict = &m.view, &m.view, &m.view
	c.Logger = debugLogger(o.Logger)
	m.view.logger = o.Logger
	return c
}

// size is the number of nodes that news is spread among.
func (m *Members) size() int { return len(*m.view.alive.Load()) + 1 }

// Alive reports whether id is believed up (oneself is). O(1), lock-free reads.
func (m *Members) Alive(id vnodes.HostID) bool {
	_, ok := (*m.view.alive.Load())[id]
	return ok || id == m.opts.Self
}

// SetEpoch spreads the newest epoch we applied.
func (m *Members) SetEpoch(epoch uint64) { m.news.update(func(n *news) { n.epoch = epoch }, true) }

// SetLoad tells others how many bytes we store. It travels with the next epoch or exchange of states, not at once.
func (m *Members) SetLoad(bytes uint64) { m.news.update(func(n *news) { n.load = bytes }, false) }

// Load gives what a node last told of its bytes; false: nothing yet.
func (m *Members) Load(id vnodes.HostID) (bytes uint64, ok bool) {
	n, ok := m.news.of(id)
	return n.load, ok
}

// Port is the gossip port, also when 0 was asked for.
func (m *Members) Port() int { return int(m.list.LocalNode().Port) }

// Leave says goodbye (others see us as down at once), then stops. Where nobody takes the goodbye in time, others find
// out by themselves.
func (m *Members) Leave() error {
	select {
	case <-m.stop:
		return nil
	default:
	}
	if err := m.list.Leave(leaveTimeout); err != nil {
		m.opts.Logger.Debug("gossip: goodbye not sent", "error", err)
	}
	return m.Stop()
}

// Stop stops without a goodbye.
func (m *Members) Stop() (err error) {
	m.once.Do(func() {
		close(m.stop)
		m.view.close()
		err = m.list.Shutdown()
		m.wg.Wait()
	})
	return err
}

// tell calls OnChange and OnEpoch with what changed since they were last called.
func (m *Members) tell() {
	told := map[vnodes.HostID]fact{}
	for {
		select {
		case <-m.stop:
			return
		case <-m.view.wake:
		}
		for _, id := range m.view.takeDirty() {
			now, before := m.view.fact(id), told[id]
			if now == (fact{}) {
				delete(told, id)
			} else {
				told[id] = now
			}
			m.tellOne(id, before, now)
		}
	}
}

func (m *Members) tellOne(id vnodes.HostID, before, now fact) {
	if now.up != before.up || now.up && now.address != before.address {
		address := cmp.Or(now.address, before.address)
		m.opts.Logger.Debug("gossip: node seen", "host_id", id, "address", address, "up", now.up)
		if m.opts.OnChange != nil {
			m.opts.OnChange(id, address, now.up)
		}
	}
	if now.epoch != before.epoch && now.epoch != 0 && m.opts.OnEpoch != nil {
		m.opts.OnEpoch(id, now.epoch)
	}
}
