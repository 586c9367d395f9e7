package native

import (
	"errors"
	"io"
	"net"
	"testing"

	"nodedb/query/wire"
)

// pipeListener gives one connection, then waits for Close.
type pipeListener struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// FuzzConnection: whatever a client sends, before or after STARTUP, the server answers in frames, ends the connection, and shuts down.
func FuzzConnection(f *testing.F) {
	frame := func(op wire.Opcode, r wire.Request) []byte {
		return wire.EndFrame(r.AppendBody(wire.BeginFrame(nil, wire.Header{Version: 4, Stream: 1, Op: op}), 4), 0)
	}
	options := &wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0", "COMPRESSION": "lz4"}}
	f.Add(frame(wire.OpQuery, &wire.Query{CQL: "x", Params: wire.Params{Consistency: 1, Values: [][]byte{{1}, nil}}}), true)
	f.Add(frame(wire.OpExecute, &wire.Execute{ID: make([]byte, 16), Params: wire.Params{PageSize: 1}}), true)
	f.Add(frame(wire.OpBatch, &wire.Batch{Statements: []wire.BatchStatement{{CQL: "x"}, {ID: make([]byte, 16)}}}), true)
	f.Add(frame(wire.OpRegister, &wire.Register{Events: []string{wire.EventSchema}}), true)
	f.Add(append(frame(wire.OpStartup, options), frame(wire.OpPrepare, &wire.Prepare{CQL: "x"})...), false)
	f.Add([]byte{66, 0, 0, 0, 5, 0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, started bool) {
		client, server := net.Pipe()
		l := &pipeListener{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- server
		s := New(Options{Engine: &fakeEngine{}, MaxRequestBytes: 1 << 16})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		answers := make(chan error, 1)
		go func() { answers <- readAnswers(client) }()
		if started {
			b = append(frame(wire.OpStartup, &wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0"}}), b...)
		}
		_, _ = client.Write(b) // an error: the server has hung up on it
		client.Close()
		if err := <-answers; err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// readAnswers reads until the end and gives an error when what came were no responses. It stops looking where a v5 connection goes over to segments.
func readAnswers(c net.Conn) error {
	r := wire.NewFrameReader(c, wire.MaxFrameBytes)
	r.Compress(wire.LZ4)
	for {
		h, _, err := r.Next()
		switch {
		case err == nil && h.Response && !(h.Version == wire.V5 && h.Op == wire.OpReady):
			continue
		case err == nil && !h.Response:
			c.Close()
			return wire.ErrMalformed
		case errors.Is(err, wire.ErrMalformed):
			c.Close()
			return err
		}
		_, _ = io.Copy(io.Discard, c)
		return nil
	}
}
