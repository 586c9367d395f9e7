package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// pendingTables are the memory tables whose rows a restart took from this replica: it takes their writes but answers no reads of them until it is
// refilled from the others.
type pendingTables struct {
	mu struct {
		sync.Mutex
		ids map[row.StorageID]bool
	}
	// blocked: replicas that may hold rows are down. Who waits for this node to be ready (an ordered start of a whole cluster, say) must not wait for them.
	blocked atomic.Bool
}

// Contains reports whether reads of a table have to be refused.
func (p *pendingTables) Contains(id row.StorageID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.ids[id]
}

func (p *pendingTables) set(id row.StorageID, pending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ids == nil {
		p.mu.ids = map[row.StorageID]bool{}
	}
	if pending {
		p.mu.ids[id] = true
	} else {
		delete(p.mu.ids, id)
	}
}

func (p *pendingTables) list() []uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []uint32
	for id := range p.mu.ids {
		out = append(out, uint32(id))
	}
	slices.Sort(out) // so that a simulation repeats itself
	return out
}

// markPending takes note of all memory tables when a node with data starts.
func (n *Node) markPending(c *schema.Catalog) {
	for _, ks := range c.Keyspaces {
		for _, t := range ks.Tables {
			if t.Options.Memory {
				n.pending.set(t.Storage, true)
			}
		}
	}
}

// refill fetches the pending tables from the other replicas, until none is left.
func (n *Node) refill(ctx context.Context) {
	var said time.Time
	filled := map[uint32]*refilled{}
	for begun := time.Now(); ctx.Err() == nil; {
		ids := n.pending.list()
		if len(ids) == 0 {
			return
		}
		down := false
		for _, id := range ids {
			t, ok := n.cluster.Catalog().TableByStorage(row.StorageID(id))
			if !ok {
				n.pending.set(row.StorageID(id), false) // dropped meanwhile
				continue
			}
			if filled[id] == nil {
				filled[id] = &refilled{ranges: map[vnodes.Range]bool{}}
			}
			err := n.refillTable(ctx, t, filled[id])
			down = down || errors.Is(err, errReplicasDown)
			if err == nil {
				n.pending.set(t.Storage, false)
			} else if time.Since(said) > sayAgain {
				said = time.Now()
				n.logger.Info("memory table not refilled yet", "table", t.Keyspace+"."+t.Name, "why", err)
			}
		}
		n.pending.blocked.Store(down && time.Since(begun) > refillGrace)
		select {
		case <-ctx.Done():
		case <-time.After(retryJoin):
		}
	}
}

// refillGrace is how long a restarted node takes nobody for down: gossip has to find the others first.
const refillGrace = 5 * time.Second

// errReplicasDown says that rows may lie on replicas that are down.
var errReplicasDown = errors.New("waiting for replicas that are down")

// sayAgain is how often a refill that waits says so.
const sayAgain = 30 * time.Second

// Refilling reports whether memory tables of this node wait for their rows.
func (n *Node) Refilling() bool { return len(n.pending.list()) > 0 }

// refilled is what a table has got back so far: a range that failed is tried again, those before it are not.
type refilled struct {
	ranges map[vnodes.Range]bool
	empty  int // of these, that nobody had rows of
}

// refillTable fetches the ranges of one table that this node owns, each from a read quorum. Where too many of a range's replicas restarted for one, it takes
// what is left; with none left the range starts empty, which is all that memory tables promise.
func (n *Node) refillTable(ctx context.Context, t *schema.Table, so *refilled) error {
	place, _, ok := n.cluster.View().Placement(t.Keyspace)
	if !ok {
		return nil
	}
	for _, rr := range place.Ranges() {
		if so.ranges[rr.Range] || !rr.Replicas.Contains(n.cluster.self) {
			continue
		}
		lost, err := n.refillRange(ctx, t, rr)
		if err != nil {
			return err
		}
		so.ranges[rr.Range] = true
		so.empty += lost
	}
	if so.empty > 0 {
		n.logger.Warn("memory table starts EMPTY where every replica was restarted", "table", t.Keyspace+"."+t.Name, "ranges", so.empty)
	}
	return nil
}

// refillRange fetches one range; lost is 1 when there is nobody left to fetch it from. As long as a read quorum has its rows it asks for that again: who
// takes one replica's word after a lost message lacks what that one missed.
func (n *Node) refillRange(ctx context.Context, t *schema.Table, rr vnodes.RangeReplicas) (lost int, err error) {
	level := consistency.Quorum
	if fault.Planted("node/memory-refilled-from-one") {
		level = consistency.One
	}
	for {
		if err = n.fetch(ctx, streamJob{t, rr.Range, level, 1}); err == nil {
			return 0, nil
		}
		ready, down := n.readyReplicas(t, rr.Replicas.Write())
		switch insteadOfQuorum(ready, down, len(rr.Replicas.Read())) {
		case refillLater:
			return 0, fmt.Errorf("%w; %w: %d", err, errReplicasDown, down)
		case refillEmpty:
			return 1, nil
		case refillFromRest:
			return 0, n.fetch(ctx, streamJob{t, rr.Range, consistency.One, 1})
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(retryJoin):
		}
	}
}

// refillStep is what to do about a range that no read quorum gave.
type refillStep uint8

const (
	refillAgain    refillStep = iota // ask for a quorum once more: it was the network, or they were busy
	refillLater                      // rows may lie on replicas that are down
	refillFromRest                   // too many restarted: what is left is all there is
	refillEmpty                      // all did
)

// insteadOfQuorum decides by how many of the other owners have the rows, how many of them don't answer, and how many owners there are.
func insteadOfQuorum(ready, down, owners int) refillStep {
	switch {
	case down > 0:
		return refillLater
	case ready == 0:
		return refillEmpty
	case ready <= owners/2:
		return refillFromRest
	}
	return refillAgain
}

// readyReplicas asks the other owners of a range whether they hold a memory table's rows.
func (n *Node) readyReplicas(t *schema.Table, owners []*vnodes.Node) (ready, down int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range owners {
		if m.ID == n.cluster.self {
			continue
		}
		all.Add(1)
		n.askStatus(m, statusTimeout, func(r report, err error) {
			mu.Lock()
			defer mu.Unlock()
			defer all.Done()
			switch {
			case err != nil:
				down++
			case !slices.Contains(r.Pending, uint32(t.Storage)):
				ready++
			}
		})
	}
	all.Wait()
	return ready, down
}
