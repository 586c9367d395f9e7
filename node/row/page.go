package row

import "nodedb/vnodes"

// Position is a place in (token, partition key, clustering key) order from which a scan goes on.
type Position struct {
	Token      vnodes.Token
	Key        []byte
	Clustering []byte // nil: before the partition's first row (its header not read yet)
	// Inclusive says that the row at Clustering itself is still to come. (Without it: strictly after.)
	Inclusive bool
	// Done says that the whole partition was read: go on with the next one.
	Done bool
}

// Append writes the position's bytes. Page states carry it.
func (p *Position) Append(dst []byte) []byte { panic("contract") }

// DecodePosition reads a position and gives what follows it.
func DecodePosition(b []byte) (p Position, rest []byte, err error) { panic("contract") }

// A page is a run of partitions with their rows, in order, as one replica (or the merge of several) answers. Its bytes are canonical:
// equal content, equal bytes, so a digest is a hash of them. Rows carry no cell that the page's own header covers. Partitions without header
// content and rows are absent. Rows that hold only tombstones are present. It ends with where it stopped.

// PageWriter appends a page's bytes. Reset and reuse it.
type PageWriter struct{}

// Reset starts a page in buf[:0].
func (w *PageWriter) Reset(buf []byte) { panic("contract") }

// Partition begins a partition; nothing is written until it has content. header is encoded (nil: empty).
func (w *PageWriter) Partition(token vnodes.Token, key, header []byte) { panic("contract") }

// Row appends a row of the current partition. fragment must already be shadowed by the header.
func (w *PageWriter) Row(clustering []byte, fragment View) { panic("contract") }

// Len is the number of bytes so far.
func (w *PageWriter) Len() int { panic("contract") }

// Finish ends the page: stop is where to go on, nil when everything asked for was read. It returns all bytes.
func (w *PageWriter) Finish(stop *Position) []byte { panic("contract") }

// Event of a PageReader.
type Event uint8

const (
	// PageEnd: no more; Stop() is set.
	PageEnd Event = iota
	// PagePartition: a partition begins: Token, Key, Header are set.
	PagePartition
	// PageRow: a row of it: Clustering, Row are set.
	PageRow
)

// PageReader walks a page in place; what it gives aliases the page's bytes. No allocation a row.
type PageReader struct {
	Token       vnodes.Token
	Key         []byte
	Header      Header
	HeaderBytes []byte
	Clustering  []byte
	Row         View
}

// Reset starts at the beginning of a page.
func (r *PageReader) Reset(page []byte) { panic("contract") }

// Next advances. A malformed page gives ErrCorrupt.
func (r *PageReader) Next() (Event, error) { panic("contract") }

// Stop is where the page stopped early, or nil; valid after PageEnd.
func (r *PageReader) Stop() *Position { panic("contract") }
