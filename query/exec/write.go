package exec

import (
	"encoding/binary"
	"math"
	"sync"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/wire"
)

func (r *request) write(w *plan.Write) (*Result, error) {
	if err := checkWriteLevel(r.params.Level); err != nil {
		return nil, err
	}
	if err := r.guardWriteLevel(); err != nil {
		return nil, err
	}
	req := &coordinator.WriteRequest{Level: r.params.Level, Kind: coordinator.WriteSimple, Trace: r.trace}
	var err error
	if req.Writes, err = r.mutations(nil, w, r.timestamp()); err != nil {
		return nil, err
	}
	if err := r.send(req); err != nil {
		return nil, err
	}
	return &Result{Kind: ResultVoid}, nil
}

func checkWriteLevel(l consistency.Level) error {
	if l == consistency.Serial || l == consistency.LocalSerial {
		return wire.Errorf(wire.CodeInvalid, "You must use conditional updates for serializable writes")
	}
	return nil
}

func (r *request) send(req *coordinator.WriteRequest) error {
	if len(req.Writes) == 0 {
		return nil // only unset values: nothing to write
	}
	w := r.x.newWaiter()
	r.x.cluster.Write(r.ctx, req, w.onWrite)
	_, err := w.wait()
	return err
}

// mutations appends what a planned write comes to: one mutation for each partition it names. stamp is used where the
// statement has no timestamp of its own.
func (r *request) mutations(dst []coordinator.Write, w *plan.Write, stamp int64) ([]coordinator.Write, error) {
	m := mutator{r: r, w: w, stamp: stamp, b: builders.Get().(*row.Builder)}
	defer m.release()
	if w.JSON != nil {
		planned, err := r.fromJSON(w)
		if err != nil {
			return nil, err
		}
		m.w = planned
	}
	if err := r.guardWrite(m.w); err != nil {
		return nil, err
	}
	if err := m.options(); err != nil {
		return nil, err
	}
	if len(m.w.Where.Tokens) == 0 {
		if p, ok, err := m.w.Where.Single(&r.env); err != nil {
			return nil, err
		} else if ok {
			return m.append(dst, p)
		}
	}
	partitions, err := m.w.Where.Partitions(&r.env)
	if err == nil && len(partitions) == 0 { // what is null or unset is refused all the same
		_, _, err = m.w.Where.Slices(&r.env)
	}
	for i := 0; i < len(partitions) && err == nil; i++ {
		dst, err = m.append(dst, partitions[i])
	}
	return dst, err
}

// append appends one partition's mutation, if it comes to anything.
func (m *mutator) append(dst []coordinator.Write, p plan.Partition) ([]coordinator.Write, error) {
	mutation, err := m.partition(p)
	if err != nil {
		return nil, err
	}
	if mutation.Header == nil && len(mutation.Rows) == 0 {
		return dst, nil
	}
	if size := mutation.Size(); size > MaxMutation {
		return nil, wire.Errorf(wire.CodeInvalid, "Mutation of %d bytes is too large for the maximum size of %d", size, MaxMutation)
	}
	return append(dst, coordinator.Write{Table: m.w.Table, Mutation: mutation}), nil
}

// mutator builds one statement's mutations.
type mutator struct {
	r         *request
	w         *plan.Write
	stamp     int64
	ttl       int32
	expiry    int64
	salt      [16]byte // keeps list elements apart; drawn when first needed, as arrival is
	index     int
	arrival   int64 // µs by the cluster's clock: the place of list elements
	b         *row.Builder
	collected int      // bytes of the collection that is being written, for the guardrails
	refused   error    // by a guardrail of values
	before    before   // of the partition, where lists are looked into
	now       row.View // the row, or the statics, being written: of before
}

// builders are used again: a builder keeps the room of its cells.
var builders = sync.Pool{New: func() any { return new(row.Builder) }}

func (m *mutator) release() {
	m.b.Reset()
	builders.Put(m.b)
}

// options evaluates USING.
func (m *mutator) options() error {
	env := &m.r.env
	if m.w.Timestamp != nil {
		v, err := m.w.Timestamp.Eval(env)
		switch {
		case err != nil:
			return err
		case plan.IsUnset(v):
		case v == nil || len(v) != 8:
			return m.w.Timestamp.Errorf("Invalid null value of timestamp")
		default:
			m.stamp = types.Int64(v)
		}
	}
	if err := m.checkStamp(); err != nil {
		return err
	}
	m.ttl = m.w.Table.Options.DefaultTTL
	if m.w.TTL != nil {
		v, err := m.w.TTL.Eval(env)
		switch {
		case err != nil:
			return err
		case plan.IsUnset(v):
		case len(v) != 4:
			m.ttl = 0
		default:
			m.ttl = types.Int32(v)
		}
	}
	switch {
	case m.ttl < 0:
		return m.badTTL("A TTL must be greater or equal to 0, but was %d", m.ttl)
	case m.ttl > schema.MaxTTL:
		return m.badTTL("ttl is too large. requested (%d) maximum (%d)", m.ttl, schema.MaxTTL)
	case m.ttl > 0:
		m.expiry = env.Now + int64(m.ttl)
	}
	return nil
}

