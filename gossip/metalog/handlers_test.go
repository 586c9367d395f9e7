package metalog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// send calls a machine from a bare node of the network at address 10.0.0.200.
func (w *world) send(to *machine, verb rpc.Verb, body []byte, reply any) error {
	from := w.net.Node(address(200), rpc.Identity{HostID: host(200), ClusterName: "test", ClusterID: to.identity().ClusterID})
	defer from.Close()
	done := make(chan error, 1)
	from.Send(&rpc.Call{To: rpc.Peer{Addr: address(to.i)}, Verb: verb, Body: body, Timeout: time.Second, Done: func(b []byte, err error) {
		if err == nil && reply != nil {
			err = decode(b, reply)
		}
		done <- err
	}})
	return <-done
}

func code(err error) rpc.Code {
	if re := (*rpc.RemoteError)(nil); errors.As(err, &re) {
		return re.Code
	}
	return 0
}

// A node that founds votes for exactly its own set; for another it doesn't even promise.
func TestFoundingVoteIsForOneSet(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[2]
		m.on(1, 2, 3)
		time.Sleep(time.Second)
		ours, theirs := []string{address(1), address(2), address(3)}, []string{address(1), address(2)}
		value := (&Entry{Kind: EntryFound, ID: proposalID(1), Found: &Founding{Name: "test", Nodes: []vnodes.Node{{ID: m.host, Address: ip(2), Weight: 1}}}}).Append(nil)
		for _, step := range []uint8{foundPrepare, foundAccept, foundLearn} {
			v := foundVote{}
			err := w.send(m, rpc.VerbFound, encode(&foundAsk{Step: step, Set: theirs, Ballot: ballot{1, host(1)}, Value: value}), &v)
			if err != nil || !v.NotForMe || m.log.State() != nil {
				t.Errorf("step %d for another set: %+v, %v", step, v, err)
			}
		}
		if n := 0; m.store.ScanSystem(prefixFounding, func(string, []byte) bool { n++; return true }) != nil || n != 0 {
			t.Errorf("%d votes are stored", n)
		}
		v := foundVote{}
		if err := w.send(m, rpc.VerbFound, encode(&foundAsk{Step: foundPrepare, Set: ours, Ballot: ballot{1, host(1)}}), &v); err != nil || !v.OK {
			t.Errorf("our own set: %+v, %v", v, err)
		}
		other := (&Entry{Kind: EntryFound, ID: proposalID(1), Found: &Founding{Name: "other", Nodes: []vnodes.Node{{ID: m.host}}}}).Append(nil)
		if err := w.send(m, rpc.VerbFound, encode(&foundAsk{Step: foundAccept, Set: ours, Ballot: ballot{2, host(1)}, Value: other}), &v); err != nil || !v.NotForMe {
			t.Errorf("another cluster_name: %+v, %v", v, err)
		}
	})
}

// An entry that this nodedb doesn't know stops the log, for good and with a clear error; it is not skipped.
func TestUnknownEntryStopsTheNode(t *testing.T) {
	simulate(t, 1, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on()
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		unknown := (&Entry{Kind: 99, ID: proposalID(9)}).Append(nil)
		if err := w.send(m, rpc.VerbMetaLearn, encode(&learn{Epoch: 2, Entry: unknown}), nil); err == nil || !strings.Contains(err.Error(), "too old") {
			t.Errorf("%v", err)
		}
		<-m.died
		if m.log.State().Epoch != 1 {
			t.Errorf("epoch %d", m.log.State().Epoch)
		}
		if _, _, err := m.log.Propose(context.Background(), keyspace("a")); !errors.Is(err, ErrClosed) {
			t.Errorf("propose: %v", err)
		}
		if err := w.send(m, rpc.VerbMetaPull, encode(&pull{From: 1}), nil); code(err) != rpc.CodeNotReady {
			t.Errorf("pull: %v", err)
		}
		m.store.m[keyEntry(2)] = unknown
		if _, err := Open(m.log.o); !errors.Is(err, ErrUnknown) {
			t.Errorf("open: %v", err)
		}
	})
}

