package sim

import (
	"math/rand/v2"
	"time"

	"nodedb/node/rpc/simnet"
)

// family is a kind of run, for a row of FAULTS.md.
type family struct {
	name string
	row  string // of FAULTS.md
	// shape changes the drawn configuration where the row asks for it.
	shape func(r *rand.Rand, c *conf)
	// faults draws what goes wrong.
	faults func(r *rand.Rand, c *conf) []*fault
	// meets are the faults that a seed is meant to meet: whether it did is counted.
	meets []kind
	// agree bounds how long after the last fault all nodes may take to have one schema and ring; 0: quietBound.
	agree time.Duration
	// watch counts what the halves of a partition answer; the minority must not reach the level.
	watch bool
	// memberlist tells who is alive, not heartbeats: such a run does not repeat itself.
	memberlist bool
	// blind: its sessions only write; what they wrote is read in the end.
	blind bool
	// ownRF: its shape says how many replicas there are.
	ownRF bool
	// quorum: what it promises, or judges, holds of writes and reads at QUORUM.
	quorum bool
	// mend is what makes the replicas equal in the end.
	mend mend
}

// ms draws a time between two, in milliseconds.
func ms(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+r.IntN(to-from+1))*time.Millisecond + time.Duration(r.IntN(1e6))
}

func all(c *conf) (who []int) {
	for i := range c.nodes {
		who = append(who, i+1)
	}
	return who
}

// oneByOne draws faults that follow each other, with time to recover in between.
func oneByOne(r *rand.Rand, c *conf, draw func() *fault) (list []*fault) {
	for at := ms(r, 1000, 4000); at < c.busy-4*time.Second; {
		f := draw()
		f.at = at
		list = append(list, f)
		at += f.last + crashWait + ms(r, 1000, 8000)
	}
	return list
}

func one(r *rand.Rand, c *conf) []int { return []int{1 + r.IntN(c.nodes)} }

// operations draws after how many of a disk's a crash comes.
func operations(r *rand.Rand) int { return 1 + r.IntN(pick(r, 3, 30, 150)) }

