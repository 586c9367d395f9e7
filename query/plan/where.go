package plan

import (
	"slices"

	"nodedb/query/cql"
	"nodedb/query/schema"
)

// Where is what a statement's WHERE comes to: partitions (by their keys, or by a range of tokens), runs of clustering
// keys in them, and what has to be looked at row by row.
type Where struct {
	Table *schema.Table
	// Keys restricts each partition key column by = or IN; nil when the query goes over a range of tokens.
	Keys []*Relation
	// Tokens are the token() relations.
	Tokens []*Relation
	// Clustering restricts a prefix of the clustering columns: any number of = and IN, then at most one slice.
	Clustering []Restriction
	// Filters are applied to each row after replicas' answers are merged.
	Filters []*Relation
	// OnRows says that something restricts rows, not partitions: a partition that has nothing but statics is no answer
	// then.
	OnRows bool
}

// Restriction is one step along the clustering key: the relations on columns that begin at position From. Several only
// for a slice.
type Restriction struct {
	From      int
	Columns   []*schema.Column // of the widest relation
	Relations []*Relation
}

// Slice reports whether the restriction leaves a range rather than points.
func (r *Restriction) Slice() bool {
	return r.Relations[0].Op != cql.Eq && r.Relations[0].Op != cql.In
}

// analyse sorts the relations. filtering says that rows may be looked at one by one (ALLOW FILTERING).
func (c *compiler) analyse(list []*Relation, filtering bool) (*Where, error) {
	w := &Where{Table: c.table}
	a := &analysis{w: w, byColumn: map[*schema.Column][]*Relation{}, filtering: filtering}
	for _, r := range list {
		if err := a.sort(r); err != nil {
			return nil, err
		}
	}
	if err := a.partition(); err != nil {
		return nil, err
	}
	if err := a.clustering(); err != nil {
		return nil, err
	}
	if len(w.Filters) > 0 && !filtering && !c.table.Virtual {
		return nil, at(w.Filters[0].text, "%s (%s)", needFiltering, w.unserved())
	}
	if w.Keys == nil && len(w.Clustering) > 0 && !filtering && !c.table.Virtual {
		return nil, at(w.Clustering[0].Relations[0].text, "%s (without a restriction: %s of the PRIMARY KEY %s)", needFiltering, names(c.table.PartitionKey), keyText(c.table))
	}
	return w, nil
}

// unserved says why a restriction needs filtering.
func (w *Where) unserved() string {
	col := w.Filters[0].Columns[0]
	if w.Keys != nil || col.Kind == schema.Regular || col.Kind == schema.Static {
		return "the restriction on " + col.Name + " is not served by the PRIMARY KEY " + keyText(w.Table)
	}
	restricted := map[*schema.Column]bool{}
	for _, r := range w.Filters {
		restricted[r.Columns[0]] = true
	}
	var absent []*schema.Column
	for _, c := range w.Table.PartitionKey {
		if !restricted[c] {
			absent = append(absent, c)
		}
	}
	if len(absent) == 0 {
		return "only = and IN on " + col.Name + " are served by the PRIMARY KEY " + keyText(w.Table)
	}
	return "without a restriction: " + names(absent) + " of the PRIMARY KEY " + keyText(w.Table)
}

// analysis is one analyse under way.
type analysis struct {
	w         *Where
	byColumn  map[*schema.Column][]*Relation // plain relations on one key column
	tuples    []*Relation                    // multi-column relations
	filtering bool
}

func (a *analysis) sort(r *Relation) error {
	col := r.Columns[0]
	switch {
	case r.Token:
		if err := clash(a.w.Tokens, r, "partition key token"); err != nil {
			return err
		}
		a.w.Tokens = append(a.w.Tokens, r)
		return nil
	case col.Kind == schema.Clustering || col.Kind == schema.Regular:
		a.w.OnRows = true
	}
	onKey := col.Kind == schema.PartitionKey || col.Kind == schema.Clustering
	if r.plain() && r.Op <= cql.NotIn && col.Kind == schema.Clustering {
		if err := a.overlap(r); err != nil {
			return err
		}
	}
	switch {
	case len(r.Columns) > 1 || isTuple(r):
		a.tuples = append(a.tuples, r)
	case onKey && r.plain() && r.Op <= cql.NotIn && (col.Kind == schema.Clustering || !r.gap()):
		if err := clash(a.byColumn[col], r, col.Name); err != nil {
			return err
		}
		a.byColumn[col] = append(a.byColumn[col], r)
	default:
		if err := a.clashFilter(r); err != nil {
			return err
		}
		a.w.Filters = append(a.w.Filters, r)
	}
	return nil
}

// overlap refuses a relation on clustering columns that an earlier one restricts, too, unless both leave ranges that begin at the same column.
func (a *analysis) overlap(r *Relation) error {
	earlier := slices.Clone(a.tuples)
	for _, col := range r.Columns {
		earlier = append(earlier, a.byColumn[col]...)
	}
	for _, b := range earlier {
		common := slices.DeleteFunc(slices.Clone(r.Columns), func(col *schema.Column) bool { return !slices.Contains(b.Columns, col) })
		if len(common) == 0 {
			continue
		}
		if err := clash([]*Relation{b}, r, names(common)); err != nil {
			return err
		}
		if b.Columns[0] != r.Columns[0] {
			return at(r.text, "Column \"%s\" cannot be restricted by two inequalities not starting with the same column", names(common))
		}
	}
	return nil
}

