package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"nodedb/query"
	"nodedb/query/wire"
)

// flushSize is how many bytes of a stream are collected before they are sent.
const flushSize = 64 << 10

// query answers POST /v1/query.
func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	var q QueryRequest
	if p := s.read(w, r, &q); p != nil {
		refuse(w, p)
		return
	}
	stream, _ := accepts(r)
	params, p := s.params(&q, stream)
	if p != nil {
		refuse(w, p)
		return
	}
	run, p := s.runner(r, &q, params)
	if p != nil {
		refuse(w, p)
		return
	}
	res, err := run(r.Context(), params)
	switch {
	case err != nil:
		refuse(w, problemOf(err))
	case stream:
		s.stream(w, r, run, params, res)
	default:
		s.answerResult(w, res)
	}
}

// runner gives a function that runs the statement, page after page. A statement with values is prepared, so that they
// are read as their markers' types.
func (s *Server) runner(r *http.Request, q *QueryRequest, params *query.Params) (func(context.Context, *query.Params) (*query.Result, error), *Problem) {
	session := &query.Session{Keyspace: q.Keyspace, Client: r.RemoteAddr}
	if !given(q.Params) {
		return func(ctx context.Context, p *query.Params) (*query.Result, error) {
			return s.opts.Engine.Query(ctx, session, q.CQL, p)
		}, nil
	}
	prepared, err := s.opts.Engine.Prepare(r.Context(), session, q.CQL, q.Keyspace)
	if err != nil {
		return nil, problemOf(err)
	}
	var p *Problem
	if params.Values, p = bind(prepared.Markers, q.Params); p != nil {
		return nil, p
	}
	return func(ctx context.Context, p *query.Params) (*query.Result, error) {
		res, err := s.opts.Engine.Execute(ctx, session, prepared.ID, p)
		if !unprepared(err) {
			return res, err
		}
		again, err := s.opts.Engine.Prepare(ctx, session, q.CQL, q.Keyspace) // it was evicted meanwhile
		if err != nil {
			return nil, err
		}
		prepared = again
		return s.opts.Engine.Execute(ctx, session, prepared.ID, p)
	}, nil
}

func unprepared(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == wire.CodeUnprepared
}

// answerResult answers one page as a JSON object.
func (s *Server) answerResult(w http.ResponseWriter, res *query.Result) {
	if res.Kind == query.ResultSetKeyspace {
		res.Warnings = append(res.Warnings, `USE ends with its request over HTTP; send "keyspace" with each`)
	}
	body, err := appendAnswer(make([]byte, 0, 256+2*len(res.Rows)), res)
	if err != nil {
		refuse(w, problemOf(err))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout)) // a test's recorder has none
	answer(w, http.StatusOK, jsonType, body)
}

// stream answers all pages, a row a line; memory holds one page. After the first byte an error can only be a last line.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, run func(context.Context, *query.Params) (*query.Result, error), params *query.Params,
	res *query.Result) {
	h := w.Header()
	h.Set("Content-Type", ndjsonType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	buf := make([]byte, 0, flushSize+flushSize/4)
	for {
		var err error
		if buf, err = s.streamPage(w, control, buf, res); err != nil {
			s.lastLine(w, control, buf, problemOf(err))
			return
		}
		if len(res.PageState) == 0 || r.Context().Err() != nil {
			return
		}
		select {
		case <-s.closing:
			s.lastLine(w, control, buf, problemf(http.StatusServiceUnavailable, wire.CodeBootstrapping, "the node is shutting down"))
			return
		default:
		}
		params.PageState = res.PageState
		if res, err = run(r.Context(), params); err != nil {
			s.lastLine(w, control, buf, problemOf(err))
			return
		}
	}
}

// streamPage writes a page's rows and sends them.
func (s *Server) streamPage(w http.ResponseWriter, control *http.ResponseController, buf []byte, res *query.Result) ([]byte, error) {
	rw := newRowWriter(res.Columns)
	rows := res.Rows
	var err error
	for range res.RowCount {
		if buf, rows, err = rw.append(buf, rows); err != nil {
			return buf[:0], err
		}
		if buf = append(buf, '\n'); len(buf) >= flushSize {
			if err := s.send(w, control, buf); err != nil {
				return buf[:0], err
			}
			buf = buf[:0]
		}
	}
	return buf[:0], s.send(w, control, buf)
}

func (s *Server) send(w http.ResponseWriter, control *http.ResponseController, b []byte) error {
	_ = control.SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout)) // a test's recorder has none
	if _, err := w.Write(b); err != nil {
		return err
	}
	return control.Flush()
}

// lastLine ends a stream with {"error": problem}.
func (s *Server) lastLine(w http.ResponseWriter, control *http.ResponseController, buf []byte, p *Problem) {
	line, err := marshal(StreamError{p})
	if err != nil {
		panic(err) // strings and numbers only
	}
	_ = s.send(w, control, append(append(buf, line...), '\n')) // who went away isn't told
}

// StreamError is the last line of a stream that failed.
type StreamError struct {
	Error *Problem `json:"error"`
}

// batch answers POST /v1/batch.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	var q BatchRequest
	if p := s.read(w, r, &q); p != nil {
		refuse(w, p)
		return
	}
	res, p := s.runBatch(r, &q)
	if p != nil {
		refuse(w, p)
		return
	}
	s.answerResult(w, res)
}

var batchKinds = map[string]query.BatchKind{
	"": query.BatchLogged, "logged": query.BatchLogged, "unlogged": query.BatchUnlogged, "counter": query.BatchCounter,
}

func (s *Server) runBatch(r *http.Request, q *BatchRequest) (*query.Result, *Problem) {
	kind, ok := batchKinds[q.Type]
	if !ok {
		return nil, invalidf("type: want logged, unlogged or counter, got %q", q.Type)
	}
	if len(q.Statements) == 0 || len(q.Statements) > maxStatements {
		return nil, invalidf("statements: want 1 to %d, got %d", maxStatements, len(q.Statements))
	}
	level, serial, p := s.levels(q.Consistency, q.Serial)
	if p != nil {
		return nil, p
	}
	params := &query.Params{Level: level, Serial: serial, Timestamp: query.NoTimestamp}
	if q.Timestamp != nil {
		params.Timestamp = *q.Timestamp
	}
	session := &query.Session{Keyspace: q.Keyspace, Client: r.RemoteAddr}
	sts := make([]query.BatchStatement, len(q.Statements))
	known := map[string]*query.Prepared{}
	for i := range q.Statements {
		if p := s.batchStatement(r.Context(), session, &q.Statements[i], &sts[i], known); p != nil {
			p.Detail = fmt.Sprintf("statements[%d]: %s", i, p.Detail)
			return nil, p
		}
	}
	res, err := s.opts.Engine.Batch(r.Context(), session, kind, sts, params)
	if err != nil {
		return nil, problemOf(err)
	}
	return res, nil
}

// batchStatement binds a statement's values; statements with one text are prepared once.
func (s *Server) batchStatement(ctx context.Context, session *query.Session, in *BatchStatement, out *query.BatchStatement,
	known map[string]*query.Prepared) *Problem {
	out.Query = in.CQL
	if in.CQL == "" {
		return invalidf(`"cql" is missing`)
	}
	if !given(in.Params) {
		return nil
	}
	prepared := known[in.CQL]
	if prepared == nil {
		var err error
		if prepared, err = s.opts.Engine.Prepare(ctx, session, in.CQL, session.Keyspace); err != nil {
			return problemOf(err)
		}
		known[in.CQL] = prepared
	}
	var p *Problem
	out.Values, p = bind(prepared.Markers, in.Params)
	return p
}
