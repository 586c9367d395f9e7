package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// TestScripts runs testdata/query/*.txt: CQL in, tables of results or errors with their codes out. -rewrite writes the
// answers anew.
//
//	cql [page=N] [params=(v, v …)] [named=(a=v …)] [format=types]   statements, each answered
//	advance seconds=N                                              time goes on
//	limits bytes=N work=N                                          replicas' pages end early
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/query/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			e, n := testEngine(t)
			s := &script{e: e, n: n, session: &Session{}}
			datadriven.RunTest(t, f, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
		})
	}
}

// TestErrorsHaveTheirPlaces: whatever a script is refused for names its place in the text, but what lies outside of it.
func TestErrorsHaveTheirPlaces(t *testing.T) {
	placed := regexp.MustCompile(`^error 0x[0-9A-F]{4}: line [1-9][0-9]*:[0-9]+ \S`)
	outside := []string{"there were ", "Cannot page queries with both ORDER BY"}
	files, err := filepath.Glob("../testdata/query/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			_, message, ok := strings.Cut(line, "error 0x")
			if !ok || !strings.HasPrefix(line, "error 0x") {
				continue
			}
			seen++
			if !placed.MatchString(line) && !slices.ContainsFunc(outside, func(o string) bool { return strings.HasPrefix(message[6:], o) }) {
				t.Errorf("%s: no place in the text: %s", f, line)
			}
		}
	}
	if seen < 200 {
		t.Errorf("only %d errors in the scripts", seen)
	}
}

type script struct {
	e       *Engine
	n       *oneNode
	session *Session
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "advance":
		var seconds int64
		d.ScanArgs(t, "seconds", &seconds)
		s.n.seconds.Add(seconds)
		s.n.stamp.Add(seconds * 1e6)
		return ""
	case "limits":
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		d.MaybeScanArgs(t, "bytes", &s.n.mu.byteLimit)
		d.MaybeScanArgs(t, "work", &s.n.mu.workLimit)
		return ""
	case "cql":
		var out strings.Builder
		split := cql.Split(d.Input)
		pieces := split.Statements
		if split.Rest.Text != "" {
			pieces = append(pieces, split.Rest)
		}
		for i, p := range pieces {
			if i > 0 {
				out.WriteString("--\n")
			}
			s.statement(t, d, p.Text, &out)
		}
		return out.String()
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return ""
}

func (s *script) statement(t *testing.T, d *datadriven.TestData, text string, out *strings.Builder) {
	p := testParams()
	d.MaybeScanArgs(t, "page", &p.PageSize)
	var err error
	var res *Result
	for pages := 0; ; pages++ {
		if d.HasArg("params") || d.HasArg("named") {
			res, err = s.execute(d, text, p)
		} else {
			res, err = s.e.Query(context.Background(), s.session, text, p)
		}
		if err != nil {
			var we *wire.Error
			if !errors.As(err, &we) {
				fmt.Fprintf(out, "NOT A WIRE ERROR: %v\n", err)
				return
			}
			fmt.Fprintf(out, "error 0x%04X: %s\n", int32(we.Code), we.Message)
			return
		}
		if pages > 0 {
			out.WriteString("-- next page --\n")
		}
		printResult(out, res, d.HasArg("types"))
		if res.PageState == nil {
			return
		}
		if p.PageState = res.PageState; p.PageSize == 0 || pages > 100 {
			out.WriteString("ENDLESS PAGES\n")
			return
		}
	}
}

// execute prepares the statement and binds the command's values, read as text of the markers' types; null and unset are
// themselves.
func (s *script) execute(d *datadriven.TestData, text string, p *Params) (*Result, error) {
	prepared, err := s.e.Prepare(context.Background(), s.session, text, "")
	if err != nil {
		return nil, err
	}
	p.Values, p.Unset, p.Names = nil, nil, nil
	for _, a := range d.CmdArgs {
		if a.Key != "params" && a.Key != "named" {
			continue
		}
		for i, v := range a.Vals {
			t := types.VarcharType
			if a.Key == "named" {
				name, value, _ := strings.Cut(v, ":")
				p.Names = append(p.Names, name)
				v = value
				for _, m := range prepared.Markers {
					if m.Name == name {
						t = m.Type
					}
				}
			} else if i < len(prepared.Markers) {
				t = prepared.Markers[i].Type
			}
			value, unset := []byte(nil), v == "unset"
			switch {
			case strings.HasPrefix(v, "0x!"): // bytes that aren't checked here
				value = []byte(v[3:])
			case v != "null" && !unset:
				if value, err = t.ParseText(strings.ReplaceAll(v, ";", ",")); err != nil {
					return nil, fmt.Errorf("bad test value %q: %w", v, err)
				}
			}
			p.Values, p.Unset = append(p.Values, value), append(p.Unset, unset)
		}
	}
	return s.e.Execute(context.Background(), s.session, prepared.ID, p)
}

func printResult(out *strings.Builder, res *Result, withTypes bool) {
	for _, w := range res.Warnings {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
	switch res.Kind {
	case ResultVoid:
		out.WriteString("ok\n")
	case ResultSetKeyspace:
		fmt.Fprintf(out, "use %s\n", res.Keyspace)
	case ResultSchemaChange:
		fmt.Fprintf(out, "%s %s %s %s\n", res.Change.Kind, res.Change.Object, res.Change.Keyspace, res.Change.Name)
	case ResultRows:
		var head []string
		for _, c := range res.Columns {
			name := c.Name
			if withTypes {
				name += " " + c.Type.String()
			}
			head = append(head, name)
		}
		fmt.Fprintf(out, "%s\n", strings.Join(head, " | "))
		rows := res.Rows
		for range res.RowCount {
			var cells []string
			for _, c := range res.Columns {
				var v []byte
				v, rows = nextBytes(rows)
				cells = append(cells, string(c.Type.AppendText(nil, v)))
			}
			fmt.Fprintf(out, "%s\n", strings.Join(cells, " | "))
		}
		fmt.Fprintf(out, "(%d rows)\n", res.RowCount)
		if len(rows) > 0 {
			fmt.Fprintf(out, "%d BYTES TOO MANY\n", len(rows))
		}
	default:
		out.WriteString("UNKNOWN KIND " + strconv.Itoa(int(res.Kind)) + "\n")
	}
}

func nextBytes(b []byte) (v, rest []byte) {
	n := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n < 0 {
		return nil, b
	}
	return b[:n:n], b[n:]
}
