package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"nodedb/query/cql"
	"nodedb/query/load"
	"nodedb/query/wire"
)

// copyPlan is a COPY, read.
type copyPlan struct {
	table   string // quoted, with its keyspace
	columns []string
	from    bool
	file    string // "" is standard input or output
	options copyOptions
}

// copyOptions are those of WITH, named as in cqlsh.
type copyOptions struct {
	header    bool
	delimiter byte
	null      string
	pageSize  int
	maxRows   int64
	skipRows  int64
	ttl       int32
	rejects   string
}

const copyUsage = "want COPY table [(columns)] TO 'file' or FROM 'file' [WITH HEADER = true AND …]; HELP COPY tells more"

func (s *shell) copyCommand(ctx context.Context, line string) error {
	plan, err := s.copyPlan(line)
	if err != nil {
		return err
	}
	if err := s.connected(ctx); err != nil {
		return err
	}
	if plan.from {
		return s.copyFrom(ctx, plan)
	}
	return s.copyTo(ctx, plan)
}

// copyPlan reads a COPY line.
func (s *shell) copyPlan(line string) (*copyPlan, error) {
	w := &words{rest: strings.TrimSpace(line[len("COPY"):])}
	c := &copyPlan{options: copyOptions{delimiter: ',', pageSize: batchPage, maxRows: -1}}
	keyspace, table := s.keyspace, w.name()
	if w.symbol(".") {
		keyspace, table = table, w.name()
	}
	if w.err != nil || table == "" {
		return nil, errors.New(copyUsage)
	}
	if keyspace == "" {
		return nil, fmt.Errorf("there is no keyspace: USE one, or write keyspace.%s", table)
	}
	c.table = quote(keyspace) + "." + quote(table)
	if w.symbol("(") {
		c.columns = append(c.columns, w.name())
		for w.symbol(",") {
			c.columns = append(c.columns, w.name())
		}
		if !w.symbol(")") {
			return nil, errors.New(copyUsage)
		}
	}
	switch {
	case w.word("FROM"):
		c.from = true
	case !w.word("TO"):
		return nil, errors.New(copyUsage)
	}
	if (!c.from || !w.word("STDIN")) && (c.from || !w.word("STDOUT")) {
		c.file = w.value()
		if c.file == "" {
			return nil, cmp.Or(w.err, errors.New(copyUsage))
		}
	}
	if w.word("WITH") {
		w.options(&c.options)
	}
	if w.err == nil && w.rest != "" {
		w.err = errors.New(copyUsage)
	}
	return c, w.err
}

// words reads a COPY line word by word; the first error sticks.
type words struct {
	rest string
	err  error
}

// word moves over a word in any case, if it comes next.
func (w *words) word(word string) bool {
	n := len(word)
	if len(w.rest) < n || !strings.EqualFold(w.rest[:n], word) || len(w.rest) > n && isWordByte(w.rest[n]) {
		return false
	}
	w.skip(n)
	return true
}

func (w *words) symbol(s string) bool {
	if !strings.HasPrefix(w.rest, s) {
		return false
	}
	w.skip(len(s))
	return true
}

func (w *words) skip(n int) { w.rest = strings.TrimLeft(w.rest[n:], " \t\r\n") }

func isWordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// name reads a CQL name and folds it.
func (w *words) name() string {
	if strings.HasPrefix(w.rest, `"`) {
		return w.quoted('"')
	}
	return strings.ToLower(w.plain())
}

// value reads a quoted string or a plain word.
func (w *words) value() string {
	if strings.HasPrefix(w.rest, "'") {
		return w.quoted('\'')
	}
	n := 0
	for n < len(w.rest) && w.rest[n] != ' ' && w.rest[n] != '\t' {
		n++
	}
	v := w.rest[:n]
	w.skip(n)
	return v
}

func (w *words) plain() string {
	n := 0
	for n < len(w.rest) && isWordByte(w.rest[n]) {
		n++
	}
	if n == 0 && w.err == nil {
		w.err = errors.New(copyUsage)
	}
	v := w.rest[:n]
	w.skip(n)
	return v
}

func (w *words) quoted(q byte) string {
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		if w.rest[i] == q {
			if i+1 >= len(w.rest) || w.rest[i+1] != q {
				w.skip(i + 1)
				return b.String()
			}
			i++
		}
		b.WriteByte(w.rest[i])
	}
	if w.err == nil {
		w.err = fmt.Errorf("a quote is not closed")
	}
	w.rest = ""
	return ""
}

// options reads NAME = value AND ….
func (w *words) options(o *copyOptions) {
	for w.err == nil {
		name := strings.ToUpper(w.plain())
		if name == "" {
			return
		}
		if !w.symbol("=") {
			w.err = fmt.Errorf("COPY option %s: want %s = value", name, name)
			return
		}
		if err := o.set(name, w.value()); err != nil {
			w.err = err
			return
		}
		if !w.word("AND") {
			return
		}
	}
}

