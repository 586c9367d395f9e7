package plan

import (
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

// operatorNames are the names of operators among the functions, which only errors show.
var operatorNames = map[byte]string{'+': "_add", '-': "_subtract", '*': "_multiply", '/': "_divide", '%': "_modulo"}

func (c *compiler) binary(e *cql.Binary, want *types.Type) (*Expr, error) {
	left, right, err := c.operands(e, want)
	if err != nil {
		return nil, err
	}
	x := &Expr{Op: OpCall, Args: []*Expr{left, right}, Name: string(e.Op)}
	if k, ok := e.Left.(*cql.Constant); ok && k.Type == cql.Integer && left.Type.Kind == types.Int && right.Type.Kind == types.Duration {
		return nil, at(e, "Ambiguous '%c' operation with args %s and %s: use type hint to disambiguate, example '(int) ?'", e.Op, cql.ColumnName(e.Left), cql.ColumnName(e.Right))
	}
	operate := binaryOperator(x, e.Op, left.Type, right.Type)
	if operate == nil {
		return nil, at(e, "the '%c' operation is not supported between %s and %s", e.Op, cql.ColumnName(e.Left), cql.ColumnName(e.Right))
	}
	x.Func = &Function{Name: x.Name, Call: func(_ *Env, x *Expr, args [][]byte) ([]byte, error) {
		v, err := operate(args[0], args[1])
		if err != nil {
			failed := wire.Errorf(wire.CodeFunctionFailure, "%sthe operation '%s %c %s' failed: %v", where(x.at), left.Type, e.Op, right.Type, err)
			failed.Keyspace, failed.Function, failed.ArgTypes = "system", operatorNames[e.Op], []string{left.Type.String(), right.Type.String()}
			return nil, failed
		}
		return v, nil
	}}
	return x, nil
}

// binaryOperator finds what an operator does with two types, and sets the result's type; nil where it does nothing.
func binaryOperator(x *Expr, op byte, a, b *types.Type) func(a, b []byte) ([]byte, error) {
	switch {
	case rank(a) > 0 && rank(b) > 0:
		t := resultType(a, b)
		x.Type = t
		return func(l, r []byte) ([]byte, error) { return calculate(op, t, widen(a, l), widen(b, r)) }
	case b.Kind == types.Duration && (op == '+' || op == '-'):
		return shiftOperator(x, op, a)
	case op == '+' && a.IsText() && b.IsText():
		if x.Type = a; b.Kind == types.Varchar {
			x.Type = b
		}
		return func(l, r []byte) ([]byte, error) { return append(append([]byte{}, l...), r...), nil }
	}
	return nil
}

// operands compiles both sides. A marker takes the other side's type, a number beside another or a marker what is wanted of the result.
func (c *compiler) operands(e *cql.Binary, want *types.Type) (left, right *Expr, err error) {
	const (
		typed = iota
		number
		marker
	)
	kind := func(x cql.Expr) int {
		switch x := x.(type) {
		case *cql.Marker:
			return marker
		case *cql.Constant:
			if x.Type == cql.Integer || x.Type == cql.Float {
				return number
			}
		}
		return typed
	}
	name := string(e.Op)
	switch l, r := kind(e.Left), kind(e.Right); {
	case l == marker && r == typed:
		if right, err = c.expr(e.Right, nil, name); err == nil {
			left, err = c.beside(e.Left, right.Type, name)
		}
	case r == marker && l == typed:
		if left, err = c.expr(e.Left, nil, name); err == nil {
			right, err = c.beside(e.Right, left.Type, name)
		}
	case l == number && r == typed || r == number && l == typed:
		if left, err = c.expr(e.Left, nil, name); err == nil {
			right, err = c.expr(e.Right, nil, name)
		}
	default:
		if l == number && r == number && want != nil && rank(want) == 0 {
			want = nil
		}
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
		return nil, at(e, "the '-' operation is not supported on %s of type %s", cql.ColumnName(e.Value), v.Type)
	}
	f := &Function{Name: "-", Call: func(_ *Env, x *Expr, args [][]byte) ([]byte, error) {
		return negated(x.Type, args[0]), nil
	}}
	return &Expr{Op: OpCall, Type: v.Type, Func: f, Args: []*Expr{v}, Name: "-"}, nil
}
