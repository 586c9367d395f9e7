package shell

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// maxHistory bounds the inputs that are kept.
const maxHistory = 5000

// history is what was typed, kept in a file of one Go-quoted input a line, so that an input of several lines stays one. Inputs with passwords are not
// kept. It satisfies readline's Source.
type history struct {
	file   string // "": not kept
	inputs []string
}

// defaultHistory is the file that is used unless another is given; "" where there is no home.
func defaultHistory() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".nodedb", "shell_history")
}

// openHistory reads the file, and shortens it when it has grown to twice the bound.
func openHistory(file string) (*history, error) {
	switch file {
	case "":
		file = defaultHistory()
	case "-":
		file = ""
	}
	h := &history{file: file}
	if file == "" {
		return h, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return h, err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	defer f.Close()
	lines := 0
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, maxScript)
	for sc.Scan() {
		lines++
		if input, err := strconv.Unquote(sc.Text()); err == nil {
			h.inputs = append(h.inputs, input)
		}
	}
	if len(h.inputs) > maxHistory {
		h.inputs = append([]string(nil), h.inputs[len(h.inputs)-maxHistory:]...)
	}
	if err := sc.Err(); err != nil {
		return h, err
	}
	if lines > 2*maxHistory {
		return h, h.rewrite()
	}
	return h, nil
}

func (h *history) rewrite() error {
	var b strings.Builder
	for _, input := range h.inputs {
		b.WriteString(strconv.Quote(input) + "\n")
	}
	if err := os.WriteFile(h.file+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(h.file+".new", h.file)
}

var secret = regexp.MustCompile(`(?i)\bpassword\b`)

// Write keeps an input, unless it is empty, the last one again, or has a password in it.
func (h *history) Write(input string) (int, error) {
	input = strings.TrimSpace(input)
	if input == "" || secret.MatchString(input) || len(h.inputs) > 0 && h.inputs[len(h.inputs)-1] == input {
		return len(h.inputs), nil
	}
	h.inputs = append(h.inputs, input)
	if len(h.inputs) > maxHistory {
		h.inputs = h.inputs[1:]
	}
	if h.file == "" {
		return len(h.inputs), nil
	}
	f, err := os.OpenFile(h.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return len(h.inputs), err
	}
	_, err = f.WriteString(strconv.Quote(input) + "\n")
	return len(h.inputs), errors.Join(err, f.Close())
}

// GetLine gives the input at a position, the oldest at 0.
func (h *history) GetLine(pos int) (string, error) {
	if pos < 0 || pos >= len(h.inputs) {
		return "", fmt.Errorf("no input %d in the history of %d", pos, len(h.inputs))
	}
	return h.inputs[pos], nil
}

// Len is how many inputs there are.
func (h *history) Len() int { return len(h.inputs) }

// Dump gives all inputs.
func (h *history) Dump() any { return h.inputs }
