package plan

import (
	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// Op says what an expression does.
type Op uint8

const (
	OpConst        Op = iota // Value
	OpMarker                 // bound value Index
	OpColumn                 // Column of the row
	OpCall                   // Func of Args
	OpAggregate              // the result of aggregate Index
	OpWriteTime              // µs of Column; of its elements, a list
	OpMaxWriteTime           // the latest µs of Column
	OpTTL                    // seconds left of Column; of its elements, a list
	OpToken                  // token of the row's partition key, or of Args
	OpCollect                // a collection, tuple, UDT or vector of Args
	OpElement                // Args[0][Args[1]] of a map or set
	OpField                  // field Index of Args[0]
	OpSlice                  // the elements of Args[0], a set or map, from Args[1] to Args[2]
)

// Expr is a compiled expression: a tree without names, evaluated against bound values and, where columns stand in it, a
// row.
type Expr struct {
	Op     Op
	Type   *types.Type
	Value  []byte
	Index  int
	Column *schema.Column
	Args   []*Expr
	Func   *Function
	Name   string // what it is the value of, for errors
	// HoldsNulls lets elements of an OpCollect's list, and values of its map, be null.
	HoldsNulls bool

	at    cql.Pos // where it stands in the text; zero when it has no place there
	about string  // what errors call a marker: marker 2 (column pk)
}

// Constant reports whether the value doesn't depend on markers, rows, time or chance.
func (e *Expr) Constant() bool { return e.Op == OpConst }

// Eval gives the value; nil is null. It is Unset for a marker that was left unset. The result may alias the row or
// bound values.
func (e *Expr) Eval(env *Env) ([]byte, error) {
	switch e.Op {
	case OpConst:
		return e.Value, nil
	case OpMarker:
		return env.marker(e.Index), nil
	case OpColumn:
		return env.Row.Value(e.Index, e.Column), nil
	case OpAggregate:
		return env.Aggregates[e.Index], nil
	case OpWriteTime, OpMaxWriteTime, OpTTL:
		return e.stamps(env)
	case OpToken:
		return e.token(env)
	case OpCollect:
		return e.collect(env)
	case OpElement:
		return e.element(env)
	case OpField:
		return e.field(env)
	case OpSlice:
		return e.slice(env)
	}
	return e.call(env)
}

func (e *Expr) call(env *Env) ([]byte, error) {
	var fixed [4][]byte
	args := fixed[:0]
	for _, a := range e.Args {
		v, err := a.Eval(env)
		if err != nil {
			return nil, err
		}
		if IsUnset(v) {
			return nil, a.Errorf("Invalid unset value for argument of %s", e.Func.Name)
		}
		if v == nil && !e.Func.Nulls {
			return nil, nil
		}
		args = append(args, v)
	}
	return e.Func.Call(env, e, args)
}

// collect puts a collection together in its canonical form.
func (e *Expr) collect(env *Env) ([]byte, error) {
	values := make([][]byte, len(e.Args))
	for i, a := range e.Args {
		v, err := a.Eval(env)
		if err != nil {
			return nil, err
		}
		if IsUnset(v) {
			return nil, a.Errorf("Invalid unset value for %s", a.Name)
		}
		if v == nil && !e.mayBeNull(i) {
			return nil, a.Errorf("null is not supported inside collections: %s", e.Name)
		}
		values[i] = v
	}
	return e.Type.Canonical(buildValue(e.Type, values)), nil
}

// mayBeNull reports whether part i of a collection, tuple or user type may be null.
func (e *Expr) mayBeNull(i int) bool {
	switch e.Type.Kind {
	case types.Tuple, types.UDT:
		return true
	case types.List:
		return e.HoldsNulls
	case types.Map:
		return e.HoldsNulls && i%2 == 1
	}
	return false
}

// buildValue writes the bytes of a collection, tuple, user type or vector from its elements.
func buildValue(t *types.Type, values [][]byte) []byte {
	var dst []byte
	switch t.Kind {
	case types.List, types.Set:
		dst = types.AppendCount(dst, len(values))
	case types.Map:
		dst = types.AppendCount(dst, len(values)/2)
	case types.Vector:
		inline := inlineWidth(t.Elems[0])
		for _, v := range values {
			if !inline {
				dst = types.AppendUvint(dst, uint64(len(v)))
			}
			dst = append(dst, v...)
		}
		return dst
	}
	for _, v := range values {
		dst = types.AppendElement(dst, v)
	}
	return dst
}

// inlineWidth reports whether a vector's elements stand without their lengths.
func inlineWidth(t *types.Type) bool {
	switch t.Kind {
	case types.Boolean, types.Int, types.Bigint, types.Float, types.Double, types.UUID, types.Timeuuid, types.Timestamp, types.Counter:
		return true
	case types.Vector:
		return inlineWidth(t.Elems[0])
	}
	return false
}

func (e *Expr) element(env *Env) ([]byte, error) {
	of, err := e.Args[0].Eval(env)
	if err != nil || of == nil {
		return nil, err
	}
	key, err := e.Args[1].Eval(env)
	if err != nil || key == nil || IsUnset(key) {
		return nil, err
	}
	t := e.Args[0].Type
	for it := t.Elements(of); it.Next(); {
		v, kt := it.Value(), it.Type()
		match := t.Elems[0].Compare(v, key) == 0
		if t.Kind == types.Set {
			if match {
				return v, nil
			}
			continue
		}
		_ = kt
		if !it.Next() {
			break
		}
		if match {
			return it.Value(), nil
		}
	}
	return nil, nil
}

func (e *Expr) field(env *Env) ([]byte, error) {
	of, err := e.Args[0].Eval(env)
	if err != nil || of == nil {
		return nil, err
	}
	for it := e.Args[0].Type.Elements(of); it.Next(); {
		if it.Index() == e.Index {
			return it.Value(), nil
		}
	}
	return nil, nil
}
