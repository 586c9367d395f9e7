package plan

import (
	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// cellCall compiles WRITETIME, MAXWRITETIME and TTL of a column, or of an element, field or slice of it. Of a collection or user type that isn't frozen,
// and of a slice, WRITETIME and TTL are lists with an item for each element or field; MAXWRITETIME is the latest.
func (c *compiler) cellCall(e *cql.Call) (*Expr, error) {
	arg := e.Args[0]
	ref, ok := arg.(*cql.Column)
	switch a := arg.(type) {
	case *cql.Element:
		ref, ok = a.Of.(*cql.Column)
	case *cql.Field:
		ref, ok = a.Of.(*cql.Column)
	case *cql.Slice:
		ref, ok = a.Of.(*cql.Column)
	}
	if !ok {
		return nil, at(e, "Cannot use function %s on %s: it takes a column", e.Name.Name, arg)
	}
	col, err := c.cellOf(e, ref)
	if err != nil {
		return nil, err
	}
	x := &Expr{Op: OpWriteTime, Type: types.BigintType, Column: col, Name: e.Name.Name}
	switch e.Name.Name {
	case "ttl":
		x.Op, x.Type = OpTTL, types.IntType
	case "maxwritetime":
		x.Op = OpMaxWriteTime
	}
	one := !col.Type.IsMultiCell() || x.Op == OpMaxWriteTime
	if arg != cql.Expr(ref) {
		part, err := c.expr(arg, nil, "")
		if err != nil {
			return nil, err
		}
		if col.Type.IsMultiCell() {
			x.Args = []*Expr{part}
		}
		one = one || part.Op != OpSlice
	}
	if !one {
		x.Type = types.NewList(x.Type, false)
	}
	return c.perRow(x), nil
}

// cellOf finds the column that WRITETIME and TTL are of: one that isn't part of the key.
func (c *compiler) cellOf(e *cql.Call, ref *cql.Column) (*schema.Column, error) {
	col, err := c.column(ref.Ident)
	switch {
	case err != nil:
		return nil, err
	case col.Kind == schema.PartitionKey || col.Kind == schema.Clustering:
		return nil, at(e, "Cannot use selection function %s on PRIMARY KEY part %s", e.Name.Name, col.Name)
	case c.table.Virtual:
		return nil, at(e, "Cannot use selection function %s on the virtual table %s", e.Name.Name, c.table.Name)
	}
	return col, nil
}

// sliceRef compiles c[from..to]: the elements of a set, or the entries of a map, from one to the other, both included.
func (c *compiler) sliceRef(e *cql.Slice) (*Expr, error) {
	of, err := c.expr(e.Of, nil, "")
	if err != nil {
		return nil, err
	}
	if of.Type.Kind != types.Map && of.Type.Kind != types.Set {
		return nil, at(e, "Invalid slice selection: %s of type %s is not a collection", e.Of, of.Type)
	}
	x := &Expr{Op: OpSlice, Type: of.Type, Args: []*Expr{of, nil, nil}, Name: of.Name}
	for i, bound := range []cql.Expr{e.From, e.To} {
		x.Args[i+1] = &Expr{Op: OpConst, Type: of.Type.Elems[0], Value: unset}
		if bound == nil {
			continue
		}
		if x.Args[i+1], err = c.expr(bound, of.Type.Elems[0], "key("+of.Name+")"); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// slice cuts a set or map; a bound that is null leaves nothing, one that is unset is open.
func (e *Expr) slice(env *Env) ([]byte, error) {
	of, err := e.Args[0].Eval(env)
	if err != nil || of == nil {
		return nil, err
	}
	within, ok, err := e.bounds(env)
	if err != nil || !ok {
		return nil, err
	}
	var values [][]byte
	for it := e.Type.Elements(of); it.Next(); {
		v := it.Value()
		in := within(v)
		if in {
			values = append(values, v)
		}
		if e.Type.Kind == types.Map && it.Next() && in {
			values = append(values, it.Value())
		}
	}
	if len(values) == 0 && e.Type.IsMultiCell() {
		return nil, nil
	}
	return buildValue(e.Type, values), nil
}

// bounds reads a slice's bounds: within tells whether a key lies between them. ok is false where one is null.
func (e *Expr) bounds(env *Env) (within func(key []byte) bool, ok bool, err error) {
	var bounds [2][]byte
	for i := range bounds {
		if bounds[i], err = e.Args[i+1].Eval(env); err != nil || bounds[i] == nil {
			return nil, false, err
		}
	}
	t := e.Args[0].Type.Elems[0]
	return func(key []byte) bool {
		return (IsUnset(bounds[0]) || t.Compare(key, bounds[0]) >= 0) && (IsUnset(bounds[1]) || t.Compare(key, bounds[1]) <= 0)
	}, true, nil
}

// selected tells which elements of its column WRITETIME, MAXWRITETIME or TTL is about.
func (e *Expr) selected(env *Env) (func(path []byte) bool, error) {
	if len(e.Args) == 0 {
		return nil, nil
	}
	part := e.Args[0]
	switch part.Op {
	case OpField:
		return func(path []byte) bool { return len(path) == 2 && int(path[0])<<8|int(path[1]) == part.Index }, nil
	case OpSlice:
		within, ok, err := part.bounds(env)
		if err != nil || !ok {
			return func([]byte) bool { return false }, err
		}
		return within, nil
	}
	key, err := part.Args[1].Eval(env)
	if err != nil {
		return nil, err
	}
	t := e.Column.Type.Elems[0]
	return func(path []byte) bool { return key != nil && !IsUnset(key) && t.Compare(path, key) == 0 }, nil
}

// stamps evaluates WRITETIME, MAXWRITETIME and TTL.
func (e *Expr) stamps(env *Env) ([]byte, error) {
	which, err := e.selected(env)
	if err != nil {
		return nil, err
	}
	list := e.Type.Kind == types.List
	switch e.Op {
	case OpMaxWriteTime:
		return env.Row.maxWriteTime(e.Column, which), nil
	case OpTTL:
		return env.Row.ttl(e.Column, which, list), nil
	}
	return env.Row.writeTime(e.Column, which, list), nil
}
