// Package query is the engine that strings parser, planner and executor together, with prepared statements and the
// system tables. Doors call it. It may import everything of lower ranks and its own subpackages but the doors. Start
// reading at Engine.
package query

import (
	"context"
	"crypto/md5"
	"errors"

	"github.com/cespare/xxhash/v2"

	"nodedb/query/cql"
	"nodedb/query/exec"
	"nodedb/query/plan"
	"nodedb/query/wire"
)

// Session is one client's state: a door keeps one a connection. Not safe for concurrent use unless Keyspace is left
// alone.
type Session struct {
	Keyspace string // after USE
	Identity string // who is asking; "" is anonymous
	Client   string // remote address
}

// Params are a request's options: see exec.Params.
type Params = exec.Params

// NoTimestamp in Params says that the client gave none.
const NoTimestamp = exec.NoTimestamp

// ResultKind as numbered in the binary protocol.
type ResultKind = exec.ResultKind

// The kinds of result.
const (
	ResultVoid         = exec.ResultVoid
	ResultRows         = exec.ResultRows
	ResultSetKeyspace  = exec.ResultSetKeyspace
	ResultSchemaChange = exec.ResultSchemaChange
)

// ColumnSpec describes a result column or a bind marker.
type ColumnSpec = plan.ColumnSpec

// Result of a statement: see exec.Result.
type Result = exec.Result

// Change is what a SCHEMA_CHANGE result and event carry: CREATED|UPDATED|DROPPED, KEYSPACE|TABLE|TYPE, names.
type Change = exec.Change

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

// The kinds of batch.
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
type Engine struct {
	exec     *exec.Executor
	prepared *cache
}

// Options of NewEngine.
type Options struct {
	MaxPrepared     int    // statements kept, the least recently used go first; default 10,000
	MaxPreparedCost int64  // bytes of memory that those are taken to cost together (costOf), by the same rule; default 256 MiB
	ReleaseVersion  string // system.local release_version, what drivers see (e.g. 5.0.0; must parse as a Cassandra version)
	Exec            exec.Options
}

// DefaultMaxPrepared is how many prepared statements are kept where Options don't say.
const DefaultMaxPrepared = 10_000

// DefaultMaxPreparedCost, in bytes: room for DefaultMaxPrepared statements of 300 characters, or for 4 of the longest that are parsed.
const DefaultMaxPreparedCost = 256 << 20

// NewEngine wires an engine.
func NewEngine(c exec.Cluster, o Options) *Engine {
	if o.MaxPrepared <= 0 {
		o.MaxPrepared = DefaultMaxPrepared
	}
	if o.MaxPreparedCost <= 0 {
		o.MaxPreparedCost = DefaultMaxPreparedCost
	}
	return &Engine{exec: exec.New(c, o.Exec), prepared: newCache(o.MaxPrepared, o.MaxPreparedCost)}
}

// keyspaceOf is the keyspace that a request's names are looked up in.
func keyspaceOf(s *Session, override string) string {
	if override != "" {
		return override
	}
	return s.Keyspace
}

// plan parses and plans a statement.
func (e *Engine) plan(text, keyspace string) (*plan.Plan, error) {
	parsed, err := cql.Parse(text)
	if err != nil {
		var refused *cql.Error
		if errors.As(err, &refused) && refused.Refused {
			return nil, wire.Errorf(wire.CodeInvalid, "%v", err)
		}
		return nil, wire.Errorf(wire.CodeSyntax, "%v", err)
	}
	p, err := plan.Prepare(parsed, e.exec.Schema(), keyspace)
	if err != nil {
		return nil, err
	}
	d := xxhash.New()
	d.WriteString(keyspace)
	d.Write([]byte{0})
	d.WriteString(text)
	p.Hash = d.Sum64()
	return p, nil
}

// Query parses, plans and runs one statement.
func (e *Engine) Query(ctx context.Context, s *Session, cql string, p *Params) (*Result, error) {
	planned, err := e.plan(cql, keyspaceOf(s, p.Keyspace))
	if err != nil {
		return nil, err
	}
	return e.run(ctx, s, planned, p)
}

func (e *Engine) run(ctx context.Context, s *Session, planned *plan.Plan, p *Params) (*Result, error) {
	res, err := e.exec.Run(ctx, planned, p)
	if err == nil && res.Kind == ResultSetKeyspace {
		s.Keyspace = res.Keyspace
	}
	return res, err
}

// statementID names a prepared statement as Cassandra does: MD5 of the keyspace and the text.
func statementID(keyspace, text string) [16]byte { return md5.Sum([]byte(keyspace + text)) }

