package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/reeflective/readline"
	"github.com/reeflective/readline/inputrc"
	"golang.org/x/sys/unix"
)

// editor is the line editor on the process's terminal.
type editor struct {
	shell    *shell
	rl       *readline.Shell
	more     string // continuation prompt
	first    string
	pager    *readline.Shell // asks whether to go on
	question string
	quit     bool   // that was answered by q
	ahead    []rune // that was answered by these keys, which are no answer
	below    int    // rows that there are below the prompt's, or more
	row      int    // below the prompt's, where the cursor stood at the last look, or less
}

// settings that readline needs beside its defaults: without the first four it drops every character that isn't ASCII; with the probe it asks the
// terminal where the cursor is at every key, and drops all keys that come in one read with the answer, as those of a paste do.
var settings = map[string]any{
	"convert-meta": false, "input-meta": true, "output-meta": true, "meta-flag": true,
	"cursor-position-probe": false, "enable-bracketed-paste": true, "multiline-column": false, "multiline-column-numbered": false, "history-autosuggest": false,
	"usage-hint-always": false, "autocomplete": false, "completion-ignore-case": true, "menu-complete-display-prefix": true,
}

func newReadline() *readline.Shell {
	rl := readline.NewShell(inputrc.WithApp("nodedb"))
	for name, value := range settings {
		// What a version doesn't know it doesn't need.
		_ = rl.Config.Set(name, value)
	}
	return rl
}

func newEditor(s *shell) *editor {
	e := &editor{shell: s, rl: newReadline()}
	for _, keymap := range [...]string{"emacs", "vi-insert"} {
		_ = e.rl.Config.Bind(keymap, "\t", "menu-complete", false)
	}
	e.pager = e.newPager()
	e.rl.Prompt.Primary(func() string { e.reserve(); return e.first })
	e.rl.Prompt.Secondary(func() string { return e.more })
	e.rl.AcceptMultiline = func(line []rune) bool { return s.complete(string(line)) }
	e.rl.Completer = e.completions
	h, err := openHistory(s.o.HistoryFile)
	if err != nil {
		s.note("The history is not kept: %v", err)
		h.file = ""
	}
	e.rl.History.Add("nodedb", h)
	return e
}

func (e *editor) completions(line []rune, cursor int) readline.Completions {
	text := string(line[:min(cursor, len(line))])
	candidates, typed := e.shell.completion(e.shell.catalogNow(context.Background()), text)
	// readline matches against all that stands behind the last blank: (na in SELECT max(na.
	before := text[strings.LastIndexAny(text, " \t\n")+1:]
	before = before[:max(0, len(before)-len(typed))]
	values := make([]readline.Completion, len(candidates))
	for i, c := range candidates {
		values[i] = readline.Completion{Value: before + c, Display: c}
	}
	return readline.CompleteRaw(values).NoSort()
}

// Input reads statements or a command.
func (e *editor) Input(prompt, continuation string) (string, error) {
	e.first, e.more = prompt, continuation
	e.takeKeys()
	_ = e.rl.Config.Set("multiline-column-custom", continuation)
	e.rl.Line().Set()
	e.beginLine()
	e.below, e.row = 1, 0
	text, err := e.rl.Readline()
	switch {
	case errors.Is(err, readline.ErrInterrupt):
		return "", errInterrupted
	case err != nil && errors.Is(err, io.EOF):
		return "", io.EOF
	}
	return text, err
}

// beginLine clears the line, since the terminal may have echoed what was typed while a statement ran, and it is shown again behind the prompt. It makes
// room below: see reserve.
func (e *editor) beginLine() { fmt.Fprint(os.Stdout, "\r\x1b[K\n\x1b[A") }

// reserve makes room for the input on the screen. readline always goes one row further down than its input and comes back, which moves everything by a
// row where there is none; without the probe it doesn't know. It is called at the beginning of every frame, which is written at its end, so the cursor
// still stands where the last frame left it. Index (ESC D) goes down, scrolls at the bottom, and keeps the column.
func (e *editor) reserve() {
	width := terminalWidth()
	text := *e.rl.Line()
	if need := e.rows(text, width) + 1; need > e.below {
		n := need - e.row
		fmt.Fprintf(os.Stdout, "%s\x1b[%dA", strings.Repeat("\x1bD", n), n)
		e.below = need
	}
	e.row = strings.Count(string(text[:min(len(text), e.rl.Cursor().Pos())]), "\n")
}

// rows is how many rows an input takes beyond the first; its lines stand below each other, behind the prompt.
func (e *editor) rows(text []rune, width int) int {
	n := -1
	for line := range strings.SplitSeq(string(text), "\n") {
		n += 1 + runewidth.StringWidth(e.first+strings.ReplaceAll(line, "\t", "        "))/width
	}
	return n
}

// terminalWidth in columns; 80 where it isn't known.
func terminalWidth() int {
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	return 80
}

// More asks whether to go on: Return or the space bar goes on; q, Ctrl-C and Ctrl-D end. What else is typed, or was typed or pasted before, is the
// next input: the result goes on, as it does in a script.
func (e *editor) More(prompt string) bool {
	if !e.rl.Keys.Empty() {
		return true
	}
	e.question, e.quit, e.ahead = prompt, false, nil
	e.beginLine()
	text, err := e.pager.Readline()
	if ahead := text + string(e.ahead); ahead != "" {
		e.rl.Keys.Feed(false, []rune(ahead)...)
		e.takeKeys()
	}
	return err == nil && !e.quit
}

// takeKeys hands keys that the pager read and didn't use to the line editor.
func (e *editor) takeKeys() {
	var keys []byte
	for key, empty := e.pager.Keys.Pop(); !empty; key, empty = e.pager.Keys.Pop() {
		keys = append(keys, key)
	}
	e.rl.Keys.Feed(false, []rune(string(keys))...)
}

// newPager is a line editor in which single keys answer.
func (e *editor) newPager() *readline.Shell {
	rl := newReadline()
	_ = rl.Config.Set("enable-bracketed-paste", false)
	rl.Prompt.Primary(func() string { return e.question })
	accept := func() {
		rl.Display.AcceptLine()
		rl.History.Accept(false, false, nil)
	}
	rl.Keymap.Register(map[string]func(){
		"more-quit":  func() { e.quit = true; accept() },
		"more-ahead": func() { e.ahead = rl.Keys.Caller(); accept() },
	})
	for key := '!'; key <= '~'; key++ {
		_ = rl.Config.Bind("emacs", string(key), "more-ahead", false)
	}
	for keys, action := range map[string]string{" ": "accept-line", "q": "more-quit", "Q": "more-quit"} {
		_ = rl.Config.Bind("emacs", keys, action, false)
	}
	return rl
}

// interrupt ends an Input that waits, from another goroutine.
func (e *editor) interrupt() {
	for _, rl := range [...]*readline.Shell{e.rl, e.pager} {
		rl.Keys.Feed(true, 3) // Ctrl-C
		rl.Keys.RequestRefresh()
	}
}
