package plan

import (
	"math"
	"math/big"
	"strconv"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

func (c *compiler) cast(e *cql.Cast) (*Expr, error) {
	to, err := c.typeName(e.Type)
	if err != nil {
		return nil, err
	}
	if c.inRow {
		switch e.Value.(type) {
		case *cql.Constant, *cql.Marker:
			return nil, at(e, "Cannot infer type for term %s in selection clause (try using a cast to force a type)", cql.ColumnName(e.Value))
		}
	}
	v, err := c.beside(e.Value, nil, "cast")
	if err != nil {
		return nil, err
	}
	if v.Type.Equal(to) {
		if c.idle == nil {
			c.idle = map[*cql.Cast]bool{}
		}
		c.idle[e] = true
		return v, nil
	}
	f := castFunction(v.Type, to)
	if f == nil {
		return nil, at(e, "%s cannot be cast to %s", v.Type, to)
	}
	return &Expr{Op: OpCall, Type: to, Func: f, Args: []*Expr{v}, Name: "cast"}, nil
}

// castFunction finds the conversion between two types: the one of exactly these, else the only one of a type that the first can be taken for, as a timestamp
// for a bigint. nil where there is none, or several.
func castFunction(from, to *types.Type) *Function {
	if f := castOf(from, to); f != nil {
		return f
	}
	var found *Function
	for _, t := range scalarTypes {
		if t.Equal(from) || t.Equal(to) || !assignable(t, from) {
			continue
		}
		if f := castOf(t, to); f != nil {
			if found != nil {
				return nil
			}
			found = f
		}
	}
	return found
}

func castOf(from, to *types.Type) *Function {
	f := &Function{Name: "cast"}
	switch {
	case to.Kind == types.Varchar && castsToText(from), to.Kind == types.Ascii && castsToText(from) && from.Kind != types.Varchar:
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) {
			return from.AppendJavaText([]byte{}, args[0]), nil
		}
	case rank(from) > 0 && rank(to) > 0 && to.Kind != types.Counter:
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) {
			return castNumber(to, castOperand(from, to, args[0]))
		}
	case to.Kind == types.Timestamp && (from.Kind == types.Timeuuid || from.Kind == types.Date), to.Kind == types.Date && (from.Kind == types.Timeuuid || from.Kind == types.Timestamp):
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) {
			ms, ok := unixMillis(from, args[0])
			switch {
			case !ok:
				return nil, nil
			case to.Kind == types.Timestamp:
				return types.AppendInt64(nil, ms), nil
			}
			return types.AppendUint32(nil, dayOfMillis(ms)), nil
		}
	default:
		return nil
	}
	return f
}

func castsToText(t *types.Type) bool {
	switch t.Kind {
	case types.Ascii, types.Varchar, types.Boolean, types.Timestamp, types.Date, types.Time, types.Timeuuid, types.UUID, types.Inet:
		return true
	}
	return rank(t) > 0
}

// castOperand reads a number to be cast. As a decimal, a float has the digits that it is printed with, where arithmetic takes its exact value.
func castOperand(from, to *types.Type, v []byte) number {
	if from.Kind == types.Float && to.Kind == types.Decimal {
		f, _ := strconv.ParseFloat(string(from.AppendJavaText(nil, v)), 64) // its own text
		return number{kind: 'f', f: f}
	}
	return widen(from, v)
}

func castNumber(to *types.Type, n number) ([]byte, error) {
	switch to.Kind {
	case types.Float, types.Double:
		return appendFloat(to, n.float()), nil
	case types.Decimal:
		if n.kind != 'f' {
			return types.AppendDecimal(nil, n.exact()), nil
		}
		d, ok := n.decimal()
		if !ok {
			return nil, wire.Errorf(wire.CodeFunctionFailure, "cast: NaN and infinity are not decimals")
		}
		return types.AppendDecimal(nil, d), nil
	case types.Varint:
		if n.kind != 'f' {
			return types.AppendVarint(nil, whole(n.exact())), nil
		}
		d, ok := n.decimal()
		if !ok {
			return nil, wire.Errorf(wire.CodeFunctionFailure, "cast: NaN and infinity are not integers")
		}
		return types.AppendVarint(nil, whole(d)), nil
	}
	v := n.integer()
	if n.kind == 'f' && to.Kind != types.Bigint { // Java goes through int
		v = min(max(v, math.MinInt32), math.MaxInt32)
	}
	return appendInteger(to, v), nil
}

// whole cuts a decimal's fraction off.
func whole(d types.DecimalValue) *big.Int {
	if d.Scale <= 0 {
		return new(big.Int).Mul(d.Unscaled, pow10(-d.Scale))
	}
	return new(big.Int).Quo(d.Unscaled, pow10(d.Scale))
}

// integer converts as Java does: floats saturate and NaN is 0, big numbers keep their low bits.
func (n number) integer() int64 {
	switch n.kind {
	case 'f':
		switch {
		case n.f != n.f:
			return 0
		case n.f >= math.MaxInt64:
			return math.MaxInt64
		case n.f <= math.MinInt64:
			return math.MinInt64
		}
		return int64(n.f)
	case 'd':
		v := whole(types.DecimalValue{Unscaled: n.big, Scale: n.scale})
		low := new(big.Int).And(v, new(big.Int).SetUint64(math.MaxUint64))
		return int64(low.Uint64())
	}
	return n.i
}
