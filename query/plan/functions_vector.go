package plan

import (
	"math"

	"nodedb/query/cql"
	"nodedb/query/types"
)

func init() {
	for name, f := range map[string]func(a, b []float32) float32{
		"similarity_cosine": cosine, "similarity_euclidean": euclidean, "similarity_dot_product": dotProduct,
	} {
		registerFactory(&factory{
			name: name, params: []string{"float_vector", "float_vector"},
			check: func(_ int, t *types.Type) string {
				if t.Kind != types.Vector || t.Elems[0].Kind != types.Float {
					return "a float vector"
				}
				return ""
			},
			infer: vectorType,
			agree: func(kinds []*types.Type) string {
				if kinds[0].Dim != kinds[1].Dim {
					return "All arguments must have the same vector dimensions"
				}
				return ""
			},
			make: func([]*types.Type) *Function {
				return &Function{Result: types.FloatType, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
					a, b := floatsOf(args[0]), floatsOf(args[1])
					if name == "similarity_cosine" && (zeros(a) || zeros(b)) {
						return nil, e.Errorf("Function system.similarity_cosine doesn't support all-zero vectors.")
					}
					return types.AppendFloat(nil, f(a, b)), nil
				}}
			},
		})
	}
}

// vectorType is what an argument of a similarity is taken for: a list of literals for a vector of as many floats, a marker for what the other argument is.
func vectorType(c *compiler, args []cql.Expr, i int) *types.Type {
	if untypedTerm(args[i]) {
		i = 1 - i
	}
	if l, ok := args[i].(*cql.ListLiteral); ok && len(l.Elems) > 0 && len(l.Elems) <= types.MaxVectorDim {
		return types.NewVector(types.FloatType, len(l.Elems))
	}
	return c.ownType(args[i])
}

func floatsOf(v []byte) []float32 {
	out := make([]float32, 0, len(v)/4)
	for ; len(v) >= 4; v = v[4:] {
		out = append(out, types.Float32(v))
	}
	return out
}

func zeros(v []float32) bool {
	for _, f := range v {
		if f != 0 {
			return false
		}
	}
	return true
}

func dot(a, b []float32) (sum float32) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// cosine maps the cosine of the angle to 0 (opposite) … 1 (the same direction).
func cosine(a, b []float32) float32 {
	return (1 + float32(float64(dot(a, b))/math.Sqrt(float64(dot(a, a))*float64(dot(b, b))))) / 2
}

// euclidean maps the squared distance d to 1 / (1 + d).
func euclidean(a, b []float32) float32 {
	var d float32
	for i := range a {
		d += (a[i] - b[i]) * (a[i] - b[i])
	}
	return 1 / (1 + d)
}

func dotProduct(a, b []float32) float32 { return (1 + dot(a, b)) / 2 }

// randomFloatVector compiles random_float_vector(dimension, min, max): its type depends on the first argument, a literal.
func (c *compiler) randomFloatVector(e *cql.Call) (*Expr, error) {
	if len(e.Args) != 3 {
		return nil, at(e, "Invalid number of arguments for function system.random_float_vector(literal_int, float, float)")
	}
	k, ok := e.Args[0].(*cql.Constant)
	dim := 0
	if ok && k.Type == cql.Integer {
		if v, err := types.IntType.ParseText(k.Text); err == nil {
			dim = int(types.Int32(v))
		}
	}
	if dim < 1 || dim > types.MaxVectorDim {
		return nil, at(e.Args[0], "Function system.random_float_vector requires a literal_int argument, but found %s", cql.ColumnName(e.Args[0]))
	}
	x := &Expr{Op: OpCall, Type: types.NewVector(types.FloatType, dim), Name: "random_float_vector"}
	for _, a := range e.Args[1:] {
		arg, err := c.expr(a, types.FloatType, "arg(random_float_vector)")
		if err != nil {
			return nil, err
		}
		x.Args = append(x.Args, arg)
	}
	x.Func = &Function{Name: "random_float_vector", Result: x.Type, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
		low, high := types.Float32(args[0]), types.Float32(args[1])
		if low >= high {
			return nil, e.Errorf("Max value must be greater than min value")
		}
		return randomVector(dim, low, high), nil
	}}
	return x, nil
}
