package row

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Builder collects the cells of one row fragment. Reset and reuse it. It keeps no copy: paths and values must stay as they are until Append.
type Builder struct {
	deletion int64 // valid when used
	used     bool  // the zero Builder has no deletion
	cells    []Cell
}

// Reset empties the builder.
func (b *Builder) Reset() {
	clear(b.cells)
	b.cells, b.used = b.cells[:0], false
}

// Delete sets the row tombstone (the newest given wins).
func (b *Builder) Delete(timestamp int64) {
	if !b.used || timestamp > b.deletion {
		b.deletion, b.used = timestamp, true
	}
}

// Add takes one cell; order does not matter; two cells of one place are merged. What a kind does not have is dropped (the value of a
// tombstone, a TTL without expiry …); a Counter's timestamp is its newest clock. A cell at NoDeletion is nothing. It panics on a
// Counter whose value is not whole shards.
func (b *Builder) Add(c Cell) {
	switch c.Kind {
	case Live:
		if c.Expiry == NoExpiry {
			c.TTL = 0
		}
	case Tombstone:
		c.Expiry, c.TTL, c.Value = NoExpiry, 0, nil
	case ComplexTombstone:
		c = Cell{Column: c.Column, Kind: ComplexTombstone, Timestamp: c.Timestamp}
	case Counter:
		c.Expiry, c.TTL, c.Value = NoExpiry, 0, canonicalShards(c.Value)
		c.Timestamp = newestClock(c.Value)
	default:
		panic("row: Builder.Add: unknown kind of cell")
	}
	b.cells = append(b.cells, c)
}

// Append writes the canonical fragment: the same content always gives the same bytes.
func (b *Builder) Append(dst []byte) []byte {
	deletion := NoDeletion
	if b.used {
		deletion = b.deletion
	}
	b.cells = coverCells(sortCells(b.cells), deletion) // what is covered stays so, whatever is added later
	return appendRow(dst, deletion, b.cells)
}

// sortCells brings cells into order and merges those of one place.
func sortCells(cells []Cell) []Cell {
	sorted := true
	for i := 1; i < len(cells) && sorted; i++ {
		sorted = comparePlace(&cells[i-1], &cells[i]) < 0
	}
	if sorted {
		return cells
	}
	slices.SortFunc(cells, func(a, b Cell) int { return comparePlace(&a, &b) })
	kept := cells[:1]
	for i := range cells[1:] {
		if last := &kept[len(kept)-1]; comparePlace(last, &cells[i+1]) == 0 {
			*last = mergeCell(last, &cells[i+1])
		} else {
			kept = append(kept, cells[i+1])
		}
	}
	clear(cells[len(kept):])
	return kept
}

