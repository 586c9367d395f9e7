package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// fake is a server: what it answers to statements, and what it was asked.
type fake struct {
	t       *testing.T
	answers map[string]func(p *wire.Params) (*wire.Result, error)
	asked   []string
	levels  []uint16
	done    chan struct{}
	down    bool
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, answers: make(map[string]func(*wire.Params) (*wire.Result, error)), done: make(chan struct{})}
	f.rows("SELECT cluster_name, release_version, cql_version FROM system.local WHERE key = 'local'", columns("cluster_name", types.VarcharType,
		"release_version", types.VarcharType, "cql_version", types.VarcharType), []any{"test", "5.0.6", "3.4.7"})
	f.rows("SELECT rpc_address FROM system.peers", columns("rpc_address", types.InetType), []any{"127.0.0.9"})
	return f
}

func columns(pairs ...any) []wire.Column {
	var cs []wire.Column
	for i := 0; i < len(pairs); i += 2 {
		cs = append(cs, wire.Column{Keyspace: "ks", Table: "t", Name: pairs[i].(string), Type: pairs[i+1].(*types.Type)})
	}
	return cs
}

// result makes a page; values are texts, nil is null.
func result(t *testing.T, cs []wire.Column, state []byte, rows ...[]any) *wire.Result {
	t.Helper()
	var data []byte
	for _, r := range rows {
		for i, v := range r {
			if v == nil {
				data = wire.AppendBytes(data, nil)
				continue
			}
			b, err := cs[i].Type.ParseText(v.(string))
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				b = []byte{}
			}
			data = wire.AppendBytes(data, b)
		}
	}
	body := wire.EncodeMetadata(cs).AppendRows(nil, wire.RowsOptions{PageState: state}, len(rows), data)
	return decode(t, body)
}

func decode(t *testing.T, body []byte) *wire.Result {
	t.Helper()
	r := wire.Response{Header: wire.Header{Version: wire.V4, Op: wire.OpResult}, Body: body}
	res, err := r.Result(nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (f *fake) rows(statement string, cs []wire.Column, rows ...[]any) {
	f.answers[statement] = func(*wire.Params) (*wire.Result, error) { return result(f.t, cs, nil, rows...), nil }
}

// pages answers a page a request.
func (f *fake) pages(statement string, cs []wire.Column, pages ...[][]any) {
	f.answers[statement] = func(p *wire.Params) (*wire.Result, error) {
		n := 0
		if p.PageState != nil {
			n = int(p.PageState[0])
		}
		var state []byte
		if n < len(pages)-1 {
			state = []byte{byte(n + 1)}
		}
		return result(f.t, cs, state, pages[n]...), nil
	}
}

func (f *fake) fails(statement string, err error) {
	f.answers[statement] = func(*wire.Params) (*wire.Result, error) { return nil, err }
}

func (f *fake) void(statement string) {
	f.answers[statement] = func(*wire.Params) (*wire.Result, error) {
		return decode(f.t, wire.AppendResultKind(nil, wire.KindVoid)), nil
	}
}

func (f *fake) uses(keyspace string) {
	f.answers["USE "+keyspace] = func(*wire.Params) (*wire.Result, error) {
		return decode(f.t, wire.AppendSetKeyspace(nil, keyspace)), nil
	}
}

func (f *fake) Query(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.asked = append(f.asked, cql)
	f.levels = append(f.levels, p.Consistency)
	if a, ok := f.answers[cql]; ok {
		return a(p)
	}
	return nil, wire.Errorf(wire.CodeInvalid, "the fake has no answer to %s", cql)
}

func (f *fake) Trace(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error) {
	res, err := f.Query(ctx, cql, p)
	if err == nil {
		res.TraceID = [16]byte{0: 1, 6: 0x10, 8: 0x80}
	}
	return res, err
}

func (f *fake) Addr() string          { return "127.0.0.1:9042" }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Close() error          { return nil }

// run runs a shell on a fake, and gives its exit code and what it wrote.
func run(t *testing.T, f *fake, o Options) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	o.Stdout, o.Stderr = &out, &errs
	if err := checkOptions(o); err != nil {
		t.Fatal(err)
	}
	s := newShell(o)
	s.dial = func(context.Context, string) (session, error) {
		if f.down {
			return nil, errors.New("connect to 127.0.0.1:9042: connection refused")
		}
		return f, nil
	}
	code = s.run(t.Context())
	return code, out.String(), errs.String()
}

// allTypes is a result with one of everything that formats have to mind.
func allTypes(t *testing.T, f *fake) string {
	const statement = "SELECT * FROM t"
	cs := columns("k", types.IntType, "name", types.VarcharType, "Größe", types.DoubleType, "b", types.BlobType, "ok", types.BooleanType,
		"big", types.VarintType, "d", types.DecimalType)
	f.rows(statement, cs,
		[]any{"1", "plain", "1.5", "0xcafe", "true", "9007199254740993", "1.10"},
		[]any{"-20", "a,\"b\"\nc|d\te", "NaN", "0x", "false", "123456789012345678901234567890", "-0.001"},
		[]any{"3", "漢字 é 🙂", "Infinity", nil, nil, nil, nil},
		[]any{"4", "", nil, nil, nil, nil, nil})
	return statement
}

func TestFormats(t *testing.T) {
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			f := newFake(t)
			statement := allTypes(t, f)
			f.rows("SELECT k FROM empty", columns("k", types.IntType))
			code, stdout, stderr := run(t, f, Options{Execute: statement + "; SELECT k FROM empty;", Format: format})
			if code != 0 || stderr != "" {
				t.Errorf("exit %d, stderr %q", code, stderr)
			}
			golden(t, format, stdout)
		})
	}
}

