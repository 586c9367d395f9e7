package gossip

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

// A campaign takes hundreds: go test ./gossip -run Campaign -timeout 0 -v -seeds 300 -seed 1
var (
	seeds     = flag.Uint64("seeds", 0, "seeds of each family of simulated faults; 0: a few short ones")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// campaign runs a family's seeds, and tells which faults they met, and the figures they gave.
type campaign struct {
	long    bool
	now     map[string]bool // what this seed met
	met     map[string]int
	figures map[string][]float64
}

// runSeeds runs one trial a seed, each in a bubble; short is how many where no campaign is wanted.
func runSeeds(t *testing.T, short uint64, trial func(c *campaign, t *testing.T, rng *rand.Rand, seed uint64)) *campaign {
	c := &campaign{long: *seeds > 0, met: map[string]int{}, figures: map[string][]float64{}}
	count, began := short, time.Now()
	if c.long {
		count = *seeds
	}
	for seed := *firstSeed; seed < *firstSeed+count; seed++ {
		c.now = map[string]bool{}
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { trial(c, t, rand.New(rand.NewPCG(seed, 11)), seed) })
		})
		if !ok {
			c.meet("failed")
		}
		for fault := range c.now {
			c.met[fault]++
		}
	}
	t.Logf("%d seeds in %.1f minutes", count, time.Since(began).Minutes())
	for _, fault := range slices.Sorted(maps.Keys(c.met)) {
		t.Logf("%3.0f%% %s", 100*float64(c.met[fault])/float64(count), fault)
	}
	for _, name := range slices.Sorted(maps.Keys(c.figures)) {
		f := c.figures[name]
		slices.Sort(f)
		sum := 0.0
		for _, x := range f {
			sum += x
		}
		t.Logf("%s: median %.2f, 95%% %.2f, most %.2f, sum %.0f of %d", name, f[len(f)/2], f[len(f)*95/100], f[len(f)-1], sum, len(f))
	}
	return c
}

func (c *campaign) meet(fault string) { c.now[fault] = true }

func (c *campaign) figure(name string, x float64) { c.figures[name] = append(c.figures[name], x) }

// most gives how many figures of a name there are, and the largest.
func (c *campaign) most(name string) (count int, x float64) {
	for _, f := range c.figures[name] {
		x = max(x, f)
	}
	return len(c.figures[name]), x
}

// between draws a duration whose logarithm is uniform.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return time.Duration(float64(from) * math.Exp(rng.Float64()*math.Log(float64(to)/float64(from))))
}

// death is what a node was told of another.
type death struct {
	at     time.Time
	by, of int
}

// swarm is a bench whose nodes have logs of their own: an address that changed is known to who sees one that knows it.
type swarm struct {
	*bench
	rng  *rand.Rand
	mu   sync.Mutex
	down []death
	up   []death
	logs map[int]map[int]place // node, member
}

// place is an address, and how often it has changed.
type place struct {
	address string
	version int
}

// newSwarm starts n nodes with random timing on a network with faults.
func newSwarm(t *testing.T, rng *rand.Rand, seed uint64, n int, f simnet.Faults) *swarm {
	s := &swarm{bench: newBench(t, n, simnet.Options{Seed: seed, Faults: f}), rng: rng, logs: map[int]map[int]place{}}
	for i := 1; i <= n; i++ {
		s.logs[i] = map[int]place{}
		for j := 1; j <= n; j++ {
			s.logs[i][j] = place{address(j), 0}
		}
	}
	for i := 1; i <= n; i++ {
		s.launch(i)
	}
	s.await(30*time.Second, "all to see all", func() bool { return s.agree(n) })
	return s
}

