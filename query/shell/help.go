package shell

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// topic is one page of the offline help.
type topic struct {
	name    string // in capitals
	summary string
	syntax  string
	example string
	more    string
}

// topicNames lists the topics, for completion.
func topicNames() []string {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	return names
}

func (s *shell) helpCommand(_ context.Context, line string) error {
	wanted := strings.Join(arguments(line, 1), " ")
	if wanted == "" {
		s.helpOverview()
		return nil
	}
	var found []topic
	for _, t := range topics {
		if t.name == wanted {
			found = []topic{t}
			break
		}
		if strings.HasPrefix(t.name, wanted) || slices.Contains(strings.Fields(t.name), wanted) {
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("there is no help on %s; HELP lists the topics", wanted)
	}
	for _, t := range found {
		s.helpOn(t)
	}
	return nil
}

func (s *shell) helpOn(t topic) {
	s.out.WriteByte('\n')
	s.out.paint(colourName, t.name)
	fmt.Fprintf(s.out, ": %s\n\n%s\n", t.summary, indent(t.syntax))
	if t.example != "" {
		fmt.Fprintf(s.out, "\nExample:\n\n%s\n", indent(t.example))
	}
	if t.more != "" {
		fmt.Fprintf(s.out, "\n%s\n", t.more)
	}
	s.out.WriteByte('\n')
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// helpOverview lists the topics and commands.
func (s *shell) helpOverview() {
	s.out.WriteString("\nStatements end with a semicolon and may go over several lines; commands of the shell end with their line.\n" +
		"HELP topic shows how a statement is written, with an example. Tab completes, Ctrl-R searches the history, Ctrl-C cancels, Ctrl-D leaves.\n")
	s.helpList("CQL statements", func(t topic) bool { return !isCommand(t.name) && !isReference(t.name) })
	s.helpList("CQL in general", func(t topic) bool { return isReference(t.name) })
	s.helpList("Commands of the shell", func(t topic) bool { return isCommand(t.name) })
	if len(s.o.Commands) > 0 {
		s.out.WriteString("\nMore commands here:\n")
		for _, c := range s.o.Commands {
			fmt.Fprintf(s.out, "    %-20s  %s\n", strings.TrimSpace(c.Name+" "+c.Args), c.Help)
		}
	}
	s.out.WriteByte('\n')
}

func (s *shell) helpList(title string, want func(topic) bool) {
	fmt.Fprintf(s.out, "\n%s:\n", title)
	for _, t := range topics {
		if want(t) {
			fmt.Fprintf(s.out, "    %-20s  %s\n", t.name, t.summary)
		}
	}
}

func isCommand(name string) bool {
	return slices.Contains(commandNames, strings.Fields(name)[0])
}

// isReference says whether a topic is about no single statement: those are plural or a concept.
func isReference(name string) bool {
	return slices.Contains([]string{"TYPES", "FUNCTIONS", "KEYS", "WHERE", "TTL", "LITERALS", "OPTIONS"}, name)
}
