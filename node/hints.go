package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/hints"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// hintTimeout bounds the delivery of one hint.
const hintTimeout = 10 * time.Second

// deliverHint sends a mutation that a replica missed. A replica that doesn't own it any more has it written to those that do.
func (n *Node) deliverHint(to vnodes.HostID, mutation []byte, done func(error)) {
	m, _, err := row.DecodeMutation(mutation)
	if err != nil {
		done(err)
		return
	}
	view := n.cluster.View()
	table, ok := view.Catalog.TableByStorage(m.Storage)
	if !ok {
		if m.Storage <= view.Catalog.Highest {
			done(hints.ErrObsolete)
		} else {
			done(errors.New("the hint's table is not known here yet"))
		}
		return
	}
	node, member := view.Ring.Node(to)
	if place, _, ok := view.Placement(table.Keyspace); ok && (!member || !place.Replicas(m.Token).Contains(to)) {
		n.rewrite(coordinator.Write{Table: table, Mutation: m}, done)
		return
	}
	if to == n.cluster.self { // left when this node's own disk could not keep up
		n.replica.Write(&coordinator.WriteMessage{Fence: coordinator.Fence{Ring: view.Ring.Epoch(), Needs: view.Epoch}, Mutations: [][]byte{mutation}}, done)
		return
	}
	n.coordinator.SendHint(view, node, mutation, hintTimeout, func(err error) {
		var re *rpc.RemoteError
		if errors.As(err, &re) {
			switch re.Code {
			case rpc.CodeDropped:
				err = hints.ErrObsolete
			case rpc.CodeInvalid:
				err = fmt.Errorf("%w: %s.%s: %s", hints.ErrRefused, table.Keyspace, table.Name, re.Message)
			case rpc.CodeNotOwner:
				n.log.Heard(n.cluster.Peer(node), re.Epoch) // its ring is newer; the next try looks at ownership again
			}
		}
		done(err)
	})
}

// rewrite writes a hint's mutation, with its own timestamps, to the present owners. Those that don't answer get hints of their own.
func (n *Node) rewrite(w coordinator.Write, done func(error)) {
	r := &coordinator.WriteRequest{Level: consistency.Quorum, Kind: coordinator.WriteSimple, Writes: []coordinator.Write{w}}
	n.coordinator.Write(context.Background(), r, done)
}
