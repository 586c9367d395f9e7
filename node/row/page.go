package row

import (
	"encoding/binary"
	"math"
	"slices"

	"nodedb/vnodes"
)

// A page is a run of partitions with their rows, in order, as one replica (or the merge of several) answers. Its bytes are canonical:
// equal content, equal bytes, so a digest is a hash of them. Rows carry no cell that the page's own header covers. Partitions without header
// content and rows are absent. Rows that hold only tombstones are present. It ends with where it stopped.
//
//	| version u8 = 1 | entries | end |                    (little-endian)
//
//	partition  | 1 u8 | token i64 | key length uvarint, key | header length uvarint, header |
//	row        | 2 u8 | clustering length uvarint, clustering | fragment length uvarint, fragment |     of the partition before it
//	count      | 4 u8 | live rows uvarint, above 0 |      of the partition before it, where a count was asked for instead of rows
//	picked     | 5 u8 | rows u32, above 0 | length u32, values of these rows | clustering length uvarint, clustering of the last of them |
//	                                       of the partition before it, where some columns of plain rows were asked for (Picker)
//	end        | 0 u8 |  everything asked for was read, or
//	           | 3 u8 | position |
//
// A page without bytes is one that read everything and found nothing.
const (
	pageVersion = 1

	tagEnd       = 0
	tagPartition = 1
	tagRow       = 2
	tagStop      = 3
	tagCount     = 4
	tagPicked    = 5
)

// PageWriter appends a page's bytes. Reset and reuse it.
type PageWriter struct {
	buf   []byte
	empty int // where a partition begins that has no content yet; 0: there is none

	run  int    // where picked rows begin to which the next may be added; 0: there are none
	rows uint32 // of the run
	last []byte // the clustering key of the last of them
}

// Reset starts a page in buf[:0].
func (w *PageWriter) Reset(buf []byte) {
	w.buf, w.empty, w.run = append(buf[:0], pageVersion), 0, 0
}

// Forget lets go of the page, and keeps scratch for another.
func (w *PageWriter) Forget() { *w = PageWriter{last: w.last[:0]} }

// Partition begins a partition; nothing is written until it has content. header is encoded (nil: empty).
func (w *PageWriter) Partition(token vnodes.Token, key, header []byte) {
	w.endRun()
	w.dropEmpty()
	if len(header) == 0 {
		w.empty = len(w.buf)
	}
	w.buf = append(w.buf, tagPartition)
	w.buf = le.AppendUint64(w.buf, uint64(token))
	w.buf = appendBytes(w.buf, key)
	w.buf = appendBytes(w.buf, header)
}

// dropEmpty takes a partition without content back.
func (w *PageWriter) dropEmpty() {
	if w.empty > 0 {
		w.buf, w.empty = w.buf[:w.empty], 0
	}
}

// Row appends a row of the current partition. fragment must already be shadowed by the header; an empty one is left out.
func (w *PageWriter) Row(clustering []byte, fragment View) {
	if len(fragment) == 0 {
		return
	}
	w.empty = 0
	w.endRun()
	b := slices.Grow(w.buf, 1+2*binary.MaxVarintLen32+len(clustering)+len(fragment)) // once a row
	b = binary.AppendUvarint(append(b, tagRow), uint64(len(clustering)))
	b = binary.AppendUvarint(append(b, clustering...), uint64(len(fragment)))
	w.buf = append(b, fragment...)
}

// pickedHead is the size of what stands before the values of picked rows.
const pickedHead = 1 + 4 + 4

