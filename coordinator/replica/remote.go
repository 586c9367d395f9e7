package replica

import (
	"sync"

	"nodedb/coordinator"
	"nodedb/node/row"
	"nodedb/node/rpc"
)

// remoteWrite is a write of another node's coordinator. Its bytes are the transport's, until it is answered. It is used again.
type remoteWrite struct {
	r  *Replica
	in *rpc.Inbound
	m  coordinator.WriteMessage
	ms []row.Mutation // m's mutations

	onAdmitted, onDone func(error) // admitted and end, made once
}

var remoteWrites sync.Pool

// maxKeptMutations is how many mutations, and rows of one, a remoteWrite keeps the room of.
const maxKeptMutations = 16

func newRemoteWrite() *remoteWrite {
	if w, ok := remoteWrites.Get().(*remoteWrite); ok {
		return w
	}
	w := new(remoteWrite)
	w.onAdmitted, w.onDone = w.admitted, w.end
	return w
}

// admitted goes on once what the write depends on is applied here.
func (w *remoteWrite) admitted(err error) {
	if err == nil {
		w.ms, err = decode(w.ms, &w.m)
	}
	if err != nil {
		w.end(err)
		return
	}
	w.r.apply(&w.m, w.ms, w.onDone)
}

// end answers the write.
func (w *remoteWrite) end(err error) {
	w.in.Reply(w.m.Trace.Bytes(), err)
	mutations, ms := w.m.Mutations, w.ms
	clear(mutations)
	for i := range ms {
		rows := ms[i].Rows
		if clear(rows); cap(rows) > maxKeptMutations {
			rows = nil
		}
		ms[i] = row.Mutation{Rows: rows[:0]}
	}
	if cap(ms) > maxKeptMutations {
		mutations, ms = nil, nil
	}
	*w = remoteWrite{m: coordinator.WriteMessage{Mutations: mutations[:0]}, ms: ms[:0], onAdmitted: w.onAdmitted, onDone: w.onDone}
	remoteWrites.Put(w)
}
