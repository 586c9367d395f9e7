package exec

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/config"
	"nodedb/node/row"
	"nodedb/node/trace"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/virtual"
	"nodedb/query/wire"
)

// Limits of a request. Each has an error that names it, or makes a page shorter.
const (
	// MaxResult bounds the rows of a SELECT that isn't paged, in bytes.
	MaxResult = 64 << 20
	// MaxPage bounds the rows of one page, in bytes: a page that reaches it ends early.
	MaxPage = 8 << 20
	// MaxReads bounds how many reads one page of a SELECT makes before it ends short, or empty: 800,000 deleted or filtered rows, a fifth of a second of
	// one core.
	MaxReads = 8
	// MaxAhead is how far ahead of this node's clock a client's own timestamp may lie.
	MaxAhead = 24 * time.Hour
	// MaxMutation bounds one statement's mutation of one partition, in bytes.
	MaxMutation = plan.MaxBatchSize
)

// NoTimestamp in Params says that the client gave none.
const NoTimestamp int64 = -1 << 63

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
	TraceID    [16]byte // of a traced request; zero: a random one
}

// ResultKind as numbered in the binary protocol.
type ResultKind int32

// The kinds of result.
const (
	ResultVoid         ResultKind = 1
	ResultRows         ResultKind = 2
	ResultSetKeyspace  ResultKind = 3
	ResultSchemaChange ResultKind = 5
)

// Change is what a SCHEMA_CHANGE result and event carry: CREATED|UPDATED|DROPPED, KEYSPACE|TABLE|TYPE, names.
type Change struct{ Kind, Object, Keyspace, Name string }

// Result of a statement.
type Result struct {
	Kind      ResultKind
	Columns   []plan.ColumnSpec
	Rows      []byte // RowCount × len(Columns) values, each a CQL [bytes] (int32 length, -1 null)
	RowCount  int
	PageState []byte // nil: no more
	Warnings  []string
	Keyspace  string // SetKeyspace
	Change    Change // SchemaChange
	TraceID   [16]byte

	home *sync.Pool // where the memory of Rows goes
	lent *[]byte    // where it came from; nil: nowhere
}

// Release gives the memory of Rows back, for another result. Nobody has to call it; who does looks at Rows no more.
func (r *Result) Release() {
	if r.home == nil || cap(r.Rows) > maxReleased {
		return
	}
	if r.lent == nil {
		r.lent = new([]byte)
	}
	*r.lent = r.Rows[:0]
	r.home.Put(r.lent)
	r.Rows, r.home, r.lent = nil, nil, nil
}

// maxReleased is the largest memory of a result's rows that is used again, in bytes.
const maxReleased = 1 << 20

// Executor runs plans. Safe for concurrent use.
type Executor struct {
	cluster Cluster
	now     nowReader // cluster, when it is one
	system  map[string]*schema.Keyspace
	sources plan.Sources
	release string
	traces  *trace.Recorder // nil: none are kept
	waiters sync.Pool
	rooms   rooms
	results sync.Pool // of *[]byte: memory of results' rows
	started starts
	guards  guardrails
}

// Options of New.
type Options struct {
	Guardrails     *config.Guardrails // nil: the defaults
	Now            func() time.Time   // default time.Now: what now() and currentTimestamp() show
	UUID           func() [16]byte    // random ids; default crypto/rand
	ReleaseVersion string
}

// New makes an executor.
func New(c Cluster, o Options) *Executor {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.UUID == nil {
		o.UUID = randomUUID
	}
	id := o.UUID()
	generator, err := types.NewTimeuuidGenerator(o.Now, &seedReader{seed: id[:]})
	if err != nil { // the reader above never fails
		panic(err)
	}
	x := &Executor{
		cluster: c, system: virtual.Keyspaces(), release: o.ReleaseVersion,
		guards:  newGuardrails(o.Guardrails),
		sources: plan.Sources{Now: o.Now, UUID: o.UUID, Timeuuid: generator.Next},
	}
	x.now, _ = c.(nowReader)
	if t, ok := c.(virtual.Tracer); ok {
		x.traces = t.Traces()
	}
	return x
}

// seedReader gives the bytes of a seed over and over.
type seedReader struct{ seed []byte }

func (r *seedReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.seed[i%len(r.seed)]
	}
	return len(p), nil
}