// golden compares with testdata/shell/NAME; NODEDB_REWRITE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("../../testdata/shell", name)
	if os.Getenv("NODEDB_REWRITE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestColour(t *testing.T) {
	f := newFake(t)
	f.rows("SELECT a", columns("n", types.IntType, "s", types.VarcharType), []any{"1", "x"}, []any{nil, nil})
	_, plain, _ := run(t, f, Options{Execute: "SELECT a"})
	_, coloured, _ := run(t, f, Options{Execute: "SELECT a", StdoutTerminal: true})
	_, none, _ := run(t, f, Options{Execute: "SELECT a", StdoutTerminal: true, NoColor: true})
	if strings.Contains(plain, "\x1b") || none != plain {
		t.Errorf("colours where none are wanted: %q, %q", plain, none)
	}
	for _, want := range []string{colourName + "n" + colourReset, colourNumber + "1" + colourReset, colourNull + "null" + colourReset} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in %q", want, coloured)
		}
	}
}

// TestPages: a result of many pages is one result in every format; pages may be empty.
func TestPages(t *testing.T) {
	for format, want := range map[string]string{
		"csv":      "k\r\n1\r\n2\r\n3000\r\n",
		"json":     "[\n{\"k\": 1},\n{\"k\": 2},\n{\"k\": 3000}\n]\n",
		"ndjson":   "{\"k\": 1}\n{\"k\": 2}\n{\"k\": 3000}\n",
		"table":    "\n    k\n------\n    1\n    2\n 3000\n\n(3 rows)\n",
		"markdown": "| k |\n| ---: |\n| 1 |\n| 2 |\n| 3000 |\n",
	} {
		f := newFake(t)
		f.pages("SELECT k FROM t", columns("k", types.IntType), [][]any{{"1"}}, nil, [][]any{{"2"}, {"3000"}}, nil)
		code, stdout, _ := run(t, f, Options{Execute: "SELECT k FROM t", Format: format})
		if code != 0 || stdout != want {
			t.Errorf("%s: exit %d, %q, want %q", format, code, stdout, want)
		}
	}
}

