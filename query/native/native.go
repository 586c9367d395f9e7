// Package native is the CQL binary protocol's door: it takes connections of drivers, shells and loaders, and asks an Engine. It may import query,
// query/wire, query/virtual and what stands below them. Start reading at Server, then conn.go and pool.go.
package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/node/metrics"
	"nodedb/node/trace"
	"nodedb/node/wake"
	"nodedb/query"
	"nodedb/query/wire"
)

// ErrServerClosed is what Serve gives back after Shutdown.
var ErrServerClosed = errors.New("the CQL server is shut down")

// Engine answers CQL; *query.Engine is one. Params, their slices and the session are the door's again when the call returns; the bytes of values are never
// changed and may be kept. A Result belongs to the engine, whose Rows and Columns are not changed while the door encodes it.
type Engine interface {
	Query(ctx context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error)
	Prepare(ctx context.Context, s *query.Session, cql, keyspace string) (*query.Prepared, error)
	Execute(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error)
	Batch(ctx context.Context, s *query.Session, kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error)
}

// Starter is an Engine that can begin some prepared statements without waiting for their end, plain writes above all. The connection's reader calls it, so it
// must not block. It calls done once, from any goroutine, maybe before it returns; the parameters and the session are its own until then, and the result when
// done returns. False: not this statement, done is not called, and Execute is asked instead.
type Starter interface {
	Start(ctx context.Context, s *query.Session, id [16]byte, p *query.Params, done func(*query.Result, error)) bool
}

// Options of New. Zero values take the defaults.
type Options struct {
	Engine Engine
	Log    *slog.Logger      // nil: silent
	Stats  *metrics.Registry // nil: nothing is counted outside

	// Traces gets a session for each traced request; nil: none are kept. What serves system_traces must show the same log.
	Traces *trace.Recorder

	// Cork holds wake-ups back while a burst of requests or answers is under way; nil: nothing does.
	Cork *wake.Cork

	// Authenticate checks a login and gives the identity; nil: nobody is asked, and everybody is anonymous.
	Authenticate func(ctx context.Context, user, password string) (identity string, err error)

	// MaxConnections open at once, default 4096. One more is told so and closed. Each costs about 30 KiB while it idles.
	MaxConnections int
	// MaxInFlight requests of one connection, default 1024; beyond it (by at most one burst of maxBurst) nothing more is read from it until half are
	// answered.
	MaxInFlight int
	// MaxConnBytes of one connection's requests in flight, default 32 MiB, with the same effect.
	MaxConnBytes int
	// MaxQueued requests of all connections, default 65,536, and their MaxQueuedBytes, default 256 MiB; one more is answered OVERLOADED.
	MaxQueued      int
	MaxQueuedBytes int
	// MaxRequestBytes is a request's size, default 16 MiB; a larger one is skipped and answered by an error.
	MaxRequestBytes int
	// MaxPendingBytes of a connection's answers that its client has not taken yet, default 4 MiB; beyond it no request of it is begun.
	MaxPendingBytes int
	// MaxWorkers is how many requests run at once, default 1024.
	MaxWorkers int
	// QueueTimeout, default 10 s: a request that waited longer for a worker is answered OVERLOADED unexecuted; clients have given up by then.
	QueueTimeout time.Duration
	// WriteTimeout, default 30 s: a client that takes nothing for so long is cut off.
	WriteTimeout time.Duration
	// HandshakeTimeout, default 10 s, from accept to the end of authentication.
	HandshakeTimeout time.Duration
}

