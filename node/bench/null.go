package bench

import (
	"context"
	"net"

	"nodedb/query"
	"nodedb/query/native"
)

// nullEngine answers VOID to whatever it is asked, on the connection's reader: what is left is the protocol.
type nullEngine struct{}

var nullResult = &query.Result{Kind: query.ResultVoid}

// Query answers VOID.
func (nullEngine) Query(context.Context, *query.Session, string, *query.Params) (*query.Result, error) {
	return nullResult, nil
}

// Prepare knows no markers and no columns.
func (nullEngine) Prepare(context.Context, *query.Session, string, string) (*query.Prepared, error) {
	return &query.Prepared{ID: [16]byte{1}}, nil
}

// Execute answers VOID.
func (nullEngine) Execute(context.Context, *query.Session, [16]byte, *query.Params) (*query.Result, error) {
	return nullResult, nil
}

// Batch answers VOID.
func (nullEngine) Batch(context.Context, *query.Session, query.BatchKind, []query.BatchStatement, *query.Params) (*query.Result, error) {
	return nullResult, nil
}

// Start answers VOID.
func (nullEngine) Start(_ context.Context, _ *query.Session, _ [16]byte, _ *query.Params, done func(*query.Result, error)) bool {
	done(nullResult, nil)
	return true
}

// ServeNull runs a CQL server that does nothing, until the context ends.
func ServeNull(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := native.New(native.Options{Engine: nullEngine{}})
	stop := context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()) })
	defer stop()
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