// comparePlace orders cells by where they stand: column, complex tombstone first, path. A counter stands behind a plain cell of its
// path rather than in its place: schema keeps them apart, but the merge has to be lawful for any bytes, and whichever of the two
// won, a row tombstone between their timestamps would give results that depend on the order of merges.
func comparePlace(a, b *Cell) int {
	if a.Column != b.Column {
		return cmp.Compare(a.Column, b.Column)
	}
	if a.Kind == ComplexTombstone || b.Kind == ComplexTombstone {
		return cmp.Compare(btoi(a.Kind != ComplexTombstone), btoi(b.Kind != ComplexTombstone))
	}
	if len(a.Path)|len(b.Path) != 0 {
		if order := bytes.Compare(a.Path, b.Path); order != 0 {
			return order
		}
	}
	return cmp.Compare(btoi(a.Kind == Counter), btoi(b.Kind == Counter))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// encoding is what has to be known of all cells before the first byte of a row is written.
type encoding struct {
	deletion int64
	base     int64
	expiry   int64
	ttl      int32
	expires  bool
	mixed    bool
	bodies   int // bytes
}

// appendRow writes cells, which are in order, merged and not covered.
func appendRow(dst []byte, deletion int64, cells []Cell) []byte {
	if len(cells) == 0 && deletion == NoDeletion {
		return dst
	}
	e := encoding{deletion: deletion}
	e.measure(cells)
	flags := e.flags(cells)
	dst = slices.Grow(dst, e.size(len(cells)))
	dst = append(dst, rowVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(len(cells)))
	if deletion != NoDeletion {
		dst = le.AppendUint64(dst, uint64(deletion))
	}
	if len(cells) == 0 {
		return dst
	}
	dst = le.AppendUint64(dst, uint64(e.base))
	if e.expires {
		dst = le.AppendUint64(dst, uint64(e.expiry))
		dst = le.AppendUint32(dst, uint32(e.ttl))
	}
	return e.appendCells(dst, flags, cells)
}

func (e *encoding) measure(cells []Cell) {
	if len(cells) > 0 {
		e.base = cells[0].Timestamp
	}
	for i := range cells {
		c := &cells[i]
		if c.Expiry != NoExpiry && !e.expires {
			e.expires, e.expiry, e.ttl = true, c.Expiry, c.TTL
		}
		attr := e.attr(c)
		e.bodies += e.bodySize(c, attr)
		e.mixed = e.mixed || attr != 0
	}
}

func (e *encoding) flags(cells []Cell) (flags byte) {
	if e.deletion != NoDeletion {
		flags |= flagDeletion
	}
	if e.expires {
		flags |= flagExpiry
	}
	if e.mixed {
		flags |= flagAttributes
	}
	if len(cells) > 0 {
		if cells[len(cells)-1].Column > 255 {
			flags |= flagWide
		}
		flags |= offsetWidth(e.bodies)
	}
	return flags
}

// size is no less than what a row of n cells takes, and not much more.
func (e *encoding) size(n int) int {
	const head = 2 + binary.MaxVarintLen32 + 8 + 8 + 12 // version, flags, number, deletion, base, expiry and TTL
	const perCell = 2 + 4 + 1                           // column, end, attributes
	return head + n*perCell + e.bodies
}

// offsetWidth is the flag of the least width that holds offsets up to bodies bytes.
func offsetWidth(bodies int) byte {
	switch {
	case bodies <= 0xff:
		return 0
	case bodies <= 0xffff:
		return 1 << widthShift
	}
	return 2 << widthShift
}

func (e *encoding) attr(c *Cell) byte {
	attr := byte(c.Kind)
	if c.Timestamp != e.base {
		attr |= attrTime
	}
	if c.Expiry != NoExpiry {
		if c.Expiry == e.expiry && c.TTL == e.ttl {
			attr |= attrExpiry
		} else {
			attr |= attrOwnExpiry
		}
	}
	if len(c.Path) > 0 {
		attr |= attrPath
	}
	return attr
}

func (e *encoding) bodySize(c *Cell, attr byte) int {
	size := len(c.Value)
	if attr&attrTime != 0 {
		size += uvarintLen(zigzag(c.Timestamp - e.base))
	}
	if attr&attrOwnExpiry != 0 {
		size += uvarintLen(zigzag(c.Expiry-e.expiry)) + uvarintLen(uint64(uint32(c.TTL)))
	}
	if attr&attrPath != 0 {
		size += uvarintLen(uint64(len(c.Path))) + len(c.Path)
	}
	return size
}

// appendCells writes the tables and the bodies. It writes bodies behind room for the tables and fills those as it goes.
func (e *encoding) appendCells(dst []byte, flags byte, cells []Cell) []byte {
	n, wide, width := len(cells), flags&flagWide>>3, flags&widthMask>>widthShift
	columns := len(dst)
	ends := columns + n<<wide
	attrs := ends + n<<width
	bodies := attrs
	if e.mixed {
		bodies += n
	}
	dst = slices.Grow(dst, bodies-columns+e.bodies)[:bodies]
	for i := range cells {
		c := &cells[i]
		if wide == 0 {
			dst[columns+i] = byte(c.Column)
		} else {
			le.PutUint16(dst[columns+2*i:], uint16(c.Column))
		}
		if e.mixed {
			attr := e.attr(c)
			dst[attrs+i] = attr
			dst = e.appendAttrs(dst, c, attr)
		}
		dst = append(dst, c.Value...)
		end := len(dst) - bodies
		switch width {
		case 0:
			dst[ends+i] = byte(end)
		case 1:
			le.PutUint16(dst[ends+2*i:], uint16(end))
		default:
			le.PutUint32(dst[ends+4*i:], uint32(end))
		}
	}
	return dst
}

func (e *encoding) appendAttrs(dst []byte, c *Cell, attr byte) []byte {
	if attr&attrTime != 0 {
		dst = binary.AppendUvarint(dst, zigzag(c.Timestamp-e.base))
	}
	if attr&attrOwnExpiry != 0 {
		dst = binary.AppendUvarint(dst, zigzag(c.Expiry-e.expiry))
		dst = binary.AppendUvarint(dst, uint64(uint32(c.TTL)))
	}
	if attr&attrPath != 0 {
		dst = appendBytes(dst, c.Path)
	}
	return dst
}
