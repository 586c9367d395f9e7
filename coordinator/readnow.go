package coordinator

import (
	"nodedb/coordinator/consistency"
)

// ReadNow gives what Read would, appended to buf[:0], where this node's replica is all that the level needs and has the row in memory: then a read is
// a function call, on whatever goroutine asks, with nothing to wait for, to time or to take back. False: ask Read. A write that is not acknowledged yet, and that no
// read has shown, may be missing (node/storage, ReadCached).
//
// It is admitted as any request is: a ring that changes meanwhile waits for it.
func (c *Coordinator) ReadNow(r *ReadRequest, buf []byte) (page []byte, ok bool) {
	if r.Trace != [16]byte{} {
		return nil, false // a trace wants to see the steps
	}
	view, admitted := c.Admission.Enter(c.Cluster)
	defer admitted.Leave()
	place, rep, ok := view.Placement(r.Table.Keyspace)
	if !ok || !consistency.Alone(r.Level, place.Replicas(r.Spec.Token).Read(), rep, c.Self, c.DC) {
		return nil, false
	}
	if page, ok = c.Local.ReadNow(view.Ring.Epoch(), &r.Spec, buf); ok {
		c.stats.Reads.Add(1)
		c.stats.Owned.Add(1)
		c.stats.Answered.Add(1)
	}
	return page, ok
}
