package bench

import (
	"context"
	"fmt"

	"nodedb/query/wire"
)

// The drivers.
const (
	driverLean  = "lean"
	driverGocql = "gocql"
)

var drivers = []string{driverLean, driverGocql}

// session is one connection, or what a driver takes for one, with the workload's statements prepared.
type session interface {
	// slot makes what sends one request after the other; done gets each answer, and must not block. Several slots are used at once.
	slot(done func(answer, error)) sender
	close()
}

// sender sends a request; the call is the caller's again when done is called. The error means that done will not be called.
type sender interface {
	send(c *call) error
}

// call is one request: a statement, or a batch of one statement.
type call struct {
	statement int
	values    [][]byte // a batch: those of all rows, one after the other
	batch     int      // rows; 0: no batch
	logged    bool
	pageSize  int32  // rows; 0: not paged
	pageState []byte // of the page to send for; the sender puts that of the next one here, nil after the last
}

// answer is a result's rows; *wire.Result is one. The bytes of values may be kept.
type answer interface {
	Next() bool
	Row() [][]byte
	Err() error
}

// connect makes the sessions, over all hosts in turn.
func connect(ctx context.Context, o *Options, statements []string) ([]session, error) {
	if o.Driver == driverGocql {
		return dialGocql(ctx, o, statements)
	}
	var all []session
	for i := range o.Conns {
		s, err := dialLean(ctx, o, o.Hosts[i%len(o.Hosts)], statements)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("%w: %w", ErrServer, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func closeAll(sessions []session) {
	for _, s := range sessions {
		s.close()
	}
}

// lean is one pipelined connection: requests are encoded into its buffer, answers handled on its reader.
type lean struct {
	client   *wire.Client
	prepared []*wire.Prepared // by statement; nil where there is none
	level    uint16
}

func dialLean(ctx context.Context, o *Options, host string, statements []string) (session, error) {
	c, err := wire.Dial(ctx, host, wire.ClientOptions{Version: o.Version, Timeout: requestTimeout})
	if err != nil {
		return nil, err
	}
	l := &lean{client: c, prepared: make([]*wire.Prepared, len(statements)), level: uint16(o.Consistency)}
	for i, cql := range statements {
		if cql == "" {
			continue
		}
		if l.prepared[i], err = c.Prepare(ctx, cql); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w", cql, err)
		}
	}
	return l, nil
}

func (l *lean) close() { _ = l.client.Close() }

// leanSlot reuses its messages: no allocation a request.
type leanSlot struct {
	*lean
	done    func(answer, error)
	reply   func(wire.Response, error)
	call    *call
	columns []wire.Column
	execute wire.Execute
	batch   wire.Batch
}

func (l *lean) slot(done func(answer, error)) sender {
	s := &leanSlot{lean: l, done: done}
	s.reply = s.answered
	s.execute.Consistency, s.execute.SkipMetadata = l.level, true
	s.batch.Consistency = l.level
	return s
}

func (s *leanSlot) send(c *call) error {
	p := s.prepared[c.statement]
	s.call, s.columns = c, p.Columns
	if c.batch == 0 {
		s.execute.PageSize, s.execute.PageState = c.pageSize, c.pageState
		s.execute.ID, s.execute.ResultID, s.execute.Values = p.ID, p.ResultID, c.values
		return s.client.Send(&s.execute, s.reply)
	}
	s.batch.Kind = wire.BatchUnlogged
	if c.logged {
		s.batch.Kind = wire.BatchLogged
	}
	s.batch.Statements = s.batch.Statements[:0]
	for n := len(c.values) / c.batch; len(s.batch.Statements) < c.batch; {
		at := len(s.batch.Statements) * n
		s.batch.Statements = append(s.batch.Statements, wire.BatchStatement{ID: p.ID, Values: c.values[at : at+n]})
	}
	return s.client.Send(&s.batch, s.reply)
}

func (s *leanSlot) answered(r wire.Response, err error) {
	if err != nil {
		s.done(nil, err)
		return
	}
	res, err := r.Result(s.columns)
	if err != nil {
		s.done(nil, err)
		return
	}
	s.call.pageState = res.PageState
	s.done(res, nil)
}
