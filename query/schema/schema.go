// Package schema is the catalog: keyspaces, tables, columns and user types, as immutable snapshots, and the changes
// that lead from one to the next. It is pure: the metadata log applies changes in one order on all nodes. It may import
// vnodes, node/row, query/types, query/cql. Start reading at Catalog.
package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nodedb/node/row"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// Errors of Apply. Exists and NotFound are no-ops for changes with IF [NOT] EXISTS. Config and Syntax come together with
// Invalid: what is wrong is an option's value, or how it is written.
var (
	ErrExists   = errors.New("already exists")
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid schema change")
	ErrConfig   = errors.New("invalid schema option")
	ErrSyntax   = errors.New("malformed schema option")
	ErrFormat   = errors.New("schema: corrupt or newer bytes")
)

// Error is a refused change or key: one of the sentinels and a sentence for people.
type Error struct {
	Kind error // ErrExists, ErrNotFound, ErrInvalid, ErrConfig or ErrSyntax
	Msg  string
	// Keyspace and Table name what exists already; Table is empty for a keyspace. Both are empty for other errors.
	Keyspace, Table string
	// About is the column or field that is wrong, "TYPE " and its name where its type is, or "WITH " and an option's name;
	// empty where it is the whole.
	About string
}

// Error is the sentence.
func (e *Error) Error() string { return e.Msg }

// Unwrap gives the sentinels.
func (e *Error) Unwrap() []error {
	if e.Kind == ErrConfig || e.Kind == ErrSyntax {
		return []error{e.Kind, ErrInvalid}
	}
	return []error{e.Kind}
}

func invalid(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Msg: fmt.Sprintf(format, args...)}
}

