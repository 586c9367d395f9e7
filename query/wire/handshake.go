package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// handshake says STARTUP and answers what the server asks, on a connection that nothing else uses yet.
func (c *Client) handshake() error {
	options := map[string]string{"CQL_VERSION": "3.0.0", "DRIVER_NAME": c.o.Driver}
	if c.o.Compression != NoCompression {
		options["COMPRESSION"] = string(c.o.Compression)
	}
	if c.o.Version >= V5 && c.o.Compression == Snappy {
		return errors.New("protocol v5 compresses with lz4 only")
	}
	c.reader.Compress(c.o.Compression) // Cassandra compresses its very answer to STARTUP in v4
	answer, err := c.exchange(&Startup{Options: options})
	if err != nil {
		return err
	}
	c.writer.Compress(c.o.Compression)
	if c.o.Version >= V5 {
		c.reader.Segmented()
		c.writer.Segmented()
	}
	switch answer.Op {
	case OpReady:
		return nil
	case OpAuthenticate:
		return c.authenticate(answer)
	default:
		return fmt.Errorf("%w: STARTUP was answered by %s", ErrMalformed, answer.Op)
	}
}

// authenticate sends user and password as SASL PLAIN.
func (c *Client) authenticate(answer Response) error {
	d := NewDecoder(answer.Body)
	method := d.String()
	if c.o.User == "" {
		return Errorf(CodeCredentials, "the server wants a user and password (%s)", method)
	}
	answer, err := c.exchange(&AuthResponse{Token: []byte("\x00" + c.o.User + "\x00" + c.o.Password)})
	if err != nil {
		return err
	}
	if answer.Op != OpAuthSuccess {
		return fmt.Errorf("%w: the password was answered by %s", ErrMalformed, answer.Op)
	}
	return nil
}

// exchange sends one request and reads its answer, without the connection's goroutines.
func (c *Client) exchange(req Request) (Response, error) {
	h := Header{Version: c.o.Version, Op: req.Opcode()}
	frame := EndFrame(req.AppendBody(BeginFrame(nil, h), c.o.Version), 0)
	if c.reader.segmented {
		frame, _ = appendSegments(nil, frame, c.o.Compression, nil)
	}
	if _, err := c.conn.Write(frame); err != nil {
		return Response{}, err
	}
	h, body, err := c.reader.Next()
	if err != nil {
		return Response{}, c.notCQL(h, err)
	}
	answer := Response{Header: h, Body: body}
	return answer, answer.Err()
}

// notCQL says what a server that doesn't speak CQL seems to speak.
func (c *Client) notCQL(h Header, err error) error {
	if !errors.Is(err, ErrVersion) {
		return err
	}
	switch start := c.reader.buf[:c.reader.w]; {
	case strings.HasPrefix(string(start), "HTTP/"):
		return errors.New("the server there speaks HTTP, not the CQL binary protocol: is it the right port? (CQL: 9042)")
	case len(start) > 1 && start[0] == 0x15 && start[1] == 0x03:
		return errors.New("the server there wants TLS")
	}
	return fmt.Errorf("the server there does not speak the CQL binary protocol: %w", err)
}

// dialError says why there is no connection, and what to do.
func dialError(addr string, o ClientOptions, err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s: %w: nothing listens there; is the node running, and is this its address?", addr, syscall.ECONNREFUSED)
	case errors.As(err, &dns):
		return fmt.Errorf("connect to %s: the name %q does not resolve: %w", addr, dns.Name, err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("connect to %s: no route there: %w", addr, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connect to %s: no answer within %v: %w", addr, o.ConnectTimeout, err)
	}
	return fmt.Errorf("connect to %s: %w", addr, err)
}

// handshakeError says why a connection that was made is of no use.
func handshakeError(ctx context.Context, addr string, o ClientOptions, err error) error {
	var answered *Error
	var timeout net.Error
	switch {
	case errors.As(err, &answered):
		return fmt.Errorf("connect to %s: %s: %w", addr, answered.Code, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("connect to %s: the server closed the connection during the handshake; does it want TLS? (%w)", addr, err)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connect to %s: no answer to the handshake within %v: is it a CQL port? (%w)", addr, o.ConnectTimeout, err)
	}
	return dialError(addr, o, err)
}

func tlsError(addr string, err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("connect to %s: the server there does not speak TLS: %w", addr, err)
	}
	return fmt.Errorf("connect to %s: TLS: %w", addr, err)
}

// tlsConfig names the server to verify when the caller named none.
func tlsConfig(t *tls.Config, addr string) *tls.Config {
	if t.ServerName != "" || t.InsecureSkipVerify {
		return t
	}
	t = t.Clone()
	t.ServerName, _, _ = net.SplitHostPort(addr)
	return t
}

func quoteName(name string) string { return strings.ReplaceAll(name, `"`, `""`) }
