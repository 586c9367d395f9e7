package cql

// CreateKeyspace is CREATE KEYSPACE [IF NOT EXISTS] name WITH options.
type CreateKeyspace struct {
	Pos
	Name        string
	NameAt      Pos
	IfNotExists bool
	Options     []Property
}

// AlterKeyspace is ALTER KEYSPACE [IF EXISTS] name WITH options.
type AlterKeyspace struct {
	Pos
	Name     string
	NameAt   Pos
	IfExists bool
	Options  []Property
}

// DropKeyspace is DROP KEYSPACE [IF EXISTS] name.
type DropKeyspace struct {
	Pos
	Name     string
	NameAt   Pos
	IfExists bool
}

// ColumnDef is a column of a table, or a field of a user type.
type ColumnDef struct {
	Name   Ident
	Type   *TypeName
	Static bool
	Mask   Expr // MASKED WITH f(…): the *Call, or a null *Constant for MASKED WITH DEFAULT written bare; nil without
}

// CreateTable is CREATE TABLE. The key is in PartitionKey and Clustering however it was written (also `k int PRIMARY KEY`).
type CreateTable struct {
	Pos
	Table          Name
	IfNotExists    bool
	Columns        []ColumnDef
	PartitionKey   []Ident
	Clustering     []Ident
	Order          []Ordering // CLUSTERING ORDER BY, as given
	CompactStorage bool
	Options        []Property
}

// AlterTable is ALTER TABLE with exactly one of its actions.
type AlterTable struct {
	Pos
	Table    Name
	IfExists bool

	Add            []ColumnDef
	AddIfNotExists bool
	Drop           []Ident
	DropIfExists   bool
	DropTimestamp  Expr // DROP … USING TIMESTAMP, µs; nil without
	Rename         []Rename
	RenameIfExists bool
	Alter          *ColumnDef // ALTER c TYPE t (which CQL no longer has: for a good error), or a changed mask
	DropMask       bool       // ALTER c DROP MASKED, with Alter's name
	DropCompact    bool       // DROP COMPACT STORAGE
	Options        []Property // WITH
}

// Rename is one renaming.
type Rename struct{ From, To Ident }

// DropTable is DROP TABLE [IF EXISTS] name.
type DropTable struct {
	Pos
	Table    Name
	IfExists bool
}

// CreateType is CREATE TYPE [IF NOT EXISTS] name (fields).
type CreateType struct {
	Pos
	Type        Name
	IfNotExists bool
	Fields      []ColumnDef
}

// AlterType is ALTER TYPE [IF EXISTS] name ADD … | RENAME … | ALTER f TYPE t, exactly one of them.
type AlterType struct {
	Pos
	Type           Name
	IfExists       bool
	Add            []ColumnDef
	AddIfNotExists bool
	Rename         []Rename
	RenameIfExists bool
	Alter          *ColumnDef // no longer in CQL: for a good error
}

// DropType is DROP TYPE [IF EXISTS] name.
type DropType struct {
	Pos
	Type     Name
	IfExists bool
}

// Truncate is TRUNCATE [TABLE] name.
type Truncate struct {
	Pos
	Table Name
}

// Use is USE keyspace.
type Use struct {
	Pos
	Keyspace string
	NameAt   Pos
}

// Using is what stands behind USING: expressions (an integer or a marker), nil when not given.
type Using struct {
	Timestamp Expr // µs
	TTL       Expr // seconds
}

// Insert is INSERT … VALUES or INSERT … JSON.
type Insert struct {
	Pos
	Table        Name
	Columns      []Ident
	Values       []Expr // at least one; the plan counts them
	ValuesAt     Pos    // of their bracket
	JSON         Expr   // a string or a marker; nil for VALUES
	DefaultUnset bool   // INSERT JSON … DEFAULT UNSET: columns not in the document are left alone
	IfNotExists  bool
	Using        Using
}

// AssignOp says how an assignment combines its value with the column's.
type AssignOp uint8

const (
	Assign   AssignOp = iota // c = v, c[k] = v, c.f = v
	Append                   // c = c + v, c += v: counters, lists, sets, maps
	Prepend                  // c = v + c: lists (a counter and a set may be written so as well)
	Subtract                 // c = c - v, c -= v
)

// Assignment is one term of SET.
type Assignment struct {
	Pos
	Column Ident
	Key    Expr   // c[key] = v, else nil
	Field  *Ident // c.field = v, else nil
	Op     AssignOp
	Value  Expr
}

// Update is UPDATE … SET … WHERE ….
type Update struct {
	Pos
	Table    Name
	Using    Using
	Set      []Assignment
	Where    []Relation
	IfExists bool
	If       []Relation
}

// DeleteTarget is one thing DELETE removes: a column, an element of it, or a field.
type DeleteTarget struct {
	Pos
	Column Ident
	Key    Expr
	Field  *Ident
}

