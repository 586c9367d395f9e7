package exec

import (
	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// An element of a list is a cell under a path that only the list tells: to write the element of an index, or those of some values, the rows are read before
// they are written, as Cassandra does, at the statement's own level. Read and write are two steps, and nothing lies between them and other writers: what is
// written is the element that had the index when it was read. Cells of it are merged by their timestamps as always, so of two that set one element
// the later wins, an element set after somebody deleted it is there again, and a list set as a whole covers what an earlier statement wrote into it.
// A statement looks at what it has itself done so far; those of a batch all look at what was there before it.

// MaxBefore bounds what a statement reads of one partition before it writes, in bytes.
const MaxBefore = 16 << 20

// before is what a partition held when it was read.
type before struct {
	static row.View
	rows   map[string]row.View // by clustering key
}

// read takes what the statement's rows and statics hold in one partition.
func (m *mutator) read(p plan.Partition) error {
	if m.r.params.Level == consistency.Any {
		return invalid("Write operation require a read but consistency %s is not supported on reads", m.r.params.Level)
	}
	t := m.w.Table
	slices, empty, err := m.w.Where.Slices(&m.r.env)
	if err != nil {
		return err
	}
	if len(t.Clustering) == 0 {
		slices = onlyRow
	}
	m.before = before{rows: map[string]row.View{}}
	spec := storage.ReadSpec{Storage: t.Storage, Token: p.Token, Key: p.Key, Slices: slices, NoRows: empty || len(m.w.Cells) == 0, Now: m.r.env.Now}
	for size := 0; ; {
		if err := m.r.ctx.Err(); err != nil {
			return err
		}
		wait := m.r.x.newWaiter()
		m.r.x.cluster.Read(m.r.ctx, &coordinator.ReadRequest{Level: m.r.params.Level, Table: t, Spec: spec, Trace: m.r.trace}, wait.onRead)
		page, err := wait.wait()
		if err != nil {
			return err
		}
		if size += len(page); size > MaxBefore {
			return invalid("The rows whose lists the statement changes have more than %d bytes: name fewer of them", MaxBefore)
		}
		if spec.After, err = m.before.take(page); err != nil || spec.After == nil {
			return err
		}
	}
}

// take keeps what a page has, and gives where it stopped early; nil: nowhere. The page is nobody else's.
func (b *before) take(page []byte) (stop *row.Position, err error) {
	var reader row.PageReader
	reader.Reset(page)
	for {
		event, err := reader.Next()
		if err != nil {
			return nil, err
		}
		switch event {
		case row.PagePartition:
			b.static = reader.Header.Static
		case row.PageRow:
			b.rows[string(reader.Clustering)] = reader.Row
		case row.PageEnd:
			return reader.Stop(), nil
		}
	}
}

// eachRow gives the entries of rows that are not all written alike, because each has lists of its own.
func (m *mutator) eachRow(slices []storage.Slice) ([]row.Entry, error) {
	if len(slices) == 0 {
		slices = onlyRow
	}
	var entries []row.Entry
	for _, s := range slices {
		m.now = m.before.rows[string(s.Start)]
		fragment, err := m.fragment(m.w.Cells, m.w.Marker)
		if err != nil {
			return nil, err
		}
		if len(fragment) > 0 {
			entries = append(entries, row.Entry{Clustering: s.Start, Fragment: fragment})
		}
	}
	return entries, nil
}

// listCell writes the element of an index, or takes out those of some values.
func (m *mutator) listCell(c *plan.Cell) error {
	var v []byte
	if c.Value != nil {
		var err error
		if v, err = c.Value.Eval(&m.r.env); err != nil {
			return err
		}
	}
	if c.Op == plan.CellDiscard {
		return m.discard(c, v)
	}
	i, err := c.Key.Eval(&m.r.env)
	switch {
	case err != nil:
		return err
	case plan.IsUnset(i) && c.Op == plan.CellDeleteAt:
		return nil
	case plan.IsUnset(i):
		return c.Key.Errorf("Invalid unset value for list index")
	case len(i) != 4:
		return c.Key.Errorf("Invalid null value for list index")
	}
	list, err := m.list(c.Column)
	if err != nil {
		return err
	}
	n := int(types.Int32(i))
	switch {
	case len(list) == 0 && c.Op == plan.CellDeleteAt:
		return c.Key.Errorf("Attempted to delete an element from a list which is null")
	case len(list) == 0:
		return c.Key.Errorf("Attempted to set an element on a list which is null")
	case n < 0 || n >= len(list):
		return c.Key.Errorf("List index %d out of bound, list has size %d", n, len(list))
	case plan.IsUnset(v):
	case v == nil:
		m.b.Add(m.dead(c.Column.ID, list[n].Path))
	default:
		m.put(c.Column, list[n].Path, v)
	}
	return nil
}

// discard takes all elements out of a list that are equal to one of a list of values.
func (m *mutator) discard(c *plan.Cell, v []byte) error {
	if v == nil || plan.IsUnset(v) {
		return nil
	}
	list, err := m.list(c.Column)
	if err != nil {
		return err
	}
	values := map[string]bool{}
	for it := c.Value.Type.Elements(v); it.Next(); {
		values[string(it.Value())] = true
	}
	for i := range list {
		if values[string(list[i].Value)] {
			m.b.Add(m.dead(c.Column.ID, list[i].Path))
		}
	}
	return nil
}

// list gives the live elements of a list in its order: of the row as it was read, with what the statement has done to it so far.
func (m *mutator) list(col *schema.Column) ([]row.Cell, error) {
	merged, err := row.Merge(nil, m.now, m.b.Append(nil))
	if err != nil {
		return nil, err
	}
	index := row.View(merged).Index()
	from, to := index.Span(col.ID)
	var live []row.Cell
	for i := from; i < to; i++ {
		if cell := index.At(i); cell.LiveAt(m.r.env.Now) {
			live = append(live, cell)
		}
	}
	return live, nil
}
