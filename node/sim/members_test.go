package sim

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"nodedb/gossip"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// verbBeat is the simulation's own: no wire knows it.
const verbBeat rpc.Verb = 250

// Timing of the seeded membership: about what gossip takes to notice a death.
const (
	beatEvery = 700 * time.Millisecond
	deadAfter = 2500 * time.Millisecond
)

// members is membership made of heartbeats over the simulated network: every node tells every other, now and then, that it is there and which epoch it has
// applied. It stands in for gossip.Members in the hashed runs: memberlist draws from the global math/rand.
type members struct {
	l    *life
	o    gossip.Options
	stop chan struct{}
	wake chan struct{}
	wg   sync.WaitGroup
	mu   struct {
		sync.Mutex
		closed bool
		epoch  uint64
		known  map[vnodes.HostID]*heard
		news   []func() // to be told, in order
	}
}

// heard is what is known of another node.
type heard struct {
	address string
	at      time.Time
	up      bool
	epoch   uint64
}

func joinMembers(l *life, o gossip.Options) *members {
	m := &members{l: l, o: o, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	m.mu.known = map[vnodes.HostID]*heard{}
	l.net.Handle(verbBeat, m.handle)
	m.wg.Go(m.beat)
	m.wg.Go(m.tell)
	return m
}

// beat sends heartbeats, each node at instants of its own.
func (m *members) beat() {
	for n := 0; ; n++ {
		m.send()
		m.expire()
		every := beatEvery + time.Duration(hash(m.l.m.w.seed, "beat", m.l.m.i, m.l.number, n)%uint64(beatEvery/4))
		select {
		case <-m.stop:
			return
		case <-time.After(every):
		}
	}
}

func (m *members) send() {
	m.mu.Lock()
	body := m.message()
	m.mu.Unlock()
	all := m.o.Members()
	addresses := make([]string, 0, len(all))
	for id, a := range all {
		if id != m.o.Self {
			addresses = append(addresses, a)
		}
	}
	slices.Sort(addresses)
	for _, a := range addresses {
		m.l.net.Send(&rpc.Call{To: rpc.Peer{Addr: a + address(0)[strings.Index(address(0), ":"):]}, Verb: verbBeat, Body: body, Timeout: beatEvery,
			Done: func(answer []byte, err error) {
				if err == nil {
					m.hear(answer)
				}
			}})
	}
}

// message tells of oneself: | host id 16 B | epoch u64 | address |. REQUIRES: mu.
func (m *members) message() []byte {
	b := append([]byte(nil), m.o.Self[:]...)
	b = binary.BigEndian.AppendUint64(b, m.mu.epoch)
	return append(b, m.o.Address...)
}

func (m *members) handle(in *rpc.Inbound) {
	m.hear(in.Body)
	m.mu.Lock()
	body := m.message()
	m.mu.Unlock()
	in.Reply(body, nil)
}

func (m *members) hear(b []byte) {
	id, epoch, from := vnodes.HostID(b[:16]), binary.BigEndian.Uint64(b[16:]), string(b[24:])
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return
	}
	h := m.mu.known[id]
	if h == nil {
		h = &heard{}
		m.mu.known[id] = h
	}
	h.at, h.address = time.Now(), from
	if !h.up {
		h.up = true
		m.news1(func() { m.o.OnChange(id, from, true) })
	}
	if epoch > h.epoch && !m.l.m.late() {
		h.epoch = epoch
		m.news1(func() { m.o.OnEpoch(id, epoch) })
	}
}

// expire takes nodes for dead that were not heard for long.
func (m *members) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []vnodes.HostID
	for id, h := range m.mu.known {
		if h.up && time.Since(h.at) > deadAfter {
			gone = append(gone, id)
		}
	}
	slices.SortFunc(gone, func(a, b vnodes.HostID) int { return strings.Compare(m.mu.known[a].address, m.mu.known[b].address) })
	for _, id := range gone {
		h := m.mu.known[id]
		h.up = false
		m.news1(func() { m.o.OnChange(id, h.address, false) })
	}
}

// news1 queues something to tell. REQUIRES: mu.
func (m *members) news1(f func()) {
	m.mu.news = append(m.mu.news, f)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// tell calls OnChange and OnEpoch, in order, from one goroutine.
func (m *members) tell() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.wake:
		}
		m.mu.Lock()
		news := m.mu.news
		m.mu.news = nil
		m.mu.Unlock()
		for _, f := range news {
			f()
		}
	}
}

// Alive implements node.Membership.
func (m *members) Alive(id vnodes.HostID) bool {
	if id == m.o.Self {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.mu.known[id]
	return h != nil && h.up
}

// SetEpoch implements node.Membership.
func (m *members) SetEpoch(epoch uint64) {
	m.mu.Lock()
	changed := epoch > m.mu.epoch && !m.mu.closed
	m.mu.epoch = max(epoch, m.mu.epoch)
	m.mu.Unlock()
	if changed {
		m.send()
	}
}

// Leave implements node.Membership. There is no goodbye: others find out by the silence.
func (m *members) Leave() error {
	m.mu.Lock()
	was := m.mu.closed
	m.mu.closed = true
	m.mu.Unlock()
	if !was {
		close(m.stop)
		m.wg.Wait()
	}
	return nil
}
