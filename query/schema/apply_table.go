package schema

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"nodedb/query/types"
)

const staticNeedsClustering = "Static columns are only useful (and thus allowed) if the table has at least one clustering column"

func (e *edit) createTable() (Target, error) {
	k, err := e.keyspace()
	if err != nil {
		return Target{}, err
	}
	name := e.ch.Name
	if _, ok := k.Tables[name]; ok {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, &Error{Kind: ErrExists, Msg: "Cannot add already existing table \"" + name + "\" to keyspace \"" + k.Name + "\"", Keyspace: k.Name, Table: name}
	}
	if err := checkName("Table", name, MaxTableName); err != nil {
		return Target{}, err
	}
	tables := 0
	for _, other := range e.next.Keyspaces {
		tables += len(other.Tables)
	}
	if tables >= MaxTables {
		return Target{}, invalid("There are %d tables already, which is the limit", MaxTables)
	}
	t := &Table{Keyspace: k.Name, Name: name, ID: e.ch.ID, Epoch: e.next.Epoch, Options: TableOptions{GCGraceSeconds: DefaultGCGrace}}
	if err := t.Options.create(e.ch.Options, &t.ID); err != nil {
		return Target{}, err
	}
	if err := e.addColumns(k, t); err != nil {
		return Target{}, err
	}
	if err := t.checkCreated(); err != nil {
		return Target{}, err
	}
	if e.idTaken(t.ID) {
		return Target{}, invalid("There is a table with the id %x already", t.ID)
	}
	e.next.Highest++
	t.Storage = e.next.Highest
	t.giveIDs()
	e.own(k).Tables[name] = t.Index()
	return Target{"CREATED", "TABLE", k.Name, name}, nil
}

func (e *edit) idTaken(id [16]byte) bool {
	for _, k := range e.next.Keyspaces {
		for _, t := range k.Tables {
			if t.ID == id {
				return true
			}
		}
	}
	return false
}

// addColumns puts a new table's columns into their lists.
func (e *edit) addColumns(k *Keyspace, t *Table) error {
	seen := map[string]bool{}
	for _, d := range e.ch.Columns {
		if seen[d.Name] {
			return about(d.Name, invalid("Duplicate column '%s' declaration for table '%s'", d.Name, t.Name))
		}
		seen[d.Name] = true
		ct, err := k.columnType(d)
		if err != nil {
			return about("TYPE "+d.Name, err)
		}
		c := &Column{Name: d.Name, Kind: d.Kind, Position: -1, Type: ct}
		switch d.Kind {
		case PartitionKey, Clustering:
			c.Position, c.Desc = d.Position, d.Desc && d.Kind == Clustering
			if err := checkKeyColumn(c); err != nil {
				return err
			}
			if d.Kind == PartitionKey {
				t.PartitionKey = append(t.PartitionKey, c)
			} else {
				t.Clustering = append(t.Clustering, c)
			}
		case Static:
			t.Statics = append(t.Statics, c)
		case Regular:
			t.Regulars = append(t.Regulars, c)
		default:
			return about(d.Name, invalid("Column %s is of the unknown kind %d: this nodedb is too old for it", d.Name, d.Kind))
		}
	}
	byPosition := func(a, b *Column) int { return a.Position - b.Position }
	slices.SortStableFunc(t.PartitionKey, byPosition)
	slices.SortStableFunc(t.Clustering, byPosition)
	return nil
}

func (k *Keyspace) columnType(d ColumnDef) (*types.Type, error) {
	t, err := k.parse(d.Name, d.Type)
	if err != nil {
		return nil, err
	}
	if t.Kind == types.UDT && t.IsMultiCell() && slices.ContainsFunc(t.Elems, (*types.Type).IsMultiCell) {
		return nil, invalid("Non-frozen UDTs with nested non-frozen collections are not supported for column %s", d.Name)
	}
	return t, nil
}

func checkKeyColumn(c *Column) error {
	switch {
	case c.Type.IsMultiCell() && c.Type.Kind == types.UDT:
		return about(c.Name, invalid("Invalid non-frozen user-defined type %s for PRIMARY KEY column '%s'", c.Type, c.Name))
	case c.Type.IsMultiCell():
		return about(c.Name, invalid("Invalid non-frozen collection type %s for PRIMARY KEY column '%s'", c.Type, c.Name))
	case c.Type.Kind == types.Counter:
		return about(c.Name, invalid("counter type is not supported for PRIMARY KEY column '%s'", c.Name))
	case containsKind(c.Type, types.Duration):
		return about(c.Name, invalid("duration type is not supported for PRIMARY KEY column '%s'", c.Name))
	}
	return nil
}

