package cql

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// tester is what testing's and rapid's T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// seeds are all statements of testdata/cql, the wrong ones included.
func seeds(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/cql/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(b), "\n----\n") {
			cmd, input, _ := strings.Cut(block[strings.LastIndex(block, "\n\n")+1:], "\n")
			all = append(all, input)
			if cmd == "each" || strings.HasSuffix(cmd, "\neach") {
				all = append(all, strings.Split(input, "\n")...)
			}
		}
		all = append(all, strings.Split(string(b), "\n")...)
	}
	return all
}

// checkParse holds what is true of any text: no panic, errors in bounds and on one line, a stable print, and Split that loses nothing.
func checkParse(t tester, text string) {
	p, err := Parse(text)
	if err == nil {
		stable(t, p)
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T", err)
	}
	if e.Offset < 0 || e.Offset > len(text) || !strings.HasPrefix(text[e.Offset:], e.Near) && e.Msg == "" {
		t.Fatalf("%q: error points at %d %q", text, e.Offset, e.Near)
	}
	if strings.ContainsAny(err.Error(), "\n\r") || !utf8.ValidString(err.Error()) || !strings.HasPrefix(err.Error(), "line ") {
		t.Fatalf("%q: error is not one line: %q", text, err)
	}
}

func checkSplit(t tester, text string) {
	s := Split(text)
	for _, p := range append(s.Statements, s.Rest) {
		if !strings.HasPrefix(text[p.Pos.Offset:], p.Text) {
			t.Fatalf("%q: piece %q isn't at %d", text, p.Text, p.Pos.Offset)
		}
	}
	if (s.Open == "") != (s.Rest.Text == "") {
		t.Fatalf("%q: open %q but rest %q", text, s.Open, s.Rest.Text)
	}
	for _, p := range s.Statements {
		again := Split(p.Text + "\n;")
		if len(again.Statements) != 1 || again.Statements[0].Text != p.Text {
			t.Fatalf("%q: piece %q splits again: %+v", text, p.Text, again)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkParse(t, text)
		checkSplit(t, text)
	})
}

// TestMutations cuts, doubles and swaps tokens of good and bad statements.
func TestMutations(t *testing.T) {
	var tokens [][]string
	for _, s := range seeds(t) {
		var ts []string
		for l := newLexer(s); ; {
			tok := l.next()
			if tok.kind == tokenEnd {
				break
			}
			ts = append(ts, tok.text)
		}
		if len(ts) > 0 && len(ts) < 100 {
			tokens = append(tokens, ts)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ts := append([]string(nil), tokens[rapid.IntRange(0, len(tokens)-1).Draw(t, "statement")]...)
		for range rapid.IntRange(0, 4).Draw(t, "mutations") {
			i := rapid.IntRange(0, len(ts)-1).Draw(t, "at")
			other := tokens[rapid.IntRange(0, len(tokens)-1).Draw(t, "other")]
			word := other[rapid.IntRange(0, len(other)-1).Draw(t, "word")]
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				ts = append(ts[:i], append([]string{word}, ts[i:]...)...)
			case 1:
				ts[i] = word
			case 2:
				j := rapid.IntRange(0, len(ts)-1).Draw(t, "with")
				ts[i], ts[j] = ts[j], ts[i]
			case 3:
				if len(ts) > 1 {
					ts = append(ts[:i], ts[i+1:]...)
				}
			}
		}
		text := strings.Join(ts, rapid.SampledFrom([]string{" ", "\n", " /**/ "}).Draw(t, "blank"))
		checkParse(t, text)
		checkSplit(t, text)
	})
}
