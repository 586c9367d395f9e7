package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"

	"nodedb/node/check"
	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
)

// hash derives a number from a seed and what it is for.
func hash(seed uint64, what ...any) uint64 {
	d := xxhash.NewWithSeed(seed)
	fmt.Fprintln(d, what...)
	return d.Sum64()
}

// scenario is all that decides a run.
type scenario struct {
	family *family
	seed   uint64
	drop   []int // faults left out, by number
	steps  int   // of each session; 0: until the time is over
	short  bool  // in plain go test
	twice  bool  // run it again, and compare the histories
}

// report is what came of a run.
type report struct {
	Family   string
	Seed     uint64
	Hash     uint64
	Acked    int
	Refused  int
	Unknown  int
	Messages int
	Virtual  time.Duration
	Reads    int // of Acked
	Met      map[kind]int
	Failures []string
	Faults   int     // drawn, also those left out
	Seconds  float64 // of the wall clock, on a machine that others may use, too
	CPU      float64 // seconds that the process used
	Twice    bool
	Drop     string
	Steps    int
	history  *history
}

// world is one simulated cluster, in a bubble.
type world struct {
	scenario
	conf     conf
	faults   []*fault // also those left out
	net      *simnet.Network
	machines []*machine
	suite    *check.Suite
	history  *history
	logs     bool // say what nodes log
	lives    sync.WaitGroup
	turn     chan struct{} // of faults that happen alone
	halves   *halves       // nil: partitions aren't watched

	mu struct {
		sync.Mutex
		met      map[kind]int
		fates    map[simnet.Fate]int
		failures []string
		events   int // deliveries since memory was looked at
	}
}

// simulate runs a scenario in a bubble.
func simulate(t *testing.T, s scenario, logs bool) *report {
	var out *report
	synctest.Test(t, func(*testing.T) {
		w := newWorld(s, logs)
		w.run()
		out = w.report()
	})
	return out
}

func newWorld(s scenario, logs bool) *world {
	w := &world{scenario: s, turn: make(chan struct{}, 1), history: newHistory(), logs: logs}
	w.mu.met, w.mu.fates = map[kind]int{}, map[simnet.Fate]int{}
	r := w.rand("conf")
	w.conf = newConf(r)
	w.conf.repair(w.rand("repair"))
	w.conf.mend = s.family.mend
	if s.family.shape != nil {
		s.family.shape(r, &w.conf)
	}
	if s.short {
		w.conf.busy = shortBusy
		for i := range w.conf.tokens {
			w.conf.tokens[i] = shortTokens
		}
	}
	w.conf.replicate(w.rand("replicate"), s.family)
	w.faults = s.family.faults(w.rand("faults"), &w.conf)
	w.conf.loosen(w.rand("loosen"), w.faults)
	if s.family.watch {
		w.halves = &halves{w: w}
	}
	for len(w.conf.tokens) < w.conf.nodes {
		w.conf.tokens = append(w.conf.tokens, w.conf.tokens[0])
	}
	for i := range w.conf.tokens {
		w.conf.tokens[i] = min(w.conf.tokens[i], maxTokens/w.conf.nodes)
	}
	w.net = simnet.New(simnet.Options{Seed: s.seed, Settle: w.settle, Faults: w.conf.net, Observe: w.observe,
		Opaque: func(v rpc.Verb) bool { return v == rpc.VerbStatus }}) // it tells the size of the store, which Pebble's background work decides
	for i := range w.conf.nodes {
		w.machines = append(w.machines, newMachine(w, i+1))
	}
	w.suite = check.New(check.Options{
		Seed: s.seed, Level: w.conf.level, Read: w.conf.reads, Sessions: w.conf.sessions, Think: w.conf.think, Steps: s.steps, Workloads: w.conf.workloads(), Vary: w.conf.vary, Reread: w.conf.reread,
		Replication: fmt.Sprintf("{'class': 'SimpleStrategy', 'replication_factor': %d}", w.conf.rf),
	})
	return w
}

// rand is the random source of one purpose: what one draws more shifts no other.
func (w *world) rand(purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, hash(w.seed, purpose, w.family.name)))
}

// maxTokens bounds those of all machines together: each makes a range of every table, which is compared again and again, and that is what a seed costs.
const maxTokens = 40

// Plain go test is short: sessions work for less, and there are few ranges for anti-entropy to compare.
const (
	shortBusy   = 12 * time.Second
	shortTokens = 2
)

const (
	// collectEvery deliveries memory is looked at, and collected beyond collectAbove bytes: while nothing runs, so that the collector can't change the order
	// of goroutines. The collector is off otherwise.
	collectEvery = 2000
	collectAbove = 600 << 20
)

// settle lets everything come to rest before each delivery.
func (w *world) settle() {
	synctest.Wait()
	w.mu.events++
	if w.mu.events%collectEvery == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > collectAbove {
			runtime.GC()
		}
	}
}

func (w *world) observe(d simnet.Delivery) {
	w.history.delivered(d)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.fates[d.Fate]++
}

func (w *world) count(f simnet.Fate) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.fates[f]
}

func (w *world) met(k kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.met[k]++
}

// fail notes that something is wrong.
func (w *world) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.history.say("FAILURE: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.failures = append(w.mu.failures, text)
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.failures) > 0
}

