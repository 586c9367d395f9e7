package plan

import (
	"strings"

	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// CellOp says what an assignment does to its column. They are combined with Cells by the executor.
type CellOp uint8

const (
	CellSet       CellOp = iota // the whole value; null deletes it
	CellAppend                  // elements added to a collection
	CellPrepend                 // elements put before a list's
	CellRemove                  // elements taken out of a set (by value), a map (by key)
	CellPut                     // one element of a map: Key, Value
	CellDelete                  // the whole column
	CellDeleteKey               // one element of a map or set: Key
	CellField                   // one field of a user type: Field, Value
	CellPutAt                   // one element of a list: Key is its index, Value
	CellDeleteAt                // one element of a list: Key is its index
	CellDiscard                 // elements taken out of a list, by value
)

// MaxListReads bounds how many assignments and deletions of one statement look into lists: each goes over a whole list.
const MaxListReads = 256

// Reads reports whether the list's elements have to be known first.
func (o CellOp) Reads() bool { return o >= CellPutAt }

// Cell is one assignment or deletion of a write.
type Cell struct {
	Column *schema.Column
	Op     CellOp
	Key    *Expr
	Field  int
	Value  *Expr
}

// Write is a planned INSERT, UPDATE or DELETE.
type Write struct {
	Table *schema.Table
	Where *Where
	// Cells of regular columns, Statics of static ones.
	Cells, Statics []Cell
	// ListReads counts the cells that change elements of a list by index or by value: the rows are read first.
	ListReads int
	// Marker says that the row's liveness is written (INSERT).
	Marker bool
	// Remove is what a DELETE without targets removes.
	Remove    Removal
	TTL       *Expr // nil without
	Timestamp *Expr // nil without
	// JSON is INSERT JSON's document; its members are the columns.
	JSON         *Expr
	DefaultUnset bool
}

// Plain reports a write of one partition whose rows, if it names any, are one: what it costs is bounded by the size of its values.
func (w *Write) Plain() bool {
	if w.JSON != nil || w.ListReads > 0 {
		return false // its keys are in the document; it reads before it writes
	}
	for _, r := range w.Where.Keys {
		if r.Op != cql.Eq {
			return false
		}
	}
	for i := range w.Where.Clustering {
		for _, r := range w.Where.Clustering[i].Relations {
			if r.Op == cql.In {
				return false
			}
		}
	}
	return true
}

// Removal is what a DELETE without targets removes.
type Removal uint8

const (
	RemoveNothing   Removal = iota
	RemovePartition         // no clustering restriction
	RemoveRows              // all clustering columns are restricted by = or IN
	RemoveRange             // a prefix or a slice of the clustering key
)

const conditionsLater = "Conditional statements (IF) come with a later release of nodedb; write without a condition"

func (c *compiler) target(n cql.Name) error {
	if err := c.use(n); err != nil {
		return err
	}
	if c.table.IsCounter() {
		return at(n, "Counters come with a later release of nodedb: table %s.%s cannot be written yet", c.table.Keyspace, c.table.Name)
	}
	return c.writable(n)
}

func (c *compiler) using(u cql.Using, w *Write) (err error) {
	if u.Timestamp != nil {
		if w.Timestamp, err = c.expr(u.Timestamp, types.BigintType, "[timestamp]"); err != nil {
			return err
		}
	}
	if u.TTL != nil {
		w.TTL, err = c.expr(u.TTL, types.IntType, "[ttl]")
	}
	return err
}

func (c *compiler) insert(st *cql.Insert) (*Write, error) {
	if err := c.target(st.Table); err != nil {
		return nil, err
	}
	if st.IfNotExists {
		return nil, at(st, conditionsLater)
	}
	w := &Write{Table: c.table, Marker: true, DefaultUnset: st.DefaultUnset}
	if err := c.using(st.Using, w); err != nil {
		return nil, err
	}
	if st.JSON != nil {
		return c.insertJSON(st, w)
	}
	if len(st.Columns) != len(st.Values) {
		return nil, at(st.ValuesAt, "Unmatched column names/values: %d column(s), %d value(s)", len(st.Columns), len(st.Values))
	}
	seen := map[*schema.Column]bool{}
	var keys []*Relation
	for i, id := range st.Columns {
		col, err := c.column(id)
		if err != nil {
			return nil, err
		}
		if seen[col] {
			return nil, at(id, "The column names contains duplicates: %s", col.Name)
		}
		seen[col] = true
		v, err := c.expr(st.Values[i], col.Type, col.Name)
		if err != nil {
			return nil, err
		}
		switch col.Kind {
		case schema.PartitionKey, schema.Clustering:
			keys = append(keys, &Relation{Columns: []*schema.Column{col}, Op: cql.Eq, Operand: Operand{Parts: []*Expr{v}}, Field: -1, text: id})
		case schema.Static:
			w.Statics = append(w.Statics, Cell{Column: col, Value: v})
		default:
			w.Cells = append(w.Cells, Cell{Column: col, Value: v})
		}
	}
	return w, c.insertKeys(w, keys, st.Columns[0])
}

// insertKeys takes the key columns of an INSERT: all of them, or only the partition key where nothing but statics is
// written.
func (c *compiler) insertKeys(w *Write, keys []*Relation, place cql.Node) (err error) {
	if w.Where, err = c.analyse(keys, true); err != nil {
		return err
	}
	if err := w.checkPartition(place); err != nil {
		return err
	}
	given := len(w.Where.Clustering)
	onlyStatics := given == 0 && len(w.Where.Filters) == 0 && len(w.Statics) > 0 && len(w.Cells) == 0
	if given < len(w.Table.Clustering) && !onlyStatics {
		return w.missingKeys(place, w.missing())
	}
	if onlyStatics && len(w.Table.Clustering) > 0 {
		w.Marker = false
	}
	c.plan.PartitionKey = routing(w.Where)
	return nil
}

// missing lists the clustering columns without a restriction.
func (w *Write) missing() (out []*schema.Column) {
	restricted := map[*schema.Column]bool{}
	for i := range w.Where.Clustering {
		for _, col := range w.Where.Clustering[i].Columns {
			restricted[col] = true
		}
	}
	for _, r := range w.Where.Filters {
		for _, col := range r.Columns {
			restricted[col] = true
		}
	}
	for _, col := range w.Table.Clustering {
		if !restricted[col] {
			out = append(out, col)
		}
	}
	return out
}

func (w *Write) checkPartition(place cql.Node) error {
	if w.Where.Keys != nil {
		return nil
	}
	given := map[*schema.Column]bool{}
	for _, r := range w.Where.Filters {
		given[r.Columns[0]] = true
	}
	var absent []*schema.Column
	for _, col := range w.Table.PartitionKey {
		if !given[col] {
			absent = append(absent, col)
		}
	}
	if len(absent) == 0 {
		return at(place, "Only EQ and IN relation are supported on the partition key (unless you use the token() function) for UPDATE and DELETE statements")
	}
	return at(place, "Some partition key parts are missing: %s; the PRIMARY KEY of %s.%s is %s", names(absent), w.Table.Keyspace, w.Table.Name, keyText(w.Table))
}

func (w *Write) missingKeys(place cql.Node, absent []*schema.Column) error {
	return at(place, "Some clustering keys are missing: %s; the PRIMARY KEY of %s.%s is %s", names(absent), w.Table.Keyspace, w.Table.Name, keyText(w.Table))
}

func (c *compiler) insertJSON(st *cql.Insert, w *Write) (_ *Write, err error) {
	w.JSON, err = c.expr(st.JSON, types.VarcharType, "[json]")
	return w, err
}

func (c *compiler) update(st *cql.Update) (*Write, error) {
	if err := c.target(st.Table); err != nil {
		return nil, err
	}
	if len(st.If) > 0 {
		return nil, at(st.If[0], conditionsLater)
	}
	if st.IfExists {
		return nil, at(st, conditionsLater)
	}
	w := &Write{Table: c.table}
	if err := c.using(st.Using, w); err != nil {
		return nil, err
	}
	for i := range st.Set {
		if err := c.assignment(&st.Set[i], w); err != nil {
			return nil, err
		}
	}
	if err := c.modified(st.Where, w, "UPDATE"); err != nil {
		return nil, err
	}
	if n := len(w.Where.Clustering); n > 0 && w.Where.Clustering[n-1].Slice() {
		return nil, at(w.Where.Clustering[n-1].Relations[0].text, "Slice restrictions are not supported on the clustering columns in UPDATE statements")
	}
	if missing := w.missing(); len(missing) > 0 && len(w.Cells) > 0 {
		return nil, w.missingKeys(st.Where[0], missing)
	}
	return w, nil
}

// modified compiles the WHERE of UPDATE and DELETE: keys only.
func (c *compiler) modified(where []cql.Relation, w *Write, kind string) error {
	list, err := c.relations(where)
	if err != nil {
		return err
	}
	for _, r := range list {
		switch {
		case r.Token:
			return at(r.text, "The token function cannot be used in WHERE clauses for %s statements", kind)
		case r.Columns[0].Kind == schema.Static || r.Columns[0].Kind == schema.Regular:
			return at(r.text, "Non PRIMARY KEY columns found in where clause: %s", r.Columns[0].Name)
		case r.Op > cql.In || r.Op == cql.NotEq:
			return at(r.text, "%s is not supported in the WHERE clause of %s statements", r.Op, kind)
		}
	}
	if w.Where, err = c.analyse(list, true); err != nil {
		return err
	}
	if err := w.checkPartition(where[0]); err != nil {
		return err
	}
	if len(w.Statics) > 0 && len(w.Cells) == 0 && (len(w.Where.Clustering) > 0 || len(w.Where.Filters) > 0) {
		return at(where[0], "Invalid restrictions on clustering columns since the %s statement modifies only static columns", kind)
	}
	if len(w.Where.Filters) > 0 {
		r := w.Where.Filters[0]
		if missing := w.missing(); len(missing) > 0 && missing[0].Position < r.Columns[0].Position {
			return at(r.text, "PRIMARY KEY column \"%s\" cannot be restricted as preceding column \"%s\" is not restricted", r.Columns[0].Name, missing[0].Name)
		}
		return at(r.text, "PRIMARY KEY column \"%s\" cannot be restricted (preceding column is restricted by a non-EQ relation)", r.Columns[0].Name)
	}
	c.plan.PartitionKey = routing(w.Where)
	return nil
}

// notKey finds a column that a statement sets or deletes.
func (c *compiler) notKey(id cql.Ident, what string) (*schema.Column, error) {
	col, err := c.column(id)
	if err != nil {
		return nil, err
	}
	if col.Kind == schema.PartitionKey || col.Kind == schema.Clustering {
		return nil, at(id, "PRIMARY KEY part %s found in %s part", col.Name, what)
	}
	return col, nil
}

// put adds a cell where its column belongs.
func (w *Write) put(cell Cell, id cql.Ident) error {
	list := &w.Cells
	if cell.Column.Kind == schema.Static {
		list = &w.Statics
	}
	if cell.Op.Reads() {
		if w.ListReads++; w.ListReads > MaxListReads {
			return at(id, "The statement looks into lists more than %d times: set the lists as a whole, or send several statements", MaxListReads)
		}
	}
	*list = append(*list, cell)
	return nil
}

func (c *compiler) assignment(a *cql.Assignment, w *Write) (err error) {
	col, err := c.notKey(a.Column, "SET")
	if err != nil {
		return err
	}
	cell := Cell{Column: col}
	switch {
	case a.Key != nil:
		err = c.elementAssignment(a, &cell)
	case a.Field != nil:
		err = c.fieldAssignment(a, &cell)
	case a.Op == cql.Assign:
		cell.Value, err = c.expr(a.Value, col.Type, col.Name)
	default:
		err = c.combination(a, &cell)
	}
	if err != nil {
		return err
	}
	return w.put(cell, a.Column)
}

func (c *compiler) elementAssignment(a *cql.Assignment, cell *Cell) (err error) {
	col := cell.Column
	switch {
	case !col.Type.IsMultiCell():
		return at(a, "Invalid operation (%s[%s] = %s) for frozen or non collection column %s", col.Name, a.Key, a.Value, col.Name)
	case col.Type.Kind != types.Map && col.Type.Kind != types.List:
		return at(a, "Invalid operation (%s[%s] = %s) for column %s of type %s", col.Name, a.Key, a.Value, col.Name, col.Type)
	}
	cell.Op = CellPut
	if col.Type.Kind == types.List {
		cell.Op = CellPutAt
	}
	if err := c.elementKey(a.Key, cell); err != nil {
		return err
	}
	cell.Value, err = c.expr(a.Value, col.Type.Elems[len(col.Type.Elems)-1], "value("+col.Name+")")
	return err
}

// elementKey compiles what names an element of a collection: a map's key, a set's value, a list's index.
func (c *compiler) elementKey(key cql.Expr, cell *Cell) (err error) {
	t, name := cell.Column.Type.Elems[0], "key"
	switch cell.Column.Type.Kind {
	case types.List:
		t, name = types.IntType, "idx"
	case types.Set:
		name = "value"
	}
	cell.Key, err = c.expr(key, t, name+"("+cell.Column.Name+")")
	return err
}

func (c *compiler) fieldAssignment(a *cql.Assignment, cell *Cell) (err error) {
	cell.Op = CellField
	if cell.Field, err = c.userField(cell.Column, *a.Field); err != nil {
		return err
	}
	cell.Value, err = c.expr(a.Value, cell.Column.Type.Elems[cell.Field], cell.Column.Name+"."+a.Field.Name)
	return err
}

func (c *compiler) userField(col *schema.Column, f cql.Ident) (int, error) {
	if col.Type.Kind != types.UDT || !col.Type.IsMultiCell() {
		return 0, at(f, "Invalid operation on field %s of column %s: it is of type %s, not a non-frozen user type", f.Name, col.Name, col.Type)
	}
	for i, name := range col.Type.Fields {
		if name == f.Name {
			return i, nil
		}
	}
	return 0, at(f, "UDT column %s does not have a field named %s; its fields are %s", col.Name, f.Name, strings.Join(col.Type.Fields, ", "))
}

// combination is c = c + v, c = v + c and c = c - v.
func (c *compiler) combination(a *cql.Assignment, cell *Cell) (err error) {
	col, t := cell.Column, cell.Column.Type
	if !t.IsCollection() {
		return at(a, "Invalid operation (%s = %s %s %s) for non counter column %s", col.Name, col.Name, map[cql.AssignOp]string{cql.Subtract: "-"}[a.Op]+
			map[cql.AssignOp]string{cql.Append: "+", cql.Prepend: "+"}[a.Op], a.Value, col.Name)
	}
	if !t.IsMultiCell() {
		return at(a, "Invalid operation on frozen collection column %s: assign the whole value", col.Name)
	}
	want := t
	switch {
	case a.Op == cql.Prepend && t.Kind != types.List:
		return at(a, "Invalid operation (%s = %s + %s) for non list column %s", col.Name, a.Value, col.Name, col.Name)
	case a.Op == cql.Subtract && t.Kind == types.List:
		cell.Op = CellDiscard
	case a.Op == cql.Subtract && t.Kind == types.Map:
		cell.Op, want = CellRemove, types.NewSet(t.Elems[0], false)
	case a.Op == cql.Subtract:
		cell.Op = CellRemove
	case a.Op == cql.Prepend:
		cell.Op = CellPrepend
	default:
		cell.Op = CellAppend
	}
	cell.Value, err = c.expr(a.Value, want, col.Name)
	return err
}

func (c *compiler) delete(st *cql.Delete) (*Write, error) {
	if err := c.target(st.Table); err != nil {
		return nil, err
	}
	if len(st.If) > 0 {
		return nil, at(st.If[0], conditionsLater)
	}
	if st.IfExists {
		return nil, at(st, conditionsLater)
	}
	w := &Write{Table: c.table}
	if err := c.using(st.Using, w); err != nil {
		return nil, err
	}
	for i := range st.Targets {
		if err := c.deleteTarget(&st.Targets[i], w); err != nil {
			return nil, err
		}
	}
	if err := c.modified(st.Where, w, "DELETE"); err != nil {
		return nil, err
	}
	n := len(w.Where.Clustering)
	slice := n > 0 && w.Where.Clustering[n-1].Slice()
	full := len(w.missing()) == 0 && !slice
	switch {
	case len(w.Cells) > 0 && slice:
		return nil, at(st.Targets[0], "Range deletions are not supported for specific columns")
	case len(w.Cells) > 0 && !full:
		return nil, w.missingKeys(st.Where[0], w.missing())
	case len(st.Targets) > 0:
	case n == 0 && len(w.Table.Clustering) > 0:
		w.Remove = RemovePartition
	case len(w.Table.Clustering) == 0:
		w.Remove = RemovePartition
	case full:
		w.Remove = RemoveRows
	default:
		w.Remove = RemoveRange
	}
	return w, nil
}

func (c *compiler) deleteTarget(t *cql.DeleteTarget, w *Write) error {
	col, err := c.notKey(t.Column, "DELETE")
	if err != nil {
		return err
	}
	cell := Cell{Column: col, Op: CellDelete}
	switch {
	case t.Field != nil:
		cell.Op = CellField
		if cell.Field, err = c.userField(col, *t.Field); err != nil {
			return err
		}
		cell.Value = &Expr{Op: OpConst, Type: col.Type.Elems[cell.Field]}
	case t.Key != nil:
		if !col.Type.IsMultiCell() || !col.Type.IsCollection() {
			return at(t, "Invalid deletion operation for frozen or non collection column %s", col.Name)
		}
		cell.Op = CellDeleteKey
		if col.Type.Kind == types.List {
			cell.Op = CellDeleteAt
		}
		if err := c.elementKey(t.Key, &cell); err != nil {
			return err
		}
	}
	return w.put(cell, t.Column)
}

// Batch is a planned BATCH statement.
type Batch struct {
	Type      cql.BatchKind
	Timestamp *Expr
	Writes    []*Write
}

func (c *compiler) batch(st *cql.Batch) (*Batch, error) {
	b := &Batch{Type: st.Type}
	if st.Type == cql.CounterBatch {
		return nil, at(st, "Counters come with a later release of nodedb")
	}
	if st.Using.TTL != nil {
		return nil, at(st.Using.TTL, "Global TTL on the BATCH statement is not supported.")
	}
	if st.Using.Timestamp != nil {
		var err error
		if b.Timestamp, err = c.expr(st.Using.Timestamp, types.BigintType, "[timestamp]"); err != nil {
			return nil, err
		}
		if m, ok := st.Using.Timestamp.(*cql.Marker); ok {
			spec := &c.plan.Markers[m.Index]
			spec.Keyspace, spec.Table = batchName, batchName
		}
	}
	var routingKey []uint16 // of the last statement that has one
	for _, s := range st.Statements {
		var w *Write
		var err error
		c.plan.PartitionKey = nil
		switch s := s.(type) {
		case *cql.Insert:
			w, err = c.insert(s)
		case *cql.Update:
			w, err = c.update(s)
		case *cql.Delete:
			w, err = c.delete(s)
		default:
			err = at(s, "%s cannot be part of a batch", s.Kind())
		}
		if err != nil {
			return nil, err
		}
		if w.Timestamp != nil && b.Timestamp != nil {
			return nil, at(s, "Timestamp must be set either on BATCH or individual statements")
		}
		if c.plan.PartitionKey != nil {
			routingKey = c.plan.PartitionKey
		}
		b.Writes = append(b.Writes, w)
	}
	c.plan.PartitionKey = nil
	if c.plan.oneTable() {
		c.plan.PartitionKey = routingKey
	}
	return b, nil
}

// batchName stands for the keyspace and table of what belongs to a batch as a whole.
const batchName = "[batch]"

// oneTable reports whether all markers belong to one table. Where they don't, no routing key is told: a driver couldn't say of which table it is.
func (p *Plan) oneTable() bool {
	for _, m := range p.Markers[min(1, len(p.Markers)):] {
		if m.Keyspace != p.Markers[0].Keyspace || m.Table != p.Markers[0].Table {
			return false
		}
	}
	return true
}

// Values gives the plan of an INSERT of known values: what INSERT JSON comes to once its document is read, with errors at the document's
// place. It has no USING.
func Values(t *schema.Table, values map[*schema.Column][]byte, document *Expr) (*Write, error) {
	place := document.at
	c := &compiler{table: t, plan: &Plan{}}
	w := &Write{Table: t, Marker: true}
	var keys []*Relation
	for _, col := range t.Columns {
		v, ok := values[col]
		if !ok {
			continue
		}
		x := &Expr{Op: OpConst, Type: col.Type, Value: v, Name: col.Name, at: place}
		switch col.Kind {
		case schema.PartitionKey, schema.Clustering:
			keys = append(keys, &Relation{Columns: []*schema.Column{col}, Op: cql.Eq, Operand: Operand{Parts: []*Expr{x}}, Field: -1, text: place})
		case schema.Static:
			w.Statics = append(w.Statics, Cell{Column: col, Value: x})
		default:
			w.Cells = append(w.Cells, Cell{Column: col, Value: x})
		}
	}
	return w, c.insertKeys(w, keys, place)
}
