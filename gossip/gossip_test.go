package gossip

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

func hostID(i int) vnodes.HostID { return vnodes.HostID{0: byte(i), 15: 1} }

func address(i int) string { return fmt.Sprintf("10.1.0.%d", i) }

// memory is a Store.
type memory struct {
	sync.Mutex
	value []byte
}

func (s *memory) GetSystem(string) ([]byte, error) {
	s.Lock()
	defer s.Unlock()
	return s.value, nil
}

func (s *memory) PutPeers(v []byte) error {
	s.Lock()
	defer s.Unlock()
	s.value = v
	return nil
}

func TestKilledNodeIsSeenDownInSeconds(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		inBubble(t, n, func(b *bench) {
			if !b.nodes[1].Alive(hostID(1)) || b.nodes[1].Alive(hostID(99)) {
				t.Error("oneself is alive and a stranger isn't")
			}
			time.Sleep(5 * time.Second)
			b.kill(2)
			took := b.await(4*time.Second, "the death to be seen", func() bool { return b.agree(n) })
			t.Logf("%d nodes: a kill was seen by all after %v", n, took)
			if took < time.Second {
				t.Errorf("down after %v: a short pause would be a death", took)
			}
			b.start(2, nil)
			took = b.await(5*time.Second, "the restart to be seen", func() bool { return b.agree(n) })
			t.Logf("%d nodes: a restart was seen by all after %v", n, took)
			time.Sleep(time.Second)
			b.Lock()
			defer b.Unlock()
			last := b.events[len(b.events)-2:]
			if last[0] != "2 10.1.0.2 false" || last[1] != "2 10.1.0.2 true" {
				t.Errorf("node 1 was told %q", b.events)
			}
		})
	}
}

func TestGoodbyeIsSeenAtOnce(t *testing.T) {
	inBubble(t, 3, func(b *bench) {
		if err := b.nodes[2].Leave(); err != nil {
			t.Fatal(err)
		}
		delete(b.nodes, 2)
		took := b.await(time.Second, "the goodbye", func() bool { return b.agree(3) })
		t.Logf("a goodbye was seen by all %v after Leave returned", took)
		b.start(2, nil)
		b.await(5*time.Second, "the return", func() bool { return b.agree(3) })
	})
}

// FAULTS.md row 12: two halves, cut for longer than memberlist remembers the dead, find each other again.
func TestLongPartitionHeals(t *testing.T) {
	for _, cut := range []time.Duration{20 * time.Second, 2 * time.Minute, 5 * time.Minute} {
		inBubble(t, 6, func(b *bench) {
			b.net.Partition([]string{address(1), address(2), address(3)}, []string{address(4), address(5), address(6)})
			b.await(20*time.Second, "each half to see the other dead", func() bool {
				return !b.nodes[1].Alive(hostID(4)) && !b.nodes[4].Alive(hostID(1)) && !b.nodes[3].Alive(hostID(6))
			})
			time.Sleep(cut)
			if !b.nodes[1].Alive(hostID(3)) || !b.nodes[5].Alive(hostID(6)) {
				t.Error("a half lost its own")
			}
			b.nodes[1].SetEpoch(77)
			b.net.HealAll()
			took := b.await(30*time.Second, "both halves to see all", func() bool { return b.agree(6) })
			t.Logf("a cut of %v was healed after %v", cut, took)
			b.await(20*time.Second, "the epoch to cross", func() bool { return b.heard(6, 1) == 77 })
		})
	}
}

func (b *bench) heard(by, of int) uint64 {
	b.Lock()
	defer b.Unlock()
	return b.epochs[[2]int{by, of}]
}

func TestEpochAndLoadSpread(t *testing.T) {
	inBubble(t, 5, func(b *bench) {
		b.nodes[3].SetLoad(12345)
		b.nodes[3].SetEpoch(9)
		took := b.await(2*time.Second, "epoch 9 to spread", func() bool {
			return b.heard(1, 3) == 9 && b.heard(2, 3) == 9 && b.heard(4, 3) == 9 && b.heard(5, 3) == 9
		})
		t.Logf("an epoch reached all after %v", took)
		for _, i := range []int{1, 3, 5} {
			if load, ok := b.nodes[i].Load(hostID(3)); !ok || load != 12345 {
				t.Errorf("node %d knows load %d, %v", i, load, ok)
			}
		}
		// A restart with a wall clock that went back still gets through.
		b.kill(3)
		b.await(5*time.Second, "the death", func() bool { return b.agree(5) })
		b.start(3, func(o *Options) { o.Generation = 1 }).SetEpoch(10)
		b.await(20*time.Second, "epoch 10 to spread", func() bool { return b.heard(1, 3) == 10 && b.heard(5, 3) == 10 })
		// A node that was away learns the epochs from an exchange of states, without a broadcast.
		b.kill(5)
		b.await(5*time.Second, "the death", func() bool { return b.agree(5) })
		b.Lock()
		clear(b.epochs)
		b.Unlock()
		b.start(5, nil)
		b.await(20*time.Second, "the states to be exchanged", func() bool { return b.heard(5, 3) == 10 })
	})
}

// Each word reaches everybody by packets alone, but for one in thousands: a missed objection is a false death. With
// memberlist's own retransmitMult about ten of these words miss somebody.
func TestNewsMissesNobody(t *testing.T) {
	inBubble(t, 8, func(b *bench) {
		missed := 0
		for epoch := uint64(1); epoch <= 200; epoch++ {
			b.nodes[1].SetEpoch(epoch)
			time.Sleep(time.Second)
			for i := 2; i <= 8; i++ {
				if b.heard(i, 1) != epoch {
					missed++
				}
			}
		}
		if missed > 1 {
			t.Errorf("of 200 words to 7 nodes %d did not arrive within a second", missed)
		}
	})
}

