package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"nodedb/query/types"
	"nodedb/query/wire"
)

const (
	defaultHost           = "127.0.0.1"
	defaultConnectTimeout = 5 * time.Second
	defaultRequestTimeout = 30 * time.Second
	// maxHosts bounds the hosts that are tried when a connection is lost.
	maxHosts = 16
)

// session is a connection to one node; *wire.Client is one.
type session interface {
	Query(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error)
	Trace(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error)
	Addr() string
	Done() <-chan struct{}
	Close() error
}

// server is what the shell knows of where it is connected to.
type server struct {
	cluster  string
	release  string
	cql      string
	protocol string
}

// dialWire connects with the lean client.
func (s *shell) dialWire(ctx context.Context, addr string) (session, error) {
	c, err := wire.Dial(ctx, addr, wire.ClientOptions{
		User: s.o.User, Password: s.o.Password, TLS: s.o.TLS, ConnectTimeout: s.o.ConnectTimeout, Driver: "nodedb shell",
	})
	if err != nil {
		return nil, err // not a nil *Client in an interface
	}
	return c, nil
}

// address gives a host its port.
func (s *shell) address(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return net.JoinHostPort(host, s.o.Port)
}

// connect connects to the first host that answers, of the preferred ones and then of the others known. The error is that of the first host.
func (s *shell) connect(ctx context.Context) error {
	if len(s.hosts) == 0 {
		return errors.New("there is no host to connect to")
	}
	var first error
	for _, host := range s.hosts {
		conn, err := s.dial(ctx, s.address(host))
		if err == nil {
			s.conn = conn
			s.learn(ctx)
			return nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return first
}

// learn asks what the server is, and for its peers.
func (s *shell) learn(ctx context.Context) {
	s.server = server{protocol: "v4"}
	row, err := s.firstRow(ctx, "SELECT cluster_name, release_version, cql_version FROM system.local WHERE key = 'local'")
	if err == nil && len(row) == 3 {
		s.server.cluster, s.server.release, s.server.cql = string(row[0]), string(row[1]), string(row[2])
	}
	s.learnPeers(ctx)
}

// takeKeyspace tells a new connection the keyspace in use. Without success there is none.
func (s *shell) takeKeyspace(ctx context.Context) error {
	if s.keyspace == "" {
		return nil
	}
	_, err := s.conn.Query(ctx, "USE "+quote(s.keyspace), s.params())
	if err != nil {
		err = fmt.Errorf("cannot use keyspace %s: %w", s.keyspace, err)
		s.keyspace = ""
	}
	return err
}

// learnPeers adds the cluster's other nodes to the hosts that are tried when this connection is lost. What can't be learned isn't missed.
func (s *shell) learnPeers(ctx context.Context) {
	res, err := s.conn.Query(ctx, "SELECT rpc_address FROM system.peers", s.params())
	if err != nil {
		return
	}
	for res.Next() && len(s.hosts) < maxHosts {
		value := res.Row()[0]
		addr, ok := netip.AddrFromSlice(value)
		if ok && !addr.IsUnspecified() && !slices.Contains(s.hosts, addr.String()) {
			s.hosts = append(s.hosts, addr.String())
		}
	}
}

// connected makes sure that there is a connection, and makes a new one if the last was lost.
func (s *shell) connected(ctx context.Context) error {
	select {
	case <-s.conn.Done():
	default:
		return nil
	}
	old := s.conn.Addr()
	s.conn.Close()
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("the connection to %s is lost, and no other node answers: %w", old, err)
	}
	s.note("The connection to %s was lost; now connected to %s.", old, s.conn.Addr())
	return s.takeKeyspace(ctx)
}

// lost says whether an error means that the connection is of no more use.
func lost(err error) bool {
	var answered *wire.Error
	return err != nil && !errors.As(err, &answered) && !errors.Is(err, wire.ErrTimeout) && !errors.Is(err, wire.ErrBusy)
}

// firstRow gives the first row of a result.
func (s *shell) firstRow(ctx context.Context, statement string) ([][]byte, error) {
	res, err := s.conn.Query(ctx, statement, s.params())
	if err != nil {
		return nil, err
	}
	if !res.Next() {
		return nil, res.Err()
	}
	return res.Row(), nil
}

// rows gives all rows of a statement of the shell's own, which are few.
func (s *shell) rows(ctx context.Context, statement string) ([]wire.Column, [][][]byte, error) {
	var columns []wire.Column
	var all [][][]byte
	p := s.params()
	for {
		res, err := s.conn.Query(ctx, statement, p)
		if err != nil {
			return nil, nil, err
		}
		columns = res.Columns
		for res.Next() {
			all = append(all, slices.Clone(res.Row()))
		}
		if err := res.Err(); err != nil {
			return nil, nil, err
		}
		if res.PageState == nil || len(all) > maxOwnRows {
			return columns, all, nil
		}
		p.PageState = res.PageState
	}
}

// maxOwnRows bounds what the shell reads for itself: schema rows, trace events.
const maxOwnRows = 100_000

// text is a value of a named column as plain text; "" when there is none.
func text(columns []wire.Column, row [][]byte, name string) string {
	for i, c := range columns {
		if c.Name == name && row[i] != nil {
			return string(c.Type.AppendText(nil, row[i]))
		}
	}
	return ""
}

// number is a value of a named int column.
func number(columns []wire.Column, row [][]byte, name string) int {
	for i, c := range columns {
		if c.Name == name && c.Type.Kind == types.Int && len(row[i]) == 4 {
			return int(types.Int32(row[i]))
		}
	}
	return 0
}
