package row

import (
	"encoding/binary"
	"slices"
)

// maxShapes is how many shapes a Picker knows at once: most tables have few, of rows whose optional columns are there or not. Where each row has another,
// looking for the columns is cheaper.
const maxShapes = 8

// Picker gives the values of some columns of plain rows (Shape), in the form that a client is sent:
//
//	row    | value | … as many as columns
//	value  | length i32 BE, bytes |  or  | -1 i32 BE |, where the row has no cell of the column
//
// So who wants two columns of all rows doesn't have the others copied from place to place. The zero Picker picks nothing.
type Picker struct {
	columns []ColumnID
	known   []picked
	last    int // the one that the last row had
}

// picked is where the columns lie in rows of one shape.
type picked struct {
	shape  Shape
	places []int // the number of a column's cell, or -1
}

// Reset has p pick columns, whose ids it copies. What it has learnt of rows it keeps, where it picks the same as before and has room to learn more: other tables have columns
// of the same ids, and shapes of their own.
func (p *Picker) Reset(columns []ColumnID) {
	if len(p.known) == maxShapes || !slices.Equal(p.columns, columns) {
		p.columns, p.known, p.last = append(p.columns[:0], columns...), p.known[:0], 0
	}
}

// of gives where the columns lie in a row; nil: the row is not plain, or of one shape too many.
func (p *Picker) of(v View) *picked {
	if len(p.known) > 0 {
		if last := &p.known[p.last]; last.shape.Of(v) {
			return last
		}
	}
	for i := range p.known {
		if p.known[i].shape.Of(v) {
			p.last = i
			return &p.known[i]
		}
	}
	return p.learn(v)
}

func (p *Picker) learn(v View) *picked {
	var n picked
	if len(p.known) == maxShapes || !n.shape.Learn(v) {
		return nil
	}
	for _, c := range p.columns {
		n.places = append(n.places, n.shape.Place(c))
	}
	p.last = len(p.known)
	p.known = append(p.known, n)
	return &p.known[p.last]
}

// append appends the values of a row that has the shape.
func (p *picked) append(dst []byte, v View) []byte {
	for _, place := range p.places {
		if place < 0 {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		value := p.shape.Plain(v, place)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
		switch len(value) { // numbers cost less than a call to copy them
		case 4:
			dst = le.AppendUint32(dst, le.Uint32(value))
		case 8:
			dst = le.AppendUint64(dst, le.Uint64(value))
		default:
			dst = append(dst, value...)
		}
	}
	return dst
}