// checkStamp checks a timestamp that is not this node's own.
func (m *mutator) checkStamp() error {
	if m.stamp == m.r.stamp {
		return nil
	}
	if now := m.r.x.cluster.Seconds(); m.stamp > now*1e6+MaxAhead.Microseconds() {
		return m.badTimestamp("Timestamp %d (microseconds) lies more than %s ahead of now, which is second %d: nothing could overwrite or "+
			"delete what it writes", m.stamp, MaxAhead, now)
	}
	if m.stamp == math.MinInt64 {
		return m.badTimestamp("Timestamp %d is out of range: it has to be over it", m.stamp)
	}
	return nil
}

// badTTL and badTimestamp point at the USING they come from, if it is that.
func (m *mutator) badTTL(format string, args ...any) error {
	if m.w.TTL != nil {
		return m.w.TTL.Errorf(format, args...)
	}
	return invalid(format, args...)
}

func (m *mutator) badTimestamp(format string, args ...any) error {
	if m.w.Timestamp != nil {
		return m.w.Timestamp.Errorf(format, args...)
	}
	return invalid(format, args...)
}

func (m *mutator) partition(p plan.Partition) (row.Mutation, error) {
	t := m.w.Table
	out := row.Mutation{Storage: t.Storage, Token: p.Token, Key: p.Key}
	if m.w.ListReads > 0 {
		if err := m.read(p); err != nil {
			return out, err
		}
	}
	h := row.EmptyHeader
	if len(m.w.Statics) > 0 {
		m.now = m.before.static
		static, err := m.fragment(m.w.Statics, false)
		if err != nil {
			return out, err
		}
		h.Static = static
	}
	var err error
	switch {
	case m.w.Remove == plan.RemovePartition:
		h.Deletion = m.stamp
	case m.w.Remove == plan.RemoveRange:
		err = m.ranges(&h)
	case m.w.Remove == plan.RemoveRows || len(m.w.Cells) > 0 || m.w.Marker:
		out.Rows, err = m.rows()
	}
	if err == nil && !h.IsEmpty() {
		out.Header = h.Append(nil)
	}
	return out, err
}

func (m *mutator) ranges(h *row.Header) error {
	slices, _, err := m.w.Where.Slices(&m.r.env)
	for _, s := range slices {
		h.Ranges = append(h.Ranges, row.RangeDeletion{Start: s.Start, End: s.End, Timestamp: m.stamp})
	}
	return err
}

// rows gives the entries of the rows that the clustering restrictions name: all columns are restricted by = or IN.
func (m *mutator) rows() ([]row.Entry, error) {
	if m.w.ListReads == 0 {
		if key, ok, err := m.w.Where.Row(&m.r.env); err != nil {
			return nil, err
		} else if ok {
			return m.oneRow(key)
		}
	}
	slices, empty, err := m.w.Where.Slices(&m.r.env)
	if err != nil || empty {
		return nil, err
	}
	if m.w.ListReads > 0 {
		return m.eachRow(slices)
	}
	fragment, err := m.sameFragment()
	if err != nil || len(fragment) == 0 {
		return nil, err
	}
	if len(slices) == 0 {
		return []row.Entry{{Clustering: []byte{}, Fragment: fragment}}, nil
	}
	entries := make([]row.Entry, len(slices))
	for i, s := range slices {
		entries[i] = row.Entry{Clustering: s.Start, Fragment: fragment}
	}
	return entries, nil
}

// sameFragment is what is written to all rows.
func (m *mutator) sameFragment() ([]byte, error) {
	m.b.Reset()
	if m.w.Remove == plan.RemoveRows {
		m.b.Delete(m.stamp)
	}
	return m.fragment(m.w.Cells, m.w.Marker)
}

// oneRow gives the entry of the only row.
func (m *mutator) oneRow(clustering []byte) ([]row.Entry, error) {
	fragment, err := m.sameFragment()
	if err != nil || len(fragment) == 0 {
		return nil, err
	}
	entries := append(m.r.rows[:0], row.Entry{Clustering: clustering, Fragment: fragment})
	m.r.rows = nil
	return entries, nil
}

// fragment builds a row's or the statics' cells.
func (m *mutator) fragment(cells []plan.Cell, marker bool) ([]byte, error) {
	if m.w.Remove != plan.RemoveRows {
		m.b.Reset()
	}
	if marker {
		m.b.Add(m.live(row.Marker, nil, nil))
	}
	for i := range cells {
		if err := m.cell(&cells[i]); err != nil {
			return nil, err
		}
	}
	if m.refused != nil {
		return nil, m.refused
	}
	return m.r.env.Keep(func(dst []byte) ([]byte, error) { return m.b.Append(dst), nil })
}

