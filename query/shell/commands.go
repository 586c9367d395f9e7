package shell

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nodedb/coordinator/consistency"
	"nodedb/query/cql"
)

// command is a command of the shell: it ends with its line, and needs no semicolon.
type command struct {
	run func(ctx context.Context, line string) error
}

// commandNames are the words that begin a command of the shell's own.
var commandNames = []string{
	"CLEAR", "CLS", "CONSISTENCY", "COPY", "DESC", "DESCRIBE", "EXIT", "EXPAND", "HELP", "PAGING", "QUIT", "SERIAL", "SHOW", "SOURCE", "TRACING",
}

// command finds the command that a word begins. Whatever begins with a backslash is one, if only an unknown one.
func (s *shell) command(word string) (command, bool) {
	if strings.HasPrefix(word, `\`) {
		return command{s.extra}, true
	}
	var run func(ctx context.Context, line string) error
	switch strings.ToUpper(word) {
	case "HELP", "?":
		run = s.helpCommand
	case "DESCRIBE", "DESC":
		run = s.describe
	case "CONSISTENCY":
		run = s.consistency
	case "SERIAL":
		run = s.serialConsistency
	case "PAGING":
		run = s.pagingCommand
	case "TRACING":
		run = func(_ context.Context, line string) error { return s.toggle(line, "Tracing", &s.tracing) }
	case "EXPAND":
		run = func(_ context.Context, line string) error { return s.toggle(line, "Expanded output", &s.expanded) }
	case "SOURCE":
		run = s.sourceCommand
	case "COPY":
		run = s.copyCommand
	case "SHOW":
		run = s.showCommand
	case "CLEAR", "CLS":
		run = s.clear
	case "EXIT", "QUIT":
		run = func(context.Context, string) error { s.quit = true; return nil }
	default:
		return command{}, false
	}
	return command{run}, true
}

// complete says whether all statements and commands of a text are complete: whether Return ends the input.
func (s *shell) complete(text string) bool {
	sp := cql.NewSplitter(text)
	for {
		word := sp.Word()
		if word == "" {
			return strings.TrimSpace(text) == "" || cql.Split(text).Open != "comment"
		}
		if _, ok := s.command(word); ok {
			sp.Line()
			continue
		}
		if _, open := sp.Statement(); open != "" {
			return false
		}
	}
}

// extra runs a command that the caller of Run added.
func (s *shell) extra(ctx context.Context, line string) error {
	args := strings.Fields(line)
	i := slices.IndexFunc(s.o.Commands, func(c Command) bool { return c.Name == args[0] })
	if i < 0 {
		return fmt.Errorf("%s is no command here; HELP lists them", args[0])
	}
	c := s.o.Commands[i]
	s.out.Flush()
	err := c.Run(ctx, s.out, args[1:])
	s.out.Flush()
	if c.Hosts != nil {
		s.hosts = c.Hosts()
	}
	return err
}

// arguments are the words behind a command's own n words, in capitals.
func arguments(line string, n int) []string {
	words := strings.Fields(strings.ToUpper(line))
	return words[min(n, len(words)):]
}

// say tells the answer of a command that sets or shows something. It is no data.
func (s *shell) say(format string, args ...any) error {
	s.note(format, args...)
	return nil
}

func (s *shell) consistency(_ context.Context, line string) error {
	args := arguments(line, 1)
	switch len(args) {
	case 0:
		return s.say("Current consistency level is %s.", s.level)
	case 1:
		level, err := consistency.ParseLevel(args[0])
		if err != nil {
			return err
		}
		s.level = level
		return s.say("Consistency level set to %s.", level)
	}
	return fmt.Errorf("CONSISTENCY takes one level, such as CONSISTENCY QUORUM")
}

func (s *shell) serialConsistency(_ context.Context, line string) error {
	args := arguments(line, 1)
	if len(args) == 0 || args[0] != "CONSISTENCY" || len(args) > 2 {
		return fmt.Errorf("want SERIAL CONSISTENCY [SERIAL or LOCAL_SERIAL]")
	}
	if len(args) == 1 {
		return s.say("Current serial consistency level is %s.", s.serial)
	}
	level, err := consistency.ParseLevel(args[1])
	if err != nil || !level.IsSerial() {
		return fmt.Errorf("%s is no serial consistency level: want SERIAL or LOCAL_SERIAL", args[1])
	}
	s.serial, s.serialGiven = level, true
	return s.say("Serial consistency level set to %s.", level)
}

func (s *shell) pagingCommand(_ context.Context, line string) error {
	args := arguments(line, 1)
	switch {
	case len(args) == 0:
	case len(args) > 1:
		return fmt.Errorf("want PAGING, PAGING ON, PAGING OFF or PAGING rows")
	case args[0] == "ON":
		s.paging = true
	case args[0] == "OFF":
		s.paging = false
	default:
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxPageSize {
			return fmt.Errorf("PAGING %s: want ON, OFF, or rows a page from 1 to %d", args[0], maxPageSize)
		}
		s.paging, s.pageSize = true, n
	}
	if !s.paging {
		return s.say("Paging is off: results are shown without a stop.")
	}
	return s.say("Paging is on, %d rows a page.", s.pageSize)
}

// toggle is ON, OFF, or a question.
func (s *shell) toggle(line, what string, value *bool) error {
	args := arguments(line, 1)
	switch {
	case len(args) == 0:
	case len(args) == 1 && args[0] == "ON":
		*value = true
	case len(args) == 1 && args[0] == "OFF":
		*value = false
	default:
		return fmt.Errorf("want ON or OFF")
	}
	if *value {
		return s.say("%s is on.", what)
	}
	return s.say("%s is off.", what)
}

// maxSources bounds files that run files.
const maxSources = 16

func (s *shell) sourceCommand(ctx context.Context, line string) error {
	file, rest, err := quotedFile(strings.TrimSpace(line[len("SOURCE"):]))
	if err != nil || rest != "" {
		return fmt.Errorf("want SOURCE 'file'")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if slices.Contains(s.source, path) || len(s.source) == maxSources {
		return fmt.Errorf("%s: files that SOURCE each other, or %d deep", file, maxSources)
	}
	script, err := readScript(file)
	if err != nil {
		return err
	}
	s.source = append(s.source, path)
	defer func() { s.source = s.source[:len(s.source)-1] }()
	s.batch(ctx, file, script)
	return nil
}

// quotedFile reads a file's name, in single quotes or plain, off the front of a text.
func quotedFile(text string) (file, rest string, err error) {
	if text == "" {
		return "", "", fmt.Errorf("a file's name is missing")
	}
	if text[0] != '\'' {
		file, rest, _ = strings.Cut(text, " ")
		return file, strings.TrimSpace(rest), nil
	}
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			i++
			continue
		}
		return strings.ReplaceAll(text[1:i], "''", "'"), strings.TrimSpace(text[i+1:]), nil
	}
	return "", "", fmt.Errorf("the file's name is not closed by a quote")
}

func (s *shell) showCommand(ctx context.Context, line string) error {
	args := arguments(line, 1)
	if len(args) == 0 {
		return fmt.Errorf("want SHOW VERSION, SHOW HOST or SHOW SESSION trace-id")
	}
	switch {
	case args[0] == "VERSION" && len(args) == 1:
		version := s.o.Version
		if version == "" {
			version = "devel"
		}
		fmt.Fprintf(s.out, "[nodedb shell %s | Cassandra %s | CQL spec %s | Native protocol %s]\n", version, s.server.release, s.server.cql, s.server.protocol)
		return nil
	case args[0] == "HOST" && len(args) == 1:
		fmt.Fprintf(s.out, "Connected to %s at %s\n", s.clusterName(), s.conn.Addr())
		return nil
	case args[0] == "SESSION" && len(args) == 2:
		id, err := parseUUID(args[1])
		if err != nil {
			return err
		}
		return s.showTrace(ctx, id)
	}
	return fmt.Errorf("SHOW %s: want SHOW VERSION, SHOW HOST or SHOW SESSION trace-id", strings.Join(args, " "))
}

func (s *shell) clusterName() string {
	if s.server.cluster == "" {
		return "a cluster without a name"
	}
	return s.server.cluster
}

func (s *shell) clear(context.Context, string) error {
	if s.o.StdoutTerminal {
		s.out.WriteString("\x1b[H\x1b[2J\x1b[3J")
	}
	return nil
}
