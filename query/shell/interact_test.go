package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// typist types inputs and answers, one after the other, and then leaves.
type typist struct {
	inputs  []any // string, or error
	answers []bool
	asked   int
	prompts []string
}

func (y *typist) Input(prompt, continuation string) (string, error) {
	y.prompts = append(y.prompts, prompt+"|"+continuation)
	return next(&y.inputs)
}

func (y *typist) More(string) bool {
	y.asked++
	ok := y.answers[0]
	y.answers = y.answers[1:]
	return ok
}

func next(list *[]any) (string, error) {
	if len(*list) == 0 {
		return "", io.EOF
	}
	v := (*list)[0]
	*list = (*list)[1:]
	if err, ok := v.(error); ok {
		return "", err
	}
	return v.(string), nil
}

// interact runs an interactive shell on a fake.
func interact(t *testing.T, f *fake, y *typist, o Options) (s *shell, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	o.Stdout, o.Stderr, o.StdinTerminal, o.StdoutTerminal, o.NoColor = &out, &errs, true, true, true
	s = newShell(o)
	s.read = y
	s.dial = func(context.Context, string) (session, error) { return f, nil }
	if code := s.run(t.Context()); code != ExitDone {
		t.Errorf("exit %d", code)
	}
	return s, out.String(), errs.String()
}

func TestInteractive(t *testing.T) {
	f := newFake(t)
	f.uses("ks")
	f.rows("SELECT 1", columns("k", types.IntType), []any{"1"})
	f.fails("SELECT a FORM t", wire.Errorf(wire.CodeSyntax, `line 1:9 unexpected "FORM", expected FROM`))
	y := &typist{inputs: []any{"USE ks; SELECT 1", "SELECT a FORM t; SELECT 1", errInterrupted, "help help", "", "exit; SELECT 1", "SELECT 1"}}
	_, stdout, stderr := interact(t, f, y, Options{})
	if strings.Count(stdout, "(1 rows)") != 1 || !strings.Contains(stdout, "HELP: this help") {
		t.Errorf("stdout %q", stdout)
	}
	for _, want := range []string{"Connected to test at 127.0.0.1:9042", "expected FROM (syntax error, 0x2000)\n    SELECT a FORM t\n             ^\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in stderr %q", want, stderr)
		}
	}
	if len(y.prompts) != 6 || y.prompts[0] != "nodedb> |    ... "+"" || y.prompts[1] != "nodedb@ks> |       ... " {
		t.Errorf("prompts %q", y.prompts)
	}
}

func TestCtrlDLeaves(t *testing.T) {
	_, _, stderr := interact(t, newFake(t), &typist{}, Options{Banner: "Welcome."})
	if stderr != "Welcome.\n\n" {
		t.Errorf("stderr %q", stderr)
	}
}

// TestMore: on a terminal a long result stops after each page of rows, whatever the pages of the protocol are; PAGING OFF never stops.
func TestMore(t *testing.T) {
	for _, c := range []struct {
		paging  string
		answers []bool
		rows    int
		asked   int
	}{
		{"PAGING 2", []bool{true, true}, 5, 2},
		{"PAGING 2", []bool{true, false}, 4, 2},
		{"PAGING 2", []bool{false}, 2, 1},
		{"PAGING 3", []bool{true}, 5, 1},
		{"PAGING OFF", nil, 5, 0},
	} {
		f := newFake(t)
		one := [][]any{{"1"}}
		f.pages("SELECT k FROM t", columns("k", types.IntType), one, one, nil, one, one, one)
		y := &typist{inputs: []any{c.paging, "SELECT k FROM t"}, answers: c.answers}
		_, stdout, _ := interact(t, f, y, Options{Format: "ndjson"})
		if got := strings.Count(stdout, `{"k": 1}`); got != c.rows || y.asked != c.asked {
			t.Errorf("%s, %v: %d rows and %d questions in %q", c.paging, c.answers, got, y.asked, stdout)
		}
	}
}

func TestComplete(t *testing.T) {
	s := newShell(Options{})
	for text, want := range map[string]bool{
		"": true, "  \n": true, "SELECT 1;": true, "SELECT 1": false, "SELECT 1; SELECT": false, "help": true, "HELP;": true, "describe tables": true,
		"USE ks": false, "SELECT 'a;": false, "SELECT 'a;\n';": true, "BEGIN BATCH INSERT INTO t (a) VALUES (1);": false,
		"BEGIN BATCH INSERT INTO t (a) VALUES (1); APPLY BATCH;": true, `\kill 2`: true, "-- comment": true, "/* open": false, "SELECT 1; exit": true, "exit": true,
	} {
		if got := s.complete(text); got != want {
			t.Errorf("complete(%q) = %v", text, got)
		}
	}
}

