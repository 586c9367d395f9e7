package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"

	"nodedb/query/types"
)

// row is one row of the input on its way.
type row struct {
	number, line int64
	raw          string
	values       [][]byte // by marker
	unset        []bool
	size         int // bytes of the values
}

// reject is a row that isn't written, with its reason.
type reject struct {
	number, line int64
	raw          string
	column       string
	value        string
	reason       string
}

// rowSource gives rows, converted. Of row and reject one is set; io.EOF at the end.
type rowSource interface {
	// begin reads the header, if there is one, and says what it maps to. header is the raw line for the rejects file, or empty.
	begin(all []column) (columns []column, header string, err error)
	// use sets the types of the markers.
	use(types []*types.Type)
	next() (*row, *reject, error)
	lines() *lineReader
}

func newSource(o *Options, r io.Reader) rowSource {
	if o.Format == NDJSON {
		return &jsonSource{o: o, reader: lineReader{r: r}}
	}
	return &csvSource{o: o, csv: NewCSVReader(r, o.Delimiter)}
}

// newRow makes a row without values. The marker after the columns is the timestamp's.
func newRow(number, line int64, raw string, columns int) *row {
	w := &row{number: number, line: line, raw: raw, values: make([][]byte, columns+1), unset: make([]bool, columns+1)}
	for i := range columns {
		w.unset[i] = true
	}
	return w
}

func (w *row) set(marker int, value []byte) {
	w.values[marker], w.unset[marker] = value, false
	w.size += len(value)
}

// missingKey finds a key column without a value.
func (w *row) missingKey(columns []column) (string, bool) {
	for i, c := range columns {
		if c.isKey() && w.unset[i] {
			return c.name, true
		}
	}
	return "", false
}

func (w *row) reject(column, value, reason string) *reject {
	return &reject{w.number, w.line, w.raw, column, value, reason}
}

// csvSource reads CSV and TSV.
type csvSource struct {
	o      *Options
	csv    *CSVReader
	layout *layout
	types  []*types.Type
	derive func(record []string) ([]string, error)
	number int64
}

func (s *csvSource) lines() *lineReader { return &s.csv.lines }

func (s *csvSource) use(t []*types.Type) { s.types = t }

func (s *csvSource) begin(all []column) ([]column, string, error) {
	fields, header := s.o.Columns, ""
	if s.o.Header == HeaderYes || s.o.Header == HeaderAuto && len(s.o.Columns) == 0 {
		rec, err := s.csv.Read()
		switch {
		case err == io.EOF:
			return nil, "", fmt.Errorf("%w: it is empty, and its first row should name the columns", ErrInput)
		case err != nil:
			return nil, "", fmt.Errorf("%w: %w", ErrInput, err)
		case rec.Bad != "":
			return nil, "", fmt.Errorf("%w: its first row, which should name the columns: %s", ErrInput, rec.Bad)
		}
		header = rec.Raw
		if len(fields) == 0 {
			fields = append([]string(nil), rec.Fields...)
		}
	}
	if len(fields) == 0 {
		for _, c := range all {
			fields = append(fields, c.name)
		}
	}
	var derived []string
	if s.o.Derive != nil {
		derived, s.derive = s.o.Derive(fields)
	}
	var err error
	if s.layout, err = arrange(all, fields, derived, s.o.SkipUnknown); err != nil {
		return nil, "", err
	}
	return s.layout.columns, header, nil
}

func (s *csvSource) next() (*row, *reject, error) {
	rec, err := s.csv.Read()
	if err != nil {
		return nil, nil, err
	}
	s.number++
	w := newRow(s.number, rec.Line, rec.Raw, len(s.layout.columns))
	if rec.Bad != "" {
		return nil, w.reject("", "", rec.Bad), nil
	}
	if len(rec.Fields) != len(s.layout.bind) {
		return nil, w.reject("", "", fmt.Sprintf("the row has %d fields and not %d", len(rec.Fields), len(s.layout.bind))), nil
	}
	for i, marker := range s.layout.bind {
		if marker < 0 {
			continue
		}
		if r := s.cell(w, marker, rec.Fields[i], rec.Quoted[i]); r != nil {
			return nil, r, nil
		}
	}
	if s.derive != nil {
		values, err := s.derive(rec.Fields)
		if err != nil {
			return nil, w.reject("", "", err.Error()), nil
		}
		if len(values) != len(s.layout.derived) {
			return nil, w.reject("", "", fmt.Sprintf("%d values were derived and not %d", len(values), len(s.layout.derived))), nil
		}
		for i, marker := range s.layout.derived {
			if marker < 0 {
				continue
			}
			if r := s.cell(w, marker, values[i], false); r != nil {
				return nil, r, nil
			}
		}
	}
	if name, missing := w.missingKey(s.layout.columns); missing {
		return nil, w.reject(name, "", errNull.Error()), nil
	}
	return w, nil, nil
}

