package metalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

// clusters gives the ids of the clusters there are.
func (w *world) clusters() map[[16]byte]int {
	ids := map[[16]byte]int{}
	for _, m := range w.machines[1:] {
		if m.log != nil && m.log.State() != nil {
			ids[m.log.State().ClusterID]++
		}
	}
	return ids
}

// Started at the same moment with the same list, over a bad network: one cluster, everybody a founder of it.
func TestFoundAtOnce(t *testing.T) {
	for seed := range 2 * *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := 2 + int(seed%4)
			simulate(t, n, seed, lossy, func(w *world) {
				w.foundAll(n)
				w.net.SetFaults(simnet.Faults{})
				st := w.agree()
				if ids := w.clusters(); len(ids) != 1 || ids[st.ClusterID] != n {
					t.Errorf("clusters: %v", ids)
				}
				if len(st.Members) != n {
					t.Errorf("%d members", len(st.Members))
				}
			})
		})
	}
}

// On a good network all are members from the first entry on, and it takes less than a second.
func TestFoundingTogether(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Millisecond}, func(w *world) {
		start := time.Now()
		w.foundAll(3)
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v", d)
		}
		st := w.agree()
		if st.Epoch != 1 || len(st.Members) != 3 || len(st.Voters) != 3 {
			t.Errorf("%+v", st)
		}
		if u := st.Ring.Unevenness(vnodes.Replication{Factor: 1}); u > 1.35 { // 4 tokens each
			t.Errorf("ownership %.2f", u)
		}
	})
}

// Every subset of three that starts, in every order, with pauses: a majority founds one cluster, a minority waits, and
// whoever comes later joins.
func TestFoundInAnyOrder(t *testing.T) {
	orders := [][]int{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}}
	for _, pause := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 10 * time.Second} {
		for _, order := range orders {
			t.Run(fmt.Sprint(order, pause), func(t *testing.T) {
				simulate(t, 3, 7, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond}, func(w *world) {
					for k, i := range order {
						w.machines[i].on(1, 2, 3)
						time.Sleep(pause)
						if ids := w.clusters(); k == 0 && len(ids) != 0 || len(ids) > 1 {
							t.Fatalf("after machine %d: clusters %v", i, ids)
						}
					}
					for _, i := range order {
						if err := w.machines[i].in(); err != nil {
							t.Fatal(err)
						}
					}
					if st := w.agree(); len(w.clusters()) != 1 || len(st.Members) != 3 {
						t.Errorf("clusters %v, %d members", w.clusters(), len(st.Members))
					}
				})
			})
		}
	}
}

// Machines crash inside the writes of their founding votes, again and again: still one cluster.
func TestFoundThroughCrashes(t *testing.T) {
	for seed := range 4 * *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := 3 + int(seed%2)*2
			simulate(t, n, seed, lossy, func(w *world) {
				var list []int
				for i := 1; i <= n; i++ {
					list = append(list, i)
				}
				for _, m := range w.machines[1:] {
					m.on(list...)
					m.store.crashIn(1+w.rng.IntN(4), w.rng.IntN(2) == 0)
				}
				for range 5 {
					time.Sleep(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
					for _, m := range w.machines[1:] {
						select {
						case <-m.died:
							m.off()
							m.on(list...)
							if w.rng.IntN(3) > 0 {
								m.store.crashIn(1+w.rng.IntN(4), w.rng.IntN(2) == 0)
							}
						default:
						}
					}
				}
				w.net.SetFaults(simnet.Faults{})
				for _, m := range w.machines[1:] {
					m.off()
					m.on(list...)
				}
				for _, m := range w.machines[1:] {
					if err := m.in(); err != nil {
						t.Error(err)
					}
				}
				if st := w.agree(); len(w.clusters()) != 1 || len(st.Members) != n {
					t.Errorf("clusters %v, members %v", w.clusters(), st.Members)
				}
			})
		})
	}
}