// run is the story of a seed: found a cluster, work while things fail, heal, become quiet and equal, and be judged.
func (w *world) run() {
	w.history.say("seed %d, family %s: %v", w.seed, w.family.name, &w.conf)
	defer w.end()
	founders := w.machines[:w.conf.founders()]
	for _, m := range founders {
		time.Sleep(time.Millisecond + time.Duration(m.i))
		m.turnOn()
	}
	if !w.ready(founders, startBound) {
		return
	}
	clients := w.clients()
	ctx := context.Background()
	if err := w.suite.Setup(ctx, clients[0]); err != nil {
		w.fail("setup: %v", err)
		return
	}
	w.safety(clients)
	w.heal()
	if !w.ready(w.machines, startBound+time.Duration(w.conf.joiners)*joinBound) {
		return
	}
	w.liveness(clients)
}

// safety lets the sessions work while things fail.
func (w *world) safety(clients []check.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), w.conf.busy)
	defer cancel()
	var faults sync.WaitGroup
	start := func(late bool) {
		for i, f := range w.faults {
			if f.late == late && !slices.Contains(w.drop, i) {
				faults.Go(func() { w.inject(f) })
			}
		}
	}
	start(false)
	reads, writes := w.suite.History().Acked()
	w.suite.Run(ctx, clients[len(clients)-w.coordinators():])
	w.worked(reads, writes)
	time.Sleep((w.conf.write + time.Second) | 1) // what was asked of a replica in vain is a hint by then
	start(true)
	faults.Wait()
	if w.halves != nil {
		w.halves.judge()
	}
}

// leastEvery: a run in which little was acknowledged proves little. While the sessions work one read and one write have to be in so much time, on average.
const leastEvery = 2 * time.Second

// worked checks that; reads and writes are what had been acknowledged before.
func (w *world) worked(reads, writes int) {
	r, wr := w.suite.History().Acked()
	reads, writes = r-reads, wr-writes
	w.history.say("acknowledged while things failed: %d reads, %d writes", reads, writes)
	least := int(w.conf.busy / leastEvery)
	if w.steps == 0 && (reads < least && !w.family.blind || writes < least) {
		w.fail("it proves little: %d reads and %d writes were acknowledged in %v", reads, writes, w.conf.busy)
	}
}

// wasMet checks that what the seed is for happened: one of the faults that the family is meant to meet, or any.
func (w *world) wasMet() {
	w.mu.Lock()
	met := len(w.family.meets) == 0 && len(w.mu.met) > 0
	for _, k := range w.family.meets {
		met = met || w.mu.met[k] > 0
	}
	w.mu.Unlock()
	if !met && len(w.drop) == 0 {
		w.fail("it proves little: none of its faults happened")
	}
}

// coordinators is how many machines the sessions go to.
func (w *world) coordinators() int {
	if w.conf.steady > 0 {
		return w.conf.steady
	}
	return w.conf.nodes
}

// heal ends what still goes wrong: every machine is on, and hears every other.
func (w *world) heal() {
	w.history.say("healed")
	w.net.HealAll()
	w.net.SetFaults(simnet.Faults{MinDelay: w.conf.net.MinDelay, MaxDelay: w.conf.net.MaxDelay})
	if w.count(simnet.Dropped)+w.count(simnet.Duplicated) > 0 {
		w.met(kindNet)
	}
	for _, m := range w.machines {
		m.disk.arm(nil)
		m.turnOn()
	}
	w.wasMet()
}

// clients gives one client a machine; every other one prepares its statements.
func (w *world) clients() (list []check.Client) {
	for _, m := range w.machines {
		c := &client{m: m, prepares: (w.seed+uint64(m.i))%2 == 0}
		c.mu.ids = map[string][16]byte{}
		if w.halves != nil {
			c.told = func(begun time.Time, s *check.Statement, o check.Outcome) { w.halves.told(m.i, begun, s, o) }
		}
		list = append(list, c)
	}
	return list
}

// lastProbe is how long goroutines of memberlist may outlive their node: a probe's time, which grows up to eightfold on a bad network.
const lastProbe = 10 * time.Second

// end turns everything off.
func (w *world) end() {
	for _, m := range w.machines {
		if err := m.off(); err != nil && !w.failed() {
			w.fail("the last stop of machine %d: %v", m.i, err)
		}
	}
	w.lives.Wait()
	if w.family.memberlist {
		time.Sleep(lastProbe)
	}
	w.net.Close()
	w.history.say("the end")
}

func (w *world) report() *report {
	r := &report{Family: w.family.name, Seed: w.seed, Hash: w.history.hash(), Met: w.mu.met, Failures: w.mu.failures, history: w.history,
		Virtual: w.history.now(), Faults: len(w.faults)}
	r.Acked, r.Refused, r.Unknown = w.suite.History().Counts()
	r.Reads, _ = w.suite.History().Acked()
	for _, n := range w.mu.fates {
		r.Messages += n
	}
	return r
}

// logger gives a node's log: into the history, or nowhere.
func (w *world) logger(i, life int) *slog.Logger {
	if !w.logs {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(logLines{w, i, life}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type logLines struct {
	w       *world
	i, life int
}

func (l logLines) Write(b []byte) (int, error) {
	l.w.history.say("machine %d.%d: %s", l.i, l.life, b[:len(b)-1])
	return len(b), nil
}