// families are all there are, in the order of FAULTS.md.
var families = []*family{
	{name: "crash-one", row: "1", meets: []kind{kindKill}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			return &fault{kind: kindKill, last: ms(r, 100, 9000), who: one(r, c), after: operations(r), keep: 100}
		})
	}},
	{name: "crash-all", row: "2", meets: []kind{kindKill}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			return &fault{kind: kindKill, last: ms(r, 100, 3000), who: shuffled(r, all(c)), after: operations(r), keep: 100}
		})
	}},
	{name: "power", row: "3", meets: []kind{kindPower}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			who := shuffled(r, all(c))
			if r.IntN(2) == 0 {
				who = who[:1]
			}
			return &fault{kind: kindPower, last: ms(r, 100, 5000), who: who, after: operations(r), keep: pick(r, 0, 0, 30, 70)}
		})
	}},
	{name: "fsync", row: "5", meets: []kind{kindFsync}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			return &fault{kind: kindFsync, last: ms(r, 100, 5000), who: one(r, c), after: operations(r), keep: pick(r, 0, 50)}
		})
	}},
	{name: "partition", row: "10", watch: true, ownRF: true, quorum: true, meets: []kind{kindPartition}, shape: func(r *rand.Rand, c *conf) {
		c.nodes = pick(r, 3, 5)
		c.rf = c.nodes // else a majority of nodes may hold a minority of a row's replicas
		c.busy = 60 * time.Second
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return []*fault{{kind: kindPartition, at: ms(r, 3000, 10000), last: ms(r, 14000, 40000), who: shuffled(r, all(c))[:1+r.IntN(c.nodes/2)]}}
	}},
	{name: "odd", row: "11", agree: 30 * time.Second, meets: []kind{kindOneWay, kindRing, kindBridge}, shape: func(r *rand.Rand, c *conf) {
		c.nodes = 4 + r.IntN(2) // three in a ring are whole
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			return &fault{kind: pick(r, kindOneWay, kindRing, kindBridge), last: ms(r, 2000, 15000), who: shuffled(r, all(c))[:1+r.IntN(2)]}
		})
	}},
	{name: "lossy", row: "13", meets: []kind{kindNet}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault { return &fault{kind: kindNet, last: ms(r, 5000, 25000), net: lossyNet(r)} })
	}},
	{name: "pause", row: "14", meets: []kind{kindPause}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault { return &fault{kind: kindPause, last: ms(r, 1000, 20000), who: one(r, c)} })
	}},
	{name: "ties", row: "18", blind: true, meets: []kind{kindNet}, shape: func(r *rand.Rand, c *conf) {
		if r.IntN(2) == 0 {
			onlyReads(c)
		}
		c.loads = []string{"ties"}
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return []*fault{{kind: kindNet, at: 1, last: c.busy, net: simnet.Faults{Drop: pick(r, 0, 0.03, 0.1), Duplicate: 0.1, MinDelay: 50 * time.Microsecond,
			MaxDelay: pick(r, 5*time.Millisecond, 200*time.Millisecond)}}}
	}},
	{name: "ddl", row: "24", agree: 10 * time.Second, meets: []kind{kindPartition, kindKill, kindPower}, shape: func(r *rand.Rand, c *conf) {
		c.loads = []string{"schemas", "registers"} // more tables make more ranges to compare: schemas alone cost half a minute of CPU a seed
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			f := &fault{kind: pick(r, kindPartition, kindPartition, kindKill, kindPower, kindPower), last: ms(r, 100, 12000), after: operations(r),
				who: shuffled(r, all(c))[:1+r.IntN(c.nodes/2)]}
			switch f.kind {
			case kindPower:
				f.last, f.who = ms(r, 100, 3000), shuffled(r, all(c))[:1+r.IntN(c.nodes)]
			case kindKill:
				f.keep = 100
			}
			return f
		})
	}},
	{name: "holder", row: "26", meets: []kind{kindPower}, faults: holderFaults},
	{name: "handoff", row: "25, 26", mend: byHints, shape: func(r *rand.Rand, c *conf) {
		c.steady = 1 + r.IntN(2)
		c.hints, c.window, c.target, c.grace = 1<<30, 3*time.Hour, never, never
		c.rate = pick[int64](r, 8<<10, 64<<10, 32<<20) // slow ones are still under way when their holders fail
	}, faults: handoffFaults},
	{name: "logged", row: "29", quorum: true, meets: []kind{kindKill, kindPower, kindPartition, kindNet}, shape: func(r *rand.Rand, c *conf) {
		c.loads = []string{"logged", "registers"}
		c.think = pick(r, 20*time.Millisecond, 100*time.Millisecond) // a crash finds some under way
	}, faults: loggedFaults},
	{name: "repair", row: "-", ownRF: true, shape: func(r *rand.Rand, c *conf) {
		c.nodes = 3 + 2*r.IntN(2)
		c.rf = c.nodes
		c.hints, c.target, c.grace = 1, pick(r, 10*time.Second, 20*time.Second), time.Second // no hint has room
		c.busy /= 2
		c.with("bulk") // enough rows to be cut into pieces
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault { return away(r, c, all(c)) })
	}},
	{name: "suspicion", row: "-", mend: bySuspicion, shape: func(r *rand.Rand, c *conf) {
		c.steady = 1 + r.IntN(2)
		c.hints, c.window, c.target, c.grace = pick[int64](r, 1, 2<<10, 64<<10), pick(r, 3*time.Second, time.Hour), never, pick(r, time.Second, 3*time.Second)
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		if r.IntN(2) == 0 { // nobody is taken for dead: only lost hints tell
			return []*fault{{kind: kindNet, at: 1, last: c.busy, net: simnet.Faults{Drop: 0.02, MinDelay: c.net.MinDelay, MaxDelay: c.net.MaxDelay}}}
		}
		return oneByOne(r, c, func() *fault { return away(r, c, c.movable()) })
	}},
	{name: "reads", row: "-", shape: func(r *rand.Rand, c *conf) {
		readsShape(c)
		if r.IntN(3) == 0 { // registers are mostly read while they are being written
			c.loads, c.think = []string{"registers"}, 20*time.Millisecond
			c.busy /= 2
		}
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return append(oneByOne(r, c, func() *fault {
			if r.IntN(3) == 0 { // what is written now is on one machine, unless a read brings it to others
				return &fault{kind: kindUnwritten, last: ms(r, 500, 4000), who: shuffled(r, all(c))[:c.nodes-1]}
			}
			return away(r, c, all(c))
		}), mildLoss(r, c))
	}},
	{name: "memory", row: "-", ownRF: true, quorum: true, meets: []kind{kindKill, kindPower, kindRestart}, shape: func(r *rand.Rand, c *conf) {
		readsShape(c)
		c.loads = []string{"memory", "appends"}
	}, faults: memoryFaults},
	{name: "join", row: "4, 22", ownRF: true, quorum: true, meets: []kind{kindJoin, kindLate, kindStale, kindUnwritten}, shape: joinShape, faults: joinFaults},
	{name: "gossip", row: "-", memberlist: true, agree: 30 * time.Second, meets: []kind{kindPartition, kindKill, kindRestart}, shape: func(_ *rand.Rand, c *conf) {
		c.nodes = 3
	}, faults: func(r *rand.Rand, c *conf) []*fault {
		return oneByOne(r, c, func() *fault {
			return &fault{kind: pick(r, kindPartition, kindKill, kindRestart), last: ms(r, 100, 15000), who: one(r, c), after: operations(r), keep: 100}
		})
	}},
	{name: "mixed", row: "all", faults: func(r *rand.Rand, c *conf) (list []*fault) {
		for range 1 + r.IntN(3) { // so many at a time
			list = append(list, oneByOne(r, c, func() *fault { return anyFault(r, c) })...)
		}
		return list
	}},
}

