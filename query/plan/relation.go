package plan

import (
	"strings"

	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

const needFiltering = "Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. " +
	"If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING"

// Operand is the right side of a relation: one value for each of its columns. Whole is a tuple that has them all.
type Operand struct {
	Parts []*Expr
	Whole *Expr
}

// Relation is one compiled term of WHERE.
type Relation struct {
	Columns  []*schema.Column
	Ordinals []int // their numbers in the table
	Op       cql.Operator
	Operand  Operand
	List     []Operand // IN (…)
	ListOf   *Expr     // IN ?: a list of values or tuples
	Key      *Expr     // column[key] = …
	Field    int       // of column.field = …; -1
	Token    bool

	text cql.Node
}

// plain says that it restricts whole columns.
func (r *Relation) plain() bool { return r.Key == nil && r.Field < 0 && !r.Token }

// relations compiles WHERE. BETWEEN becomes two relations.
func (c *compiler) relations(list []cql.Relation) ([]*Relation, error) {
	var out []*Relation
	for i := range list {
		r := &list[i]
		if r.Op == cql.Between {
			for j, op := range []cql.Operator{cql.GreaterEq, cql.LessEq} {
				half := *r
				half.Op, half.Value, half.Values = op, r.Values[j], nil
				rel, err := c.relation(&half)
				if err != nil {
					return nil, err
				}
				out = append(out, rel)
			}
			continue
		}
		rel, err := c.relation(r)
		if err != nil {
			return nil, err
		}
		out = append(out, rel)
	}
	return out, nil
}

func (c *compiler) relation(r *cql.Relation) (*Relation, error) {
	rel := &Relation{Op: r.Op, Field: -1, text: r}
	for _, id := range r.Columns {
		col, err := c.column(id)
		if err != nil {
			return nil, err
		}
		rel.Columns, rel.Ordinals = append(rel.Columns, col), append(rel.Ordinals, c.ordinal[col])
	}
	switch r.On {
	case cql.OnToken:
		return rel, c.tokenRelation(r, rel)
	case cql.OnTuple:
		return rel, c.tupleRelation(r, rel)
	case cql.OnElement, cql.OnField:
		return rel, c.partRelation(r, rel)
	}
	return rel, c.columnRelation(r, rel)
}

func (c *compiler) columnRelation(r *cql.Relation, rel *Relation) error {
	col := rel.Columns[0]
	switch r.Op {
	case cql.Like, cql.NotLike:
		return at(r, "LIKE restriction is only supported on properly indexed columns. %s LIKE %s is not valid.", col.Name, r.Value)
	case cql.IsNotNull:
		return at(r, "Unsupported restriction: %s IS NOT NULL", col.Name)
	case cql.NotBetween:
		return at(r, "Unsupported restriction: %s NOT BETWEEN", col.Name)
	case cql.Contains, cql.NotContains, cql.ContainsKey, cql.NotContainsKey:
		return c.contains(r, rel, col)
	}
	if col.Type.IsMultiCell() && col.Type.Kind == types.UDT {
		return at(r, "Non-frozen UDT column '%s' (%s) cannot be restricted by any relation", col.Name, col.Type)
	}
	if col.Type.IsMultiCell() {
		return at(r, "Collection column '%s' (%s) cannot be restricted by a '%s' relation", col.Name, col.Type, r.Op)
	}
	if col.Type.Kind == types.Duration && r.Op >= cql.Less && r.Op <= cql.GreaterEq {
		return at(r, "Slice restrictions are not supported on duration columns")
	}
	return c.operand(r, rel, col.Type, col.Name)
}

// operand compiles the right side of a relation on one value of type t.
func (c *compiler) operand(r *cql.Relation, rel *Relation, t *types.Type, name string) (err error) {
	if r.Op != cql.In && r.Op != cql.NotIn {
		rel.Operand, err = c.one(r.Value, t, name)
		return err
	}
	if r.Value != nil {
		rel.ListOf, err = c.expr(r.Value, types.NewList(t, true), "in("+name+")")
		return err
	}
	rel.List = make([]Operand, len(r.Values))
	for i, v := range r.Values {
		if rel.List[i], err = c.one(v, t, name); err != nil {
			return err
		}
	}
	rel.single()
	return nil
}

// single makes = of an IN of one value.
func (r *Relation) single() {
	if r.Op == cql.In && len(r.List) == 1 {
		r.Op, r.Operand, r.List = cql.Eq, r.List[0], nil
	}
}

func (c *compiler) one(e cql.Expr, t *types.Type, name string) (Operand, error) {
	x, err := c.expr(e, t, name)
	return Operand{Parts: []*Expr{x}}, err
}

func (c *compiler) contains(r *cql.Relation, rel *Relation, col *schema.Column) error {
	if !col.Type.IsCollection() {
		return at(r, "Cannot use %s on non-collection column %s", r.Op, col.Name)
	}
	t := col.Type.Elems[len(col.Type.Elems)-1]
	if r.Op == cql.ContainsKey || r.Op == cql.NotContainsKey {
		if col.Type.Kind != types.Map {
			return at(r, "Cannot use %s on non-map column %s", r.Op, col.Name)
		}
		t = col.Type.Elems[0]
		return c.operand(r, rel, t, "key("+col.Name+")")
	}
	return c.operand(r, rel, t, "value("+col.Name+")")
}

func (c *compiler) partRelation(r *cql.Relation, rel *Relation) (err error) {
	col := rel.Columns[0]
	if r.On == cql.OnField {
		if col.Type.Kind != types.UDT {
			return at(r, "Invalid field restriction: %s of type %s is not a user type", col.Name, col.Type)
		}
		for i, f := range col.Type.Fields {
			if f == r.Field.Name {
				rel.Field = i
				return c.operand(r, rel, col.Type.Elems[i], col.Name+"."+f)
			}
		}
		return at(r.Field, "%s of type %s has no field %s; its fields are %s", col.Name, col.Type, r.Field.Name, strings.Join(col.Type.Fields, ", "))
	}
	if col.Type.Kind != types.Map {
		return at(r, "Column '%s' of type %s cannot be restricted by an element: only maps can", col.Name, col.Type)
	}
	switch {
	case r.Op != cql.Eq && r.Op != cql.NotEq:
		return at(r, "Only EQ relations are supported on map entries")
	case !col.Type.IsMultiCell():
		return at(r, "Map-entry equality predicates on frozen map column %s are not supported", col.Name)
	}
	if rel.Key, err = c.expr(r.Key, col.Type.Elems[0], "key("+col.Name+")"); err != nil {
		return err
	}
	return c.operand(r, rel, col.Type.Elems[1], "value("+col.Name+")")
}

func (c *compiler) tokenRelation(r *cql.Relation, rel *Relation) error {
	rel.Token = true
	if len(rel.Columns) != len(c.table.PartitionKey) {
		return at(r, "The token() function must be applied to all partition key components or none of them")
	}
	for i, col := range rel.Columns {
		if col.Kind != schema.PartitionKey {
			return at(r, "The token() function can only be applied to the partition key, not to %s", col.Name)
		}
		if col.Position != i {
			return at(r, "The token function arguments must be in the partition key order: %s", names(c.table.PartitionKey))
		}
	}
	if r.Op > cql.GreaterEq || r.Op == cql.NotEq {
		return at(r, "%s cannot be used with the token function", r.Op)
	}
	return c.operand(r, rel, types.BigintType, "partition key token")
}

func names(columns []*schema.Column) string {
	var list []string
	for _, col := range columns {
		list = append(list, col.Name)
	}
	return strings.Join(list, ", ")
}

func (c *compiler) tupleRelation(r *cql.Relation, rel *Relation) (err error) {
	for i, col := range rel.Columns {
		if col.Kind != schema.Clustering {
			return at(r.Columns[i], "Multi-column relations can only be applied to clustering columns but was applied to: %s", col.Name)
		}
		if i > 0 && col.Position != rel.Columns[i-1].Position+1 {
			return at(r, "Clustering columns must appear in the PRIMARY KEY order in multi-column relations: (%s)", names(rel.Columns))
		}
	}
	if r.Op > cql.NotIn {
		return at(r, "%s cannot be used for multi-column relations", r.Op)
	}
	var fields []*types.Type
	for _, col := range rel.Columns {
		fields = append(fields, col.Type)
	}
	tuple, name := types.NewTuple(fields...), "("+strings.ReplaceAll(names(rel.Columns), ", ", ",")+")"
	if r.Op != cql.In && r.Op != cql.NotIn {
		rel.Operand, err = c.tuple(r.Value, rel, tuple, name)
		return err
	}
	if r.Value != nil {
		rel.ListOf, err = c.expr(r.Value, types.NewList(tuple, true), "in"+name)
		return err
	}
	rel.List = make([]Operand, len(r.Values))
	for i, v := range r.Values {
		if rel.List[i], err = c.tuple(v, rel, tuple, name); err != nil {
			return err
		}
	}
	rel.single()
	return nil
}

// tuple compiles (a, b) part by part, or one expression that gives the tuple.
func (c *compiler) tuple(e cql.Expr, rel *Relation, t *types.Type, name string) (o Operand, err error) {
	lit, ok := e.(*cql.TupleLiteral)
	if !ok {
		o.Whole, err = c.expr(e, t, name)
		return o, err
	}
	if len(lit.Elems) != len(rel.Columns) {
		return o, at(e, "Expected %d elements in value tuple, but got %d: %s", len(rel.Columns), len(lit.Elems), lit)
	}
	o.Parts = make([]*Expr, len(lit.Elems))
	for i, el := range lit.Elems {
		if o.Parts[i], err = c.expr(el, rel.Columns[i].Type, rel.Columns[i].Name); err != nil {
			return o, err
		}
	}
	return o, nil
}