func (m *mutator) live(id row.ColumnID, path, value []byte) row.Cell {
	return row.Cell{Column: id, Kind: row.Live, Timestamp: m.stamp, Expiry: m.expiry, TTL: m.ttl, Path: path, Value: value}
}

func (m *mutator) dead(id row.ColumnID, path []byte) row.Cell {
	return row.Cell{Column: id, Kind: row.Tombstone, Timestamp: m.stamp, Path: path}
}

func (m *mutator) cell(c *plan.Cell) error {
	if c.Op.Reads() {
		return m.listCell(c)
	}
	id, multi := c.Column.ID, c.Column.Type.IsMultiCell()
	if c.Op == plan.CellDelete {
		if multi {
			m.b.Add(row.Cell{Column: id, Kind: row.ComplexTombstone, Timestamp: m.stamp})
		} else {
			m.b.Add(m.dead(id, nil))
		}
		return nil
	}
	var v []byte
	var err error
	if c.Value != nil {
		if v, err = c.Value.Eval(&m.r.env); err != nil {
			return err
		}
	}
	if plan.IsUnset(v) {
		return nil
	}
	if multi {
		return m.complex(c, v)
	}
	if v == nil {
		m.b.Add(m.dead(id, nil))
		return nil
	}
	m.guardItems(c.Column, v)
	m.put(c.Column, nil, v)
	m.guardCollected(c.Column)
	return nil
}

// complex writes to a collection or user type that isn't frozen.
func (m *mutator) complex(c *plan.Cell, v []byte) error {
	id := c.Column.ID
	switch c.Op {
	case plan.CellSet:
		// The deletion lies one microsecond before the new elements, or it would cover them; so it does before none.
		m.b.Add(row.Cell{Column: id, Kind: row.ComplexTombstone, Timestamp: m.stamp - 1})
		return m.elements(c.Column, v, false)
	case plan.CellAppend, plan.CellPrepend:
		return m.elements(c.Column, v, c.Op == plan.CellPrepend)
	case plan.CellField:
		path := binary.BigEndian.AppendUint16(nil, uint16(c.Field))
		if v == nil {
			m.b.Add(m.dead(id, path))
		} else {
			m.put(c.Column, path, v)
		}
		return nil
	case plan.CellRemove:
		for it := c.Value.Type.Elements(v); it.Next(); {
			m.b.Add(m.dead(id, it.Value()))
		}
		return nil
	}
	key, err := c.Key.Eval(&m.r.env)
	if err != nil {
		return err
	}
	switch {
	case plan.IsUnset(key):
		return c.Key.Errorf("Invalid unset map key for column %s", c.Column.Name)
	case key == nil:
		return c.Key.Errorf("Invalid null map key for column %s", c.Column.Name)
	case c.Op == plan.CellDeleteKey || v == nil:
		m.b.Add(m.dead(id, key))
	default:
		m.put(c.Column, key, v)
	}
	return nil
}

// elements adds a collection's elements, or a user type's fields, as cells of their own.
func (m *mutator) elements(col *schema.Column, v []byte, prepend bool) error {
	n := 0
	if prepend {
		n = types.Count(v)
	} else {
		m.guardItems(col, v)
		defer m.guardCollected(col)
	}
	for it := col.Type.Elements(v); it.Next(); {
		value := it.Value()
		switch col.Type.Kind {
		case types.Set:
			m.put(col, value, nil)
		case types.Map:
			it.Next()
			m.put(col, value, it.Value())
		case types.List:
			m.put(col, m.listPath(prepend, n-it.Index()), value)
		default:
			if value != nil {
				m.put(col, binary.BigEndian.AppendUint16(nil, uint16(it.Index())), value)
			}
		}
	}
	return nil
}

// listPath is the place of a list's element. Elements lie in the order in which their statements came to coordinators, those put in front before
// all others, later ones first:
//
//	| ±arrival, sign bit inverted, 8 | number in the statement, 2 | salt, 6 |
//
// Arrival is a tick of the cluster's clock of the statement's own, never its timestamp: two appends of one timestamp, as all of a batch have it, would
// interleave, and one with an older timestamp would not stand at the end.
func (m *mutator) listPath(prepend bool, left int) []byte {
	if m.salt == ([16]byte{}) {
		m.salt, m.arrival = m.r.x.sources.UUID(), m.r.x.cluster.Timestamp()
	}
	at, number := m.arrival, m.index
	if prepend {
		// A list is read from its end backwards when it is put in front: [a, b] + c gives a, b, c.
		at, number = -m.arrival, math.MaxUint16-left
	}
	m.index++
	path := binary.BigEndian.AppendUint64(nil, uint64(at)^(1<<63))
	return append(path, unique(number, m.salt)...)
}