func (o Options) withDefaults() Options {
	for p, value := range map[*int]int{
		&o.MaxConnections: 4096, &o.MaxInFlight: 1024, &o.MaxConnBytes: 32 << 20, &o.MaxQueued: 1 << 16, &o.MaxQueuedBytes: 256 << 20,
		&o.MaxRequestBytes: wire.DefaultMaxRequestBytes, &o.MaxPendingBytes: 4 << 20, &o.MaxWorkers: 1024,
	} {
		if *p <= 0 {
			*p = value
		}
	}
	for p, value := range map[*time.Duration]time.Duration{
		&o.QueueTimeout: 10 * time.Second, &o.WriteTimeout: 30 * time.Second, &o.HandshakeTimeout: 10 * time.Second,
	} {
		if *p <= 0 {
			*p = value
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server is the door. A connection has two goroutines, a reader and a writer; requests run on a bounded set of workers that all connections share.
//
//	reader: frame -> request -> queue of the connection      worker: request -> Engine -> frame into the writer's buffer
//	reader: frame -> request -> Starter                      whoever completes it: frame into the writer's buffer
//
// Every bound pushes back where it can (the reader stops reading, the client's send buffer fills) and sheds by an error where it can't.
type Server struct {
	o       Options
	starter Starter // Options.Engine, when it is one
	pool    *pool
	metas   metaCache
	stats   stats

	ctx    context.Context // of all requests
	cancel context.CancelFunc
	conns  sync.WaitGroup

	mu struct {
		sync.Mutex
		listeners map[net.Listener]struct{}
		open      map[*conn]struct{}
		closed    bool
	}
}

// stats are what is counted.
type stats struct {
	connections, refused       atomic.Int64
	requests, errors           atomic.Int64
	overloaded, protocolErrors atomic.Int64
}

// New makes a server; Serve starts it.
func New(o Options) *Server {
	s := &Server{o: o.withDefaults()}
	s.pool = newPool(s.o)
	s.starter, _ = s.o.Engine.(Starter)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.listeners = make(map[net.Listener]struct{})
	s.mu.open = make(map[*conn]struct{})
	s.metas.entries = make(map[[16]byte]*metaEntry)
	if s.o.Stats != nil {
		s.register(s.o.Stats)
	}
	return s
}

func (s *Server) register(r *metrics.Registry) {
	r.GaugeFunc("nodedb_cql_connections", "Open CQL connections.", func() float64 { return float64(s.stats.connections.Load()) })
	for name, c := range map[string]struct {
		help  string
		value *atomic.Int64
	}{
		"nodedb_cql_connections_refused_total": {"CQL connections over the limit.", &s.stats.refused},
		"nodedb_cql_requests_total":            {"CQL requests run.", &s.stats.requests},
		"nodedb_cql_errors_total":              {"CQL requests answered by an error.", &s.stats.errors},
		"nodedb_cql_overloaded_total":          {"CQL requests shed by overload.", &s.stats.overloaded},
		"nodedb_cql_protocol_errors_total":     {"Malformed or unexpected CQL frames.", &s.stats.protocolErrors},
	} {
		r.CounterFunc(name, c.help, func() float64 { return float64(c.value.Load()) })
	}
}

// Serve takes connections until Shutdown, then gives ErrServerClosed; any other error is the listener's. It may be called for several listeners (plain
// and TLS).
func (s *Server) Serve(l net.Listener) error {
	if !s.addListener(l) {
		l.Close()
		return ErrServerClosed
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrServerClosed
			}
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of file descriptors: it passes
				s.o.Log.Warn("accept CQL connection", "error", err)
				time.Sleep(acceptPause)
				continue
			}
			return fmt.Errorf("accept CQL connections on %s: %w", l.Addr(), err)
		}
		s.accept(nc)
	}
}

// acceptPause is how long to wait after an accept failed for want of resources.
const acceptPause = 50 * time.Millisecond

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false
	}
	s.mu.listeners[l] = struct{}{}
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.closed
}

// accept starts a connection, or refuses it.
func (s *Server) accept(nc net.Conn) {
	s.mu.Lock()
	full, closed := len(s.mu.open) >= s.o.MaxConnections, s.mu.closed
	if !full && !closed {
		c := newConn(s, nc)
		s.mu.open[c] = struct{}{}
		s.stats.connections.Add(1)
		s.conns.Go(c.serve)
	}
	s.mu.Unlock()
	if full {
		s.refuse(nc)
	}
	if full || closed {
		nc.Close()
	}
}

// refuse tells a client that there are too many: on stream 0, on which drivers ask first.
func (s *Server) refuse(nc net.Conn) {
	if s.stats.refused.Add(1)%1000 == 1 {
		s.o.Log.Warn("too many CQL connections", "limit", s.o.MaxConnections, "client", nc.RemoteAddr().String())
	}
	e := wire.Errorf(wire.CodeOverloaded, "too many connections: this node takes %d (native_transport_max_concurrent_connections)", s.o.MaxConnections)
	h := wire.Header{Version: wire.MinVersion, Response: true, Op: wire.OpError}
	_ = nc.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, _ = nc.Write(wire.EndFrame(e.Append(wire.BeginFrame(nil, h), wire.MinVersion), 0))
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.open, c)
	s.stats.connections.Add(-1)
}

// Shutdown stops listening and reading, lets the requests in flight end and their answers go out, and closes the connections. When ctx ends
// first, it cancels what still runs, and gives ctx's error. Either way nothing of the server runs afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.mu.closed = true
	for l := range s.mu.listeners {
		l.Close()
	}
	for c := range s.mu.open {
		c.stopReading()
	}
	s.mu.Unlock()
	drained := make(chan struct{})
	go func() { s.conns.Wait(); close(drained) }()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("drain CQL connections: %w", context.Cause(ctx))
		s.abort()
		<-drained
	}
	s.cancel()
	s.pool.close()
	return err
}

// abort cancels all requests and cuts all connections.
func (s *Server) abort() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		c.nc.Close()
	}
}

// Connections is the number of open connections.
func (s *Server) Connections() int { return int(s.stats.connections.Load()) }
