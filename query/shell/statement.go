package shell

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/wire"
)

// statement runs one CQL statement and shows its result.
func (s *shell) statement(ctx context.Context, text string) error {
	if err := s.connected(ctx); err != nil {
		return err
	}
	p := s.params()
	res, err := s.request(ctx, text, p)
	if lost(err) && ctx.Err() == nil && reads(text) {
		// The node may have gone a moment ago, unnoticed. To ask again changes nothing.
		if err = s.connected(ctx); err == nil {
			res, err = s.request(ctx, text, p)
		}
	}
	if err != nil {
		return err
	}
	trace := res.TraceID
	for _, w := range res.Warnings {
		s.note("Warning: %s", w)
	}
	switch res.Kind {
	case wire.KindRows:
		err = s.show(ctx, text, p, res)
	case wire.KindSetKeyspace:
		s.keyspace = res.Keyspace
	case wire.KindSchemaChange:
		s.names = nil
	}
	if err == nil && trace != [16]byte{} {
		err = s.showTrace(ctx, trace)
	}
	return err
}

// reads says whether a statement only reads.
func reads(text string) bool {
	return strings.EqualFold(cql.NewSplitter(text).Word(), "SELECT")
}

// request sends a statement and awaits one page.
func (s *shell) request(ctx context.Context, text string, p *wire.Params) (*wire.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.RequestTimeout, fmt.Errorf("no answer within %v", s.o.RequestTimeout))
	defer cancel()
	if s.tracing {
		return s.conn.Trace(ctx, text, p)
	}
	return s.conn.Query(ctx, text, p)
}

// show writes a result page by page. On a terminal it asks before it goes on.
func (s *shell) show(ctx context.Context, text string, p *wire.Params, res *wire.Result) error {
	f := newFormatter(s.format(), s.out)
	f.begin(res.Columns)
	shown := 0 // rows since the last question; pages may be short, or empty
	for {
		for res.Next() {
			f.row(res.Row())
			shown++
		}
		if err := res.Err(); err != nil {
			return err
		}
		if res.PageState == nil {
			f.end()
			return s.out.Flush()
		}
		if s.interactive && s.paging && shown >= s.pageSize {
			f.endPage()
			if !s.read.More(morePrompt) {
				return s.out.Flush()
			}
			shown = 0
		}
		if err := s.out.failed(); err != nil {
			return err
		}
		p.PageState = res.PageState
		var err error
		if res, err = s.request(ctx, text, p); err != nil {
			f.endPage()
			return err
		}
	}
}

// morePrompt begins as in cqlsh.
const morePrompt = "---MORE--- (Return goes on, q ends) "

// failed tells whether what was written went anywhere: a closed pipe ends a long result.
func (o *output) failed() error {
	_, err := o.Write(nil)
	return err
}

func (s *shell) format() string {
	if s.expanded {
		return "vertical"
	}
	return s.o.Format
}

// batch runs a script; what fails is told, with its place, and the rest goes on, as cqlsh has it.
func (s *shell) batch(ctx context.Context, name, script string) {
	sp := cql.NewSplitter(strings.TrimPrefix(script, "\ufeff"))
	for !s.quit && ctx.Err() == nil {
		word := sp.Word()
		if word == "" {
			return
		}
		var p cql.Piece
		var err error
		if cmd, ok := s.command(word); ok {
			p = sp.Line()
			err = cmd.run(ctx, p.Text)
		} else {
			var open string
			if p, open = sp.Statement(); open != "" && open != "statement" {
				err = fmt.Errorf("the text ends inside a %s", open)
			} else {
				err = s.statement(ctx, p.Text)
			}
		}
		if err != nil {
			s.failed = true
			s.complain("%s", explain(name, p, err))
		}
	}
	if ctx.Err() != nil {
		s.failed = true
	}
}

// place names a line of a file, or of what was given by -e or standard input.
func place(name string, line int) string {
	if name == "" {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("%s:%d", name, line)
}

// maxShown is how many characters of a statement an error shows.
const maxShown = 100

// explain writes an error with its place in the script and the statement it is about. Where the server names a place in the statement, that is the place,
// and its line is shown and marked.
func explain(name string, p cql.Piece, err error) string {
	msg := describeError(err)
	if line, column, ok := errorPlace(err); ok {
		if lines := strings.Split(p.Text, "\n"); line <= len(lines) {
			msg = placeInMessage.ReplaceAllString(msg, "")
			at := column
			if line == 1 {
				at += p.Pos.Column
			}
			return fmt.Sprintf("%s:%d: %s\n%s", place(name, p.Pos.Line+line-1), at, msg, markPlace(lines[line-1], column))
		}
	}
	text := strings.Join(strings.Fields(p.Text), " ")
	if r := []rune(text); len(r) > maxShown {
		text = string(r[:maxShown]) + "…"
	}
	return place(name, p.Pos.Line) + ": " + msg + "\n    " + printable(text)
}

// describeError adds a server's code to its message.
func describeError(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s (%s, 0x%04x)", err.Error(), e.Code, int32(e.Code))
	}
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	return err.Error()
}

var placeInMessage = regexp.MustCompile(`^line (\d+):(\d+) `)

// errorPlace reads the place in the statement that an error names: the line from 1, the column from 0.
func errorPlace(err error) (line, column int, ok bool) {
	var e *wire.Error
	if !errors.As(err, &e) {
		return 0, 0, false
	}
	m := placeInMessage.FindStringSubmatch(e.Message)
	if m == nil {
		return 0, 0, false
	}
	line, err1 := strconv.Atoi(m[1])
	column, err2 := strconv.Atoi(m[2])
	return line, column, err1 == nil && err2 == nil && line > 0
}

// markPlace shows a line around a column, with a caret below it.
func markPlace(line string, column int) string {
	runes := []rune(strings.ReplaceAll(line, "\t", " "))
	column = min(column, len(runes))
	from := 0
	if column > maxShown {
		from = column - maxShown/2
	}
	shown := runes[from:min(len(runes), from+maxShown)]
	return "    " + string(shown) + "\n    " + blanks(shown[:column-from]) + "^"
}
