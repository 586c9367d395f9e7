package simnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc"
)

// gossiper is an endpoint with what it got.
type gossiper struct {
	*Endpoint
	mu      sync.Mutex
	packets []string // "from: body after d", d since the start
	streams chan net.Conn
}

func gossipAddr(i int) string { return fmt.Sprintf("10.0.0.%d:7001", i) }

func listen(network *Network, i int) *gossiper {
	g, start := &gossiper{streams: make(chan net.Conn, 8)}, time.Now()
	g.Endpoint = network.Listen(gossipAddr(i), func(from string, body []byte) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.packets = append(g.packets, fmt.Sprintf("%s: %s after %v", from, body, time.Since(start)))
	}, func(c net.Conn) { g.streams <- c })
	return g
}

func (g *gossiper) got() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.packets)
}

// talkers runs f in a bubble with endpoints 1..n.
func talkers(t *testing.T, o Options, n int, f func(n *Network, g []*gossiper)) {
	synctest.Test(t, func(t *testing.T) {
		o.Settle = synctest.Wait
		network, g := New(o), make([]*gossiper, n+1)
		for i := 1; i <= n; i++ {
			g[i] = listen(network, i)
		}
		f(network, g)
		for _, x := range g[1:] {
			x.Close()
		}
		network.Close()
	})
}

const ms = time.Millisecond

