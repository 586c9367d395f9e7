package shell

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/load"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// Formats are the values of Options.Format.
var Formats = []string{"table", "vertical", "csv", "json", "ndjson", "markdown"}

// formatter writes one result. Rows come page by page; a row's values are only lent.
type formatter interface {
	begin(columns []wire.Column)
	row(values [][]byte)
	endPage() // what was buffered must be seen now: the pager asks, or the next page is awaited
	end()
}

// output is where results go.
type output struct {
	*bufio.Writer
	colour bool
}

func newOutput(w io.Writer, colour bool) *output {
	return &output{Writer: bufio.NewWriterSize(w, outputBytes), colour: colour}
}

// outputBytes is the buffer in front of Stdout.
const outputBytes = 64 << 10

func newFormatter(format string, out *output) formatter {
	switch format {
	case "vertical":
		return &vertical{out: out}
	case "csv":
		return &csvFormat{out: out}
	case "json":
		return &jsonFormat{out: out}
	case "ndjson":
		return &jsonFormat{out: out, lines: true}
	case "markdown":
		return &markdown{out: out}
	}
	return &table{out: out}
}

func checkFormat(format string) error {
	if format == "" || slices.Contains(Formats, format) {
		return nil
	}
	return fmt.Errorf("--format %s: want one of %s", format, strings.Join(Formats, ", "))
}

// rightAligned are the types whose values read better with their ends in line.
func rightAligned(t *types.Type) bool {
	switch t.Kind {
	case types.Bigint, types.Counter, types.Decimal, types.Double, types.Float, types.Int, types.Varint, types.Smallint, types.Tinyint:
		return true
	}
	return false
}

// csvFormat is RFC 4180 with a header line. Null is nothing, the empty text is "".
type csvFormat struct {
	out     *output
	w       *load.CSVWriter
	columns []wire.Column
	fields  [][]byte
	buf     []byte
}

func (f *csvFormat) begin(columns []wire.Column) {
	f.columns = columns
	f.fields, f.buf = make([][]byte, len(columns)), make([]byte, 0, rowBytes)
	f.w = load.NewCSVWriter(f.out, ',')
	for i, c := range columns {
		f.fields[i] = []byte(c.Name)
	}
	_ = f.w.WriteNullable(f.fields, "") // output keeps its error
}

func (f *csvFormat) row(values [][]byte) {
	f.fields, f.buf = appendTexts(f.fields[:0], f.buf[:0], f.columns, values)
	_ = f.w.WriteNullable(f.fields, "")
}

// rowBytes is room for the texts of a usual row.
const rowBytes = 1024

// appendTexts writes values as plain text into buf, which isn't nil; the fields are slices of it, nil is null.
func appendTexts(fields [][]byte, buf []byte, columns []wire.Column, values [][]byte) (texts [][]byte, out []byte) {
	for i, v := range values {
		if v == nil {
			fields = append(fields, nil)
			continue
		}
		start := len(buf)
		buf = columns[i].Type.AppendText(buf, v)
		// A later append may move buf; the old array keeps what this field needs.
		fields = append(fields, buf[start:len(buf):len(buf)])
	}
	return fields, buf
}

func (f *csvFormat) endPage() {
	_ = f.w.Flush()
	f.out.Flush()
}

func (f *csvFormat) end() { _ = f.w.Flush() }

// jsonFormat is one array of objects a result, or an object a line.
type jsonFormat struct {
	out     *output
	lines   bool
	columns []wire.Column
	names   [][]byte // `"name": ` of each column
	rows    int
	buf     []byte
}

func (f *jsonFormat) begin(columns []wire.Column) {
	f.columns = columns
	for _, c := range columns {
		f.names = append(f.names, append(types.AppendJSONString(nil, []byte(c.Name)), ": "...))
	}
	if !f.lines {
		f.out.WriteByte('[')
	}
}

func (f *jsonFormat) row(values [][]byte) {
	b := f.buf[:0]
	if !f.lines {
		if f.rows > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
	}
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, f.names[i]...)
		b = f.columns[i].Type.AppendClientJSON(b, v)
	}
	b = append(b, '}')
	if f.lines {
		b = append(b, '\n')
	}
	f.rows++
	f.buf = b
	f.out.Write(b)
}

func (f *jsonFormat) endPage() { f.out.Flush() }

func (f *jsonFormat) end() {
	switch {
	case f.lines:
	case f.rows == 0:
		f.out.WriteString("]\n")
	default:
		f.out.WriteString("\n]\n")
	}
}

// markdown is a table of GitHub's Markdown.
type markdown struct {
	out     *output
	columns []wire.Column
	buf     []byte
}

var markdownEscapes = strings.NewReplacer("|", `\|`, "\r\n", "<br>", "\n", "<br>", "\r", "<br>", `\`, `\\`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`")

func (f *markdown) begin(columns []wire.Column) {
	f.columns = columns
	var names, lines strings.Builder
	for _, c := range columns {
		names.WriteString("| " + markdownEscapes.Replace(c.Name) + " ")
		if rightAligned(c.Type) {
			lines.WriteString("| ---: ")
		} else {
			lines.WriteString("| --- ")
		}
	}
	f.out.WriteString(names.String() + "|\n" + lines.String() + "|\n")
}

func (f *markdown) row(values [][]byte) {
	for i, v := range values {
		f.buf = f.columns[i].Type.AppendText(f.buf[:0], v)
		f.out.WriteString("| " + markdownEscapes.Replace(string(f.buf)) + " ")
	}
	f.out.WriteString("|\n")
}

func (f *markdown) endPage() { f.out.Flush() }
func (f *markdown) end()     {}

// countLine is the line that ends a table: (3 rows).
func countLine(n int) string { return "\n(" + strconv.Itoa(n) + " rows)\n" }
