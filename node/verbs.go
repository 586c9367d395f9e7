package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"nodedb/node/rpc"
	"nodedb/node/trace"
	"nodedb/vnodes"
)

// appliedTimeout bounds one question whether an epoch is applied; who asks asks again.
const appliedTimeout = 5 * time.Second

// askApplied asks a node to say when it has applied an epoch and ended its requests of older rings.
func (c *cluster) askApplied(ctx context.Context, n *vnodes.Node, epoch uint64, done func(error)) {
	timeout := appliedTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	c.transport.Send(&rpc.Call{
		To: c.Peer(n), Verb: rpc.VerbApplied, Body: binary.BigEndian.AppendUint64(nil, epoch), Timeout: timeout,
		Done: func(_ []byte, err error) { done(err) },
	})
}

// handleApplied answers VerbApplied: the epoch is applied here (durably: the log stores before it applies), and no request admitted under
// an older ring is in flight.
func (c *cluster) handleApplied(in *rpc.Inbound) {
	if len(in.Body) != 8 {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "applied: want an epoch of 8 bytes"})
		return
	}
	epoch := binary.BigEndian.Uint64(in.Body)
	ctx, cancel := context.WithDeadline(context.Background(), in.Deadline)
	c.Await(ctx, in.From, epoch, func(err error) {
		cancel()
		if err != nil {
			in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeStale, Message: err.Error(), Epoch: c.View().Epoch})
			return
		}
		c.admission.WhenDrained(c.View().Ring.Epoch(), func() { in.Reply(nil, nil) })
	})
}

// traceTimeout bounds telling another node of a traced request, and by how much the answer is late when a node doesn't take it. It isn't told again.
const traceTimeout = 200 * time.Millisecond

// shareTrace tells the live members of a traced request, and waits until they know: drivers ask any node for it, and some ask only once.
func (c *cluster) shareTrace(s trace.Session) {
	body, err := msgpack.Marshal(&s)
	if err != nil {
		return // a session has nothing that can't be encoded
	}
	var all sync.WaitGroup
	for _, n := range c.View().Ring.Nodes() {
		if n.ID != c.self && c.Alive(n.ID) {
			all.Add(1)
			c.transport.Send(&rpc.Call{To: c.Peer(n), Verb: rpc.VerbTrace, Body: body, Timeout: traceTimeout, Done: func([]byte, error) { all.Done() }})
		}
	}
	all.Wait()
}

func (c *cluster) handleTrace(in *rpc.Inbound) {
	var s trace.Session
	if err := msgpack.Unmarshal(in.Body, &s); err != nil {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "trace: " + err.Error()})
		return
	}
	c.traces.Take(s)
	in.Reply(nil, nil)
}

// report is what a node tells of itself (VerbStatus).
type report struct {
	Load    uint64           `msgpack:"load"`
	Hints   map[string]int64 `msgpack:"hints"`   // waiting here, by host id
	Lost    map[string]int64 `msgpack:"lost"`    // hints not kept or given up here since the start, by host id
	Batches int64            `msgpack:"batches"` // logged ones kept here
	Pending []uint32         `msgpack:"pending"` // memory tables that wait for their rows, by storage id
	Wall    int64            `msgpack:"wall"`    // wall clock, µs
	Stamp   int64            `msgpack:"stamp"`   // what timestamps follow, µs
}

func (n *Node) report() report {
	r := report{Load: n.engine.DiskBytes(), Hints: map[string]int64{}, Lost: map[string]int64{}, Batches: int64(n.batches.Len()), Pending: n.pending.list(),
		Wall: n.clock.Wall(), Stamp: n.clock.Time()}
	for id, count := range n.hints.PendingAll() {
		r.Hints[id.String()] = count
	}
	for id, count := range n.hints.Lost() {
		r.Lost[id.String()] = count
	}
	return r
}

func (n *Node) handleStatus(in *rpc.Inbound) {
	var body bytes.Buffer
	e := msgpack.NewEncoder(&body)
	e.SetSortMapKeys(true) // equal reports are equal bytes
	err := e.Encode(n.report())
	in.Reply(body.Bytes(), err)
}

// errNoAnswer marks a member that is not believed up.
var errNoAnswer = errors.New("node is down")

// askStatus gets a member's report, if it is believed up.
func (n *Node) askStatus(to *vnodes.Node, timeout time.Duration, done func(report, error)) {
	switch {
	case to.ID == n.cluster.self:
		done(n.report(), nil)
	case !n.cluster.Alive(to.ID):
		done(report{}, errNoAnswer)
	default:
		n.fetchStatus(to, timeout, done)
	}
}

// fetchStatus gets a report from another member, whatever gossip says of it.
func (n *Node) fetchStatus(to *vnodes.Node, timeout time.Duration, done func(report, error)) {
	n.transport.Send(&rpc.Call{To: n.cluster.Peer(to), Verb: rpc.VerbStatus, Timeout: timeout, Done: func(body []byte, err error) {
		var r report
		if err == nil {
			err = msgpack.Unmarshal(body, &r)
		}
		done(r, err)
	}})
}
