package coordinator

import (
	"errors"
	"fmt"
	"sync"

	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// errNotKnownYet says that a batch is for a table that this node has not heard of yet.
var errNotKnownYet = errors.New("a table of the batch is not known here yet")

// redelivery brings a batch, whose coordinator did not say that it was written, to everybody.
//
// First the owners that are up get their mutations, one message each; then, if none of them refused for what will pass, a hint is kept for each that is down or did
// not answer. A refusal (an older ring, a table dropped meanwhile, a clock, too much to do) leaves all to the next try: nothing is lost by writing twice.
type redelivery struct {
	c    *Coordinator
	view *View
	done func(error)

	nodes []nodeDelivery

	mu struct {
		sync.Mutex
		left   int
		missed []*nodeDelivery
		err    error
	}
}

// nodeDelivery is what goes to one node.
type nodeDelivery struct {
	node      *vnodes.Node
	mutations [][]byte
}

// Redeliver writes a batch log entry again, timestamps and all. done gets nil once each owner of each mutation has applied it, or a hint of it for that owner is
// durable here; what it is for tables that are gone is left out. With an error, try again later.
func (c *Coordinator) Redeliver(entry []byte, done func(error)) {
	mutations, err := DecodeBatchEntry(entry)
	if err != nil {
		done(err)
		return
	}
	if fault.Planted("coordinator/replay-skips-a-partition") {
		mutations = mutations[1:]
	}
	d := &redelivery{c: c, view: c.Cluster.View(), done: done}
	for _, m := range mutations {
		if err := d.plan(restamped(m, c.Clock)); err != nil {
			done(err)
			return
		}
	}
	d.mu.left = len(d.nodes)
	if d.mu.left == 0 {
		done(nil)
		return
	}
	for i := range d.nodes {
		d.send(&d.nodes[i])
	}
}

// plan adds a mutation to what its owners get.
func (d *redelivery) plan(mutation []byte) error {
	id, token, err := row.MutationPlace(mutation)
	if err != nil {
		return err
	}
	table, ok := d.view.Catalog.TableByStorage(id)
	if !ok {
		if id <= d.view.Catalog.Highest {
			return nil // dropped or truncated since
		}
		return errNotKnownYet
	}
	place, _, ok := d.view.Placement(table.Keyspace)
	if !ok {
		return fmt.Errorf("keyspace %q: %w", table.Keyspace, ErrNoKeyspace)
	}
	for _, n := range place.Replicas(token).Write() {
		d.assign(n, mutation)
	}
	return nil
}

func (d *redelivery) assign(n *vnodes.Node, mutation []byte) {
	for i := range d.nodes {
		if d.nodes[i].node.ID == n.ID {
			d.nodes[i].mutations = append(d.nodes[i].mutations, mutation)
			return
		}
	}
	d.nodes = append(d.nodes, nodeDelivery{n, [][]byte{mutation}})
}

func (d *redelivery) send(n *nodeDelivery) {
	if !d.c.Cluster.Alive(n.node.ID) {
		d.answer(n, rpc.ErrUnreachable)
		return
	}
	d.c.SendHints(d.view, n.node, n.mutations, d.c.WriteTimeout, func(err error) { d.answer(n, err) })
}

// answer takes one node's outcome.
func (d *redelivery) answer(n *nodeDelivery, err error) {
	d.mu.Lock()
	switch {
	case err == nil:
	case n.node.ID != d.c.Self && leavesHint(err):
		d.mu.missed = append(d.mu.missed, n)
	case d.mu.err == nil:
		d.mu.err = fmt.Errorf("%s: %w", n.node.Address, err)
	}
	d.mu.left--
	left, missed, failed := d.mu.left, d.mu.missed, d.mu.err
	d.mu.Unlock()
	switch {
	case left > 0:
	case failed != nil || len(missed) == 0:
		d.done(failed)
	default:
		d.hint(missed)
	}
}

// leavesHint reports whether an owner that failed so gets a hint: it is down, slow or broken, which may last.
func leavesHint(err error) bool {
	var re *rpc.RemoteError
	if !errors.As(err, &re) {
		return true
	}
	switch re.Code {
	case rpc.CodeExpired, rpc.CodeDiskFull, rpc.CodeNotReady, rpc.CodeInternal:
		return true
	}
	return false
}

// hint keeps hints for the owners that were missed, and ends when all are durable.
func (d *redelivery) hint(missed []*nodeDelivery) {
	left := 0
	for _, n := range missed {
		left += len(n.mutations)
	}
	d.mu.Lock()
	d.mu.left = left
	d.mu.Unlock()
	for _, n := range missed {
		for _, m := range n.mutations {
			d.c.stats.Hinted.Add(1)
			d.c.Hints.Add(n.node.ID, m, d.hinted)
		}
	}
}

func (d *redelivery) hinted(err error) {
	d.mu.Lock()
	if d.mu.err == nil {
		d.mu.err = err
	}
	d.mu.left--
	left, failed := d.mu.left, d.mu.err
	d.mu.Unlock()
	if left == 0 {
		d.done(failed)
	}
}