// clashFilter refuses a second lower or upper bound on a column that keys don't serve, as clash does on one that they do.
func (a *analysis) clashFilter(r *Relation) error {
	for _, b := range a.w.Filters {
		if b.Columns[0] == r.Columns[0] && bound(b) && bound(r) && low(b.Op) == low(r.Op) {
			return clash([]*Relation{b}, r, r.Columns[0].Name)
		}
	}
	return nil
}

// bound reports whether a relation bounds a whole column from one side.
func bound(r *Relation) bool {
	return r.plain() && (r.Op == cql.Less || r.Op == cql.LessEq || r.Op == cql.Greater || r.Op == cql.GreaterEq)
}

// isTuple reports a multi-column relation on one column: (c) > (1).
func isTuple(r *Relation) bool {
	rel, ok := r.text.(*cql.Relation)
	return ok && rel.On == cql.OnTuple
}

// clash refuses a second relation that can't go with the ones before it.
func clash(before []*Relation, r *Relation, name string) error {
	for _, b := range before {
		for _, x := range []*Relation{b, r} {
			switch x.Op {
			case cql.Eq:
				return at(r.text, "%s cannot be restricted by more than one relation if it includes an Equal", name)
			case cql.In:
				return at(r.text, "%s cannot be restricted by more than one relation if it includes a IN", name)
			}
		}
		if !b.gap() && !r.gap() && low(b.Op) == low(r.Op) {
			return at(r.text, "More than one restriction was found for the %s bound on %s", map[bool]string{true: "start", false: "end"}[low(r.Op)], name)
		}
	}
	return nil
}

// gap reports whether a relation leaves all but single values: != and NOT IN.
func (r *Relation) gap() bool { return r.Op == cql.NotEq || r.Op == cql.NotIn }

func low(op cql.Operator) bool { return op == cql.Greater || op == cql.GreaterEq }

func (a *analysis) partition() error {
	w, keys := a.w, make([]*Relation, len(a.w.Table.PartitionKey))
	complete := true
	for i, col := range w.Table.PartitionKey {
		list := a.byColumn[col]
		if len(list) == 1 && (list[0].Op == cql.Eq || list[0].Op == cql.In) {
			keys[i] = list[0]
			continue
		}
		complete = false
		if len(list) > 0 && !a.filtering && !w.Table.Virtual {
			return at(list[0].text, "Only EQ and IN relation are supported on the partition key (unless you use the token() function or allow filtering)")
		}
	}
	if complete {
		w.Keys = keys
		return nil
	}
	for _, col := range w.Table.PartitionKey {
		w.Filters = append(w.Filters, a.byColumn[col]...)
	}
	return nil
}

func (a *analysis) clustering() error {
	w, position := a.w, 0
	used := map[*Relation]bool{}
	for position < len(w.Table.Clustering) {
		r, err := a.restriction(position)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		for _, rel := range r.Relations {
			used[rel] = true
		}
		w.Clustering = append(w.Clustering, *r)
		if r.Slice() {
			break
		}
		position += len(r.Columns)
	}
	return a.leftover(used, position)
}

// restriction gathers what begins at a clustering position; nil when nothing does.
func (a *analysis) restriction(position int) (*Restriction, error) {
	col := a.w.Table.Clustering[position]
	r := &Restriction{From: position}
	r.Relations = append(r.Relations, a.byColumn[col]...)
	for _, t := range a.tuples {
		if t.Columns[0] != col {
			continue
		}
		r.Relations = append(r.Relations, t)
	}
	if len(r.Relations) == 0 {
		return nil, nil
	}
	for _, rel := range r.Relations {
		if len(rel.Columns) > len(r.Columns) {
			r.Columns = rel.Columns
		}
	}
	return r, nil
}

// leftover makes filters of the clustering relations that the key's order doesn't serve.
func (a *analysis) leftover(used map[*Relation]bool, position int) error {
	w := a.w
	var rest []*Relation
	for _, col := range w.Table.Clustering {
		for _, r := range a.byColumn[col] {
			if !used[r] {
				rest = append(rest, r)
			}
		}
	}
	for _, r := range a.tuples {
		if !used[r] {
			rest = append(rest, r)
		}
	}
	for _, r := range rest {
		if a.filtering && isTuple(r) && r.Op >= cql.Less && r.Op <= cql.GreaterEq {
			return at(r.text, "Multi-column slice restrictions cannot be used for filtering.")
		}
	}
	if len(rest) == 0 || a.filtering || w.Table.Virtual {
		w.Filters = append(w.Filters, rest...)
		return nil
	}
	for _, r := range rest {
		col, before := r.Columns[0], w.Table.Clustering[position]
		if n := len(w.Clustering); n > 0 && w.Clustering[n-1].Slice() && col.Position > w.Clustering[n-1].From {
			return at(r.text, "Clustering column \"%s\" cannot be restricted (preceding column \"%s\" is restricted by a non-EQ relation)", col.Name, before.Name)
		}
		return at(r.text, "PRIMARY KEY column \"%s\" cannot be restricted as preceding column \"%s\" is not restricted", col.Name, before.Name)
	}
	return nil
}