func badOption(format string, args ...any) error {
	return &Error{Kind: ErrConfig, Msg: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return &Error{Kind: ErrSyntax, Msg: fmt.Sprintf(format, args...)}
}

// about says which column, field or option an error of this package is about.
func about(name string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e.About == "" {
		e.About = name
	}
	return err
}

func missing(format string, args ...any) error {
	return &Error{Kind: ErrNotFound, Msg: fmt.Sprintf(format, args...)}
}

// ColumnKind says which part of the row a column is. Only append to this list: it is stored.
type ColumnKind uint8

const (
	PartitionKey ColumnKind = iota
	Clustering
	Static
	Regular
)

// String is the name in system_schema.columns: partition_key, clustering, static, regular.
func (k ColumnKind) String() string {
	switch k {
	case PartitionKey:
		return "partition_key"
	case Clustering:
		return "clustering"
	case Static:
		return "static"
	default:
		return "regular"
	}
}

// Column of a table.
type Column struct {
	Name     string
	ID       row.ColumnID // 1.. for static and regular columns, never reused; 0 for key columns
	Kind     ColumnKind
	Position int // in the partition key or the clustering key; -1 else
	Type     *types.Type
	Desc     bool // clustering order
}

// Table is one version of a table. Immutable.
type Table struct {
	Keyspace string
	Name     string
	ID       [16]byte      // a UUID, the table's for ever
	Storage  row.StorageID // new after TRUNCATE
	Epoch    uint64        // of the metadata entry that last changed this table

	Columns      []*Column // order of SELECT *: partition key, clustering, then statics and regulars by name
	PartitionKey []*Column
	Clustering   []*Column
	Statics      []*Column // by name
	Regulars     []*Column // by name
	Options      TableOptions
	Virtual      bool // system tables computed on the fly
	NextColumn   row.ColumnID

	byName map[string]*Column // nil until index
	byID   []*Column          // nil where there is none
}

// TableOptions are the WITH options we keep; Extra holds known Cassandra options that have no effect here and aren't the
// default, so that they are shown again.
type TableOptions struct {
	Comment        string
	DefaultTTL     int32 // seconds
	GCGraceSeconds int32 // default 864000
	Memory         bool  // WITH memory = true
	Extra          map[string]string
}

// Column finds a column by name.
func (t *Table) Column(name string) (*Column, bool) {
	if t.byName != nil {
		c, ok := t.byName[name]
		return c, ok
	}
	for _, c := range t.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return nil, false
}

// ColumnByID finds a static or regular column by id; dropped ones are not found.
func (t *Table) ColumnByID(id row.ColumnID) (*Column, bool) {
	if id == row.Marker {
		return nil, false
	}
	if t.byName != nil {
		if int(id) >= len(t.byID) || t.byID[id] == nil {
			return nil, false
		}
		return t.byID[id], true
	}
	for _, c := range t.Columns {
		if c.ID == id {
			return c, true
		}
	}
	return nil, false
}

// IsCounter reports whether the table holds counters.
func (t *Table) IsCounter() bool {
	return slices.ContainsFunc(t.Regulars, isCounter) || slices.ContainsFunc(t.Statics, isCounter)
}

func isCounter(c *Column) bool { return c.Type.Kind == types.Counter }

// Index puts Columns together from the key, Statics and Regulars, which it sorts by name, and builds the lookups. It is
// for those who build a table (Apply, DecodeCatalog, system tables); afterwards the table is immutable. It returns t.
func (t *Table) Index() *Table {
	byName := func(a, b *Column) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(t.Statics, byName)
	slices.SortFunc(t.Regulars, byName)
	t.Columns = slices.Concat(t.PartitionKey, t.Clustering, t.Statics, t.Regulars)
	t.byName = make(map[string]*Column, len(t.Columns))
	t.byID = nil
	for _, c := range t.Columns {
		t.byName[c.Name] = c
		if c.ID == row.Marker {
			continue
		}
		if int(c.ID) >= len(t.byID) {
			t.byID = append(t.byID, make([]*Column, int(c.ID)+1-len(t.byID))...)
		}
		t.byID[c.ID] = c
	}
	return t
}

// Keyspace is one version of a keyspace. Immutable.
type Keyspace struct {
	Name          string
	Class         string            // SimpleStrategy or NetworkTopologyStrategy
	Options       map[string]string // replication_factor or DC: factor, as given
	Replication   vnodes.Replication
	DurableWrites bool
	Tables        map[string]*Table
	Types         map[string]*types.Type // user types
	Epoch         uint64
}

// Catalog is the whole schema at an epoch. Immutable: Apply gives a new one.
type Catalog struct {
	Epoch     uint64   // of the last schema change
	Version   [16]byte // a UUID that is equal on all nodes with this schema (schema_version)
	Keyspaces map[string]*Keyspace
	Highest   row.StorageID // the highest id ever given

	byStorage map[row.StorageID]*Table
}

// Empty is the catalog before the first change (no keyspaces; system ones are virtual and live in query).
func Empty() *Catalog {
	c := &Catalog{Keyspaces: map[string]*Keyspace{}}
	c.seal()
	return c
}

// Keyspace, Table and TableByStorage look things up.
func (c *Catalog) Keyspace(name string) (*Keyspace, bool) {
	k, ok := c.Keyspaces[name]
	return k, ok
}

// Table finds a table by its keyspace and name.
func (c *Catalog) Table(keyspace, name string) (*Table, bool) {
	k, ok := c.Keyspaces[keyspace]
	if !ok {
		return nil, false
	}
	t, ok := k.Tables[name]
	return t, ok
}

// TableByStorage finds the table that a storage id belongs to now.
func (c *Catalog) TableByStorage(id row.StorageID) (*Table, bool) {
	t, ok := c.byStorage[id]
	return t, ok
}

// Op says what a change does. Only append to this list: it is stored.
type Op uint8

const (
	CreateKeyspace Op = iota + 1
	AlterKeyspace
	DropKeyspace
	CreateTable
	AlterTable
	DropTable
	TruncateTable
	CreateType
	AlterType
	DropType
)

// Change is one schema change, as it is decided by the metadata log. Which fields are set depends on Op.
type Change struct {
	Op          Op
	IfExists    bool // or IF NOT EXISTS, by Op
	IfColumn    bool // AlterTable, AlterType: ADD IF NOT EXISTS, DROP IF EXISTS, RENAME IF EXISTS of columns or fields
	Keyspace    string
	Name        string   // table or type
	ID          [16]byte // CreateTable: the proposer's choice
	Class       string
	Replication map[string]string
	Durable     *bool
	Columns     []ColumnDef       // CreateTable; AlterTable: added; CreateType, AlterType: fields
	Dropped     []string          // AlterTable
	Renamed     [][2]string       // AlterTable (key columns), AlterType
	Options     map[string]string // table options as written, raw literals without quotes; maps as JSON
}

// ColumnDef is a column of a change.
type ColumnDef struct {
	Name     string
	Type     string // CQL
	Kind     ColumnKind
	Position int
	Desc     bool
}

// Target says what a change touched, for SCHEMA_CHANGE events. Kind: CREATED, UPDATED, DROPPED; Object: KEYSPACE,
// TABLE, TYPE.
type Target struct{ Kind, Object, Keyspace, Name string }
