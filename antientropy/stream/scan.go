// Package stream compares a token range between nodes and moves what differs, both ways: the session of the node that drives it, and the server
// that every owner runs. It may import vnodes, node/row, node/rpc, node/storage, query/schema and antientropy/merkle. Start reading at Session.
package stream

import (
	"bytes"
	"context"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// Store is what this node itself holds.
type Store interface {
	Read(ctx context.Context, spec *storage.ReadSpec, buf []byte) ([]byte, error)
}

const (
	// pageBytes is read at a time, in about a fifth of a millisecond: so long a request may wait for a processor that compares.
	pageBytes = 32 << 10
	// stepBytes bounds what one request has read at a time; the rest is asked for again.
	stepBytes = 4 << 20
)

// item is a header or a row as a page has it; it aliases the page.
type item struct {
	token      vnodes.Token
	key        []byte
	clustering []byte // nil: a header
	bytes      []byte
	hash       uint64
	first      bool // the first item of its partition in the interval
}

func (i *item) header() bool { return i.clustering == nil }

// scanner reads items of one table, merged and without what their header shadows, at one time.
type scanner struct {
	store Store
	table row.StorageID
	now   int64 // unix seconds
	heads bool  // only headers
	pace  *Pace
	// left is how many bytes may still be read; a scan stops behind the page that used it up. Negative: no bound.
	left  int
	until time.Time // a scan stops behind the page at which this is past; zero: no bound
	read  uint64    // bytes
	buf   []byte
}

// scan visits an interval's items in order. It gives where it stopped for want of left or time; nil: everything was visited, or visit said false.
func (s *scanner) scan(ctx context.Context, iv *merkle.Interval, visit func(*item) bool) (*merkle.Bound, error) {
	spec := storage.ReadSpec{Storage: s.table, Range: vnodes.Range{Start: iv.Lower.Token, End: iv.Upper.Token}, Now: s.now, ByteLimit: pageBytes,
		After: iv.Lower.Position(), Until: iv.Upper.Position(), NoRows: s.heads}
	if spec.After != nil {
		spec.Range.Start-- // the partition itself may go on
	}
	if spec.Range.Start >= spec.Range.End {
		return nil, nil // even parts of few tokens may be empty
	}
	for {
		begun := time.Now()
		page, err := s.store.Read(ctx, &spec, s.buf[:0])
		if err != nil {
			return nil, err
		}
		s.buf, s.read = page, s.read+uint64(len(page))
		more, stop, err := walk(page, spec.After, s.heads, visit)
		if paced := s.pace.Take(ctx, len(page), time.Since(begun)); err == nil { // the last page counts, too: many ranges are one page
			err = paced
		}
		if err != nil || !more || stop == nil {
			return nil, err
		}
		at := merkle.AtPosition(stop)
		if s.left >= 0 {
			if s.left -= len(page); s.left <= 0 {
				s.left = 0
				return &at, nil
			}
		}
		if !s.until.IsZero() && time.Now().After(s.until) {
			return &at, nil
		}
		if spec.After = at.Position(); spec.After == nil {
			spec.Range.Start = at.Token
		}
	}
}

// walk visits a page's items. A page that goes on inside a partition repeats its header, which was visited before.
func walk(page []byte, after *row.Position, heads bool, visit func(*item) bool) (more bool, stop *row.Position, err error) {
	var r row.PageReader
	var h merkle.Hasher
	it := item{}
	resumed := after != nil && !after.Done
	r.Reset(page)
	for {
		event, err := r.Next()
		if err != nil {
			return false, nil, err
		}
		switch event {
		case row.PageEnd:
			return true, r.Stop(), nil
		case row.PagePartition:
			h.Partition(r.Token, r.Key)
			it = item{token: r.Token, key: r.Key, first: true}
			if resumed && r.Token == after.Token && bytes.Equal(r.Key, after.Key) {
				it.first = false
				continue
			}
			if len(r.HeaderBytes) == 0 {
				continue
			}
			it.bytes, it.hash = r.HeaderBytes, h.Header(r.HeaderBytes)
		case row.PageRow:
			if heads {
				continue
			}
			it.clustering, it.bytes, it.hash = r.Clustering, r.Row, h.Row(r.Clustering, r.Row)
			if it.clustering == nil {
				it.clustering = []byte{}
			}
		}
		if !visit(&it) {
			return false, nil, nil
		}
		it.first = false
	}
}

// add counts an item.
func add(s *merkle.Sum, it *item) {
	s.Add(it.hash)
	if it.first {
		s.Partitions++
	}
}

// builder makes mutations of items that come in order.
type builder struct {
	table     row.StorageID
	mutations [][]byte
	open      row.Mutation
	size      int // of open, about
	bytes     int // of what is in mutations and open, about
	items     int
}

// splitBytes is where a partition's items go on in another mutation.
const splitBytes = 1 << 20

// add copies an item.
func (b *builder) add(it *item) {
	m := &b.open
	size := len(it.clustering) + len(it.bytes) + 16
	if m.Key == nil || m.Token != it.token || !bytes.Equal(m.Key, it.key) || b.size+size > splitBytes {
		b.flush()
		*m = row.Mutation{Storage: b.table, Token: it.token, Key: append([]byte{}, it.key...)}
	}
	if it.header() {
		m.Header = bytes.Clone(it.bytes)
	} else {
		m.Rows = append(m.Rows, row.Entry{Clustering: append([]byte{}, it.clustering...), Fragment: bytes.Clone(it.bytes)})
	}
	b.items++
	b.size += size
	b.bytes += size + len(it.key)
}

// flush ends the open mutation.
func (b *builder) flush() {
	if b.open.Key != nil {
		b.mutations = append(b.mutations, b.open.Append(nil))
		b.open, b.size = row.Mutation{}, 0
	}
}

// take gives what was built and begins anew.
func (b *builder) take() [][]byte {
	b.flush()
	out := b.mutations
	b.mutations, b.bytes, b.items = nil, 0, 0
	return out
}
