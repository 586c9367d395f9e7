package plan

import (
	"slices"

	"nodedb/node/row"
	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// Select is a planned SELECT.
type Select struct {
	Table *schema.Table
	Where *Where
	// Exprs are the result's values, in order. For SELECT JSON they are the document's members, by Names.
	Exprs []*Expr
	Names []string
	JSON  bool

	// Aggregates of the select list; nil when each row is a row of the result.
	Aggregates []*Aggregate
	// Grouped says that rows are folded: without GROUP BY all of them into one row.
	Grouped bool
	// GroupBy is how many key columns make up a group: 0 without GROUP BY, the partition key's columns first.
	GroupBy int

	Filtering    bool // ALLOW FILTERING was written
	Distinct     bool
	Reverse      bool
	Sort         []int // clustering positions to sort the rows of several partitions by; nil: leave them in the partitions' order
	Limit        *Expr // nil without
	PerPartition *Expr // nil without
	// UsesClustering says that a row's clustering values are looked at.
	UsesClustering bool
	UsesKey        bool
	// Counts says that of a partition's rows only their number matters: count(*), of partitions or of everything.
	Counts bool
	// Regulars are the columns of a select list that is nothing but regular columns, in its order; nil of any other.
	Regulars []row.ColumnID
}

func (c *compiler) selectStatement(st *cql.Select) (*Select, error) {
	if err := c.use(st.Table); err != nil {
		return nil, err
	}
	for _, o := range st.Options {
		return nil, at(o, "Unknown option '%s' of SELECT", o.Name)
	}
	s := &Select{Table: c.table, JSON: st.JSON, Distinct: st.Distinct, Filtering: st.AllowFiltering}
	if err := c.selection(st, s); err != nil {
		return nil, err
	}
	list, err := c.relations(st.Where)
	if err != nil {
		return nil, err
	}
	if s.Where, err = c.analyse(list, st.AllowFiltering); err != nil {
		return nil, err
	}
	for _, step := range []func(*cql.Select, *Select) error{c.onlyStatics, c.distinct, c.groupBy, c.orderBy, c.limits} {
		if err := step(st, s); err != nil {
			return nil, err
		}
	}
	c.finish(s)
	c.warnAggregate(s)
	return s, nil
}

// warnAggregate warns of aggregates that read more than one partition.
func (c *compiler) warnAggregate(s *Select) {
	if !s.Grouped {
		return
	}
	keys := slices.Concat(s.Where.Keys, s.Where.Tokens)
	for _, r := range s.Where.Filters {
		if r.Columns[0].Kind == schema.PartitionKey && len(s.Where.Tokens) == 0 {
			keys = append(keys, r)
		}
	}
	if len(keys) == 0 {
		c.plan.Warnings = append(c.plan.Warnings, "Aggregation query used without partition key")
	} else if slices.ContainsFunc(keys, func(r *Relation) bool { return r.Op == cql.In }) {
		c.plan.Warnings = append(c.plan.Warnings, "Aggregation query used on multiple partition keys (IN restriction)")
	}
}

// limitSpec is how drivers know these markers.
func (c *compiler) limits(st *cql.Select, s *Select) (err error) {
	if st.Limit != nil {
		if s.Limit, err = c.expr(st.Limit, types.IntType, "[limit]"); err != nil {
			return err
		}
	}
	if st.PerPartitionLimit == nil {
		return nil
	}
	if s.Distinct {
		return at(st.PerPartitionLimit, "PER PARTITION LIMIT is not allowed with SELECT DISTINCT queries")
	}
	if s.Grouped && s.GroupBy == 0 {
		return at(st.PerPartitionLimit, "PER PARTITION LIMIT is not allowed with aggregate queries.")
	}
	s.PerPartition, err = c.expr(st.PerPartitionLimit, types.IntType, "[per_partition_limit]")
	return err
}

func (c *compiler) selection(st *cql.Select, s *Select) error {
	if len(st.Selectors) == 0 {
		for i, col := range c.table.Columns {
			s.Exprs = append(s.Exprs, &Expr{Op: OpColumn, Type: col.Type, Index: i, Column: col, Name: col.Name})
			c.output(s, col.Name, col.Type)
		}
		if len(st.GroupBy) > 0 { // each group's first row
			s.Grouped, s.Exprs = true, nil
			c.aggregates, c.grouping, c.inRow = &s.Aggregates, true, true
			for i, col := range c.table.Columns {
				s.Exprs = append(s.Exprs, c.perRow(&Expr{Op: OpColumn, Type: col.Type, Index: i, Column: col, Name: col.Name}))
			}
			c.aggregates, c.grouping, c.inRow = nil, false, false
		}
		return c.jsonColumn(s)
	}
	c.inRow, c.aggregates = true, &s.Aggregates
	c.grouping = len(st.GroupBy) > 0
	for _, sel := range st.Selectors {
		c.grouping = c.grouping || hasAggregate(sel.Expr)
	}
	s.Grouped = c.grouping
	defer func() { c.inRow, c.aggregates, c.grouping = false, nil, false }()
	for _, sel := range st.Selectors {
		x, err := c.selector(sel)
		if err != nil {
			return err
		}
		name := sel.Alias
		if name == "" {
			name = cql.ColumnNameIn(c.table.Keyspace, c.idle, sel.Expr)
		}
		s.Exprs = append(s.Exprs, x)
		c.output(s, name, x.Type)
	}
	return c.jsonColumn(s)
}

// selector compiles one item of a select list.
func (c *compiler) selector(sel cql.Selector) (*Expr, error) {
	if !typed(sel.Expr) {
		return nil, at(sel.Expr, "Cannot infer type for term %s in selection clause (try using a cast to force a type)", cql.ColumnName(sel.Expr))
	}
	x, err := c.expr(sel.Expr, nil, "[selection]")
	if err != nil {
		return nil, err
	}
	holdNulls(x)
	return x, nil
}

// typed reports whether a term has a type of its own. Literals take theirs from where they stand, and (v) may be a tuple of one.
func typed(e cql.Expr) bool {
	switch e := e.(type) {
	case *cql.Constant, *cql.Marker, *cql.UDTLiteral:
		return false
	case *cql.ListLiteral:
		return slices.ContainsFunc(e.Elems, typed)
	case *cql.SetLiteral:
		return slices.ContainsFunc(e.Elems, typed)
	case *cql.TupleLiteral:
		return len(e.Elems) > 1 && !slices.ContainsFunc(e.Elems, func(e cql.Expr) bool { return !typed(e) })
	case *cql.MapLiteral:
		return slices.ContainsFunc(e.Entries, func(e cql.MapEntry) bool { return typed(e.Key) }) &&
			slices.ContainsFunc(e.Entries, func(e cql.MapEntry) bool { return typed(e.Value) })
	}
	return true
}

// holdNulls lets a collection that is selected by itself hold the nulls of a row: it isn't stored, and no function looks into it.
func holdNulls(x *Expr) {
	if x.Op == OpCollect {
		x.HoldsNulls = true
		for _, a := range x.Args {
			holdNulls(a)
		}
	}
}

func (c *compiler) output(s *Select, name string, t *types.Type) {
	s.Names = append(s.Names, name)
	c.plan.Columns = append(c.plan.Columns, ColumnSpec{Keyspace: c.table.Keyspace, Table: c.table.Name, Name: name, Type: t})
}

func (c *compiler) jsonColumn(s *Select) error {
	if s.JSON {
		c.plan.Columns = []ColumnSpec{{Keyspace: c.table.Keyspace, Table: c.table.Name, Name: "[json]", Type: types.VarcharType}}
	}
	return nil
}

// hasAggregate looks for a call of an aggregate anywhere in an expression.
func hasAggregate(e cql.Expr) bool {
	any := func(list ...cql.Expr) bool {
		for _, e := range list {
			if e != nil && hasAggregate(e) {
				return true
			}
		}
		return false
	}
	switch e := e.(type) {
	case *cql.Call:
		return (e.Name.Keyspace == "" || e.Name.Keyspace == "system") && isAggregate(e.Name.Name) || any(e.Args...)
	case *cql.Binary:
		return any(e.Left, e.Right)
	case *cql.Negate:
		return any(e.Value)
	case *cql.Cast:
		return any(e.Value)
	case *cql.TypeHint:
		return any(e.Value)
	case *cql.Element:
		return any(e.Of, e.Key)
	case *cql.Field:
		return any(e.Of)
	case *cql.Slice:
		return any(e.Of, e.From, e.To)
	case *cql.ListLiteral:
		return any(e.Elems...)
	case *cql.SetLiteral:
		return any(e.Elems...)
	case *cql.TupleLiteral:
		return any(e.Elems...)
	}
	return false
}

// eachColumn calls f for whatever is selected of a column: its value, its timestamp or its TTL.
func (s *Select) eachColumn(f func(x *Expr)) {
	var walk func(x *Expr)
	walk = func(x *Expr) {
		if x.Column != nil {
			f(x)
		}
		for _, a := range x.Args {
			walk(a)
		}
	}
	for _, x := range s.Exprs {
		walk(x)
	}
	for _, a := range s.Aggregates {
		if a.Arg != nil {
			walk(a.Arg)
		}
	}
}

// onlyStatics refuses to look for statics in rows: they belong to the partition.
func (c *compiler) onlyStatics(st *cql.Select, s *Select) error {
	statics, others := false, len(st.Selectors) == 0
	s.eachColumn(func(x *Expr) {
		statics = statics || x.Column.Kind == schema.Static
		others = others || x.Column.Kind == schema.Clustering || x.Column.Kind == schema.Regular
	})
	if !statics || others {
		return nil
	}
	for _, r := range st.Where {
		if len(r.Columns) == 0 {
			continue
		}
		if col, ok := c.table.Column(r.Columns[0].Name); ok && col.Kind == schema.Clustering {
			return at(r, "Cannot restrict clustering columns when selecting only static columns")
		}
	}
	return nil
}

func (c *compiler) distinct(st *cql.Select, s *Select) error {
	if !st.Distinct {
		return nil
	}
	selected := map[*schema.Column]bool{}
	var bad *Expr
	s.eachColumn(func(x *Expr) {
		selected[x.Column] = true
		if x.Column.Kind == schema.Clustering || x.Column.Kind == schema.Regular {
			bad = x
		}
	})
	if bad != nil {
		place := cql.Node(bad.at)
		if bad.at.Line == 0 {
			place = st // of SELECT *
		}
		return at(place, "SELECT DISTINCT queries must only request partition key columns and/or static columns (not %s)", bad.Column.Name)
	}
	if s.Where.OnRows {
		return at(st.Where[0], "SELECT DISTINCT with WHERE clause only supports restriction by partition key and/or static columns.")
	}
	if HasAggregates(s.Aggregates) {
		return nil
	}
	for _, col := range s.Table.PartitionKey {
		if !selected[col] {
			return at(st, "SELECT DISTINCT queries must request all the partition key columns (missing %s)", col.Name)
		}
	}
	return nil
}

// groupBy checks that the columns are a prefix of the primary key; those restricted to one value may be left out.
func (c *compiler) groupBy(st *cql.Select, s *Select) error {
	key := append(append([]*schema.Column{}, s.Table.PartitionKey...), s.Table.Clustering...)
	next := 0
	for _, g := range st.GroupBy {
		ref, ok := g.(*cql.Column)
		if !ok {
			return at(g, "GROUP BY %s: only columns can be grouped by in this release", g)
		}
		col, err := c.column(ref.Ident)
		if err != nil {
			return err
		}
		if col.Kind != schema.PartitionKey && col.Kind != schema.Clustering {
			return at(g, "Group by is currently only supported on the columns of the PRIMARY KEY, got %s; it is %s", col.Name, keyText(s.Table))
		}
		for next < len(key) && key[next] != col && s.Where.fixed(key[next]) {
			next++
		}
		if next == len(key) || key[next] != col {
			return at(g, "Group by currently only support groups of columns following their declared order in the PRIMARY KEY %s", keyText(s.Table))
		}
		next++
	}
	if len(st.GroupBy) > 0 && next < len(s.Table.PartitionKey) {
		for next < len(s.Table.PartitionKey) && s.Where.fixed(key[next]) {
			next++
		}
		if next < len(s.Table.PartitionKey) {
			return at(st.GroupBy[len(st.GroupBy)-1], "Group by is not supported on only a part of the partition key (%s)", names(s.Table.PartitionKey))
		}
	}
	if s.Distinct && next > len(s.Table.PartitionKey) {
		return at(st, "Grouping on clustering columns is not allowed for SELECT DISTINCT queries")
	}
	s.GroupBy = next
	return nil
}

// fixed reports whether a key column is restricted to one value.
func (w *Where) fixed(col *schema.Column) bool {
	for _, r := range w.Keys {
		if r.Columns[0] == col {
			return r.Op == cql.Eq
		}
	}
	for i := range w.Clustering {
		r := &w.Clustering[i]
		for _, o := range r.Columns {
			if o == col {
				return r.Relations[0].Op == cql.Eq
			}
		}
	}
	return false
}

func (c *compiler) orderBy(st *cql.Select, s *Select) error {
	if len(st.OrderBy) == 0 {
		return nil
	}
	switch {
	case s.Where.Keys != nil || s.Table.Virtual:
	case s.Distinct:
		return at(st.OrderBy[0].Column, "ORDER BY is not allowed with SELECT DISTINCT queries")
	default:
		return at(st.OrderBy[0].Column, "ORDER BY is only supported when the partition key is restricted by an EQ or an IN.")
	}
	next, first := 0, true
	for _, o := range st.OrderBy {
		if o.ANN != nil {
			return at(o.Column, "ANN ordering needs a vector index, which comes with a later release")
		}
		col, err := c.column(o.Column)
		if err != nil {
			return err
		}
		if col.Kind != schema.Clustering {
			return at(o.Column, "Order by is currently only supported on the clustered columns of the PRIMARY KEY, got %s; it is %s", col.Name, keyText(s.Table))
		}
		for next < col.Position && s.Where.fixed(s.Table.Clustering[next]) {
			next++
		}
		if next != col.Position {
			return at(o.Column, "Order by currently only supports the ordering of columns following their declared order in the PRIMARY KEY %s", keyText(s.Table))
		}
		next++
		reverse := o.Desc != col.Desc
		if !first && reverse != s.Reverse {
			return at(o.Column, "Unsupported order by relation: the order is that of the table (CLUSTERING ORDER BY) or its reverse in all columns")
		}
		s.Reverse, first = reverse, false
		s.Sort = append(s.Sort, col.Position)
	}
	if s.Where.onePartition() {
		s.Sort = nil
	} else if s.Distinct { // the rows of several partitions are sorted by what the result doesn't have
		return at(st.OrderBy[0].Column, "SELECT DISTINCT queries must only request partition key columns and/or static columns (not %s)", st.OrderBy[0].Column.Name)
	}
	return nil
}

// onePartition reports whether the statement names exactly one partition by =.
func (w *Where) onePartition() bool {
	for _, r := range w.Keys {
		if r.Op != cql.Eq {
			return false
		}
	}
	return w.Keys != nil
}

// OneRow reports whether the statement names one row of a table by its whole primary key, all by =.
func (s *Select) OneRow() bool {
	if s.Table.Virtual || !s.Where.onePartition() || s.Where.restricted() != len(s.Table.Clustering) {
		return false
	}
	for i := range s.Where.Clustering {
		if s.Where.Clustering[i].Relations[0].Op != cql.Eq {
			return false
		}
	}
	return true
}

// finish notes what a run needs to look at, and the routing key.
func (c *compiler) finish(s *Select) {
	s.eachColumn(func(x *Expr) {
		s.UsesClustering = s.UsesClustering || x.Column.Kind == schema.Clustering
		s.UsesKey = s.UsesKey || x.Column.Kind == schema.PartitionKey
	})
	for _, r := range s.Where.Filters {
		for _, col := range r.Columns {
			s.UsesClustering = s.UsesClustering || col.Kind == schema.Clustering
			s.UsesKey = s.UsesKey || col.Kind == schema.PartitionKey
		}
	}
	s.UsesClustering = s.UsesClustering || s.Sort != nil
	s.Counts = s.onlyCounts()
	s.Regulars = s.onlyRegulars()
	c.plan.PartitionKey = routing(s.Where)
}

func (s *Select) onlyRegulars() (columns []row.ColumnID) {
	if s.JSON || s.Grouped || s.Distinct {
		return nil
	}
	for _, x := range s.Exprs {
		if x.Op != OpColumn || x.Column.Kind != schema.Regular {
			return nil
		}
		columns = append(columns, x.Column.ID)
	}
	return columns
}

// onlyCounts reports whether nothing is asked of rows but how many there are. Groups that are sorted are, by their first rows.
func (s *Select) onlyCounts() bool {
	if !s.Grouped || s.Distinct || s.PerPartition != nil || s.Sort != nil || len(s.Where.Filters) > 0 || s.GroupBy > len(s.Table.PartitionKey) || s.Table.Virtual {
		return false
	}
	for _, a := range s.Aggregates {
		if a.Kind != AggCountRows && a.Kind != AggFirst {
			return false
		}
	}
	only := true
	s.eachColumn(func(x *Expr) { only = only && (x.Column.Kind == schema.PartitionKey || x.Column.Kind == schema.Static) })
	return only
}

// routing gives the markers that are the partition key: of each column the last that it is compared with, so that of IN (?, ?) drivers take one partition.
// nil: a column has none.
func routing(w *Where) []uint16 {
	var out []uint16
	for _, col := range w.Table.PartitionKey {
		last := -1
		for _, r := range slices.Concat(w.Keys, w.Filters) {
			if r.Columns[0] != col || !r.plain() || r.Op >= cql.Contains {
				continue
			}
			for _, o := range slices.Concat(r.List, []Operand{r.Operand}) {
				if len(o.Parts) == 1 && o.Parts[0].Op == OpMarker {
					last = max(last, o.Parts[0].Index)
				}
			}
		}
		if last < 0 {
			return nil
		}
		out = append(out, uint16(last))
	}
	return out
}
