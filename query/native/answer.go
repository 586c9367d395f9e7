package native

import (
	"encoding/binary"
	"sync"

	"nodedb/query"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// maxResultBytes of rows in one answer: what a frame can carry, less what stands around them.
const maxResultBytes = wire.MaxFrameBytes - 1<<20

// answer sends a result. id is the prepared statement's, or nil.
func (r *request) answer(res *query.Result, id *[16]byte) error {
	if len(res.Rows) > maxResultBytes {
		return wire.Errorf(wire.CodeInvalid, "the result has %d bytes, and a frame carries at most %d: ask for pages or for less", len(res.Rows), maxResultBytes)
	}
	c := r.conn
	r.endTrace(nil)
	if res.Kind == query.ResultSetKeyspace {
		s := *c.session.Load()
		s.Keyspace = res.Keyspace
		c.session.Store(&s)
	}
	var meta *wire.Metadata
	var o wire.RowsOptions
	if res.Kind == query.ResultRows {
		meta, o = r.metadata(res, id)
	}
	buf := c.begin(r.header, res)
	switch res.Kind {
	case query.ResultRows:
		buf = c.writer.Reserve(buf, len(res.Rows)+len(res.PageState)+len(meta.Bytes())+rowsHeadBytes)
		buf = meta.AppendRows(buf, o, res.RowCount, res.Rows)
	case query.ResultSetKeyspace:
		buf = wire.AppendSetKeyspace(buf, res.Keyspace)
	case query.ResultSchemaChange:
		change := schemaChange(res.Change)
		buf = change.Append(wire.AppendResultKind(buf, wire.KindSchemaChange))
	default:
		buf = wire.AppendResultKind(buf, wire.KindVoid)
	}
	_ = c.writer.End(buf)
	res.Release()
	return nil
}

// rowsHeadBytes is more than what a ROWS result has beside its rows, its page state and its metadata.
const rowsHeadBytes = 128

// begin begins the answer's frame with what stands before the message: tracing id, then warnings.
func (c *conn) begin(h wire.Header, res *query.Result) []byte {
	h = wire.Header{Version: h.Version, Response: true, Stream: h.Stream, Op: wire.OpResult}
	traced := res.TraceID != [16]byte{}
	if traced {
		h.Flags |= wire.FlagTracing
	}
	if len(res.Warnings) > 0 {
		h.Flags |= wire.FlagWarning
	}
	buf := c.writer.Begin(h)
	if traced {
		buf = append(buf, res.TraceID[:]...)
	}
	if len(res.Warnings) > 0 {
		buf = wire.AppendStringList(buf, res.Warnings)
	}
	return buf
}

// metadata gives the encoded column specs of a result and how they are sent.
//
// v5: the client says which metadata it knows, by its id; when that is still right it may skip it, and when not it is told the new one. A
// statement that had no columns when it was prepared (a conditional one) gets its columns each time, without being told that they changed.
//
// v4: a client can't say what it knows, and after ALTER it would decode SELECT * by the columns of before. So it gets its columns each time, even
// when it asks to skip them: a copy of cached bytes for us, and wrong data for nobody.
func (r *request) metadata(res *query.Result, id *[16]byte) (*wire.Metadata, wire.RowsOptions) {
	o := wire.RowsOptions{PageState: res.PageState}
	if id == nil {
		return wire.EncodeMetadata(columnsOf(res.Columns)), o
	}
	entry := r.conn.server.metas.entry(*id, res.Columns)
	if r.header.Version < wire.V5 {
		return entry.meta, o
	}
	switch known := string(r.execute.ResultID); {
	case known == string(entry.id[:]):
		o.Skip = r.execute.SkipMetadata
	case known != string(noColumns[:]):
		o.NewID = entry.id[:]
	}
	return entry.meta, o
}

func (r *request) answerPrepared(p *query.Prepared) error {
	c := r.conn
	resultID := noColumns
	if len(p.Columns) > 0 {
		resultID = c.server.metas.entry(p.ID, p.Columns).id
	}
	m := wire.Prepared{
		ID: p.ID[:], ResultID: resultID[:], Markers: columnsOf(p.Markers), PartitionKey: p.PartitionKey, Columns: columnsOf(p.Columns),
	}
	h := wire.Header{Version: r.header.Version, Response: true, Stream: r.header.Stream, Op: wire.OpResult}
	body := m.Append(nil, h.Version) // not between Begin and End: a panic there would leave the writer locked
	_ = c.writer.End(append(c.writer.Begin(h), body...))
	return nil
}

func columnsOf(specs []query.ColumnSpec) []wire.Column {
	columns := make([]wire.Column, len(specs))
	for i, s := range specs {
		columns[i] = wire.Column(s)
	}
	return columns
}

// maxMetaEntries bounds the cache of encoded metadata; beyond it, it begins anew.
const maxMetaEntries = 16384

// metaCache keeps the encoded column specs of prepared statements. An entry is right as long as the engine gives the very same slice of columns, as it
// does until it plans the statement anew.
type metaCache struct {
	mu      sync.RWMutex
	entries map[[16]byte]*metaEntry
}

type metaEntry struct {
	columns []query.ColumnSpec
	meta    *wire.Metadata
	id      [16]byte // v5's result_metadata_id: the same for the same columns on all nodes
}

// noColumns is the result_metadata_id of statements without a result's columns.
var noColumns = metadataID(wire.EncodeMetadata(nil))

func (m *metaCache) entry(id [16]byte, columns []query.ColumnSpec) *metaEntry {
	m.mu.RLock()
	e := m.entries[id]
	m.mu.RUnlock()
	if e != nil && len(e.columns) == len(columns) && (len(columns) == 0 || &e.columns[0] == &columns[0]) {
		return e
	}
	e = &metaEntry{columns: columns, meta: wire.EncodeMetadata(columnsOf(columns))}
	e.id = metadataID(e.meta)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entries) >= maxMetaEntries {
		clear(m.entries)
	}
	m.entries[id] = e
	return e
}

func metadataID(m *wire.Metadata) (id [16]byte) {
	a, b := vnodes.Hash128(m.Bytes())
	binary.BigEndian.PutUint64(id[:8], a)
	binary.BigEndian.PutUint64(id[8:], b)
	return id
}
