package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"nodedb/node"
	"nodedb/node/disk"
	"nodedb/node/rpc/simnet"
)

// fault is one thing that goes wrong. A run's faults are drawn before it begins, so that they can be shown, and left out one by one when a failure is
// shrunk.
type fault struct {
	kind  kind
	at    time.Duration // since the sessions began
	last  time.Duration // how long
	who   []int         // machines, from 1
	after int           // operations of the disk until then, where it happens inside one
	keep  int           // what a crash leaves of what was not synced, in percent
	net   simnet.Faults
	slow  time.Duration
	alone bool // it waits until the one before is over and all memory tables have their rows again, and does not happen if that takes too long
	late  bool // at counts from when the sessions have ended and every hint of theirs is durable
}

// kind of fault. What is met is counted under its name.
type kind string

const (
	kindKill      kind = "kill"      // kill -9 of each of who, inside an operation of the first one's disk; started again after last
	kindPower     kind = "power"     // the same, and unsynced bytes go
	kindRestart   kind = "restart"   // a clean stop and start
	kindFsync     kind = "fsync"     // a sync fails: the node has to stop by itself
	kindPartition kind = "partition" // who against the rest
	kindOneWay    kind = "one-way"   // nothing arrives from who at the rest
	kindRing      kind = "ring"      // each machine hears only its neighbours
	kindBridge    kind = "bridge"    // two halves that only who[0] hears and is heard by
	kindNet       kind = "lossy"     // loss, doubling and delay of messages
	kindPause     kind = "pause"     // SIGSTOP
	kindSlow      kind = "slow"      // messages from and to it are late
	kindJoin      kind = "join"      // a machine that was off until then joins; met if it is a full member while the sessions work
	kindUnwritten kind = "unwritten" // no write arrives at who
	kindLate      kind = "late"      // it hears of a new ring from those alone who refuse what it sends under an older one; met if there was one
	kindJudged    kind = "judged"    // no fault: a partition's majority was asked often enough for a verdict
	kindStale     kind = "stale"     // nothing of the metadata log arrives at it; met if it lags behind another machine in the end
)

// takesDown reports whether the fault ends a node without a clean stop, or may: a join that fails does.
func (f *fault) takesDown() bool {
	return f.kind == kindKill || f.kind == kindPower || f.kind == kindFsync || f.kind == kindJoin
}

func (f *fault) String() string {
	s := fmt.Sprintf("%s at %v for %v of %v", f.kind, f.at, f.last, f.who)
	if f.late {
		s = "late " + s
	}
	switch f.kind {
	case kindKill, kindPower, kindFsync:
		s += fmt.Sprintf(" in disk operation %d, keeping %d%%", f.after, f.keep)
	case kindNet:
		s += fmt.Sprintf(" %+v", f.net)
	case kindSlow:
		s += fmt.Sprintf(" by %v", f.slow)
	}
	return s
}

// inject makes a fault happen, from its time to its end. It runs in a goroutine of its own.
func (w *world) inject(f *fault) {
	time.Sleep(f.at | 1)
	if f.alone {
		w.turn <- struct{}{}
		defer func() { <-w.turn }()
		if !w.refilled() {
			return
		}
	}
	w.history.say("fault: %v", f)
	switch f.kind {
	case kindKill, kindPower:
		w.crash(f)
	case kindRestart:
		w.restart(f)
	case kindFsync:
		w.breakSync(f)
	case kindPause:
		w.pause(f)
	case kindSlow:
		for _, i := range f.who {
			w.net.Slow(ip(i), f.slow)
		}
		time.Sleep(f.last | 1)
		for _, i := range f.who {
			w.net.Slow(ip(i), 0)
		}
		w.met(f.kind)
	case kindJoin:
		w.join(f)
	case kindUnwritten:
		w.unwritten(f)
	case kindLate:
		w.late(f)
	case kindStale:
		w.stale(f)
	case kindNet:
		w.net.SetFaults(f.net)
		time.Sleep(f.last | 1)
		w.net.SetFaults(w.conf.net)
	default:
		w.cut(f)
	}
	w.history.say("fault over: %s", f.kind)
}

// refillWait bounds how long a machine that was restarted may take until it has the rows of its memory tables again, with messages lost.
const refillWait = 2 * time.Minute

// refilled waits until every machine has.
func (w *world) refilled() bool {
	for begun := time.Now(); time.Since(begun) < refillWait; time.Sleep(poll) {
		list, why := w.nodes()
		if why == "" && !slices.ContainsFunc(list, (*node.Node).Refilling) {
			return true
		}
	}
	return false
}

// crashWait bounds how long a crash waits for the disk operation that it is to happen in; then it happens in none.
const crashWait = 3 * time.Second

