package load

import (
	"bytes"
	"io"
	"strings"
)

// Record is one row of the input.
type Record struct {
	Fields []string // reused by the next Read; the strings may be kept
	Quoted []bool   // which fields stood in quotes; reused
	Raw    string   // the row as it is, without the end of its line
	Line   int64    // where it begins, from 1
	Bad    string   // why it is no CSV, or empty; then Fields is empty
}

// CSVReader reads CSV as RFC 4180 has it: fields in double quotes may contain the delimiter, ends of lines, and doubled quotes. Lines may
// end in LF or CRLF; a byte order mark and blank lines are skipped. A malformed row does not end the reading: it is given with its reason.
type CSVReader struct {
	lines     lineReader
	delimiter byte
	loose     bool // a quote inside a field that does not begin with one is an ordinary character
	record    Record
}

// NewCSVReader makes a reader. With a tab as delimiter, quotes inside fields are ordinary characters.
func NewCSVReader(r io.Reader, delimiter byte) *CSVReader {
	return &CSVReader{lines: lineReader{r: r}, delimiter: delimiter, loose: delimiter == '\t'}
}

// Read gives the next row; io.EOF after the last. The record is reused.
func (r *CSVReader) Read() (*Record, error) {
	for {
		raw, line, bad, err := r.lines.next(r.end)
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 {
			continue
		}
		rec := &r.record
		rec.Raw, rec.Line, rec.Bad = string(raw), line, bad
		rec.Fields, rec.Quoted = rec.Fields[:0], rec.Quoted[:0]
		if bad == "" {
			if rec.Bad = r.split(); rec.Bad != "" {
				rec.Fields, rec.Quoted = rec.Fields[:0], rec.Quoted[:0]
			}
		}
		return rec, nil
	}
}

// end finds the end of the row at the front of b: the index of its LF. open says that b ends inside quotes.
func (r *CSVReader) end(b []byte) (at int, open bool) {
	at = bytes.IndexByte(b, '\n')
	line := b
	if at >= 0 {
		line = b[:at]
	}
	if bytes.IndexByte(line, '"') < 0 {
		return at, false
	}
	quoted, start := false, true
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted:
			// Skip to the next quote; a doubled one leaves and enters again at once.
			next := bytes.IndexByte(b[i:], '"')
			if next < 0 {
				return -1, true
			}
			i += next
			quoted = false
			start = i+1 < len(b) && b[i+1] == '"'
		case c == '"' && start:
			quoted, start = true, false
		case c == '\n':
			return i, false
		default:
			start = c == r.delimiter
		}
	}
	return -1, quoted
}

// split cuts the row into its fields and says what is wrong with it.
func (r *CSVReader) split() (bad string) {
	s := r.record.Raw
	for {
		if s == "" || s[0] != '"' {
			i := strings.IndexByte(s, r.delimiter)
			field := s
			if i >= 0 {
				field = s[:i]
			}
			if !r.loose && strings.IndexByte(field, '"') >= 0 {
				return "a quote inside a field that does not begin with one"
			}
			r.field(field, false)
			if i < 0 {
				return ""
			}
			s = s[i+1:]
			continue
		}
		n, doubled := closingQuote(s)
		if n < 0 {
			return "a quote is never closed"
		}
		field := s[1:n]
		if doubled {
			field = strings.ReplaceAll(field, `""`, `"`)
		}
		r.field(field, true)
		if s = s[n+1:]; s == "" {
			return ""
		}
		if s[0] != r.delimiter {
			return "characters follow a closing quote"
		}
		s = s[1:]
	}
}

func (r *CSVReader) field(s string, quoted bool) {
	r.record.Fields = append(r.record.Fields, s)
	r.record.Quoted = append(r.record.Quoted, quoted)
}

// closingQuote finds the quote that ends the field that begins s, -1 if there is none.
func closingQuote(s string) (at int, doubled bool) {
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			doubled = true
			i++
			continue
		}
		return i, doubled
	}
	return -1, doubled
}

// lineReader cuts the input into rows, each within MaxRowBytes.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int
	eof        bool
	begun      bool
	line       int64  // lines before start
	beforeRead func() // called when the next row may have to be waited for
}

const firstBuffer = 256 << 10