// TestWiderPage: a page that needs more room gets a header of its own; one that needs less keeps the widths.
func TestWiderPage(t *testing.T) {
	var b strings.Builder
	f := newFormatter("table", newOutput(&b, false))
	f.begin(columns("k", types.VarcharType, "v", types.IntType))
	for _, page := range []string{"a", "abc", "b"} {
		f.row([][]byte{[]byte(page), types.AppendInt32(nil, 1)})
		f.endPage()
	}
	f.end()
	want := "\n k | v\n---+---\n a | 1\n\n k   | v\n-----+---\n abc | 1\n b   | 1\n\n(3 rows)\n"
	if f.(*table).out.Flush(); b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestBatchErrors(t *testing.T) {
	f := newFake(t)
	f.fails("SELECT a\n  FORM t", wire.Errorf(wire.CodeSyntax, `line 2:2 unexpected "FORM", expected FROM`))
	f.fails("SELECT k,\n  nme FROM t", wire.Errorf(wire.CodeInvalid, "line 2:2 Undefined column name nme in table ks.t; did you mean name?"))
	f.fails("SELECT x FROM nope", wire.Errorf(wire.CodeInvalid, "table nope does not exist"))
	f.rows("SELECT k FROM t", columns("k", types.IntType), []any{"1"})
	script := "-- first\nSELECT a\n  FORM t;\nSELECT x FROM nope; SELECT k FROM t;\nSELECT k,\n  nme FROM t;\nFROB;\n\\nope\nSELECT 'abc"
	code, stdout, stderr := run(t, f, Options{Execute: script, Format: "csv"})
	if code != ExitFailed {
		t.Errorf("exit %d", code)
	}
	if stdout != "k\r\n1\r\n" {
		t.Errorf("stdout %q: what follows an error must run", stdout)
	}
	golden(t, "errors", stderr)
	file := filepath.Join(t.TempDir(), "s.cql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = run(t, f, Options{File: file})
	if code != ExitFailed || !strings.Contains(stderr, file+":4: table nope does not exist (") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestStdinAndFiles(t *testing.T) {
	f := newFake(t)
	f.rows("SELECT 1", columns("k", types.IntType), []any{"1"})
	for _, o := range []Options{
		{Stdin: strings.NewReader("\ufeffSELECT 1"), StdoutTerminal: true, NoColor: true},
		{Stdin: strings.NewReader("SELECT 1;"), File: "-"},
	} {
		o.Format = "csv"
		if code, stdout, stderr := run(t, f, o); code != 0 || stdout != "k\r\n1\r\n" {
			t.Errorf("exit %d, %q, %q", code, stdout, stderr)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing.cql")
	if code, _, stderr := run(t, f, Options{File: missing}); code != ExitFailed || !strings.Contains(stderr, missing) {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestExitCodes(t *testing.T) {
	f := newFake(t)
	f.down = true
	if code, _, stderr := run(t, f, Options{Execute: "SELECT 1"}); code != ExitNoConnection || strings.Count(stderr, "\n") != 1 {
		t.Errorf("not connected: exit %d, %q", code, stderr)
	}
	f = newFake(t)
	if code, _, stderr := run(t, f, Options{Execute: "SELECT 1", Keyspace: "nope"}); code != ExitNoConnection || !strings.Contains(stderr, "keyspace nope") {
		t.Errorf("no keyspace: exit %d, %q", code, stderr)
	}
	for _, o := range []Options{{Format: "xml"}, {Execute: "a", File: "b"}, {Commands: []Command{{Name: "kill"}}}} {
		var stderr strings.Builder
		o.Stderr = &stderr
		if code := Run(t.Context(), o); code != ExitUsage || stderr.Len() == 0 {
			t.Errorf("%+v: exit %d, %q", o, code, stderr.String())
		}
	}
}

// TestNoServer: the real client's error, in one line that names the place.
func TestNoServer(t *testing.T) {
	var stderr strings.Builder
	code := Run(t.Context(), Options{Hosts: []string{"127.0.0.1:1"}, Execute: "SELECT 1", Stderr: &stderr})
	if code != ExitNoConnection || !strings.Contains(stderr.String(), "127.0.0.1:1") || !strings.Contains(stderr.String(), syscall.ECONNREFUSED.Error()) {
		t.Errorf("exit %d, %q", code, stderr.String())
	}
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "it's.cql")
	if err := os.WriteFile(inner, []byte("SELECT 1; SOURCE '"+strings.ReplaceAll(inner, "'", "''")+"'"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, stdout, stderr string }{
		{"CONSISTENCY", "", "Current consistency level is ONE.\n"},
		{"consistency quorum; consistency", "", "Consistency level set to QUORUM.\nCurrent consistency level is QUORUM.\n"},
		{"CONSISTENCY MANY", "", "line 1: unknown consistency level"},
		{"SERIAL CONSISTENCY", "", "Current serial consistency level is SERIAL.\n"},
		{"SERIAL CONSISTENCY LOCAL_SERIAL", "", "Serial consistency level set to LOCAL_SERIAL.\n"},
		{"SERIAL CONSISTENCY QUORUM", "", "QUORUM is no serial consistency level"},
		{"PAGING", "", "Paging is on, 1000 rows a page.\n"},
		{"PAGING 7\nPAGING OFF", "", "Paging is on, 7 rows a page.\nPaging is off: results are shown without a stop.\n"},
		{"PAGING 0", "", "PAGING 0: want ON, OFF, or rows a page"},
		{"EXPAND ON\nSELECT 1", "\n@ Row 1\n---+---\n k | 1\n\n(1 rows)\n", "Expanded output is on.\n"},
		{"EXPAND MAYBE", "", "want ON or OFF"},
		{"SHOW VERSION", "[nodedb shell 1.0 | Cassandra 5.0.6 | CQL spec 3.4.7 | Native protocol v4]\n", ""},
		{"SHOW HOST;", "Connected to test at 127.0.0.1:9042\n", ""},
		{"SHOW ME", "", "SHOW ME: want"},
		{"SOURCE '" + strings.ReplaceAll(inner, "'", "''") + "'", "\n k\n---\n 1\n\n(1 rows)\n", "SOURCE each other"},
		{"SOURCE 'nope.cql'", "", "nope.cql"},
		{"SOURCE", "", "want SOURCE 'file'"},
		{`\kill 2 now`, "killed [2 now]\n", ""},
		{`\start 2`, "", `\start is no command here`},
		{"EXIT\nSELECT 1", "", ""},
		{"HELP nonsense", "", "there is no help on NONSENSE"},
		{"CLEAR", "", ""},
	} {
		f := newFake(t)
		f.rows("SELECT 1", columns("k", types.IntType), []any{"1"})
		kill := Command{Name: `\kill`, Args: "N", Help: "kills a node", Run: func(_ context.Context, out io.Writer, args []string) error {
			_, err := fmt.Fprintf(out, "killed %v\n", args)
			return err
		}}
		_, stdout, stderr := run(t, f, Options{Execute: c.in, Version: "1.0", Commands: []Command{kill}})
		if stdout != c.stdout || c.stderr == "" && stderr != "" || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: stdout %q, stderr %q", c.in, stdout, stderr)
		}
	}
}

// TestSettingsReachTheServer: what commands set is in the requests that follow.
func TestSettingsReachTheServer(t *testing.T) {
	f := newFake(t)
	f.uses("ks")
	f.void("INSERT 1")
	if code, _, stderr := run(t, f, Options{Execute: "USE ks; CONSISTENCY ALL\nINSERT 1; CONSISTENCY LOCAL_ONE\nINSERT 1"}); code != 0 {
		t.Fatal(stderr)
	}
	n := len(f.levels)
	if !slices.Equal(f.levels[n-3:], []uint16{1, 5, 10}) {
		t.Errorf("levels %v of %v", f.levels, f.asked)
	}
}

// TestHelp: every topic is there, each with a statement that the parser knows or a command; the overview names all.
func TestHelp(t *testing.T) {
	f := newFake(t)
	_, overview, _ := run(t, f, Options{Execute: "HELP", Commands: []Command{{Name: `\add`, Help: "adds a node", Run: func(context.Context, io.Writer, []string) error { return nil }}}})
	for _, topic := range topics {
		if !strings.Contains(overview, "    "+topic.name+" ") {
			t.Errorf("the overview lacks %s", topic.name)
		}
		_, page, stderr := run(t, f, Options{Execute: "HELP " + strings.ToLower(topic.name)})
		if stderr != "" || !strings.Contains(page, topic.name+": "+topic.summary) {
			t.Errorf("HELP %s: %q, %q", topic.name, page, stderr)
		}
		if isCommand(topic.name) {
			continue
		}
		for _, p := range cql.Split(topic.example).Statements {
			if _, err := cql.Parse(p.Text); err != nil {
				t.Errorf("the example of %s: %v\n%s", topic.name, err, p.Text)
			}
		}
	}
	if !strings.Contains(overview, `\add`) {
		t.Error(`the overview lacks \add`)
	}
	if _, page, stderr := run(t, f, Options{Execute: "? insert"}); !strings.Contains(page, "INSERT INTO") {
		t.Errorf("? insert shows %q, %q", page, stderr)
	}
	if _, page, _ := run(t, f, Options{Execute: "help create"}); strings.Count(page, "Example:") != 3 {
		t.Errorf("HELP CREATE shows %q", page)
	}
}

func TestTracing(t *testing.T) {
	f := newFake(t)
	f.void("INSERT 1")
	id := "01000000-0000-1000-8000-000000000000"
	f.rows("SELECT * FROM system_traces.sessions WHERE session_id = "+id, columns("request", types.VarcharType, "started_at", types.VarcharType,
		"coordinator", types.InetType, "duration", types.IntType), []any{"Execute CQL3 query", "2024-05-01", "127.0.0.1", "1234"})
	f.rows("SELECT event_id, source, source_elapsed, activity, thread FROM system_traces.events WHERE session_id = "+id,
		columns("event_id", types.TimeuuidType, "source", types.InetType, "source_elapsed", types.IntType, "activity", types.VarcharType, "thread", types.VarcharType),
		[]any{id, "127.0.0.2", "55", "Reading", nil})
	code, stdout, stderr := run(t, f, Options{Execute: "TRACING ON\nINSERT 1"})
	if code != 0 {
		t.Fatal(stderr)
	}
	golden(t, "trace", stdout)
}

// TestReconnect: a lost connection is told, and the next host takes over with the keyspace.
func TestReconnect(t *testing.T) {
	first, second := newFake(t), newFake(t)
	first.uses("ks")
	second.uses("ks")
	second.void("INSERT 1")
	second.rows("SELECT 1", columns("k", types.IntType), []any{"1"})
	lose := func(*wire.Params) (*wire.Result, error) {
		close(first.done)
		first.down = true
		return nil, errors.New("connection to 127.0.0.1:9042 lost: EOF")
	}
	for _, c := range []struct {
		statement, script string
		code              int
	}{
		{"INSERT 1", "USE ks; INSERT 1; SELECT 1", ExitFailed}, // a write isn't tried again
		{"SELECT 1", "USE ks; SELECT 1", ExitDone},
	} {
		first.answers[c.statement] = lose
		first.done, first.down, second.asked = make(chan struct{}), false, nil
		var out, errs strings.Builder
		s := newShell(Options{Hosts: []string{"127.0.0.1"}, Execute: c.script, Format: "csv", Stdout: &out, Stderr: &errs})
		var dialled []string
		s.dial = func(_ context.Context, addr string) (session, error) {
			dialled = append(dialled, addr)
			switch {
			case addr == "127.0.0.9:9042":
				return second, nil
			case first.down:
				return nil, errors.New("refused")
			}
			return first, nil
		}
		if code := s.run(t.Context()); code != c.code {
			t.Errorf("%s: exit %d", c.script, code)
		}
		if out.String() != "k\r\n1\r\n" || !strings.Contains(errs.String(), "now connected to") {
			t.Errorf("%s: %q, %q", c.script, out.String(), errs.String())
		}
		if !slices.Equal(dialled, []string{"127.0.0.1:9042", "127.0.0.1:9042", "127.0.0.9:9042"}) || !slices.Contains(second.asked, "USE ks") {
			t.Errorf("%s: dialled %v, second asked %v", c.script, dialled, second.asked)
		}
		if slices.Contains(second.asked, "INSERT 1") {
			t.Errorf("%s: the write was done again", c.script)
		}
	}
}

// TestCanceled: a context that ends ends the script, with a failure.
func TestCanceled(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.answers["SELECT 1"] = func(*wire.Params) (*wire.Result, error) { cancel(); return nil, ctx.Err() }
	var errs strings.Builder
	s := newShell(Options{Execute: "SELECT 1; SELECT 2", Stderr: &errs})
	s.dial = func(context.Context, string) (session, error) { return f, nil }
	if code := s.run(ctx); code != ExitFailed || !strings.Contains(errs.String(), "canceled") || slices.Contains(f.asked, "SELECT 2") {
		t.Errorf("exit %d, %q, asked %v", code, errs.String(), f.asked)
	}
}
