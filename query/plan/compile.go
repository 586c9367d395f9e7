package plan

import (
	"fmt"
	"slices"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
)

// constantNames are what errors call literals, by cql.ConstantKind.
var constantNames = [...]string{"NULL", "STRING", "INTEGER", "FLOAT", "BOOLEAN", "UUID", "HEX", "DURATION"}

// accepts lists, for each scalar type, the literals that may stand for it.
var accepts = map[types.Kind][]cql.ConstantKind{
	types.Ascii: {cql.String}, types.Varchar: {cql.String}, types.Inet: {cql.String}, types.Custom: {cql.String, cql.Blob},
	types.Date: {cql.String, cql.Integer}, types.Time: {cql.String, cql.Integer}, types.Timestamp: {cql.String, cql.Integer},
	types.Tinyint: {cql.Integer}, types.Smallint: {cql.Integer}, types.Int: {cql.Integer}, types.Bigint: {cql.Integer}, types.Counter: {cql.Integer},
	types.Varint: {cql.Integer}, types.Decimal: {cql.Integer, cql.Float}, types.Float: {cql.Integer, cql.Float}, types.Double: {cql.Integer, cql.Float},
	types.Boolean: {cql.Boolean}, types.UUID: {cql.UUID}, types.Timeuuid: {cql.UUID}, types.Blob: {cql.Blob}, types.Duration: {cql.Duration},
}

// expr compiles an expression. want is the type it should have, nil to take what it is; name is what it is the value
// of, for errors and markers.
func (c *compiler) expr(e cql.Expr, want *types.Type, name string) (*Expr, error) {
	x, err := c.untyped(e, want, name)
	if err != nil {
		return nil, err
	}
	if x.at.Line == 0 {
		x.at = e.Position()
	}
	return x, nil
}

func (c *compiler) untyped(e cql.Expr, want *types.Type, name string) (*Expr, error) {
	if c.depth++; c.depth > MaxDepth {
		return nil, at(e, "Expression is nested deeper than %d levels", MaxDepth)
	}
	defer func() { c.depth-- }()
	switch e := e.(type) {
	case *cql.Constant:
		return c.constant(e, want, name)
	case *cql.Marker:
		if want == nil {
			return nil, at(e, "Cannot infer type for term %s: give it one, as in (int)?", e)
		}
		about := c.bind(e, name, want)
		return &Expr{Op: OpMarker, Type: want, Index: e.Index, Name: name, about: about}, nil
	case *cql.TypeHint:
		return c.typeHint(e, want, name)
	case *cql.ListLiteral, *cql.SetLiteral, *cql.MapLiteral, *cql.TupleLiteral, *cql.UDTLiteral:
		return c.literal(e, want, name)
	}
	x, err := c.computed(e, want, name)
	if err != nil {
		return nil, err
	}
	if want != nil && !assignable(want, x.Type) {
		if call, ok := e.(*cql.Call); ok {
			return nil, at(e, "Type error: cannot assign result of function system.%s (type %s) to %s (type %s)", call.Name.Name, x.Type, name, want)
		}
		return nil, at(e, "Type error: cannot assign result of %s (type %s) to %s (type %s)", e, x.Type, name, want)
	}
	return x, nil
}

// computed compiles what has a type of its own. want is a hint only.
func (c *compiler) computed(e cql.Expr, want *types.Type, name string) (*Expr, error) {
	switch e := e.(type) {
	case *cql.Call:
		return c.call(e, want)
	case *cql.Binary:
		return c.binary(e, want)
	case *cql.Negate:
		return c.negate(e, want)
	case *cql.Cast:
		return c.cast(e)
	case *cql.Column:
		return c.columnRef(e)
	case *cql.Element:
		return c.elementRef(e)
	case *cql.Field:
		return c.fieldRef(e)
	case *cql.Slice:
		return c.sliceRef(e)
	}
	return nil, at(e, "%s cannot stand here", e)
}

// assignable reports whether a value of type got may go where want is expected: the bytes are taken as they are.
func assignable(want, got *types.Type) bool {
	if want.Equal(got) || thawed(want).Equal(thawed(got)) {
		return true
	}
	switch want.Kind {
	case types.Varchar:
		return got.Kind == types.Ascii
	case types.UUID:
		return got.Kind == types.Timeuuid
	case types.Bigint:
		return got.Kind == types.Counter || got.Kind == types.Timestamp
	case types.Counter, types.Time, types.Timestamp:
		return got.Kind == types.Bigint
	case types.Date:
		return got.Kind == types.Int
	case types.Varint:
		return got.Kind == types.Int || got.Kind == types.Bigint || got.Kind == types.Timestamp
	case types.Blob:
		return true
	}
	return false
}

