package wire

import (
	"fmt"
	"net/netip"

	"nodedb/query/types"
)

// ResultKind as numbered in the protocol, section 4.2.5.
type ResultKind int32

// The kinds of result.
const (
	KindVoid         ResultKind = 1
	KindRows         ResultKind = 2
	KindSetKeyspace  ResultKind = 3
	KindPrepared     ResultKind = 4
	KindSchemaChange ResultKind = 5
)

// Column describes a result column or a bind marker.
type Column struct {
	Keyspace, Table, Name string
	Type                  *types.Type
}

// metadataFlag is a bit of the flags of result metadata.
type metadataFlag int32

const (
	metaGlobalTable metadataFlag = 0x01
	metaMorePages   metadataFlag = 0x02
	metaNoMetadata  metadataFlag = 0x04
	metaChanged     metadataFlag = 0x08 // v5
)

// AppendResultKind begins the body of a RESULT.
func AppendResultKind(dst []byte, k ResultKind) []byte { return AppendInt(dst, int32(k)) }

// AppendSetKeyspace appends the body of a RESULT that answers USE.
func AppendSetKeyspace(dst []byte, keyspace string) []byte {
	return AppendString(AppendResultKind(dst, KindSetKeyspace), keyspace)
}

// AppendColumns appends column specs as result and bind metadata have them: the table once when it is the same for all (that is
// metadata flag 0x01, which the caller gets back), else for each.
//
//	[keyspace [string], table [string]] | n × ( [keyspace, table] name [string] type [option] )
func AppendColumns(dst []byte, columns []Column) (out []byte, global bool) {
	global = sameTable(columns)
	if global {
		dst = AppendString(AppendString(dst, columns[0].Keyspace), columns[0].Table)
	}
	for i := range columns {
		c := &columns[i]
		if !global {
			dst = AppendString(AppendString(dst, c.Keyspace), c.Table)
		}
		dst = c.Type.AppendWireType(AppendString(dst, c.Name))
	}
	return dst, global
}

func sameTable(columns []Column) bool {
	for i := range columns {
		if columns[i].Keyspace != columns[0].Keyspace || columns[i].Table != columns[0].Table {
			return false
		}
	}
	return len(columns) > 0
}

// Metadata is a result's encoded column specs, so that they are encoded once a statement and not once a result.
type Metadata struct {
	count   int
	global  bool
	columns []byte
}

// EncodeMetadata encodes the column specs of a result.
func EncodeMetadata(columns []Column) *Metadata {
	m := &Metadata{count: len(columns)}
	m.columns, m.global = AppendColumns(nil, columns)
	return m
}

// Bytes are the encoded column specs: equal bytes are equal metadata.
func (m *Metadata) Bytes() []byte { return m.columns }

// RowsOptions say what the metadata of a ROWS result tells.
type RowsOptions struct {
	PageState []byte // nil: no more pages
	Skip      bool   // leave the column specs out
	NewID     []byte // v5: the metadata changed, this is its new id; Skip must be false
}

// AppendRows appends the body of a RESULT of kind ROWS: rows are count × columns values, each as [bytes].
//
//	kind [int] = 2 | flags [int] | columns [int] | paging state [bytes] | new metadata id [short bytes] | column specs | rows [int] | rows
func (m *Metadata) AppendRows(dst []byte, o RowsOptions, count int, rows []byte) []byte {
	dst = AppendResultKind(dst, KindRows)
	dst = m.append(dst, o)
	dst = AppendInt(dst, int32(count))
	return append(dst, rows...)
}

func (m *Metadata) append(dst []byte, o RowsOptions) []byte {
	var f metadataFlag
	if o.PageState != nil {
		f |= metaMorePages
	}
	switch {
	case o.Skip:
		f |= metaNoMetadata
	case m.global:
		f |= metaGlobalTable
	}
	if o.NewID != nil {
		f |= metaChanged
	}
	dst = AppendInt(AppendInt(dst, int32(f)), int32(m.count))
	if o.PageState != nil {
		dst = AppendBytes(dst, o.PageState)
	}
	if o.NewID != nil {
		dst = AppendShortBytes(dst, o.NewID)
	}
	if o.Skip {
		return dst
	}
	return append(dst, m.columns...)
}

// Prepared describes a prepared statement.
type Prepared struct {
	ID           []byte
	ResultID     []byte // v5
	Markers      []Column
	PartitionKey []uint16 // marker indexes that make up the routing key, when all are markers
	Columns      []Column // of the result; none when it has no rows
}

