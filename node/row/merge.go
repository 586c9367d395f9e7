package row

import (
	"bytes"
	"slices"
	"sync"

	"nodedb/node/fault"
)

// Merge appends the merge of row fragments to dst. It is total, commutative, associative and idempotent, and its result is
// canonical. Higher timestamp wins; then tombstone over expiring over live; then the later expiry; then the larger value (then the
// larger TTL, so that nothing is left to chance). A row tombstone removes cells at or below its timestamp; a complex tombstone removes
// elements likewise. Counters merge shard by shard: the higher clock, then the larger sum.
//
// Why it is lawful: think of a row as the set of all facts ever written. Deletions remove facts at or below a timestamp, and of two facts
// of one place the order above keeps one whose timestamp is not lower, so whatever deletes the kept one deletes the dropped one too.
//
// Fragments are canonical already (Check): one fragment alone is copied without a look inside, but for its version. Several are checked on the
// way; bytes that are not a row give ErrCorrupt, and dst is returned as it was. The fragments may not lie in dst's spare capacity.
func Merge(dst []byte, fragments ...[]byte) ([]byte, error) {
	var single []byte
	full := 0
	for _, f := range fragments {
		if len(f) > 0 {
			single = f
			full++
		}
	}
	switch full {
	case 0:
		return dst, nil
	case 1:
		if err := checkVersion(single[0], rowVersion, "row"); err != nil {
			return dst, err
		}
		return append(dst, single...), nil
	}
	for _, f := range fragments {
		if err := View(f).Check(); err != nil {
			return dst, err
		}
	}
	if whole := superseding(fragments); whole != nil {
		return append(dst, whole...), nil
	}
	m := mergers.Get().(*merger)
	defer m.release()
	deletion := m.load(fragments)
	m.mergeRuns()
	m.from = coverCells(m.from, deletion)
	return appendRow(dst, deletion, m.from), nil
}

// superseding gives the fragment that is the merge by itself, when that shows without decoding a cell: all fragments are plain rows of the same
// columns, as the same INSERT writes them again and again, or equal bytes.
func superseding(fragments [][]byte) []byte {
	newest := fragments[0]
	x := View(newest).Index()
	for _, f := range fragments[1:] {
		if bytes.Equal(f, newest) {
			continue
		}
		y := View(f).Index()
		if x.attrs != nil || y.attrs != nil || x.base == y.base ||
			(x.flags^y.flags)&flagWide != 0 || !bytes.Equal(x.columns, y.columns) {
			return nil
		}
		if y.base > x.base {
			newest, x, y = f, y, x
		}
		if x.deletion < y.deletion {
			return nil
		}
	}
	return newest
}

// merger is the scratch of one merge: decoded cells, in runs that are each in order.
type merger struct {
	from, to []Cell
	runs     []int // where each run of from ends
}

var mergers = sync.Pool{New: func() any { return new(merger) }}

// maxPooledCells bounds the scratch a merger keeps between merges.
const maxPooledCells = 4096

func (m *merger) release() {
	if cap(m.from)+cap(m.to) > 2*maxPooledCells {
		return
	}
	// Cells alias the callers' bytes: don't hold on to those.
	clear(m.from)
	clear(m.to)
	m.from, m.to, m.runs = m.from[:0], m.to[:0], m.runs[:0]
	mergers.Put(m)
}

// load decodes the cells of each fragment that the newest row deletion leaves.
func (m *merger) load(fragments [][]byte) (deletion int64) {
	deletion = NoDeletion
	for _, f := range fragments {
		deletion = max(deletion, View(f).Deletion())
	}
	for _, f := range fragments {
		x := View(f).Index()
		m.add(&x, deletion)
		if end := len(m.from); end > 0 && (len(m.runs) == 0 || m.runs[len(m.runs)-1] < end) {
			m.runs = append(m.runs, end)
		}
	}
	return deletion
}

// add decodes the cells above covered.
func (m *merger) add(x *Index, covered int64) {
	next := len(m.from)
	m.from = slices.Grow(m.from, x.n)[:next+x.n]
	for i := range x.n {
		if covered == NoDeletion || x.timestamp(i) > covered {
			x.decode(i, &m.from[next])
			next++
		}
	}
	m.from = m.from[:next]
}

