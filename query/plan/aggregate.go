package plan

import (
	"math/big"
	"slices"

	"nodedb/query/cql"
	"nodedb/query/types"
)

// AggKind says what an aggregate computes.
type AggKind uint8

const (
	AggCountRows AggKind = iota
	AggCount             // of values that aren't null
	AggMin
	AggMax
	AggSum
	AggAvg
	AggFirst // the value in a group's first row: what a plain column means beside aggregates
)

// Aggregate is one aggregate of a select list. It is part of the plan: a run keeps its Accumulators.
type Aggregate struct {
	Kind AggKind
	Arg  *Expr // nil for AggCountRows
	Type *types.Type
}

var aggregateKinds = map[string]AggKind{"count": AggCount, "min": AggMin, "max": AggMax, "sum": AggSum, "avg": AggAvg}

func isAggregate(name string) bool {
	_, ok := aggregateKinds[name]
	return ok
}

func (c *compiler) aggregate(e *cql.Call) (*Expr, error) {
	kind := aggregateKinds[e.Name.Name]
	if c.aggregates == nil {
		return nil, at(e, "Aggregate function %s cannot stand here", e.Name.Name)
	}
	if c.inside {
		return nil, at(e, "aggregate functions cannot be used as arguments of aggregate functions")
	}
	a := &Aggregate{Kind: kind, Type: types.BigintType}
	if e.Star {
		if kind != AggCount {
			return nil, at(e, "%s(*) is not supported: name a column", e.Name.Name)
		}
		a.Kind = AggCountRows
	} else {
		if len(e.Args) != 1 {
			return nil, at(e, "Invalid number of arguments in call to function %s: 1 required but %d provided", e.Name.Name, len(e.Args))
		}
		c.inside = true
		arg, err := c.expr(e.Args[0], nil, e.Name.Name)
		c.inside = false
		if err != nil {
			return nil, err
		}
		a.Arg = arg
		if kind != AggCount {
			a.Type = arg.Type
		}
		if (kind == AggSum || kind == AggAvg) && rank(arg.Type) == 0 {
			return nil, at(e, "Invalid call to function %s: %s is of type %s, not a number", e.Name.Name, e.Args[0], arg.Type)
		}
		if a.Type.Kind == types.Counter {
			a.Type = types.BigintType
		}
	}
	*c.aggregates = append(*c.aggregates, a)
	return &Expr{Op: OpAggregate, Type: a.Type, Index: len(*c.aggregates) - 1, Name: e.Name.Name}, nil
}

// Accumulator is the running value of one aggregate in one group.
type Accumulator struct {
	a     *Aggregate
	count int64
	seen  bool
	value []byte // min, max, first: a copy
	sum   int64  // of integers up to bigint; wraps around, as Cassandra's does
	high  int64  // the high half of sum, for an avg that cannot overflow
	float float64
	lost  float64  // what Kahan's summation has to make up for
	plain float64  // the simple sum: right where infinities are in it
	big   *big.Int // varint, and the unscaled value of decimal
	scale int32
}

// Reset begins a group.
func (s *Accumulator) Reset(a *Aggregate) {
	value := s.value[:0]
	*s = Accumulator{a: a, value: value}
}

// Add takes the row in env.
func (s *Accumulator) Add(env *Env) error {
	if s.a.Kind == AggCountRows {
		s.count++
		return nil
	}
	if s.a.Kind == AggFirst && s.seen {
		return nil
	}
	v, err := s.a.Arg.Eval(env)
	if err != nil {
		return err
	}
	if s.a.Kind == AggFirst {
		s.seen = true
		if s.count = 0; v != nil {
			s.count, s.value = 1, append(s.value[:0], v...)
		}
		return nil
	}
	if v == nil {
		return nil
	}
	s.count++
	switch s.a.Kind {
	case AggMin:
		s.keep(v, -1)
	case AggMax:
		s.keep(v, 1)
	case AggSum, AggAvg:
		s.add(v)
	}
	return nil
}

// AddCounted takes n more rows of the group, of which nothing but their number is looked at (Select.Counts).
func (s *Accumulator) AddCounted(n int) {
	if s.a.Kind == AggCountRows {
		s.count += int64(n)
	}
}

