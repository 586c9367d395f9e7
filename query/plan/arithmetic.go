package plan

import (
	"math"
	"math/big"
	"strconv"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// rank orders number types by what they hold; 0 is no number.
func rank(t *types.Type) int {
	switch t.Kind {
	case types.Tinyint:
		return 1
	case types.Smallint:
		return 2
	case types.Int:
		return 3
	case types.Bigint, types.Counter:
		return 4
	case types.Varint:
		return 5
	case types.Float:
		return 6
	case types.Double:
		return 7
	case types.Decimal:
		return 8
	}
	return 0
}

// resultType is the type of an operation on two numbers: the wider; a float beside a bigint becomes a double, beside a
// varint a decimal.
func resultType(a, b *types.Type) *types.Type {
	if rank(a) < rank(b) {
		a, b = b, a
	}
	switch {
	case a.Kind == types.Counter:
		return types.BigintType
	case rank(a) > 5 && b.Kind == types.Varint:
		return types.DecimalType
	case a.Kind == types.Float && rank(b) == 4:
		return types.DoubleType
	}
	return a
}

func (c *compiler) binary(e *cql.Binary, want *types.Type) (*Expr, error) {
	left, right, err := c.operands(e, want)
	if err != nil {
		return nil, err
	}
	if rank(left.Type) == 0 || rank(right.Type) == 0 {
		return nil, at(e, "the '%c' operation is not supported between %s and %s", e.Op, e.Left, e.Right)
	}
	t := resultType(left.Type, right.Type)
	f := &Function{Name: string(e.Op), Call: func(_ *Env, x *Expr, args [][]byte) ([]byte, error) {
		v, err := calculate(e.Op, x.Type, widen(x.Args[0].Type, args[0]), widen(x.Args[1].Type, args[1]))
		if err != nil {
			return nil, coded(wire.CodeFunctionFailure, x.at, "the operation '%s %c %s' failed: %v", x.Args[0].Type, e.Op, x.Args[1].Type, err)
		}
		return v, nil
	}}
	return &Expr{Op: OpCall, Type: t, Func: f, Args: []*Expr{left, right}, Name: f.Name}, nil
}

// operands compiles both sides. A literal takes the other side's type where it can.
func (c *compiler) operands(e *cql.Binary, want *types.Type) (left, right *Expr, err error) {
	untyped := func(x cql.Expr) bool {
		_, marker := x.(*cql.Marker)
		k, constant := x.(*cql.Constant)
		return marker || (constant && (k.Type == cql.Integer || k.Type == cql.Float))
	}
	name := string(e.Op)
	switch {
	case untyped(e.Left) && !untyped(e.Right):
		if right, err = c.expr(e.Right, nil, name); err == nil {
			left, err = c.beside(e.Left, right.Type, name)
		}
	case untyped(e.Right) && !untyped(e.Left):
		if left, err = c.expr(e.Left, nil, name); err == nil {
			right, err = c.beside(e.Right, left.Type, name)
		}
	default:
		if left, err = c.beside(e.Left, want, name); err == nil {
			right, err = c.beside(e.Right, want, name)
		}
	}
	return left, right, err
}

// beside compiles an operand as type t if that works, else as what it is.
func (c *compiler) beside(e cql.Expr, t *types.Type, name string) (*Expr, error) {
	if t != nil {
		if x, err := c.expr(e, t, name); err == nil {
			return x, nil
		}
	}
	return c.expr(e, nil, name)
}

func (c *compiler) negate(e *cql.Negate, want *types.Type) (*Expr, error) {
	v, err := c.beside(e.Value, want, "-")
	if err != nil {
		return nil, err
	}
	if rank(v.Type) == 0 {
		return nil, at(e, "the '-' operation is not supported on %s of type %s", e.Value, v.Type)
	}
	f := &Function{Name: "-", Call: func(_ *Env, x *Expr, args [][]byte) ([]byte, error) {
		return calculate('-', x.Type, number{}, widen(x.Type, args[0]))
	}}
	return &Expr{Op: OpCall, Type: v.Type, Func: f, Args: []*Expr{v}, Name: "-"}, nil
}

// number is any CQL number: of an integer, a float, or a decimal (big × 10^-scale).
type number struct {
	kind  byte // 'i', 'f', 'd'; 0 is zero of any kind
	i     int64
	f     float64
	big   *big.Int
	scale int32
}

func widen(t *types.Type, v []byte) number {
	switch t.Kind {
	case types.Float:
		return number{kind: 'f', f: float64(types.Float32(v))}
	case types.Double:
		return number{kind: 'f', f: types.Float64(v)}
	case types.Varint:
		return number{kind: 'd', big: types.DecodeVarint(v)}
	case types.Decimal:
		d := types.DecodeDecimal(v)
		return number{kind: 'd', big: d.Unscaled, scale: d.Scale}
	}
	return number{kind: 'i', i: types.Integer(v)}
}

func (n number) float() float64 {
	switch n.kind {
	case 'f':
		return n.f
	case 'd':
		f, _ := strconv.ParseFloat(n.big.String()+"e"+strconv.Itoa(-int(n.scale)), 64) // out of range gives ±Inf, as it should
		return f
	}
	return float64(n.i)
}

// decimal gives the number exactly; ok is false for NaN and infinities.
func (n number) decimal() (d types.DecimalValue, ok bool) {
	switch n.kind {
	case 'd':
		return types.DecimalValue{Unscaled: n.big, Scale: n.scale}, true
	case 'f':
		d, err := types.ParseDecimal(strconv.FormatFloat(n.f, 'g', -1, 64))
		return d, err == nil
	}
	return types.DecimalValue{Unscaled: big.NewInt(n.i)}, true
}

type mathError string

func (e mathError) Error() string { return string(e) }

const divisionByZero = mathError("/ by zero")

func calculate(op byte, t *types.Type, a, b number) ([]byte, error) {
	switch t.Kind {
	case types.Float:
		// Java computes floats in 32 bits.
		return appendFloat(t, float64(float32(floats(op, a.float(), b.float())))), nil
	case types.Double:
		return appendFloat(t, floats(op, a.float(), b.float())), nil
	case types.Varint, types.Decimal:
		x, okX := a.decimal()
		y, okY := b.decimal()
		if !okX || !okY {
			return nil, mathError("NaN and infinity are not decimals")
		}
		return decimals(op, t, x, y)
	}
	v, err := integers(op, a.i, b.i)
	if err != nil {
		return nil, err
	}
	return appendInteger(t, v), nil
}

func floats(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	}
	return math.Mod(a, b)
}