// crash kills machines inside an operation of the first one's disk, and starts them again.
func (w *world) crash(f *fault) {
	first := w.machines[f.who[0]-1]
	l := first.alive()
	if l == nil {
		return // down by another fault
	}
	down := func() {
		for _, i := range f.who {
			m := w.machines[i-1]
			if m.crash(disk.Cut{Keep: f.keep, Seed: hash(w.seed, "cut", i, f.at)}) {
				w.met(f.kind)
			}
		}
	}
	inside := false
	plan := &diskPlan{left: f.after, act: func(op, name string) error {
		inside = true
		w.history.say("machine %d: crash in %s of %s", first.i, op, name)
		down()
		return nil
	}}
	first.disk.arm(plan)
	select {
	case <-l.gone: // by this crash, or another fault: the next incarnation is not to meet what is left of the plan
		first.disk.disarm(plan)
	case <-time.After(crashWait | 1):
		first.disk.disarm(plan)
		if !inside {
			down()
		}
	}
	time.Sleep(f.last | 1)
	for _, i := range f.who {
		w.agreedWithout(w.machines[i-1])
	}
	for _, i := range f.who {
		w.machines[i-1].turnOn()
	}
}

// restart stops and starts nodes one after the other, as an operator does.
func (w *world) restart(f *fault) {
	for _, i := range f.who {
		m := w.machines[i-1]
		l := m.alive()
		if l == nil {
			continue
		}
		if err := m.off(); err != nil && !m.fails(l) {
			w.fail("a clean stop of machine %d: %v", i, err)
		}
		w.met(f.kind)
		time.Sleep(f.last | 1)
		m.turnOn()
	}
}

// failStop is how long a node may live after a failed sync.
const failStop = time.Second

// breakSync lets a sync fail: the node has to stop by itself, and to acknowledge nothing more.
func (w *world) breakSync(f *fault) {
	m := w.machines[f.who[0]-1]
	l := m.alive()
	if l == nil {
		return
	}
	failed := make(chan struct{})
	m.expect(l, disk.Cut{Keep: f.keep, Seed: hash(w.seed, "cut", m.i, f.at)})
	plan := &diskPlan{
		left: f.after, only: func(op, _ string) bool { return op == "sync" },
		act: func(op, name string) error {
			w.history.say("machine %d: %s of %s fails", m.i, op, name)
			w.met(f.kind)
			close(failed)
			return errIO
		},
	}
	m.disk.arm(plan)
	select {
	case <-l.gone: // as it has to, or by another fault, as in crash
		m.disk.disarm(plan)
	case <-failed:
		select {
		case <-l.gone:
		case <-time.After(failStop):
			w.fail("machine %d goes on %v after a failed sync", m.i, failStop)
			m.crash(disk.Cut{Keep: f.keep, Seed: hash(w.seed, "cut", m.i, f.at)})
		}
	case <-time.After(crashWait | 1):
		m.disk.disarm(plan)
		return
	}
	time.Sleep(f.last | 1)
	m.turnOn()
}

// pause takes the CPU away from nodes.
func (w *world) pause(f *fault) {
	for _, i := range f.who {
		w.machines[i-1].sleep(f.last)
		w.net.Stall(ip(i), f.last)
	}
	time.Sleep(f.last | 1)
	w.met(f.kind)
}

// cut makes a partition of the fault's shape and heals it.
func (w *world) cut(f *fault) {
	cuts := w.cutsOf(f)
	for _, c := range cuts {
		w.net.Cut(ip(c[0]), ip(c[1]))
	}
	if f.kind == kindPartition && w.halves != nil {
		w.halves.split(f)
	}
	before := w.count(simnet.Cut)
	time.Sleep(f.last | 1)
	for _, c := range cuts {
		w.net.Heal(ip(c[0]), ip(c[1]))
	}
	if w.count(simnet.Cut) > before {
		w.met(f.kind)
	}
}

// cutsOf lists the directions that a fault cuts: from, to.
func (w *world) cutsOf(f *fault) (cuts [][2]int) {
	inside := map[int]bool{}
	for _, i := range f.who {
		inside[i] = true
	}
	n := len(w.machines)
	for a := 1; a <= n; a++ {
		for b := 1; b <= n; b++ {
			var lost bool
			switch f.kind {
			case kindPartition:
				lost = inside[a] != inside[b]
			case kindOneWay:
				lost = inside[a] && !inside[b]
			case kindRing:
				lost = (a-b+n)%n != 1 && (b-a+n)%n != 1
			case kindBridge:
				middle := f.who[0]
				lost = a != middle && b != middle && (a <= (n+1)/2) != (b <= (n+1)/2)
			}
			if lost && a != b {
				cuts = append(cuts, [2]int{a, b})
			}
		}
	}
	return cuts
}

// lossyNet draws a bad network.
func lossyNet(r *rand.Rand) simnet.Faults {
	return simnet.Faults{Drop: pick(r, 0, 0.01, 0.05, 0.15), Duplicate: pick(r, 0.01, 0.05, 0.2), MinDelay: 50 * time.Microsecond,
		MaxDelay: pick(r, 10*time.Millisecond, 100*time.Millisecond, 700*time.Millisecond)}
}

// faultsText lists faults with their numbers, for -drop.
func faultsText(all []*fault) string {
	var b strings.Builder
	for i, f := range all {
		fmt.Fprintf(&b, "  fault %d: %v\n", i, f)
	}
	return b.String()
}