// One cut and one stall hold for calls, packets and streams of a host alike.
func TestPacketsShareTheFaultsOfCalls(t *testing.T) {
	talkers(t, Options{Silence: time.Second, Faults: Faults{MinDelay: 5 * ms, MaxDelay: 5 * ms}}, 2, func(n *Network, g []*gossiper) {
		a, b := n.Node(addr(1), identity(1)), n.Node(addr(2), identity(2))
		defer a.Close()
		defer b.Close()
		serve(b)
		send := func(body string) {
			if err := g[1].Send(gossipAddr(2), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		send("one")
		time.Sleep(10 * ms)
		n.Cut(addr(1), addr(2))
		send("two")
		if _, err := call(a, peer(2), rpc.VerbPing, "", time.Minute); !errors.Is(err, rpc.ErrUnreachable) {
			t.Fatal(err)
		}
		if _, err := g[2].Dial(gossipAddr(1), 100*ms); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a stream across a one-way cut: %v", err)
		}
		n.HealAll()
		start := time.Now()
		n.Stall(addr(2), 3*time.Second)
		send("three")
		if _, err := call(a, peer(2), rpc.VerbPing, "", time.Minute); err != nil || time.Since(start) != 3*time.Second+5*ms {
			t.Errorf("a call to a stalled host: %v after %v", err, time.Since(start))
		}
		n.Stall(addr(1), time.Second)
		start = time.Now()
		send("four")
		if time.Since(start) != time.Second {
			t.Errorf("a stalled host sent after %v", time.Since(start))
		}
		if err := g[1].Send(gossipAddr(9), []byte("to nobody")); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * ms)
		got := g[2].got()
		for i, want := range []string{"one after 5ms", "three after ", "four after "} {
			if i >= len(got) || !strings.HasPrefix(got[i], gossipAddr(1)+": "+want) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		g[2].Close()
		send("five")
		time.Sleep(10 * ms)
		if len(g[2].got()) != 3 || g[2].Send(gossipAddr(1), nil) == nil {
			t.Error("a closed endpoint talks")
		}
	})
}

// Over a bad network the bytes of a stream arrive complete and in order, and its end after them.
func TestStreamsAreReliable(t *testing.T) {
	for seed := range uint64(5) {
		o := Options{Seed: seed, Faults: Faults{Drop: 0.3, Duplicate: 0.2, MinDelay: ms, MaxDelay: 50 * ms}}
		talkers(t, o, 2, func(n *Network, g []*gossiper) {
			sent := bytes.Repeat([]byte("0123456789abcdefg"), 300_000) // 5 MB: more than a window
			var wg sync.WaitGroup
			wg.Go(func() {
				c, err := g[1].Dial(gossipAddr(2), time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if k, err := c.Write(sent); k != len(sent) || err != nil {
					t.Error(k, err)
				}
				c.Close()
				if _, err := c.Write(sent); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
			c := <-g[2].streams
			time.Sleep(time.Minute) // virtual: the window fills
			n.mu.Lock()
			if waiting := len(c.(*Conn).in); waiting > maxWindow+maxSegment {
				t.Errorf("%d bytes are waiting", waiting)
			}
			n.mu.Unlock()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("seed %d: %d bytes of %d, %v", seed, len(got), len(sent), err)
			}
			wg.Wait()
		})
	}
}

// Short cuts make a stream late, long ones break the end that sends; a crash resets it; nobody there refuses it.
func TestStreamsBreak(t *testing.T) {
	talkers(t, Options{Silence: 2 * time.Second, Faults: Faults{MinDelay: ms, MaxDelay: ms}}, 2, func(n *Network, g []*gossiper) {
		open := func() (here, there net.Conn) {
			c, err := g[1].Dial(gossipAddr(2), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			return c, <-g[2].streams
		}
		if _, err := g[1].Dial(gossipAddr(9), time.Second); !errors.Is(err, errRefused) {
			t.Error(err)
		}
		here, there := open()
		n.Cut(gossipAddr(1), gossipAddr(2))
		here.Write([]byte("late"))
		there.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := there.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		n.HealAll()
		there.SetReadDeadline(time.Time{})
		b := make([]byte, 9)
		if k, err := there.Read(b); err != nil || string(b[:k]) != "late" {
			t.Errorf("%q, %v", b[:k], err)
		}
		n.Cut(gossipAddr(1), gossipAddr(2))
		here.Write([]byte("never"))
		time.Sleep(4 * time.Second)
		if _, err := here.Write([]byte("never")); !errors.Is(err, errSilent) {
			t.Error(err)
		}
		n.HealAll()
		here, there = open()
		g[2].Close()
		if _, err := here.Read(b); !errors.Is(err, errReset) {
			t.Error(err)
		}
		if _, err := there.Read(b); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// chatter runs packets and streams under faults, and gives the fates in order.
func chatter(t *testing.T, seed uint64) string {
	var b strings.Builder
	o := Options{Seed: seed, Silence: 300 * ms, Faults: Faults{Drop: 0.1, Duplicate: 0.1, MinDelay: ms, MaxDelay: 20 * ms}}
	o.Observe = func(d Delivery) { fmt.Fprintln(&b, d.At.UnixNano(), d.From, d.To, d.Size, d.Fate) }
	talkers(t, o, 3, func(n *Network, g []*gossiper) {
		n.At(time.Now().Add(100*ms), "cut", func() { n.Cut(gossipAddr(1), gossipAddr(2)) })
		n.At(time.Now().Add(300*ms), "heal", n.HealAll)
		n.At(time.Now().Add(400*ms), "stall", func() { n.Stall(gossipAddr(3), 200*ms) })
		for i := 1; i <= 3; i++ {
			go func() {
				for c := range g[i].streams {
					go func() {
						io.Copy(c, c)
						c.Close()
					}()
				}
			}()
		}
		var wg sync.WaitGroup
		for i := range 6 { // the ordered pairs: equal dials at one instant would change places
			from, to := g[1+i%3], gossipAddr(1+(i+1+i/3)%3)
			wg.Go(func() {
				for k := range 20 {
					from.Send(to, []byte{byte(k)})
					c, err := from.Dial(to, 150*ms)
					if err != nil {
						continue
					}
					c.SetDeadline(time.Now().Add(500 * ms))
					c.Write([]byte("hello"))
					back, err := c.Read(make([]byte, 9))
					from.Send(to, fmt.Append(nil, i, k, back, err))
					c.Close()
				}
			})
		}
		wg.Wait()
		for _, x := range g[1:] {
			close(x.streams)
		}
	})
	return b.String()
}

func TestSameSeedSameChatter(t *testing.T) {
	all := ""
	for seed := range uint64(5) {
		first, second := chatter(t, seed), chatter(t, seed)
		if first != second {
			t.Errorf("seed %d gave two histories: they differ at %s", seed, firstDifference(first, second))
		}
		all += first
	}
	for _, fate := range []Fate{Delivered, Dropped, Cut, Duplicated} {
		if !strings.Contains(all, string(fate)) {
			t.Errorf("nothing was %s", fate)
		}
	}
}