// TestInterruptEndsNoShell: Ctrl-C in the caller's context isn't the end of an interactive shell; another end is.
func TestInterruptEndsNoShell(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		ends   bool
	}{{syscall.SIGINT, false}, {syscall.SIGTERM, true}} {
		parent, cancel := signal.NotifyContext(t.Context(), c.signal)
		if err := syscall.Kill(os.Getpid(), c.signal); err != nil {
			t.Fatal(err)
		}
		<-parent.Done()
		if isInterrupt(context.Cause(parent)) == c.ends {
			t.Errorf("%v: cause %v", c.signal, context.Cause(parent))
		}
		ctx, stop := withoutInterrupt(parent)
		if c.ends {
			<-ctx.Done()
		}
		stop()
		cancel()
	}
	for _, cause := range []string{"interrupt signal received", "hangup signal received"} {
		synctest.Test(t, func(t *testing.T) {
			parent, cancel := context.WithCancelCause(t.Context())
			ctx, stop := withoutInterrupt(parent)
			defer stop()
			cancel(errors.New(cause))
			synctest.Wait()
			if ended := ctx.Err() != nil; ended != (cause[0] == 'h') {
				t.Errorf("%s: ended %v", cause, ended)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "history")
	h, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{"SELECT 1;", "SELECT 1;", "  ", "SELECT\n  'é';", "CREATE ROLE r WITH PASSWORD = 'x';"} {
		if _, err := h.Write(input); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.inputs, []string{"SELECT 1;", "SELECT\n  'é';"}) {
		t.Errorf("kept %q", again.inputs)
	}
	if _, err := again.GetLine(2); err == nil {
		t.Error("line 2 of 2")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	long := strings.Repeat("\"x\"\n\"y\"\n", maxHistory+1)
	if err := os.WriteFile(file, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err = openHistory(file); err != nil || h.Len() != maxHistory {
		t.Fatalf("%d inputs, %v", h.Len(), err)
	}
	if b, _ := os.ReadFile(file); len(b) != maxHistory*4 {
		t.Errorf("the file has %d bytes", len(b))
	}
	if err := os.WriteFile(file+".dir", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openHistory(filepath.Join(file+".dir", "history")); err == nil {
		t.Error("a history below a file")
	}
}

// schemaFake answers what completion and DESCRIBE ask of system_schema.
func schemaFake(t *testing.T) *fake {
	f := newFake(t)
	name := types.VarcharType
	f.rows("SELECT keyspace_name FROM system_schema.keyspaces", columns("keyspace_name", name), []any{"nyc"}, []any{"Odd Ks"}, []any{"system"})
	f.rows("SELECT keyspace_name, table_name, column_name FROM system_schema.columns", columns("keyspace_name", name, "table_name", name, "column_name", name),
		[]any{"nyc", "flights", "origin"}, []any{"nyc", "flights", "day"}, []any{"nyc", "flights", "dest"},
		[]any{"nyc", "airports", "faa"}, []any{"nyc", "airports", "Name"}, []any{"system", "local", "key"})
	return f
}

func TestCompletion(t *testing.T) {
	f := schemaFake(t)
	s := newShell(Options{Commands: []Command{{Name: `\kill`}}})
	s.conn = f
	c := s.catalogNow(t.Context())
	s.keyspace = "nyc"
	for _, x := range []struct{ text, want, not string }{
		{"", "SELECT HELP CREATE \\kill", "FROM"},
		{"SEL", "SELECT", "DELETE"},
		{"sel", "select", "SELECT"},
		{"con", "consistency", ""},
		{`\k`, `\kill`, "KEYSPACE"},
		{"SELECT * FROM ", "flights airports nyc. system. \"Odd Ks\".", "nyc.flights local"},
		{"SELECT * FROM nyc.f", "nyc.flights", "nyc.airports"},
		{"SELECT * FROM system.", "system.local", "flights"},
		{"SELECT * FROM fl", "flights", "airports"},
		{"SELECT * FROM flights WH", "WHERE", "flights"},
		{"SELECT * FROM flights WHERE de", "dest", "faa"},
		{"SELECT max(d", "day dest", "faa"},
		{"SELECT * FROM airports WHERE ", "\"Name\" faa", "dest"},
		{"USE ", "nyc system \"Odd Ks\"", "flights"},
		{"DESCRIBE ", "TABLES KEYSPACE flights", ""},
		{"CONSISTENCY L", "LOCAL_QUORUM LOCAL_ONE LOCAL_SERIAL", "QUORUM"},
		{"PAGING o", "on off", ""},
		{"HELP CREATE", "CREATE TABLE", ""},
		{"SELECT 'SEL", "", "SELECT"},
		{"SELECT 1; SEL", "SELECT", ""},
		{"-- comment\nSEL", "SELECT", ""},
	} {
		got, _ := s.completion(c, x.text)
		for _, w := range strings.Split(x.want, " ") {
			if w != "" && !slices.ContainsFunc(got, func(g string) bool { return g == w || strings.Contains(g, " ") && strings.Contains(g, w) }) {
				t.Errorf("%q: no %s in %q", x.text, w, got)
			}
		}
		for _, w := range strings.Fields(x.not) {
			if slices.Contains(got, w) {
				t.Errorf("%q: %s in %q", x.text, w, got)
			}
		}
	}
	n := len(f.asked)
	s.catalogNow(t.Context())
	if len(f.asked) != n {
		t.Error("the schema is read again at once")
	}
}

// TestCompletionWithoutServer: what can't be read isn't completed, and nothing else breaks.
func TestCompletionWithoutServer(t *testing.T) {
	f := newFake(t)
	f.fails("SELECT keyspace_name FROM system_schema.keyspaces", errors.New("lost"))
	s := newShell(Options{})
	s.conn = f
	if got, _ := s.completion(s.catalogNow(t.Context()), "SELECT * FROM t WH"); !slices.Equal(got, []string{"WHERE"}) {
		t.Errorf("%q", got)
	}
}