func containsKind(t *types.Type, k types.Kind) bool {
	return t.Kind == k || slices.ContainsFunc(t.Elems, func(e *types.Type) bool { return containsKind(e, k) })
}

func (t *Table) checkCreated() error {
	if len(t.PartitionKey) == 0 {
		return invalid("No PRIMARY KEY specified for table '%s' (exactly one required)", t.Name)
	}
	for _, list := range [][]*Column{t.PartitionKey, t.Clustering} {
		for i, c := range list {
			if c.Position != i {
				return invalid("Positions of the PRIMARY KEY columns of table '%s' are not 0, 1, 2 …", t.Name)
			}
		}
	}
	if len(t.Statics) > 0 && len(t.Clustering) == 0 {
		return about(t.Statics[0].Name, invalid(staticNeedsClustering))
	}
	return t.checkColumns()
}

// checkColumns is what has to hold of a table's columns after CREATE and after ADD.
func (t *Table) checkColumns() error {
	n, counters := len(t.Statics)+len(t.Regulars), 0
	for _, c := range slices.Concat(t.Statics, t.Regulars) {
		if isCounter(c) {
			counters++
		}
	}
	if counters > 0 && counters < n {
		return invalid("Cannot mix counter and non counter columns in the same table")
	}
	if counters > 0 && t.Options.DefaultTTL > 0 {
		return invalid("Cannot set default_time_to_live on a table with counters")
	}
	if n += len(t.PartitionKey) + len(t.Clustering); n > MaxColumns {
		return invalid("Table '%s' would have %d columns, more than %d", t.Name, n, MaxColumns)
	}
	return nil
}

// giveIDs numbers a new table's static and regular columns from 1, by name.
func (t *Table) giveIDs() {
	list := slices.Concat(t.Statics, t.Regulars)
	slices.SortFunc(list, func(a, b *Column) int { return strings.Compare(a.Name, b.Name) })
	t.NextColumn = 1
	for _, c := range list {
		c.ID = t.NextColumn
		t.NextColumn++
	}
}

// rebuilt gives a copy of the table whose columns are copies too, each passed to change.
func (t *Table) rebuilt(epoch uint64, change func(*Column)) *Table {
	n := t.at(epoch)
	for _, list := range []*[]*Column{&n.PartitionKey, &n.Clustering, &n.Statics, &n.Regulars} {
		fresh := make([]*Column, len(*list))
		for i, c := range *list {
			copied := *c
			change(&copied)
			fresh[i] = &copied
		}
		*list = fresh
	}
	return n.Index()
}

// table finds the table that a change names; nil without an error is a no-op by IF EXISTS.
func (e *edit) table() (*Keyspace, *Table, error) {
	if k, ok := e.next.Keyspaces[e.ch.Keyspace]; ok {
		if t, ok := k.Tables[e.ch.Name]; ok {
			return k, t, nil
		}
	}
	if e.ch.IfExists {
		return nil, nil, nil
	}
	return nil, nil, missing("Table '%s.%s' doesn't exist", e.ch.Keyspace, e.ch.Name)
}

func (e *edit) alterTable() (Target, error) {
	k, old, err := e.table()
	if old == nil {
		return Target{}, err
	}
	t := old.rebuilt(e.next.Epoch, func(*Column) {})
	t.Options.Extra = maps.Clone(t.Options.Extra)
	for _, step := range []func(*Keyspace, *Table) error{e.add, e.drop, e.rename, e.alterOptions} {
		if err := step(k, t); err != nil {
			return Target{}, err
		}
		t.Index()
	}
	if bytes.Equal(t.at(old.Epoch).append(nil), old.append(nil)) {
		return Target{}, nil // ADD IF NOT EXISTS of what is there, an option that has this value already …
	}
	e.own(k).Tables[t.Name] = t
	return Target{"UPDATED", "TABLE", k.Name, t.Name}, nil
}

