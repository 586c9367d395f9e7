package native

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query"
	"nodedb/query/wire"
)

// request is one QUERY, PREPARE, EXECUTE or BATCH on its way. Requests are reused; the bytes of their bodies are not.
type request struct {
	conn    *conn
	header  wire.Header
	body    []byte
	arrived time.Time // zero when there was a worker for it at once

	session query.Session // a copy: USE may replace the connection's meanwhile
	params  query.Params
	query   wire.Query
	execute wire.Execute
	batch   wire.Batch
	sts     []query.BatchStatement

	decoded bool                       // execute, id, params and session are set: a Starter has declined it
	id      [16]byte                   // of the prepared statement
	onEnd   func(*query.Result, error) // end, made once
}

var requests sync.Pool

func newRequest(c *conn, h wire.Header, body []byte) *request {
	r, ok := requests.Get().(*request)
	if !ok {
		r = new(request)
		r.onEnd = r.end
	}
	r.conn, r.header, r.body = c, h, body
	return r
}

// release gives the request back: it keeps its slices, and nothing that they held.
func (r *request) release() {
	switch r.header.Op {
	case wire.OpExecute:
		clear(r.execute.Values)
		r.execute = wire.Execute{Params: wire.Params{Values: r.execute.Values[:0]}}
	case wire.OpQuery:
		clear(r.query.Values)
		r.query = wire.Query{Params: wire.Params{Values: r.query.Values[:0]}}
	case wire.OpBatch:
		clear(r.batch.Statements)
		clear(r.sts)
		r.batch, r.sts = wire.Batch{Statements: r.batch.Statements[:0]}, r.sts[:0]
	}
	r.conn, r.body, r.params, r.session, r.decoded = nil, nil, query.Params{}, query.Session{}, false
	requests.Put(r)
}

// run decodes the request, asks the engine and answers.
func (r *request) run() {
	c := r.conn
	if c.ctx.Err() != nil {
		return // nobody is there to read the answer
	}
	c.server.stats.requests.Add(1)
	if !r.arrived.IsZero() && time.Since(r.arrived) > c.server.o.QueueTimeout {
		c.server.stats.overloaded.Add(1)
		r.fail(wire.Errorf(wire.CodeOverloaded, "overloaded: the request waited longer than %v and was not run", c.server.o.QueueTimeout))
		return
	}
	r.session = *c.session.Load()
	if err := r.handle(); err != nil {
		r.fail(err)
	}
}

// handle runs the request. A panic of the engine is this request's error, not the node's end: no client may take a node down.
func (r *request) handle() (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.panicked(p)
			err = wire.Errorf(wire.CodeServer, "internal error: %v", p)
		}
	}()
	switch r.header.Op {
	case wire.OpExecute:
		return r.runExecute()
	case wire.OpQuery:
		return r.runQuery()
	case wire.OpBatch:
		return r.runBatch()
	default:
		return r.runPrepare()
	}
}

