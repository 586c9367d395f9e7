package metalog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

// begin leaves a machine with an accepted entry, whose proposer is gone.
func (w *world) begin(m *machine, e *Entry) {
	w.t.Helper()
	e.ID = proposalID(77)
	epoch, b := m.log.State().Epoch+1, ballot{uint64(time.Now().UnixMicro()), host(200)}
	for _, verb := range []rpc.Verb{rpc.VerbMetaPrepare, rpc.VerbMetaAccept} {
		a, v := &ask{Epoch: epoch, Ballot: b}, vote{}
		if verb == rpc.VerbMetaAccept {
			a.Value = e.Append(nil)
		}
		if err := w.send(m, verb, encode(a), &v); err != nil || !v.OK {
			w.t.Fatalf("verb %v: %+v, %v", verb, v, err)
		}
	}
}

// exists reports whether all running machines have a keyspace.
func (w *world) exists(name string) bool {
	for _, m := range w.machines[1:] {
		if m.log != nil {
			if _, ok := m.log.State().Catalog.Keyspaces[name]; !ok {
				return false
			}
		}
	}
	return true
}

// within waits, up to a time, until all running machines have a keyspace.
func (w *world) within(limit time.Duration, name string) {
	w.t.Helper()
	start := time.Now()
	for !w.exists(name) {
		if time.Since(start) > limit {
			w.t.Fatalf("keyspace %s isn't decided after %v", name, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.agree()
}

// What one voter accepted from a proposer that died is decided within seconds, though nobody proposes anything. Then
// the cluster is silent.
func TestVoterFinishesWhatADeadProposerBegan(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond}, func(w *world) {
		w.foundAll(3)
		w.begin(w.machines[2], keyspace("a"))
		w.within(5*time.Second, "a")
		time.Sleep(time.Minute)
		before := w.sent.Load()
		time.Sleep(24 * time.Hour)
		if n := w.sent.Load() - before; n != 0 {
			t.Errorf("%d messages in a day in which nothing happened", n)
		}
	})
}

// All voters hold the same value at once; they don't keep each other from deciding it, on a bad network either.
func TestVotersThatFinishDontDuel(t *testing.T) {
	for seed := range *seeds {
		simulate(t, 5, seed, lossy, func(w *world) {
			w.foundAll(5)
			w.agree()
			w.net.SetFaults(simnet.Faults{})
			for _, m := range w.machines[1:] {
				w.begin(m, keyspace("a"))
			}
			w.net.SetFaults(lossy)
			w.within(20*time.Second, "a")
		})
	}
}

// A vote that a restart finds on the disk is finished too; and where no majority answers, once one does.
func TestVoterFinishesAfterARestart(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		m := w.machines[2]
		w.machines[1].off()
		w.machines[3].off()
		w.begin(m, keyspace("a"))
		m.off()
		m.on(1, 2, 3)
		time.Sleep(time.Hour)
		if w.exists("a") {
			t.Fatal("decided by one of three")
		}
		before := w.sent.Load()
		time.Sleep(time.Hour)
		if n := w.sent.Load() - before; n == 0 || n > 3600 {
			t.Errorf("%d messages in an hour of waiting for a majority", n)
		}
		w.machines[3].on(1, 2, 3)
		w.within(15*time.Second, "a")
	})
}

