package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/node/check"
	"nodedb/query"
	"nodedb/query/wire"
)

// client runs statements through one machine's node, in process: from its query engine down it is the product's code.
type client struct {
	m *machine
	// told gets each statement's begin and outcome; nil: nobody.
	told func(begun time.Time, s *check.Statement, outcome check.Outcome)
}

var (
	errRefused = errors.New("connection refused")
	errBroken  = errors.New("connection lost")
)

// answer is what the engine gave.
type answer struct {
	result *query.Result
	err    error
}

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
	engine, done := l.running().Engine(), make(chan answer, 1)
	p := query.Params{Level: s.Level, PageSize: s.PageSize, PageState: s.PageState, Timestamp: query.NoTimestamp}
	if s.Timestamp != 0 {
		p.Timestamp = s.Timestamp
	}
	l.requests.Add(1)
	go func() {
		defer l.requests.Done()
		r, err := engine.Query(ctx, &query.Session{}, s.CQL, &p)
		done <- answer{r, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-l.gone:
	case <-ctx.Done():
	}
	c.m.awake()
	if l.deadBy() != nil || a == (answer{}) {
		return check.Result{Outcome: check.Unknown, Err: errBroken}
	}
	if a.err != nil {
		return check.Failed(a.err)
	}
	return check.Result{Rows: rowsOf(a.result), PageState: a.result.PageState}
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
