package row

// Check validates all of the bytes (lengths, order, kinds, and that they are canonical): decoders at a trust boundary call it once,
// other methods don't check. It accepts exactly what Builder and Merge write. It allocates nothing but errors.
func (v View) Check() error {
	if len(v) == 0 {
		return nil
	}
	if err := checkVersion(v[0], rowVersion, "row"); err != nil {
		return err
	}
	var x Index
	if !x.read(v) || x.flags&^flagsKnown != 0 {
		return corrupt("head of a row of %d bytes", len(v))
	}
	if x.flags&flagDeletion != 0 && x.deletion == NoDeletion {
		return corrupt("row deletion at NoDeletion")
	}
	if x.n == 0 {
		if x.flags != flagDeletion || len(x.bodies) != 0 {
			return corrupt("row without cells, flags %#x", x.flags)
		}
		return nil
	}
	if err := x.checkTables(); err != nil {
		return err
	}
	if x.attrs == nil {
		return x.checkPlain()
	}
	return x.checkCells()
}

// checkPlain is checkCells for a row of plain cells, the common one.
func (x *Index) checkPlain() error {
	if x.base <= x.deletion {
		return corrupt("cells at %d are covered by the row deletion at %d", x.base, x.deletion)
	}
	for i := 1; i < x.n; i++ {
		if x.Column(i-1) >= x.Column(i) {
			return corrupt("cell %d is out of order", i)
		}
	}
	return nil
}

// checkTables looks at what can be said without decoding a cell; afterwards every body lies within bodies.
func (x *Index) checkTables() error {
	end := 0
	for i := range x.n {
		next := x.end(i)
		if next < end {
			return corrupt("cell %d ends at %d, before it begins at %d", i, next, end)
		}
		end = next
	}
	if end != len(x.bodies) {
		return corrupt("cells end at %d of %d bytes", end, len(x.bodies))
	}
	if x.flags&widthMask != offsetWidth(end) {
		return corrupt("offsets of %d bytes are wider or narrower than needed", end)
	}
	if wide := x.Column(x.n-1) > 255; wide != (x.flags&flagWide != 0) {
		return corrupt("column ids are wider or narrower than needed")
	}
	used := byte(0)
	for _, attr := range x.attrs {
		used |= attr
	}
	if used&^attrsKnown != 0 || (x.attrs != nil && used == 0) {
		return corrupt("cell attributes %#x", used)
	}
	if (used&(attrExpiry|attrOwnExpiry) != 0) != (x.flags&flagExpiry != 0) {
		return corrupt("expiry in the head without an expiring cell, or the other way")
	}
	return nil
}

func (x *Index) checkCells() error {
	var previous, c Cell
	expiring := false
	covered, coveredColumn := x.deletion, ColumnID(0)
	for i := range x.n {
		attr := x.attr(i)
		if !x.checkCell(i, attr, &c, expiring) {
			return corrupt("cell %d with attribute %#x", i, attr)
		}
		expiring = expiring || attr&(attrExpiry|attrOwnExpiry) != 0
		if i > 0 && comparePlace(&previous, &c) >= 0 {
			return corrupt("cell %d is out of order", i)
		}
		if c.Column != coveredColumn {
			covered = x.deletion
		}
		if c.Timestamp <= covered {
			return corrupt("cell %d is covered by a deletion", i)
		}
		if c.Kind == Counter && !checkCounter(&c, covered) {
			return corrupt("cell %d: shards of a counter", i)
		}
		if c.Kind == ComplexTombstone {
			covered, coveredColumn = c.Timestamp, c.Column
		}
		previous = c
	}
	return nil
}

// checkCell decodes cell i and checks it by itself. expiring says that a cell before it expires.
func (x *Index) checkCell(i int, attr byte, c *Cell, expiring bool) bool {
	end := x.end(i)
	body := x.bodies[x.end(i-1):end:end]
	*c = Cell{Column: x.Column(i), Timestamp: x.base, Value: body}
	if attr != 0 && !x.decodeAttr(attr, body, c) {
		return false
	}
	if attr&attrTime != 0 && (i == 0 || c.Timestamp == x.base) {
		return false
	}
	if attr&attrPath != 0 && (len(c.Path) == 0 || c.Kind == ComplexTombstone) {
		return false
	}
	if (c.Kind == Tombstone || c.Kind == ComplexTombstone) && len(c.Value) > 0 {
		return false
	}
	switch attr & (attrExpiry | attrOwnExpiry) {
	case 0:
		return true
	case attrExpiry:
		return c.Kind == Live && c.Expiry != NoExpiry
	case attrOwnExpiry:
		return c.Kind == Live && c.Expiry != NoExpiry && expiring && (c.Expiry != x.expiry || c.TTL != x.ttl)
	}
	return false
}

func checkCounter(c *Cell, covered int64) bool {
	if checkShards(c.Value) != nil || newestClock(c.Value) != c.Timestamp {
		return false
	}
	for i := 0; i < len(c.Value); i += shardBytes {
		if shardClock(c.Value[i:]) <= covered {
			return false
		}
	}
	return true
}