// thawed is the type without frozen, at every depth: the bytes are the same.
func thawed(t *types.Type) *types.Type {
	if len(t.Elems) == 0 {
		return t
	}
	n := *t
	n.Frozen = false
	n.Elems = make([]*types.Type, len(t.Elems))
	for i, e := range t.Elems {
		n.Elems[i] = thawed(e)
	}
	return &n
}

func (c *compiler) constant(e *cql.Constant, want *types.Type, name string) (*Expr, error) {
	if want == nil {
		if want = preferred(e); want == nil {
			return nil, at(e, "Cannot infer type for term %s: give it one, as in (int) null", e)
		}
	}
	x := &Expr{Op: OpConst, Type: want, Name: name}
	if e.Type == cql.Null {
		return x, nil
	}
	ok := false
	for _, k := range accepts[want.Kind] {
		ok = ok || k == e.Type
	}
	if !ok {
		return nil, at(e, "Invalid %s constant (%s) for \"%s\" of type %s%s", constantNames[e.Type], shorten(e.Text), name, want, expected(want))
	}
	v, err := want.ParseText(e.Text)
	if err != nil {
		return nil, at(e, "Invalid %s constant (%s) for \"%s\" of type %s: %v", constantNames[e.Type], shorten(e.Text), name, want, err)
	}
	x.Value = notNil(v)
	return x, nil
}

// examples show how literals of a type are written; the others have the name of their kind.
var examples = map[types.Kind]string{
	types.Ascii: "'text'", types.Varchar: "'text'", types.Inet: "'127.0.0.1'", types.Date: "'2024-02-29'", types.Time: "'23:59:59'",
	types.Timestamp: "'2024-02-29T23:59:59Z'", types.UUID: "123e4567-e89b-12d3-a456-426614174000", types.Boolean: "true",
	types.Timeuuid: "123e4567-e89b-12d3-a456-426614174000", types.Blob: "0xcafe", types.Duration: "1h30m", types.List: "[…]", types.Set: "{…}",
	types.Map: "{key: value}", types.Tuple: "(…)", types.UDT: "{field: value}", types.Vector: "[…]",
	types.Int: "1", types.Tinyint: "1", types.Smallint: "1", types.Bigint: "1", types.Varint: "1", types.Float: "1.5", types.Double: "1.5", types.Decimal: "1.5",
}

// expected says how a literal of a type is written.
func expected(t *types.Type) string {
	if e, ok := examples[t.Kind]; ok {
		return "; expected a literal such as " + e
	}
	return ""
}

// maxShown is how many bytes of a literal an error shows.
const maxShown = 200

func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

// preferred is the type of a literal where nothing else tells: the narrowest of int, bigint and varint that holds an
// integer.
func preferred(e *cql.Constant) *types.Type {
	switch e.Type {
	case cql.String:
		if types.AsciiType.Validate([]byte(e.Text)) == nil {
			return types.AsciiType
		}
		return types.VarcharType
	case cql.Integer:
		for _, t := range []*types.Type{types.IntType, types.BigintType} {
			if _, err := t.ParseText(e.Text); err == nil {
				return t
			}
		}
		return types.VarintType
	case cql.Float:
		return types.DoubleType
	case cql.Boolean:
		return types.BooleanType
	case cql.UUID:
		return types.UUIDType
	case cql.Blob:
		return types.BlobType
	case cql.Duration:
		return types.DurationType
	}
	return nil
}

// typeName resolves a type as written.
func (c *compiler) typeName(n *cql.TypeName) (*types.Type, error) {
	t, err := types.Parse(n.String(), func(ks, name string) (*types.Type, error) {
		if ks == "" {
			if ks = c.keyspace; c.table != nil {
				ks = c.table.Keyspace
			}
		}
		if k, ok := c.schema.Keyspace(ks); ok {
			if t, ok := k.Types[name]; ok {
				return t, nil
			}
		}
		return nil, fmt.Errorf("Unknown type %s", name)
	})
	if err != nil {
		return nil, at(n, "%v", err)
	}
	return t, nil
}

func (c *compiler) typeHint(e *cql.TypeHint, want *types.Type, name string) (*Expr, error) {
	t, err := c.typeName(e.Type)
	if err != nil {
		return nil, err
	}
	if want != nil && !assignable(want, t) {
		return nil, at(e, "Cannot assign value %s to %s of type %s", shorten(e.String()), name, want)
	}
	if want != nil {
		t = want
	}
	return c.expr(e.Value, t, name)
}

