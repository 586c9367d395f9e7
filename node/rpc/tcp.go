package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/node/wake"
)

// Options of Listen. Zero fields take the defaults.
type Options struct {
	// Identity is what our hellos say until SetIdentity.
	Identity Identity
	// Advertise is the host:port that others call us back at (Inbound.From). Default: the address listened on.
	Advertise string
	// DialTimeout bounds connecting, hello included. Default 2 s.
	DialTimeout time.Duration
	// HelloTimeout is how long an inbound connection may take to say who it is. Default 5 s.
	HelloTimeout time.Duration
	// Ping is the interval of keepalives on connections we dialled. Default 1 s.
	Ping time.Duration
	// Silence ends a connection on which nothing was heard for so long; its calls fail with ErrUnreachable. Less than
	// two pings and the retransmission of a lost packet (0.2 to 1 s) would cut healthy connections. Default 4 s.
	Silence time.Duration
	// Idle closes a connection we dialled that had no call for so long; the next call dials again. Default 5 min.
	Idle time.Duration
	// Backoff is the pause after a failed dial, doubling up to MaxBackoff; calls in a pause fail at once. Defaults
	// 50 ms and 1 s.
	Backoff, MaxBackoff time.Duration
	// Timeout is that of calls that name none. Default 10 s.
	Timeout time.Duration
	// MaxMessage bounds a frame: body plus 48 bytes. Larger ones are refused here, and end the connection there.
	// Default 32 MiB.
	MaxMessage int
	// InFlight bounds the calls outstanding on one connection (a peer has two: one for bulk verbs), and the requests
	// running for one inbound connection. Beyond it ErrOverloaded and CodeOverloaded. Default 8192.
	InFlight int
	// QueueBytes bounds the bytes waiting to be written on one connection. Default 64 MiB.
	QueueBytes int
	// HeldBytes bounds the read buffers that unanswered requests of one inbound connection keep; beyond it
	// CodeOverloaded. Default 128 MiB.
	HeldBytes int
	// MaxConns bounds the inbound connections; MaxHellos those that have not said who they are. Defaults 8192 and 256.
	MaxConns, MaxHellos int
	// Cork holds wake-ups back while a burst of calls or answers is under way; nil: nothing does.
	Cork *wake.Cork
	// Logger: slog.Default() by default.
	Logger *slog.Logger
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) setDefaults() {
	setDefault(&o.DialTimeout, 2*time.Second)
	setDefault(&o.HelloTimeout, 5*time.Second)
	setDefault(&o.Ping, time.Second)
	setDefault(&o.Silence, 4*time.Second)
	setDefault(&o.Idle, 5*time.Minute)
	setDefault(&o.Backoff, 50*time.Millisecond)
	setDefault(&o.MaxBackoff, time.Second)
	setDefault(&o.Timeout, 10*time.Second)
	setDefault(&o.MaxMessage, 32<<20)
	setDefault(&o.InFlight, 8192)
	setDefault(&o.QueueBytes, 64<<20)
	setDefault(&o.HeldBytes, 128<<20)
	setDefault(&o.MaxConns, 8192)
	setDefault(&o.MaxHellos, 256)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// TCP is the Transport of real nodes.
//
// Requests travel on connections that the caller dialled, responses come back on them, so neither side ever waits for
// the other to read. A peer has two connections, dialled when first needed: one for bulk verbs (see lane), so that
// pages of a stream don't delay writes. A connection has a reader, a writer and a keeper (deadlines, pings) where we
// dialled it, a reader and a writer where we accepted it. Handlers and Done run on readers.
type TCP struct {
	opts     Options
	ln       net.Listener
	start    time.Time
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	ident    atomic.Pointer[helloFrame]
	handlers [256]atomic.Pointer[Handler]
	hellos   chan struct{} // a token for each inbound connection that has not said hello
	failures failures
	stats    Stats

	links struct {
		sync.RWMutex
		m map[linkKey]*link
	}
	mu struct {
		sync.Mutex
		closed  bool
		serving bool
		conns   map[conn]struct{}
		inbound int
	}
	wg sync.WaitGroup
}

// conn is an established connection, either way.
type conn interface {
	abort(cause error) // ends it; does not wait
	refresh()          // tells the peer our identity where it changed
}

var _ Transport = (*TCP)(nil)

// Listen binds the port; addr is host:port. Calls can be sent at once; requests of others wait in the kernel's backlog
// until Serve.
func Listen(addr string, o Options) (*TCP, error) {
	o.setDefaults()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("rpc: listen for nodes on %s: %w", addr, err)
	}
	setDefault(&o.Advertise, ln.Addr().String())
	hello, err := newHello(o.Identity, o.Advertise)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	t := &TCP{opts: o, ln: ln, start: time.Now(), hellos: make(chan struct{}, o.MaxHellos)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.ident.Store(hello)
	t.links.m = map[linkKey]*link{}
	t.mu.conns = map[conn]struct{}{}
	t.failures.init()
	t.wg.Go(t.failures.run)
	return t, nil
}

func newHello(id Identity, addr string) (*helloFrame, error) {
	if len(id.ClusterName) > 255 || len(addr) > 255 {
		return nil, fmt.Errorf("rpc: cluster_name and address may have 255 bytes each, got %d and %d", len(id.ClusterName), len(addr))
	}
	return &helloFrame{Identity: id, addr: addr}, nil
}

// Addr is where it listens.
func (t *TCP) Addr() net.Addr { return t.ln.Addr() }

// Handle sets the handler of a verb. A verb without one is answered CodeNoHandler, so set all before Serve.
func (t *TCP) Handle(v Verb, h Handler) { t.handlers[v].Store(&h) }

// Serve begins to accept connections, in the background, until Close. Further calls do nothing.
func (t *TCP) Serve() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.closed && !t.mu.serving {
		t.mu.serving = true
		t.wg.Go(t.accept)
	}
}

