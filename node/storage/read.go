package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/vnodes"
)

const (
	defaultByteLimit = 1 << 20
	defaultWorkLimit = 100_000
	// contextEvery is how many entries are looked at between two looks at the context.
	contextEvery = 256
	// maxPooledReader bounds the scratch bytes a reader keeps for the next read.
	maxPooledReader = 1 << 20
)

// Slice is a half-open interval [Start, End) of encoded clustering keys; a nil End is unbounded.
type Slice struct{ Start, End []byte }

// point reports whether the slice holds one clustering key only, Start. Behind its row nothing has to be looked at: a
// step from a hot row to whatever comes next walks over every version of it that lies in memory.
func (s *Slice) point() bool {
	n := len(s.Start)
	return len(s.End) == n+1 && s.End[n] == 0 && bytes.Equal(s.Start, s.End[:n])
}

// ReadSpec says what to read: one partition (Key set), or the partitions of a token range (Key nil), in token and key
// order.
type ReadSpec struct {
	Storage row.StorageID
	Token   vnodes.Token // of Key
	Key     []byte
	Range   vnodes.Range // when Key is nil: (Start, End] without wrap; Start MinToken and End MaxToken is everything
	Slices  []Slice      // ascending, disjoint; empty: all rows
	NoRows  bool         // headers only, plus the first live row where there is no live static (DISTINCT)
	Count   bool         // the number of live rows of each partition instead of its rows. For who asks one replica: numbers can't be merged
	// Columns are those that are wanted of plain rows, instead of these rows (row.Picker); nil: rows. It is leave, not an order: rows that are not plain are given
	// whole, and so is the one that RowLimit ends with, so that who has enough without it knows where the row before it lies. For who asks one replica: values
	// can't be merged. It doesn't travel.
	Columns []row.ColumnID
	Reverse bool // rows in descending clustering order inside each partition (slices still given ascending)
	After   *row.Position
	// Until ends a range read behind a place where Range would go on: behind a row (its header comes before it), or a partition (Done). It doesn't
	// travel.
	Until *row.Position

	Now           int64 // unix seconds: which cells are live, for the limits
	RowLimit      int   // stop after so many live rows; 0: none. A partition with a live static and no live rows counts as one
	PartitionRows int   // PER PARTITION LIMIT; 0: no limit
	ByteLimit     int   // stop at a page of so many bytes (at least one row is given); 0: 1 MiB
	WorkLimit     int   // stop after looking at so many entries, dead ones included; 0: 100,000. The page may be empty with a stop
}

// Read appends one page of what spec asks for to buf[:0] and returns it (row.PageReader reads it). Fragments are
// merged, shadowed by their header, canonical. ctx is looked at now and then.
//
// Limits stop a page behind a row, or behind a partition, never between a partition's header and its first row, so each
// page gets ahead. A read of one partition that reaches its end has no stop, whatever limit it met there.
// PartitionRows, and NoRows' one row, skip the rest of a partition without a stop; they count from where the page
// begins. Dead rows on the way are in the page: a merge of replicas needs them. Rows that are counted are not in the page; a partition
// in which it stops is counted on in the next.
//
// In SyncBatch a page shows only what is durable when Read returns.
//
// Errors: ErrClosed, ErrFailStop, ErrDropped, ErrCorrupt (the engine has stopped), ctx.Err().
func (e *Engine) Read(ctx context.Context, spec *ReadSpec, buf []byte) ([]byte, error) {
	look, ok := e.look(spec)
	if !ok || !look.atRest() {
		return e.read(ctx, e.db, spec, buf)
	}
	if page, ok := e.cached(&look, buf); ok {
		return page, nil
	}
	page, err := e.read(ctx, e.db, spec, buf)
	if err == nil {
		e.keep(&look, page)
	}
	return page, err
}

// source is what tables on disk are read from: the store or a snapshot.
type source interface {
	NewIter(*pebble.IterOptions) (*pebble.Iterator, error)
	Get(key []byte) (value []byte, closer io.Closer, err error)
}

func (e *Engine) read(ctx context.Context, from source, spec *ReadSpec, buf []byte) ([]byte, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	t, err := e.tables.Load().find(spec.Storage)
	if err != nil {
		return nil, fmt.Errorf("storage: read: %w", err)
	}
	e.counts.reads.Add(1)
	page, err := e.readWhole(ctx, from, t, spec, buf)
	if err == nil {
		err = e.durable(ctx, spec, t)
	}
	if f := e.failed.Load(); f != nil {
		return nil, *f // what was read may be from files that never were
	}
	if err == nil || (ctx.Err() != nil && errors.Is(err, ctx.Err())) {
		return page, err
	}
	return nil, e.readError(fmt.Sprintf("read storage id %d", spec.Storage), err)
}