func (s *Accumulator) keep(v []byte, sign int) {
	if !s.seen || s.a.Arg.Type.Compare(v, s.value)*sign > 0 {
		s.seen, s.value = true, append(s.value[:0], v...)
	}
}

func (s *Accumulator) add(v []byte) {
	if len(v) == 0 {
		s.count--
		return
	}
	switch s.a.Arg.Type.Kind {
	case types.Float:
		s.addFloat(float64(types.Float32(v)))
	case types.Double:
		s.addFloat(types.Float64(v))
	case types.Varint:
		s.addBig(types.DecodeVarint(v), 0)
	case types.Decimal:
		d := types.DecodeDecimal(v)
		s.addBig(d.Unscaled, d.Scale)
	default:
		n := types.Integer(v)
		before := s.sum
		s.sum += n
		s.high += n >> 63
		if uint64(s.sum) < uint64(before) {
			s.high++
		}
	}
}

func (s *Accumulator) addFloat(v float64) {
	s.plain += v
	y := v - s.lost
	t := s.float + y
	s.lost = (t - s.float) - y
	s.float = t
}

func (s *Accumulator) addBig(v *big.Int, scale int32) {
	if s.big == nil {
		s.big, s.scale = new(big.Int), scale
	}
	if scale > s.scale {
		s.big.Mul(s.big, pow10(scale-s.scale))
		s.scale = scale
	}
	if scale < s.scale {
		v = new(big.Int).Mul(v, pow10(s.scale-scale))
	}
	s.big.Add(s.big, v)
}

func pow10(n int32) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// Result gives the group's value; nil is null. It may alias the accumulator.
func (s *Accumulator) Result() []byte {
	switch s.a.Kind {
	case AggCountRows, AggCount:
		return types.AppendInt64(nil, s.count)
	case AggMin, AggMax:
		if !s.seen {
			return nil
		}
		return notNil(s.value)
	case AggFirst:
		if s.count == 0 {
			return nil
		}
		return notNil(s.value)
	}
	return s.number()
}

// number is a sum or average in the argument's own type.
func (s *Accumulator) number() []byte {
	avg := s.a.Kind == AggAvg && s.count > 0
	switch s.a.Arg.Type.Kind {
	case types.Float, types.Double:
		f := s.float
		if f != f || f-f != 0 { // NaN or infinite: the compensation isn't to be trusted
			f = s.plain
		}
		if avg {
			f /= float64(s.count)
		}
		return appendFloat(s.a.Type, f)
	case types.Varint:
		sum := s.bigSum()
		if avg {
			sum = new(big.Int).Quo(sum, big.NewInt(s.count))
		}
		return types.AppendVarint(nil, sum)
	case types.Decimal:
		sum := s.bigSum()
		if avg {
			sum = divideHalfEven(sum, big.NewInt(s.count))
		}
		return types.AppendDecimal(nil, types.DecimalValue{Unscaled: sum, Scale: s.scale})
	}
	if !avg {
		return appendInteger(s.a.Type, s.sum)
	}
	total := new(big.Int).Lsh(big.NewInt(s.high), 64)
	total.Add(total, new(big.Int).SetUint64(uint64(s.sum)))
	return appendInteger(s.a.Type, total.Quo(total, big.NewInt(s.count)).Int64())
}

func (s *Accumulator) bigSum() *big.Int {
	if s.big == nil {
		return new(big.Int)
	}
	return s.big
}

// divideHalfEven divides and rounds to the nearest, halves to even, as Java's RoundingMode.HALF_EVEN.
func divideHalfEven(a, b *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	twice := new(big.Int).Abs(r)
	twice.Lsh(twice, 1)
	cmp := twice.Cmp(new(big.Int).Abs(b))
	if cmp > 0 || (cmp == 0 && q.Bit(0) == 1) {
		if a.Sign()*b.Sign() < 0 {
			return q.Sub(q, big.NewInt(1))
		}
		return q.Add(q, big.NewInt(1))
	}
	return q
}

// HasAggregates reports whether a list has more than first values.
func HasAggregates(list []*Aggregate) bool {
	return slices.ContainsFunc(list, func(a *Aggregate) bool { return a.Kind != AggFirst })
}