// SetIdentity changes what we say of ourselves, on open connections too: requests sent afterwards arrive as from the
// new identity.
func (t *TCP) SetIdentity(id Identity) error {
	hello, err := newHello(id, t.opts.Advertise)
	if err != nil {
		return err
	}
	t.ident.Store(hello)
	for _, c := range t.open() {
		c.refresh()
	}
	return nil
}

// Send starts a call. Done is never called from within Send, except after Close.
func (t *TCP) Send(c *Call) {
	if n := len(c.Body) + requestSize + traceSize; n > t.opts.MaxMessage {
		t.fail(c, fmt.Errorf("%w: %s of %d bytes to %s, at most %d are allowed", ErrTooLarge, c.Verb, n, c.To.Addr, t.opts.MaxMessage))
		return
	}
	if err := t.link(c.To, laneOf(c.Verb)).send(c); err != nil {
		t.fail(c, err)
	}
}

// fail reports an error without calling back into the sender, who may hold locks.
func (t *TCP) fail(c *Call, err error) {
	if errors.Is(err, ErrOverloaded) {
		t.stats.Overloaded.Add(1)
	} else {
		t.stats.Lost.Add(1)
	}
	if !t.failures.add(c, err) {
		c.Done(nil, err)
	}
}

// Close ends all connections, fails outstanding calls with ErrClosed and waits for the goroutines. Replies that come
// later are dropped.
func (t *TCP) Close() error {
	t.mu.Lock()
	was := t.mu.closed
	t.mu.closed = true
	t.mu.Unlock()
	if was {
		return nil
	}
	t.cancel()
	err := t.ln.Close()
	for _, c := range t.open() {
		c.abort(ErrClosed)
	}
	t.failures.close()
	t.wg.Wait()
	return err
}

func (t *TCP) open() []conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]conn, 0, len(t.mu.conns))
	for c := range t.mu.conns {
		all = append(all, c)
	}
	return all
}

// spawn runs f for a new connection, as a goroutine that Close waits for; false after Close.
func (t *TCP) spawn(c conn, f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return false
	}
	t.mu.conns[c] = struct{}{}
	t.wg.Go(f)
	return true
}

func (t *TCP) forget(c conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mu.conns, c)
}

// now is the transport's own clock, in nanoseconds.
func (t *TCP) now() int64 { return int64(time.Since(t.start)) }

// failures calls Done for calls that failed before they were sent. It holds no more than callers have Calls.
type failures struct {
	mu struct {
		sync.Mutex
		queue  []failure
		closed bool
	}
	wake sync.Cond
}

type failure struct {
	call *Call
	err  error
}

func (f *failures) init() { f.wake.L = &f.mu }

func (f *failures) add(c *Call, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed {
		return false
	}
	f.mu.queue = append(f.mu.queue, failure{c, err})
	f.wake.Signal()
	return true
}

func (f *failures) run() {
	for {
		f.mu.Lock()
		for len(f.mu.queue) == 0 && !f.mu.closed {
			f.wake.Wait()
		}
		batch := f.mu.queue
		f.mu.queue = nil
		f.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, x := range batch {
			x.call.Done(nil, x.err)
		}
	}
}

func (f *failures) close() {
	f.mu.Lock()
	f.mu.closed = true
	f.mu.Unlock()
	f.wake.Broadcast()
}