// readWhole reads again where a flush may have hidden from the page what was visible (published.go).
func (e *Engine) readWhole(ctx context.Context, from source, t *table, spec *ReadSpec, buf []byte) (page []byte, err error) {
	for {
		before := e.doubt.glance(e.doubt.wordOf(spec))
		r := readers.Get().(*reader)
		page, err = r.read(ctx, from, t, spec, buf)
		e.counts.entries.Add(uint64(r.work))
		r.release()
		if err != nil || before.sawAll(&e.doubt) {
			return page, err
		}
		if err = e.awaitPublished(ctx); err != nil {
			return nil, err
		}
	}
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// reader reads one page.
type reader struct {
	ctx    context.Context
	spec   *ReadSpec
	cur    cursor
	disk   pebbleCursor
	one    getCursor
	bounds pebble.IterOptions
	ok     bool // cur stands on an entry
	w      row.PageWriter
	picker row.Picker

	// The limits, with defaults filled in.
	byteLimit, workLimit, partitionLimit int
	needLive, picking                    bool

	// Progress.
	rows, work int
	stop       row.Position
	stopped    bool

	// The partition.
	prefix        []byte
	token         vnodes.Token
	partitionKey  []byte
	headerBytes   []byte
	header        row.Header
	clean         bool // header and what follows from it are those of a partition without one
	shadowing     bool // the header deletes something
	staticLive    bool
	partitionRows int
	counted       int  // with Count: live rows since the last count in the page
	resumed       bool // the page begins inside this partition

	// Where a page goes on inside its first partition: only rows in [from, to) of it are still to come; nil: no bound.
	resumePrefix []byte
	from, to     []byte

	// Scratch.
	lower, upper, seek, shadow []byte
	fromBuf                    []byte
}

// release empties the reader but keeps its scratch.
func (r *reader) release() {
	if cap(r.headerBytes)+cap(r.shadow)+cap(r.partitionKey) > maxPooledReader {
		return
	}
	r.w.Forget()
	*r = reader{
		w: r.w, picker: r.picker,
		prefix: r.prefix[:0], partitionKey: r.partitionKey[:0], headerBytes: r.headerBytes[:0], resumePrefix: r.resumePrefix[:0],
		lower: r.lower[:0], upper: r.upper[:0], seek: r.seek[:0], shadow: r.shadow[:0], fromBuf: r.fromBuf[:0],
	}
	readers.Put(r)
}

// read gives the page. The result of w aliases buf, not the reader.
func (r *reader) read(ctx context.Context, from source, t *table, spec *ReadSpec, buf []byte) (page []byte, err error) {
	r.ctx, r.spec = ctx, spec
	r.w.Reset(buf)
	if r.picking = len(spec.Columns) > 0 && !spec.oneRow(); r.picking { // one row is given as the row cache has it
		r.picker.Reset(spec.Columns)
	}
	r.setLimits()
	if empty, err := r.setBounds(); empty || err != nil {
		return r.w.Finish(nil), err
	}
	if err := r.open(from, t); err != nil {
		return nil, err
	}
	if spec.Key != nil {
		err = r.readPartition(from, t)
	} else {
		err = r.readRange()
	}
	if closed := r.cur.close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	if r.stopped {
		return r.w.Finish(&r.stop), nil
	}
	return r.w.Finish(nil), nil
}

func (r *reader) setLimits() {
	s := r.spec
	if r.byteLimit = s.ByteLimit; r.byteLimit <= 0 {
		r.byteLimit = defaultByteLimit
	}
	if r.workLimit = s.WorkLimit; r.workLimit <= 0 {
		r.workLimit = defaultWorkLimit
	}
	if r.partitionLimit = s.PartitionRows; s.NoRows {
		r.partitionLimit = 1
	}
	r.needLive = s.RowLimit > 0 || r.partitionLimit > 0
}

// setBounds works out the keys between which everything asked for lies. empty: After says that nothing is left.
func (r *reader) setBounds() (empty bool, err error) {
	s, after := r.spec, r.spec.After
	if s.Key != nil {
		r.prefix = appendPrefix(r.prefix, s.Storage, s.Token, s.Key)
		r.resumeInside(after)
		return after != nil && after.Done, nil
	}
	if s.Range.Start >= s.Range.End {
		return false, fmt.Errorf("range (%d, %d] wraps: cut it in two", s.Range.Start, s.Range.End)
	}
	r.lower, r.upper = appendRangeBounds(r.lower, r.upper, s.Storage, s.Range)
	r.endUntil(s.Until)
	if after == nil {
		return bytes.Compare(r.lower, r.upper) >= 0, nil
	}
	r.resumePrefix = appendPrefix(r.resumePrefix, s.Storage, after.Token, after.Key)
	r.seek = append(r.seek[:0], r.resumePrefix...)
	if after.Done {
		r.seek = appendPrefixEnd(r.seek[:0], r.resumePrefix)
		r.resumePrefix = r.resumePrefix[:0]
	}
	if bytes.Compare(r.seek, r.lower) > 0 {
		r.lower = append(r.lower[:0], r.seek...)
	}
	r.resumeInside(after)
	return bytes.Compare(r.lower, r.upper) >= 0, nil
}

// endUntil lowers the upper bound to behind a place.
func (r *reader) endUntil(until *row.Position) {
	if until == nil {
		return
	}
	end := appendPrefix(nil, r.spec.Storage, until.Token, until.Key)
	if until.Done {
		end = appendPrefixEnd(nil, end)
	} else {
		end = append(append(append(end, markerRow), until.Clustering...), 0) // the next key after Clustering
	}
	if bytes.Compare(end, r.upper) < 0 {
		r.upper = end
	}
}

// resumeInside bounds the rows of the partition in which the last page stopped.
func (r *reader) resumeInside(after *row.Position) {
	if after == nil || after.Done || after.Clustering == nil {
		return
	}
	r.fromBuf = append(r.fromBuf[:0], after.Clustering...)
	if (after.Inclusive == r.spec.Reverse) != fault.Planted("storage/page-repeats-a-row") {
		r.fromBuf = append(r.fromBuf, 0) // the next key after Clustering
	}
	if r.spec.Reverse {
		r.to = r.fromBuf
	} else {
		r.from = r.fromBuf
	}
	r.resumed = true
}

// partitionBounds are the keys between which lies what is asked for of one partition.
func (r *reader) partitionBounds() {
	slices := r.spec.Slices
	r.lower = append(append(r.lower[:0], r.prefix...), markerHeader)
	if n := len(slices); n > 0 && slices[n-1].End != nil {
		r.upper = append(append(append(r.upper[:0], r.prefix...), markerRow), slices[n-1].End...)
	} else {
		r.upper = appendPrefixEnd(r.upper[:0], r.prefix)
	}
}

// open makes the cursor. One row of a table without headers needs no iterator, which costs as much as the search does.
func (r *reader) open(from source, t *table) error {
	if t.memory == nil && !t.headers.Load() && r.spec.oneRow() {
		r.one = getCursor{from: from}
		r.cur = &r.one
		return nil
	}
	return r.openIterator(from, t)
}

func (r *reader) openIterator(from source, t *table) error {
	if r.spec.Key != nil {
		r.partitionBounds()
	}
	if t.memory != nil {
		r.cur = newMemCursor(t.memory, r.lower, r.upper, r.spec.Key != nil)
		return nil
	}
	r.bounds = pebble.IterOptions{LowerBound: r.lower, UpperBound: r.upper}
	it, err := from.NewIter(&r.bounds)
	if err != nil {
		return err
	}
	r.disk.it = it
	r.cur = &r.disk
	return nil
}

// readPartition reads one partition: one seek where the table has no headers, or where the rows asked for begin near
// the header.
func (r *reader) readPartition(from source, t *table) error {
	r.token, r.partitionKey = r.spec.Token, append(r.partitionKey, r.spec.Key...)
	start := r.firstRow()
	if r.cur == &r.one {
		if r.ok = r.seekRow(start); t.headers.Load() { // the first header came meanwhile, and may be this partition's
			if err := errors.Join(r.cur.close(), r.openIterator(from, t)); err != nil {
				return err
			}
		}
	}
	switch {
	case r.cur == &r.one:
	case r.spec.Reverse:
		if t.headers.Load() {
			r.ok = r.cur.seekGE(append(append(r.seek[:0], r.prefix...), markerHeader))
		}
	case t.headers.Load() || len(start) == 0:
		r.ok = r.cur.seekPrefixGE(append(append(r.seek[:0], r.prefix...), markerHeader))
	default:
		r.ok = r.seekRow(start)
	}
	if err := r.beginPartition(); err != nil {
		return err
	}
	_, err := r.readRows()
	return err
}

// firstRow is the clustering key before which no row is asked for.
func (r *reader) firstRow() []byte {
	var start []byte
	if len(r.spec.Slices) > 0 {
		start = r.spec.Slices[0].Start
	}
	if bytes.Compare(r.from, start) > 0 {
		start = r.from
	}
	return start
}

// readRange reads partition after partition.
func (r *reader) readRange() error {
	from, to, resumed := r.from, r.to, r.resumed
	for r.ok = r.cur.seekGE(r.lower); r.ok && !r.stopped; {
		key := r.cur.key()
		n := 0
		if r.token, r.partitionKey, n = parseKey(r.partitionKey[:0], key); n == 0 || n == len(key) {
			return unknownMarker(key)
		}
		r.prefix = append(r.prefix[:0], key[:n]...)
		r.from, r.to, r.resumed = nil, nil, false
		if resumed && bytes.Equal(r.prefix, r.resumePrefix) {
			r.from, r.to, r.resumed = from, to, true
		}
		if err := r.beginPartition(); err != nil {
			return err
		}
		outside, err := r.readRows()
		if err != nil || r.stopped {
			return err
		}
		if !outside {
			r.leavePartition()
		}
		if r.limitReached() {
			r.stopHere(nil)
		}
	}
	return nil
}

func unknownMarker(key []byte) error {
	return fmt.Errorf("%w: the key %v is no row and no header", row.ErrCorrupt, keyFormatter(key))
}

// leavePartition goes to the first entry of the next partition.
func (r *reader) leavePartition() {
	if u := r.spec.Until; r.spec.Reverse || (u != nil && !u.Done) { // Pebble refuses NextPrefix when a partition is cut by the upper bound
		r.ok = r.cur.seekGE(appendPrefixEnd(r.seek[:0], r.prefix))
		return
	}
	if r.ok && bytes.HasPrefix(r.cur.key(), r.prefix) { // it may be there already
		r.ok = r.cur.nextPrefix()
	}
}

// beginPartition takes the header, if the cursor stands on it, and goes on to the next entry.
func (r *reader) beginPartition() error {
	r.partitionRows = 0
	if !r.clean { // most partitions have no header: don't pay for forgetting one
		r.header, r.shadowing, r.staticLive, r.headerBytes, r.clean = row.EmptyHeader, false, false, r.headerBytes[:0], true
	}
	if r.ok && r.cur.key()[len(r.prefix)] == markerHeader {
		value, err := r.cur.value()
		if err != nil {
			return err
		}
		r.work++
		r.clean = false
		r.headerBytes = append(r.headerBytes, value...)
		if r.header, err = row.DecodeHeader(r.headerBytes); err != nil {
			return fmt.Errorf("header of partition %x: %w", r.partitionKey, err)
		}
		r.shadowing = r.header.Deletion != row.NoDeletion || len(r.header.Ranges) > 0
		r.staticLive = r.needLive && r.header.Static.LiveAt(r.spec.Now)
		if !r.spec.Reverse {
			r.ok = r.cur.next()
		}
	}
	r.w.Partition(r.token, r.partitionKey, r.headerBytes)
	return nil
}

// readRows reads the partition's rows and counts the partition. outside: the cursor already stands on the next
// partition.
func (r *reader) readRows() (outside bool, err error) {
	switch {
	case r.spec.NoRows && r.staticLive:
	case r.spec.Reverse:
		err = r.readBackward()
	default:
		outside, err = r.readForward()
	}
	if r.counted > 0 {
		r.w.Count(r.counted)
		r.counted = 0
	}
	if r.staticLive && r.partitionRows == 0 && !r.resumed && !r.stopped {
		r.rows++
	}
	return outside, err
}

// readForward reads rows in ascending order until the partition, its slices or a limit end.
func (r *reader) readForward() (outside bool, err error) {
	slices, head := r.spec.Slices, len(r.prefix)+1
	for r.ok {
		key := r.cur.key()
		if !bytes.HasPrefix(key, r.prefix) {
			return true, nil
		}
		if key[head-1] != markerRow {
			return false, unknownMarker(key)
		}
		clustering := key[head:]
		if len(slices) > 0 {
			if slices[0].End != nil && bytes.Compare(clustering, slices[0].End) >= 0 {
				if slices = slices[1:]; len(slices) == 0 {
					return false, nil
				}
				continue
			}
			if bytes.Compare(clustering, slices[0].Start) < 0 {
				r.ok = r.seekRow(slices[0].Start)
				continue
			}
		}
		if r.from != nil && bytes.Compare(clustering, r.from) < 0 {
			r.ok = r.seekRow(r.from)
			continue
		}
		if done, err := r.row(clustering); done || err != nil {
			return false, err
		}
		if len(slices) > 0 && slices[0].point() {
			if slices = slices[1:]; len(slices) == 0 {
				return false, nil
			}
			r.ok = r.seekRow(slices[0].Start)
			continue
		}
		r.ok = r.cur.next()
	}
	return true, nil
}

// seekRow goes to the first row of the partition at or after a clustering key.
func (r *reader) seekRow(clustering []byte) bool {
	r.seek = append(append(append(r.seek[:0], r.prefix...), markerRow), clustering...)
	if r.spec.Key != nil {
		return r.cur.seekPrefixGE(r.seek)
	}
	return r.cur.seekGE(r.seek)
}

// readBackward reads rows in descending order, slice by slice from the last.
func (r *reader) readBackward() error {
	if len(r.spec.Slices) == 0 {
		_, err := r.sliceBackward(Slice{})
		return err
	}
	for i := len(r.spec.Slices) - 1; i >= 0; i-- {
		if done, err := r.sliceBackward(r.spec.Slices[i]); done || err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) sliceBackward(s Slice) (done bool, err error) {
	end := s.End
	if r.to != nil && (end == nil || bytes.Compare(r.to, end) < 0) {
		end = r.to
	}
	if end == nil {
		r.seek = appendPrefixEnd(r.seek[:0], r.prefix)
	} else {
		r.seek = append(append(append(r.seek[:0], r.prefix...), markerRow), end...)
	}
	head := len(r.prefix) + 1
	for r.ok = r.cur.seekLT(r.seek); r.ok; r.ok = r.cur.prev() {
		key := r.cur.key()
		if !bytes.HasPrefix(key, r.prefix) || key[head-1] == markerHeader || bytes.Compare(key[head:], s.Start) < 0 {
			return false, nil
		}
		if key[head-1] != markerRow {
			return false, unknownMarker(key)
		}
		if done, err := r.row(key[head:]); done || err != nil {
			return true, err
		}
	}
	return false, nil
}

// row takes the row under the cursor. done: no more rows of this partition, for now or at all.
func (r *reader) row(clustering []byte) (done bool, err error) {
	if r.work++; r.work%contextEvery == 0 {
		if err := r.ctx.Err(); err != nil {
			return true, err
		}
	}
	value, err := r.cur.value()
	if err != nil {
		return true, err
	}
	if r.shadowing {
		if deletion := r.header.Covering(clustering); deletion != row.NoDeletion {
			r.shadow = row.Shadow(r.shadow[:0], value, deletion)
			value = r.shadow
		}
	}
	if r.picking && r.rows+1 != r.spec.RowLimit && r.w.Pick(clustering, value, &r.picker) {
		r.rows++ // what can be picked is live
		r.partitionRows++
		return r.rowTaken(clustering), nil
	}
	switch {
	case !r.spec.Count:
		r.w.Row(clustering, value)
	case row.View(value).LiveAt(r.spec.Now):
		r.counted++
	}
	if r.needLive && len(value) > 0 && row.View(value).LiveAt(r.spec.Now) {
		r.rows++
		r.partitionRows++
	}
	return r.rowTaken(clustering), nil
}

// rowTaken ends the page behind a row where a limit is reached. done: no more rows of this partition, for now or at all.
func (r *reader) rowTaken(clustering []byte) (done bool) {
	if r.limitReached() {
		r.stopHere(clustering)
		return true
	}
	return r.partitionLimit > 0 && r.partitionRows >= r.partitionLimit
}

func (r *reader) limitReached() bool {
	return (r.spec.RowLimit > 0 && r.rows >= r.spec.RowLimit) || r.w.Len() >= r.byteLimit || r.work >= r.workLimit
}

// stopHere ends the page behind a row, or behind the partition. An empty clustering key is its partition's only one.
func (r *reader) stopHere(clustering []byte) {
	if len(clustering) == 0 {
		if r.spec.Key != nil {
			return // everything asked for was read
		}
		r.stop.Done = true
	}
	r.stopped = true
	r.stop.Token = r.token
	r.stop.Key = bytes.Clone(r.partitionKey)
	r.stop.Clustering = bytes.Clone(clustering)
}
