package plan

import (
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
)

// factory is a function for arguments of any type of a family; it makes the Function for the types that it is called with.
type factory struct {
	name     string
	optional int      // how many of the parameters may be left out
	params   []string // as errors show them
	// check says what is wrong with argument i of type t: "" or a text such as "a map"; nil takes any.
	check func(i int, t *types.Type) string
	// want is the type that argument i is to be compiled as, given the first argument's type (nil while that isn't known); nil for its own type.
	want func(i int, first *types.Type) *types.Type
	// infer is want where the arguments' terms tell.
	infer func(c *compiler, args []cql.Expr, i int) *types.Type
	// agree says what is wrong with the arguments' types beside each other, "" for nothing; nil: never anything.
	agree func(kinds []*types.Type) string
	make  func(kinds []*types.Type) *Function
}

var factories = map[string]*factory{}

func registerFactory(f *factory) {
	factories[f.name] = f
	if old := strings.ReplaceAll(f.name, "_", ""); old != f.name && (f.name == "to_json" || f.name == "from_json") {
		factories[old] = f
	}
}

// signature is how errors show a factory.
func (f *factory) signature() string {
	var list []string
	for i, p := range f.params {
		if i >= len(f.params)-f.optional {
			p = "[" + p + "]"
		}
		list = append(list, p)
	}
	return "system." + f.name + "(" + strings.Join(list, ", ") + ")"
}

// fromFactory compiles a call of a function that takes a family of types.
func (c *compiler) fromFactory(e *cql.Call, f *factory) (*Expr, error) {
	if len(e.Args) > len(f.params) || len(e.Args) < len(f.params)-f.optional {
		return nil, at(e, "Invalid number of arguments for function %s", f.signature())
	}
	x := &Expr{Op: OpCall, Name: f.name}
	var kinds []*types.Type
	for i, a := range e.Args {
		var want, first *types.Type
		if i > 0 {
			first = kinds[0]
		}
		if f.want != nil {
			want = f.want(i, first)
		}
		if f.infer != nil {
			want = f.infer(c, e.Args, i)
		}
		if want == nil && untypedTerm(a) {
			return nil, at(a, "Cannot infer type of argument %s in call to function %s: use type casts to disambiguate", cql.ColumnName(a), f.signature())
		}
		arg, err := c.argument(a, want, f, i)
		if err != nil {
			return nil, err
		}
		if f.check != nil {
			if needed := f.check(i, arg.Type); needed != "" {
				return nil, at(a, "Function system.%s requires %s argument, but found argument %s of type %s", f.name, needed, cql.ColumnName(a), arg.Type)
			}
		}
		x.Args, kinds = append(x.Args, arg), append(kinds, arg.Type)
	}
	if f.agree != nil {
		if wrong := f.agree(kinds); wrong != "" {
			return nil, at(e, "%s", wrong)
		}
	}
	x.Func = f.make(kinds)
	x.Func.Name, x.Type = f.name, x.Func.Result
	return x, nil
}

// argument compiles an argument that should have a type, and says what it has instead.
func (c *compiler) argument(a cql.Expr, want *types.Type, f *factory, i int) (*Expr, error) {
	name := "arg" + string(rune('0'+i)) + "(system." + f.name + ")"
	if want == nil {
		return c.expr(a, nil, name)
	}
	x, err := c.expr(a, want, name)
	if err == nil {
		return x, nil
	}
	if own, ownErr := c.expr(a, nil, name); ownErr == nil {
		return nil, at(a, "Function system.%s requires an argument of type %s, but found argument %s of type %s", f.name, want, cql.ColumnName(a), own.Type)
	}
	return nil, err
}

// untypedTerm reports whether a term has no type of its own.
func untypedTerm(e cql.Expr) bool {
	switch e := e.(type) {
	case *cql.Marker:
		return true
	case *cql.Constant:
		return e.Type == cql.Null
	}
	return false
}

// isCollection reports whether a type is one of some kinds.
func kindOf(t *types.Type, kinds ...types.Kind) bool {
	for _, k := range kinds {
		if t.Kind == k {
			return true
		}
	}
	return false
}

