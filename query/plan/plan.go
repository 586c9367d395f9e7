// Package plan turns statements into plans: names, types, bind markers and key restrictions resolved once, so that a
// plan runs many times without looking at the text again. It may import everything of lower ranks. Start reading at
// Prepare.
package plan

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// Limits of a statement. Each has an error that names it.
const (
	MaxProduct   = 10_000   // partitions, or clustering slices, that the IN relations of one statement may multiply to
	MaxSlices    = 40_000   // clustering slices that one statement may read of each partition
	MaxBatchSize = 16 << 20 // bytes of one batch's mutations: refused
	MaxDepth     = 100      // nesting of expressions; the parser holds it too
)

// ColumnSpec describes a result column or a bind marker.
type ColumnSpec struct {
	Keyspace, Table, Name string
	Type                  *types.Type
}

// Schema is where names are looked up: the catalog, and the system keyspaces beside it.
type Schema struct {
	Catalog *schema.Catalog
	System  map[string]*schema.Keyspace
}

// Keyspace finds a keyspace of either kind.
func (s *Schema) Keyspace(name string) (*schema.Keyspace, bool) {
	if k, ok := s.Catalog.Keyspace(name); ok {
		return k, true
	}
	k, ok := s.System[name]
	return k, ok
}

// Plan is a prepared statement. It is immutable: any number of requests run it at the same time.
type Plan struct {
	// Body is one of *Select, *Write, *Batch, *Change, *Use, *Describe.
	Body any
	// Kind names the statement for people: "SELECT", "CREATE TABLE".
	Kind string
	// Markers are the bind markers in the order of the text.
	Markers []ColumnSpec
	// Places are, for each marker, where it stands and what errors call it.
	Places []MarkerPlace
	// PartitionKey gives, for each partition key column, the marker that is its value; nil unless each is a marker of
	// its own.
	PartitionKey []uint16
	// Columns of the result; nil when there are no rows.
	Columns []ColumnSpec
	// Tables the plan was made for: it holds while they are what the catalog has.
	Tables []*schema.Table
	// Catalog the plan was made under: while it is the newest one, Tables needs no look.
	Catalog *schema.Catalog
	// Session is the keyspace the names were resolved in.
	Session string
	// Hash of the statement's text and keyspace. Page states are tied to it.
	Hash uint64
	// Warnings for the client.
	Warnings []string
}

// Valid reports whether the plan still holds under a catalog: no table it names was altered, dropped or truncated.
func (p *Plan) Valid(s *Schema) bool {
	if p.Catalog == s.Catalog {
		return true
	}
	if _, ok := p.Body.(*Change); ok {
		return false // types and tables it looked at may be others now
	}
	for _, t := range p.Tables {
		if t.Virtual {
			continue
		}
		now, ok := s.Catalog.Table(t.Keyspace, t.Name)
		if !ok || now.ID != t.ID || now.Epoch != t.Epoch {
			return false
		}
	}
	return true
}

// Prepare makes a plan of a parsed statement. keyspace is what unqualified names are looked up in, "" when there is
// none. Errors are *wire.Error.
func Prepare(parsed *cql.Parsed, s *Schema, keyspace string) (*Plan, error) {
	p := &Plan{Kind: parsed.Statement.Kind(), Catalog: s.Catalog, Session: keyspace, Markers: make([]ColumnSpec, len(parsed.Markers)),
		Places: make([]MarkerPlace, len(parsed.Markers))}
	c := &compiler{schema: s, keyspace: keyspace, plan: p}
	if err := c.statement(parsed.Statement); err != nil {
		return nil, err
	}
	for i, m := range p.Markers {
		if m.Type == nil {
			return nil, at(parsed.Markers[i], "Cannot infer the type of bind marker %d", i+1)
		}
	}
	return p, nil
}

func (c *compiler) statement(st cql.Statement) (err error) {
	p := c.plan
	switch st := st.(type) {
	case *cql.Select:
		p.Body, err = c.selectStatement(st)
	case *cql.Insert:
		p.Body, err = c.insert(st)
	case *cql.Update:
		p.Body, err = c.update(st)
	case *cql.Delete:
		p.Body, err = c.delete(st)
	case *cql.Batch:
		p.Body, err = c.batch(st)
	case *cql.Use:
		p.Body = &Use{Keyspace: st.Keyspace}
		if _, ok := c.schema.Keyspace(st.Keyspace); !ok {
			err = at(st.NameAt, "Keyspace '%s' does not exist%s", st.Keyspace, c.nearKeyspace(st.Keyspace))
		}
	case *cql.Describe:
		p.Body, err = c.describe(st)
	case *cql.Unsupported:
		err = at(st, "%s is not part of this release of nodedb", st.What)
	default:
		p.Body, err = c.change(st)
	}
	return err
}

