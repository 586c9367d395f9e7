package antientropy

import (
	"errors"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// taskKey names a range of a table by where it starts.
type taskKey struct {
	table row.StorageID
	start vnodes.Token
}

// task is one range of one table that this node owns with others.
type task struct {
	key    taskKey
	table  *schema.Table
	rng    vnodes.Range
	owners []*vnodes.Node // ring order, this node among them
	record Record
	tried  time.Time // when this node last drove it, also in vain
	urgent time.Time // from when on it comes first; zero: it doesn't
	latest time.Time // the newest suspicion: only a session that began since settles it
	rest   time.Time // until when no suspicion makes it urgent
	busy   bool      // in a session
	mine   bool      // this node drives it, as of the agenda's view of who is up
	at     [2]int    // where it lies in the agenda's queues, from 1; 0: not there
}

// suspect makes a task urgent from a moment on. A suspicion that comes while another waits doesn't put it off, or an owner that loses hints all the time
// would keep its ranges from ever being compared.
func (t *task) suspect(at time.Time) {
	due := at
	if due.Before(t.rest) {
		due = t.rest
	}
	if t.urgent.IsZero() || due.Before(t.urgent) {
		t.urgent = due
	}
	if t.latest.Before(at) {
		t.latest = at
	}
}

// settled takes a task's urgency away, if a session began since it was due. What was suspected since comes again, after a pause.
func (t *task) settled(begun time.Time, pause time.Duration) {
	if t.urgent.IsZero() || begun.Before(t.urgent) {
		return
	}
	t.urgent = time.Time{}
	if begun.Before(t.latest) {
		t.rest = begun.Add(pause)
		t.suspect(t.latest)
	}
}

// last is when a task was last compared or tried.
func (t *task) last() time.Time {
	if t.tried.After(t.record.Compared) {
		return t.tried
	}
	return t.record.Compared
}

// drives reports whether a node is the first live owner.
func (t *task) drives(id vnodes.HostID, alive func(vnodes.HostID) bool) bool {
	for _, n := range t.owners {
		if alive(n.ID) {
			return n.ID == id
		}
	}
	return false
}

const (
	// idleWait is how often a node looks whether the ring or the schema changed what it has to do.
	idleWait = 5 * time.Second
	// share of the target that a round takes, in quarters: what is left is for ranges that have to be tried again.
	roundQuarters = 3
	// forget is how long a suspicion is kept for tasks that come into being later.
	forget = time.Hour
)

// refresh brings the tasks up to the newest view. Ranges that move have none: who joins or leaves streams them.
func (r *Repairer) refresh() {
	view := r.View()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.loaded && view.Epoch == r.mu.epoch {
		return
	}
	old := r.mu.tasks
	r.mu.tasks, r.mu.epoch, r.mu.loaded = map[taskKey]*task{}, view.Epoch, true
	r.mu.agenda.owners = map[vnodes.HostID]bool{}
	for _, ks := range view.Catalog.Keyspaces {
		ranges := view.Ring.Place(ks.Replication).Ranges()
		for i := range ranges {
			rr := &ranges[i]
			if rr.Replicas.Moving() || len(rr.Replicas.Old) < 2 || !rr.Replicas.Contains(r.Self) {
				continue
			}
			for _, n := range rr.Replicas.Old {
				r.mu.agenda.owners[n.ID] = r.Alive(n.ID)
			}
			for _, t := range ks.Tables {
				r.adopt(old, &task{key: taskKey{t.Storage, rr.Range.Start}, table: t, rng: rr.Range, owners: rr.Replicas.Old})
			}
		}
	}
	for k := range old {
		if r.mu.tasks[k] == nil {
			r.mu.dirty[k] = true
		}
	}
	for k := range r.mu.records {
		if r.mu.tasks[k] == nil && view.Epoch > 0 && len(view.Ring.Nodes()) > 0 {
			r.mu.dirty[k] = true // its table or range is gone
		}
	}
	if len(view.Ring.Nodes()) > 0 {
		r.mu.records = nil
	}
	r.mu.agenda.fill(r.mu.tasks, r.Self)
}

// adopt makes a task, with what is known of its range. REQUIRES: mu.
func (r *Repairer) adopt(old map[taskKey]*task, t *task) {
	t.record = Record{Table: t.key.table, Range: t.rng, Owners: ownersOf(t.owners)}
	if before := old[t.key]; before != nil && before.rng == t.rng && sameOwners(before.owners, t.owners) {
		t = before // the very one: a job or a session may be at it
	} else if rec, ok := r.mu.records[t.key]; ok && rec.Range == t.rng && rec.Owners == t.record.Owners {
		t.record = rec
	}
	for id, at := range r.mu.suspects {
		if t.owned(id) && t.record.Compared.Before(at) {
			t.suspect(at)
		}
	}
	r.mu.tasks[t.key] = t
}

func (t *task) owned(id vnodes.HostID) bool {
	for _, n := range t.owners {
		if n.ID == id {
			return true
		}
	}
	return false
}

func sameOwners(a, b []*vnodes.Node) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID {
			return false
		}
	}
	return true
}

