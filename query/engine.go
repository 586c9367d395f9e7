// Package query is the engine that strings parser, planner and executor together, with prepared statements and the system tables. Doors
// call it. It may import everything of lower ranks and its own subpackages but the doors. Start reading at Engine.
package query

import (
	"context"

	"nodedb/coordinator/consistency"
	"nodedb/query/exec"
	"nodedb/query/types"
)

// Session is one client's state: a door keeps one a connection. Not safe for concurrent use unless Keyspace is left alone.
type Session struct {
	Keyspace string // after USE
	Identity string // who is asking; "" is anonymous
	Client   string // remote address
}

// Params are a request's options.
type Params struct {
	Values     [][]byte // positional (in marker order), or by Names; nil is null
	Unset      []bool   // nil, or for each value: UNSET
	Names      []string // named values: as long as Values
	Level      consistency.Level
	Serial     consistency.Level
	PageSize   int // rows; 0: not paged
	PageState  []byte
	Timestamp  int64  // µs; NoTimestamp: ours
	Keyspace   string // v5: overrides the session's
	NowSeconds int64  // v5; 0: ours
	Trace      bool
}

// NoTimestamp in Params says that the client gave none.
const NoTimestamp int64 = -1 << 63

// ResultKind as numbered in the binary protocol.
type ResultKind int32

const (
	ResultVoid         ResultKind = 1
	ResultRows         ResultKind = 2
	ResultSetKeyspace  ResultKind = 3
	ResultSchemaChange ResultKind = 5
)

// ColumnSpec describes a result column or a bind marker.
type ColumnSpec struct {
	Keyspace, Table, Name string
	Type                  *types.Type
}

// Result of a statement.
type Result struct {
	Kind      ResultKind
	Columns   []ColumnSpec
	Rows      []byte // RowCount × len(Columns) values, each a CQL [bytes] (int32 length, -1 null)
	RowCount  int
	PageState []byte // nil: no more
	Warnings  []string
	Keyspace  string // SetKeyspace
	Change    Change // SchemaChange
	TraceID   [16]byte
}

// Change is what a SCHEMA_CHANGE result and event carry: CREATED|UPDATED|DROPPED, KEYSPACE|TABLE|TYPE, names.
type Change struct{ Kind, Object, Keyspace, Name string }

// Prepared statement's description.
type Prepared struct {
	ID           [16]byte
	Markers      []ColumnSpec
	PartitionKey []uint16     // marker indexes that make up the routing key, when all are markers
	Columns      []ColumnSpec // of the result; nil when there are no rows
	ResultID     [16]byte     // v5 result_metadata_id
}

// BatchKind as numbered in the binary protocol.
type BatchKind uint8

const (
	BatchLogged BatchKind = iota
	BatchUnlogged
	BatchCounter
)

// BatchStatement is one statement of a protocol-level batch: text, or a prepared id.
type BatchStatement struct {
	Query  string
	ID     *[16]byte
	Values [][]byte
	Unset  []bool
}

// Engine answers CQL. Safe for concurrent use. Errors are *wire.Error.
type Engine struct{}

// NewEngine wires an engine.
func NewEngine(c exec.Cluster, o Options) *Engine { panic("contract") }

// Options of NewEngine.
type Options struct {
	MaxPrepared    int    // statements kept, the least recently used go first; default 10,000
	ReleaseVersion string // system.local release_version, what drivers see (e.g. 4.0.11-nodedb… must parse as a Cassandra version)
}

// Query parses, plans and runs one statement.
func (e *Engine) Query(ctx context.Context, s *Session, cql string, p *Params) (*Result, error) {
	panic("contract")
}

// Prepare plans a statement for Execute.
func (e *Engine) Prepare(ctx context.Context, s *Session, cql, keyspace string) (*Prepared, error) {
	panic("contract")
}

// Execute runs a prepared statement; an unknown id gives an UNPREPARED error. A statement whose table changed is planned anew.
func (e *Engine) Execute(ctx context.Context, s *Session, id [16]byte, p *Params) (*Result, error) {
	panic("contract")
}

// Batch runs a protocol-level batch.
func (e *Engine) Batch(ctx context.Context, s *Session, kind BatchKind, sts []BatchStatement, p *Params) (*Result, error) {
	panic("contract")
}
