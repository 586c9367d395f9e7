package proc

import (
	"context"
	"errors"
	"sync"

	"nodedb/node/check"
	"nodedb/query/wire"
)

// Through is a node as a client of package check: one connection, made when it is first needed, and again after it broke. To every other node it prepares
// statements and executes them, as drivers do; to the rest it sends their text. Safe for concurrent use.
type Through struct {
	node *Node
	mu   struct {
		sync.Mutex
		client *wire.Client
		closed bool
	}
}

var errClosed = errors.New("closed")

// Through gives a client of the node, which needn't run yet. Close it.
func (m *Node) Through() *Through { return &Through{node: m} }

// ThroughAll gives a client of each node, and what closes them.
func (c *Cluster) ThroughAll() (clients []check.Client, closeAll func()) {
	var all []*Through
	for _, m := range c.Nodes {
		t := m.Through()
		all, clients = append(all, t), append(clients, t)
	}
	return clients, func() {
		for _, t := range all {
			t.Close()
		}
	}
}

// Close ends the connection; requests under way are Unknown.
func (t *Through) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.closed = true
	if t.mu.client != nil {
		_ = t.mu.client.Close()
	}
}

// connection gives a live connection. Others wait while one dials: they need the same.
func (t *Through) connection(ctx context.Context) (*wire.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mu.closed:
		return nil, errClosed
	case t.mu.client != nil && t.mu.client.Err() == nil:
		return t.mu.client, nil
	case t.mu.client != nil:
		_ = t.mu.client.Close()
		t.mu.client = nil
	}
	c, err := t.node.Dial(ctx)
	if err == nil {
		t.mu.client = c
	}
	return c, err
}

// Run is check.Client's. Without a connection nothing was sent: Refused.
func (t *Through) Run(ctx context.Context, s *check.Statement) check.Result {
	c, err := t.connection(ctx)
	if err != nil {
		return check.Result{Outcome: check.Refused, Err: err}
	}
	p := wire.Params{Consistency: uint16(s.Level), PageSize: int32(s.PageSize), PageState: s.PageState, HasTimestamp: s.Timestamp != 0, Timestamp: s.Timestamp}
	res, err := t.ask(ctx, c, s.CQL, &p)
	if err != nil {
		return check.Failed(err)
	}
	out := check.Result{PageState: append([]byte(nil), res.PageState...)}
	for res.Next() {
		out.Rows = append(out.Rows, text(res.Columns, res.Row()))
	}
	if err := res.Err(); err != nil {
		return check.Failed(err)
	}
	return out
}

func (t *Through) ask(ctx context.Context, c *wire.Client, cql string, p *wire.Params) (*wire.Result, error) {
	if t.node.Index%2 == 1 {
		return c.Query(ctx, cql, p)
	}
	st, err := c.Prepare(ctx, cql)
	if err != nil {
		return nil, err
	}
	return c.Execute(ctx, st, p)
}