// integers wrap around, as Java's do.
func integers(op byte, a, b int64) (int64, error) {
	switch op {
	case '+':
		return a + b, nil
	case '-':
		return a - b, nil
	case '*':
		return a * b, nil
	}
	if b == 0 {
		return 0, divisionByZero
	}
	if op == '/' {
		return a / b, nil
	}
	return a % b, nil
}

// divisionDigits is how many fraction digits a decimal division gives at least.
const divisionDigits = 32

func decimals(op byte, t *types.Type, a, b types.DecimalValue) ([]byte, error) {
	v, scale := new(big.Int), max(a.Scale, b.Scale)
	if op != '*' {
		if int64(scale)-int64(min(a.Scale, b.Scale)) > types.MaxDecimalScale {
			return nil, mathError("the scales are too far apart")
		}
		a.Unscaled = new(big.Int).Mul(a.Unscaled, pow10(scale-a.Scale))
		b.Unscaled = new(big.Int).Mul(b.Unscaled, pow10(scale-b.Scale))
	}
	switch op {
	case '+':
		v.Add(a.Unscaled, b.Unscaled)
	case '-':
		v.Sub(a.Unscaled, b.Unscaled)
	case '*':
		v.Mul(a.Unscaled, b.Unscaled)
		scale = a.Scale + b.Scale
	default:
		if b.Unscaled.Sign() == 0 {
			return nil, divisionByZero
		}
		switch {
		case op == '%':
			v.Rem(a.Unscaled, b.Unscaled)
		case t.Kind == types.Varint:
			v.Quo(a.Unscaled, b.Unscaled)
		default:
			v = divideHalfEven(new(big.Int).Mul(a.Unscaled, pow10(divisionDigits)), b.Unscaled)
			scale = divisionDigits
			v, scale = stripZeros(v, scale, max(0, a.Scale-b.Scale))
		}
	}
	if len(v.Bytes()) > types.MaxVarintBytes || scale > types.MaxDecimalScale || scale < -types.MaxDecimalScale {
		return nil, mathError("the result is out of range")
	}
	if t.Kind == types.Varint {
		return types.AppendVarint(nil, v), nil
	}
	return types.AppendDecimal(nil, types.DecimalValue{Unscaled: v, Scale: scale}), nil
}

// stripZeros drops trailing zeros of the fraction down to a least scale.
func stripZeros(v *big.Int, scale, least int32) (*big.Int, int32) {
	ten, r := big.NewInt(10), new(big.Int)
	for scale > least {
		q, _ := new(big.Int).QuoRem(v, ten, r)
		if r.Sign() != 0 {
			break
		}
		v, scale = q, scale-1
	}
	return v, scale
}

func appendFloat(t *types.Type, f float64) []byte {
	if t.Kind == types.Float {
		return types.AppendFloat(nil, float32(f))
	}
	return types.AppendDouble(nil, f)
}

// appendInteger writes an integer in its type's width, cutting off what doesn't fit.
func appendInteger(t *types.Type, v int64) []byte {
	switch t.Kind {
	case types.Tinyint:
		return types.AppendInt8(nil, int8(v))
	case types.Smallint:
		return types.AppendInt16(nil, int16(v))
	case types.Int:
		return types.AppendInt32(nil, int32(v))
	}
	return types.AppendInt64(nil, v)
}
