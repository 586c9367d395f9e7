package row

import "sort"

// The bytes of a row fragment (little-endian; the empty row is no bytes at all):
//
//	| version u8 = 1 | flags u8 | n uvarint | [deletion i64] | [base i64] | [expiry i64, ttl i32] |
//	| columns n x (1|2) | ends n x (1|2|4) | [attributes n x u8] | bodies |
//
//	flags   bit 0  deletion: a row tombstone
//	        bit 1  expiry: some cell expires; the pair is the first such cell's
//	        bit 2  attributes: some attribute is not 0
//	        bit 3  columns take 2 bytes: the last one is above 255
//	        bits 4-5  width of ends: 0 for 1 byte, 1 for 2, 2 for 4: the least that holds the length of bodies
//	base    the first cell's timestamp; there only when n > 0
//	ends    where each cell's body ends, counted from the first body
//
//	attribute  bits 0-1  Kind
//	           bit 2  the timestamp differs from base
//	           bit 3  expires with the row's expiry and ttl
//	           bit 4  expires with its own
//	           bit 5  has a path
//	body       | [timestamp - base, zigzag uvarint] | [expiry - row's, zigzag uvarint; ttl uvarint] |
//	           | [path length uvarint, path] | value: the rest |
//
// Why so: most rows have all their cells from one INSERT. They cost 11 bytes, and 2 or 3 a cell, beside their values; a column is found
// by binary search in columns, and its value by two loads from ends. Every choice above is a function of the content, so equal rows are
// equal bytes.
const (
	rowVersion = 1

	flagDeletion   = 1 << 0
	flagExpiry     = 1 << 1
	flagAttributes = 1 << 2
	flagWide       = 1 << 3
	widthShift     = 4
	widthMask      = 3 << widthShift
	flagsKnown     = flagDeletion | flagExpiry | flagAttributes | flagWide | widthMask

	attrKind      = 3
	attrTime      = 1 << 2
	attrExpiry    = 1 << 3
	attrOwnExpiry = 1 << 4
	attrPath      = 1 << 5
	attrsKnown    = attrKind | attrTime | attrExpiry | attrOwnExpiry | attrPath
)

// View is the bytes of a row fragment, read in place. The zero View is an empty row. Views alias their bytes: copy to keep.
type View []byte

// Index is a View with its head read: for those who look at several cells of one row. It aliases the View's bytes.
type Index struct {
	n        int
	flags    byte
	ttl      int32
	deletion int64
	base     int64
	expiry   int64
	columns  []byte
	ends     []byte
	attrs    []byte // nil: all 0
	bodies   []byte
}

// Index reads the head of v. It allocates nothing.
func (v View) Index() (x Index) {
	x.read(v)
	return x
}

// Reset reads the head of v into x, which is what View.Index gives, without a copy of it.
func (x *Index) Reset(v View) { x.read(v) }

// read fills x and reports whether the head is sound; otherwise x is an empty row.
func (x *Index) read(v View) bool {
	*x = Index{deletion: NoDeletion}
	if len(v) < 3 {
		return false
	}
	n, size := uvarint(v[2:])
	if size == 0 || n > uint64(len(v)) {
		return false
	}
	flags, b := v[1], []byte(v[2+size:])
	tableBytes := int(n) * (x.setWidths(flags))
	if len(b) < headBytes(flags, n)+tableBytes {
		return false
	}
	if flags&flagDeletion != 0 {
		x.deletion, b = int64(le.Uint64(b)), b[8:]
	}
	if n == 0 {
		x.bodies = b
		return true
	}
	x.base, b = int64(le.Uint64(b)), b[8:]
	if flags&flagExpiry != 0 {
		x.expiry, x.ttl, b = int64(le.Uint64(b)), int32(le.Uint32(b[8:])), b[12:]
	}
	x.n = int(n)
	x.columns, b = cut(b, x.n<<(flags&flagWide>>3))
	x.ends, b = cut(b, x.n<<(flags&widthMask>>widthShift))
	if flags&flagAttributes != 0 {
		x.attrs, b = cut(b, x.n)
	}
	x.bodies = b
	return true
}

// setWidths keeps the flags and gives the bytes that one cell takes in the tables.
func (x *Index) setWidths(flags byte) int {
	x.flags = flags
	return 1<<(flags&flagWide>>3) + 1<<(flags&widthMask>>widthShift) + int(flags&flagAttributes>>2)
}

// headBytes is the size of what stands between the number of cells and the tables.
func headBytes(flags byte, n uint64) int {
	size := 0
	if flags&flagDeletion != 0 {
		size += 8
	}
	if n > 0 {
		size += 8
	}
	if flags&flagExpiry != 0 {
		size += 12
	}
	return size
}

func cut(b []byte, n int) (head, tail []byte) { return b[:n:n], b[n:] }

// Deletion is the row tombstone's timestamp, or NoDeletion.
func (x *Index) Deletion() int64 { return x.deletion }

// Len is the number of cells, tombstones included.
func (x *Index) Len() int { return x.n }

// Column is the column of cell i.
func (x *Index) Column(i int) ColumnID {
	if x.flags&flagWide == 0 {
		return ColumnID(x.columns[i])
	}
	return ColumnID(le.Uint16(x.columns[2*i:]))
}

// end is where the body of cell i ends; the body of cell 0 starts at end(-1).
func (x *Index) end(i int) int {
	if i < 0 {
		return 0
	}
	switch x.flags & widthMask >> widthShift {
	case 0:
		return int(x.ends[i])
	case 1:
		return int(le.Uint16(x.ends[2*i:]))
	}
	return int(le.Uint32(x.ends[4*i:]))
}