// launch starts a node at the address that its own log has.
func (s *swarm) launch(i int) {
	timing := Timing{}
	timing.setDefaults()
	for _, d := range []*time.Duration{&timing.Probe, &timing.Gossip, &timing.PushPull, &timing.Rejoin} {
		*d = time.Duration(float64(*d) * (0.95 + 0.1*s.rng.Float64())) // clocks that differ a little
	}
	s.Lock()
	s.addresses[i] = s.logs[i][i].address
	s.Unlock()
	s.start(i, func(o *Options) {
		o.Timing = timing
		o.Members = func() map[vnodes.HostID]string {
			s.mu.Lock()
			defer s.mu.Unlock()
			all := map[vnodes.HostID]string{}
			for j, p := range s.logs[i] {
				all[hostID(j)] = p.address
			}
			return all
		}
		o.OnChange = func(id vnodes.HostID, _ string, up bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d := (death{time.Now(), i, int(id[0])}); up {
				s.up = append(s.up, d)
			} else {
				s.down = append(s.down, d)
			}
		}
	})
}

// move gives a node another address, which it alone knows at first.
func (s *swarm) move(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.logs[i][i]
	s.logs[i][i] = place{fmt.Sprintf("10.%d.0.%d", 2+p.version, i), p.version + 1}
}

