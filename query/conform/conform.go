// Package conform holds nodedb to what Apache Cassandra 5.0.6 answers: scripts of CQL with recorded answers (testdata/conform), the client that runs them on
// either, and the comparison. It may import query/wire, query/types and query/cql; its tests also node. Start reading at Step, then Verdict. Scripts that
// are products of small tables come from Generated (tables*.go); query/CONFORMANCE.md says what they cover.
package conform

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// ErrFormat says that a script can't be read; the text names the line.
var ErrFormat = errors.New("malformed script")

// Step is one statement of a script, and what it was answered.
//
//	# text               before a step: a comment, kept
//	> SELECT …           the statement; further lines of it begin with "> " too
//	@ page=2 ts=5        its options (Options), if any
//	< 1 | null | 0xff    prepared, with these values: null, unset, raw bytes, or text of the marker's type
//	  ok                 Cassandra's answer, indented by two spaces
//	! reason             where nodedb's answer is another one: why, or "words" or "mistake" (see Verdict) …
//	  error …            … and nodedb's answer
//
// An empty line ends a step.
type Step struct {
	Comment   []string
	Statement string
	Options   string
	Values    []string // nil: not prepared
	Answer    []string // Cassandra's
	Reason    string   // "" when nodedb answers the same
	Local     []string // nodedb's answer, when there is a Reason
}

// The reasons that are no entry of query/CONFORMANCE.md.
const (
	// Words: the same error code in other words.
	Words = "words"
	// Mistake: nodedb is wrong, and not corrected yet.
	Mistake = "mistake"
)

// key tells steps of a script apart when it is recorded anew.
func (s *Step) key() string {
	return s.Statement + "\x00" + s.Options + "\x00" + strings.Join(s.Values, "|")
}

// Parse reads a script: its text as Append writes it.
func Parse(text string) ([]Step, error) {
	var steps []Step
	p := parser{}
	in := bufio.NewScanner(strings.NewReader(text))
	in.Buffer(nil, len(text)+1)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		if line == "" {
			steps = p.end(steps)
		} else if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrFormat, n, err)
		}
	}
	steps = p.end(steps)
	if len(p.step.Comment) > 0 {
		return nil, fmt.Errorf("%w: a comment after the last statement", ErrFormat)
	}
	return steps, nil
}

// parser holds the step that is being read.
type parser struct{ step Step }

// end finishes a step; comments alone belong to the next one.
func (p *parser) end(steps []Step) []Step {
	if p.step.Statement == "" {
		return steps
	}
	steps = append(steps, p.step)
	p.step = Step{}
	return steps
}

func (p *parser) line(line string) error {
	s := &p.step
	mark, rest, _ := strings.Cut(line, " ")
	if s.Statement == "" && mark != "#" && mark != ">" {
		return fmt.Errorf("%q before a statement", line)
	}
	switch mark {
	case "#":
		s.Comment = append(s.Comment, rest)
	case ">":
		if s.Statement != "" {
			rest = s.Statement + "\n" + rest
		}
		s.Statement = rest
	case "@":
		s.Options = rest
	case "<":
		s.Values = []string{}
		if rest != "" {
			s.Values = strings.Split(rest, " | ")
		}
	case "!":
		s.Reason = rest
	case "":
		if s.Reason != "" {
			s.Local = append(s.Local, strings.TrimPrefix(line, "  "))
		} else {
			s.Answer = append(s.Answer, strings.TrimPrefix(line, "  "))
		}
	default:
		return fmt.Errorf("unknown mark %q", mark)
	}
	return nil
}

// Append writes steps as Parse reads them.
func Append(dst []byte, steps []Step) []byte {
	for i := range steps {
		if i > 0 {
			dst = append(dst, '\n')
		}
		dst = steps[i].append(dst)
	}
	return dst
}

func (s *Step) append(dst []byte) []byte {
	lines := func(mark string, list []string) {
		for _, l := range list {
			dst = append(append(append(dst, mark...), l...), '\n')
		}
	}
	lines("# ", s.Comment)
	if len(s.Comment) > 0 {
		dst = append(dst, '\n')
	}
	lines("> ", strings.Split(s.Statement, "\n"))
	if s.Options != "" {
		lines("@ ", []string{s.Options})
	}
	if s.Values != nil {
		lines("< ", []string{strings.Join(s.Values, " | ")})
	}
	lines("  ", s.Answer)
	if s.Reason != "" {
		lines("! ", []string{s.Reason})
		lines("  ", s.Local)
	}
	return dst
}
