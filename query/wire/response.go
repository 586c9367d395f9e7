package wire

import "fmt"

// Response is a frame that a server sent. Its body may be kept: nothing overwrites it.
type Response struct {
	Header
	Body []byte // uncompressed
}

// extras are what may stand before a response's message: tracing id, warnings, custom payload, in this order.
type extras struct {
	TraceID  [16]byte
	Warnings []string
	Payload  map[string][]byte
}

// message gives the message without what stands before it.
func (r *Response) message() (x extras, body []byte, err error) {
	if r.Flags&(FlagTracing|FlagWarning|FlagCustomPayload) == 0 {
		return x, r.Body, nil
	}
	d := NewDecoder(r.Body)
	if r.Flags&FlagTracing != 0 {
		x.TraceID = d.UUID()
	}
	if r.Flags&FlagWarning != 0 {
		x.Warnings = d.StringList()
	}
	if r.Flags&FlagCustomPayload != 0 {
		x.Payload = d.BytesMap()
	}
	return x, d.Rest(), wrapDecode(r.Op, d.Err())
}

// Err gives the *Error that the server answered, an error that wraps ErrMalformed, or nil when the response is no ERROR.
func (r *Response) Err() error {
	if r.Op != OpError {
		return nil
	}
	_, body, err := r.message()
	if err != nil {
		return err
	}
	e, err := DecodeError(body, r.Version)
	if err != nil {
		return err
	}
	return e
}

// Result decodes a RESULT; an ERROR is given as the error. columns are used for rows that come without metadata (a prepared statement's). It
// decodes metadata, and no rows.
func (r *Response) Result(columns []Column) (*Result, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	if r.Op != OpResult {
		return nil, fmt.Errorf("%w: got %s, want RESULT", ErrMalformed, r.Op)
	}
	x, body, err := r.message()
	if err != nil {
		return nil, err
	}
	res := &Result{TraceID: x.TraceID, Warnings: x.Warnings, Payload: x.Payload}
	d := NewDecoder(body)
	res.decode(&d, r.Version, columns)
	return res, wrapDecode(OpResult, d.Err())
}

// Result of a statement. Rows are decoded as one goes through them:
//
//	for res.Next() {
//		values := res.Row()
//	}
//	err := res.Err()
type Result struct {
	Kind      ResultKind
	Columns   []Column
	RowCount  int
	PageState []byte // nil: no more pages
	NewID     []byte // v5: the result's metadata changed, and this is its id now
	Keyspace  string // SetKeyspace
	Change    Change // SchemaChange
	Prepared  *Prepared
	TraceID   [16]byte
	Warnings  []string
	Payload   map[string][]byte

	rows Decoder
	left int
	row  [][]byte
}

func (r *Result) decode(d *Decoder, v Version, columns []Column) {
	switch r.Kind = ResultKind(d.Int()); r.Kind {
	case KindVoid:
	case KindRows:
		r.decodeRows(d, columns)
	case KindSetKeyspace:
		r.Keyspace = d.String()
	case KindPrepared:
		r.Prepared = decodePrepared(d, v)
	case KindSchemaChange:
		r.Change.decode(d)
	default:
		d.fail("result of kind %d", r.Kind)
	}
}

func (r *Result) decodeRows(d *Decoder, columns []Column) {
	r.decodeMetadata(d, columns)
	n := int(d.Int())
	if n < 0 || (len(r.Columns) == 0 && n > 0) {
		d.fail("%d rows of %d columns", n, len(r.Columns))
	}
	if len(r.Columns) > 0 {
		n = d.fits(n, 4*len(r.Columns), "rows")
	}
	r.RowCount, r.left = n, n
	r.rows = NewDecoder(d.Rest())
}

func (r *Result) decodeMetadata(d *Decoder, columns []Column) {
	f := metadataFlag(d.Int())
	n := int(d.Int())
	if f&metaMorePages != 0 {
		r.PageState = d.Bytes()
	}
	if f&metaChanged != 0 {
		r.NewID = d.ShortBytes()
	}
	if f&metaNoMetadata == 0 {
		r.Columns = d.columns(n, f)
		return
	}
	if n != len(columns) {
		d.fail("rows of %d columns without metadata, %d are known", n, len(columns))
	}
	r.Columns = columns
}

func decodePrepared(d *Decoder, v Version) *Prepared {
	p := &Prepared{ID: d.ShortBytes()}
	if v >= V5 {
		p.ResultID = d.ShortBytes()
	}
	f := metadataFlag(d.Int())
	n := int(d.Int())
	for range d.fits(int(d.Int()), 2, "partition key indexes") {
		p.PartitionKey = append(p.PartitionKey, d.Short())
	}
	p.Markers = d.columns(n, f)
	f = metadataFlag(d.Int())
	n = int(d.Int())
	if f&metaNoMetadata == 0 {
		p.Columns = d.columns(n, f)
	}
	return p
}

// Next goes to the next row of this page. False at the end and after an error.
func (r *Result) Next() bool {
	if r.left == 0 || r.rows.err != nil {
		return false
	}
	r.left--
	r.row = r.row[:0]
	for range r.Columns {
		r.row = append(r.row, r.rows.Bytes())
	}
	return r.rows.err == nil
}

// Row is the row that Next went to, one CQL value a column, nil is null. The slice is reused by Next; the values may be kept.
func (r *Result) Row() [][]byte { return r.row }

// Err is what stopped Next early.
func (r *Result) Err() error { return wrapDecode(OpResult, r.rows.err) }

// All gives all rows of this page that Next has not gone to yet.
func (r *Result) All() ([][][]byte, error) {
	all := make([][][]byte, 0, r.left)
	for r.Next() {
		all = append(all, append([][]byte(nil), r.row...))
	}
	return all, r.Err()
}

// AppendSupported appends the body of SUPPORTED.
func AppendSupported(dst []byte, options map[string][]string) []byte {
	return AppendStringMultimap(dst, options)
}

// Supported decodes a SUPPORTED.
func (r *Response) Supported() (map[string][]string, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	_, body, err := r.message()
	if err != nil {
		return nil, err
	}
	d := NewDecoder(body)
	m := d.StringMultimap()
	return m, wrapDecode(OpSupported, d.Err())
}
