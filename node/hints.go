package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/hints"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// hintTimeout bounds the delivery of one batch of hints.
const hintTimeout = 10 * time.Second

// hint is one of a batch that a replica gets.
type hint struct {
	index    int // in the batch
	table    *schema.Table
	mutation []byte
}

// deliverHints sends mutations that a replica missed. Those that it doesn't own any more are written to the nodes that do.
func (n *Node) deliverHints(to vnodes.HostID, mutations [][]byte, done func(i int, err error)) {
	view := n.cluster.View()
	node, member := view.Ring.Node(to)
	owned := make([]hint, 0, len(mutations))
	for i, m := range mutations {
		id, token, err := row.MutationPlace(m)
		if err != nil {
			done(i, err)
			continue
		}
		table, ok := view.Catalog.TableByStorage(id)
		if !ok {
			if id <= view.Catalog.Highest {
				done(i, hints.ErrObsolete)
			} else {
				done(i, errors.New("the hint's table is not known here yet"))
			}
			continue
		}
		if place, _, ok := view.Placement(table.Keyspace); ok && (!member || !place.Replicas(token).Contains(to)) && !fault.Planted("node/hint-sent-to-former-owner") {
			n.rewrite(table, m, func(err error) { done(i, err) })
			continue
		}
		owned = append(owned, hint{i, table, m})
	}
	if len(owned) > 0 {
		n.sendHints(view, node, owned, done)
	}
}

// sendHints sends hints as one message. Where the replica refuses it for one of them, it is sent in halves: one must not take the others with it.
func (n *Node) sendHints(view *coordinator.View, to *vnodes.Node, batch []hint, done func(i int, err error)) {
	mutations := make([][]byte, len(batch))
	for i := range batch {
		mutations[i] = batch[i].mutation
	}
	n.coordinator.SendHints(view, to, mutations, hintTimeout, func(err error) {
		outcome := n.hintOutcome(to, &batch[0], err)
		if half := len(batch) / 2; half > 0 && !fault.Planted("node/refused-hint-takes-batch-along") && (errors.Is(outcome, hints.ErrRefused) || errors.Is(outcome, hints.ErrObsolete)) {
			n.sendHints(view, to, batch[:half], done)
			n.sendHints(view, to, batch[half:], done)
			return
		}
		for i := range batch {
			done(batch[i].index, outcome)
		}
	})
}

// hintOutcome says in package hints' words how a delivery ended.
func (n *Node) hintOutcome(to *vnodes.Node, h *hint, err error) error {
	var re *rpc.RemoteError
	if !errors.As(err, &re) {
		return err
	}
	switch re.Code {
	case rpc.CodeDropped:
		return hints.ErrObsolete
	case rpc.CodeOverloaded:
		return hints.ErrOverloaded
	case rpc.CodeInvalid:
		return fmt.Errorf("%w: %s.%s: %s", hints.ErrRefused, h.table.Keyspace, h.table.Name, re.Message)
	case rpc.CodeNotOwner:
		n.log.Heard(n.cluster.Peer(to), re.Epoch) // its ring is newer; the next try looks at ownership again
	}
	return err
}

// rewrite writes a hint's mutation, with its own timestamps, to the present owners. Those that don't answer get hints of their own.
func (n *Node) rewrite(table *schema.Table, mutation []byte, done func(error)) {
	m, _, err := row.DecodeMutation(mutation)
	if err != nil {
		done(err)
		return
	}
	r := &coordinator.WriteRequest{Level: consistency.Quorum, Kind: coordinator.WriteSimple, Writes: []coordinator.Write{{Table: table, Mutation: m}}}
	n.coordinator.Write(context.Background(), r, func(err error) {
		if shed := (*coordinator.Overloaded)(nil); errors.As(err, &shed) {
			err = hints.ErrOverloaded
		}
		done(err)
	})
}

// takesHints reports whether a node's hints can go anywhere now. Those of a node that is no member any more go to the present owners: at ANY
// a hint may be all there is of a write.
func (n *Node) takesHints(id vnodes.HostID) bool {
	if _, member := n.cluster.View().Ring.Node(id); !member {
		return true
	}
	return n.cluster.Alive(id)
}

// foreground is what hints make way for.
func (n *Node) foreground() (requests int64, took time.Duration) {
	s := n.coordinator.Stats()
	return s.Answered.Load(), time.Duration(s.AnsweredUs.Load()) * time.Microsecond
}
