package native

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"

	"nodedb/query"
	"nodedb/query/virtual"
	"nodedb/query/wire"
)

// authenticator is the class that drivers know how to answer: user and password as SASL PLAIN.
const authenticator = "org.apache.cassandra.auth.PasswordAuthenticator"

// supported is what OPTIONS is answered by.
var supported = map[string][]string{
	"CQL_VERSION":       {virtual.CQLVersion},
	"COMPRESSION":       {string(wire.LZ4), string(wire.Snappy)},
	"PROTOCOL_VERSIONS": {"4/v4", "5/v5"},
}

// control answers the messages that are about the connection.
func (c *conn) control(h wire.Header, body []byte) error {
	switch h.Op {
	case wire.OpOptions:
		c.answer(h, wire.OpSupported, func(dst []byte) []byte { return wire.AppendSupported(dst, supported) })
		return nil
	case wire.OpStartup:
		return c.startup(h, body)
	case wire.OpAuthResponse:
		return c.authResponse(h, body)
	default:
		return c.register(h, body)
	}
}

func (c *conn) answer(h wire.Header, op wire.Opcode, message func(dst []byte) []byte) {
	h = wire.Header{Version: h.Version, Response: true, Stream: h.Stream, Op: op}
	_ = c.writer.End(message(c.writer.Begin(h)))
}

func nothing(dst []byte) []byte { return dst }

func (c *conn) startup(h wire.Header, body []byte) error {
	if c.started {
		c.protocolError(h, "Unexpected message STARTUP: this connection has been started already")
		return errHangUp
	}
	var m wire.Startup
	compression, err := checkStartup(&m, h, body)
	if err != nil {
		c.protocolError(h, "%v", err)
		return errHangUp
	}
	c.version, c.started = h.Version, true
	c.show(&m)
	if c.server.o.Authenticate == nil {
		c.ready = true
		c.deadline(0)
		c.answer(h, wire.OpReady, nothing)
	} else {
		c.answer(h, wire.OpAuthenticate, func(dst []byte) []byte { return wire.AppendString(dst, authenticator) })
	}
	c.reader.Compress(compression)
	c.writer.Compress(compression)
	if h.Version >= wire.V5 {
		c.reader.Segmented()
		c.writer.Segmented()
	}
	return nil
}

// show notes what system_views.clients shows of the connection. The options are a client's: they are bounded.
func (c *conn) show(m *wire.Startup) {
	options := make(map[string]string)
	for name, value := range m.Options {
		if len(options) < maxShownOptions && len(name)+len(value) <= maxShownOption {
			options[strings.Clone(name)] = strings.Clone(value)
		}
	}
	_, tls := c.nc.(*tls.Conn)
	shown := &virtual.Client{Protocol: int(c.version), Options: options, TLS: tls}
	if a, err := netip.ParseAddrPort(c.nc.RemoteAddr().String()); err == nil {
		shown.Address, shown.Port = a.Addr().Unmap().WithZone("").String(), int(a.Port())
	}
	c.shown.Store(shown)
}

// Bounds of the options of a client that are kept to be shown: their number, and bytes of each.
const (
	maxShownOptions = 32
	maxShownOption  = 1 << 10
)

// Clients gives the connections that have been started, for system_views.clients.
func (s *Server) Clients() (list []virtual.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		shown := c.shown.Load()
		if shown == nil {
			continue
		}
		one, session := *shown, c.session.Load()
		one.Stage, one.User, one.Keyspace, one.Requests = "ready", session.Identity, session.Keyspace, c.frames.Load()
		if s.o.Authenticate != nil && session.Identity == "" {
			one.Stage = "authenticating"
		}
		list = append(list, one)
	}
	return list
}

// checkStartup decodes STARTUP. Options that aren't known are ignored.
func checkStartup(m *wire.Startup, h wire.Header, body []byte) (wire.Compression, error) {
	if err := m.Decode(body); err != nil {
		return wire.NoCompression, err
	}
	if m.Options["CQL_VERSION"] == "" {
		return wire.NoCompression, fmt.Errorf("Missing value CQL_VERSION in STARTUP message") //nolint:staticcheck // Cassandra's text
	}
	compression, err := wire.ParseCompression(m.Options["COMPRESSION"])
	if err == nil && h.Version >= wire.V5 && compression == wire.Snappy {
		err = fmt.Errorf("protocol v5 compresses with lz4 only, not snappy")
	}
	return compression, err
}

// authResponse checks a SASL PLAIN token: authorization id, NUL, user, NUL, password.
func (c *conn) authResponse(h wire.Header, body []byte) error {
	if !c.started || c.ready {
		c.protocolError(h, "Unexpected message AUTH_RESPONSE")
		return errHangUp
	}
	var m wire.AuthResponse
	if err := m.Decode(body); err != nil {
		return c.malformed(h, err)
	}
	parts := bytes.Split(m.Token, []byte{0})
	if len(parts) != 3 {
		c.refuse(h, wire.Errorf(wire.CodeCredentials, "the SASL PLAIN token has %d parts, want 3: id, user, password", len(parts)))
		return nil
	}
	identity, err := c.server.o.Authenticate(c.ctx, string(parts[1]), string(parts[2]))
	if err != nil {
		c.refuse(h, wire.Errorf(wire.CodeCredentials, "%v", err))
		return nil
	}
	c.session.Store(&query.Session{Client: c.nc.RemoteAddr().String(), Identity: identity})
	c.ready = true
	c.deadline(0)
	c.answer(h, wire.OpAuthSuccess, func(dst []byte) []byte { return wire.AppendBytes(dst, nil) })
	return nil
}

func (c *conn) register(h wire.Header, body []byte) error {
	if !c.ready {
		c.protocolError(h, "Unexpected message REGISTER, expecting %s", c.expecting())
		return errHangUp
	}
	var m wire.Register
	if err := m.Decode(body); err != nil {
		return c.malformed(h, err)
	}
	var bits uint32
	for _, name := range m.Events {
		bit := eventBit(name)
		if bit == 0 {
			return c.malformed(h, fmt.Errorf("Unknown event type %q", name)) //nolint:staticcheck // Cassandra's text
		}
		bits |= bit
	}
	c.answer(h, wire.OpReady, nothing) // before the first event
	c.events.Or(bits)
	return nil
}
