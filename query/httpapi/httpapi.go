// Package httpapi is the HTTP JSON door: queries, batches, schema, ring, health, metrics, and the OpenAPI document that
// describes them. It may import query, query/schema, query/types, query/wire and coordinator/consistency. Start reading
// at Server.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/wire"
)

// Engine is what the door needs of *query.Engine. Errors are *wire.Error.
type Engine interface {
	Query(ctx context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error)
	Prepare(ctx context.Context, s *query.Session, cql, keyspace string) (*query.Prepared, error)
	Execute(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error)
	Batch(ctx context.Context, s *query.Session, kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error)
}

// Options of New. Zero limits take the defaults.
type Options struct {
	Engine Engine
	// Catalog gives the newest schema, for /v1/schema.
	Catalog func() *schema.Catalog
	// Ring describes the cluster, for /v1/ring; what `status --json` prints.
	Ring func(context.Context) (Ring, error)
	// Ready says why the node can't answer queries yet; nil (the error or the function): it can.
	Ready func() error
	// Metrics answers /metrics.
	Metrics http.Handler
	// Extra are further routes.
	Extra  []Extra
	Logger *slog.Logger

	// Consistency of requests that name none. Default LOCAL_QUORUM.
	Consistency consistency.Level
	// MaxBody bounds a request's body, in bytes. Default 16 MiB.
	MaxBody int64
	// MaxConcurrent bounds the queries and batches that run at a time; beyond it they are answered 503 at once. Default
	// 256.
	MaxConcurrent int
	// MaxConns bounds the open connections; beyond it clients wait in the kernel's backlog. Default 4096.
	MaxConns int
	// HeaderTimeout and BodyTimeout bound how long a client may take to send; WriteTimeout how long it may take to read
	// what is sent at a time (a page of a stream). Defaults 5 s, 30 s, 30 s.
	HeaderTimeout, BodyTimeout, WriteTimeout time.Duration
	// PageSize and StreamPage are the rows a page of a JSON answer that asks for none, and of a stream. Defaults 5000
	// and 1000.
	PageSize, StreamPage int
}

const (
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's head, in bytes.
	maxHeader = 64 << 10
	// maxPageSize bounds what a client may ask for, in rows.
	maxPageSize = 10_000
	// maxStatements bounds a batch; the binary protocol counts in 16 bits.
	maxStatements = 65_535
)

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) setDefaults() {
	setDefault(&o.Consistency, consistency.LocalQuorum)
	setDefault(&o.MaxBody, 16<<20)
	setDefault(&o.MaxConcurrent, 256)
	setDefault(&o.MaxConns, 4096)
	setDefault(&o.HeaderTimeout, 5*time.Second)
	setDefault(&o.BodyTimeout, 30*time.Second)
	setDefault(&o.WriteTimeout, 30*time.Second)
	setDefault(&o.PageSize, 5000)
	setDefault(&o.StreamPage, 1000)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Server answers HTTP. Requests are decoded and answers written by hand (exact numbers, rows in bounded memory); huma
// only writes the OpenAPI document.
type Server struct {
	opts    Options
	http    http.Server
	slots   chan struct{} // one for each query that runs
	closing chan struct{} // closed by Shutdown: streams end after their page
	once    sync.Once
	openapi func() ([]byte, error)
	origins *http.CrossOriginProtection
}

// New makes a server. Nil Catalog, Ring and Metrics leave their routes out.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{opts: o, slots: make(chan struct{}, o.MaxConcurrent), closing: make(chan struct{}), origins: http.NewCrossOriginProtection()}
	s.openapi = sync.OnceValues(func() ([]byte, error) { return json.Marshal(openAPI(&s.opts)) }) // few ask, and it costs 3 ms
	s.http = http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: o.HeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve accepts until Shutdown; then it gives http.ErrServerClosed, at once.
func (s *Server) Serve(l net.Listener) error {
	return s.http.Serve(newLimitListener(l, s.opts.MaxConns))
}

// Shutdown stops accepting and waits for the requests in flight until ctx ends; then it cuts them off. Streams end
// after their page with an error line.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { close(s.closing) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("httpapi: requests cut off: %w", err), s.http.Close())
	}
	return err
}