// Delete is DELETE [targets] FROM …. No targets: whole rows, ranges or partitions.
type Delete struct {
	Pos
	Table    Name
	Targets  []DeleteTarget
	Using    Using // TIMESTAMP only
	Where    []Relation
	IfExists bool
	If       []Relation
}

// BatchKind of a BATCH statement.
type BatchKind uint8

const (
	Logged BatchKind = iota
	Unlogged
	CounterBatch
)

// Batch is BEGIN … APPLY BATCH. Markers are numbered through all statements.
type Batch struct {
	Pos
	Type       BatchKind
	Using      Using       // TIMESTAMP only
	Statements []Statement // *Insert, *Update, *Delete
}

// Selector is one item of a select list.
type Selector struct {
	Expr  Expr
	Alias string // "" without AS
}

// Ordering is one term of ORDER BY or CLUSTERING ORDER BY.
type Ordering struct {
	Column Ident
	Desc   bool
	ANN    Expr // ORDER BY c ANN OF v, else nil
}

// Select is SELECT.
type Select struct {
	Pos
	JSON, Distinct    bool
	Selectors         []Selector // empty: *
	Table             Name
	Where             []Relation
	GroupBy           []Expr // Columns, or Calls on them
	OrderBy           []Ordering
	PerPartitionLimit Expr // nil without; an integer or a marker
	Limit             Expr // nil without; an integer or a marker
	AllowFiltering    bool
	Options           []Property // WITH …
}

// Describe is DESCRIBE or DESC.
type Describe struct {
	Pos
	// What is KEYSPACES, KEYSPACE, TABLES, TABLE, TYPES, TYPE, FUNCTIONS, FUNCTION, AGGREGATES, AGGREGATE, INDEX, MATERIALIZED VIEW, CLUSTER,
	// SCHEMA, or "" for DESCRIBE name, where the name may be of any of them.
	What      string
	Full      bool // FULL SCHEMA
	Only      bool // ONLY KEYSPACE
	Name      Name // KEYSPACE: in Name.Name, "" for the current one
	Internals bool // WITH INTERNALS
}

// Unsupported is a statement of CQL that was recognised by its first words, whose rest was only checked to be well-formed text (tokens and
// brackets): indexes, materialized views, functions, aggregates, triggers, roles, users, permissions, identities.
type Unsupported struct {
	Pos
	What string // CREATE INDEX, LIST ROLES, GRANT …
	Text string // the whole statement
}

// Kind names the statement.
func (*CreateKeyspace) Kind() string { return "CREATE KEYSPACE" }

// Kind names the statement.
func (*AlterKeyspace) Kind() string { return "ALTER KEYSPACE" }

// Kind names the statement.
func (*DropKeyspace) Kind() string { return "DROP KEYSPACE" }

// Kind names the statement.
func (*CreateTable) Kind() string { return "CREATE TABLE" }

// Kind names the statement.
func (*AlterTable) Kind() string { return "ALTER TABLE" }

// Kind names the statement.
func (*DropTable) Kind() string { return "DROP TABLE" }

// Kind names the statement.
func (*CreateType) Kind() string { return "CREATE TYPE" }

// Kind names the statement.
func (*AlterType) Kind() string { return "ALTER TYPE" }

// Kind names the statement.
func (*DropType) Kind() string { return "DROP TYPE" }

// Kind names the statement.
func (*Truncate) Kind() string { return "TRUNCATE" }

// Kind names the statement.
func (*Use) Kind() string { return "USE" }

// Kind names the statement.
func (*Insert) Kind() string { return "INSERT" }

// Kind names the statement.
func (*Update) Kind() string { return "UPDATE" }

// Kind names the statement.
func (*Delete) Kind() string { return "DELETE" }

// Kind names the statement.
func (*Batch) Kind() string { return "BATCH" }

// Kind names the statement.
func (*Select) Kind() string { return "SELECT" }

// Kind names the statement.
func (*Describe) Kind() string { return "DESCRIBE" }

// Kind names the statement.
func (u *Unsupported) Kind() string { return u.What }

func (*CreateKeyspace) statement() {}
func (*AlterKeyspace) statement()  {}
func (*DropKeyspace) statement()   {}
func (*CreateTable) statement()    {}
func (*AlterTable) statement()     {}
func (*DropTable) statement()      {}
func (*CreateType) statement()     {}
func (*AlterType) statement()      {}
func (*DropType) statement()       {}
func (*Truncate) statement()       {}
func (*Use) statement()            {}
func (*Insert) statement()         {}
func (*Update) statement()         {}
func (*Delete) statement()         {}
func (*Batch) statement()          {}
func (*Select) statement()         {}
func (*Describe) statement()       {}
func (*Unsupported) statement()    {}
