package coordinator

import (
	"time"

	"nodedb/coordinator/readrepair"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// resolve asks every live owner for its data. Limits a partition are lifted: a replica skips the rest of a partition without a stop, and the merge would
// take its silence for absence, so that a row that only one replica knows to be deleted came back. REQUIRES: phase is resolving.
func (op *readOp) resolve() {
	op.c.stats.Mismatches.Add(1)
	tracker, err := op.newTracker()
	if err != nil {
		op.fail(err)
		return
	}
	op.mu.Lock()
	op.mu.tracker = tracker
	op.spec.PartitionRows, op.spec.NoRows = 0, false
	candidates := op.mu.candidates
	op.mu.Unlock()
	for _, remote := range []bool{true, false} {
		for _, n := range candidates {
			if (n.ID != op.c.Self) == remote {
				op.request(n, false, func(reply *ReadReply, err error) { op.resolved(n, reply, err) })
			}
		}
	}
}

// resolved takes one replica's full page; once the level is met, what is there is merged.
func (op *readOp) resolved(n *vnodes.Node, reply *ReadReply, err error) {
	if epoch, ok := moved(err); ok {
		op.again(n, epoch)
		return
	}
	op.mu.Lock()
	if op.mu.phase != resolving {
		op.mu.Unlock()
		return
	}
	if err != nil {
		op.note(n, err)
	} else {
		op.mu.tracker.Ack(n.ID)
		op.mu.pages = append(op.mu.pages, answered{n, reply.Page})
	}
	switch {
	case op.mu.tracker.Hopeless():
		op.finish(nil, op.outcome())
	case op.mu.tracker.Met():
		op.mu.phase = repairing
		op.mu.Unlock()
		op.repair()
	default:
		op.mu.Unlock()
	}
}

// repair merges the pages, writes to each replica what it lacks, and answers once the level's number of them hold the merge. REQUIRES:
// phase is repairing.
func (op *readOp) repair() {
	pages := make([][]byte, len(op.mu.pages))
	for i, a := range op.mu.pages {
		pages[i] = a.page
	}
	merged, err := readrepair.Merge(op.spec.Storage, pages, op.spec.Reverse)
	if err != nil {
		op.fail(err)
		return
	}
	tracker, err := op.newTracker()
	if err != nil {
		op.fail(err)
		return
	}
	op.mu.Lock()
	op.mu.tracker, op.mu.merged = tracker, merged.Page
	op.mu.Unlock()
	for i, a := range op.mu.pages {
		if len(merged.Repairs[i]) == 0 {
			op.repaired(a.node, nil)
			continue
		}
		op.c.stats.Repaired.Add(1)
		op.sendRepair(a.node, merged.Repairs[i])
	}
}

func (op *readOp) sendRepair(n *vnodes.Node, ms []row.Mutation) {
	m := &WriteMessage{Fence: op.fence(), Repair: true, Mutations: make([][]byte, len(ms))}
	for i := range ms {
		m.Mutations[i] = ms[i].Append(nil)
	}
	if n.ID == op.c.Self {
		op.c.Local.Write(m, func(err error) { op.repaired(n, err) })
		return
	}
	encode(m.encodeTo, func(body []byte) {
		op.c.Transport.Send(&rpc.Call{
			To: op.c.Cluster.Peer(n), Verb: rpc.VerbWrite, Body: body, Timeout: time.Until(op.until), Trace: op.r.Trace,
			Done: func(_ []byte, err error) { op.repaired(n, err) },
		})
	})
}

// repaired counts a replica that holds the merge.
func (op *readOp) repaired(n *vnodes.Node, err error) {
	if epoch, ok := moved(err); ok {
		op.again(n, epoch)
		return
	}
	op.mu.Lock()
	if op.mu.phase != repairing {
		op.mu.Unlock()
		return
	}
	if err != nil {
		op.note(n, err)
	} else {
		op.mu.tracker.Ack(n.ID)
	}
	switch {
	case op.mu.tracker.Met():
		op.finish(op.mu.merged, nil)
	case op.mu.tracker.Hopeless():
		op.finish(nil, op.outcome())
	default:
		op.mu.Unlock()
	}
}