// literal compiles a collection, tuple, user type or vector literal.
func (c *compiler) literal(e cql.Expr, want *types.Type, name string) (*Expr, error) {
	if want == nil {
		var err error
		if want, err = c.inferLiteral(e); err != nil {
			return nil, err
		}
	}
	if t, ok := e.(*cql.TupleLiteral); ok && c.inRow && len(t.Elems) == 1 && want.Kind != types.Tuple {
		return c.expr(t.Elems[0], want, name) // in parentheses
	}
	x := &Expr{Op: OpCollect, Type: want, Name: name}
	var err error
	switch lit := e.(type) {
	case *cql.ListLiteral:
		err = c.listLiteral(x, lit)
	case *cql.SetLiteral:
		err = c.setLiteral(x, lit)
	case *cql.MapLiteral:
		err = c.mapLiteral(x, lit)
	case *cql.TupleLiteral:
		err = c.tupleLiteral(x, lit)
	case *cql.UDTLiteral:
		err = c.udtLiteral(x, lit)
	}
	if err != nil {
		return nil, err
	}
	return c.fold(x)
}

// fold evaluates a collection whose parts are all constants once and for all.
func (c *compiler) fold(x *Expr) (*Expr, error) {
	for _, a := range x.Args {
		if !a.Constant() {
			return x, nil
		}
	}
	v, err := x.collect(&Env{})
	if err != nil {
		return nil, err
	}
	return &Expr{Op: OpConst, Type: x.Type, Value: v, Name: x.Name}, nil
}

// inferLiteral finds the type of a literal where nothing else tells: from the first element that has a type of its own, else from the first.
func (c *compiler) inferLiteral(e cql.Expr) (*types.Type, error) {
	first := func(elems []cql.Expr) (*types.Type, error) {
		i := max(slices.IndexFunc(elems, typed), 0)
		x, err := c.expr(elems[i], nil, "")
		if err != nil {
			return nil, err
		}
		return x.Type, nil
	}
	switch lit := e.(type) {
	case *cql.ListLiteral:
		if len(lit.Elems) > 0 {
			t, err := first(lit.Elems)
			if err != nil {
				return nil, err
			}
			return types.NewList(t, true), nil
		}
	case *cql.SetLiteral:
		if len(lit.Elems) > 0 {
			t, err := first(lit.Elems)
			if err != nil {
				return nil, err
			}
			return types.NewSet(t, true), nil
		}
	case *cql.MapLiteral:
		var keys, values []cql.Expr
		for _, e := range lit.Entries {
			keys, values = append(keys, e.Key), append(values, e.Value)
		}
		k, err := first(keys)
		if err != nil {
			return nil, err
		}
		v, err := first(values)
		if err != nil {
			return nil, err
		}
		return types.NewMap(k, v, true), nil
	case *cql.TupleLiteral:
		var fields []*types.Type
		for i := range lit.Elems {
			t, err := first(lit.Elems[i : i+1])
			if err != nil {
				return nil, err
			}
			fields = append(fields, t)
		}
		return types.NewTuple(fields...), nil
	}
	return nil, at(e, "Cannot infer type for term %s: give it one, as in (list<int>) []", e)
}

func wrongLiteral(e cql.Expr, what string, x *Expr) error {
	return at(e, "Invalid %s literal for %s of type %s%s", what, x.Name, x.Type, expected(x.Type))
}

func (c *compiler) parts(x *Expr, elems []cql.Expr, t *types.Type) error {
	for _, el := range elems {
		a, err := c.expr(el, t, "value("+x.Name+")")
		if err != nil {
			return err
		}
		x.Args = append(x.Args, a)
	}
	return nil
}

func (c *compiler) listLiteral(x *Expr, lit *cql.ListLiteral) error {
	switch {
	case x.Type.Kind == types.Vector && len(lit.Elems) != x.Type.Dim:
		return at(lit, "Invalid vector literal for %s of type %s: expected %d elements, but got %d", x.Name, x.Type, x.Type.Dim, len(lit.Elems))
	case x.Type.Kind != types.List && x.Type.Kind != types.Vector:
		return wrongLiteral(lit, "list", x)
	}
	return c.parts(x, lit.Elems, x.Type.Elems[0])
}

func (c *compiler) setLiteral(x *Expr, lit *cql.SetLiteral) error {
	if len(lit.Elems) == 0 && x.Type.Kind == types.Map {
		return nil
	}
	if x.Type.Kind != types.Set {
		return wrongLiteral(lit, "set", x)
	}
	return c.parts(x, lit.Elems, x.Type.Elems[0])
}

