package exec

import (
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

// of gives the layout of the row whose cells are given; nil: it is not known.
func (l *layouts) of(cells *row.Index) *layout {
	if len(l.known) == 0 {
		return nil
	}
	if last := &l.known[l.last]; last.shape.Of(cells) {
		return last
	}
	for i := range l.known {
		if l.known[i].shape.Of(cells) {
			l.last = i
			return &l.known[i]
		}
	}
	return nil
}

// learn learns the layout of a row that is not known, if it has a shape and the select list is columns alone.
func (l *layouts) learn(sel *plan.Select, cells *row.Index) {
	var n layout
	if l.none || len(l.known) == maxShapes || !n.shape.Learn(cells) {
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

// appendLaid appends the row in env, which has the layout.
func (o *output) appendLaid(l *layout) {
	r := &o.env.Row
	for i := range l.sources {
		s := &l.sources[i]
		var v []byte
		switch {
		case s.kind == schema.Regular:
			if s.at >= 0 {
				v = r.Cells.Plain(s.at)
			}
		case s.kind == schema.PartitionKey:
			v = r.KeyValues[s.at]
		default:
			x := o.sel.Exprs[i]
			v = r.Value(x.Index, x.Column)
		}
		o.rows = types.AppendElement(o.rows, v)
	}
}

// sizeOf guesses how many bytes the rows of a page take in the result: their share of what they take in the page.
func (o *output) sizeOf(page []byte) int {
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
