package shell

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/reeflective/readline"
	"github.com/reeflective/readline/inputrc"
)

// editor is the line editor on the process's terminal.
type editor struct {
	shell    *shell
	rl       *readline.Shell
	more     string // continuation prompt
	first    string
	pager    *readline.Shell // asks whether to go on
	question string
	quit     bool // that was answered by q
}

// settings that readline needs beside its defaults: without the first four it drops every character that isn't ASCII.
var settings = map[string]any{
	"convert-meta": false, "input-meta": true, "output-meta": true, "meta-flag": true,
	"enable-bracketed-paste": true, "multiline-column": false, "multiline-column-numbered": false, "history-autosuggest": false,
	"usage-hint-always": false, "autocomplete": false, "completion-ignore-case": true, "menu-complete-display-prefix": true,
}

func newEditor(s *shell) *editor {
	e := &editor{shell: s, rl: readline.NewShell(inputrc.WithApp("nodedb"))}
	for name, value := range settings {
		// What a version doesn't know it doesn't need.
		_ = e.rl.Config.Set(name, value)
	}
	for _, keymap := range [...]string{"emacs", "vi-insert"} {
		_ = e.rl.Config.Bind(keymap, "\t", "menu-complete", false)
	}
	e.pager = e.newPager()
	e.rl.Prompt.Primary(func() string { return e.first })
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
	_ = e.rl.Config.Set("multiline-column-custom", continuation)
	text, err := e.rl.Readline()
	switch {
	case errors.Is(err, readline.ErrInterrupt):
		return "", errInterrupted
	case err != nil && errors.Is(err, io.EOF):
		return "", io.EOF
	}
	return text, err
}

// More asks whether to go on: Return or the space bar goes on; q, Ctrl-C and Ctrl-D end.
func (e *editor) More(prompt string) bool {
	e.question = prompt
	e.quit = false
	_, err := e.pager.Readline()
	return err == nil && !e.quit
}

// newPager is a line editor in which single keys answer.
func (e *editor) newPager() *readline.Shell {
	rl := readline.NewShell(inputrc.WithApp("nodedb"))
	rl.Prompt.Primary(func() string { return e.question })
	rl.Keymap.Register(map[string]func(){"more-quit": func() {
		e.quit = true
		rl.Display.AcceptLine()
		rl.History.Accept(false, false, nil)
	}})
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
