package storage

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/row"
)

// mergerName is permanent: a store remembers it and refuses another.
const mergerName = "nodedb.v1.merger"

// merger merges the fragments of a key by its marker. row's merges are commutative, so the order operands come in does
// not matter. It is not a DeletableValueMerger on purpose: deleting from there uncovers older operands (Pebble issue
// 6168).
var merger = &pebble.Merger{Name: mergerName, Merge: func(key, value []byte) (pebble.ValueMerger, error) {
	m := valueMergers.Get().(*valueMerger)
	switch m.marker(key) {
	case markerRow:
		m.header = false
	case markerHeader:
		m.header = true
	default:
		return nil, fmt.Errorf("%w: merge operand under the key %x", row.ErrCorrupt, key)
	}
	return m, m.MergeOlder(value)
}}

// marker gives the marker of a key of a table; 0: it has none. A scan merges every row it meets, and to look for the end of the partition key costs more than
// to merge one operand: so it is remembered from row to row.
func (m *valueMerger) marker(key []byte) byte {
	if len(m.prefix) == 0 || !bytes.HasPrefix(key, m.prefix) {
		m.prefix = append(m.prefix[:0], key[:splitKey(key)]...)
	}
	if n := len(m.prefix); n < len(key) {
		return key[n]
	}
	return 0
}

var valueMergers = sync.Pool{New: func() any { return new(valueMerger) }}

// maxPooledMerge bounds the bytes a pooled valueMerger keeps.
const maxPooledMerge = 256 << 10

// valueMerger collects copies of the operands and merges them at the end.
type valueMerger struct {
	header bool
	prefix []byte   // of the last key; no prefix is one of another
	buf    []byte   // the operands, one behind the other
	ends   []int    // where each ends in buf
	parts  [][]byte // scratch of Finish
	out    []byte
}

// MergeNewer implements pebble.ValueMerger.
func (m *valueMerger) MergeNewer(value []byte) error { return m.MergeOlder(value) }

// MergeOlder implements pebble.ValueMerger.
func (m *valueMerger) MergeOlder(value []byte) error {
	m.buf = append(m.buf, value...)
	m.ends = append(m.ends, len(m.buf))
	return nil
}

// Finish implements pebble.ValueMerger. The result is valid until the closer, m itself, is closed.
func (m *valueMerger) Finish(bool) ([]byte, io.Closer, error) {
	if len(m.ends) == 1 {
		return m.buf, m, nil
	}
	m.parts = m.parts[:0]
	start := 0
	for _, end := range m.ends {
		m.parts = append(m.parts, m.buf[start:end:end])
		start = end
	}
	var err error
	m.out, err = mergeFragments(m.out[:0], m.header, m.parts)
	if err != nil {
		return nil, nil, err
	}
	return m.out, m, nil
}

// Close gives the buffers back.
func (m *valueMerger) Close() error {
	if cap(m.buf)+cap(m.out) <= maxPooledMerge {
		m.buf, m.ends, m.out = m.buf[:0], m.ends[:0], m.out[:0]
		valueMergers.Put(m)
	}
	return nil
}

// mergeFragments appends the merge of a row's or a header's fragments.
func mergeFragments(dst []byte, header bool, parts [][]byte) ([]byte, error) {
	if header {
		return row.MergeHeaders(dst, parts...)
	}
	return row.Merge(dst, parts...)
}
