package replica

import (
	"time"

	"nodedb/coordinator"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/trace"
)

// collect begins the span of a traced message; its events travel in the answer.
func (r *Replica) collect(in *rpc.Inbound, what string) *trace.Span {
	span := trace.Collect(in.Trace, "replica", time.Now)
	if span != nil {
		span.Addf("%s message received from %s", what, r.nameOf(in.From))
	}
	return span
}

// nameOf is a node's address as traces show it.
func (r *Replica) nameOf(p rpc.Peer) string {
	if n, ok := r.Cluster.View().Ring.Node(p.ID); ok {
		return "/" + n.Address
	}
	return p.ID.String()
}

func traceWrite(m *coordinator.WriteMessage, err error) {
	if m == nil || m.Trace == nil {
		return
	}
	n, size := len(m.Mutations)+len(m.Decoded), 0
	for _, b := range m.Mutations {
		size += len(b)
	}
	for i := range m.Decoded {
		size += m.Decoded[i].Size()
	}
	if err != nil {
		m.Trace.Addf("Applying %d mutation(s), %d bytes, failed: %v", n, size, err)
		return
	}
	m.Trace.Addf("Applied %d mutation(s), %d bytes, synced as commitlog_sync asks", n, size)
}

func traceRead(m *coordinator.ReadMessage, page []byte) {
	if m.Trace == nil {
		return
	}
	partitions, rows := 0, 0
	var r row.PageReader
	r.Reset(page)
	for {
		event, err := r.Next()
		switch {
		case err != nil, event == row.PageEnd:
			m.Trace.Addf("Read %d row(s) of %d partition(s), %d bytes", rows, partitions, len(page))
			return
		case event == row.PagePartition:
			partitions++
		case event == row.PageRow:
			rows++
		case event == row.PageCount, event == row.PagePicked:
			rows += r.Count
		}
	}
}