func randomUUID() (id [16]byte) {
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // crypto/rand does not fail: it ends the process itself
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Schema is what names mean now.
func (x *Executor) Schema() *plan.Schema {
	return &plan.Schema{Catalog: x.cluster.Catalog(), System: x.system}
}

// System gives the system keyspaces.
func (x *Executor) System() map[string]*schema.Keyspace { return x.system }

// Cluster is what plans run on.
func (x *Executor) Cluster() Cluster { return x.cluster }

// Catalog is the newest schema.
func (x *Executor) Catalog() *schema.Catalog { return x.cluster.Catalog() }

// Run runs a plan. Errors are *wire.Error.
func (x *Executor) Run(ctx context.Context, p *plan.Plan, params *Params) (*Result, error) {
	r := request{x: x, ctx: ctx, plan: p, params: params}
	if err := r.bind(p, params.Values, params.Unset, params.Names); err != nil {
		return nil, err
	}
	span := r.traced()
	if span != nil {
		span.Addf("Parsed and planned: %s", p.Kind)
	}
	res, err := r.run()
	if err != nil {
		return nil, wireError(err)
	}
	if span != nil && res.Kind == ResultRows {
		span.Addf("Made a page of %d row(s), %d bytes", res.RowCount, len(res.Rows))
	}
	res.TraceID = r.trace
	res.Warnings = append(append(r.warnings, res.Warnings...), p.Warnings...)
	return res, nil
}

// request is one run of a plan.
type request struct {
	x      *Executor
	ctx    context.Context
	plan   *plan.Plan
	params *Params
	env    plan.Env
	trace  [16]byte
	stamp  int64       // of the request's writes; 0: not taken yet
	rows   []row.Entry // room of the rows of its first mutation

	warnings []string // of guardrails
}

// traced gives a request that wants it a trace's id, and the span for the engine's own steps.
func (r *request) traced() *trace.Span {
	if !r.params.Trace {
		return nil
	}
	if r.trace = r.params.TraceID; r.trace == [16]byte{} {
		r.trace = r.x.sources.UUID()
	}
	return r.x.traces.Span(r.trace, "query")
}

func (r *request) run() (*Result, error) {
	switch body := r.plan.Body.(type) {
	case *plan.Select:
		return r.selectRows(body)
	case *plan.Write:
		return r.write(body)
	case *plan.Batch:
		return r.batchStatement(body)
	case *plan.Change:
		return r.change(body)
	case *plan.Use:
		return &Result{Kind: ResultSetKeyspace, Keyspace: body.Keyspace}, nil
	case *plan.Describe:
		return r.describe(body)
	}
	return nil, wire.Errorf(wire.CodeServer, "cannot run a %s", r.plan.Kind)
}

// bind takes a statement's values: checked against the markers' types, and canonical.
func (r *request) bind(p *plan.Plan, values [][]byte, unset []bool, names []string) error {
	r.env.Sources = &r.x.sources
	r.env.Now = r.params.NowSeconds
	if r.env.Now == 0 {
		r.env.Now = r.x.cluster.Seconds()
	}
	if len(names) > 0 {
		var err error
		if values, unset, err = byName(p, values, unset, names); err != nil {
			return err
		}
	}
	if len(values) != len(p.Markers) {
		return wire.Errorf(wire.CodeInvalid, "there were %d markers(?) in CQL but %d bound variables%s", len(p.Markers), len(values), wanted(p.Markers))
	}
	if unset != nil && len(unset) != len(values) {
		return wire.Errorf(wire.CodeProtocol, "%d values but %d unset flags", len(values), len(unset))
	}
	copied := false
	for i, v := range values {
		m := &p.Markers[i]
		if err := m.Type.Validate(v); err != nil {
			return p.Places[i].Errorf("Invalid value of type %s: %v", m.Type, err)
		}
		if len(v) == 0 || len(m.Type.Elems) == 0 {
			continue
		}
		if c := m.Type.Canonical(v); len(c) == 0 || &c[0] != &v[0] {
			if !copied {
				values, copied = append([][]byte(nil), values...), true
			}
			values[i] = c
		}
	}
	r.env.Values, r.env.Unset = values, unset
	return nil
}

// maxWanted is how many markers an error lists.
const maxWanted = 12

// wanted lists the markers of a statement.
func wanted(markers []plan.ColumnSpec) string {
	var list []string
	for i, m := range markers {
		if i == maxWanted {
			list = append(list, "…")
			break
		}
		list = append(list, m.Name+" "+m.Type.String())
	}
	if len(list) == 0 {
		return ""
	}
	return "; bind a value for each of " + strings.Join(list, ", ")
}

// byName puts named values into the markers' order.
func byName(p *plan.Plan, values [][]byte, unset []bool, names []string) ([][]byte, []bool, error) {
	if len(names) != len(values) {
		return nil, nil, wire.Errorf(wire.CodeProtocol, "%d names for %d values", len(names), len(values))
	}
	index := make(map[string]int, len(names))
	for i, n := range names {
		index[n] = i
	}
	markers := p.Markers
	out, flags := make([][]byte, len(markers)), []bool(nil)
	if unset != nil {
		flags = make([]bool, len(markers))
	}
	for i, m := range markers {
		j, ok := index[m.Name]
		if !ok {
			return nil, nil, p.Places[i].Errorf("No value for the bind variable :%s", m.Name)
		}
		out[i] = values[j]
		if flags != nil && j < len(unset) {
			flags[i] = unset[j]
		}
	}
	return out, flags, nil
}

// timestamp stamps the request's writes: the client's time, or the cluster's clock once a request.
func (r *request) timestamp() int64 {
	if r.params.Timestamp != NoTimestamp {
		return r.params.Timestamp
	}
	if r.stamp == 0 {
		r.stamp = r.x.cluster.Timestamp()
	}
	return r.stamp
}

// unique is 8 bytes that no other call gave, in order: they keep list elements that came at one time apart.
func unique(index int, salt [16]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(index))
	return append(b, salt[:6]...)
}