func (o *copyOptions) set(name, value string) (err error) {
	switch name {
	case "HEADER":
		o.header, err = strconv.ParseBool(strings.ToLower(value))
	case "DELIMITER":
		if value == `\t` {
			value = "\t"
		}
		if len(value) != 1 {
			err = errors.New("want one character")
		} else {
			o.delimiter = value[0]
		}
	case "NULL", "NULLVAL":
		o.null = value
	case "PAGESIZE":
		o.pageSize, err = strconv.Atoi(value)
		if err == nil && (o.pageSize < 1 || o.pageSize > maxPageSize) {
			err = fmt.Errorf("want 1 to %d", maxPageSize)
		}
	case "MAXROWS":
		o.maxRows, err = strconv.ParseInt(value, 10, 64)
	case "SKIPROWS":
		o.skipRows, err = strconv.ParseInt(value, 10, 64)
	case "TTL":
		var ttl int64
		ttl, err = strconv.ParseInt(value, 10, 32)
		o.ttl = int32(ttl)
	case "ERRFILE":
		o.rejects = value
	default:
		return fmt.Errorf("COPY option %s is none of HEADER, DELIMITER, NULL, PAGESIZE, MAXROWS, SKIPROWS, TTL, ERRFILE", name)
	}
	if err != nil {
		return fmt.Errorf("COPY option %s = %s: %w", name, value, err)
	}
	return nil
}

// copyTo writes a table to a file. The file appears under its name only when it is whole.
func (s *shell) copyTo(ctx context.Context, c *copyPlan) (err error) {
	out, done, err := s.copyTarget(c)
	if err != nil {
		return err
	}
	begun := time.Now()
	rows, err := s.export(ctx, c, out)
	if err = done(err); err != nil {
		return err
	}
	seconds := time.Since(begun).Seconds()
	s.note("%d rows written to %s in %.1f s (%.0f rows/s).", rows, name(c.file, "standard output"), seconds, float64(rows)/max(seconds, 1e-3))
	return nil
}

func name(file, otherwise string) string {
	if file == "" {
		return otherwise
	}
	return file
}

// copyTarget opens what COPY TO writes to. done, with the error so far, makes the file final or removes it.
func (s *shell) copyTarget(c *copyPlan) (out io.Writer, done func(error) error, err error) {
	if c.file == "" {
		return s.out, func(err error) error { return errors.Join(err, s.out.Flush()) }, nil
	}
	f, err := os.Create(c.file + ".part")
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, os.Remove(f.Name()))
		}
		return os.Rename(f.Name(), c.file)
	}, nil
}

// export streams the table as CSV.
func (s *shell) export(ctx context.Context, c *copyPlan, out io.Writer) (rows int64, err error) {
	statement := "SELECT " + selectList(c.columns) + " FROM " + c.table
	p := s.params()
	p.PageSize = int32(c.options.pageSize)
	w := load.NewCSVWriter(out, c.options.delimiter)
	var fields [][]byte
	buf := make([]byte, 0, rowBytes)
	progress := s.progress("exported")
	defer progress.end()
	for first := true; ; first = false {
		res, err := s.request(ctx, statement, p)
		if err != nil {
			return rows, err
		}
		if first && c.options.header {
			if err := w.Write(columnNames(res.Columns)...); err != nil {
				return rows, err
			}
		}
		for res.Next() && rows != c.options.maxRows {
			fields, buf = appendTexts(fields[:0], buf[:0], res.Columns, res.Row())
			if err := w.WriteNullable(fields, c.options.null); err != nil {
				return rows, err
			}
			rows++
		}
		progress.show(rows)
		if err := res.Err(); err != nil {
			return rows, err
		}
		if res.PageState == nil || rows == c.options.maxRows {
			return rows, w.Flush()
		}
		p.PageState = res.PageState
	}
}

func selectList(columns []string) string {
	if len(columns) == 0 {
		return "*"
	}
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	return strings.Join(quoted, ", ")
}

func columnNames(columns []wire.Column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

// copyFrom loads a file by package load, over connections of its own.
func (s *shell) copyFrom(ctx context.Context, c *copyPlan) error {
	o := load.Options{
		Hosts: []string{s.conn.Addr()}, Table: c.table, File: c.file, Columns: c.columns, Format: load.CSV, Delimiter: c.options.delimiter,
		Header: load.HeaderNo, TTL: c.options.ttl, Skip: c.options.skipRows, Rejects: c.options.rejects, Consistency: uint16(s.level),
		Connect: wire.ClientOptions{User: s.o.User, Password: s.o.Password, TLS: s.o.TLS, ConnectTimeout: s.o.ConnectTimeout},
	}
	if c.options.header {
		o.Header = load.HeaderYes
	}
	if c.options.null != "" {
		o.Null = &c.options.null
	}
	if c.file == "" {
		o.Input, o.Name = s.o.Stdin, "stdin"
	}
	if f, ok := s.o.Stderr.(*os.File); ok && s.o.StderrTerminal {
		o.Progress = f
	}
	s.out.Flush()
	sum, err := load.Run(ctx, o)
	if sum.Rows+sum.Rejects > 0 || err == nil {
		s.note("%s", sum)
	}
	if err == nil && sum.Rejects > 0 {
		return fmt.Errorf("%d of %d rows were rejected", sum.Rejects, sum.Rows+sum.Rejects)
	}
	return err
}

// progress is a line that counts on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer
	what  string
	begun time.Time
	last  time.Time
	shown bool
}

// progressEvery bounds how often the line is written.
const progressEvery = 200 * time.Millisecond

func (s *shell) progress(what string) *progress {
	p := &progress{what: what, begun: time.Now()}
	if s.o.StderrTerminal {
		p.w = s.o.Stderr
	}
	return p
}

func (p *progress) show(rows int64) {
	now := time.Now()
	if p.w == nil || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r%d rows %s, %.0f rows/s ", rows, p.what, float64(rows)/max(now.Sub(p.begun).Seconds(), 1e-3))
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// quote puts a name in double quotes where CQL needs them.
func quote(name string) string { return cql.QuoteName(name) }