// Prepare plans a statement for Execute.
func (e *Engine) Prepare(ctx context.Context, s *Session, cql, keyspace string) (*Prepared, error) {
	if err := ctx.Err(); err != nil {
		return nil, wire.Errorf(wire.CodeServer, "The request ended before its answer: %v", err)
	}
	if cost := costOf(len(cql)); cost > e.prepared.maxBytes {
		return nil, wire.Errorf(wire.CodeInvalid, "A prepared statement of %d bytes would cost %d bytes of memory, the limit is %d "+
			"(prepared_statements_cache_size); bind its values", len(cql), cost, e.prepared.maxBytes)
	}
	keyspace = keyspaceOf(s, keyspace)
	planned, err := e.plan(cql, keyspace)
	if err != nil {
		return nil, err
	}
	id := statementID(keyspace, cql)
	e.prepared.put(id, newStatement(cql, keyspace, planned))
	return describePrepared(id, planned), nil
}

func describePrepared(id [16]byte, p *plan.Plan) *Prepared {
	return &Prepared{ID: id, Markers: p.Markers, PartitionKey: p.PartitionKey, Columns: p.Columns, ResultID: resultID(p.Columns)}
}

// resultID is a hash of a result's metadata: it changes when the columns do.
func resultID(columns []ColumnSpec) [16]byte {
	var b []byte
	for _, c := range columns {
		b = append(append(append(append(b, c.Keyspace...), 0), c.Table...), 0)
		b = append(append(append(append(b, c.Name...), 0), c.Type.String()...), 0)
	}
	return md5.Sum(b)
}

// Panicked is the error of a started statement whose end panicked.
type Panicked = exec.Panicked

// Start begins a prepared statement that needs no goroutine to wait for it; it does not block. done is called once with what Execute would give, from any
// goroutine, maybe before Start returns; p is the engine's until then, and the result is its again when done returns. False: done is not called, ask Execute.
func (e *Engine) Start(ctx context.Context, _ *Session, id [16]byte, p *Params, done func(*Result, error)) bool {
	planned, err := e.lookup(id)
	return err == nil && e.exec.Start(ctx, planned, p, done)
}

// Execute runs a prepared statement; an unknown id gives an UNPREPARED error. A statement whose table changed is
// planned anew.
func (e *Engine) Execute(ctx context.Context, s *Session, id [16]byte, p *Params) (*Result, error) {
	planned, err := e.lookup(id)
	if err != nil {
		return nil, err
	}
	return e.run(ctx, s, planned, p)
}

// lookup finds a prepared statement's plan, made anew if its table changed.
func (e *Engine) lookup(id [16]byte) (*plan.Plan, error) {
	st, ok := e.prepared.get(id)
	if !ok {
		err := wire.Errorf(wire.CodeUnprepared, "Prepared query with ID %x not found (either the query was not prepared on this host, "+
			"the host has been restarted, or you have prepared too many queries and it has been evicted)", id)
		err.ID = id
		return nil, err
	}
	planned := st.plan.Load()
	if planned.Catalog == e.exec.Catalog() {
		return planned, nil
	}
	now := e.exec.Schema()
	if planned.Valid(now) {
		fresh := *planned
		fresh.Catalog = now.Catalog
		st.plan.Store(&fresh)
		return &fresh, nil
	}
	planned, err := e.plan(st.text, st.keyspace)
	if err != nil {
		return nil, err
	}
	st.plan.Store(planned)
	return planned, nil
}

// Describe gives a prepared statement's description as it is now: after its table changed, another one than Prepare
// gave.
func (e *Engine) Describe(id [16]byte) (*Prepared, error) {
	planned, err := e.lookup(id)
	if err != nil {
		return nil, err
	}
	return describePrepared(id, planned), nil
}

// Batch runs a protocol-level batch.
func (e *Engine) Batch(ctx context.Context, s *Session, kind BatchKind, sts []BatchStatement, p *Params) (*Result, error) {
	if len(sts) > exec.MaxBatchStatements {
		return nil, wire.Errorf(wire.CodeInvalid, "A batch may have %d statements, this one has %d", exec.MaxBatchStatements, len(sts))
	}
	kinds := map[BatchKind]cql.BatchKind{BatchLogged: cql.Logged, BatchUnlogged: cql.Unlogged, BatchCounter: cql.CounterBatch}
	k, ok := kinds[kind]
	if !ok {
		return nil, wire.Errorf(wire.CodeProtocol, "Unknown batch type %d", kind)
	}
	items := make([]exec.BatchItem, len(sts))
	for i := range sts {
		items[i].Values, items[i].Unset = sts[i].Values, sts[i].Unset
		var err error
		if sts[i].ID != nil {
			items[i].Plan, err = e.lookup(*sts[i].ID)
		} else {
			items[i].Plan, err = e.plan(sts[i].Query, keyspaceOf(s, p.Keyspace))
		}
		if err != nil {
			return nil, exec.InStatement(i, len(sts), err)
		}
	}
	return e.exec.Batch(ctx, k, items, p)
}