func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	doc, err := s.openapi()
	if err != nil {
		refuse(w, problemf(http.StatusInternalServerError, wire.CodeServer, "the OpenAPI document can't be written: %v", err))
		return
	}
	answer(w, http.StatusOK, jsonType, doc)
}

// Handler answers all routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/query", only(s.limited(s.query), http.MethodPost))
	mux.Handle("/v1/batch", only(s.limited(s.batch), http.MethodPost))
	if s.opts.Catalog != nil {
		mux.Handle("/v1/schema", get(s.schema))
	}
	if s.opts.Ring != nil {
		mux.Handle("/v1/ring", get(s.ring))
	}
	if s.opts.Metrics != nil {
		mux.Handle("/metrics", get(s.opts.Metrics.ServeHTTP))
	}
	mux.Handle("/livez", get(func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, Health{"ok"}) }))
	mux.Handle("/readyz", get(s.ready))
	mux.Handle("/openapi.json", get(s.describe))
	for i := range s.opts.Extra {
		x := &s.opts.Extra[i]
		if x.Method == http.MethodGet {
			mux.Handle(x.Path, get(x.Handler))
		} else {
			mux.Handle(x.Path, only(s.ownPages(x.Handler), x.Method))
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, problemf(http.StatusNotFound, wire.CodeProtocol, "there is nothing at %s; /openapi.json lists what there is", r.URL.Path))
	})
	return s.recovered(mux)
}

// Health is what /livez and /readyz answer.
type Health struct {
	Status string `json:"status" doc:"ok"`
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Ready != nil {
		if err := s.opts.Ready(); err != nil {
			refuse(w, problemf(http.StatusServiceUnavailable, wire.CodeBootstrapping, "not ready: %v", err))
			return
		}
	}
	answerJSON(w, Health{"ok"})
}

// get serves GET and HEAD.
func get(h http.HandlerFunc) http.Handler { return only(h, http.MethodGet, http.MethodHead) }

// only answers other methods 405.
func only(h http.HandlerFunc, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				h(w, r)
				return
			}
		}
		w.Header().Set("Allow", methods[0])
		refuse(w, problemf(http.StatusMethodNotAllowed, wire.CodeProtocol, "%s is not for %s; use %s", r.URL.Path, r.Method, methods[0]))
	})
}

// ownPages refuses what a web page of another site sends: browsers send a POST across sites without asking, if it has no body or one of curl's default
// content type.
func (s *Server) ownPages(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.origins.Check(r); err != nil {
			refuse(w, problemf(http.StatusForbidden, wire.CodeUnauthorized, "requests of other sites' pages are refused: %v", err))
			return
		}
		h(w, r)
	}
}

// limited sheds queries beyond MaxConcurrent.
func (s *Server) limited(h http.HandlerFunc) http.HandlerFunc {
	return s.ownPages(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			h(w, r)
		default:
			refuse(w, problemf(http.StatusServiceUnavailable, wire.CodeOverloaded, "%d queries are running over HTTP; try again", s.opts.MaxConcurrent))
		}
	})
}

// recovered turns a panic into a 500 and a log line: one bad request must not take the node down.
func (s *Server) recovered(h http.Handler) http.Handler {
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &begunWriter{ResponseWriter: plain}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.opts.Logger.Error("panic in an HTTP request", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if w.begun {
				panic(http.ErrAbortHandler) // the client must see that the answer is cut short
			}
			refuse(w, problemf(http.StatusInternalServerError, wire.CodeServer, "a bug in nodedb; its log has the details"))
		}()
		h.ServeHTTP(w, r)
	})
}

// begunWriter knows whether an answer has begun.
type begunWriter struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *begunWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *begunWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *begunWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limitListener bounds the open connections.
type limitListener struct {
	net.Listener
	open chan struct{}
	done chan struct{}
	once sync.Once
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, open: make(chan struct{}, n), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitConn{Conn: c, release: sync.OnceFunc(func() { <-l.open })}, nil
}

// Close implements net.Listener.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