// Lists that differ: nobody founds, both say so and show both lists. Once they are the same there is a cluster.
func TestDifferentListsWaitAndSay(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		one, two := w.machines[1], w.machines[2]
		one.on(1, 2)
		two.on(1, 2, 3)
		time.Sleep(30 * time.Second)
		if len(w.clusters()) != 0 {
			t.Fatal("a cluster was founded")
		}
		for _, m := range []*machine{one, two} {
			said := m.lastSaid()
			for _, part := range []string{"another --join list", "10.0.0.1:7000 10.0.0.2:7000]", "10.0.0.1:7000 10.0.0.2:7000 10.0.0.3:7000]"} {
				if !strings.Contains(said, part) {
					t.Errorf("machine %d does not say %q: %s", m.i, part, said)
				}
			}
			if n := len(m.said); n < 5 || n > 6 {
				t.Errorf("machine %d said it %d times in 30 s", m.i, n)
			}
		}
		if !strings.Contains(two.lastSaid(), "missing: 10.0.0.3:7000") {
			t.Error(two.lastSaid())
		}
		one.off()
		one.on(1, 2, 3)
		for _, m := range []*machine{one, two} {
			if err := m.in(); err != nil {
				t.Error(err)
			}
		}
		w.agree()
	})
}

// One that accepted a value for a set is bound to it, whatever its list says later: it may have been decided.
func TestVoteBinds(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		one, two := w.machines[1], w.machines[2]
		one.on(1, 2, 3)
		two.on(1, 2, 3)
		two.store.crashIn(2, true) // inside its accept, which is durable but not answered
		<-two.died
		two.off()
		time.Sleep(time.Second)
		one.off()
		two.on() // alone, says the operator
		time.Sleep(20 * time.Second)
		if len(w.clusters()) != 0 || !strings.Contains(two.lastSaid(), "has voted to found") {
			t.Fatalf("%v, %q", w.clusters(), two.lastSaid())
		}
		one.on(1, 2, 3)
		if err := errors.Join(one.in(), two.in()); err != nil {
			t.Fatal(err)
		}
		if w.agree(); len(w.clusters()) != 1 {
			t.Errorf("clusters: %v", w.clusters())
		}
	})
}

func TestOtherNameIsAnErrorAtOnce(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.machines[1].on()
		if err := w.machines[1].in(); err != nil {
			t.Fatal(err)
		}
		w.machines[2].name = "other"
		w.machines[2].on(1, 3)
		start := time.Now()
		if err := w.machines[2].in(); !errors.Is(err, ErrOtherName) || !strings.Contains(err.Error(), `"test"`) || time.Since(start) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// The address of a member is refused to another host id, until that member is removed.
func TestAddressOfAMemberIsRefused(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(2)
		w.machines[3].on(1)
		if err := w.machines[3].in(); err != nil {
			t.Fatal(err)
		}
		old := w.machines[3]
		old.off()
		fresh := &machine{w: w, i: 3, host: vnodes.HostID{15: 33}, name: "test", store: newStore()} // the same machine, wiped
		w.machines[3] = fresh
		fresh.on(1)
		time.Sleep(12 * time.Second)
		if fresh.log.State() != nil || !strings.Contains(fresh.lastSaid(), "belongs to another host id") {
			t.Errorf("%+v, %q", fresh.log.State(), fresh.lastSaid())
		}
		if _, _, err := w.machines[1].log.Propose(context.Background(), &Entry{Kind: EntryRemoveMember, Host: old.host}); err != nil {
			t.Fatal(err)
		}
		if err := fresh.in(); err != nil {
			t.Error(err)
		}
		w.agree()
	})
}

// A node that is restarted ignores its list; one that was removed says what to do.
func TestMembersNeverFoundAgain(t *testing.T) {
	simulate(t, 2, 1, simnet.Faults{}, func(w *world) {
		w.machines[1].on()
		w.machines[2].on(1)
		if err := errors.Join(w.machines[1].in(), w.machines[2].in()); err != nil {
			t.Fatal(err)
		}
		id := w.machines[2].log.State().ClusterID
		w.machines[2].off()
		w.machines[2].on()
		if err := w.machines[2].in(); err != nil || w.machines[2].log.State().ClusterID != id {
			t.Errorf("%v", err)
		}
		if _, _, err := w.machines[1].log.Propose(context.Background(), &Entry{Kind: EntryRemoveMember, Host: w.machines[2].host}); err != nil {
			t.Fatal(err)
		}
		w.agree()
		w.machines[2].off()
		w.machines[2].on()
		if err := w.machines[2].in(); !errors.Is(err, ErrRemoved) {
			t.Errorf("%v", err)
		}
	})
}
