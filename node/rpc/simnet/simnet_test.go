package simnet

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc"
	"nodedb/vnodes"
)

func identity(host byte) rpc.Identity {
	return rpc.Identity{HostID: vnodes.HostID{host}, ClusterName: "test", ClusterID: [16]byte{9}}
}

func addr(i int) string { return fmt.Sprintf("10.0.0.%d:7000", i) }

func peer(i int) rpc.Peer { return rpc.Peer{ID: vnodes.HostID{byte(i)}, Addr: addr(i)} }

// cluster runs f in a bubble with nodes 1..n, each of which echoes VerbPing and holds VerbRead for ever.
func cluster(t *testing.T, o Options, n int, f func(net *Network, nodes []*Node)) {
	synctest.Test(t, func(t *testing.T) {
		o.Settle = synctest.Wait
		net := New(o)
		nodes := make([]*Node, n+1)
		for i := 1; i <= n; i++ {
			nodes[i] = net.Node(addr(i), identity(byte(i)))
			serve(nodes[i])
		}
		f(net, nodes)
		for _, x := range nodes[1:] {
			x.Close()
		}
		net.Close()
	})
}

func serve(x *Node) {
	x.Handle(rpc.VerbPing, func(in *rpc.Inbound) { in.Reply(in.Body, nil) })
	x.Handle(rpc.VerbRead, func(*rpc.Inbound) {})
	x.Handle(rpc.VerbWrite, func(in *rpc.Inbound) {
		in.Reply(nil, fmt.Errorf("here: %w", &rpc.RemoteError{Code: rpc.CodeStale, Message: "old", Epoch: 3}))
	})
}

func call(x *Node, to rpc.Peer, v rpc.Verb, body string, timeout time.Duration) (string, error) {
	type result struct {
		body string
		err  error
	}
	ch := make(chan result, 2)
	x.Send(&rpc.Call{To: to, Verb: v, Body: []byte(body), Timeout: timeout, Done: func(b []byte, err error) { ch <- result{string(b), err} }})
	r := <-ch
	return r.body, r.err
}

func TestAnswersAndErrors(t *testing.T) {
	delay := 30 * time.Millisecond
	cluster(t, Options{Faults: Faults{MinDelay: delay, MaxDelay: delay}}, 3, func(net *Network, nodes []*Node) {
		start := time.Now()
		if b, err := call(nodes[1], peer(2), rpc.VerbPing, "hi", time.Second); b != "hi" || err != nil || time.Since(start) != 2*delay {
			t.Fatalf("%q %v after %v", b, err, time.Since(start))
		}
		var re *rpc.RemoteError
		if _, err := call(nodes[1], peer(2), rpc.VerbWrite, "", time.Second); !errors.As(err, &re) || re.Code != rpc.CodeStale || re.Epoch != 3 {
			t.Fatal(err)
		}
		if _, err := call(nodes[1], peer(2), rpc.VerbTree, "", time.Second); !errors.As(err, &re) || re.Code != rpc.CodeNoHandler {
			t.Fatal(err)
		}
		if _, err := call(nodes[1], rpc.Peer{ID: vnodes.HostID{77}, Addr: addr(2)}, rpc.VerbPing, "", time.Second); !errors.Is(err, rpc.ErrWrongPeer) {
			t.Fatal(err)
		}
		start = time.Now()
		if _, err := call(nodes[1], peer(2), rpc.VerbRead, "", time.Second); !errors.Is(err, rpc.ErrTimeout) || time.Since(start) != time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		nodes[3].SetIdentity(rpc.Identity{HostID: vnodes.HostID{3}})
		if _, err := call(nodes[1], peer(3), rpc.VerbRead, "", time.Second); !errors.As(err, &re) || re.Code != rpc.CodeNotReady {
			t.Fatal(err)
		}
		if _, err := call(nodes[1], peer(3), rpc.VerbPing, "", time.Second); err != nil {
			t.Fatal(err)
		}
		nodes[3].SetIdentity(rpc.Identity{HostID: vnodes.HostID{3}, ClusterID: [16]byte{8}})
		if _, err := call(nodes[1], peer(3), rpc.VerbPing, "", time.Second); !errors.Is(err, rpc.ErrWrongPeer) {
			t.Fatal(err)
		}
		if _, err := call(nodes[1], peer(2), rpc.VerbPing, "", 10*time.Millisecond); !errors.Is(err, rpc.ErrTimeout) {
			t.Fatal(err)
		}
	})
}

func TestOneWayCutAndPartition(t *testing.T) {
	cluster(t, Options{Silence: time.Second}, 3, func(net *Network, nodes []*Node) {
		expect := func(from, to int, want error) {
			t.Helper()
			start := time.Now()
			_, err := call(nodes[from], peer(to), rpc.VerbPing, "", time.Minute)
			if !errors.Is(err, want) || want != nil && time.Since(start) != time.Second {
				t.Fatalf("%d to %d: %v after %v, want %v", from, to, err, time.Since(start), want)
			}
		}
		reached := 0
		nodes[2].Handle(rpc.VerbPing, func(in *rpc.Inbound) { reached++; in.Reply(nil, nil) })
		net.Cut(addr(1), addr(2))
		expect(1, 2, rpc.ErrUnreachable)
		if reached != 0 {
			t.Fatal("a request crossed the cut")
		}
		expect(2, 1, rpc.ErrUnreachable) // the response is lost
		expect(3, 2, nil)
		net.Heal(addr(1), addr(2))
		expect(1, 2, nil)
		net.Partition([]string{addr(1)}, []string{addr(2), addr(3)})
		expect(1, 3, rpc.ErrUnreachable)
		expect(3, 2, nil)
		net.HealAll()
		expect(1, 3, nil)
	})
}