func init() {
	registerFactory(&factory{name: "to_json", params: []string{"any"}, make: func(kinds []*types.Type) *Function {
		return &Function{Result: types.VarcharType, Nulls: true, Call: func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) {
			if t := kinds[0]; t.IsText() || t.Kind == types.Blob || len(args[0]) > 0 {
				return t.AppendJSON(nil, args[0]), nil
			}
			return []byte("null"), nil // Cassandra's functions take the empty value of an int for null
		}}
	}})
	collection := func(name, params, needed string, kinds []types.Kind, numbers bool, result func(*types.Type) *types.Type, call func(t *types.Type, v []byte) []byte) {
		registerFactory(&factory{
			name: name, params: []string{params},
			check: func(_ int, t *types.Type) string {
				if !kindOf(t, kinds...) || numbers && rank(t.Elems[0]) == 0 {
					return needed
				}
				return ""
			},
			make: func(args []*types.Type) *Function {
				t := args[0]
				return &Function{Result: result(t), Call: func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return call(t, args[0]), nil }}
			},
		})
	}
	lists := []types.Kind{types.List, types.Set}
	element := func(t *types.Type) *types.Type { return t.Elems[0] }
	collection("map_keys", "map", "a map", []types.Kind{types.Map}, false, func(t *types.Type) *types.Type { return types.NewSet(t.Elems[0], false) },
		func(t *types.Type, v []byte) []byte { return everySecond(t, v, 0) })
	collection("map_values", "map", "a map", []types.Kind{types.Map}, false, func(t *types.Type) *types.Type { return types.NewList(t.Elems[1], false) },
		func(t *types.Type, v []byte) []byte { return everySecond(t, v, 1) })
	collection("collection_count", "collection", "a collection", []types.Kind{types.List, types.Set, types.Map}, false, func(*types.Type) *types.Type { return types.IntType },
		func(_ *types.Type, v []byte) []byte { return types.AppendInt32(nil, int32(types.Count(v))) })
	for name, kind := range map[string]AggKind{"min": AggMin, "max": AggMax} {
		collection("collection_"+name, "numeric_set_or_list", "a set or list", lists, false, element, aggregated(kind))
	}
	for name, kind := range map[string]AggKind{"sum": AggSum, "avg": AggAvg} {
		collection("collection_"+name, "numeric_set_or_list", "a numeric set/list", lists, true, element, aggregated(kind))
	}
}

// everySecond gives a map's keys (0) or values (1) as a set or list.
func everySecond(t *types.Type, v []byte, which int) []byte {
	out := types.AppendCount(nil, types.Count(v))
	for it := t.Elements(v); it.Next(); {
		if it.Index()&1 == which {
			out = types.AppendElement(out, it.Value())
		}
	}
	return out
}

// aggregated computes an aggregate over a collection's elements.
func aggregated(kind AggKind) func(t *types.Type, v []byte) []byte {
	return func(t *types.Type, v []byte) []byte {
		arg := &Expr{Op: OpConst, Type: t.Elems[0]}
		var sum Accumulator
		sum.Reset(&Aggregate{Kind: kind, Arg: arg, Type: t.Elems[0]})
		for it := t.Elements(v); it.Next(); {
			arg.Value = it.Value()
			if err := sum.Add(&Env{}); err != nil { // a constant has no error
				return nil
			}
		}
		return sum.Result()
	}
}

// fromJSON compiles from_json(text): a value of the type that is expected where it stands.
func (c *compiler) fromJSON(e *cql.Call, want *types.Type) (*Expr, error) {
	switch {
	case c.inRow:
		return nil, at(e, "%s() cannot be used in the selection clause of a SELECT statement", e.Name.Name)
	case want == nil:
		return nil, at(e, "%s() can only be called if receiver type is known", e.Name.Name)
	case len(e.Args) != 1:
		return nil, at(e, "Invalid number of arguments in call to function system.%s: 1 required but %d provided", e.Name.Name, len(e.Args))
	}
	f := &Function{Name: "from_json", Args: []*types.Type{types.VarcharType}, Result: want, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
		v, err := want.FromJSON(args[0])
		if err != nil {
			return nil, e.Errorf("Error decoding JSON value for %s: %v", want, err)
		}
		return v, nil
	}}
	return c.overload(e, f)
}
