package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/mattn/go-runewidth"

	"nodedb/query/cql"
)

// lineReader reads what a person types.
type lineReader interface {
	// Input reads statements or a command, over several lines where they are not complete. io.EOF is Ctrl-D, errInterrupted is Ctrl-C.
	Input(prompt, continuation string) (string, error)
	// More asks whether to go on with a long result.
	More(prompt string) bool
}

var errInterrupted = errors.New("interrupted")

// withoutInterrupt gives a context that ends with ctx, unless ctx ends by an interrupt. signal.NotifyContext tells the signal in its cause, by text.
func withoutInterrupt(ctx context.Context) (context.Context, func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !isInterrupt(cause) {
			cancel(cause)
		}
	})
	return out, func() { stop(); cancel(nil) }
}

// isInterrupt says whether the cause of a context of signal.NotifyContext is SIGINT.
func isInterrupt(cause error) bool {
	return cause != nil && cause.Error() == os.Interrupt.String()+" signal received"
}

// interact is the loop of the interactive shell.
func (s *shell) interact(ctx context.Context) int {
	if s.read == nil {
		editor := newEditor(s)
		stop := context.AfterFunc(ctx, editor.interrupt)
		defer stop()
		s.read = editor
	}
	s.greeting()
	for !s.quit && ctx.Err() == nil {
		prompt := s.prompt()
		text, err := s.read.Input(prompt, strings.Repeat(" ", max(0, len(prompt)-len("... ")))+"... ")
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errInterrupted):
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.o.Stderr)
			s.quit = true
		case err != nil:
			s.complain("reading the terminal: %v", err)
			return ExitFailed
		default:
			s.typed(ctx, text)
		}
	}
	return ExitDone
}

func (s *shell) greeting() {
	if s.o.Banner != "" {
		s.note("%s", s.o.Banner)
		return
	}
	s.note("Connected to %s at %s (Cassandra %s, CQL %s). HELP lists what there is, Tab completes, Ctrl-D ends.",
		s.clusterName(), s.conn.Addr(), s.server.release, s.server.cql)
}

func (s *shell) prompt() string {
	if s.keyspace == "" {
		return "nodedb> "
	}
	return "nodedb@" + printable(s.keyspace) + "> "
}

// typed runs what was typed. The first that fails ends it.
func (s *shell) typed(ctx context.Context, text string) {
	sp := cql.NewSplitter(text)
	for !s.quit && ctx.Err() == nil {
		word := sp.Word()
		if word == "" {
			return
		}
		p, err := s.one(ctx, sp, word)
		s.out.Flush()
		if err != nil {
			s.complain("%s", explainTyped(p, err))
			return
		}
	}
}

// one runs the next statement or command; Ctrl-C cancels it.
func (s *shell) one(ctx context.Context, sp *cql.Splitter, word string) (cql.Piece, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	if cmd, ok := s.command(word); ok {
		p := sp.Line()
		return p, cmd.run(ctx, p.Text)
	}
	p, _ := sp.Statement()
	return p, s.statement(ctx, p.Text)
}

// explainTyped is explain without the statement, which stands right above; only a place in it is marked.
func explainTyped(p cql.Piece, err error) string {
	msg := describeError(err)
	if line, column, ok := errorPlace(err); ok {
		if lines := strings.Split(p.Text, "\n"); line <= len(lines) {
			return msg + "\n" + markPlace(lines[line-1], column)
		}
	}
	return msg
}

// blanks is as many blanks as text is wide.
func blanks(text []rune) string { return strings.Repeat(" ", runewidth.StringWidth(string(text))) }
