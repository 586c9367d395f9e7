package shell

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// Colours, as cqlsh has them: names magenta, texts yellow, numbers green, null red.
const (
	colourReset  = "\x1b[0m"
	colourName   = "\x1b[1;35m"
	colourText   = "\x1b[33m"
	colourNumber = "\x1b[32m"
	colourNull   = "\x1b[1;31m"
)

// paint writes text in a colour, if there are colours.
func (o *output) paint(colour, text string) {
	if o.colour {
		o.WriteString(colour + text + colourReset)
	} else {
		o.WriteString(text)
	}
}

// cell is a value ready to be written.
type cell struct {
	text   string
	width  int // columns of a terminal
	colour string
}

// newCell is a value as tables show it: on one line, control characters escaped.
func newCell(t *types.Type, value []byte) cell {
	text := printable(string(t.AppendText(nil, value)))
	c := cell{text: text, width: runewidth.StringWidth(text), colour: colourText}
	switch {
	case value == nil:
		c.colour = colourNull
	case rightAligned(t), t.Kind == types.Boolean, t.Kind == types.UUID, t.Kind == types.Timeuuid, t.Kind == types.Timestamp:
		c.colour = colourNumber
	}
	return c
}

// printable escapes what would break a line or a terminal.
func printable(s string) string {
	ok := func(r rune) bool {
		return r != utf8.RuneError && (unicode.IsPrint(r) || r == '\u00a0' || r == '\u3000')
	}
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case ok(r), unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r) && r == '\u200d':
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		i += n
	}
	return b.String()
}

// pad writes a cell in a column of a width. The last column of a line needs no blanks behind it.
func (o *output) pad(c cell, width int, right, last bool) {
	fill := strings.Repeat(" ", max(0, width-c.width))
	if right {
		o.WriteString(fill)
	}
	o.paint(c.colour, c.text)
	if !right && !last {
		o.WriteString(fill)
	}
}

// table is what people know from cqlsh:
//
//	 k | name
//	---+------
//	 1 | a
//
//	(1 rows)
//
// Widths are those of a page: a table is written as its pages come. A page that needs more room than those before gets a header of its own.
type table struct {
	out     *output
	columns []wire.Column
	names   []cell
	widths  []int
	page    [][]cell
	rows    int
	headed  bool
	bare    bool // without the line that counts the rows
}

func (f *table) begin(columns []wire.Column) {
	f.columns = columns
	for _, c := range columns {
		name := printable(c.Name)
		w := runewidth.StringWidth(name)
		f.names = append(f.names, cell{name, w, colourName})
		f.widths = append(f.widths, w)
	}
}

func (f *table) row(values [][]byte) {
	cells := make([]cell, len(values))
	for i, v := range values {
		cells[i] = newCell(f.columns[i].Type, v)
		if cells[i].width > f.widths[i] {
			f.widths[i] = cells[i].width
			f.headed = false
		}
	}
	f.page = append(f.page, cells)
	if len(f.page) == tablePage {
		f.endPage()
	}
}

// tablePage bounds the rows that a table holds back to know their widths.
const tablePage = 5000

func (f *table) endPage() {
	if !f.headed {
		f.header()
		f.headed = true
	}
	for _, cells := range f.page {
		f.line(cells, func(i int) bool { return rightAligned(f.columns[i].Type) })
	}
	f.rows += len(f.page)
	f.page = f.page[:0]
	f.out.Flush()
}

func (f *table) header() {
	f.out.WriteByte('\n')
	f.line(f.names, func(i int) bool { return rightAligned(f.columns[i].Type) })
	for i, w := range f.widths {
		if i > 0 {
			f.out.WriteByte('+')
		}
		f.out.WriteString(strings.Repeat("-", w+2))
	}
	f.out.WriteByte('\n')
}

func (f *table) line(cells []cell, right func(i int) bool) {
	for i, c := range cells {
		if i > 0 {
			f.out.WriteString(" |")
		}
		f.out.WriteByte(' ')
		f.out.pad(c, f.widths[i], right(i), i == len(cells)-1)
	}
	f.out.WriteByte('\n')
}

func (f *table) end() {
	if len(f.page) > 0 || !f.headed && f.rows == 0 {
		f.endPage()
	}
	if !f.bare {
		f.out.WriteString(countLine(f.rows))
	}
}

// vertical writes a row as lines of name and value:
//
//	@ Row 1
//	------+---
//	 k    | 1
//	 name | a
type vertical struct {
	out     *output
	columns []wire.Column
	names   []cell
	width   int
	rows    int
}

func (f *vertical) begin(columns []wire.Column) {
	f.columns = columns
	for _, c := range columns {
		name := printable(c.Name)
		w := runewidth.StringWidth(name)
		f.names = append(f.names, cell{name, w, colourName})
		f.width = max(f.width, w)
	}
}

func (f *vertical) row(values [][]byte) {
	f.rows++
	cells := make([]cell, len(values))
	widest := 0
	for i, v := range values {
		cells[i] = newCell(f.columns[i].Type, v)
		widest = max(widest, cells[i].width)
	}
	fmt.Fprintf(f.out, "\n@ Row %d\n%s+%s\n", f.rows, strings.Repeat("-", f.width+2), strings.Repeat("-", min(widest, maxRule)+2))
	for i, c := range cells {
		f.out.WriteByte(' ')
		f.out.pad(f.names[i], f.width, false, false)
		f.out.WriteString(" | ")
		f.out.paint(c.colour, c.text)
		f.out.WriteByte('\n')
	}
}

// maxRule bounds the line above a vertical row.
const maxRule = 80

func (f *vertical) endPage() { f.out.Flush() }
func (f *vertical) end()     { f.out.WriteString(countLine(f.rows)) }
