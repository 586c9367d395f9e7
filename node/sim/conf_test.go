package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/check"
	"nodedb/node/config"
	"nodedb/node/rpc/simnet"
)

// conf is what a seed says of a cluster and its clients.
type conf struct {
	nodes    int // the last joiners of them join while the sessions work
	joiners  int
	rf       int
	level    consistency.Level // of writes
	reads    consistency.Level
	tokens   []int // by machine
	sync     string
	period   time.Duration // of sync periodic
	window   time.Duration // max_hint_window
	hints    int64         // max_hints_size_per_host
	rate     int64         // hinted_handoff_throttle
	target   time.Duration // anti_entropy_target
	grace    time.Duration // anti_entropy_grace
	write    time.Duration // timeouts
	read     time.Duration
	scan     time.Duration
	net      simnet.Faults // all the time
	sessions int
	think    time.Duration
	busy     time.Duration // how long the sessions work
	vary     bool          // some writes go at ALL or ONE
	loads    []string      // workloads; nil: all but those of one family alone
	reread   bool          // registers are read twice, through two machines
	mend     mend          // the family's, unless its shape says another
	steady   int           // the last so many machines: only they coordinate, and nothing befalls them while they do; 0: all coordinate, and all may fail
}

// pick draws one of some values.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newConf draws a configuration: small clusters, in which everything happens sooner.
func newConf(r *rand.Rand) conf {
	c := conf{nodes: 3 + r.IntN(3), rf: 3, level: pick(r, consistency.Quorum, consistency.Quorum, consistency.Quorum, consistency.LocalQuorum)}
	c.reads = c.level
	weight := pick(r, 1, 4, 8, 16)
	for range c.nodes {
		c.tokens = append(c.tokens, weight)
	}
	if r.IntN(4) == 0 {
		c.tokens[r.IntN(c.nodes)] *= 2 // a machine twice as big
	}
	c.sync = "batch"
	c.period = pick(r, time.Second, 10*time.Second)
	c.window = pick(r, time.Hour, 3*time.Hour, 20*time.Second)
	c.hints = pick[int64](r, 1<<30, 1<<20, 64<<10)
	c.rate = pick[int64](r, 32<<20, 256<<10)
	c.write = pick(r, 2*time.Second, 1*time.Second, 5*time.Second)
	c.read = pick(r, 5*time.Second, 2*time.Second)
	c.scan = pick(r, 10*time.Second, 5*time.Second)
	c.net = simnet.Faults{MinDelay: 50 * time.Microsecond, MaxDelay: pick(r, 500*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond)}
	c.sessions = 4 + r.IntN(5)
	c.think = pick(r, 100*time.Millisecond, 200*time.Millisecond)
	c.busy = time.Duration(40+r.IntN(20)) * time.Second
	return c
}

// repair draws how often and how soon replicas are compared, from a source of its own: what it draws shifts nothing else.
func (c *conf) repair(r *rand.Rand) {
	c.target = pick(r, 30*time.Second, time.Minute, 3*time.Minute)
	c.grace = pick(r, time.Second, 5*time.Second, 10*time.Second)
}

// loosen draws what only some families, or seeds, have: writes at other levels, and where no fault takes a node down, syncs now and then.
func (c *conf) loosen(r *rand.Rand, faults []*fault) {
	c.vary = r.IntN(3) == 0
	if !slices.ContainsFunc(faults, (*fault).takesDown) {
		c.sync = pick(r, "batch", "periodic")
	}
}

// otherLevels are levels of writes and reads, beside QUORUM, at which a read asks a replica of every acknowledged write: the last where there are at most three.
var otherLevels = [...][2]consistency.Level{{consistency.One, consistency.All}, {consistency.All, consistency.One}, {consistency.Two, consistency.Two}}

// replicate draws how many replicas there are, and other levels in one seed of four, where the family leaves that open; from a source of its own, as repair.
func (c *conf) replicate(r *rand.Rand, f *family) {
	rf, other, levels := pick(r, 3, 3, 3, 2, 4, 5), r.IntN(4) == 0, otherLevels[r.IntN(len(otherLevels))]
	if !f.ownRF {
		c.rf = min(rf, c.founders())
	}
	if other && !f.quorum && (levels[0] != consistency.Two || c.rf <= 3) {
		c.level, c.reads = levels[0], levels[1]
	}
}

// with adds workloads to those that run where none are named.
func (c *conf) with(asked ...string) { c.loads = append(c.workloads(), asked...) }

// never is an anti_entropy_target, or grace, that no run lasts for.
const never = 10000 * time.Hour

// workloads are the names of those that the sessions do.
func (c *conf) workloads() []string {
	if c.loads != nil {
		return c.loads
	}
	return slices.DeleteFunc(check.Names(), func(name string) bool { return name == "logged" })
}

// founders is how many machines found the cluster.
func (c *conf) founders() int { return c.nodes - c.joiners }

// movable are the machines that faults may befall.
func (c *conf) movable() []int { return all(c)[:c.nodes-c.steady] }

// apply sets a node's configuration.
func (c *conf) apply(i int, to *config.Config) {
	to.NumTokens = c.tokens[i-1]
	to.CommitlogSync, to.CommitlogSyncPeriod = c.sync, config.Duration(c.period)
	to.MaxHintWindow, to.MaxHintsSizePerHost, to.HintedHandoffRate = config.Duration(c.window), config.Size(c.hints), config.Size(c.rate)
	to.AntiEntropyTarget, to.AntiEntropyGrace = config.Duration(c.target), config.Duration(c.grace)
	to.WriteRequestTimeout, to.ReadRequestTimeout, to.RangeRequestTimeout = config.Duration(c.write), config.Duration(c.read), config.Duration(c.scan)
}

func (c *conf) String() string {
	return fmt.Sprintf("%d nodes, the last %d join, rf %d, writes at %s, reads at %s, tokens %v, sync %s %v, hints %v %d B %d B/s, compared in %v after %v, timeouts %v %v %v, net %+v, %d sessions thinking %v for %v, %v, vary %t, reread %t, %d steady",
		c.nodes, c.joiners, c.rf, c.level, c.reads, c.tokens, c.sync, c.period, c.window, c.hints, c.rate, c.target, c.grace, c.write, c.read, c.scan, c.net, c.sessions, c.think, c.busy, c.loads, c.vary, c.reread, c.steady)
}
