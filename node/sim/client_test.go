package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"nodedb/node/check"
	"nodedb/query"
	"nodedb/query/wire"
)

// client runs statements through one machine's node, in process: from its query engine down it is the product's code, asked as query/native asks it.
type client struct {
	m *machine
	// prepares: it prepares each text once and executes it from then on, as drivers do: plain writes and reads of one row then go on by callbacks
	// (query.Engine.Start). Else every statement is a QUERY.
	prepares bool
	// told gets each statement's begin and outcome; nil: nobody.
	told func(begun time.Time, s *check.Statement, outcome check.Outcome)
	mu   struct {
		sync.Mutex
		ids map[string][16]byte // of prepared statements, by text: of an earlier incarnation, too
	}
}

var (
	errRefused = errors.New("connection refused")
	errBroken  = errors.New("connection lost")
)

// Run implements check.Client.
func (c *client) Run(ctx context.Context, s *check.Statement) check.Result {
	begun := time.Now()
	r := c.run(ctx, s)
	if c.told != nil {
		c.told(begun, s, r.Outcome)
	}
	text := fmt.Sprintf("client via %d: %s %v %d rows", c.m.i, s.CQL, r.Outcome, len(r.Rows))
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	c.m.w.history.say("%s", text)
	return r
}

func (c *client) run(ctx context.Context, s *check.Statement) check.Result {
	c.m.awake()
	l := c.m.alive()
	if l == nil || l.running() == nil || l.running().Engine() == nil {
		return check.Result{Outcome: check.Refused, Err: errRefused}
	}
	engine, done := l.running().Engine(), make(chan check.Result, 1)
	p := query.Params{Level: s.Level, PageSize: s.PageSize, PageState: s.PageState, Timestamp: query.NoTimestamp}
	if s.Timestamp != 0 {
		p.Timestamp = s.Timestamp
	}
	l.requests.Add(1)
	go c.ask(ctx, engine, s.CQL, &p, func(r *query.Result, err error) {
		done <- resultOf(r, err) // r is the engine's again when this returns
		l.requests.Done()
	})
	out := check.Result{Outcome: check.Unknown, Err: errBroken}
	select {
	case out = <-done:
	case <-l.gone:
	case <-ctx.Done():
	}
	c.m.awake()
	if l.deadBy() != nil {
		return check.Result{Outcome: check.Unknown, Err: errBroken}
	}
	return out
}

// ask gives done a statement's answer, once, maybe from another goroutine.
func (c *client) ask(ctx context.Context, e *query.Engine, cql string, p *query.Params, done func(*query.Result, error)) {
	s := &query.Session{}
	if !c.prepares {
		done(e.Query(ctx, s, cql, p))
		return
	}
	for anew := false; ; anew = true {
		id, err := c.prepare(ctx, e, s, cql, anew)
		if err != nil {
			done(nil, err)
			return
		}
		if e.Start(ctx, s, id, p, done) {
			return
		}
		r, err := e.Execute(ctx, s, id, p)
		if anew || !unprepared(err) { // else the node was started again
			done(r, err)
			return
		}
	}
}

// prepare gives a text's id, which it asks for only once unless it shall anew.
func (c *client) prepare(ctx context.Context, e *query.Engine, s *query.Session, cql string, anew bool) ([16]byte, error) {
	c.mu.Lock()
	id, known := c.mu.ids[cql]
	c.mu.Unlock()
	if known && !anew {
		return id, nil
	}
	p, err := e.Prepare(ctx, s, cql, "")
	if err != nil {
		return id, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.ids[cql] = p.ID
	return p.ID, nil
}

func unprepared(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == wire.CodeUnprepared
}

func resultOf(r *query.Result, err error) check.Result {
	if err != nil {
		return check.Failed(err)
	}
	return check.Result{Rows: rowsOf(r), PageState: slices.Clone(r.PageState)}
}

// rowsOf gives a result's rows as text: values as cqlsh prints them, joined by |.
func rowsOf(r *query.Result) []string {
	rows := make([]string, 0, r.RowCount)
	in := wire.NewDecoder(r.Rows)
	for range r.RowCount {
		var line []byte
		for i := range r.Columns {
			if i > 0 {
				line = append(line, '|')
			}
			line = r.Columns[i].Type.AppendText(line, in.Bytes())
		}
		rows = append(rows, string(line))
	}
	return rows
}
