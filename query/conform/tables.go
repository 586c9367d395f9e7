package conform

import (
	"fmt"
	"maps"
	"strings"
)

// Generated gives the scripts that come from tables, by name.
func Generated() map[string][]Step {
	all := map[string][]Step{}
	maps.Copy(all, typeScripts())
	return all
}

// script gathers the steps of a generated script.
type script struct{ steps []Step }

func (s *script) add(format string, args ...any) {
	s.steps = append(s.steps, Step{Statement: fmt.Sprintf(format, args...)})
}

// bind adds a prepared statement with its values.
func (s *script) bind(statement string, values ...string) {
	s.steps = append(s.steps, Step{Statement: statement, Values: append([]string{}, values...)})
}

// options sets those of the last step.
func (s *script) options(text string) { s.steps[len(s.steps)-1].Options = text }

// say puts a comment before the step that comes next.
func (s *script) say(format string, args ...any) func(*script) {
	at := len(s.steps)
	return func(s *script) { s.steps[at].Comment = []string{fmt.Sprintf(format, args...)} }
}

// word makes a name of a type's text.
func word(text string) string {
	return strings.Trim(strings.NewReplacer("<", "_", ">", "", ", ", "_", " ", "").Replace(text), "_")
}
