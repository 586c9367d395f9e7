package row

// Shape is which columns the cells of a row have, where all of them are plain: live, for ever, simple, and of one timestamp. Rows that the same INSERT
// wrote have one shape, so who reads many of them looks for its columns once, and finds their values by number.
type Shape struct {
	wide    byte
	columns []byte
}

// Learn takes the shape of a row; false, and another shape than before, where it has none.
func (s *Shape) Learn(x *Index) bool {
	s.columns = s.columns[:0]
	if x.attrs != nil || x.n == 0 {
		return false
	}
	s.wide, s.columns = x.flags&flagWide, append(s.columns, x.columns...)
	return true
}

// Of reports whether a row has the shape. No row has the one without columns.
func (s *Shape) Of(x *Index) bool {
	return x.attrs == nil && len(s.columns) > 0 && x.flags&flagWide == s.wide && string(x.columns) == string(s.columns)
}

// Place gives the number of a column's cell, or -1.
func (s *Shape) Place(col ColumnID) int {
	x := Index{columns: s.columns, flags: s.wide, n: len(s.columns) >> (s.wide >> 3)}
	if i := x.search(col); i < x.n && x.Column(i) == col {
		return i
	}
	return -1
}

// Plain gives the value of cell i of a row that has a shape.
func (x *Index) Plain(i int) []byte {
	end := x.end(i)
	return x.bodies[x.end(i-1):end:end]
}