// loggedFaults: machines fail, half of the time while the network loses what they send: then batches are under way of which some partitions are written and
// others not.
func loggedFaults(r *rand.Rand, c *conf) (list []*fault) {
	for _, f := range oneByOne(r, c, func() *fault {
		f := &fault{kind: pick(r, kindKill, kindKill, kindPower, kindPower, kindPartition, kindNet), last: ms(r, 100, 9000), after: operations(r),
			who: shuffled(r, all(c))[:1+r.IntN(2)], keep: pick(r, 0, 50), net: lossyNet(r)}
		if f.kind == kindKill {
			f.keep = 100
		}
		return f
	}) {
		list = append(list, f)
		if (f.kind == kindKill || f.kind == kindPower) && r.IntN(2) == 0 {
			bad := c.net
			bad.Drop = pick(r, 0.15, 0.4)
			list = append(list, &fault{kind: kindNet, at: max(0, f.at-ms(r, 200, 1500)), last: ms(r, 2000, 5000), net: bad})
		}
	}
	return list
}

// holderFaults: one machine is down while others write, and then those that hold its hints lose their power, one after the other, as it comes back.
func holderFaults(r *rand.Rand, c *conf) (list []*fault) {
	for at := ms(r, 1000, 3000); at < max(c.busy-20*time.Second, 4*time.Second); at += ms(r, 25000, 30000) {
		who := shuffled(r, all(c))
		down := ms(r, 5000, 12000)
		list = append(list, &fault{kind: kindKill, at: at, last: down, who: who[:1], after: 1, keep: 100},
			&fault{kind: kindPower, at: at + down - ms(r, 0, 2000), last: ms(r, 500, 3000), who: who[1:2], after: operations(r), keep: pick(r, 0, 50)})
	}
	return list
}

// away draws a fault after which a machine lacks what was written meanwhile.
func away(r *rand.Rand, c *conf, who []int) *fault {
	f := &fault{kind: pick(r, kindKill, kindPower, kindPause, kindPartition, kindOneWay, kindNet), last: ms(r, 500, 9000), who: shuffled(r, who)[:1+r.IntN(len(who))],
		after: operations(r), keep: pick(r, 0, 50), net: lossyNet(r)}
	switch f.kind {
	case kindKill:
		f.keep = 100
	case kindPartition, kindOneWay:
		f.who = f.who[:min(len(f.who), c.nodes-1)] // all against nobody is no fault
	}
	return f
}

// handoffFaults: replicas are away, one still when the sessions end; as it comes back the holders of its hints lose their power, again and again.
func handoffFaults(r *rand.Rand, c *conf) []*fault {
	list := oneByOne(r, c, func() *fault { return away(r, c, c.movable()) })
	last := away(r, c, c.movable())
	last.at = max(time.Second, c.busy-ms(r, 5000, 15000))
	last.last = c.busy - last.at + c.write + ms(r, 1000, 4000)
	list = append(list, last)
	at := ms(r, 100, 2000)
	for range 1 + r.IntN(3) {
		f := &fault{kind: kindPower, late: true, at: at, last: ms(r, 100, 2000), who: []int{c.nodes - r.IntN(c.steady)}, after: operations(r), keep: pick(r, 0, 0, 50)}
		list = append(list, f)
		at += f.last + crashWait + ms(r, 100, 4000)
	}
	return list
}

// anyFault draws one of all kinds.
func anyFault(r *rand.Rand, c *conf) *fault {
	f := &fault{kind: pick(r, kindKill, kindPower, kindRestart, kindFsync, kindPartition, kindOneWay, kindRing, kindBridge, kindNet, kindPause, kindSlow),
		last: ms(r, 100, 8000), who: one(r, c), after: operations(r), keep: pick(r, 0, 50), net: lossyNet(r), slow: ms(r, 10, 800)}
	switch f.kind {
	case kindKill:
		f.keep = 100
		if r.IntN(4) == 0 {
			f.who = shuffled(r, all(c))
		}
	case kindPower:
		if r.IntN(4) == 0 {
			f.who = shuffled(r, all(c))
		}
	case kindPartition, kindOneWay:
		f.who = shuffled(r, all(c))[:1+r.IntN(c.nodes/2)]
	}
	return f
}

func shuffled(r *rand.Rand, list []int) []int {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func familyOf(name string) *family {
	for _, f := range families {
		if f.name == name {
			return f
		}
	}
	return nil
}
