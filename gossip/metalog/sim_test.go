package metalog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// memStore is a synced store in memory that survives its node. It can crash inside the n-th write: that one may or may
// not have happened, and everything after it fails.
type memStore struct {
	mu      sync.Mutex
	m       map[string][]byte
	left    int // writes until the crash; below 0: none planned
	keep    bool
	crashed bool
	died    func() // told of the crash
	full    bool   // the disk
	space   int    // writes until the disk is full; 0: no end
}

var (
	errCrashed = errors.New("the machine is off")
	errFull    = errors.New("the disk is full")
)

func newStore() *memStore { return &memStore{m: map[string][]byte{}, left: -1} }

func (s *memStore) GetSystem(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.m[key]), nil
}

func (s *memStore) PutSystemMeta(pairs map[string][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashed {
		return errCrashed
	}
	if s.full {
		return errFull
	}
	if s.space > 0 {
		s.space--
		s.full = s.space == 0
	}
	if s.left > 0 {
		s.left--
	}
	crash := s.left == 0
	if !crash || s.keep {
		for k, v := range pairs {
			if v == nil {
				delete(s.m, k)
			} else {
				s.m[k] = bytes.Clone(v)
			}
		}
	}
	if crash {
		s.crashed = true
		s.died()
		return errCrashed
	}
	return nil
}

func (s *memStore) ScanSystem(prefix string, f func(key string, value []byte) bool) error {
	s.mu.Lock()
	pairs := maps.Clone(s.m)
	s.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		if strings.HasPrefix(k, prefix) && !f(k, bytes.Clone(pairs[k])) {
			break
		}
	}
	return nil
}

func (s *memStore) crashIn(writes int, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.keep = writes, keep
}

func (s *memStore) restart(died func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crashed, s.left, s.died = false, -1, died
}

func (s *memStore) fill(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full, s.space = full, 0
}

// fillAfter lets a number of writes pass before the disk is full.
func (s *memStore) fillAfter(writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.space = writes
}

// seeds is how many seeds the randomized tests try; a campaign takes thousands: go test ./gossip/metalog -run TestSim
// -timeout 0 -v -seeds 2000 -seed 1
var (
	seeds     = flag.Uint64("seeds", 6, "seeds of each randomized simulation")
	firstSeed = flag.Uint64("seed", 0, "the first of them")
)

const testPort = 7000

func ip(i int) string      { return fmt.Sprintf("10.0.0.%d", i) }
func address(i int) string { return fmt.Sprintf("%s:%d", ip(i), testPort) }

// machine is a node's disk and, while it runs, its log.
type machine struct {
	w       *world
	i       int
	host    vnodes.HostID
	name    string // cluster_name
	store   *memStore
	net     *simnet.Node
	log     *Log
	stop    context.CancelFunc
	entered chan error    // what FoundOrJoin gave
	died    chan struct{} // closed when the log halted, or the machine crashed
	mu      sync.Mutex
	ids     *rand.Rand
	said    []string // progress
	epochs  []uint64 // as OnApply told
}

// world is a simulated cluster.
type world struct {
	t        *testing.T
	net      *simnet.Network
	machines []*machine // 1..n
	rng      *rand.Rand // the test's own
	seed     uint64
	sent     atomic.Int64     // messages
	log      *strings.Builder // of every message's fate; nil: not kept
}

// simulate runs f with n machines that are off, in a bubble with virtual time.
func simulate(t *testing.T, n int, seed uint64, faults simnet.Faults, f func(w *world)) {
	simulateLogged(t, n, seed, faults, nil, f)
}

func simulateLogged(t *testing.T, n int, seed uint64, faults simnet.Faults, log *strings.Builder, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), machines: make([]*machine, n+1), log: log}
		w.net = simnet.New(simnet.Options{Seed: seed, Faults: faults, Settle: synctest.Wait, Observe: w.observe})
		for i := 1; i <= n; i++ {
			w.machines[i] = &machine{w: w, i: i, host: vnodes.HostID{15: byte(i)}, name: "test", store: newStore()}
		}
		f(w)
		for _, m := range w.machines[1:] {
			m.off()
		}
		w.net.Close()
	})
}

func (w *world) observe(d simnet.Delivery) {
	w.sent.Add(1)
	if w.log != nil {
		fmt.Fprintln(w.log, d.At.UnixNano(), d.From, d.To, d.Verb, d.Response, d.Size, d.Fate)
	}
}

// newID gives ids that differ, the same ones for a seed.
func (m *machine) newID() (id [16]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ids == nil {
		m.ids = rand.New(rand.NewPCG(m.w.seed, uint64(m.host[15])))
	}
	binary.BigEndian.PutUint64(id[:], m.ids.Uint64())
	binary.BigEndian.PutUint64(id[8:], m.ids.Uint64())
	return id
}

// jitter depends on the moment alone, so that it doesn't matter who of a machine draws first.
func (m *machine) jitter(n int64) int64 {
	rng := rand.New(rand.NewPCG(m.w.seed^uint64(time.Now().UnixNano()), uint64(m.host[15])))
	return rng.Int64N(n)
}