func (r *request) panicked(p any) {
	r.conn.server.o.Log.Error("a CQL request panicked", "op", r.header.Op.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (r *request) runQuery() error {
	if err := r.query.Decode(r.body, r.header.Version); err != nil {
		return err
	}
	if err := r.setParams(&r.query.Params); err != nil {
		return err
	}
	r.beginTrace()
	res, err := r.conn.server.o.Engine.Query(r.conn.ctx, &r.session, r.query.CQL, &r.params)
	if err != nil {
		return err
	}
	return r.answer(res, nil)
}

// decodeExecute gets an EXECUTE ready for the engine.
func (r *request) decodeExecute() (err error) {
	if r.decoded {
		return nil
	}
	if err := r.execute.Decode(r.body, r.header.Version); err != nil {
		return err
	}
	if err := r.setParams(&r.execute.Params); err != nil {
		return err
	}
	if r.id, err = preparedID(r.execute.ID); err != nil {
		return err
	}
	r.decoded = true
	r.beginTrace()
	return nil
}

func (r *request) runExecute() error {
	if err := r.decodeExecute(); err != nil {
		return err
	}
	res, err := r.conn.server.o.Engine.Execute(r.conn.ctx, &r.session, r.id, &r.params)
	if err != nil {
		return err
	}
	return r.answer(res, &r.id)
}

// start lets a Starter begin an EXECUTE, on the connection's reader. False: a worker shall run the request. After true, the request is no longer the
// caller's.
func (r *request) start(st Starter) (started bool) {
	defer func() {
		if p := recover(); p != nil { // before it took the request over: a worker runs it, and answers what comes of it
			r.panicked(p)
		}
	}()
	if r.header.Op != wire.OpExecute {
		return false
	}
	r.session = *r.conn.session.Load()
	if r.decodeExecute() != nil {
		return false // the worker finds the same error, and answers it
	}
	return st.Start(r.conn.ctx, &r.session, r.id, &r.params, r.onEnd)
}

// end answers a request that was started.
func (r *request) end(res *query.Result, err error) {
	c := r.conn
	c.server.stats.requests.Add(1)
	if err == nil {
		err = r.answer(res, &r.id)
	} else if p := (*query.Panicked)(nil); errors.As(err, &p) {
		c.server.o.Log.Error("a CQL request panicked", "op", r.header.Op.String(), "panic", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}
	if err != nil {
		r.fail(err)
	}
	c.server.pool.done(r)
}

func (r *request) runPrepare() error {
	var m wire.Prepare
	if err := m.Decode(r.body, r.header.Version); err != nil {
		return err
	}
	p, err := r.conn.server.o.Engine.Prepare(r.conn.ctx, &r.session, m.CQL, m.Keyspace)
	if err != nil {
		return err
	}
	return r.answerPrepared(p)
}

func (r *request) runBatch() error {
	if err := r.batch.Decode(r.body, r.header.Version); err != nil {
		return err
	}
	if err := r.setParams(&r.batch.Params); err != nil {
		return err
	}
	for i := range r.batch.Statements {
		s := &r.batch.Statements[i]
		st := query.BatchStatement{Query: s.CQL, Values: s.Values, Unset: s.Unset}
		if s.ID != nil {
			id, err := preparedID(s.ID)
			if err != nil {
				return err
			}
			st.ID = &id
		}
		r.sts = append(r.sts, st)
	}
	r.beginTrace()
	res, err := r.conn.server.o.Engine.Batch(r.conn.ctx, &r.session, query.BatchKind(r.batch.Kind), r.sts, &r.params)
	if err != nil {
		return err
	}
	return r.answer(res, nil)
}

func preparedID(b []byte) (id [16]byte, err error) {
	if len(b) != len(id) {
		return id, wire.Errorf(wire.CodeInvalid, "a prepared statement's id has %d bytes here, got %d", len(id), len(b))
	}
	return [16]byte(b), nil
}

// setParams turns the protocol's parameters into the engine's.
func (r *request) setParams(p *wire.Params) error {
	level, err := levelOf(p.Consistency)
	if err != nil {
		return err
	}
	serial, err := levelOf(p.Serial)
	if err != nil {
		return err
	}
	if p.Serial != wire.NoSerial && serial != consistency.Serial && serial != consistency.LocalSerial {
		return wire.Errorf(wire.CodeProtocol, "serial consistency must be SERIAL or LOCAL_SERIAL, got 0x%04X", p.Serial)
	}
	r.params = query.Params{
		Values: p.Values, Unset: p.Unset, Names: p.Names, Level: level, Serial: serial, PageSize: int(p.PageSize), PageState: p.PageState,
		Timestamp: query.NoTimestamp, Keyspace: p.Keyspace, Trace: r.header.Flags&wire.FlagTracing != 0,
	}
	if p.Serial == wire.NoSerial {
		r.params.Serial = consistency.Serial // the protocol's default
	}
	if p.HasTimestamp {
		if p.Timestamp == query.NoTimestamp {
			return wire.Errorf(wire.CodeProtocol, "timestamp %d is out of range", p.Timestamp)
		}
		r.params.Timestamp = p.Timestamp
	}
	if p.HasNow {
		r.params.NowSeconds = int64(p.NowInSeconds)
	}
	return nil
}

func levelOf(v uint16) (consistency.Level, error) {
	if v > uint16(consistency.LocalOne) {
		return 0, wire.Errorf(wire.CodeProtocol, "unknown consistency level 0x%04X", v)
	}
	return consistency.Level(v), nil
}

// fail answers by an error.
func (r *request) fail(err error) {
	e := asWireError(err)
	r.endTrace(e)
	r.conn.refuseTraced(r.header, e, r.params.TraceID)
}

// asWireError gives the error that a client is told.
func asWireError(err error) *wire.Error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, wire.ErrMalformed):
		return wire.Errorf(wire.CodeProtocol, "%v", err)
	case errors.Is(err, context.Canceled):
		return wire.Errorf(wire.CodeServer, "the request was cancelled: this node is shutting down")
	}
	return wire.Errorf(wire.CodeServer, "%v", err)
}