// Another cluster on the same addresses, and a copy of our data directory, are not heard.
func TestStrangersAreNotHeard(t *testing.T) {
	inBubble(t, 2, func(b *bench) {
		other := b.start(7, func(o *Options) {
			o.ClusterID = [16]byte{2}
			o.Members = func() map[vnodes.HostID]string { return map[vnodes.HostID]string{hostID(1): address(1)} }
		})
		twin := b.start(8, func(o *Options) { o.Self = hostID(2) })
		time.Sleep(time.Minute)
		if b.nodes[1].Alive(hostID(7)) || other.Alive(hostID(1)) {
			t.Error("nodes of two clusters see each other")
		}
		if got := b.nodes[1].view.up()[hostID(2)]; got != address(2) {
			t.Errorf("node 2 is at %s now", got)
		}
		if _, known := twin.view.up()[hostID(2)]; known {
			t.Error("the copy sees itself as another")
		}
		b.Lock()
		defer b.Unlock()
		for _, e := range b.events {
			if e != "2 10.1.0.2 true" {
				t.Errorf("node 1 was told %q", e)
			}
		}
	})
}

// Where the metadata log gives no members, the stored list is enough to find the cluster again.
func TestStoredPeersAreTried(t *testing.T) {
	inBubble(t, 3, func(b *bench) {
		stored := func() map[vnodes.HostID]string {
			raw, _ := b.stores[3].GetSystem(PeersKey)
			peers, err := decodePeers(raw)
			if err != nil {
				t.Fatal(err)
			}
			return peers
		}
		b.await(10*time.Second, "peers to be stored", func() bool { return len(stored()) == 2 })
		if p := stored(); p[hostID(1)] != address(1) || p[hostID(2)] != address(2) {
			t.Fatalf("stored %v", p)
		}
		for i := 1; i <= 3; i++ {
			b.kill(i)
		}
		for i := 1; i <= 3; i++ { // only node 3 knows anybody
			b.start(i, func(o *Options) {
				o.Members = nil
				if i != 3 {
					o.Store = nil
				}
			})
		}
		b.await(10*time.Second, "the stored peers to be found", func() bool { return b.agree(3) })
	})
}

// Who is no member any more is forgotten: the tables don't grow with all that ever was.
func TestFormerMembersAreForgotten(t *testing.T) {
	inBubble(t, 4, func(b *bench) {
		b.nodes[4].SetEpoch(3)
		b.await(2*time.Second, "news of 4", func() bool { return b.heard(1, 4) == 3 })
		b.kill(4)
		b.await(5*time.Second, "the death", func() bool { return b.agree(4) })
		b.Lock()
		b.n = 3 // removed from the log
		b.Unlock()
		b.await(10*time.Second, "it to be forgotten", func() bool { return !b.nodes[1].view.known(hostID(4)) })
		if _, ok := b.nodes[1].Load(hostID(4)); ok {
			t.Error("its news is still kept")
		}
		b.await(10*time.Second, "the stored list to drop it", func() bool {
			peers, err := decodePeers(b.stores[1].value)
			_, there := peers[hostID(4)]
			return err == nil && !there && len(peers) == 2
		})
	})
}

// FAULTS.md row 34's plainer sister: five minutes at 5% lost packets, and nobody is declared dead.
func TestNoFalseDeathsUnderLoss(t *testing.T) {
	inBubble(t, 5, func(b *bench) {
		b.net.SetFaults(simnet.Faults{Drop: 0.05})
		b.Lock()
		before := len(b.events)
		b.Unlock()
		time.Sleep(5 * time.Minute)
		b.Lock()
		defer b.Unlock()
		if len(b.events) != before {
			t.Errorf("told: %q", b.events[before:])
		}
	})
}

// Over real sockets: two nodes find each other by a seed, and a goodbye is heard.
func TestSockets(t *testing.T) {
	type change struct {
		id vnodes.HostID
		up bool
	}
	seen := make(chan change, 10)
	start := func(i, port int, o Options) *Members {
		o.Self, o.Address, o.Port, o.ClusterID = hostID(i), fmt.Sprintf("127.62.1.%d", i), port, [16]byte{1}
		o.Logger = slog.New(slog.DiscardHandler)
		m, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Stop() })
		return m
	}
	one := start(1, 0, Options{OnChange: func(id vnodes.HostID, _ string, up bool) { seen <- change{id, up} }})
	knows := make(chan change, 10)
	two := start(2, one.Port(), Options{
		Seeds: []string{"127.62.1.1"}, OnChange: func(id vnodes.HostID, _ string, up bool) { knows <- change{id, up} },
	})
	if c := <-knows; c != (change{hostID(1), true}) {
		t.Fatalf("node 2 was told %v", c)
	}
	if c := <-seen; c != (change{hostID(2), true}) || !one.Alive(hostID(2)) {
		t.Fatalf("node 1 was told %v", c)
	}
	if err := two.Leave(); err != nil {
		t.Fatal(err)
	}
	if c := <-seen; c != (change{hostID(2), false}) || one.Alive(hostID(2)) {
		t.Fatalf("node 1 was told %v", c)
	}
	if err := two.Leave(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{Self: hostID(3), Address: "127.62.1.1", Port: one.Port(), Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("two nodes share a port")
	}
}
