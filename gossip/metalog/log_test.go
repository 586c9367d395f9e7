package metalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

func TestAloneProposes(t *testing.T) {
	simulate(t, 1, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on()
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		st, target, err := m.log.Propose(context.Background(), keyspace("a"))
		if err != nil || st.Epoch != 2 || target.Keyspace != "a" || len(m.log.State().Ring.Nodes()) != 1 {
			t.Fatalf("%+v %v %v", st, target, err)
		}
		if _, _, err := m.log.Propose(context.Background(), keyspace("a")); err == nil || m.log.State().Epoch != 2 {
			t.Errorf("the same keyspace again: %v, epoch %d", err, m.log.State().Epoch)
		}
		m.off()
		m.on()
		if m.log.State().Epoch != 2 || m.in() != nil {
			t.Error("a restart forgot it")
		}
	})
}

// acked is what proposers were told.
type acked struct {
	mu      sync.Mutex
	yes     map[[16]byte]string // proposal to keyspace
	unknown map[[16]byte]string
}

// All nodes propose at once, over a bad network, while machines crash inside their writes: one sequence everywhere,
// every acknowledged proposal in it exactly once, others at most once.
func TestConcurrentProposersAndCrashes(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, 5, seed, lossy, func(w *world) {
				all := []int{1, 2, 3, 4, 5}
				for _, m := range w.machines[1:] {
					m.on(all...)
				}
				for _, m := range w.machines[1:] {
					if err := m.in(); err != nil {
						t.Fatal(err)
					}
				}
				a := &acked{yes: map[[16]byte]string{}, unknown: map[[16]byte]string{}}
				var proposers sync.WaitGroup
				for _, m := range w.machines[1:] {
					crash := w.rng.IntN(3) > 0
					writes, keep, pause := 1+w.rng.IntN(60), w.rng.IntN(2) == 0, time.Duration(w.rng.IntN(5000))*time.Millisecond
					if crash {
						m.store.crashIn(writes, keep)
					}
					proposers.Go(func() { m.propose(a, 10, pause) })
				}
				proposers.Wait()
				w.net.SetFaults(simnet.Faults{})
				for _, m := range w.machines[1:] {
					m.store.crashIn(-1, false)
					m.revive(0)
				}
				checkOneLog(t, w, a)
			})
		})
	}
}

// propose creates keyspaces, one after the other; where the machine dies it is started again.
func (m *machine) propose(a *acked, count int, pause time.Duration) {
	for k := range count {
		name := fmt.Sprintf("k%d_%d", m.i, k)
		e := keyspace(name)
		e.ID = m.newID()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_, _, err := m.log.Propose(ctx, e)
		cancel()
		a.mu.Lock()
		if err == nil {
			a.yes[e.ID] = name
		} else {
			a.unknown[e.ID] = name
		}
		a.mu.Unlock()
		if m.revive(pause) {
			if id := m.newID(); id[0]%2 == 0 { // and it crashes again
				m.store.crashIn(1+int(id[1])%60, id[2]%2 == 0)
			}
		}
	}
}

// revive starts the machine again if it is dead.
func (m *machine) revive(pause time.Duration) bool {
	select {
	case <-m.died:
		m.off()
		time.Sleep(pause)
		m.on(1, 2, 3, 4, 5)
		if err := m.in(); err != nil {
			m.w.t.Error(err)
		}
		return true
	default:
		return false
	}
}

