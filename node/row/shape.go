package row

// Shape is which columns the cells of a row have, where all of them are plain: live, for ever, simple, and of one timestamp. Rows that the same INSERT
// wrote have one shape, so who reads many of them looks for its columns once, and finds their values by number.
//
// The rows of a shape begin with the same three bytes, and have their tables of columns and ends at the same place: whether a row has it is seen, and its
// values are found, without reading its head. A row of a shape is live.
type Shape struct {
	head    [3]byte // version, flags, number of cells
	columns []byte  // empty: no row has the shape
	at      int     // where a row's columns begin; in bytes of the row, as the next two
	ends    int     // where its ends begin
	bodies  int     // where its bodies begin
}

// Learn takes the shape of a row; false, and no shape any more, where it has none: something about it is not plain, or it has more than 127 cells.
func (s *Shape) Learn(v View) bool {
	s.columns = s.columns[:0]
	var x Index
	if !x.read(v) || x.attrs != nil || x.n == 0 || v[2] >= 0x80 {
		return false
	}
	s.head, s.columns = [3]byte(v), append(s.columns, x.columns...)
	s.bodies = len(v) - len(x.bodies)
	s.ends = s.bodies - len(x.ends)
	s.at = s.ends - len(x.columns)
	return true
}

// Of reports whether a row has the shape.
func (s *Shape) Of(v View) bool {
	return len(s.columns) > 0 && len(v) >= s.bodies && [3]byte(v) == s.head && string(v[s.at:s.ends]) == string(s.columns)
}

// Place gives the number of a column's cell, or -1.
func (s *Shape) Place(col ColumnID) int {
	x := Index{columns: s.columns, flags: s.head[1], n: int(s.head[2])}
	if i := x.search(col); i < x.n && x.Column(i) == col {
		return i
	}
	return -1
}

// Plain gives the value of cell i of a row that has the shape.
func (s *Shape) Plain(v View, i int) []byte {
	ends, bodies := v[s.ends:s.bodies], v[s.bodies:]
	from, to := 0, 0
	switch s.head[1] & widthMask {
	case 0:
		if to = int(ends[i]); i > 0 {
			from = int(ends[i-1])
		}
	case 1 << widthShift:
		if to = int(le.Uint16(ends[2*i:])); i > 0 {
			from = int(le.Uint16(ends[2*i-2:]))
		}
	default:
		if to = int(le.Uint32(ends[4*i:])); i > 0 {
			from = int(le.Uint32(ends[4*i-4:]))
		}
	}
	return bodies[from:to:to]
}
