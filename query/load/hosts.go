package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/query/types"
	"nodedb/query/wire"
)

var errNoHost = errors.New("no node is connected")

// host is one node: a connection, kept up by a goroutine of its own, and the statement prepared on it.
type host struct {
	addr     string
	live     atomic.Pointer[prepared]
	inFlight atomic.Int64
	again    chan struct{} // asks for a new PREPARE
}

// prepared is a connection on which the statement is prepared.
type prepared struct {
	conn Conn
	id   []byte
	rid  []byte
}

// hosts spreads requests over the nodes: the one with the fewest in flight gets the next.
type hosts struct {
	o     *Options
	cql   string
	all   []*host
	turn  atomic.Uint32
	owned sync.WaitGroup
	stop  context.CancelFunc
}

// dialFirst connects to the first host that answers.
func dialFirst(ctx context.Context, o *Options) (Conn, string, error) {
	var last error
	for _, addr := range o.Hosts {
		addr = withPort(addr)
		conn, err := o.Dial(ctx, addr, o.Connect)
		if err == nil {
			return conn, addr, nil
		}
		last = err
	}
	return nil, "", fmt.Errorf("%w: %w", ErrStopped, last)
}

func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(addr, wire.DefaultPort)
}

// peers asks a node where the others listen. A node that does not say has none.
func peers(ctx context.Context, conn Conn, addr string) []string {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	port, _ := strconv.ParseInt(text, 10, 32)
	if all, err := peersOf(ctx, conn, "SELECT native_address, native_port FROM system.peers_v2", int32(port)); err == nil {
		return all
	}
	// Older servers say the address only: the port is then the one they share.
	all, err := peersOf(ctx, conn, "SELECT rpc_address FROM system.peers", int32(port))
	if err != nil {
		return nil
	}
	return all
}

func peersOf(ctx context.Context, conn Conn, cql string, port int32) (all []string, err error) {
	res, err := conn.Query(ctx, cql, &wire.Params{Consistency: 1})
	if err != nil {
		return nil, err
	}
	for res.Next() && len(all) < MaxHosts {
		row := res.Row()
		if len(row) > 1 && len(row[1]) == 4 {
			port = types.Int32(row[1])
		}
		if ip, ok := netip.AddrFromSlice(row[0]); ok && !ip.IsUnspecified() {
			all = append(all, net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(int(port))))
		}
	}
	return all, res.Err()
}

// newHosts takes over the first connection, on which the statement is prepared, and connects to the others on its own.
func newHosts(ctx context.Context, o *Options, cql string, first Conn, addr string, p *wire.Prepared, others []string) *hosts {
	ctx, stop := context.WithCancel(ctx)
	h := &hosts{o: o, cql: cql, stop: stop}
	seen := map[string]bool{}
	for _, a := range append([]string{addr}, others...) {
		if !seen[a] && len(h.all) < MaxHosts {
			seen[a] = true
			h.all = append(h.all, &host{addr: a, again: make(chan struct{}, 1)})
		}
	}
	for i, one := range h.all {
		var conn Conn
		if i == 0 {
			conn = first
			one.live.Store(&prepared{first, p.ID, p.ResultID})
		}
		h.owned.Go(func() { h.keep(ctx, one, conn) })
	}
	return h
}

// keep holds one host's connection up until ctx ends.
func (h *hosts) keep(ctx context.Context, one *host, conn Conn) {
	backoff := firstBackoff
	for {
		if conn == nil {
			conn = h.connect(ctx, one)
		}
		if conn != nil {
			backoff = firstBackoff
			h.serve(ctx, one, conn)
			one.live.Store(nil)
			_ = conn.Close()
			conn = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
			backoff = min(2*backoff, lastBackoff)
		}
	}
}

// connect dials and prepares; nil when that failed.
func (h *hosts) connect(ctx context.Context, one *host) Conn {
	conn, err := h.o.Dial(ctx, one.addr, h.o.Connect)
	if err != nil {
		return nil
	}
	if !h.prepare(ctx, one, conn) {
		_ = conn.Close()
		return nil
	}
	return conn
}

func (h *hosts) prepare(ctx context.Context, one *host, conn Conn) bool {
	p, err := conn.Prepare(ctx, h.cql)
	if err != nil {
		return false
	}
	one.live.Store(&prepared{conn, p.ID, p.ResultID})
	return true
}

// serve waits until the connection ends, and prepares again when asked.
func (h *hosts) serve(ctx context.Context, one *host, conn Conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-conn.Done():
			return
		case <-one.again:
			if !h.prepare(ctx, one, conn) {
				return
			}
		}
	}
}

// pick gives the connected host with the fewest requests in flight, in turn among equals.
func (h *hosts) pick() (*host, *prepared) {
	var best *host
	var on *prepared
	first := int(h.turn.Add(1))
	for i := range h.all {
		one := h.all[(first+i)%len(h.all)]
		p := one.live.Load()
		if p != nil && (best == nil || one.inFlight.Load() < best.inFlight.Load()) {
			best, on = one, p
		}
	}
	return best, on
}

// reprepare asks for a new PREPARE on a host that forgot the statement.
func (one *host) reprepare() {
	select {
	case one.again <- struct{}{}:
	default: // asked already
	}
}

// connected counts the hosts that are.
func (h *hosts) connected() (n int) {
	for _, one := range h.all {
		if one.live.Load() != nil {
			n++
		}
	}
	return n
}

// close ends the connections and waits for their goroutines. What is in flight fails.
func (h *hosts) close() {
	h.stop()
	h.owned.Wait()
}
