package shell

import (
	"context"
	"strings"
	"testing"
)

// FuzzTyped: whatever is typed, completed or taken for a command, nothing panics, and what ends the input is decided alike twice.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{
		"SELECT * FROM t;", "COPY t (a, \"b\") TO 'x' WITH HEADER = true", "COPY", "copy t from", "SOURCE 'x", "HELP create table", "\\kill 2", "\\", "SHOW SESSION x",
		"CONSISTENCY", "SERIAL", "DESCRIBE \"", "SELECT 'é", "select max(\"", "USE ", "nyc.", "/* ", "$$", "ﬀ", "\xff\xfe", "EXPAND \u0141", "PAGING -1",
	} {
		f.Add(s)
	}
	c := &catalog{tables: map[string][]string{"ks": {"t", "Ü"}}, columns: map[string]map[string]bool{"ks.t": {"k": true}, "ks.Ü": {"é": true}}}
	f.Fuzz(func(t *testing.T, text string) {
		s := newShell(Options{})
		s.keyspace = "ks"
		candidates, typed := s.completion(c, text)
		if !strings.HasSuffix(text, typed) {
			t.Fatalf("%q: typed is %q", text, typed)
		}
		for _, w := range candidates {
			if len(w) < len(typed) {
				t.Fatalf("%q: %q is shorter than %q", text, w, typed)
			}
		}
		if s.complete(text) && !s.complete(text+";") {
			t.Fatalf("%q is complete, and no more with a semicolon", text)
		}
		if strings.HasPrefix(strings.ToUpper(text), "COPY") {
			_, _ = s.copyPlan(text)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is sent
		s.conn = &fake{t: t, done: make(chan struct{})}
		for _, run := range []func(context.Context, string) error{s.helpCommand, s.consistency, s.serialConsistency, s.pagingCommand, s.extra} {
			if len(text) >= len("CONSISTENCY") && strings.TrimSpace(text) != "" {
				_ = run(ctx, text)
			}
		}
		printable(text)
	})
}