// A voter that is behind finishes an epoch that it voted for once it has got there.
func TestVoterFinishesAnEpochAheadOfIt(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		w.agree()
		w.net.Partition([]string{address(3), address(200)}, []string{address(1), address(2)})
		if _, _, err := w.machines[1].log.Propose(context.Background(), keyspace("b")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		m, e := w.machines[3], keyspace("a")
		e.ID = proposalID(77)
		b := ballot{uint64(time.Now().UnixMicro()), host(200)}
		for _, a := range []*ask{{Epoch: 3, Ballot: b}, {Epoch: 3, Ballot: b, Value: e.Append(nil)}} {
			verb := rpc.VerbMetaPrepare
			if a.Value != nil {
				verb = rpc.VerbMetaAccept
			}
			if err := w.send(m, verb, encode(a), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		w.net.HealAll()
		w.gossip(2)
		w.within(15*time.Second, "a")
	})
}

// A proposer that gave up after it offered its entry goes on in the background, whether a voter has accepted it or not.
func TestProposerFinishesWhatItGaveUp(t *testing.T) {
	simulate(t, 4, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		w.machines[4].on(1)
		if err := w.machines[4].in(); err != nil {
			t.Fatal(err)
		}
		w.agree()
		for _, m := range w.machines[1:4] {
			m.store.fillAfter(1) // the promise finds room, the accept doesn't
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if _, _, err := w.machines[4].log.Propose(ctx, keyspace("a")); err == nil {
			t.Fatal("decided on full disks")
		}
		for _, m := range w.machines[1:4] {
			if a, ok := m.store.m[keyAcceptor(m.log.State().Epoch+1)]; !ok || slices.Contains(a, 'a') {
				t.Fatalf("machine %d: the test means the entry to be promised for, not accepted: %q", m.i, a)
			}
			m.store.fill(false)
		}
		w.within(15*time.Second, "a")
	})
}

// CatchUp brings everything that was decided before it was called, whoever else knows it.
func TestCatchUpIsLinearizable(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond}, func(w *world) {
		if err := func() error {
			m := w.machines[1]
			m.on(1, 2, 3)
			defer m.off()
			return m.log.CatchUp(context.Background())
		}(); !errors.Is(err, ErrNoCluster) {
			t.Errorf("without a cluster: %v", err)
		}
		w.foundAll(3)
		w.agree()
		m := w.machines[3]
		m.off()
		for _, name := range []string{"a", "b", "c"} {
			if _, _, err := w.machines[1].log.Propose(context.Background(), keyspace(name)); err != nil {
				t.Fatal(err)
			}
		}
		w.begin(w.machines[1], keyspace("open"))
		m.on(1, 2, 3)
		if err := m.log.CatchUp(context.Background()); err != nil {
			t.Fatal(err)
		}
		st := m.log.State()
		for _, name := range []string{"a", "b", "c"} {
			if _, ok := st.Catalog.Keyspaces[name]; !ok {
				t.Errorf("keyspace %s isn't there", name)
			}
		}
		m.mu.Lock()
		if last := m.epochs[len(m.epochs)-1]; last != st.Epoch {
			t.Errorf("OnApply was at %d of %d", last, st.Epoch)
		}
		m.mu.Unlock()
		if err := m.log.CatchUp(context.Background()); err != nil || m.log.State().Epoch < st.Epoch {
			t.Errorf("with nothing new: %v", err)
		}
	})
}

// Without a majority CatchUp ends with its context, says who is missing, and has applied what the others know.
func TestCatchUpWithoutAMajority(t *testing.T) {
	simulate(t, 5, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(5)
		w.agree()
		m := w.machines[5]
		m.off()
		if _, _, err := w.machines[1].log.Propose(context.Background(), keyspace("a")); err != nil {
			t.Fatal(err)
		}
		w.agree()
		for _, other := range w.machines[1:4] {
			other.off()
		}
		m.on(1, 2, 3, 4, 5)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		start := time.Now()
		err := m.log.CatchUp(ctx)
		if !errors.Is(err, ErrNoQuorum) || time.Since(start) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, ok := m.log.State().Catalog.Keyspaces["a"]; !ok {
			t.Error("what machine 4 knows wasn't applied")
		}
	})
}

// A step back keeps the member's tokens, and the next state follows from there.
func TestStepBackKeepsTokens(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(2)
		m := w.machines[3]
		m.on(1)
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		states := []vnodes.NodeState{vnodes.StateWaiting, vnodes.StateJoining, vnodes.StateJoiningRead, vnodes.StateJoining, vnodes.StateJoiningRead}
		var tokens []vnodes.Token
		for i, to := range states[1:] {
			e := &Entry{Kind: EntrySetState, Node: vnodes.Node{ID: m.host, State: to}, From: states[i]}
			st, _, err := w.machines[1].log.Propose(context.Background(), e)
			if err != nil {
				t.Fatal(err)
			}
			me, _ := st.Member(m.host)
			if i > 0 && !slices.Equal(me.Tokens, tokens) {
				t.Errorf("%s: tokens %v, were %v", to, me.Tokens, tokens)
			}
			tokens = me.Tokens
		}
	})
}