// Pick appends what p picks of a row of the current partition; false: nothing, p can't pick of it.
func (w *PageWriter) Pick(clustering []byte, fragment View, p *Picker) bool {
	from := p.of(fragment)
	if from == nil {
		return false
	}
	if w.run == 0 {
		w.empty, w.run, w.rows = 0, len(w.buf), 0
		w.buf = append(w.buf, tagPicked, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	w.buf, w.last = from.append(w.buf, fragment), append(w.last[:0], clustering...)
	w.rows++
	return true
}

// endRun ends a run of picked rows, if there is one.
func (w *PageWriter) endRun() {
	if w.run == 0 {
		return
	}
	head := w.buf[w.run:]
	le.PutUint32(head[1:], w.rows)
	le.PutUint32(head[5:], uint32(len(head)-pickedHead))
	w.buf, w.run = appendBytes(w.buf, w.last), 0
}

// Count appends how many rows the current partition has; of none it says nothing.
func (w *PageWriter) Count(rows int) {
	if rows > 0 {
		w.endRun()
		w.empty = 0
		w.buf = binary.AppendUvarint(append(w.buf, tagCount), uint64(rows))
	}
}

// Len is the number of bytes so far, without a partition that has no content yet.
func (w *PageWriter) Len() int {
	if w.empty > 0 {
		return w.empty
	}
	return len(w.buf)
}

// Finish ends the page: stop is where to go on, nil when everything asked for was read. It returns all bytes.
func (w *PageWriter) Finish(stop *Position) []byte {
	w.endRun()
	w.dropEmpty()
	if stop == nil {
		w.buf = append(w.buf, tagEnd)
		return w.buf
	}
	w.buf = stop.Append(append(w.buf, tagStop))
	return w.buf
}

// Event of a PageReader.
type Event uint8

const (
	// PageEnd: no more; Stop() is set.
	PageEnd Event = iota
	// PagePartition: a partition begins: Token, Key, Header are set.
	PagePartition
	// PageRow: a row of it: Clustering, Row are set.
	PageRow
	// PageCount: some of its rows, counted: Count is set. Only where that was asked for.
	PageCount
	// PagePicked: some of its rows, as a Picker gives them: Count and Values are set, and Clustering is that of the last one. Only where that was asked for.
	PagePicked
)

// PageReader walks a page in place; what it gives aliases the page's bytes. No allocation a row. It checks lengths, order of entries and
// headers; rows it does not look into: a page that comes from elsewhere goes through CheckPage once.
type PageReader struct {
	Token       vnodes.Token
	Key         []byte
	Header      Header // its Ranges are valid until the next partition
	HeaderBytes []byte // nil: empty
	Clustering  []byte
	Row         View
	Count       int    // above 0
	Values      []byte // of Count rows

	rest   []byte
	state  readerState
	failed error
	stop   *Position
	ranges []RangeDeletion // the room of Header.Ranges
}

// readerState is what may come next.
type readerState uint8

const (
	wantStart readerState = iota
	wantPartition
	wantAny // a partition has begun
	ended
)

// Reset starts at the beginning of a page.
func (r *PageReader) Reset(page []byte) {
	*r = PageReader{Header: EmptyHeader, rest: page, ranges: r.ranges[:0]}
}

// Next advances. A malformed page gives ErrCorrupt, again and again.
func (r *PageReader) Next() (Event, error) {
	if r.state == wantStart {
		r.start()
	}
	if r.failed != nil {
		return PageEnd, r.failed
	}
	if r.state == ended {
		return PageEnd, nil
	}
	if len(r.rest) == 0 {
		return r.fail(corrupt("page without an end"))
	}
	tag := r.rest[0]
	r.rest = r.rest[1:]
	switch {
	case tag == tagRow && r.state == wantAny:
		return r.row()
	case tag == tagPartition:
		return r.partition()
	case tag == tagEnd || tag == tagStop:
		return r.end(tag)
	case tag == tagCount && r.state == wantAny:
		return r.count()
	case tag == tagPicked && r.state == wantAny:
		return r.picked()
	}
	return r.fail(corrupt("tag %d in a page", tag))
}

func (r *PageReader) start() {
	r.state = wantPartition
	switch {
	case len(r.rest) == 0:
		r.state = ended
	default:
		if r.failed = checkVersion(r.rest[0], pageVersion, "page"); r.failed == nil {
			r.rest = r.rest[1:]
		}
	}
}

func (r *PageReader) fail(err error) (Event, error) {
	r.failed = err
	return PageEnd, err
}

func (r *PageReader) row() (Event, error) {
	var err error
	if r.Clustering, r.rest, err = takeBytes(r.rest, MaxClusteringBytes, "clustering key"); err != nil {
		return r.fail(err)
	}
	fragment, rest, err := takeBytes(r.rest, len(r.rest), "row")
	if err != nil {
		return r.fail(err)
	}
	if len(fragment) == 0 {
		return r.fail(corrupt("row without content in a page"))
	}
	r.Row, r.rest = fragment, rest
	return PageRow, nil
}

func (r *PageReader) count() (Event, error) {
	n, size := uvarint(r.rest)
	if size == 0 || n == 0 || n > math.MaxInt32 {
		return r.fail(corrupt("count of rows in a page"))
	}
	r.Count, r.rest = int(n), r.rest[size:]
	return PageCount, nil
}

func (r *PageReader) picked() (Event, error) {
	if len(r.rest) < pickedHead-1 {
		return r.fail(corrupt("page ends in picked rows"))
	}
	rows, size, rest := le.Uint32(r.rest), le.Uint32(r.rest[4:]), r.rest[8:]
	if rows == 0 || rows > math.MaxInt32 || uint64(size) > uint64(len(rest)) {
		return r.fail(corrupt("%d picked rows of %d bytes, where %d are left", rows, size, len(rest)))
	}
	r.Count, r.Row = int(rows), nil
	r.Values, rest = cut(rest, int(size))
	var err error
	if r.Clustering, r.rest, err = takeBytes(rest, MaxClusteringBytes, "clustering key"); err != nil {
		return r.fail(err)
	}
	return PagePicked, nil
}

func (r *PageReader) partition() (Event, error) {
	if len(r.rest) < 8 {
		return r.fail(corrupt("page ends in a token"))
	}
	r.state, r.Clustering, r.Row = wantAny, nil, nil
	r.Token, r.rest = vnodes.Token(le.Uint64(r.rest)), r.rest[8:]
	var err error
	if r.Key, r.rest, err = takeBytes(r.rest, MaxKeyBytes, "partition key"); err != nil {
		return r.fail(err)
	}
	if r.HeaderBytes, r.rest, err = takeBytes(r.rest, len(r.rest), "partition header"); err != nil {
		return r.fail(err)
	}
	if len(r.HeaderBytes) == 0 {
		r.Header, r.HeaderBytes = EmptyHeader, nil
		return PagePartition, nil
	}
	r.Header.Ranges = r.ranges[:0]
	if err := r.Header.decode(r.HeaderBytes); err != nil {
		return r.fail(err)
	}
	r.ranges = r.Header.Ranges
	return PagePartition, nil
}

func (r *PageReader) end(tag byte) (Event, error) {
	if tag == tagStop {
		stop, rest, err := DecodePosition(r.rest)
		if err != nil {
			return r.fail(err)
		}
		r.stop, r.rest = &stop, rest
	}
	if len(r.rest) > 0 {
		return r.fail(corrupt("%d bytes behind the end of a page", len(r.rest)))
	}
	r.state = ended
	return PageEnd, nil
}

// Stop is where the page stopped early, or nil; valid after PageEnd.
func (r *PageReader) Stop() *Position { return r.stop }

// CheckPage validates a page from elsewhere: entries, headers and rows. What it does not check is the order of partitions and rows, and that
// rows are shadowed: those depend on the request. Picked rows are refused: nobody asks another node for them.
func CheckPage(page []byte) error {
	var r PageReader
	r.Reset(page)
	for {
		switch event, err := r.Next(); {
		case err != nil:
			return err
		case event == PageEnd:
			return nil
		case event == PageRow:
			if err := r.Row.Check(); err != nil {
				return err
			}
		case event == PagePicked:
			return corrupt("picked rows in a page")
		}
	}
}