// Use switches the session's keyspace.
type Use struct{ Keyspace string }

// Describe is DESCRIBE: What and the names resolved against the session.
type Describe struct {
	*cql.Describe
	Keyspace string // the session's
}

func (c *compiler) describe(st *cql.Describe) (*Describe, error) {
	c.plan.Columns = describeColumns(st, c.keyspace)
	return &Describe{Describe: st, Keyspace: c.keyspace}, nil
}

// describeColumns are the columns cqlsh expects of a DESCRIBE. CLUSTER shows who owns what only inside a keyspace that
// is stored.
func describeColumns(st *cql.Describe, keyspace string) []ColumnSpec {
	text := func(table string, names ...string) (list []ColumnSpec) {
		for _, n := range names {
			list = append(list, ColumnSpec{Keyspace: "system", Table: table, Name: n, Type: types.VarcharType})
		}
		return list
	}
	if st.What == "CLUSTER" {
		list := text("describe", "cluster", "partitioner", "snitch")
		if keyspace == "" || schema.IsSystem(keyspace) {
			return list
		}
		ownership := types.NewMap(types.VarcharType, types.NewList(types.VarcharType, false), false)
		return append(list, ColumnSpec{Keyspace: "system", Table: "describe", Name: "range_ownership", Type: ownership})
	}
	switch st.What {
	case "KEYSPACES", "TABLES", "TYPES", "FUNCTIONS", "AGGREGATES":
		return text("describe", "keyspace_name", "type", "name")
	}
	return text("describe", "keyspace_name", "type", "name", "create_statement")
}

// compiler is one Prepare under way.
type compiler struct {
	schema   *Schema
	keyspace string
	plan     *Plan
	table    *schema.Table // what column names mean
	ordinal  map[*schema.Column]int

	// inRow admits columns in expressions; aggregates collects calls of aggregate functions, nil where they aren't
	// allowed.
	inRow      bool
	aggregates *[]*Aggregate
	grouping   bool               // the select list has aggregates or GROUP BY: columns mean the first row of a group
	inside     bool               // inside an aggregate's argument
	idle       map[*cql.Cast]bool // casts to the type that their value has
	depth      int
}

// lookup finds the table of a statement.
func (c *compiler) lookup(n cql.Name) (*schema.Table, error) {
	ks := n.Keyspace
	if ks == "" {
		ks = c.keyspace
	}
	if ks == "" {
		return nil, at(n, noKeyspace)
	}
	k, ok := c.schema.Keyspace(ks)
	if !ok {
		return nil, at(n, "keyspace %s does not exist%s", ks, c.nearKeyspace(ks))
	}
	t, ok := k.Tables[n.Name]
	if !ok {
		return nil, at(n, "table %s.%s does not exist%s", ks, n.Name, meant(n.Name, slices.Collect(maps.Keys(k.Tables))))
	}
	return t, nil
}

// use makes a table the one that column names mean.
func (c *compiler) use(n cql.Name) error {
	t, err := c.lookup(n)
	if err != nil {
		return err
	}
	c.table = t
	c.ordinal = make(map[*schema.Column]int, len(t.Columns))
	for i, col := range t.Columns {
		c.ordinal[col] = i
	}
	c.plan.Tables = append(c.plan.Tables, t)
	return nil
}

// writable refuses system tables.
func (c *compiler) writable(n cql.Name) error {
	if c.table.Virtual || schema.IsSystem(c.table.Keyspace) {
		return coded(wire.CodeUnauthorized, n, "%s.%s is a system table: it can be read only", c.table.Keyspace, c.table.Name)
	}
	return nil
}

func (c *compiler) column(id cql.Ident) (*schema.Column, error) {
	col, ok := c.table.Column(id.Name)
	if !ok {
		return nil, at(id, "Undefined column name %s in table %s.%s%s", id.Name, c.table.Keyspace, c.table.Name, c.nearColumn(id.Name))
	}
	return col, nil
}

// bind records a marker's meaning.
func (c *compiler) bind(m *cql.Marker, name string, t *types.Type) (about string) {
	about = "marker " + strconv.Itoa(m.Index+1) + " (" + strings.Trim(name, "[]") + ")"
	if c.table != nil {
		if _, ok := c.table.Column(name); ok {
			about = "marker " + strconv.Itoa(m.Index+1) + " (column " + name + ")"
		}
	}
	if m.Name != "" {
		name = m.Name
	}
	spec := ColumnSpec{Name: name, Type: t}
	if c.table != nil {
		spec.Keyspace, spec.Table = c.table.Keyspace, c.table.Name
	}
	c.plan.Markers[m.Index], c.plan.Places[m.Index] = spec, MarkerPlace{m.Pos, about}
	return about
}
