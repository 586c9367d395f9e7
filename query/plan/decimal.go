package plan

import (
	"math"
	"math/big"
	"strconv"

	"nodedb/query/types"
)

// number is any CQL number: of an integer, a float, or a decimal (big × 10^-scale).
type number struct {
	kind  byte // 'i', 'f', 'd'
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

// decimal gives the number as Cassandra does, which takes all but varints for doubles first and prints those: 100 is 100.0. An integer that no double holds
// stays exact here. ok is false for NaN and infinities.
func (n number) decimal() (d types.DecimalValue, ok bool) {
	switch n.kind {
	case 'd':
		return types.DecimalValue{Unscaled: n.big, Scale: n.scale}, true
	case 'f':
		d, err := types.ParseDecimal(string(types.AppendJavaFloat(nil, n.f, 64)))
		return d, err == nil
	}
	if f := float64(n.i); int64(f) == n.i && n.i != math.MinInt64 && n.i != math.MaxInt64 {
		d, err := types.ParseDecimal(string(types.AppendJavaFloat(nil, f, 64)))
		return d, err == nil
	}
	return types.DecimalValue{Unscaled: big.NewInt(n.i)}, true
}

// exact gives an integer or a decimal as it is.
func (n number) exact() types.DecimalValue {
	if n.kind == 'd' {
		return types.DecimalValue{Unscaled: n.big, Scale: n.scale}
	}
	return types.DecimalValue{Unscaled: big.NewInt(n.i)}
}

// negated keeps a decimal's scale, and the sign of a float's zero. The least integer is its own opposite.
func negated(t *types.Type, v []byte) []byte {
	n := widen(t, v)
	switch {
	case n.kind == 'f':
		return appendFloat(t, -n.f)
	case t.Kind == types.Varint:
		return types.AppendVarint(nil, new(big.Int).Neg(n.big))
	case n.kind == 'd':
		return types.AppendDecimal(nil, types.DecimalValue{Unscaled: new(big.Int).Neg(n.big), Scale: n.scale})
	}
	return appendInteger(t, -n.i)
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
	case types.Varint:
		return varints(op, a.exact().Unscaled, b.exact().Unscaled)
	case types.Decimal:
		x, okX := a.decimal()
		y, okY := b.decimal()
		if !okX || !okY {
			return nil, mathError("NaN and infinity are not decimals")
		}
		return decimals(op, x, y)
	}
	v, err := integers(op, a.i, b.i)
	if err != nil {
		return nil, err
	}
	return appendInteger(t, v), nil
}

// floats gives NaN the bits that Java's has on most machines: of an operand, or the processor's own for an invalid operation.
func floats(op byte, a, b float64) float64 {
	f := operateFloats(op, a, b)
	if f == f {
		return f
	}
	if a != a || b != b {
		return types.NaN
	}
	return canonicalNaN(f)
}

func operateFloats(op byte, a, b float64) float64 {
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

// bigDivisionByZero is how Java says it of varints and decimals.
const bigDivisionByZero = mathError("BigInteger divide by zero")

func varints(op byte, a, b *big.Int) ([]byte, error) {
	v := new(big.Int)
	switch op {
	case '+':
		v.Add(a, b)
	case '-':
		v.Sub(a, b)
	case '*':
		v.Mul(a, b)
	default:
		if b.Sign() == 0 {
			return nil, bigDivisionByZero
		}
		if op == '/' {
			v.Quo(a, b)
		} else {
			v.Rem(a, b)
		}
	}
	if len(v.Bytes()) > types.MaxVarintBytes {
		return nil, mathError("the result is out of range")
	}
	return types.AppendVarint(nil, v), nil
}

func decimals(op byte, a, b types.DecimalValue) ([]byte, error) {
	v, scale := new(big.Int), max(a.Scale, b.Scale)
	if op != '*' && op != '/' {
		if int64(scale)-int64(min(a.Scale, b.Scale)) > types.MaxDecimalScale {
			return nil, mathError("the scales are too far apart")
		}
	}
	switch op {
	case '+':
		v.Add(rescale(a, scale), rescale(b, scale))
	case '-':
		v.Sub(rescale(a, scale), rescale(b, scale))
	case '*':
		v.Mul(a.Unscaled, b.Unscaled)
		scale = a.Scale + b.Scale
	default:
		if b.Unscaled.Sign() == 0 {
			return nil, bigDivisionByZero
		}
		if op == '%' {
			v, scale = remainder(a, b)
		} else {
			v, scale = quotient(a, b)
		}
	}
	if len(v.Bytes()) > types.MaxVarintBytes || scale > types.MaxDecimalScale || scale < -types.MaxDecimalScale {
		return nil, mathError("the result is out of range")
	}
	return types.AppendDecimal(nil, types.DecimalValue{Unscaled: v, Scale: scale}), nil
}

// rescale gives the unscaled value at a scale that is not lower.
func rescale(d types.DecimalValue, scale int32) *big.Int {
	return new(big.Int).Mul(d.Unscaled, pow10(scale-d.Scale))
}

// The bounds of a quotient's scale: as many fraction digits as give minQuotientDigits significant ones, but at least and at most so many. They are Cassandra's.
const (
	minQuotientDigits = 32
	maxQuotientScale  = 1000
)

// quotient divides two decimals, halves rounded up (away from zero), without the zeros at its end. b is not zero.
func quotient(a, b types.DecimalValue) (*big.Int, int32) {
	if a.Unscaled.Sign() == 0 {
		return new(big.Int), 0
	}
	places := func(d types.DecimalValue) int32 { return int32(len(new(big.Int).Abs(d.Unscaled).String())) - d.Scale } // digits before the point
	scale := minQuotientDigits - (places(a) - places(b))
	scale = min(max(scale, minQuotientDigits, a.Scale, b.Scale), maxQuotientScale)
	numerator, denominator := a.Unscaled, b.Unscaled
	if shift := scale - a.Scale + b.Scale; shift >= 0 {
		numerator = new(big.Int).Mul(numerator, pow10(shift))
	} else {
		denominator = new(big.Int).Mul(denominator, pow10(-shift))
	}
	q, r := new(big.Int).QuoRem(numerator, denominator, new(big.Int))
	if twice := r.Lsh(r.Abs(r), 1); twice.CmpAbs(denominator) >= 0 {
		q.Add(q, big.NewInt(int64(numerator.Sign()*denominator.Sign())))
	}
	if q.Sign() == 0 {
		return q, 0
	}
	return stripZeros(q, scale, math.MinInt32)
}

// remainder is of Java's BigDecimal: its scale is what is left when the integral quotient has as few zeros at its end as the scales of both allow. b is not zero.
func remainder(a, b types.DecimalValue) (*big.Int, int32) {
	common := max(a.Scale, b.Scale)
	whole, v := new(big.Int).QuoRem(rescale(a, common), rescale(b, common), new(big.Int))
	scale := a.Scale
	if a.Scale < b.Scale {
		quotientScale := a.Scale - b.Scale
		if whole.Sign() != 0 {
			_, quotientScale = stripZeros(whole, 0, quotientScale)
		}
		scale = b.Scale + quotientScale
	}
	return stripZeros(v, common, scale)
}

// stripZeros drops trailing zeros down to a least scale.
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