// What is stored and can't be right is an error of Open.
func TestOpenRefusesCorruptStores(t *testing.T) {
	simulate(t, 1, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on()
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		good := m.store.m
		for name, damage := range map[string]func(map[string][]byte){
			"gap":      func(s map[string][]byte) { s[keyEntry(3)] = keyspace("a").Append(nil) },
			"entry":    func(s map[string][]byte) { s[keyEntry(2)] = []byte{1, 6} },
			"snapshot": func(s map[string][]byte) { s[keySnapshot] = []byte{1} },
			"key":      func(s map[string][]byte) { s[prefixEntry+"x"] = nil },
			"first":    func(s map[string][]byte) { s[keyEntry(1)] = keyspace("a").Append(nil) },
		} {
			bad := newStore()
			for k, v := range good {
				bad.m[k] = v
			}
			damage(bad.m)
			o := m.log.o
			o.Store = bad
			if _, err := Open(o); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestBadRequests(t *testing.T) {
	simulate(t, 1, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on()
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []rpc.Verb{rpc.VerbHello, rpc.VerbFound, rpc.VerbMetaPrepare, rpc.VerbMetaAccept, rpc.VerbMetaLearn, rpc.VerbMetaPull, rpc.VerbMetaPropose} {
			if err := w.send(m, verb, []byte{0xc1}, nil); code(err) != rpc.CodeInvalid {
				t.Errorf("%v: %v", verb, err)
			}
		}
		if err := w.send(m, rpc.VerbMetaPropose, keyspace("a").Append(nil), nil); code(err) != rpc.CodeInvalid {
			t.Errorf("a stranger changes the schema: %v", err)
		}
		if err := w.send(m, rpc.VerbMetaAccept, encode(&ask{Epoch: 2, Ballot: ballot{1, host(1)}}), nil); code(err) != rpc.CodeInvalid {
			t.Errorf("an empty entry: %v", err)
		}
		if err := w.send(m, rpc.VerbMetaPrepare, encode(&ask{Generation: 1, Epoch: 2, Ballot: ballot{1, host(1)}}), nil); err == nil || !strings.Contains(err.Error(), "recovery generation 0") {
			t.Errorf("another generation: %v", err)
		}
		for _, e := range []*Entry{{Kind: EntryFound, Found: &Founding{}}, {Kind: 99}, {Kind: EntrySchema, Change: []byte("x")}, {Kind: EntrySchema, Change: make([]byte, 2<<20)}} {
			if _, _, err := m.log.Propose(context.Background(), e); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnknown) {
				t.Errorf("propose %v: %v", e.Kind, err)
			}
		}
		if m.log.State().Epoch != 1 {
			t.Error("something was decided")
		}
	})
}

// Before there is a cluster: clear errors, no votes.
func TestWithoutACluster(t *testing.T) {
	simulate(t, 2, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on(1, 2)
		time.Sleep(time.Second)
		if _, _, err := m.log.Propose(context.Background(), keyspace("a")); !errors.Is(err, ErrNoCluster) {
			t.Errorf("propose: %v", err)
		}
		if err := m.log.WaitFor(context.Background(), rpc.Peer{}, 1); !errors.Is(err, ErrNoCluster) {
			t.Errorf("wait: %v", err)
		}
		for verb, body := range map[rpc.Verb][]byte{rpc.VerbMetaPull: encode(&pull{Whole: true}), rpc.VerbMetaPropose: nil} {
			if verb == rpc.VerbMetaPropose {
				e := newMember(7, ip(7))
				v := verdict{}
				if err := w.send(m, verb, e.Append(nil), &v); err != nil || v.Code != verdictFailed {
					t.Errorf("%v: %+v, %v", verb, v, err)
				}
				continue
			}
			if err := w.send(m, verb, body, nil); code(err) != rpc.CodeNotReady {
				t.Errorf("%v: %v", verb, err)
			}
		}
	})
}

// A full disk refuses changes and votes with its error, and stops nothing: once there is space, all goes on.
func TestFullDiskIsWaitedOut(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		m := w.machines[1]
		m.store.fill(true)
		if _, _, err := m.log.Propose(context.Background(), keyspace("a")); !errors.Is(err, errFull) {
			t.Errorf("%v", err)
		}
		if _, _, err := w.machines[2].log.Propose(context.Background(), keyspace("b")); err != nil {
			t.Errorf("a minority with full disks is in the way: %v", err)
		}
		m.store.fill(false)
		if _, _, err := m.log.Propose(context.Background(), keyspace("c")); err != nil {
			t.Error(err)
		}
		select {
		case <-m.died:
			t.Error("the node stopped")
		default:
		}
		if st := w.agree(); len(st.Catalog.Keyspaces) != 3 { // "a" was decided by the two others
			t.Errorf("%d keyspaces", len(st.Catalog.Keyspaces))
		}
	})
}

// While the log's goroutine is held up, requests wait up to the bound, and the rest is refused.
func TestOverloadIsRefused(t *testing.T) {
	simulate(t, 1, 1, simnet.Faults{}, func(w *world) {
		m := w.machines[1]
		m.on()
		if err := m.in(); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		if err := m.log.queue(func() { <-release }, maxTasks); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		from := w.net.Node(address(200), rpc.Identity{HostID: host(200), ClusterName: "test", ClusterID: m.identity().ClusterID})
		results := make(chan error, maxTasks+5)
		for range maxTasks + 5 {
			from.Send(&rpc.Call{To: rpc.Peer{Addr: address(1)}, Verb: rpc.VerbMetaPull, Body: encode(&pull{From: 1}), Timeout: time.Minute,
				Done: func(_ []byte, err error) { results <- err }})
		}
		for range 5 {
			if err := <-results; code(err) != rpc.CodeOverloaded {
				t.Errorf("%v", err)
			}
		}
		close(release)
		for range maxTasks {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		from.Close()
	})
}

// A context that ends while rounds run: the error says that the outcome is open, and the log is of one mind about it
// later.
func TestProposeEndsWithItsContext(t *testing.T) {
	simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
		w.foundAll(3)
		w.net.Cut(address(2), address(1)) // requests arrive, answers don't
		w.net.Cut(address(3), address(1))
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, _, err := w.machines[1].log.Propose(ctx, keyspace("a"))
		if !errors.Is(err, ErrNoQuorum) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		w.net.HealAll()
		if _, _, err := w.machines[2].log.Propose(context.Background(), keyspace("b")); err != nil {
			t.Error(err)
		}
		w.agree()
	})
}

// OnApply sees every epoch once, in order, and Propose returns after it.
func TestOnApplyComesFirst(t *testing.T) {
	simulate(t, 3, 1, lossy, func(w *world) {
		w.foundAll(3)
		m := w.machines[2]
		for _, name := range []string{"a", "b", "c"} {
			st, target, err := m.log.Propose(context.Background(), keyspace(name))
			if err != nil {
				t.Fatal(err)
			}
			m.mu.Lock()
			if last := m.epochs[len(m.epochs)-1]; last < st.Epoch || target != (schema.Target{Kind: "CREATED", Object: "KEYSPACE", Keyspace: name}) {
				t.Errorf("epoch %d is answered, OnApply was at %d; target %+v", st.Epoch, last, target)
			}
			m.mu.Unlock()
		}
		for i, epoch := range m.epochs {
			if epoch != uint64(i+1) {
				t.Errorf("OnApply was called for %v", m.epochs)
				break
			}
		}
	})
}
