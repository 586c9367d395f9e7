package consistency

import (
	"fmt"
	"slices"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// Tracker counts answers of one request until its level is met, or can't be any more. Not safe for concurrent use.
//
// A level is a list of needs: so many answers out of these owners. There is one, but for EACH_QUORUM (one a DC), and
// during a range move, when a write's level is met on the old and on the new owners, counted separately: a need for
// each side. A read asks one side only, because every write meets both.
type Tracker struct {
	level  Level
	dc     string // the coordinator's
	owners []*vnodes.Node
	state  []answer // of owners
	needs  []need

	// Room of state and needs for the usual number of owners: a tracker is one allocation then.
	fewStates [usualOwners]answer
	fewNeeds  [1]need
}

// usualOwners is how many owners a partition has at most, but in clusters that keep more than three copies, or while ranges move.
const usualOwners = 4

// need is met by required answers of the owners of one side, in one DC if dc is not empty.
type need struct {
	side              []*vnodes.Node
	which             int // 0: the old owners (or all there are), 1: the new ones
	dc                string
	required, members int
	received, failed  int
}

type answer uint8

const (
	awaited answer = iota
	failed
	acked
)

// NewWrite tracks a write to all of r.Write(). A hint is no answer; that one is enough for ANY is the caller's to know.
// SERIAL and LOCAL_SERIAL are refused: they belong to conditions.
func NewWrite(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) (*Tracker, error) {
	t := new(Tracker)
	if err := t.StartWrite(l, r, rep, localDC); err != nil {
		return nil, err
	}
	return t, nil
}

// StartWrite is NewWrite for a tracker that lies in something else, which must not be copied or moved from then on.
func (t *Tracker) StartWrite(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) error {
	if err := l.check(); err != nil {
		return err
	}
	if l.IsSerial() {
		return fmt.Errorf("%w: %s is for conditional updates (IF); use QUORUM or LOCAL_QUORUM to write", ErrLevelRefused, l)
	}
	t.start(l, r, rep, localDC)
	return nil
}

// NewSerial tracks a round of a lightweight transaction among all of r.Write(), at SERIAL or LOCAL_SERIAL.
func NewSerial(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) (*Tracker, error) {
	if !l.IsSerial() {
		return nil, fmt.Errorf("%w: a conditional update needs SERIAL or LOCAL_SERIAL, not %s", ErrLevelRefused, l)
	}
	t := new(Tracker)
	t.start(l, r, rep, localDC)
	return t, nil
}

// NewRead tracks a read from r.Read(). ANY is refused. At SERIAL and LOCAL_SERIAL it counts the answers only: what
// makes such a read linearizable is the Paxos round before it.
func NewRead(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) (*Tracker, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if l == Any {
		return nil, fmt.Errorf("%w: ANY is for writes; use ONE to read", ErrLevelRefused)
	}
	t := &Tracker{level: l, dc: localDC}
	t.await(r.Read())
	t.addSide(r.Read(), rep, 0)
	return t, nil
}

func (l Level) check() error {
	if int(l) >= len(names) {
		return fmt.Errorf("%w %d", ErrUnknownLevel, uint16(l))
	}
	return nil
}

// start begins to track answers of all of r.Write().
func (t *Tracker) start(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) {
	*t = Tracker{level: l, dc: localDC}
	t.await(r.Write())
	t.addSide(r.Old, rep, 0)
	if r.Moving() && !fault.Planted("consistency/move-met-by-old-owners") {
		t.addSide(r.New, rep, 1)
	}
}

// await begins with no answers of owners.
func (t *Tracker) await(owners []*vnodes.Node) {
	t.owners, t.needs = owners, t.fewNeeds[:0]
	if t.state = t.fewStates[:min(len(owners), usualOwners)]; len(owners) > usualOwners {
		t.state = make([]answer, len(owners))
	}
}

// addSide adds the needs of the old or the new owners.
func (t *Tracker) addSide(side []*vnodes.Node, rep vnodes.Replication, which int) {
	add := func(dc string) {
		n := need{side: side, dc: dc, required: t.level.required(side, rep, dc), which: which}
		for _, node := range side {
			if n.counts(node) {
				n.members++
			}
		}
		t.needs = append(t.needs, n)
	}
	switch {
	case t.level.Local():
		add(t.dc)
	case t.level == EachQuorum && len(rep.Datacenters) > 0:
		for _, dc := range sortedDCs(rep) {
			add(dc)
		}
	default:
		add("")
	}
}

// sortedDCs gives the DCs that hold replicas.
func sortedDCs(rep vnodes.Replication) []string {
	var dcs []string
	for dc, factor := range rep.Datacenters {
		if factor > 0 {
			dcs = append(dcs, dc)
		}
	}
	slices.Sort(dcs)
	return dcs
}

// counts reports whether an answer of node is one of those needed, if it belongs to the side.
func (n *need) counts(node *vnodes.Node) bool { return n.dc == "" || n.dc == node.DC }

// holds reports whether an answer of node counts for the need.
func (n *need) holds(node *vnodes.Node) bool {
	return n.counts(node) && slices.ContainsFunc(n.side, func(o *vnodes.Node) bool { return o.ID == node.ID })
}

// Available reports whether the live replicas can meet the level; if not, how many are required and alive (for the
// Unavailable error), of the side and DC that lack most. ANY is always available where there are owners: a hint will
// do.
func (t *Tracker) Available(alive func(vnodes.HostID) bool) (required, live int, ok bool) {
	ok = true
	for i := range t.needs {
		n := &t.needs[i]
		up := 0
		for _, node := range n.side {
			if n.counts(node) && alive(node.ID) {
				up++
			}
		}
		if i == 0 || n.required-up > required-live {
			required, live = n.required, up
		}
		ok = ok && up >= n.required
	}
	return required, live, ok || t.level == Any && len(t.owners) > 0
}

// Eligible reports whether an answer of id counts for the level (LOCAL_* levels count only the local DC's).
func (t *Tracker) Eligible(id vnodes.HostID) bool {
	i := t.find(id)
	return i >= 0 && slices.ContainsFunc(t.needs, func(n need) bool { return n.holds(t.owners[i]) })
}

func (t *Tracker) find(id vnodes.HostID) int {
	return slices.IndexFunc(t.owners, func(n *vnodes.Node) bool { return n.ID == id })
}

// Ack counts an answer; a second one of the same node, or one of a stranger, counts nothing. One that comes after Fail
// counts: the node was slow, not wrong.
func (t *Tracker) Ack(id vnodes.HostID) { t.note(id, acked) }

// Fail counts a failure: id will not answer. After an Ack it counts nothing.
func (t *Tracker) Fail(id vnodes.HostID) { t.note(id, failed) }

func (t *Tracker) note(id vnodes.HostID, a answer) {
	i := t.find(id)
	again := fault.Planted("consistency/ack-counted-twice") && a == acked
	if i < 0 || t.state[i] >= a && !again {
		return
	}
	was := t.state[i]
	t.state[i] = a
	for k := range t.needs {
		n := &t.needs[k]
		if !n.holds(t.owners[i]) {
			continue
		}
		if was == failed {
			n.failed--
		}
		if a == acked || fault.Planted("consistency/failure-counts-as-ack") {
			n.received++
		} else {
			n.failed++
		}
	}
}

// Met reports whether the level is met.
func (t *Tracker) Met() bool {
	return !slices.ContainsFunc(t.needs, func(n need) bool { return n.received < n.required })
}

// Hopeless reports whether too few are left for the level to be met ever. (With ANY, a hint may still save it.)
func (t *Tracker) Hopeless() bool {
	return slices.ContainsFunc(t.needs, func(n need) bool { return n.members-n.failed < n.required })
}

// Counts gives what a timeout error says: answers received, failures, answers required. During a move they are those of
// the side that lacks more. Answers beyond what a DC needs are not counted, so that received < required as long as the
// level isn't met.
func (t *Tracker) Counts() (received, failed, required int) {
	var sides [2]struct{ received, failed, required int }
	for i := range t.needs {
		n := &t.needs[i]
		s := &sides[n.which]
		s.received += min(n.received, n.required)
		s.failed += n.failed
		s.required += n.required
	}
	s := sides[0]
	if o := sides[1]; o.required-o.received > s.required-s.received {
		s = o
	}
	if len(t.needs) == 1 {
		s.received = t.needs[0].received
	}
	return s.received, s.failed, s.required
}
