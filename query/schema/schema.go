// Package schema is the catalog: keyspaces, tables, columns and user types, as immutable snapshots, and the changes that lead from one to
// the next. It is pure: the metadata log applies changes in one order on all nodes. It may import vnodes, node/row, query/types, query/cql. Start
// reading at Catalog.
package schema

import (
	"errors"

	"nodedb/node/row"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// Errors of Apply. Exists and NotFound are no-ops for changes with IF [NOT] EXISTS.
var (
	ErrExists   = errors.New("already exists")
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid schema change")
)

// ColumnKind says which part of the row a column is. Only append to this list: it is stored.
type ColumnKind uint8

const (
	PartitionKey ColumnKind = iota
	Clustering
	Static
	Regular
)

// String is the name in system_schema.columns: partition_key, clustering, static, regular.
func (k ColumnKind) String() string { panic("contract") }

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
}

// TableOptions are the WITH options we keep; Extra holds known Cassandra options that have no effect here, as given, so that they are shown again.
type TableOptions struct {
	Comment        string
	DefaultTTL     int32 // seconds
	GCGraceSeconds int32 // default 864000
	Memory         bool  // WITH memory = true
	Extra          map[string]string
}

// Column finds a column by name.
func (t *Table) Column(name string) (*Column, bool) { panic("contract") }

// ColumnByID finds a static or regular column by id; dropped ones are not found.
func (t *Table) ColumnByID(id row.ColumnID) (*Column, bool) { panic("contract") }

// AppendPartitionKey serializes partition key values as CQL routing keys are: one component as it is; several each as length (2 bytes), bytes, 0x00. Nulls,
// (for one component) empty values, and components over 65535 bytes are errors.
func (t *Table) AppendPartitionKey(dst []byte, values [][]byte) ([]byte, error) { panic("contract") }

// SplitPartitionKey gives the values back; they alias key. dst is reused.
func (t *Table) SplitPartitionKey(dst [][]byte, key []byte) ([][]byte, error) { panic("contract") }

// AppendClustering encodes a prefix (or all) of the clustering values, order-preserving.
func (t *Table) AppendClustering(dst []byte, values [][]byte) ([]byte, error) { panic("contract") }

// SplitClustering gives the values of an encoded clustering key back. dst is reused; values may alias key.
func (t *Table) SplitClustering(dst [][]byte, key []byte) ([][]byte, error) { panic("contract") }

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
}

// Empty is the catalog before the first change (no keyspaces; system ones are virtual and live in query).
func Empty() *Catalog { panic("contract") }

// Keyspace, Table and TableByStorage look things up.
func (c *Catalog) Keyspace(name string) (*Keyspace, bool)         { panic("contract") }
func (c *Catalog) Table(keyspace, name string) (*Table, bool)     { panic("contract") }
func (c *Catalog) TableByStorage(id row.StorageID) (*Table, bool) { panic("contract") }

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

// Append writes the change's bytes (versioned); DecodeChange reads them.
func (c *Change) Append(dst []byte) []byte   { panic("contract") }
func DecodeChange(b []byte) (*Change, error) { panic("contract") }

// Target says what a change touched, for SCHEMA_CHANGE events. Kind: CREATED, UPDATED, DROPPED; Object: KEYSPACE, TABLE, TYPE.
type Target struct{ Kind, Object, Keyspace, Name string }

// Apply validates a change and gives the catalog after it, at the metadata epoch. A no-op by IF [NOT] EXISTS gives c itself and a zero Target. It is
// deterministic: the same on every node. Errors wrap the sentinels and read well to a person.
func (c *Catalog) Apply(ch *Change, epoch uint64) (*Catalog, Target, error) { panic("contract") }

// Append writes the whole catalog (versioned, canonical); DecodeCatalog reads it. For the metadata log's snapshots.
func (c *Catalog) Append(dst []byte) []byte    { panic("contract") }
func DecodeCatalog(b []byte) (*Catalog, error) { panic("contract") }
