package conform

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nodedb/query/types"
	"nodedb/query/wire"
)

const (
	// maxPages of one statement: more are an answer of their own.
	maxPages = 50
	// answerTimeout bounds one request.
	answerTimeout = 30 * time.Second
	// role logs in, by itself as the password, where the node asks. A Cassandra that asks nobody applies no guardrails; nor does it to superusers.
	role = "conform"
)

// Runner runs the statements of one script on one node.
type Runner struct {
	addr   string
	client *wire.Client
	space  string // keyspace in use
}

// NewRunner connects to a node.
func NewRunner(ctx context.Context, addr string) (*Runner, error) {
	r := &Runner{addr: addr}
	return r, r.connect(ctx)
}

// connect is also what follows a connection that the node has cut.
func (r *Runner) connect(ctx context.Context) error {
	c, err := wire.Dial(ctx, r.addr, wire.ClientOptions{Version: wire.V5, Keyspace: r.space, User: role, Password: role})
	if err != nil {
		return err
	}
	r.client = c
	return nil
}

// Close ends the connection.
func (r *Runner) Close() error { return r.client.Close() }

// Wipe drops every keyspace that is not the system's own, so that each script starts with nothing.
func (r *Runner) Wipe(ctx context.Context) error {
	res, err := r.client.Query(ctx, "SELECT keyspace_name FROM system_schema.keyspaces", nil)
	if err != nil {
		return err
	}
	rows, err := res.All()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if name := string(row[0]); !strings.HasPrefix(name, "system") {
			if _, err := r.client.Query(ctx, `DROP KEYSPACE "`+name+`"`, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Enter makes a keyspace and uses it. Its replication is SimpleStrategy's, where that isn't forbidden.
func (r *Runner) Enter(ctx context.Context, keyspace string) error {
	create := func(class string) error {
		_, err := r.client.Query(ctx, "CREATE KEYSPACE "+keyspace+" WITH replication = {'class': '"+class+"', 'replication_factor': 1}", nil)
		return err
	}
	err := create("SimpleStrategy")
	if refused := (*wire.Error)(nil); errors.As(err, &refused) && refused.Code == wire.CodeInvalid {
		err = create("NetworkTopologyStrategy")
	}
	if err == nil {
		_, err = r.client.Query(ctx, "USE "+keyspace, nil)
	}
	r.space = keyspace
	return err
}

// Answer runs a step and gives its answer in lines. An error that is no answer ends the script.
func (r *Runner) Answer(ctx context.Context, s *Step) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	o, err := parseOptions(s.Options)
	if err != nil {
		return nil, err
	}
	a := answer{mask: o.mask}
	err = r.run(ctx, s, o, &a)
	var refused *wire.Error
	switch {
	case errors.As(err, &refused):
		a.error(refused)
	case err != nil && r.client.Err() != nil:
		a.line("the connection was cut")
		err = r.connect(ctx)
		return a.lines, err
	case err != nil:
		return nil, fmt.Errorf("%s: %w", s.Statement, err)
	}
	return a.lines, nil
}

func (r *Runner) run(ctx context.Context, s *Step, o options, a *answer) error {
	if s.Values == nil {
		q := wire.Query{CQL: s.Statement, Params: o.params}
		return r.pages(ctx, a, func(state []byte) (*wire.Result, error) {
			q.Params.PageState = state
			return r.client.Query(ctx, q.CQL, &q.Params)
		})
	}
	st, err := r.client.Prepare(ctx, s.Statement)
	if err != nil {
		return err
	}
	a.prepared(st)
	if o.prepareOnly {
		return nil
	}
	p := o.params
	if err := bind(&p, st.Markers, s.Values); err != nil {
		return err
	}
	return r.pages(ctx, a, func(state []byte) (*wire.Result, error) {
		p.PageState = state
		return r.client.Execute(ctx, st, &p)
	})
}

// bind reads a step's values; NAME=value binds by name.
func bind(p *wire.Params, markers []wire.Column, values []string) error {
	for i, text := range values {
		t := types.VarcharType
		if name, value, named := strings.Cut(text, "="); named && !strings.ContainsAny(name, " '{[(") {
			p.Names, text = append(p.Names, name), value
			for _, m := range markers {
				if m.Name == name {
					t = m.Type
				}
			}
		} else if i < len(markers) {
			t = markers[i].Type
		}
		v, err := bound(t, text)
		if err != nil {
			return fmt.Errorf("value %d: %w", i, err)
		}
		p.Values, p.Unset = append(p.Values, v), append(p.Unset, text == "unset")
	}
	return nil
}

func bound(t *types.Type, text string) ([]byte, error) {
	switch {
	case text == "null" || text == "unset":
		return nil, nil
	case strings.HasPrefix(text, "0x"):
		b, err := hex.DecodeString(text[2:])
		return append([]byte{}, b...), err
	}
	return t.ParseText(text)
}

// pages asks for all pages of a statement.
func (r *Runner) pages(ctx context.Context, a *answer, ask func(state []byte) (*wire.Result, error)) error {
	var state []byte
	for page := range maxPages {
		res, err := ask(state)
		if err != nil {
			return err
		}
		if page > 0 {
			a.line("-- next page --")
		}
		if err := a.result(res); err != nil {
			return err
		}
		if res.Kind == wire.KindSetKeyspace {
			r.space = res.Keyspace
		}
		if state = res.PageState; state == nil {
			return nil
		}
	}
	a.line("pages without end")
	return nil
}

// answer is an answer that is being written down.
type answer struct {
	mask  bool
	lines []string
}

// line adds one line: control characters inside of it are written as Go has them.
func (a *answer) line(format string, args ...any) {
	var b strings.Builder
	for _, r := range fmt.Sprintf(format, args...) {
		if r < ' ' || r == '\\' || r == 0x7f {
			b.WriteString(strings.Trim(strconv.Quote(string(r)), `"`))
			continue
		}
		b.WriteRune(r)
	}
	a.lines = append(a.lines, b.String())
}

func (a *answer) error(e *wire.Error) {
	extra := ""
	switch e.Code {
	case wire.CodeAlreadyExists:
		extra = fmt.Sprintf(" (%s.%s)", e.Keyspace, e.Table)
	case wire.CodeFunctionFailure:
		extra = fmt.Sprintf(" (%s.%s %v)", e.Keyspace, e.Function, e.ArgTypes)
	}
	a.line("error 0x%04X%s %s", int32(e.Code), extra, e.Message)
}

func (a *answer) prepared(st *wire.Prepared) {
	text := "bind " + describe(st.Markers)
	if len(st.PartitionKey) > 0 {
		text += fmt.Sprintf(" key %v", st.PartitionKey)
	}
	if len(st.Columns) > 0 {
		text += " gives " + describe(st.Columns)
	}
	a.line("%s", text)
}

// describe writes columns down: KEYSPACE.TABLE: NAME TYPE | …
func describe(columns []wire.Column) string {
	if len(columns) == 0 {
		return "nothing"
	}
	var b strings.Builder
	table := ""
	for i, c := range columns {
		if i > 0 {
			b.WriteString(" | ")
		}
		if t := c.Keyspace + "." + c.Table + ": "; t != table {
			table = t
			b.WriteString(t)
		}
		b.WriteString(c.Name + " " + c.Type.String())
	}
	return b.String()
}

func (a *answer) result(res *wire.Result) error {
	for _, w := range res.Warnings {
		a.line("warning: %s", w)
	}
	switch res.Kind {
	case wire.KindVoid:
		a.line("ok")
	case wire.KindSetKeyspace:
		a.line("use %s", res.Keyspace)
	case wire.KindSchemaChange:
		c := res.Change
		a.line("%s", strings.TrimRight(fmt.Sprintln(c.Kind, c.Object, c.Keyspace, c.Name, strings.Join(c.Args, " ")), " \n"))
	case wire.KindRows:
		return a.rows(res)
	default:
		a.line("a result of kind %d", res.Kind)
	}
	return nil
}

func (a *answer) rows(res *wire.Result) error {
	a.line("%s", describe(res.Columns))
	for res.Next() {
		var cells []string
		for i, v := range res.Row() {
			cells = append(cells, a.cell(res.Columns[i].Type, v))
		}
		a.line("%s", strings.Join(cells, " | "))
	}
	a.line("(%d)", res.RowCount)
	return res.Err()
}

// cell writes a value down so that no other value looks like it: as a literal, and its bytes where the literal stands for others.
func (a *answer) cell(t *types.Type, v []byte) string {
	if v == nil {
		return "null"
	}
	if a.mask {
		return "some " + strconv.Itoa(len(v)) + " bytes"
	}
	if err := t.Validate(v); err != nil {
		return fmt.Sprintf("invalid 0x%x", v)
	}
	text := string(t.AppendLiteral(nil, v))
	if t.IsText() {
		return text
	}
	if back, err := t.ParseText(text); len(v) > 0 && (err != nil || !bytes.Equal(back, v)) {
		if again, err := t.ParseText(strings.Trim(text, "'")); err != nil || !bytes.Equal(again, v) {
			return fmt.Sprintf("%s 0x%x", text, v)
		}
	}
	return text
}
