package plan

import (
	"math"
	"slices"
	"time"

	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// unset marks a bound value that was left unset. It is told by its address.
var unset = make([]byte, 1)

// IsUnset reports whether an evaluated value is an unset marker's.
func IsUnset(v []byte) bool { return len(v) == 1 && &v[0] == &unset[0] }

// Sources are what functions such as now() and uuid() take from outside.
type Sources struct {
	Now      func() time.Time
	UUID     func() [16]byte
	Timeuuid func() [16]byte
}

// Env is what a plan is evaluated against. One request has one; it is reused from row to row.
type Env struct {
	Values     [][]byte
	Unset      []bool // nil, or as long as Values
	Now        int64  // unix seconds: which cells are live
	Sources    *Sources
	Row        Row
	Aggregates [][]byte // results of a group
	// Room, where it is not nil, is memory that keys and rows are appended to which otherwise would have memory of their own.
	Room []byte
}

// Keep has add append a key or a row, to the room if there is one, and gives what was appended. On an error the room stays as it was.
func (e *Env) Keep(add func(dst []byte) ([]byte, error)) ([]byte, error) {
	out, err := add(e.Room)
	if err != nil || e.Room == nil {
		return out, err
	}
	from := len(e.Room)
	e.Room = out
	return out[from:len(out):len(out)], nil
}

func (e *Env) marker(i int) []byte {
	if e.Unset != nil && e.Unset[i] {
		return unset
	}
	return e.Values[i]
}

// Row is one row being looked at: of a table, or of a system table (Values).
type Row struct {
	Table      *schema.Table
	Token      vnodes.Token
	Key        []byte   // the serialized partition key
	KeyValues  [][]byte // its components
	Clustering [][]byte // nil for the row of statics alone
	Static     row.Index
	Cells      row.Index
	Now        int64
	Values     [][]byte // of a system table's row, in the order of its columns
}

// Value gives the value of column c, which is number i in the table; nil is null. Values of columns that aren't
// collections alias the page.
func (r *Row) Value(i int, c *schema.Column) []byte {
	if r.Values != nil {
		return r.Values[i]
	}
	switch c.Kind {
	case schema.PartitionKey:
		return r.KeyValues[c.Position]
	case schema.Clustering:
		if r.Clustering == nil {
			return nil
		}
		return r.Clustering[c.Position]
	case schema.Static:
		return r.cells(&r.Static, c)
	}
	return r.cells(&r.Cells, c)
}

func (r *Row) cells(x *row.Index, c *schema.Column) []byte {
	if c.Type.IsMultiCell() {
		return r.collection(x, c)
	}
	cell, ok := x.Find(c.ID)
	if !ok || !cell.LiveAt(r.Now) {
		return nil
	}
	if cell.Kind == row.Counter {
		return types.AppendInt64(nil, row.CounterSum(cell.Value))
	}
	return notNil(cell.Value)
}

// notNil keeps empty values apart from null.
func notNil(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

// collection puts a multi-cell column's live elements together, in the order of their paths.
//
//	list | path: position, a timeuuid | value: element |
//	set  | path: element              | value: empty   |
//	map  | path: key                  | value: value   |
//	UDT  | path: field number, 2 bytes big endian | value: field |
func (r *Row) collection(x *row.Index, c *schema.Column) []byte {
	from, to := x.Span(c.ID)
	var values [][]byte
	n := 0
	if c.Type.Kind == types.UDT {
		values = make([][]byte, len(c.Type.Elems))
	}
	for i := from; i < to; i++ {
		cell := x.At(i)
		if !cell.LiveAt(r.Now) {
			continue
		}
		n++
		switch c.Type.Kind {
		case types.List:
			values = append(values, notNil(cell.Value))
		case types.Set:
			values = append(values, notNil(cell.Path))
		case types.Map:
			values = append(values, notNil(cell.Path), notNil(cell.Value))
		default:
			if len(cell.Path) == 2 {
				if f := int(cell.Path[0])<<8 | int(cell.Path[1]); f < len(values) {
					values[f] = notNil(cell.Value)
				}
			}
		}
	}
	if n == 0 {
		return nil
	}
	// Paths order as bytes; sets and maps are shown in their element's order.
	return c.Type.Canonical(buildValue(c.Type, values))
}

func (r *Row) cell(c *schema.Column) (row.Cell, bool) {
	x := &r.Cells
	if c.Kind == schema.Static {
		x = &r.Static
	}
	cell, ok := x.Find(c.ID)
	return cell, ok && cell.LiveAt(r.Now)
}

// stamped gives what of makes of a column's cell; or of the elements that which selects (nil: of all), as a list or of the only one. nil where there are none.
func (r *Row) stamped(c *schema.Column, which func(path []byte) bool, list bool, of func(row.Cell) []byte) []byte {
	if !c.Type.IsMultiCell() {
		cell, ok := r.cell(c)
		if !ok {
			return nil
		}
		return of(cell)
	}
	var values [][]byte
	r.elements(c, func(cell row.Cell, live bool) {
		switch {
		case which != nil && !which(cell.Path):
		case live:
			values = append(values, of(cell))
		default:
			values = append(values, nil)
		}
	})
	switch {
	case len(values) == 0:
		return nil
	case !list:
		return values[0]
	}
	out := types.AppendCount(nil, len(values))
	for _, v := range values {
		out = types.AppendElement(out, v)
	}
	return out
}

// elements calls f with the live elements of a column, in the order that the collection is shown in; of a user type, with every field.
func (r *Row) elements(c *schema.Column, f func(cell row.Cell, live bool)) {
	x := &r.Cells
	if c.Kind == schema.Static {
		x = &r.Static
	}
	from, to := x.Span(c.ID)
	var live []row.Cell
	for i := from; i < to; i++ {
		if cell := x.At(i); cell.LiveAt(r.Now) {
			live = append(live, cell)
		}
	}
	switch c.Type.Kind {
	case types.Set, types.Map:
		key := c.Type.Elems[0]
		slices.SortStableFunc(live, func(a, b row.Cell) int { return key.Compare(a.Path, b.Path) })
	case types.UDT:
		r.fields(c, live, f)
		return
	}
	for _, cell := range live {
		f(cell, true)
	}
}

// fields calls f for each field of a user type, if any is there.
func (r *Row) fields(c *schema.Column, live []row.Cell, f func(cell row.Cell, live bool)) {
	for i := 0; i < len(c.Type.Elems) && len(live) > 0; i++ {
		at := slices.IndexFunc(live, func(cell row.Cell) bool { return len(cell.Path) == 2 && int(cell.Path[0])<<8|int(cell.Path[1]) == i })
		if at < 0 {
			f(row.Cell{}, false)
			continue
		}
		f(live[at], true)
	}
}

func (r *Row) writeTime(c *schema.Column, which func([]byte) bool, list bool) []byte {
	return r.stamped(c, which, list, func(cell row.Cell) []byte { return types.AppendInt64(nil, cell.Timestamp) })
}

// maxWriteTime is the latest timestamp of a column's cells.
func (r *Row) maxWriteTime(c *schema.Column, which func([]byte) bool) []byte {
	if !c.Type.IsMultiCell() {
		return r.writeTime(c, nil, false)
	}
	latest, any := int64(math.MinInt64), false
	r.elements(c, func(cell row.Cell, live bool) {
		if live && (which == nil || which(cell.Path)) {
			latest, any = max(latest, cell.Timestamp), true
		}
	})
	if !any {
		return nil
	}
	return types.AppendInt64(nil, latest)
}

func (r *Row) ttl(c *schema.Column, which func([]byte) bool, list bool) []byte {
	return r.stamped(c, which, list, func(cell row.Cell) []byte {
		if cell.Expiry == row.NoExpiry {
			return nil
		}
		return types.AppendInt32(nil, int32(cell.Expiry-r.Now))
	})
}
