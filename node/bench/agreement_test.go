package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"nodedb/query"
	"nodedb/query/native"
	"nodedb/query/plan"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// lateEngine is of a node whose peers get its schema late: after they were asked for it so many times.
type lateEngine struct {
	nullEngine
	late int
}

// Query gives the schema's version.
func (e *lateEngine) Query(_ context.Context, _ *query.Session, cql string, _ *query.Params) (*query.Result, error) {
	r := &query.Result{Kind: query.ResultRows, Columns: []plan.ColumnSpec{{Name: "schema_version", Type: types.UUIDType}}, RowCount: 1}
	version := strings.Repeat("1", 16)
	if strings.HasSuffix(cql, "system.peers") {
		if e.late--; e.late >= 0 {
			version = strings.Repeat("0", 16)
		}
	}
	r.Rows = append(types.AppendInt32(nil, 16), version...)
	return r, nil
}

// No load is put on before all nodes have the table: a peer's nodes refuse what they haven't heard of, and drivers wait, too.
func TestSchemasAgreeBeforeLoad(t *testing.T) {
	l, err := net.Listen("tcp", prefix(88)+".1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &lateEngine{late: 3}
	s := native.New(native.Options{Engine: e})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	admin, err := wire.Dial(t.Context(), l.Addr().String(), wire.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitAgreement(t.Context(), admin); err != nil || e.late != -1 {
		t.Errorf("%v; %d more times", err, e.late)
	}
	e.late = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 2*agreementPoll)
	defer cancel()
	if err := awaitAgreement(ctx, admin); !errors.Is(err, ErrServer) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("schemas that never agree: %v", err)
	}
	admin.Close()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the server did not end")
	}
}
