package plan

import (
	"math"
	"math/big"
	"strconv"
	"time"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

func (c *compiler) cast(e *cql.Cast) (*Expr, error) {
	to, err := c.typeName(e.Type)
	if err != nil {
		return nil, err
	}
	v, err := c.beside(e.Value, nil, "cast")
	if err != nil {
		return nil, err
	}
	if v.Type.Equal(to) {
		return v, nil
	}
	f := castFunction(v.Type, to)
	if f == nil {
		return nil, at(e, "%s cannot be cast to %s", v.Type, to)
	}
	return &Expr{Op: OpCall, Type: to, Func: f, Args: []*Expr{v}, Name: "cast"}, nil
}

// castFunction finds the conversion between two types, nil where CQL has none.
func castFunction(from, to *types.Type) *Function {
	f := &Function{Name: "cast"}
	switch {
	case to.Kind == types.Varchar && castsToText(from), to.Kind == types.Ascii && castsToText(from) && from.Kind != types.Varchar:
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return castText(from, args[0]), nil }
	case rank(from) > 0 && rank(to) > 0 && to.Kind != types.Counter:
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return castNumber(to, widen(from, args[0])) }
	case to.Kind == types.Timestamp && (from.Kind == types.Timeuuid || from.Kind == types.Date), to.Kind == types.Date && (from.Kind == types.Timeuuid || from.Kind == types.Timestamp):
		f.Call = func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) {
			ms, ok := unixMillis(from, args[0])
			switch {
			case !ok:
				return nil, nil
			case to.Kind == types.Timestamp:
				return types.AppendInt64(nil, ms), nil
			}
			return types.AppendUint32(nil, types.DateOfTime(time.UnixMilli(ms).UTC())), nil
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

func castText(t *types.Type, v []byte) []byte {
	if t.Kind == types.Timestamp && len(v) == 8 {
		return types.DecodeTimestamp(v).AppendFormat(nil, "2006-01-02T15:04:05.000Z")
	}
	if t.Kind == types.Boolean { // AppendText writes True and False, as cqlsh does
		return strconv.AppendBool(nil, types.Bool(v))
	}
	return t.AppendText(nil, v)
}

func castNumber(to *types.Type, n number) ([]byte, error) {
	switch to.Kind {
	case types.Float, types.Double:
		return appendFloat(to, n.float()), nil
	case types.Decimal:
		d, ok := n.decimal()
		if !ok {
			return nil, wire.Errorf(wire.CodeFunctionFailure, "cast: NaN and infinity are not decimals")
		}
		return types.AppendDecimal(nil, d), nil
	case types.Varint:
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
