package antientropy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// hintedTimeout bounds asking an owner whether hints are being sent to it. Who doesn't say is compared: the session finds out what is wrong with it.
const hintedTimeout = time.Second

// postponed reports whether the task that next just gave has to wait because hints are being sent to one of its owners: a comparison would move what they are about
// to bring. All urgent ranges of such an owner come again after a grace. Its ordinary turn no range loses: hints that never end must not keep it from being
// compared within the target.
func (r *Repairer) postponed(ctx context.Context, t *task) bool {
	r.mu.Lock()
	urgent := r.mu.urgent
	r.mu.Unlock()
	if !urgent {
		return false
	}
	hinted := r.hinted(ctx, t)
	if len(hinted) == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.busy = false
	again := r.Now().Add(r.Grace)
	for _, o := range r.mu.tasks {
		if !o.urgent.IsZero() && o.urgent.Before(again) && slices.ContainsFunc(hinted, o.owned) {
			o.urgent = again
		}
	}
	r.mu.agenda.fill(r.mu.tasks, r.Self) // a look at all, once a grace
	return true
}

// hinted gives the owners of a task that say that hints are being sent to them: they know, whoever keeps the hints.
func (r *Repairer) hinted(ctx context.Context, t *task) []vnodes.HostID {
	if r.Hinted != nil && r.Hinted() {
		return []vnodes.HostID{r.Self}
	}
	body, err := stream.EncodeHinted()
	if err != nil {
		return nil // there is nothing in it that can't be encoded
	}
	var mu sync.Mutex
	var ids []vnodes.HostID
	answered := make(chan struct{}, len(t.owners))
	up, _ := r.peersOf(t)
	for _, p := range up {
		r.Transport.Send(&rpc.Call{To: p.Addr, Verb: rpc.VerbRepair, Body: body, Timeout: hintedTimeout, Done: func(_ []byte, err error) {
			if re := (*rpc.RemoteError)(nil); errors.As(err, &re) && re.Code == rpc.CodeNotReady {
				mu.Lock()
				ids = append(ids, p.ID)
				mu.Unlock()
			}
			answered <- struct{}{}
		}})
	}
	for range up {
		select {
		case <-answered:
		case <-ctx.Done():
			return nil
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return ids
}
