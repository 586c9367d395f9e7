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
	maps.Copy(all, functionScripts())
	all["casts"] = castScript()
	all["arithmetic"] = arithmeticScript()
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

// word makes a name of a type's text.
func word(text string) string {
	return strings.Trim(strings.NewReplacer("<", "_", ">", "", ", ", "_", " ", "").Replace(text), "_")
}