// next gives the next row without the end of its line, as find sees it: find gives the index of the LF that ends the row at the front, or -1,
// and whether what it saw ends inside quotes. A row that is too long, or inside quotes at the end of the input, is cut at its first line,
// and bad says why. The bytes hold until the next call.
func (r *lineReader) next(find func([]byte) (at int, open bool)) (raw []byte, line int64, bad string, err error) {
	for {
		b := r.buf[r.start:r.end]
		at, open := find(b)
		switch {
		case at >= 0:
			raw, line = r.take(at, at+1)
			return raw, line, "", nil
		case r.eof && len(b) == 0:
			return nil, 0, "", io.EOF
		case r.eof && !open:
			raw, line = r.take(len(b), len(b))
			return raw, line, "", nil
		case r.eof || len(b) >= MaxRowBytes:
			return r.cut(b, open)
		}
		if err := r.fill(); err != nil {
			return nil, 0, "", err
		}
	}
}

// take consumes a row of n bytes, and skip bytes in all.
func (r *lineReader) take(n, skip int) (raw []byte, line int64) {
	raw = r.buf[r.start : r.start+n]
	line = r.line + 1
	r.line += int64(bytes.Count(r.buf[r.start:r.start+skip], []byte{'\n'}))
	r.start += skip
	return bytes.TrimSuffix(raw, []byte{'\r'}), line
}

// cut consumes the first line of a row that has no end.
func (r *lineReader) cut(b []byte, open bool) (raw []byte, line int64, bad string, err error) {
	bad = "the row is longer than 16 MiB"
	if open {
		bad = "a quote is never closed"
	}
	n, skip := len(b), len(b)
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		n, skip = i, i+1
	}
	raw, line = r.take(n, skip)
	return raw, line, bad, nil
}

// fill reads more, making room first.
func (r *lineReader) fill() error {
	if r.start > 0 {
		r.begun = true
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		grown := make([]byte, max(firstBuffer, min(2*len(r.buf), MaxRowBytes+firstBuffer)))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	if r.beforeRead != nil {
		r.beforeRead()
	}
	n, err := r.r.Read(r.buf[r.end:])
	r.end += n
	if err == io.EOF {
		r.eof = true
		err = nil
	}
	if !r.begun && r.end >= 3 {
		r.begun = true
		if bytes.HasPrefix(r.buf[:r.end], []byte("\xEF\xBB\xBF")) {
			r.start = 3
		}
	}
	return err
}

// CSVWriter writes rows as RFC 4180 has them: fields in double quotes where they need to be, lines that end in CRLF unless LF is set.
type CSVWriter struct {
	w         io.Writer
	buf       []byte
	delimiter byte
	LF        bool // lines end in LF
}

// NewCSVWriter makes a writer. Rows are written when they come to 64 KiB, and by Flush.
func NewCSVWriter(w io.Writer, delimiter byte) *CSVWriter {
	return &CSVWriter{w: w, delimiter: delimiter}
}

// Write writes a row. An empty field is written as "" in quotes, so that it differs from null: give nulls by WriteNullable.
func (w *CSVWriter) Write(fields ...string) error {
	for i, f := range fields {
		if i > 0 {
			w.buf = append(w.buf, w.delimiter)
		}
		w.buf = AppendCSVField(w.buf, []byte(f), w.delimiter)
	}
	return w.endRow()
}

// WriteNullable writes a row of which nil fields are null, written as null says.
func (w *CSVWriter) WriteNullable(fields [][]byte, null string) error {
	for i, f := range fields {
		if i > 0 {
			w.buf = append(w.buf, w.delimiter)
		}
		switch {
		case f == nil:
			w.buf = append(w.buf, null...)
		case string(f) == null:
			w.buf = append(append(append(w.buf, '"'), bytes.ReplaceAll(f, []byte{'"'}, []byte(`""`))...), '"')
		default:
			w.buf = AppendCSVField(w.buf, f, w.delimiter)
		}
	}
	return w.endRow()
}

func (w *CSVWriter) endRow() error {
	if !w.LF {
		w.buf = append(w.buf, '\r')
	}
	w.buf = append(w.buf, '\n')
	if len(w.buf) < 64<<10 {
		return nil
	}
	return w.Flush()
}

// Flush writes what is left.
func (w *CSVWriter) Flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// AppendCSVField appends one field, in quotes if it is empty or contains the delimiter, a quote, the end of a line, or blanks at its ends.
func AppendCSVField(dst, f []byte, delimiter byte) []byte {
	if len(f) > 0 && bytes.IndexByte(f, delimiter) < 0 && !bytes.ContainsAny(f, "\"\r\n") && f[0] != ' ' && f[len(f)-1] != ' ' {
		return append(dst, f...)
	}
	dst = append(dst, '"')
	for _, c := range f {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
