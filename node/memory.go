package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
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
	for ctx.Err() == nil {
		ids := n.pending.list()
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			t, ok := n.cluster.Catalog().TableByStorage(row.StorageID(id))
			if !ok {
				n.pending.set(row.StorageID(id), false) // dropped meanwhile
				continue
			}
			if err := n.refillTable(ctx, t); err != nil {
				n.logger.Info("memory table not refilled yet", "table", t.Keyspace+"."+t.Name, "why", err)
				continue
			}
			n.pending.set(t.Storage, false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryJoin):
		}
	}
}

// refillTable fetches the ranges of one table that this node owns from a read quorum. Where too many replicas restarted for one, it takes what is
// left; with none left, the table starts empty, which is what memory tables promise no more than.
func (n *Node) refillTable(ctx context.Context, t *schema.Table) error {
	err := n.fetchOwned(ctx, t, consistency.Quorum)
	if err == nil {
		return nil
	}
	ready, total, down := n.readyReplicas(t)
	switch {
	case down > 0:
		return fmt.Errorf("%w; waiting for %d nodes that are down", err, down)
	case ready == 0:
		n.logger.Warn("memory table starts EMPTY: every replica was restarted", "table", t.Keyspace+"."+t.Name, "others", total)
		return nil
	}
	n.logger.Warn("memory table is refilled from fewer replicas than a quorum: the others were restarted too",
		"table", t.Keyspace+"."+t.Name, "ready", ready, "others", total)
	return n.fetchOwned(ctx, t, consistency.One)
}

// readyReplicas asks the other members whether they hold a memory table's rows.
func (n *Node) readyReplicas(t *schema.Table) (ready, total, down int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range n.cluster.View().Ring.Nodes() {
		if m.ID == n.cluster.self {
			continue
		}
		total++
		all.Add(1)
		n.askStatus(m, statusTimeout, func(r report, err error) {
			mu.Lock()
			defer mu.Unlock()
			defer all.Done()
			if err != nil {
				down++
				return
			}
			for _, id := range r.Pending {
				if row.StorageID(id) == t.Storage {
					return
				}
			}
			ready++
		})
	}
	all.Wait()
	return ready, total, down
}

func (n *Node) fetchOwned(ctx context.Context, t *schema.Table, level consistency.Level) error {
	place, _, ok := n.cluster.View().Placement(t.Keyspace)
	if !ok {
		return nil
	}
	for _, span := range place.Owned(n.cluster.self) {
		for _, part := range unwrapped(span) {
			if err := n.fetch(ctx, streamJob{t, part, level}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unwrapped splits a range at the end of the ring, as reads want it.
func unwrapped(r vnodes.Range) []vnodes.Range {
	if r.Start < r.End {
		return []vnodes.Range{r}
	}
	parts := []vnodes.Range{{Start: r.Start, End: vnodes.MaxToken}}
	if r.End > vnodes.MinToken {
		parts = append(parts, vnodes.Range{Start: vnodes.MinToken, End: r.End})
	}
	return parts
}