// Append appends the body of a RESULT of kind PREPARED:
//
//	kind [int] = 4 | id [short bytes] | v5: result metadata id [short bytes] |
//	flags [int] | markers [int] | n [int] | n × marker index [short] | marker specs | result metadata as in ROWS
func (p *Prepared) Append(dst []byte, v Version) []byte {
	dst = AppendResultKind(dst, KindPrepared)
	dst = AppendShortBytes(dst, p.ID)
	if v >= V5 {
		dst = AppendShortBytes(dst, p.ResultID)
	}
	markers := EncodeMetadata(p.Markers)
	var f metadataFlag
	if markers.global {
		f = metaGlobalTable
	}
	dst = AppendInt(AppendInt(dst, int32(f)), int32(len(p.Markers)))
	dst = AppendInt(dst, int32(len(p.PartitionKey)))
	for _, i := range p.PartitionKey {
		dst = AppendShort(dst, i)
	}
	dst = append(dst, markers.columns...)
	return EncodeMetadata(p.Columns).append(dst, RowsOptions{Skip: len(p.Columns) == 0})
}

// Change is what a SCHEMA_CHANGE says, as a result or an event: Kind is CREATED, UPDATED or DROPPED; Object is KEYSPACE, TABLE, TYPE, FUNCTION or
// AGGREGATE.
type Change struct {
	Kind, Object, Keyspace, Name string
	Args                         []string // FUNCTION and AGGREGATE: the argument types
}

// Append appends the fields of a SCHEMA_CHANGE.
func (c *Change) Append(dst []byte) []byte {
	dst = AppendString(AppendString(AppendString(dst, c.Kind), c.Object), c.Keyspace)
	switch c.Object {
	case "KEYSPACE":
		return dst
	case "FUNCTION", "AGGREGATE":
		return AppendStringList(AppendString(dst, c.Name), c.Args)
	default:
		return AppendString(dst, c.Name)
	}
}

func (c *Change) decode(d *Decoder) {
	c.Kind, c.Object, c.Keyspace = d.String(), d.String(), d.String()
	if c.Object == "KEYSPACE" {
		return
	}
	c.Name = d.String()
	if c.Object == "FUNCTION" || c.Object == "AGGREGATE" {
		c.Args = d.StringList()
	}
}

// The kinds of event that REGISTER asks for.
const (
	EventTopology = "TOPOLOGY_CHANGE" // NEW_NODE, REMOVED_NODE, MOVED_NODE
	EventStatus   = "STATUS_CHANGE"   // UP, DOWN
	EventSchema   = "SCHEMA_CHANGE"
)

// Event is what a server tells without being asked.
type Event struct {
	Type    string // EventTopology, EventStatus, EventSchema
	Change  string // NEW_NODE, REMOVED_NODE, MOVED_NODE; UP, DOWN
	Address netip.AddrPort
	Schema  Change
}

// Append appends the body of an EVENT.
func (e *Event) Append(dst []byte) []byte {
	dst = AppendString(dst, e.Type)
	if e.Type == EventSchema {
		return e.Schema.Append(dst)
	}
	return AppendInet(AppendString(dst, e.Change), e.Address)
}

// DecodeEvent reads the body of an EVENT.
func DecodeEvent(body []byte) (Event, error) {
	d := NewDecoder(body)
	e := Event{Type: d.String()}
	switch e.Type {
	case EventSchema:
		e.Schema.decode(&d)
	case EventTopology, EventStatus:
		e.Change, e.Address = d.String(), d.Inet()
	default:
		d.fail("event of type %q", e.Type)
	}
	return e, wrapDecode(OpEvent, d.Err())
}

// columns reads n column specs.
func (d *Decoder) columns(n int, f metadataFlag) []Column {
	size := 4 // a name's length and a type
	if f&metaGlobalTable == 0 {
		size = 8
	}
	var global Column
	if f&metaGlobalTable != 0 {
		global.Keyspace, global.Table = d.String(), d.String()
	}
	if n > maxItems {
		d.fail("%d columns", n)
	}
	n = d.fits(n, size, "columns")
	columns := make([]Column, 0, n)
	for range n {
		c := global
		if f&metaGlobalTable == 0 {
			c.Keyspace, c.Table = d.String(), d.String()
		}
		c.Name = d.String()
		c.Type = d.wireType()
		columns = append(columns, c)
	}
	return columns
}

func (d *Decoder) wireType() *types.Type {
	if d.err != nil {
		return nil
	}
	t, rest, err := types.DecodeWireType(d.b)
	if err != nil {
		d.err, d.b = fmt.Errorf("%w: %w", ErrMalformed, err), nil
		return nil
	}
	d.b = rest
	return t
}
