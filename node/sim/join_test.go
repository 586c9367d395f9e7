package sim

import (
	"math/rand/v2"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
)

// Rows 4 and 22 of FAULTS.md, as far as nodes join: machines that were off join while the sessions work, one after the other or at once, and whatever is
// needed for that fails meanwhile: they, whom they stream from, the network; and a coordinator goes on with the ring from before.

// joinBound is how long a machine that has not joined while the sessions worked may take for it when all is well.
const joinBound = 60 * time.Second

// joinShape: with three founders and two joiners some ranges keep one of their three owners. (With two replicas a machine that misses writes stops most of them.)
func joinShape(r *rand.Rand, c *conf) {
	founders := pick(r, 3, 3, 4)
	c.joiners = 1 + r.IntN(2)
	c.nodes = founders + c.joiners
	for i := range c.tokens {
		c.tokens[i] = min(c.tokens[i], 4) // ranges of ten tables are streamed one by one
	}
	c.busy += 10 * time.Second
	c.reread = r.IntN(2) == 0
	if r.IntN(4) > 0 { // whatever is not where it has to be after a move stays lost
		onlyReads(c)
	}
}

// joinFaults draws when machines join, and what fails around that.
func joinFaults(r *rand.Rand, c *conf) (list []*fault) {
	list = append(list, mildLoss(r, c))
	begin := c.busy / 6
	at := begin + ms(r, 0, 2000)
	for who := c.founders() + 1; who <= c.nodes; who++ {
		list = append(list, &fault{kind: kindJoin, at: at, last: c.busy - at, who: []int{who}})
		if r.IntN(2) == 0 {
			list = append(list, &fault{kind: kindUnwritten, at: at, last: ms(r, 3000, 15000), who: []int{who}})
		}
		for range r.IntN(3) {
			f := aroundJoin(r, c, who)
			f.at = at + ms(r, -1000, 6000)
			list = append(list, f)
		}
		at += pick(r, 10*time.Millisecond, c.busy/6, c.busy/3)
	}
	if r.IntN(3) > 0 { // an owner that lacks what was written lately: who takes its word alone loses that
		list = append(list, &fault{kind: kindUnwritten, at: begin - ms(r, 3000, 6000), last: pick(r, 10*time.Second, c.busy/2), who: []int{1 + r.IntN(c.founders())}})
	}
	for range 1 + r.IntN(2) {
		behind := begin - ms(r, 100, 1000)
		list = append(list, &fault{kind: pick(r, kindLate, kindStale), at: behind, last: pick(r, c.busy/4, c.busy-behind), who: []int{1 + r.IntN(c.founders())}})
	}
	return list
}

// aroundJoin draws what befalls a machine that joins, or one of those that it streams from.
func aroundJoin(r *rand.Rand, c *conf, joiner int) *fault {
	f := &fault{kind: pick(r, kindKill, kindPower, kindPower, kindPause, kindPartition, kindOneWay, kindSlow), last: ms(r, 200, 6000),
		who: []int{pick(r, joiner, joiner, 1+r.IntN(c.founders()))}, after: operations(r), keep: pick(r, 0, 50), slow: ms(r, 100, 800)}
	if f.kind == kindKill {
		f.keep = 100
	}
	return f
}

// join turns a machine on for the first time and waits until it is a full member, or the fault's time is over.
func (w *world) join(f *fault) {
	m, begun := w.machines[f.who[0]-1], time.Now()
	m.turnOn()
	for time.Since(begun) < f.last {
		time.Sleep(poll)
		if l := m.alive(); l != nil && l.running() != nil && l.joined() {
			w.history.say("machine %d: joined after %v", m.i, time.Since(begun))
			w.met(f.kind)
			return
		}
	}
}

// joined reports whether a life's node is a full member in its own eyes.
func (l *life) joined() bool {
	for _, n := range l.running().Status().Nodes {
		if n.Address == ip(l.m.i) {
			return n.State == "up"
		}
	}
	return false
}

// metadataVerbs are all that tell of the metadata log.
var metadataVerbs = []rpc.Verb{rpc.VerbMetaPrepare, rpc.VerbMetaAccept, rpc.VerbMetaLearn, rpc.VerbMetaPull, rpc.VerbMetaPropose}

// unwritten keeps all writes from machines, and everything else comes through. Met if one was lost.
func (w *world) unwritten(f *fault) {
	before := w.count(simnet.Cut)
	for _, i := range f.who {
		w.net.Deafen(ip(i), rpc.VerbWrite)
	}
	time.Sleep(f.last | 1)
	for _, i := range f.who {
		w.net.Deafen(ip(i))
	}
	if w.count(simnet.Cut) > before {
		w.met(f.kind)
	}
}

// late reports whether no heartbeat tells the machine of epochs.
func (m *machine) late() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.late
}

func (m *machine) setLate(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.late = yes
}

// late keeps a machine from hearing of new epochs as long as it does not ask.
func (w *world) late(f *fault) {
	m, before := w.machines[f.who[0]-1], w.newest()
	m.setLate(true)
	w.net.Deafen(ip(m.i), rpc.VerbMetaLearn)
	time.Sleep(f.last | 1)
	w.net.Deafen(ip(m.i))
	m.setLate(false)
	if w.newest() > before {
		w.met(f.kind)
	}
}

// newest is the newest epoch that anybody has applied.
func (w *world) newest() (epoch uint64) {
	for _, m := range w.machines {
		epoch = max(epoch, m.epoch())
	}
	return epoch
}

// epoch is what the machine's node has applied, 0 if none runs.
func (m *machine) epoch() uint64 {
	l := m.alive()
	if l == nil || l.running() == nil {
		return 0
	}
	epoch, _ := l.running().Metadata()
	return epoch
}

// stale keeps all news of the metadata log from a machine, which goes on as a coordinator and as a replica.
func (w *world) stale(f *fault) {
	m := w.machines[f.who[0]-1]
	w.net.Deafen(ip(m.i), metadataVerbs...)
	time.Sleep(f.last | 1)
	if mine := m.epoch(); mine > 0 && mine < w.newest() {
		w.met(f.kind)
	}
	w.net.Deafen(ip(m.i))
}
