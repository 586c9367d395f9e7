package sim

import (
	"math/rand/v2"
	"time"

	"nodedb/node/rpc/simnet"
)

// Families in which nothing but reads mends: what they leave wrong stays wrong, so that it is seen. They belong to no row of FAULTS.md.

// onlyReads: no hint has room and nothing is ever compared, so that what a replica missed it lacks until it is read.
func onlyReads(c *conf) { c.mend, c.hints, c.target, c.grace = byReads, 1, never, never }

// readsShape: reads alone mend, and some go to where repairs are lost, or pages end.
func readsShape(c *conf) {
	onlyReads(c)
	c.reread = true
	c.with("edges", "graves")
}

// mildLoss loses and delays messages as long as the sessions work.
func mildLoss(r *rand.Rand, c *conf) *fault {
	return &fault{kind: kindNet, at: 1, last: c.busy, net: simnet.Faults{Drop: pick(r, 0.01, 0.03, 0.06), MinDelay: c.net.MinDelay,
		MaxDelay: pick(r, 10*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond)}}
}

// memoryFaults restarts one machine after the other, in every way, while messages are lost: what memory tables promise holds for one at a time.
func memoryFaults(r *rand.Rand, c *conf) []*fault {
	list := []*fault{mildLoss(r, c)}
	for at := ms(r, 1000, 4000); at < c.busy-4*time.Second; {
		f := &fault{kind: pick(r, kindKill, kindPower, kindRestart), alone: true, at: at, last: ms(r, 100, 5000), who: one(r, c), after: operations(r), keep: pick(r, 0, 50)}
		if f.kind == kindKill {
			f.keep = 100
		}
		if r.IntN(2) == 0 { // another replica lacks what was written lately: who takes its word alone loses that
			other := 1 + (f.who[0]+r.IntN(c.nodes-1))%c.nodes
			list = append(list, &fault{kind: kindUnwritten, at: max(0, at-ms(r, 2000, 5000)), last: ms(r, 3000, 8000), who: []int{other}})
		}
		list = append(list, f)
		at += f.last + crashWait + ms(r, 4000, 10000)
	}
	return list
}
