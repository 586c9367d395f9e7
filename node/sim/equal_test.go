package sim

import (
	"context"
	"fmt"
	"time"

	"nodedb/node/check"
)

// mend is what has to make the replicas equal, before anybody reads at ALL.
type mend uint8

const (
	// byRepair: each range's owners agreed after all became quiet, which is to say that they hold the same. The target is short.
	byRepair mend = iota
	// byHints: nothing but hints. It is exact where no coordinator stops with a write under way: whatever became of the write, each replica that did not
	// acknowledge it has a hint (coordinator.Coordinator, invariant 3), also of a write that its client was told nothing of. So only steady machines
	// coordinate, hints have room for all, and anti-entropy never comes. Replicas and the network fail as they like, and once the last hint is
	// durable its holders lose their power, too.
	byHints
	// bySuspicion: the target is far, and what hints lost is compared because somebody was away or hints for it were lost. The same machines coordinate.
	bySuspicion
	// byReads: nothing is compared, and hints have no room: reads alone find what was acknowledged, and reading everything at ALL makes the replicas equal.
	byReads
)

// agreeBound is how long comparisons may take beside their target, or grace: retries, and a thousand ranges.
const agreeBound = 2 * time.Minute

// restBound is how long a range that was compared in vain, or again and again, is left alone whoever is suspected: antientropy's retry.
const restBound = 5 * time.Minute

// equal checks that the replicas become equal by what the family says, and before or after that what is read at the level: reads repair, and repairs hide
// what reads would have found, so seeds take turns.
func (w *world) equal(ctx context.Context, c check.Client) bool {
	readFirst := w.conf.mend == byRepair && w.seed%2 == 0
	if readFirst || w.conf.mend == byReads {
		w.check(ctx, c)
	}
	if w.conf.mend == byReads {
		return true
	}
	tables := w.tables(ctx, c)
	switch w.conf.mend {
	case byRepair:
		since := time.Now()
		if !w.await(2*w.conf.target+agreeBound, "agreed everywhere", func() string { return w.notAgreed(since) }) {
			return false
		}
	case bySuspicion:
		if !w.await(w.conf.grace+restBound+agreeBound, "equal by suspicion", func() string { return w.unequal(ctx, tables) }) {
			return false
		}
	}
	if why := w.unequal(ctx, tables); why != "" {
		w.fail("%s: %s", [...]string{"all owners agreed, and still", "all hints were delivered, and still", "all was equal, and now"}[w.conf.mend], why)
		return false
	}
	w.history.say("equal before anybody reads at ALL")
	if !readFirst {
		w.check(ctx, c)
	}
	return true
}

func (w *world) check(ctx context.Context, c check.Client) {
	for _, v := range w.suite.Check(ctx, c) {
		w.fail("%v", v)
	}
}

// notAgreed names a range whose owners have not agreed since a time, in somebody's view.
func (w *world) notAgreed(since time.Time) string {
	list, why := w.nodes()
	for i, n := range list {
		for _, a := range n.Agreements() {
			if !a.Agreed.After(since) {
				return fmt.Sprintf("machine %d: range %v of %s.%s agreed at %v, compared at %v: %s", i+1, a.Range, a.Keyspace, a.Table,
					a.Agreed.Sub(w.history.begun), a.Compared.Sub(w.history.begun), a.Problem)
			}
		}
	}
	return why
}

// noticed is how long a machine that is off may be believed up.
const noticed = deadAfter + 2*beatEvery

// agreedWithout checks that nobody says that all owners of a range agreed while one of them, which is still off, was known to be.
func (w *world) agreedWithout(m *machine) {
	m.mu.Lock()
	off, ended := m.mu.life == nil, m.mu.ended
	m.mu.Unlock()
	if !off {
		return
	}
	for _, other := range w.machines {
		l := other.alive()
		if l == nil || l.running() == nil || w.conf.rf < w.conf.nodes {
			continue
		}
		for _, a := range l.running().Agreements() {
			if a.Agreed.After(ended.Add(noticed)) {
				w.fail("machine %d says that all owners of range %v of %s.%s agreed at %v, and machine %d was off from %v on", other.i, a.Range, a.Keyspace, a.Table,
					a.Agreed.Sub(w.history.begun), m.i, ended.Sub(w.history.begun))
			}
		}
	}
}