func (e *edit) add(k *Keyspace, t *Table) error {
	for _, d := range e.ch.Columns {
		if _, ok := t.Column(d.Name); ok {
			if e.ch.IfColumn {
				continue
			}
			return about(d.Name, invalid("Column with name '%s' already exists", d.Name))
		}
		ct, err := k.columnType(d)
		if err != nil {
			return about("TYPE "+d.Name, err)
		}
		if t.NextColumn >= maxColumnID {
			return invalid("Table '%s' has had %d columns, which is the limit: create a new one", t.Name, maxColumnID)
		}
		c := &Column{Name: d.Name, ID: t.NextColumn, Kind: d.Kind, Position: -1, Type: ct}
		t.NextColumn++
		switch {
		case d.Kind == Regular:
			t.Regulars = append(t.Regulars, c)
		case d.Kind != Static:
			return about(d.Name, invalid("Cannot add column '%s' to the PRIMARY KEY", d.Name))
		case len(t.Clustering) == 0:
			return about(d.Name, invalid(staticNeedsClustering))
		default:
			t.Statics = append(t.Statics, c)
		}
		t.Index()
	}
	return t.checkColumns()
}

// maxListed is how many columns an error lists.
const maxListed = 12

func (t *Table) columnNames() string {
	var list []string
	for i, c := range t.Columns {
		if i == maxListed {
			list = append(list, "…")
			break
		}
		list = append(list, c.Name)
	}
	return strings.Join(list, ", ")
}

func (e *edit) drop(_ *Keyspace, t *Table) error {
	for _, name := range e.ch.Dropped {
		c, ok := t.Column(name)
		if !ok {
			if e.ch.IfColumn {
				continue
			}
			return about(name, invalid("Column %s was not found in table '%s.%s'; it has %s", name, t.Keyspace, t.Name, t.columnNames()))
		}
		if c.Kind == PartitionKey || c.Kind == Clustering {
			return about(name, invalid("Cannot drop PRIMARY KEY column %s", name))
		}
		gone := func(o *Column) bool { return o == c }
		t.Statics, t.Regulars = slices.DeleteFunc(t.Statics, gone), slices.DeleteFunc(t.Regulars, gone)
		t.Index()
	}
	return nil
}

func (e *edit) rename(_ *Keyspace, t *Table) error {
	for _, p := range e.ch.Renamed {
		c, ok := t.Column(p[0])
		if !ok {
			if e.ch.IfColumn {
				continue
			}
			return about(p[0], invalid("Undefined column name %s in table %s.%s; it has %s", p[0], t.Keyspace, t.Name, t.columnNames()))
		}
		if c.Kind != PartitionKey && c.Kind != Clustering {
			return about(p[0], invalid("Cannot rename non PRIMARY KEY column %s", p[0]))
		}
		if _, ok := t.Column(p[1]); ok {
			return about(p[0], invalid("Cannot rename column %s to %s in table '%s.%s'; another column with that name already exists", p[0], p[1], t.Keyspace, t.Name))
		}
		c.Name = p[1]
		t.Index()
	}
	return nil
}

func (e *edit) alterOptions(_ *Keyspace, t *Table) error {
	if len(e.ch.Options) == 0 {
		return nil
	}
	if _, ok := e.ch.Options["id"]; ok {
		return about("WITH id", badOption("Cannot alter table id."))
	}
	memory := t.Options.Memory
	if err := t.Options.set(e.ch.Options, nil); err != nil {
		return err
	}
	if t.Options.Memory != memory {
		return about("WITH memory", badOption("Cannot alter memory of table '%s.%s': create a new table", t.Keyspace, t.Name))
	}
	return t.checkColumns()
}

func (e *edit) dropTable() (Target, error) {
	k, t, err := e.table()
	if t == nil {
		return Target{}, err
	}
	delete(e.own(k).Tables, t.Name)
	return Target{"DROPPED", "TABLE", k.Name, t.Name}, nil
}

// truncate gives the table a new storage id: whatever still names the old one is refused, and its data is deleted in
// the background.
func (e *edit) truncate() (Target, error) {
	k, t, err := e.table()
	if t == nil {
		return Target{}, err
	}
	n := t.at(e.next.Epoch)
	e.next.Highest++
	n.Storage = e.next.Highest
	e.own(k).Tables[n.Name] = n
	return Target{"UPDATED", "TABLE", k.Name, n.Name}, nil
}