// learn lets nodes that see each other have the same log, as RPC would where nothing is cut.
func (s *swarm) learn(open func(a, b string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.nodes {
		for j := range s.nodes {
			if i == j || !m.Alive(hostID(j)) || !open(s.logs[i][i].address, s.logs[j][j].address) {
				continue
			}
			for k, p := range s.logs[j] {
				if p.version > s.logs[i][k].version {
					s.logs[i][k] = p
				}
			}
		}
	}
}

// deaths counts those told of the nodes, by the nodes, since then.
func (s *swarm) deaths(since time.Time, who func(d death) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.down {
		if d.at.After(since) && who(d) {
			n++
		}
	}
	return n
}

func drawFaults(c *campaign, rng *rand.Rand, maxDrop float64) simnet.Faults {
	f := simnet.Faults{MinDelay: time.Duration(rng.IntN(3)) * time.Millisecond}
	f.MaxDelay = f.MinDelay + time.Duration(rng.IntN(60))*time.Millisecond
	if rng.IntN(2) == 0 {
		f.Drop = rng.Float64() * maxDrop
		c.meet("loss")
	}
	if rng.IntN(2) == 0 {
		f.Duplicate = rng.Float64() * 0.2
		c.meet("duplicates")
	}
	if f.MaxDelay > f.MinDelay {
		c.meet("delay and reordering")
	}
	return f
}

// cutting is a kind of partition: whether messages of node a reach node b.
type cutting struct {
	name string
	open func(rng *rand.Rand, n int) func(a, b int) bool
}

var cuttings = []cutting{
	{"halves", func(rng *rand.Rand, n int) func(a, b int) bool {
		k := 1 + rng.IntN(n-1)
		return func(a, b int) bool { return a <= k == (b <= k) }
	}},
	{"one-way", func(rng *rand.Rand, n int) func(a, b int) bool {
		k := 1 + rng.IntN(n-1)
		return func(a, b int) bool { return a > k || b <= k } // 1..k can't send to the others
	}},
	{"random one-way", func(rng *rand.Rand, n int) func(a, b int) bool {
		cut := map[[2]int]bool{}
		for a := 1; a <= n; a++ {
			for b := 1; b <= n; b++ {
				cut[[2]int{a, b}] = rng.IntN(2) == 0
			}
		}
		return func(a, b int) bool { return !cut[[2]int{a, b}] }
	}},
	{"ring", func(_ *rand.Rand, n int) func(a, b int) bool {
		return func(a, b int) bool { d := (a - b + n) % n; return d <= 1 || d == n-1 }
	}},
	{"bridge", func(rng *rand.Rand, n int) func(a, b int) bool {
		k := 1 + rng.IntN(n)
		return func(a, b int) bool { return a == k || b == k || a < k == (b < k) }
	}},
}

// TestCampaignPartitions is FAULTS.md rows 11 and 12: whatever the cut was, how long it lasted, and who was restarted
// behind it at whatever address, all see all within 30 s after it is healed.
func TestCampaignPartitions(t *testing.T) {
	const all, long = "seconds from healing to all seeing all", "seconds from healing to all seeing all, after minutes to hours"
	c := runSeeds(t, 6, func(c *campaign, t *testing.T, rng *rand.Rand, seed uint64) {
		n := 3 + rng.IntN(13)
		kind := cuttings[rng.IntN(len(cuttings))]
		length := between(rng, 5*time.Second, 2*time.Minute)
		if c.long && rng.IntN(3) == 0 {
			length = between(rng, 2*time.Minute, 3*time.Hour)
			c.meet("a cut of minutes to hours")
		}
		s := newSwarm(t, rng, seed, n, drawFaults(c, rng, 0.1))
		defer s.end()
		c.meet(kind.name)
		open := kind.open(rng, n)
		began := time.Now()
		s.divide(open)
		for time.Since(began) < length {
			time.Sleep(time.Duration(rng.Int64N(int64(length/4) + int64(time.Second))))
			s.learn(s.byAddress(open))
			if rng.IntN(2) == 0 {
				s.disturb(c, open)
			}
		}
		for i := 1; i <= n; i++ {
			if s.nodes[i] == nil {
				s.launch(i)
			}
		}
		s.net.HealAll()
		everything := func(string, string) bool { return true }
		took := s.await(30*time.Second, fmt.Sprintf("%d nodes to see each other after %s for %v", n, kind.name, length), func() bool {
			s.learn(everything)
			return s.agree(n)
		})
		c.figure(all, took.Seconds())
		if length > 2*time.Minute {
			c.figure(long, took.Seconds())
		}
	})
	n, x := c.most(all)
	reportRow(t, 11, "%d cuts (one-way, random one-way, ring, bridge, halves) of 3 to 15 nodes: all see all at most %.1f s after the healing", n, x)
	if n, x = c.most(long); c.long {
		if n == 0 {
			t.Error("no cut was longer than two minutes: take more seeds")
		}
		reportRow(t, 12, "%d cuts of 2 minutes to 3 hours: all see all at most %.1f s after the healing", n, x)
	}
}

// disturb kills a node, or starts one again, here or at another address. As many stay as keep the cluster findable: one
// on either side of every cut that knows and is known.
func (s *swarm) disturb(c *campaign, open func(a, b int) bool) {
	i := 1 + s.rng.IntN(s.n)
	if s.nodes[i] != nil {
		s.kill(i)
		c.meet("restart during the cut")
		if s.rng.IntN(2) == 0 {
			return
		}
		time.Sleep(between(s.rng, 10*time.Millisecond, 30*time.Second))
	}
	if i > 1 && s.rng.IntN(2) == 0 { // node 1 stays where it is: everybody knows it
		s.move(i)
		c.meet("restart at another address")
	}
	s.launch(i)
	s.divide(open)
}

// divide cuts what isn't open, at the addresses as they are.
func (s *swarm) divide(open func(a, b int) bool) {
	s.net.HealAll()
	for a := 1; a <= s.n; a++ {
		for b := 1; b <= s.n; b++ {
			if a != b && !open(a, b) {
				s.net.Cut(s.addressOf(a), s.addressOf(b))
			}
		}
	}
}

func (s *swarm) byAddress(open func(a, b int) bool) func(a, b string) bool {
	number := func(ip string) (i int) { fmt.Sscan(ip[strings.LastIndexByte(ip, '.')+1:], &i); return i }
	return func(a, b string) bool { x, y := number(a), number(b); return open(x, y) && open(y, x) }
}

// TestCampaignLoss counts deaths of nodes that live, at losses of up to 20% of packets.
func TestCampaignLoss(t *testing.T) {
	const mild = "false deaths at up to 5% loss"
	c := runSeeds(t, 2, func(c *campaign, t *testing.T, rng *rand.Rand, seed uint64) {
		n := 3 + rng.IntN(13)
		drop := []float64{0.01, 0.05, 0.1, 0.15, 0.2}[rng.IntN(5)]
		s := newSwarm(t, rng, seed, n, simnet.Faults{Drop: drop, Duplicate: 0.05, MinDelay: time.Millisecond, MaxDelay: 40 * time.Millisecond})
		defer s.end()
		span := time.Minute
		if c.long {
			span = 10 * time.Minute
		}
		began := time.Now()
		time.Sleep(span)
		dead := s.deaths(began, func(death) bool { return true })
		c.figure(fmt.Sprintf("false deaths at %2.0f%% loss", 100*drop), float64(dead))
		if drop <= 0.05 {
			c.figure(mild, float64(dead))
		}
		if drop <= 0.05 && dead > 0 {
			t.Errorf("%d nodes, %.0f%% loss: %d deaths told in %v", n, 100*drop, dead, span)
		}
		s.net.SetFaults(simnet.Faults{})
		s.await(30*time.Second, "all to see all", func() bool { return s.agree(n) })
	})
	n, x := c.most(mild)
	reportRow(t, 13, "%d clusters at 1 to 5%% loss: at most %.0f false deaths in each; all see all after up to 20%%", n, x)
}

// TestCampaignStarvation is FAULTS.md row 34: one node gets CPU only now and then. No healthy node is told that another
// healthy one died; how often the starved one dies and comes back is counted.
func TestCampaignStarvation(t *testing.T) {
	const healthyDeaths = "deaths of healthy nodes told to healthy ones"
	c := runSeeds(t, 3, func(c *campaign, t *testing.T, rng *rand.Rand, seed uint64) {
		n := 3 + rng.IntN(13)
		s := newSwarm(t, rng, seed, n, drawFaults(c, rng, 0.02))
		defer s.end()
		starved := 1 + rng.IntN(n)
		span := 2 * time.Minute
		if c.long {
			span = time.Hour
		}
		longest, awake := between(rng, 200*time.Millisecond, 10*time.Second), between(rng, 5*time.Millisecond, 5*time.Second)
		if seed%3 == 2 { // next to nothing, when its words of suspicion and of death leave together
			longest, awake = 8500*time.Millisecond, 10*time.Millisecond
			c.meet("awake for up to 10 ms")
		}
		c.meet(map[bool]string{true: "bursts of up to 2 s", false: "bursts of up to 10 s"}[longest < 2*time.Second])
		began := time.Now()
		for time.Since(began) < span {
			d := time.Duration(rng.Int64N(int64(longest)))
			s.net.Stall(address(starved), d)
			time.Sleep(d + time.Duration(rng.Int64N(int64(awake))))
		}
		healthy := s.deaths(began, func(d death) bool { return d.by != starved && d.of != starved })
		itself := s.deaths(began, func(d death) bool { return d.of == starved })
		c.figure(healthyDeaths, float64(healthy))
		c.figure("deaths of the starved node, a healthy node and hour", float64(itself)/float64(n-1)/span.Hours())
		if healthy > 0 {
			t.Errorf("%d nodes, %d starved for up to %v with up to %v between: %d deaths of healthy nodes", n, starved, longest, awake, healthy)
		}
		c.figure("seconds until the starved node is back for good", s.await(30*time.Second, "all to see all", func() bool { return s.agree(n) }).Seconds())
	})
	n, x := c.most(healthyDeaths)
	reportRow(t, 34, "%d clusters, each with a starved node for %s: at most %.0f deaths of healthy nodes told to healthy ones", n,
		map[bool]string{true: "a virtual hour", false: "2 virtual minutes"}[c.long], x)
}

// reportRow says the figures of a row of FAULTS.md in the line that .ci/campaign gathers: row, test, figures, verdict.
func reportRow(t *testing.T, row int, format string, args ...any) {
	t.Helper()
	verdict := "ok"
	if t.Failed() {
		verdict = "FAILED"
	}
	t.Logf("row %d: gossip/%s: %s: %s", row, t.Name(), fmt.Sprintf(format, args...), verdict)
}
