package coordinator

import (
	"slices"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/coordinator/readrepair"
	"nodedb/node/fault"
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
	candidates := op.mu.candidates
	op.mu.Unlock()
	full := op.spec
	if !fault.Planted("coordinator/limit-before-merge") {
		full.PartitionRows, full.NoRows = 0, false
	}
	for _, remote := range []bool{true, false} {
		for _, n := range candidates {
			if (n.ID != op.c.Self) == remote {
				op.request(n, &full, false, func(reply *ReadReply, err error) { op.resolved(n, reply, err) })
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

// repair merges the pages, writes to each replica what it lacks, and answers once the level's number of them hold the merge. While the range moves that
// has to be so among the old owners and among the new: those that answer no reads yet are repaired as if they held nothing. REQUIRES: phase is repairing.
func (op *readOp) repair() {
	nodes, pages := op.repairable()
	merged, err := readrepair.Merge(op.spec.Storage, pages, op.spec.Reverse)
	if err != nil {
		op.fail(err)
		return
	}
	tracker, err := op.repairTracker(nodes)
	if err != nil {
		op.fail(err)
		return
	}
	op.mu.Lock()
	op.mu.tracker, op.mu.merged = tracker, merged.Page
	op.mu.Unlock()
	for i, n := range nodes {
		if len(merged.Repairs[i]) == 0 || fault.Planted("coordinator/read-repair-skipped") {
			op.repaired(n, nil)
			continue
		}
		op.c.stats.Repaired.Add(1)
		op.sendRepair(n, merged.Repairs[i])
		if fault.Planted("coordinator/answers-before-repair") {
			op.repaired(n, nil)
		}
	}
}

// repairable gives the replicas that can come to hold the merge, and their pages.
func (op *readOp) repairable() (nodes []*vnodes.Node, pages [][]byte) {
	for _, a := range op.mu.pages {
		nodes, pages = append(nodes, a.node), append(pages, a.page)
	}
	if !op.owners.Moving() {
		return nodes, pages
	}
	for _, n := range op.owners.Write() {
		if op.c.Cluster.Alive(n.ID) && !slices.Contains(nodes, n) {
			nodes, pages = append(nodes, n), append(pages, nil)
		}
	}
	return nodes, pages
}

// repairTracker counts who holds the merge: for the level on the side that answers reads, and during a move on both.
func (op *readOp) repairTracker(nodes []*vnodes.Node) (*consistency.Tracker, error) {
	if !op.owners.Moving() {
		return op.newTracker()
	}
	level := op.r.Level
	switch level {
	case consistency.Serial:
		level = consistency.Quorum
	case consistency.LocalSerial:
		level = consistency.LocalQuorum
	}
	tracker, err := consistency.NewWrite(level, op.owners, op.rep, op.c.DC)
	if err != nil {
		return nil, err
	}
	for _, n := range op.owners.Write() {
		if !slices.Contains(nodes, n) {
			tracker.Fail(n.ID)
		}
	}
	return tracker, nil
}

func (op *readOp) sendRepair(n *vnodes.Node, ms []row.Mutation) {
	m := &WriteMessage{Fence: op.fence(), Repair: true, Mutations: make([][]byte, len(ms))}
	for i := range ms {
		m.Mutations[i] = ms[i].Append(nil)
	}
	sent := time.Now()
	if op.span != nil {
		op.span.Addf("Sending REPAIR of %d mutation(s) to /%s", len(ms), n.Address)
	}
	done := func(err error) {
		traceAnswer(op.span, n, "REPAIR", sent, err)
		op.repaired(n, err)
	}
	if n.ID == op.c.Self {
		m.Trace = op.span.On("replica")
		op.c.Local.Write(m, done)
		return
	}
	encode(m.encodeTo, func(body []byte) {
		op.c.Transport.Send(&rpc.Call{
			To: op.c.Cluster.Peer(n), Verb: rpc.VerbWrite, Body: body, Timeout: time.Until(op.until), Trace: op.r.Trace,
			Done: func(events []byte, err error) {
				op.span.Merge(n.Address, events)
				done(err)
			},
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
	case err != nil && !op.mu.spread:
		op.mu.spread = true
		op.mu.Unlock()
		op.spread()
	default:
		op.mu.Unlock()
	}
}

// spread writes the merge to the live owners whose pages were not waited for, since one whose page was merged can't be repaired (its disk is full,
// say): most often they hold it already. Owners that can't come to hold it are counted out, so that the read ends now if it can't be answered.
func (op *readOp) spread() {
	nodes, pages := op.repairable()
	known := len(nodes)
	for _, n := range op.mu.candidates {
		if !slices.Contains(nodes, n) && op.c.Cluster.Alive(n.ID) {
			nodes, pages = append(nodes, n), append(pages, nil)
		}
	}
	op.mu.Lock()
	for _, n := range op.owners.Read() {
		if !slices.Contains(nodes, n) {
			op.mu.tracker.Fail(n.ID)
		}
	}
	if op.mu.phase == repairing && op.mu.tracker.Hopeless() {
		op.finish(nil, op.outcome())
		return
	}
	op.mu.Unlock()
	merged, err := readrepair.Merge(op.spec.Storage, pages, op.spec.Reverse)
	if err != nil {
		op.fail(err)
		return
	}
	for i := known; i < len(nodes); i++ {
		op.sendRepair(nodes[i], merged.Repairs[i])
	}
}
