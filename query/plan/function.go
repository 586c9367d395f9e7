package plan

import (
	"slices"
	"strconv"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// Function is one overload of a built-in scalar function.
type Function struct {
	Name   string
	Args   []*types.Type // what each argument has to be
	Result *types.Type
	Nulls  bool // is called with nulls; otherwise a null argument gives null
	Call   func(env *Env, e *Expr, args [][]byte) ([]byte, error)
}

// apart are the functions that the compiler knows by name.
var apart = []string{"token", "writetime", "maxwritetime", "ttl", "from_json", "random_float_vector"}

// functions is the registry, by lower-case name. Only init functions of this package add to it.
var functions = map[string][]*Function{}

func register(list ...*Function) {
	for _, f := range list {
		functions[f.Name] = append(functions[f.Name], f)
	}
}

// IsFunction reports whether there is a built-in function of that name, for completion.
func IsFunction(name string) bool {
	_, plain := functions[name]
	_, made := factories[name]
	return plain || made || slices.Contains(apart, name)
}

func (c *compiler) call(e *cql.Call, want *types.Type) (*Expr, error) {
	name := e.Name.Name
	if e.Name.Keyspace != "" && e.Name.Keyspace != "system" {
		return nil, at(e, "Unknown function '%s'", e.Name)
	}
	switch name {
	case "token":
		return c.tokenCall(e)
	case "writetime", "maxwritetime", "ttl":
		return c.cellCall(e)
	}
	if isAggregate(name) {
		return c.aggregate(e)
	}
	switch name {
	case "from_json", "fromjson":
		return c.fromJSON(e, want)
	case "random_float_vector":
		return c.randomFloatVector(e)
	}
	if f, ok := factories[name]; ok {
		return c.fromFactory(e, f)
	}
	list, ok := functions[name]
	if !ok {
		return nil, at(e, "Unknown function '%s'%s", name, meant(name, functionNames()))
	}
	return c.resolve(e, list)
}

// fit says how well a term suits a parameter's type.
type fit uint8

const (
	unfit fit = iota
	fits      // it can be taken for it
	exact     // it is of that type
)

// suits says how a term suits a type, as Cassandra's testAssignment.
func (c *compiler) suits(a cql.Expr, t *types.Type) fit {
	switch a := a.(type) {
	case *cql.Marker:
		return fits
	case *cql.Constant:
		return constantSuits(a, t)
	}
	defer c.attempt()()
	if own := c.ownType(a); own != nil && t.Equal(own) {
		return exact
	}
	if _, err := c.expr(a, t, ""); err != nil {
		return unfit
	}
	return fits
}

// attempt begins to compile something only to see whether it can be: what it gives forgets the aggregates that were found.
func (c *compiler) attempt() (forget func()) {
	if c.aggregates == nil {
		return func() {}
	}
	before := len(*c.aggregates)
	return func() { *c.aggregates = (*c.aggregates)[:before] }
}

// ownType is the type of a term by itself; nil where it has none, or is wrong.
func (c *compiler) ownType(e cql.Expr) *types.Type {
	defer c.attempt()()
	x, err := c.expr(e, nil, "")
	if err != nil {
		return nil
	}
	return x.Type
}

func constantSuits(k *cql.Constant, t *types.Type) fit {
	if k.Type == cql.Null {
		if t.Kind == types.Counter {
			return unfit
		}
		return fits
	}
	if own := preferred(k); own.Equal(t) {
		return exact
	}
	if slices.Contains(accepts[t.Kind], k.Type) {
		return fits
	}
	return unfit
}

// resolve finds the overload that fits the arguments: the one of exactly their types, else the only one that can take them.
func (c *compiler) resolve(e *cql.Call, list []*Function) (*Expr, error) {
	if len(list) == 1 {
		if len(list[0].Args) != len(e.Args) {
			return nil, at(e, "Invalid number of arguments in call to function system.%s: %d required but %d provided", list[0].Name, len(list[0].Args), len(e.Args))
		}
		return c.overload(e, list[0])
	}
	var compatible []*Function
	for _, f := range list {
		switch c.suitsAll(e.Args, f) {
		case exact:
			return c.overload(e, f)
		case fits:
			compatible = append(compatible, f)
		}
	}
	switch len(compatible) {
	case 0:
		return nil, at(e, "Invalid call to function %s, none of its type signatures match (known type signatures: %s)", e.Name.Name, signatures(list))
	case 1:
		return c.overload(e, compatible[0])
	}
	return nil, at(e, "Ambiguous call to function %s (can be matched by following signatures: %s): use type casts to disambiguate", e.Name.Name, signatures(compatible))
}

// suitsAll is how the worst argument suits its parameter.
func (c *compiler) suitsAll(args []cql.Expr, f *Function) fit {
	if len(args) != len(f.Args) {
		return unfit
	}
	worst := exact
	for i, a := range args {
		worst = min(worst, c.suits(a, f.Args[i]))
	}
	return worst
}

func signatures(list []*Function) string {
	var out []string
	for _, f := range list {
		var args []string
		for _, a := range f.Args {
			args = append(args, a.String())
		}
		out = append(out, "system."+f.Name+" : ("+strings.Join(args, ", ")+") -> "+f.Result.String())
	}
	return strings.Join(out, ", ")
}

// overload compiles a call of one function.
func (c *compiler) overload(e *cql.Call, f *Function) (*Expr, error) {
	x := &Expr{Op: OpCall, Type: f.Result, Func: f, Name: f.Name}
	for i, a := range e.Args {
		if c.suits(a, f.Args[i]) == unfit {
			return nil, at(a, "Type error: %s cannot be passed as argument %d of function system.%s of type %s", cql.ColumnName(a), i, f.Name, f.Args[i])
		}
		arg, err := c.expr(a, f.Args[i], "arg"+string(rune('0'+i))+"(system."+f.Name+")")
		if err != nil {
			return nil, err
		}
		x.Args = append(x.Args, arg)
	}
	return x, nil
}

// tokenCall compiles token(…): of the row's own key (its columns, in order), or of values.
func (c *compiler) tokenCall(e *cql.Call) (*Expr, error) {
	x := &Expr{Op: OpToken, Type: types.BigintType, Name: "token"}
	if len(e.Args) != len(c.table.PartitionKey) {
		return nil, at(e, "Invalid number of arguments in call to function system.token: %d required but %d provided", len(c.table.PartitionKey), len(e.Args))
	}
	own := c.inRow
	for i, a := range e.Args {
		ref, ok := a.(*cql.Column)
		own = own && ok && ref.Name == c.table.PartitionKey[i].Name
	}
	if own {
		return c.perRow(x), nil
	}
	for i, a := range e.Args {
		t := c.table.PartitionKey[i].Type
		if c.suits(a, t) == unfit {
			return nil, at(a, "Type error: %s cannot be passed as argument %d of function system.token of type %s", cql.ColumnName(a), i, t)
		}
		arg, err := c.expr(a, t, "arg"+strconv.Itoa(i)+"(system.token)")
		if err != nil {
			return nil, err
		}
		x.Args = append(x.Args, arg)
	}
	x.Value = nil
	x.Func = &Function{Name: "token", Call: func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return nil, nil }}
	table := c.table
	x.Func.Call = func(_ *Env, x *Expr, args [][]byte) ([]byte, error) {
		key, err := table.AppendPartitionKey(nil, args)
		if err != nil {
			return nil, x.Errorf("%v", err)
		}
		return types.AppendInt64(nil, int64(vnodes.PartitionToken(key))), nil
	}
	return x, nil
}

func (e *Expr) token(env *Env) ([]byte, error) {
	if e.Func != nil {
		return e.call(env)
	}
	if env.Row.Values != nil { // a system table has no partitioned storage; its key is hashed all the same
		values := env.Row.Values[:len(env.Row.Table.PartitionKey)]
		key, err := env.Row.Table.AppendPartitionKey(nil, values)
		if err != nil {
			return nil, nil
		}
		return types.AppendInt64(nil, int64(vnodes.PartitionToken(key))), nil
	}
	return types.AppendInt64(nil, int64(env.Row.Token)), nil
}