func (x *Index) attr(i int) byte {
	if x.attrs == nil {
		return 0
	}
	return x.attrs[i]
}

// At decodes cell i in (Column, ComplexTombstone first, Path) order. It allocates nothing.
func (x *Index) At(i int) (c Cell) {
	x.decode(i, &c)
	return c
}

func (x *Index) decode(i int, c *Cell) {
	end := x.end(i)
	body := x.bodies[x.end(i-1):end:end]
	// Field by field: a composite literal is built aside and copied, twice the time.
	c.Column, c.Kind, c.Timestamp, c.Expiry, c.TTL, c.Path, c.Value = x.Column(i), Live, x.base, NoExpiry, 0, nil, body
	if attr := x.attr(i); attr != 0 {
		x.decodeAttr(attr, body, c)
	}
}

// decodeAttr decodes a cell that has more than a value. It reports whether the body is sound; it never reads beyond it.
func (x *Index) decodeAttr(attr byte, body []byte, c *Cell) bool {
	c.Kind = Kind(attr & attrKind)
	ok := true
	number := func() uint64 {
		n, size := uvarint(body)
		ok = ok && size > 0
		body = body[size:]
		return n
	}
	if attr&attrTime != 0 {
		c.Timestamp = x.base + unzigzag(number())
	}
	if attr&attrExpiry != 0 {
		c.Expiry, c.TTL = x.expiry, x.ttl
	}
	if attr&attrOwnExpiry != 0 {
		c.Expiry = x.expiry + unzigzag(number())
		ttl := number()
		c.TTL, ok = int32(uint32(ttl)), ok && ttl>>32 == 0
	}
	if attr&attrPath != 0 {
		n := number()
		if n > uint64(len(body)) {
			return false
		}
		c.Path, body = cut(body, int(n))
	}
	c.Value = body
	return ok
}

// search gives the first cell whose column is at or above col.
func (x *Index) search(col ColumnID) int {
	// Column ids are dense in most tables: the cell is where its id says, or one before (no marker).
	if guess := int(col); guess < x.n && x.Column(guess) == col && (guess == 0 || x.Column(guess-1) != col) {
		return guess
	}
	low, high := 0, x.n
	for low < high {
		if mid := int(uint(low+high) >> 1); x.Column(mid) < col {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// Find gives the simple cell of a column. It allocates nothing. O(log cells).
func (x *Index) Find(col ColumnID) (c Cell, ok bool) {
	i := x.search(col)
	if i < x.n && x.attr(i)&attrKind == byte(ComplexTombstone) {
		i++
	}
	if i >= x.n || x.Column(i) != col || x.attr(i)&attrPath != 0 {
		return Cell{}, false
	}
	x.decode(i, &c)
	return c, true
}

// Span gives the half-open range of cell indexes of a column (collections).
func (x *Index) Span(col ColumnID) (from, to int) {
	from = x.search(col)
	if from == x.n || x.Column(from) != col {
		return from, from
	}
	to = from + 1
	if to < x.n && x.Column(to) == col {
		to += sort.Search(x.n-to, func(i int) bool { return x.Column(to+i) > col })
	}
	return from, to
}

// LiveAt reports whether the row exists at now: a live marker or any live cell.
func (x *Index) LiveAt(now int64) bool {
	if x.attrs == nil {
		return x.n > 0
	}
	for i, attr := range x.attrs {
		switch {
		case attr&(attrKind|attrExpiry|attrOwnExpiry) == 0 || attr&attrKind == byte(Counter):
			return true
		case attr&attrKind != byte(Live):
		default:
			if c := x.At(i); c.LiveAt(now) {
				return true
			}
		}
	}
	return false
}

// MaxTimestamp is the newest timestamp in the row, deletion included; NoDeletion when empty.
func (x *Index) MaxTimestamp() int64 {
	newest := x.deletion
	if x.n > 0 {
		newest = max(newest, x.base)
	}
	for i, attr := range x.attrs {
		if attr&attrTime != 0 {
			newest = max(newest, x.timestamp(i))
		}
	}
	return newest
}

// timestamp reads no more of cell i than its timestamp.
func (x *Index) timestamp(i int) int64 {
	if x.attr(i)&attrTime == 0 {
		return x.base
	}
	delta, _ := uvarint(x.bodies[x.end(i-1):x.end(i)])
	return x.base + unzigzag(delta)
}

// Deletion is the row tombstone's timestamp, or NoDeletion.
func (v View) Deletion() int64 { x := v.Index(); return x.deletion }

// Len is the number of cells, tombstones included.
func (v View) Len() int { x := v.Index(); return x.n }

// At decodes cell i in (Column, ComplexTombstone first, Path) order. It allocates nothing. Who looks at several cells takes an Index.
func (v View) At(i int) Cell { x := v.Index(); return x.At(i) }

// Find gives the simple cell of a column. It allocates nothing. O(log cells).
func (v View) Find(col ColumnID) (Cell, bool) { x := v.Index(); return x.Find(col) }

// Span gives the half-open range of cell indexes of a column (collections).
func (v View) Span(col ColumnID) (from, to int) { x := v.Index(); return x.Span(col) }

// LiveAt reports whether the row exists at now: a live marker or any live cell. Of plain cells it reads no more than their number.
func (v View) LiveAt(now int64) bool {
	if len(v) > 2 && v[1]&flagAttributes == 0 {
		return v[2] != 0 // the shortest form of a number above 0 has no first byte of 0
	}
	x := v.Index()
	return x.LiveAt(now)
}

// MaxTimestamp is the newest timestamp in the row, deletion included; NoDeletion when empty.
func (v View) MaxTimestamp() int64 { x := v.Index(); return x.MaxTimestamp() }
