package plan

import (
	"math"
	"math/big"

	"github.com/cockroachdb/apd/v3"

	"nodedb/query/types"
)

// numberTypes are those that the functions of mathematics take, in the order that errors list them.
var numberTypes = []*types.Type{
	types.TinyintType, types.SmallintType, types.IntType, types.BigintType, types.CounterType, types.FloatType, types.DoubleType, types.VarintType, types.DecimalType,
}

// Digits of a decimal's exponential and logarithms: as many as it has itself, between these.
const (
	leastDigits = 32
	mostDigits  = 1000
	guardDigits = 12 // computed beyond them, so that the last is rounded right
)

func init() {
	registerMath("abs", math.Abs, func(c *apd.Context, d, x *apd.Decimal) (apd.Condition, error) { return c.Abs(d, x) })
	registerMath("exp", math.Exp, (*apd.Context).Exp)
	registerMath("log", math.Log, (*apd.Context).Ln)
	registerMath("log10", math.Log10, (*apd.Context).Log10)
	registerMath("round", math.Round, nil)
}

// registerMath adds a function of each type of number. Integers are computed as doubles and cut to their type, as Java does; varints and decimals in
// decimals.
func registerMath(name string, double func(float64) float64, decimal func(*apd.Context, *apd.Decimal, *apd.Decimal) (apd.Condition, error)) {
	for _, t := range numberTypes {
		register(&Function{Name: name, Args: []*types.Type{t}, Result: t, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
			v := args[0]
			if len(v) == 0 {
				return nil, nil
			}
			n := widen(t, v)
			switch {
			case n.kind == 'i' && name == "round":
				return v, nil
			case n.kind == 'i' && name == "abs":
				return appendInteger(t, max(n.i, -n.i)), nil
			case n.kind == 'i':
				return castNumber(t, number{kind: 'f', f: double(float64(n.i))})
			case n.kind == 'f' && name == "round":
				return appendFloat(t, javaRound(t, n.f)), nil
			case n.kind == 'f':
				return appendFloat(t, canonicalNaN(double(n.f))), nil
			}
			d, problem := decimalMath(name, n, decimal)
			if problem != "" {
				return nil, e.Errorf("%s: %s", name, problem)
			}
			if t.Kind == types.Varint {
				return types.AppendVarint(nil, whole(d)), nil
			}
			return types.AppendDecimal(nil, d), nil
		}})
	}
}

// canonicalNaN is the NaN that processors give for invalid operations, whose sign is set.
func canonicalNaN(f float64) float64 {
	if f != f {
		return math.Float64frombits(0xfff8000000000000)
	}
	return f
}

// javaRound rounds halves up, through a long or an int, as Math.round.
func javaRound(t *types.Type, f float64) float64 {
	r := math.Floor(f + 0.5)
	switch {
	case f != f:
		return 0
	case t.Kind == types.Float:
		return min(max(r, math.MinInt32), math.MaxInt32)
	}
	return min(max(r, math.MinInt64), math.MaxInt64)
}

// decimalMath computes a function of a decimal; problem says why there is no result.
func decimalMath(name string, n number, f func(*apd.Context, *apd.Decimal, *apd.Decimal) (apd.Condition, error)) (d types.DecimalValue, problem string) {
	switch name {
	case "abs":
		return types.DecimalValue{Unscaled: new(big.Int).Abs(n.big), Scale: n.scale}, ""
	case "round":
		return roundHalfUp(n), ""
	}
	digits := len(n.big.Text(10))
	if n.big.Sign() < 0 {
		digits--
	}
	precision := min(max(digits, leastDigits), mostDigits)
	x := apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(n.big), -n.scale)
	if name != "exp" && x.Sign() <= 0 {
		return d, "the logarithm of a number that isn't greater than 0"
	}
	var result apd.Decimal
	c := apd.BaseContext.WithPrecision(uint32(precision + guardDigits))
	if _, err := f(c, &result, x); err != nil || result.Form != apd.Finite {
		return d, "the result is out of range"
	}
	rounded := apd.BaseContext.WithPrecision(uint32(precision))
	rounded.Rounding = apd.RoundHalfEven
	if _, err := rounded.Round(&result, &result); err != nil || -result.Exponent < -types.MaxDecimalScale || -result.Exponent > types.MaxDecimalScale {
		return d, "the result is out of range"
	}
	unscaled := result.Coeff.MathBigInt()
	if result.Negative {
		unscaled.Neg(unscaled)
	}
	return types.DecimalValue{Unscaled: unscaled, Scale: -result.Exponent}, ""
}

// roundHalfUp rounds to a whole number, halves away from zero.
func roundHalfUp(n number) types.DecimalValue {
	if n.scale <= 0 {
		return types.DecimalValue{Unscaled: new(big.Int).Mul(n.big, pow10(-n.scale))}
	}
	unit := pow10(n.scale)
	q, r := new(big.Int).QuoRem(n.big, unit, new(big.Int))
	if r.Abs(r).Lsh(r, 1).Cmp(unit) >= 0 {
		q.Add(q, big.NewInt(int64(n.big.Sign())))
	}
	return types.DecimalValue{Unscaled: q}
}
