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
	// maxLearnt is how many shapes a result learns: where each row has another, looking for the columns is cheaper.
	maxLearnt = 16
)

// source is where a column of the select list lies in rows of a shape.
type source struct {
	kind schema.ColumnKind
	at   int // the column's place in the key; the number of its cell, -1: the rows have none, it is null
}

// shaped is what a result knows of the shape that its rows have.
type shaped struct {
	shape   row.Shape
	sources []source
	learnt  int
}

// learn learns the shape of the row in env, if it has one and the select list is columns alone.
func (s *shaped) learn(sel *plan.Select, cells *row.Index) {
	if s.learnt == maxLearnt || !s.shape.Learn(cells) {
		return
	}
	s.learnt++
	s.sources = s.sources[:0]
	for _, x := range sel.Exprs {
		if x.Op != plan.OpColumn {
			s.learnt, s.shape = maxLearnt, row.Shape{}
			return
		}
		at := x.Column.Position
		if x.Column.Kind == schema.Regular {
			at = s.shape.Place(x.Column.ID)
		}
		s.sources = append(s.sources, source{x.Column.Kind, at})
	}
}

// appendShaped appends the row in env, which has the shape.
func (o *output) appendShaped() {
	r := &o.env.Row
	for i := range o.shaped.sources {
		s := &o.shaped.sources[i]
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
