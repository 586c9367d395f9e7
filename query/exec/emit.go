package exec

import (
	"fmt"

	"nodedb/node/row"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// Rows of one shape are given without asking anew where each column lies.
const (
	// emitFrom is how many rows a result has before it is worth to learn their shape.
	emitFrom = 4
	// maxShapes is how many shapes a result knows at once: most tables have few, of rows whose optional columns are there or not. Where each row has
	// another, looking for the columns is cheaper.
	maxShapes = 8
)

// layout is where the columns of a select list lie in rows of one shape.
type layout struct {
	shape   row.Shape
	sources []source
}

// source is where a column lies.
type source struct {
	kind schema.ColumnKind
	at   int // the column's place in the key; the number of its cell, -1: the rows have none, it is null
}

// layouts are those that a result has learnt.
type layouts struct {
	known []layout
	last  int  // the one that the last row had
	none  bool // the select list is more than columns: there are none
}

// of gives the layout of a row; nil: it is not known.
func (l *layouts) of(v row.View) *layout {
	if len(l.known) == 0 {
		return nil
	}
	if last := &l.known[l.last]; last.shape.Of(v) {
		return last
	}
	for i := range l.known {
		if l.known[i].shape.Of(v) {
			l.last = i
			return &l.known[i]
		}
	}
	return nil
}

// learn learns the layout of a row that is not known, if it has a shape and the select list is columns alone.
func (l *layouts) learn(sel *plan.Select, v row.View) {
	var n layout
	if l.none || len(l.known) == maxShapes || !n.shape.Learn(v) {
		return
	}
	for _, x := range sel.Exprs {
		if x.Op != plan.OpColumn {
			l.none = true
			return
		}
		at := x.Column.Position
		if x.Column.Kind == schema.Regular {
			at = n.shape.Place(x.Column.ID)
		}
		n.sources = append(n.sources, source{x.Column.Kind, at})
	}
	l.last = len(l.known)
	l.known = append(l.known, n)
}

// appendLaid appends a row that has the layout. What is not in its cells is in env.
func (o *output) appendLaid(l *layout, v row.View) {
	rows := o.rows
	for i := range l.sources {
		s := &l.sources[i]
		var value []byte
		switch {
		case s.kind == schema.Regular:
			if s.at >= 0 {
				value = l.shape.Plain(v, s.at)
			}
		case s.kind == schema.PartitionKey:
			value = o.env.Row.KeyValues[s.at]
		default:
			x := o.sel.Exprs[i]
			value = o.env.Row.Value(x.Index, x.Column)
		}
		rows = types.AppendElement(rows, value)
	}
	o.rows = rows
}

// laid takes a row of a known layout, where each live row is one of the result: nothing is asked of it but its values.
func (w *walk) laid(l *layout) (full bool, err error) {
	w.sawRow = true
	if w.o.full() {
		w.endBeforeRow()
		return true, nil
	}
	if err := w.splitClustering(); err != nil {
		return false, err
	}
	w.o.appendLaid(l, w.reader.Row)
	if err := w.o.given(1); err != nil {
		return false, err
	}
	w.noteLast()
	return w.o.left == 0, nil
}

// picked takes live rows of the current partition of which a replica has picked what the result has of them. They are none beyond the page or LIMIT, by the
// limits that were asked for (shape).
func (w *walk) picked() (full bool, err error) {
	o, rows := w.o, w.reader.Count
	w.sawRow = true
	if o.full() {
		w.endBeforeRow()
		return true, nil
	}
	if o.wanted >= 0 && rows > o.wanted-o.count || o.left >= 0 && rows > o.left {
		return false, fmt.Errorf("%w: a page of %d picked rows, more than were asked for", row.ErrCorrupt, rows)
	}
	o.rows = append(o.rows, w.reader.Values...)
	if err := o.given(rows); err != nil {
		return false, err
	}
	w.noteLast()
	return o.left == 0, nil
}

// sizeOf guesses how many bytes the rows of a page take in the result: their share of what they take in the page.
func (o *output) sizeOf(page []byte) int {
	if o.straight && len(o.sel.Regulars) > 0 { // picked
		return len(page) + minRows
	}
	columns := len(o.sel.Table.Columns)
	return len(page)*min(len(o.sel.Exprs), columns)/columns + minRows
}

// minRows is the least room of a result's rows, in bytes.
const minRows = 256

// roomForRows gives memory for rows of about so many bytes.
func (w *walk) roomForRows(size int) []byte {
	if cap(w.rows) >= size {
		return w.rows
	}
	if w.lends {
		if w.lent, _ = w.r.x.results.Get().(*[]byte); w.lent != nil && cap(*w.lent) >= size {
			return (*w.lent)[:0]
		}
	}
	return make([]byte, 0, size)
}