func (m *machine) identity() rpc.Identity {
	id := rpc.Identity{HostID: m.host, ClusterName: m.name}
	if m.log != nil && m.log.State() != nil {
		id.ClusterID = m.log.State().ClusterID
	}
	return id
}

// on starts the machine with a --join list (numbers of machines), in the background.
func (m *machine) on(join ...int) {
	m.net = m.w.net.Node(address(m.i), m.identityOff())
	m.died = make(chan struct{})
	var once sync.Once
	died := m.died
	die := func() { once.Do(func() { close(died) }) }
	m.store.restart(die)
	var err error
	m.log, err = Open(Options{
		Self: m.host, Name: m.name, Store: m.store, Transport: m.net, MetaPort: testPort, Now: time.Now, NewID: m.newID,
		Node:    vnodes.Node{ID: m.host, Address: ip(m.i), DC: "dc", Rack: fmt.Sprint("rack", m.i%3), Weight: 4},
		Jitter:  m.jitter,
		OnApply: func(s *State, _ schema.Target) { m.mu.Lock(); m.epochs = append(m.epochs, s.Epoch); m.mu.Unlock() },
		Fatal:   func(error) { die() },
	})
	if err != nil {
		m.w.t.Errorf("machine %d: %v", m.i, err)
		return
	}
	var peers []rpc.Peer
	for _, j := range join {
		if j != m.i {
			peers = append(peers, rpc.Peer{Addr: address(j)})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.entered = cancel, make(chan error, 1)
	_ = m.net.SetIdentity(m.identity())
	log, net, entered := m.log, m.net, m.entered
	go func() {
		err := log.FoundOrJoin(ctx, peers, m.say)
		if st := log.State(); err == nil && st != nil {
			_ = net.SetIdentity(rpc.Identity{HostID: m.host, ClusterName: m.name, ClusterID: st.ClusterID})
		}
		entered <- err
	}()
}

func (m *machine) identityOff() rpc.Identity {
	return rpc.Identity{HostID: m.host, ClusterName: m.name}
}

func (m *machine) say(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, s)
}

func (m *machine) lastSaid() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.said) == 0 {
		return ""
	}
	return m.said[len(m.said)-1]
}

// off pulls the plug.
func (m *machine) off() {
	if m.log == nil {
		return
	}
	m.stop()
	m.net.Close()
	m.log.Close()
	m.log = nil
}

// in waits until the machine belongs to a cluster.
func (m *machine) in() error {
	select {
	case err := <-m.entered:
		m.entered <- err
		return err
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("machine %d is still outside: %s", m.i, m.lastSaid())
	}
}

func keyspace(name string) *Entry {
	ch := schema.Change{Op: schema.CreateKeyspace, Keyspace: name, Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "1"}}
	return &Entry{Kind: EntrySchema, Change: ch.Append(nil)}
}

// agree waits until all running machines are at one epoch, and checks that their states are the same bytes.
func (w *world) agree() *State {
	w.t.Helper()
	var states []*State
	for range 600 {
		states = states[:0]
		newest := uint64(0)
		for _, m := range w.machines[1:] {
			if m.log != nil && m.log.State() != nil {
				states = append(states, m.log.State())
				newest = max(newest, m.log.State().Epoch)
			}
		}
		same := true
		for _, st := range states {
			same = same && st.Epoch == newest
		}
		if same && len(states) > 0 {
			break
		}
		w.gossip(newest)
		time.Sleep(100 * time.Millisecond)
	}
	if len(states) == 0 {
		w.t.Error("there is no cluster")
		return nil
	}
	want := states[0].Append(nil)
	for _, st := range states[1:] {
		if !bytes.Equal(st.Append(nil), want) {
			w.t.Errorf("states differ, at epochs %d and %d: %s", states[0].Epoch, st.Epoch, w.epochs())
		}
	}
	return states[0]
}

// epochs describes where the running machines are.
func (w *world) epochs() string {
	var b strings.Builder
	for _, m := range w.machines[1:] {
		if m.log != nil && m.log.State() != nil {
			fmt.Fprintf(&b, "machine %d at %d (voter: %v, stopped: %v) ", m.i, m.log.State().Epoch, m.log.State().IsVoter(m.host), m.log.stopped())
		}
	}
	return b.String()
}

// gossip tells everybody of the newest epoch, as gossip would.
func (w *world) gossip(newest uint64) {
	for _, from := range w.machines[1:] {
		if from.log == nil || from.log.State() == nil || from.log.State().Epoch != newest {
			continue
		}
		for _, m := range w.machines[1:] {
			if m.log != nil && m.log.State() != nil {
				m.log.Heard(rpc.Peer{ID: from.host, Addr: address(from.i)}, newest)
			}
		}
		return
	}
}

// entries gives the log that a machine has stored.
func (m *machine) entries() map[string][]byte {
	all := map[string][]byte{}
	_ = m.store.ScanSystem(prefixEntry, func(k string, v []byte) bool { all[k] = v; return true })
	return all
}

var lossy = simnet.Faults{Drop: 0.05, Duplicate: 0.05, MinDelay: time.Millisecond, MaxDelay: 40 * time.Millisecond}