// Suspect has the ranges of a node looked at first: it was away, or hints for it were lost. While it is down nothing can be done for it, and it is suspected
// when it comes up.
func (r *Repairer) Suspect(id vnodes.HostID) {
	if id != r.Self && !r.Alive(id) {
		return
	}
	r.refresh()
	if fault.Planted("antientropy/returned-node-not-first") {
		return
	}
	at := r.Now().Add(r.Grace)
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, since := range r.mu.suspects {
		if at.Sub(since) > forget {
			delete(r.mu.suspects, other)
		}
	}
	r.mu.suspects[id] = at
	for _, t := range r.mu.tasks {
		if t.owned(id) {
			t.suspect(at)
			r.place(t)
		}
	}
	signal(r.wake)
}

// suspectTries is how often a node is told of a suspicion, which may get lost on the way.
const suspectTries = 3

// LostHints is Suspect where hints for a node were lost, which only their holder knows: whoever drives the node's ranges is told, itself, too.
func (r *Repairer) LostHints(id vnodes.HostID) {
	r.Suspect(id)
	body, err := stream.EncodeSuspect(id)
	if err != nil {
		return // there is nothing in it that can't be encoded
	}
	for _, n := range r.View().Ring.Nodes() {
		if n.ID != r.Self && r.Alive(n.ID) { // who is not up looks at its ranges, and others at it, when it comes up
			r.tellSuspect(r.Peer(n), body, suspectTries)
		}
	}
}

func (r *Repairer) tellSuspect(to rpc.Peer, body []byte, tries int) {
	r.Transport.Send(&rpc.Call{To: to, Verb: rpc.VerbRepair, Body: body, Timeout: recordTimeout, Done: func(_ []byte, err error) {
		if errors.Is(err, rpc.ErrTimeout) && tries > 1 {
			r.tellSuspect(to, body, tries-1)
		}
	}})
}

// next takes the task to do now, or says how long to wait. Urgent ones come first, as they became due, then by the time of their last comparison, spread over
// the target; an ordinary one that is due gets every second turn, or it would never be compared where others keep failing slowly.
func (r *Repairer) next() (best *task, wait time.Duration) {
	r.refresh()
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notice()
	oldest := r.mu.agenda.byAge.first()
	if oldest == nil {
		return nil, idleWait
	}
	wait = idleWait
	if best = r.mu.agenda.byUrgency.first(); best != nil && best.urgent.After(now) {
		best, wait = nil, min(wait, best.urgent.Sub(now))
	}
	gap := r.Target * roundQuarters / 4 / time.Duration(r.mu.agenda.byAge.Len())
	if r.mu.nextAt.IsZero() || r.mu.nextAt.Sub(now) > gap {
		r.mu.nextAt = now.Add(gap)
	}
	d := r.mu.nextAt.Sub(now)
	switch {
	case best == nil && d > 0:
		return nil, min(wait, d)
	case best == nil || d <= 0 && r.mu.urgent:
		best, r.mu.nextAt, r.mu.urgent = oldest, now.Add(gap), false
	default:
		r.mu.urgent = true
	}
	best.busy = true
	r.place(best)
	return best, 0
}

// notice makes the agenda anew if an owner came up or went down. REQUIRES: mu.
func (r *Repairer) notice() {
	changed := false
	for id, up := range r.mu.agenda.owners {
		if now := r.Alive(id); now != up {
			r.mu.agenda.owners[id], changed = now, true
		}
	}
	if changed {
		r.mu.agenda.fill(r.mu.tasks, r.Self)
	}
}

// place puts a task that changed where it belongs; one that the ring or the schema ended lies nowhere any more. REQUIRES: mu.
func (r *Repairer) place(t *task) {
	if r.mu.tasks[t.key] == t {
		r.mu.agenda.place(t)
	}
}

// before orders tasks: longest not compared first; the rest makes the order total, so that a simulation repeats.
func (t *task) before(o *task) bool {
	switch {
	case !t.last().Equal(o.last()):
		return t.last().Before(o.last())
	case t.key.table != o.key.table:
		return t.key.table < o.key.table
	}
	return t.key.start < o.key.start
}

// peersOf splits a task's other owners into those that are up and those that aren't.
func (r *Repairer) peersOf(t *task) (up []stream.Peer, down []*vnodes.Node) {
	for _, n := range t.owners {
		switch {
		case n.ID == r.Self:
		case r.Alive(n.ID):
			up = append(up, stream.Peer{ID: n.ID, Addr: r.Peer(n)})
		default:
			down = append(down, n)
		}
	}
	return up, down
}