func checkOneLog(t *testing.T, w *world, a *acked) {
	for _, m := range w.machines[1:] {
		if _, _, err := m.log.Propose(context.Background(), keyspace(fmt.Sprint("last", m.i))); err != nil {
			t.Errorf("machine %d can't propose on a quiet network: %v", m.i, err)
		}
	}
	st := w.agree()
	// A machine that got its first state whole lacks the entries before it; together they have all.
	count, all := map[[16]byte]int{}, map[string][]byte{}
	for _, m := range w.machines[1:] {
		for key, raw := range m.entries() {
			if other, ok := all[key]; ok && string(other) != string(raw) {
				t.Errorf("%s differs on machine %d", key, m.i)
			}
			all[key] = raw
		}
	}
	for _, raw := range all {
		e, err := DecodeEntry(raw)
		if err != nil {
			t.Fatal(err)
		}
		count[e.ID]++
	}
	if uint64(len(all)) != st.Epoch {
		t.Errorf("%d entries at epoch %d", len(all), st.Epoch)
	}
	for id, name := range a.yes {
		if count[id] != 1 {
			t.Errorf("keyspace %s was acknowledged, and is in the log %d times", name, count[id])
		}
		if _, ok := st.Catalog.Keyspaces[name]; !ok {
			t.Errorf("keyspace %s was acknowledged, and doesn't exist", name)
		}
	}
	for id, name := range a.unknown {
		if _, ok := st.Catalog.Keyspaces[name]; count[id] > 1 || ok != (count[id] == 1) {
			t.Errorf("keyspace %s is in the log %d times, exists: %v", name, count[id], ok)
		}
	}
	t.Logf("%d acknowledged, %d not, epoch %d", len(a.yes), len(a.unknown), st.Epoch)
	if len(a.yes) == 0 {
		t.Error("nothing was acknowledged: this tests nothing")
	}
}

// Without a majority: an error that names who is missing, and nothing is done. With it again, all goes on.
func TestNoQuorumNamesTheMissing(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Millisecond}, func(w *world) {
		w.foundAll(3)
		w.machines[2].off()
		w.machines[3].off()
		start := time.Now()
		_, _, err := w.machines[1].log.Propose(context.Background(), keyspace("a"))
		if !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), ip(2)) || !strings.Contains(err.Error(), ip(3)) || strings.Contains(err.Error(), ip(1)) {
			t.Errorf("%v", err)
		}
		t.Logf("after %v: %v", time.Since(start), err)
		w.machines[3].on(1, 2, 3)
		if _, _, err := w.machines[1].log.Propose(context.Background(), keyspace("a")); err != nil {
			t.Error(err)
		}
		w.agree()
	})
}

