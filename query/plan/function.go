package plan

import (
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// Function is one overload of a built-in scalar function.
type Function struct {
	Name   string
	Args   []*types.Type // what each argument has to be; nil takes any type
	Result *types.Type   // nil: Infer
	Infer  func(args []*types.Type) *types.Type
	Nulls  bool // is called with nulls; otherwise a null argument gives null
	Call   func(env *Env, e *Expr, args [][]byte) ([]byte, error)
}

// functions is the registry, by lower-case name. Only init functions of this package add to it.
var functions = map[string][]*Function{}

func register(list ...*Function) {
	for _, f := range list {
		functions[f.Name] = append(functions[f.Name], f)
	}
}

// IsFunction reports whether there is a built-in function of that name, for completion.
func IsFunction(name string) bool {
	_, ok := functions[name]
	return ok
}

func (c *compiler) call(e *cql.Call, want *types.Type) (*Expr, error) {
	name := e.Name.Name
	if e.Name.Keyspace != "" && e.Name.Keyspace != "system" {
		return nil, at(e, "Unknown function '%s'", e.Name)
	}
	switch name {
	case "token":
		return c.tokenCall(e)
	case "writetime", "maxwritetime":
		col, err := c.cellOf(e)
		if err != nil {
			return nil, err
		}
		return c.perRow(&Expr{Op: OpWriteTime, Type: types.BigintType, Column: col, Name: name}), nil
	case "ttl":
		col, err := c.cellOf(e)
		if err != nil {
			return nil, err
		}
		return c.perRow(&Expr{Op: OpTTL, Type: types.IntType, Column: col, Name: name}), nil
	}
	if isAggregate(name) {
		return c.aggregate(e)
	}
	list, ok := functions[name]
	if !ok {
		return nil, at(e, "Unknown function '%s'%s", name, meant(name, functionNames()))
	}
	return c.resolve(e, list, want)
}

// resolve finds the overload that fits the arguments.
func (c *compiler) resolve(e *cql.Call, list []*Function, want *types.Type) (*Expr, error) {
	var firstErr error
	matched := list[:0:0]
	for _, f := range list {
		if len(f.Args) != len(e.Args) {
			continue
		}
		if want != nil && f.Result != nil && len(list) > 1 && !assignable(want, f.Result) && len(f.Args) == 0 {
			continue
		}
		matched = append(matched, f)
	}
	if len(matched) == 0 {
		return nil, at(e, "Invalid number of arguments in call to function %s: %d provided", e.Name.Name, len(e.Args))
	}
	// Arguments whose type is known by themselves choose; others (literals, markers) then take the overload's type.
	for _, f := range matched {
		x, err := c.tryOverload(e, f)
		if err == nil {
			return x, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	if len(matched) == 1 {
		return nil, firstErr
	}
	var kinds []string
	for _, a := range e.Args {
		kinds = append(kinds, c.describeArg(a))
	}
	return nil, at(e, "Invalid call to function %s, none of its type signatures match (known type signatures: %s)%s",
		e.Name.Name, signatures(matched), given(kinds))
}

func given(kinds []string) string { return "; given: (" + strings.Join(kinds, ", ") + ")" }

func (c *compiler) describeArg(a cql.Expr) string {
	x, err := c.expr(a, nil, "")
	if err != nil {
		return a.String()
	}
	return x.Type.String()
}

func signatures(list []*Function) string {
	var out []string
	for _, f := range list {
		var args []string
		for _, a := range f.Args {
			if a == nil {
				args = append(args, "any")
				continue
			}
			args = append(args, a.String())
		}
		out = append(out, f.Name+"("+strings.Join(args, ", ")+")")
	}
	return strings.Join(out, ", ")
}

func (c *compiler) tryOverload(e *cql.Call, f *Function) (*Expr, error) {
	x := &Expr{Op: OpCall, Type: f.Result, Func: f, Name: f.Name}
	var kinds []*types.Type
	for i, a := range e.Args {
		arg, err := c.expr(a, f.Args[i], "arg"+string(rune('0'+i))+"("+f.Name+")")
		if err != nil {
			return nil, err
		}
		x.Args, kinds = append(x.Args, arg), append(kinds, arg.Type)
	}
	if f.Infer != nil {
		if x.Type = f.Infer(kinds); x.Type == nil {
			return nil, at(e, "Invalid call to function %s with %s", f.Name, kinds)
		}
	}
	return x, nil
}

// tokenCall compiles token(…): of the row's own key (its columns, in order), or of values.
func (c *compiler) tokenCall(e *cql.Call) (*Expr, error) {
	x := &Expr{Op: OpToken, Type: types.BigintType, Name: "token"}
	if len(e.Args) != len(c.table.PartitionKey) {
		return nil, at(e, "Invalid number of arguments in call to function token: %d required but %d provided", len(c.table.PartitionKey), len(e.Args))
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
		arg, err := c.expr(a, c.table.PartitionKey[i].Type, "token")
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
