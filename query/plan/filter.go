package plan

import (
	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// Match reports whether the row in env satisfies all filters. A null column satisfies none, as in Cassandra.
func (w *Where) Match(env *Env) (bool, error) {
	for _, r := range w.Filters {
		ok, err := r.match(env)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// MatchAll applies every relation, those that keys serve too: for tables that are not read by key.
func (w *Where) MatchAll(env *Env) (bool, error) {
	for _, list := range [][]*Relation{w.Keys, w.Tokens} {
		for _, r := range list {
			if ok, err := r.match(env); !ok || err != nil {
				return false, err
			}
		}
	}
	for i := range w.Clustering {
		for _, r := range w.Clustering[i].Relations {
			if ok, err := r.match(env); !ok || err != nil {
				return false, err
			}
		}
	}
	return w.Match(env)
}

// Check evaluates what rows are compared with by the filters: what is null or unset is refused also where no row comes to be compared.
func (w *Where) Check(env *Env) error {
	for _, r := range w.Filters {
		if err := r.check(env); err != nil {
			return err
		}
	}
	return nil
}

func (r *Relation) check(env *Env) (err error) {
	if r.Key != nil {
		if _, err := value(env, r.Key, r.Columns[0]); err != nil {
			return err
		}
	}
	switch {
	case r.Token:
	case r.Op == cql.In || r.Op == cql.NotIn:
		_, err = r.allPoints(env)
	default:
		_, err = r.Operand.eval(env, r.Columns)
	}
	return err
}

func (r *Relation) match(env *Env) (bool, error) {
	if r.Token {
		return r.matchToken(env)
	}
	var fixed [4][]byte
	values := fixed[:0]
	for i, col := range r.Columns {
		v, err := r.part(env, col, env.Row.Value(r.Ordinals[i], col))
		if v == nil || err != nil {
			return false, err
		}
		values = append(values, v)
	}
	switch r.Op {
	case cql.In, cql.NotIn:
		points, err := r.allPoints(env)
		if err != nil {
			return false, err
		}
		for _, p := range points {
			if r.compare(values, p) == 0 {
				return r.Op == cql.In, nil
			}
		}
		return r.Op == cql.NotIn, nil
	case cql.Contains, cql.NotContains, cql.ContainsKey, cql.NotContainsKey:
		return r.contains(env, values[0])
	}
	want, err := r.Operand.eval(env, r.Columns)
	if err != nil {
		return false, err
	}
	return holds(r.Op, r.compare(values, want)), nil
}

// allPoints gives the values that an IN or NOT IN lists, or that of !=.
func (r *Relation) allPoints(env *Env) ([][][]byte, error) {
	in := *r
	if in.Op = cql.In; r.Op == cql.NotEq {
		in.Op = cql.Eq
	}
	return in.points(env)
}

func holds(op cql.Operator, c int) bool {
	switch op {
	case cql.Eq:
		return c == 0
	case cql.NotEq:
		return c != 0
	case cql.Less:
		return c < 0
	case cql.LessEq:
		return c <= 0
	case cql.Greater:
		return c > 0
	}
	return c >= 0
}

// typeOf is the type of what a relation compares in column i.
func (r *Relation) typeOf(i int) *types.Type {
	t := r.Columns[i].Type
	switch {
	case r.Key != nil:
		return t.Elems[1]
	case r.Field >= 0:
		return t.Elems[r.Field]
	}
	return t
}

func (r *Relation) compare(a, b [][]byte) int {
	for i := range r.Columns {
		if c := r.typeOf(i).Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// part takes the element or field that the relation is about out of a column's value.
func (r *Relation) part(env *Env, col *schema.Column, v []byte) ([]byte, error) {
	if v == nil || (r.Key == nil && r.Field < 0) {
		return v, nil
	}
	var key []byte
	if r.Key != nil {
		var err error
		if key, err = value(env, r.Key, col); err != nil {
			return nil, err
		}
	}
	for it := col.Type.Elements(v); it.Next(); {
		if r.Field >= 0 {
			if it.Index() == r.Field {
				return it.Value(), nil
			}
			continue
		}
		found := col.Type.Elems[0].Compare(it.Value(), key) == 0
		if it.Next(); found {
			return it.Value(), nil
		}
	}
	return nil, nil
}

func (r *Relation) contains(env *Env, v []byte) (bool, error) {
	col := r.Columns[0]
	want, err := value(env, r.Operand.Parts[0], col)
	if err != nil {
		return false, err
	}
	key := r.Op == cql.ContainsKey || r.Op == cql.NotContainsKey
	negative := r.Op == cql.NotContains || r.Op == cql.NotContainsKey
	for it := col.Type.Elements(v); it.Next(); {
		if col.Type.Kind == types.Map && (it.Index()%2 == 0) != key {
			continue
		}
		if it.Type().Compare(it.Value(), want) == 0 {
			return !negative, nil
		}
	}
	return negative, nil
}

func (r *Relation) matchToken(env *Env) (bool, error) {
	have, err := (&Expr{Op: OpToken}).token(env)
	if err != nil || have == nil {
		return false, err
	}
	want, err := r.Operand.Parts[0].Eval(env)
	if err != nil {
		return false, err
	}
	if want == nil || IsUnset(want) {
		return false, r.Operand.Parts[0].Errorf("Invalid null value for the partition key token")
	}
	return holds(r.Op, types.BigintType.Compare(have, want)), nil
}