// mergeRuns merges neighbouring runs until one is left: log(runs) passes over the cells.
func (m *merger) mergeRuns() {
	for len(m.runs) > 1 {
		m.to = m.to[:0]
		merged, start := 0, 0
		for i := 0; i < len(m.runs); i += 2 {
			middle, end := m.runs[i], m.runs[min(i+1, len(m.runs)-1)]
			m.to = mergeSorted(m.to, m.from[start:middle], m.from[middle:end])
			m.runs[merged] = len(m.to)
			merged, start = merged+1, end
		}
		m.runs = m.runs[:merged]
		m.from, m.to = m.to, m.from
	}
}

func mergeSorted(dst, a, b []Cell) []Cell {
	for len(a) > 0 && len(b) > 0 {
		switch order := comparePlace(&a[0], &b[0]); {
		case order < 0:
			dst, a = append(dst, a[0]), a[1:]
		case order > 0:
			dst, b = append(dst, b[0]), b[1:]
		default:
			dst, a, b = append(dst, mergeCell(&a[0], &b[0])), a[1:], b[1:]
		}
	}
	return append(append(dst, a...), b...)
}

// mergeCell merges two cells of one place.
func mergeCell(a, b *Cell) Cell {
	if a.Kind == Counter {
		c := *a
		c.Timestamp = max(a.Timestamp, b.Timestamp)
		if !bytes.Equal(a.Value, b.Value) {
			c.Value = mergeShards(make([]byte, 0, len(a.Value)+len(b.Value)), a.Value, b.Value)
			c.Timestamp = newestClock(c.Value)
		}
		return c
	}
	if wins(b, a) {
		return *b
	}
	return *a
}

// wins reports whether a replaces b, a cell of the same place.
func wins(a, b *Cell) bool {
	if a.Timestamp != b.Timestamp {
		return (a.Timestamp > b.Timestamp) != fault.Planted("row/merge-keeps-older")
	}
	if fault.Planted("row/tie-by-arrival") {
		return true
	}
	if ra, rb := strength(a), strength(b); ra != rb {
		return ra > rb
	}
	if a.Expiry != b.Expiry {
		return a.Expiry > b.Expiry
	}
	if order := bytes.Compare(a.Value, b.Value); order != 0 {
		return order > 0
	}
	return a.TTL > b.TTL
}

// strength says which kind wins between equal timestamps.
func strength(c *Cell) int {
	switch {
	case c.Kind != Live && !fault.Planted("row/tombstone-loses-tie"):
		return 2
	case c.Expiry != NoExpiry:
		return 1
	}
	return 0
}

// coverCells drops, in place, the cells at or below deletion or at or below their column's complex tombstone.
func coverCells(cells []Cell, deletion int64) []Cell {
	kept := cells[:0]
	covered, column := deletion, ColumnID(0)
	for i := range cells {
		c := &cells[i]
		if c.Column != column {
			covered, column = deletion, c.Column
		}
		if c.Timestamp <= covered {
			continue
		}
		switch c.Kind {
		case ComplexTombstone:
			covered = c.Timestamp
		case Counter:
			c.Value = shadowShards(c.Value, covered)
		}
		if len(kept) != i {
			kept = append(kept, *c)
		} else {
			kept = cells[:i+1]
		}
	}
	clear(cells[len(kept):])
	return kept
}

// Shadow appends v without the cells (and row tombstone) that a deletion at timestamp covers. v is canonical (Check).
func Shadow(dst []byte, v View, timestamp int64) []byte {
	x := v.Index()
	if !x.touched(timestamp) {
		return append(dst, v...)
	}
	m := mergers.Get().(*merger)
	defer m.release()
	m.add(&x, timestamp)
	deletion := x.deletion
	if deletion <= timestamp {
		deletion = NoDeletion
	}
	m.from = coverCells(m.from, timestamp)
	return appendRow(dst, deletion, m.from)
}

// CoveredBy reports whether a deletion at timestamp may remove anything of v: whether Shadow would do more than copy.
func (v View) CoveredBy(timestamp int64) bool {
	x := v.Index()
	return x.touched(timestamp)
}

// touched reports whether a deletion at timestamp covers anything of the row.
func (x *Index) touched(timestamp int64) bool {
	if timestamp == NoDeletion || (x.deletion != NoDeletion && timestamp < x.deletion) {
		return false // every cell is above the row's own tombstone
	}
	if x.deletion != NoDeletion || (x.n > 0 && x.base <= timestamp) {
		return true
	}
	for i, attr := range x.attrs {
		if attr&attrKind == byte(Counter) {
			return true // a shard may be older than its cell
		}
		if attr&attrTime != 0 && x.timestamp(i) <= timestamp {
			return true
		}
	}
	return false
}