// foundAll starts machines 1 to n with the list of all, and waits.
func (w *world) foundAll(n int) {
	var list []int
	for i := 1; i <= n; i++ {
		list = append(list, i)
	}
	for _, i := range list {
		w.machines[i].on(list...)
	}
	for _, i := range list {
		if err := w.machines[i].in(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// A node that was away for longer than entries are kept gets a snapshot; one that was away shortly, the entries.
func TestCatchUp(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		away := w.machines[3]
		away.off()
		m := w.machines[1]
		many := keepEntries + 2*snapshotEvery
		for i := range many {
			e := &Entry{Kind: EntryVoters, Host: w.machines[3].host, Drop: i%2 == 0}
			if _, _, err := m.log.Propose(context.Background(), e); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(m.entries()); n > keepEntries+snapshotEvery {
			t.Errorf("%d entries are kept", n)
		}
		away.on(1, 2, 3)
		epoch := m.log.State().Epoch
		if err := away.log.WaitFor(context.Background(), rpc.Peer{ID: m.host, Addr: address(1)}, epoch); err != nil {
			t.Fatal(err)
		}
		w.agree()
		if len(away.epochs) > 10 {
			t.Errorf("applied %d states one by one instead of a snapshot", len(away.epochs))
		}
		for _, m := range w.machines[1:] {
			m.off()
			m.on(1, 2, 3)
		}
		if st := w.agree(); st.Epoch != epoch {
			t.Errorf("after a restart at epoch %d, not %d", st.Epoch, epoch)
		}
	})
}

// A node with an old state doesn't call a change invalid that the newest state allows, nor the other way round.
func TestProposeJudgesByTheNewestState(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		w.net.Partition([]string{address(3)}, []string{address(1), address(2)})
		if _, _, err := w.machines[1].log.Propose(context.Background(), keyspace("a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // what is under way is lost in the cut
		w.net.HealAll()
		if w.machines[3].log.State().Epoch != 1 {
			t.Fatal("machine 3 has heard of it already")
		}
		if _, _, err := w.machines[3].log.Propose(context.Background(), keyspace("a")); err == nil {
			t.Error("the keyspace was created twice")
		}
		if at := w.machines[3].log.State().Epoch; at != 2 {
			t.Errorf("machine 3 is at epoch %d", at)
		}
	})
}

// The steps of a node's life, with the rules on the way.
func TestJoinAndLeave(t *testing.T) {
	simulate(t, 4, 1, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond}, func(w *world) {
		w.foundAll(2)
		for _, i := range []int{3, 4} {
			w.machines[i].on(1)
			if err := w.machines[i].in(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, m3, m4 := context.Background(), w.machines[3], w.machines[4]
		move := func(m *machine, from, to vnodes.NodeState) error {
			_, _, err := m.log.Propose(ctx, &Entry{Kind: EntrySetState, Node: vnodes.Node{ID: m.host, State: to}, From: from})
			return err
		}
		if err := move(m3, vnodes.StateWaiting, vnodes.StateJoining); err != nil {
			t.Fatal(err)
		}
		if err := move(m4, vnodes.StateWaiting, vnodes.StateJoining); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "waits in line") {
			t.Errorf("two at once: %v", err)
		}
		for _, s := range [][2]vnodes.NodeState{{vnodes.StateJoining, vnodes.StateJoiningRead}, {vnodes.StateJoiningRead, vnodes.StateNormal}} {
			if err := move(m3, s[0], s[1]); err != nil {
				t.Fatal(err)
			}
		}
		st := m3.log.State()
		if e, ok := NextVoter(st); !ok || e.Host != m3.host {
			t.Errorf("next voter: %+v, %v", e, ok)
		} else if _, _, err := m3.log.Propose(ctx, &e); err != nil {
			t.Error(err)
		}
		if me, _ := m3.log.State().Member(m3.host); me.State != vnodes.StateNormal || len(me.Tokens) != 4 || len(m3.log.State().Voters) != 3 {
			t.Errorf("%+v, voters %v", me, m3.log.State().Voters)
		}
		for _, s := range [][2]vnodes.NodeState{{vnodes.StateNormal, vnodes.StateLeaving}, {vnodes.StateLeaving, vnodes.StateLeavingRead}} {
			if err := move(m3, s[0], s[1]); err != nil {
				t.Fatal(err)
			}
		}
		if st, _, err := w.machines[1].log.Propose(ctx, &Entry{Kind: EntryRemoveMember, Host: m3.host}); err != nil || len(st.Voters) != 2 || len(st.Members) != 3 {
			t.Errorf("remove: %v, %+v", err, st)
		}
		w.agree()
	})
}

// A change of the voters waits for a majority of the resulting ones.
func TestVotersChangeNeedsTheResultingMajority(t *testing.T) {
	simulate(t, 2, 1, simnet.Faults{}, func(w *world) {
		w.machines[1].on()
		if err := w.machines[1].in(); err != nil {
			t.Fatal(err)
		}
		w.machines[2].on(1)
		if err := w.machines[2].in(); err != nil {
			t.Fatal(err)
		}
		ctx, two := context.Background(), w.machines[2]
		for _, s := range []vnodes.NodeState{vnodes.StateWaiting, vnodes.StateJoining, vnodes.StateJoiningRead} {
			to := map[vnodes.NodeState]vnodes.NodeState{vnodes.StateWaiting: vnodes.StateJoining, vnodes.StateJoining: vnodes.StateJoiningRead, vnodes.StateJoiningRead: vnodes.StateNormal}[s]
			if _, _, err := two.log.Propose(ctx, &Entry{Kind: EntrySetState, Node: vnodes.Node{ID: two.host, State: to}, From: s}); err != nil {
				t.Fatal(err)
			}
		}
		w.agree()
		two.off()
		e, ok := NextVoter(w.machines[1].log.State())
		if !ok {
			t.Fatal("no next voter")
		}
		if _, _, err := w.machines[1].log.Propose(ctx, &e); !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), ip(2)) {
			t.Errorf("a dead node became the second of two voters: %v", err)
		}
		if _, _, err := w.machines[1].log.Propose(ctx, keyspace("a")); err != nil {
			t.Errorf("and nothing goes any more: %v", err)
		}
	})
}

// A member that comes back at another address says so.
func TestAddressIsKept(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		m := w.machines[2]
		m.off()
		m.i = 9
		m.on()
		for range 100 {
			if me, _ := w.machines[1].log.State().Member(m.host); me.Address == ip(9) {
				w.agree()
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the new address did not get through")
	})
}
