package cql

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestDataDriven runs testdata/cql/*. Commands: ast (one statement, its tree), each (a statement a line, printed again, or its error), names (a
// selector a line, its column name), split (a script cut). -rewrite writes them anew.
func TestDataDriven(t *testing.T) {
	datadriven.Walk(t, "../../testdata/cql", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "ast":
				p, err := Parse(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				stable(t, p)
				return dump(p)
			case "each":
				return eachLine(d.Input, func(line string) string {
					p, err := Parse(line)
					if err != nil {
						return err.Error()
					}
					stable(t, p)
					return Format(p.Statement)
				})
			case "names":
				return eachLine(d.Input, func(line string) string {
					p, err := Parse("SELECT " + line + " FROM t")
					if err != nil {
						return err.Error()
					}
					return ColumnName(p.Statement.(*Select).Selectors[0].Expr)
				})
			case "split":
				return showScript(Split(d.Input))
			case "commands":
				return showCommands(d.Input)
			}
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func eachLine(input string, f func(string) string) string {
	var b strings.Builder
	for line := range strings.Lines(input) {
		b.WriteString(f(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

func showScript(s Script) string {
	var b strings.Builder
	for _, p := range s.Statements {
		fmt.Fprintf(&b, "%d:%d %q\n", p.Pos.Line, p.Pos.Column, p.Text)
	}
	if s.Open != "" {
		fmt.Fprintf(&b, "open %s: %d:%d %q\n", s.Open, s.Rest.Pos.Line, s.Rest.Pos.Column, s.Rest.Text)
	}
	return b.String()
}

// showCommands cuts a script as a shell does that knows some commands.
func showCommands(script string) string {
	var b strings.Builder
	sp := NewSplitter(script)
	for {
		word := sp.Word()
		var p Piece
		switch {
		case word == "":
			return b.String()
		case strings.HasPrefix(word, `\`), strings.Contains("help source exit", word):
			p = sp.Line()
		default:
			p, _ = sp.Statement()
		}
		fmt.Fprintf(&b, "%d:%d %s: %q\n", p.Pos.Line, p.Pos.Column, word, p.Text)
	}
}

// stable checks that the printed statement parses to the same tree, with markers numbered by their place.
func stable(t tester, p *Parsed) {
	t.Helper()
	for i, m := range p.Markers {
		if m.Index != i {
			t.Fatalf("marker %d has index %d", i, m.Index)
		}
	}
	text := Format(p.Statement)
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("printed statement doesn't parse: %v\n%s", err, text)
	}
	if a, b := dump(p), dump(again); a != b {
		t.Fatalf("printed statement parses differently:\n%s\n%s\n%s", text, a, b)
	}
	if second := Format(again.Statement); second != text {
		t.Fatalf("printing isn't stable:\n%s\n%s", text, second)
	}
}

// dump writes a tree without its positions, needless parentheses and zero fields.
func dump(p *Parsed) string {
	var b strings.Builder
	dumpValue(&b, reflect.ValueOf(p.Statement), "")
	if len(p.Markers) > 0 {
		b.WriteString("\nmarkers:")
		for _, m := range p.Markers {
			b.WriteString(" " + m.String())
		}
	}
	return b.String() + "\n"
}

func dumpValue(b *strings.Builder, v reflect.Value, indent string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		dumpValue(b, v.Elem(), indent)
	case reflect.Slice:
		for i := range v.Len() {
			b.WriteString("\n" + indent + "- ")
			dumpValue(b, v.Index(i), indent+"  ")
		}
	case reflect.Struct:
		dumpStruct(b, v, indent)
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

func dumpStruct(b *strings.Builder, v reflect.Value, indent string) {
	switch x := v.Interface().(type) {
	case Ident:
		b.WriteString(QuoteName(x.Name))
		return
	case Name:
		b.WriteString(x.String())
		return
	case TypeName:
		b.WriteString(x.String())
		return
	}
	b.WriteString(v.Type().Name())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type == reflect.TypeFor[Pos]() || f.Name == "Parens" || v.Field(i).IsZero() {
			continue
		}
		b.WriteString("\n" + indent + "  " + f.Name + ": ")
		dumpValue(b, v.Field(i), indent+"  ")
	}
}

// TestLimits: each limit has an error that names it, and input just below passes.
func TestLimits(t *testing.T) {
	l := Limits{Bytes: 1000, Depth: 20, Markers: 3}
	nest := func(open, inner, end string, n int) string {
		return "SELECT * FROM t WHERE a = " + strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	for _, c := range []struct{ name, text, want string }{
		{"bytes", "SELECT * FROM t -- " + strings.Repeat("x", 1000), "longer than the limit of 1000"},
		{"bytes below", "SELECT * FROM t -- " + strings.Repeat("x", 900), ""},
		{"lists", nest("[", "1", "]", 21), "nested deeper than the limit of 20"},
		{"lists below", nest("[", "1", "]", 19), ""},
		{"tuples", nest("(", "1", ")", 21), "nested deeper"},
		{"maps", nest("{1:", "1", "}", 21), "nested deeper"},
		{"udts", nest("{a:", "1", "}", 21), "nested deeper"},
		{"hints", nest("(int)", "1", "", 21), "nested deeper"},
		{"signs", nest("- ", "1", "", 21), "nested deeper"},
		{"calls", nest("f(", "1", ")", 21), "nested deeper"},
		{"types", "CREATE TYPE t (a " + strings.Repeat("list<", 21) + "int" + strings.Repeat(">", 21) + ")", "nested deeper"},
		{"relations", "SELECT * FROM t WHERE " + strings.Repeat("(", 21) + "a = 1" + strings.Repeat(")", 21), "nested deeper"},
		{"unclosed", "SELECT * FROM t WHERE a IN " + strings.Repeat("(", 800), "nested deeper"},
		{"sums", "SELECT a" + strings.Repeat("+a", 21) + " FROM t", "more than 20 operators"},
		{"products", "SELECT a" + strings.Repeat("*a", 21) + " FROM t", "more than 20 operators"},
		{"fields", "SELECT a" + strings.Repeat(".a", 21) + " FROM t", "more than 20 selections"},
		{"brackets", "CREATE ROLE r WITH x = " + strings.Repeat("{", 21), "nested deeper"},
		{"markers", "SELECT * FROM t WHERE a IN (?, ?, ?, :a)", "more than 3 bind markers"},
		{"markers below", "SELECT * FROM t WHERE a IN (?, ?, :a)", ""},
	} {
		_, err := ParseLimited(c.text, l)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestDefaultLimits: the defaults hold against the worst they admit, and 65535 markers pass.
func TestDefaultLimits(t *testing.T) {
	markers := "INSERT INTO t (a) VALUES ([" + strings.Repeat("?,", 65534) + "?])"
	p, err := Parse(markers)
	if err != nil || len(p.Markers) != 65535 {
		t.Fatalf("%d markers: %v", 65535, err)
	}
	if _, err := Parse(strings.Replace(markers, "[?", "[?,?", 1)); err == nil || !strings.Contains(err.Error(), "65535 bind markers") {
		t.Fatalf("one marker too many: %v", err)
	}
	for _, unit := range []string{"(", "[", "{", "{a:", "- ", "f(", "(int)", "a.", "a[", "1+", "a*", "CAST(", "(a=", "/*", "?", "list<"} {
		for _, head := range []string{"SELECT ", "SELECT * FROM t WHERE a = ", "CREATE TABLE t (a ", "UPDATE t SET a = "} {
			if _, err := Parse(head + strings.Repeat(unit, (1<<20-len(head))/len(unit))); err == nil {
				t.Errorf("%s and many %q parse", head, unit)
			}
		}
	}
}

// TestErrorFields: an error carries its place, the text and what was expected, each by itself.
func TestErrorFields(t *testing.T) {
	_, err := Parse("SELECT é\n  FORM t")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Line != 1 || e.Column != 7 || e.Near != "é" || e.Msg != "unknown character" {
		t.Errorf("%+v", e)
	}
	_, err = Parse("SELECT a, 'é', b\n  FORM t")
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Line != 2 || e.Column != 2 || e.Offset != 20 || e.Near != "FORM" || !strings.Contains(e.Expected, "FROM") {
		t.Errorf("%+v", e)
	}
}

// TestKeywords: the lexer's buffer holds the longest keyword, and no word is both reserved and not.
func TestKeywords(t *testing.T) {
	if got, want := len(keywords), len(strings.Fields(reservedWords))+len(strings.Fields(unreservedWords)); got != want {
		t.Errorf("%d keywords, %d listed", got, want)
	}
	for _, w := range Keywords() {
		if len(w) > maxKeyword {
			t.Errorf("%s is longer than maxKeyword", w)
		}
		name := QuoteName(strings.ToLower(w))
		p, err := Parse("SELECT a FROM " + name + "." + name)
		if err != nil {
			t.Errorf("%s as a name: %v", name, err)
		} else if got := p.Statement.(*Select).Table; got.Name != strings.ToLower(w) {
			t.Errorf("%s as a name: %q", name, got.Name)
		}
		if IsReserved(w) != (name[0] == '"') {
			t.Errorf("%s: reserved %v, quoted as %s", w, IsReserved(w), name)
		}
	}
}

// TestErrorsArePrintable: names in double quotes may hold line breaks and bytes that are no UTF-8; errors that name them hold neither.
func TestErrorsArePrintable(t *testing.T) {
	name := "\"a\n\x81\r\x00b\""
	for _, text := range []string{
		"UPDATE t SET " + name + " = A +", "UPDATE t SET " + name + " = 1 + a WHERE k = 1", "CREATE TABLE " + name + " (a int)",
		"CREATE TABLE " + name + " (a int PRIMARY KEY, PRIMARY KEY (a))", "CREATE TABLE t (a " + name + "<int> PRIMARY KEY)", "SELECT " + name + " " + name + " " + name,
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
		checkParse(t, text)
	}
}