func (c *compiler) mapLiteral(x *Expr, lit *cql.MapLiteral) error {
	if x.Type.Kind != types.Map {
		return wrongLiteral(lit, "map", x)
	}
	for _, en := range lit.Entries {
		k, err := c.expr(en.Key, x.Type.Elems[0], "key("+x.Name+")")
		if err != nil {
			return err
		}
		v, err := c.expr(en.Value, x.Type.Elems[1], "value("+x.Name+")")
		if err != nil {
			return err
		}
		x.Args = append(x.Args, k, v)
	}
	return nil
}

func (c *compiler) tupleLiteral(x *Expr, lit *cql.TupleLiteral) error {
	if x.Type.Kind != types.Tuple {
		return wrongLiteral(lit, "tuple", x)
	}
	if len(lit.Elems) > len(x.Type.Elems) {
		return at(lit, "Invalid tuple literal for %s: too many elements. Type %s expects %d but got %d", x.Name, x.Type, len(x.Type.Elems), len(lit.Elems))
	}
	for i, el := range lit.Elems {
		a, err := c.expr(el, x.Type.Elems[i], fmt.Sprintf("%s[%d]", x.Name, i))
		if err != nil {
			return err
		}
		x.Args = append(x.Args, a)
	}
	return nil
}

func (c *compiler) udtLiteral(x *Expr, lit *cql.UDTLiteral) error {
	if x.Type.Kind != types.UDT {
		return wrongLiteral(lit, "user type", x)
	}
	given := map[string]cql.Expr{}
	for _, f := range lit.Fields {
		given[f.Name.Name] = f.Value
	}
	for i, name := range x.Type.Fields {
		v, ok := given[name]
		delete(given, name)
		if !ok {
			x.Args = append(x.Args, &Expr{Op: OpConst, Type: x.Type.Elems[i]})
			continue
		}
		a, err := c.expr(v, x.Type.Elems[i], x.Name+"."+name)
		if err != nil {
			return err
		}
		x.Args = append(x.Args, a)
	}
	for _, f := range lit.Fields {
		if _, unknown := given[f.Name.Name]; unknown {
			return at(f.Name, "Unknown field '%s' in value of user defined type %s; its fields are %s", f.Name.Name, x.Type, strings.Join(x.Type.Fields, ", "))
		}
	}
	return nil
}

func (c *compiler) columnRef(e *cql.Column) (*Expr, error) {
	if !c.inRow {
		return nil, at(e, "Column %s cannot stand here: a value is expected", e.Name)
	}
	col, err := c.column(e.Ident)
	if err != nil {
		return nil, err
	}
	return c.perRow(&Expr{Op: OpColumn, Type: col.Type, Index: c.ordinal[col], Column: col, Name: col.Name}), nil
}

// perRow wraps what is read of a row: where rows are aggregated, outside of the aggregates it means the group's first
// row.
func (c *compiler) perRow(x *Expr) *Expr {
	if c.aggregates == nil || c.inside || !c.grouping {
		return x
	}
	*c.aggregates = append(*c.aggregates, &Aggregate{Kind: AggFirst, Arg: x, Type: x.Type})
	return &Expr{Op: OpAggregate, Type: x.Type, Index: len(*c.aggregates) - 1, Name: x.Name}
}

func (c *compiler) elementRef(e *cql.Element) (*Expr, error) {
	of, err := c.expr(e.Of, nil, "")
	if err != nil {
		return nil, err
	}
	if of.Type.Kind != types.Map && of.Type.Kind != types.Set {
		return nil, at(e, "Invalid element selection: %s is of type %s is not a map or set", e.Of, of.Type)
	}
	key, err := c.expr(e.Key, of.Type.Elems[0], "key("+of.Name+")")
	if err != nil {
		return nil, err
	}
	t := of.Type.Elems[len(of.Type.Elems)-1]
	return &Expr{Op: OpElement, Type: t, Args: []*Expr{of, key}, Name: of.Name}, nil
}

func (c *compiler) fieldRef(e *cql.Field) (*Expr, error) {
	of, err := c.expr(e.Of, nil, "")
	if err != nil {
		return nil, err
	}
	if of.Type.Kind != types.UDT {
		return nil, at(e, "Invalid field selection: %s of type %s is not a user type", e.Of, of.Type)
	}
	for i, f := range of.Type.Fields {
		if f == e.Name.Name {
			return &Expr{Op: OpField, Type: of.Type.Elems[i], Index: i, Args: []*Expr{of}, Name: f}, nil
		}
	}
	return nil, at(e.Name, "%s of type %s has no field %s; its fields are %s", e.Of, of.Type, e.Name.Name, strings.Join(of.Type.Fields, ", "))
}