// cell converts one field.
func (s *csvSource) cell(w *row, marker int, text string, quoted bool) *reject {
	t := s.types[marker]
	if isNull(t, text, quoted, s.o.Null) {
		return nil
	}
	v, err := t.ParseText(text)
	if err != nil {
		return w.reject(s.layout.columns[marker].name, text, err.Error())
	}
	w.set(marker, v)
	return nil
}

// isNull: the empty field, for types that are not text, and the text given for null. In quotes that is an ordinary text.
func isNull(t *types.Type, text string, quoted bool, null *string) bool {
	if null != nil && text == *null && (!quoted || !t.IsText()) {
		return true
	}
	return text == "" && !t.IsText()
}

// jsonSource reads one JSON object a line.
type jsonSource struct {
	o       *Options
	reader  lineReader
	columns []column
	marker  map[string]int
	types   []*types.Type
	number  int64
}

func (s *jsonSource) lines() *lineReader { return &s.reader }

func (s *jsonSource) use(t []*types.Type) { s.types = t }

func (s *jsonSource) begin(all []column) ([]column, string, error) {
	s.columns = all
	if len(s.o.Columns) > 0 {
		a, err := arrange(all, s.o.Columns, nil, s.o.SkipUnknown)
		if err != nil {
			return nil, "", err
		}
		s.columns = a.columns
	}
	s.marker = map[string]int{}
	for i, c := range s.columns {
		s.marker[c.name] = i
	}
	return s.columns, "", nil
}

func endOfLine(b []byte) (at int, open bool) { return bytes.IndexByte(b, '\n'), false }

func (s *jsonSource) next() (*row, *reject, error) {
	for {
		raw, line, bad, err := s.reader.next(endOfLine)
		if err != nil {
			return nil, nil, err
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		s.number++
		w := newRow(s.number, line, string(raw), len(s.columns))
		if bad != "" {
			return nil, w.reject("", "", bad), nil
		}
		r := s.object(w, raw)
		if r != nil {
			return nil, r, nil
		}
		return w, nil, nil
	}
}

func (s *jsonSource) object(w *row, raw []byte) *reject {
	var members map[string]json.RawMessage
	if !utf8.Valid(raw) {
		return w.reject("", "", "the line is not UTF-8")
	}
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		if err == nil {
			return w.reject("", "", "the line is no JSON object: null")
		}
		return w.reject("", "", "the line is no JSON object: "+err.Error())
	}
	for name, value := range members {
		marker, ok := s.marker[name]
		if !ok {
			if marker, ok = s.marker[strings.ToLower(name)]; ok && members[strings.ToLower(name)] != nil {
				return w.reject(name, "", "the column is given twice, in different case")
			}
		}
		if !ok && s.o.SkipUnknown {
			continue
		}
		if !ok {
			return w.reject(name, string(value), "there is no such column to load")
		}
		v, err := s.types[marker].FromJSON(value)
		if err != nil {
			return w.reject(name, string(value), err.Error())
		}
		if v != nil {
			w.set(marker, v)
		}
	}
	if name, missing := w.missingKey(s.columns); missing {
		return w.reject(name, "", errNull.Error())
	}
	return nil
}

// group is rows of one partition that may go into one request.
type group struct {
	rows []*row
	size int
}

// groups collects rows by partition.
type groups struct {
	keys    []int // markers of the partition key
	index   map[string]*group
	order   []*group
	rows    int
	size    int
	scratch []byte
}

func newGroups(columns []column) *groups {
	g := &groups{index: map[string]*group{}}
	for i, c := range columns {
		if c.kind == "partition_key" {
			g.keys = append(g.keys, i)
		}
	}
	sort.Slice(g.keys, func(i, j int) bool { return columns[g.keys[i]].position < columns[g.keys[j]].position })
	return g
}

// add puts a row into its group. It gives the group that has become full by it, or nil.
func (g *groups) add(w *row, most int) *group {
	key := g.scratch[:0]
	for _, i := range g.keys {
		key = types.AppendElement(key, w.values[i])
	}
	g.scratch = key
	of := g.index[string(key)]
	var full *group
	if of != nil && (len(of.rows) >= most || of.size+w.size > MaxBatchBytes) {
		full = &group{rows: of.rows, size: of.size}
		g.rows -= len(of.rows)
		g.size -= of.size
		of.rows, of.size = nil, 0
	}
	if of == nil {
		of = &group{}
		g.index[string(key)] = of
		g.order = append(g.order, of)
	}
	of.rows = append(of.rows, w)
	of.size += w.size
	g.rows++
	g.size += w.size
	return full
}

// take gives all groups and forgets them.
func (g *groups) take() []*group {
	all := g.order
	g.order, g.rows, g.size = nil, 0, 0
	clear(g.index)
	return all
}
