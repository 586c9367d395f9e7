package httpapi

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"nodedb/query"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// fake is an Engine whose statements are functions by text. Prepared ones get what their markers are.
type fake struct {
	sync.Mutex
	markers map[string][]query.ColumnSpec
	run     map[string]func(s *query.Session, p *query.Params) (*query.Result, error)
	batch   func(kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error)
	evicted bool // the next Execute finds its statement gone
	prepare int  // calls
}

func (f *fake) Query(_ context.Context, s *query.Session, cql string, p *query.Params) (*query.Result, error) {
	run := f.run[cql]
	if run == nil {
		return nil, wire.Errorf(wire.CodeSyntax, "line 1:1: no such statement: %s", cql)
	}
	return run(s, p)
}

func (f *fake) Prepare(_ context.Context, _ *query.Session, cql, _ string) (*query.Prepared, error) {
	f.Lock()
	defer f.Unlock()
	f.prepare++
	markers, ok := f.markers[cql]
	if !ok {
		return nil, wire.Errorf(wire.CodeSyntax, "line 1:1: no such statement: %s", cql)
	}
	return &query.Prepared{ID: md5.Sum([]byte(cql)), Markers: markers}, nil
}

func (f *fake) Execute(ctx context.Context, s *query.Session, id [16]byte, p *query.Params) (*query.Result, error) {
	f.Lock()
	gone := f.evicted
	f.evicted = false
	f.Unlock()
	if gone {
		return nil, wire.Errorf(wire.CodeUnprepared, "gone")
	}
	for cql := range f.markers {
		if md5.Sum([]byte(cql)) == id {
			return f.Query(ctx, s, cql, p)
		}
	}
	return nil, wire.Errorf(wire.CodeUnprepared, "unknown id")
}

func (f *fake) Batch(_ context.Context, _ *query.Session, kind query.BatchKind, sts []query.BatchStatement, p *query.Params) (*query.Result, error) {
	return f.batch(kind, sts, p)
}

// column makes a spec of a name and a CQL type.
func column(t testing.TB, name, cqlType string) query.ColumnSpec {
	t.Helper()
	typ, err := types.Parse(cqlType, func(_, name string) (*types.Type, error) {
		if name != "point" {
			return nil, fmt.Errorf("no type %s", name)
		}
		return &types.Type{Kind: types.UDT, Keyspace: "ks", Name: "point", Fields: []string{"x", "y"}, Elems: []*types.Type{types.IntType, types.VarcharType}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return query.ColumnSpec{Keyspace: "ks", Table: "t", Name: name, Type: typ}
}

// result makes rows of JSON values.
func result(t testing.TB, columns []query.ColumnSpec, rows ...[]string) *query.Result {
	t.Helper()
	r := &query.Result{Kind: query.ResultRows, Columns: columns, RowCount: len(rows)}
	for _, row := range rows {
		for i, raw := range row {
			v, err := columns[i].Type.FromJSON(json.RawMessage(raw))
			if err != nil {
				t.Fatal(err)
			}
			r.Rows = appendValue(r.Rows, v)
		}
	}
	return r
}

func appendValue(dst, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(dst, 0xffffffff)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}
