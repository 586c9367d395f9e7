package antientropy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/fault"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// retry is how soon a range is tried again whose owners are up but could not be compared: a tenth of the target, at most this.
const retry = 5 * time.Minute

// recordTimeout bounds telling an owner what came of a session. It isn't told again: the next session's record replaces it.
const recordTimeout = 5 * time.Second

// storeEvery is how often records are stored, with one sync for all that changed; wakes come at most idleWait apart. Those that a crash takes are compared again.
const storeEvery = 5 * time.Second

// Run compares ranges until ctx ends. A node that begins was away itself, so its own ranges are looked at first.
func (r *Repairer) Run(ctx context.Context) {
	r.Suspect(r.Self)
	defer r.store()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stored := time.Now()
	for ctx.Err() == nil {
		if time.Since(stored) >= storeEvery {
			r.store()
			stored = time.Now()
		}
		t, wait := r.next()
		if t != nil {
			if !r.postponed(ctx, t) {
				r.drive(ctx, t, nil)
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		}
	}
}

// drive runs a session over a task that the caller has made busy, keeps its record and tells the other owners. With report nothing is moved, and only an
// agreement is kept.
func (r *Repairer) drive(ctx context.Context, t *task, report func(stream.Difference)) (*stream.Outcome, error) {
	begun := r.Now()
	peers, down := r.peersOf(t)
	out, err := r.session(ctx, t, begun, peers, report)
	if err == nil {
		err = r.failure(out, down)
	}
	agreed := err == nil && (report == nil || out.Differed == 0)
	r.mu.Lock()
	t.busy = false
	gone := ctx.Err() != nil || over(err)
	if report == nil || agreed {
		r.keep(t, out, begun, len(down) > 0, gone, err)
	}
	r.place(t)
	rec := t.record
	r.mu.Unlock()
	if gone {
		return out, err
	}
	r.count(out, err == nil, agreed)
	if err != nil {
		r.Logger.Info("anti-entropy: a range was not compared with all its owners", "table", t.name(), "range", t.rng, "why", err)
	} else if out.Rows > 0 && report == nil {
		r.Logger.Info("anti-entropy: replicas differed and were repaired", "table", t.name(), "range", t.rng, "rows", out.Rows,
			"partitions", out.Partitions, "bytes", out.Sent+out.Received)
	}
	if agreed {
		r.tell(peers, &rec)
	}
	return out, err
}

// keep notes what came of a session. REQUIRES: mu.
func (r *Repairer) keep(t *task, out *stream.Outcome, begun time.Time, down, gone bool, err error) {
	t.tried = begun
	if !gone {
		t.plan(r, begun, down, err != nil)
		t.record = merged(t.record, out, begun, err)
		r.mu.dirty[t.key] = true
	} else if !t.urgent.IsZero() {
		t.urgent = begun.Add(idleWait) // if it is a task still: the news that ended it is on its way
	}
}

func (t *task) name() string { return t.table.Keyspace + "." + t.table.Name }

// pause is how soon a range is compared again that failed, or was suspected meanwhile.
func (r *Repairer) pause() time.Duration { return min(retry, r.Target/10) }

// plan says when a task comes first again. Where owners are down it waits for them to come up. REQUIRES: mu.
func (t *task) plan(r *Repairer, begun time.Time, down, failed bool) {
	switch {
	case !failed:
		t.settled(begun, r.pause())
	case down:
		t.urgent = time.Time{}
	default:
		t.urgent = begun.Add(r.pause())
	}
}

// merged is the record after a session.
func merged(rec Record, out *stream.Outcome, begun time.Time, err error) Record {
	rec.Compared, rec.Problem = begun, ""
	if err == nil {
		rec.Agreed = begun
	} else {
		rec.Problem = err.Error()
		rec.Problem = strings.ToValidUTF8(rec.Problem[:min(len(rec.Problem), maxProblem)], "")
	}
	rec.Rows, rec.Partitions, rec.Sent, rec.Received = out.Rows, out.Partitions, out.Sent, out.Received
	rec.TotalRows += out.Rows
	rec.TotalSent += out.Sent
	rec.TotalReceived += out.Received
	return rec
}

// errMoved says that the ring or the table changed under a task.
var errMoved = errors.New("the range moved, or its table was dropped or truncated")

// over reports whether a session ended because its table or range is no more: nothing to tell.
func over(err error) bool {
	var re *rpc.RemoteError
	return errors.Is(err, errMoved) || errors.Is(err, storage.ErrDropped) || errors.Is(err, storage.ErrClosed) ||
		errors.As(err, &re) && (re.Code == rpc.CodeDropped || re.Code == rpc.CodeNotOwner)
}

// session runs one, under the newest view.
func (r *Repairer) session(ctx context.Context, t *task, begun time.Time, peers []stream.Peer, report func(stream.Difference)) (*stream.Outcome, error) {
	view, current := r.under(t)
	if !current {
		return &stream.Outcome{}, errMoved
	}
	if r.Pending(t.key.table) {
		return &stream.Outcome{}, errors.New("this node waits for the memory table's rows")
	}
	s := stream.Session{
		Table: t.key.table, Range: t.rng, Needs: max(view.Ring.Epoch(), t.table.Epoch), Ring: view.Ring.Epoch(), Now: begun.Unix(),
		Store: r.Store, Transport: r.Transport, Apply: r.Apply, Pace: r.pace, Settle: r.Settle, Report: report,
	}
	out, err := s.Run(ctx, peers)
	if err != nil {
		return out, err
	}
	for _, failed := range out.Failed {
		if over(failed) {
			return out, failed
		}
	}
	return out, nil
}

// under gives the newest view, and whether a task is still one under it.
func (r *Repairer) under(t *task) (stream.View, bool) {
	for {
		r.refresh()
		view := r.View()
		r.mu.Lock()
		same, current := r.mu.epoch == view.Epoch, r.mu.tasks[t.key] == t
		r.mu.Unlock()
		if same {
			return view, current
		}
	}
}

// failure says which owners were not compared.
func (r *Repairer) failure(out *stream.Outcome, down []*vnodes.Node) error {
	view := r.View()
	var parts []string
	for _, n := range down {
		if fault.Planted("antientropy/agreed-without-a-replica") {
			break
		}
		parts = append(parts, n.Address+" is down")
	}
	for _, n := range view.Ring.Nodes() { // by host id, so that the text is the same each time
		if err := out.Failed[n.ID]; err != nil {
			parts = append(parts, fmt.Sprintf("%s: %v", n.Address, err))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return errors.New(strings.Join(parts, "; "))
}

// tell sends the other owners what came of a session.
func (r *Repairer) tell(peers []stream.Peer, rec *Record) {
	view := r.View()
	body, err := stream.EncodeRecord(view.Epoch, view.Ring.Epoch(), rec.Table, rec.Append(nil))
	if err != nil {
		return // a record has nothing that can't be encoded
	}
	for _, p := range peers {
		r.Transport.Send(&rpc.Call{To: p.Addr, Verb: rpc.VerbRepair, Body: body, Timeout: recordTimeout, Done: func([]byte, error) {}})
	}
}

// Records gives what is known of the ranges that this node owns.
func (r *Repairer) Records() []Record {
	r.refresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Record, 0, len(r.mu.tasks))
	for _, t := range r.mu.tasks {
		all = append(all, t.record)
	}
	sortRecords(all)
	return all
}