func TestDeafen(t *testing.T) {
	cluster(t, Options{Silence: time.Second}, 2, func(net *Network, nodes []*Node) {
		net.Deafen(addr(2), rpc.VerbPing)
		if _, err := call(nodes[1], peer(2), rpc.VerbPing, "", time.Minute); !errors.Is(err, rpc.ErrUnreachable) {
			t.Fatalf("a request: %v", err)
		}
		if _, err := call(nodes[2], peer(1), rpc.VerbPing, "", time.Minute); !errors.Is(err, rpc.ErrUnreachable) {
			t.Fatalf("the reply to its own request: %v", err)
		}
		var re *rpc.RemoteError
		if _, err := call(nodes[1], peer(2), rpc.VerbWrite, "", time.Minute); !errors.As(err, &re) {
			t.Fatalf("another verb: %v", err)
		}
		net.Deafen(addr(2))
		if _, err := call(nodes[1], peer(2), rpc.VerbPing, "", time.Minute); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCrashAndRestart(t *testing.T) {
	ghost := "from the dead"
	o := Options{Observe: func(d Delivery) {
		if d.Size == len(ghost) {
			t.Errorf("a dead node's answer was sent: %+v", d)
		}
	}}
	cluster(t, o, 2, func(net *Network, nodes []*Node) {
		done := make(chan error, 2)
		hold := func(from *Node, to rpc.Peer) {
			from.Send(&rpc.Call{To: to, Verb: rpc.VerbRead, Timeout: time.Hour, Done: func(_ []byte, err error) { done <- err }})
		}
		var old *rpc.Inbound
		nodes[2].Handle(rpc.VerbRead, func(in *rpc.Inbound) { old = in })
		hold(nodes[1], peer(2))
		time.Sleep(time.Millisecond) // virtual: the request has arrived
		nodes[2].Close()
		if err := <-done; !errors.Is(err, rpc.ErrUnreachable) {
			t.Fatal(err)
		}
		if _, err := call(nodes[1], peer(2), rpc.VerbPing, "", time.Hour); !errors.Is(err, rpc.ErrUnreachable) {
			t.Fatal(err)
		}
		nodes[2] = net.Node(addr(2), identity(2))
		serve(nodes[2])
		old.Reply([]byte(ghost), nil)
		if b, err := call(nodes[1], peer(2), rpc.VerbPing, "back", time.Hour); b != "back" || err != nil {
			t.Fatal(err)
		}
		hold(nodes[1], peer(2))
		time.Sleep(time.Millisecond) // virtual: the request has arrived
		nodes[1].Close()
		if err := <-done; !errors.Is(err, rpc.ErrClosed) {
			t.Fatal(err)
		}
		hold(nodes[1], peer(2))
		if err := <-done; !errors.Is(err, rpc.ErrClosed) {
			t.Fatal(err)
		}
	})
}

// history runs a faulty afternoon: every node sends from several goroutines at once, and the fates are written down in
// order.
func history(t *testing.T, seed uint64) string {
	var b strings.Builder
	done := map[string]int{}
	o := Options{Seed: seed, Silence: 50 * time.Millisecond, Faults: Faults{Drop: 0.1, Duplicate: 0.1, MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond}}
	o.Observe = func(d Delivery) { fmt.Fprintln(&b, d.At.UnixNano(), d.From, d.To, d.Verb, d.Response, d.Size, d.Fate) }
	cluster(t, o, 4, func(net *Network, nodes []*Node) {
		net.At(time.Now().Add(100*time.Millisecond), "split", func() { net.Partition([]string{addr(1), addr(2)}, []string{addr(3), addr(4)}) })
		net.At(time.Now().Add(200*time.Millisecond), "heal", net.HealAll)
		net.At(time.Now().Add(300*time.Millisecond), "crash", func() { nodes[4].Close() })
		var wg sync.WaitGroup
		for from := 1; from <= 4; from++ {
			for g := range 3 {
				wg.Go(func() {
					for i := range 60 {
						_, err := call(nodes[from], peer(1+(from+i)%4), rpc.VerbPing, fmt.Sprint(g%2), 30*time.Millisecond)
						if errors.Is(err, rpc.ErrClosed) {
							return
						}
						if err != nil {
							<-time.After(time.Millisecond)
						}
					}
				})
			}
		}
		wg.Wait()
	})
	for _, fate := range []Fate{Delivered, Dropped, Cut, Duplicated} {
		if done[string(fate)] = strings.Count(b.String(), string(fate)); done[string(fate)] == 0 {
			t.Errorf("seed %d: nothing was %s", seed, fate)
		}
	}
	return b.String()
}

func TestSameSeedSameHistory(t *testing.T) {
	seen := map[string]uint64{}
	for seed := range uint64(5) {
		first, second := history(t, seed), history(t, seed)
		if first != second {
			t.Errorf("seed %d gave two histories: they differ at %s", seed, firstDifference(first, second))
		}
		if other, dup := seen[first]; dup {
			t.Errorf("seeds %d and %d gave one history", seed, other)
		}
		seen[first] = seed
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d: %q and %q", i, x[i], y[i])
		}
	}
	return "the end"
}
