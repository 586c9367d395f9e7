package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// gocqlShare is what one worker has of a gocql session. gocql is synchronous: a slot is a goroutine.
type gocqlShare struct {
	session    *gocql.Session
	statements []string
	level      gocql.Consistency
	quit       chan struct{}
	owned      sync.WaitGroup
	last       bool // closes the session
}

// dialGocql makes one session with o.Conns connections, as gocql counts them (so many a host), shared by as many workers.
func dialGocql(ctx context.Context, o *Options, statements []string) ([]session, error) {
	hosts := make([]string, len(o.Hosts))
	var port string
	for i, h := range o.Hosts {
		hosts[i], port, _ = net.SplitHostPort(h) // Options.withDefaults made them
	}
	cluster := gocql.NewCluster(hosts...)
	cluster.Port, _ = strconv.Atoi(port)
	cluster.ProtoVersion = int(o.Version)
	cluster.NumConns = max(1, o.Conns/len(o.Hosts))
	cluster.Timeout = requestTimeout
	cluster.Consistency = gocql.Consistency(o.Consistency)
	cluster.Logger = quiet{}
	s, err := cluster.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrServer, err)
	}
	all := make([]session, o.Conns)
	for i := range all {
		all[i] = &gocqlShare{session: s, statements: statements, level: cluster.Consistency, quit: make(chan struct{}), last: i == len(all)-1}
	}
	return all, ctx.Err()
}

func (g *gocqlShare) close() {
	close(g.quit)
	g.owned.Wait()
	if g.last {
		g.session.Close()
	}
}

// gocqlSlot runs one call after the other.
type gocqlSlot struct {
	*gocqlShare
	calls chan *call
	done  func(answer, error)
}

func (g *gocqlShare) slot(done func(answer, error)) sender {
	s := &gocqlSlot{g, make(chan *call, 1), done}
	g.owned.Go(func() {
		for {
			select {
			case c := <-s.calls:
				s.done(s.run(c))
			case <-g.quit:
				return
			}
		}
	})
	return s
}

// send never waits: a slot has one call at a time.
func (s *gocqlSlot) send(c *call) error {
	s.calls <- c
	return nil
}

func (s *gocqlSlot) run(c *call) (answer, error) {
	cql := s.statements[c.statement]
	if c.batch > 0 {
		kind := gocql.UnloggedBatch
		if c.logged {
			kind = gocql.LoggedBatch
		}
		b := s.session.Batch(kind).Consistency(s.level)
		for n, at := len(c.values)/c.batch, 0; at < len(c.values); at += n {
			b = b.Query(cql, rawValues(c.values[at:at+n])...)
		}
		return &gocqlRows{}, b.Exec()
	}
	q := s.session.Query(cql, rawValues(c.values)...).Consistency(s.level)
	if c.pageSize > 0 {
		q = q.PageSize(int(c.pageSize)).PageState(c.pageState)
	}
	rows := readAll(q.Iter())
	c.pageState = rows.state
	return rows, rows.err
}

// raw is a value as it is on the wire: what the driver's marshalling of Go types costs is not counted.
type raw []byte

// MarshalCQL gives the bytes.
func (r raw) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return r, nil }

// UnmarshalCQL copies the bytes, which the driver uses again.
func (r *raw) UnmarshalCQL(_ gocql.TypeInfo, data []byte) error {
	*r = bytes.Clone(data)
	return nil
}

func rawValues(values [][]byte) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = raw(v)
	}
	return out
}

// gocqlRows are the rows of an answer.
type gocqlRows struct {
	values  [][]byte // of all rows, one after the other
	columns int
	row     [][]byte
	state   []byte
	err     error
}

func readAll(iter *gocql.Iter) *gocqlRows {
	g := &gocqlRows{columns: len(iter.Columns())}
	values, into := make([]raw, g.columns), make([]any, g.columns)
	for i := range into {
		into[i] = &values[i]
	}
	for g.columns > 0 && iter.Scan(into...) {
		for _, v := range values {
			g.values = append(g.values, v)
		}
	}
	if state := iter.PageState(); len(state) > 0 {
		g.state = bytes.Clone(state)
	}
	g.err = iter.Close()
	return g
}

// Next goes to the next row.
func (g *gocqlRows) Next() bool {
	if len(g.values) == 0 {
		return false
	}
	g.row, g.values = g.values[:g.columns], g.values[g.columns:]
	return true
}

// Row is the row that Next went to.
func (g *gocqlRows) Row() [][]byte { return g.row }

// Err is what ended the answer early.
func (g *gocqlRows) Err() error { return g.err }

// quiet drops what the driver logs: it comes back as errors too.
type quiet struct{}

func (quiet) Error(string, ...gocql.LogField)   {}
func (quiet) Warning(string, ...gocql.LogField) {}
func (quiet) Info(string, ...gocql.LogField)    {}
func (quiet) Debug(string, ...gocql.LogField)   {}
