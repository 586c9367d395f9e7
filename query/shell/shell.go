// Package shell is the interactive shell and its batch mode, for any server that speaks the CQL binary protocol. It may import query/wire, query/cql,
// query/types, query/load and coordinator/consistency. Start reading at Run.
package shell

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// Exit codes of Run.
const (
	ExitDone         = 0
	ExitNoConnection = 1
	ExitFailed       = 2 // a statement failed in batch mode
	ExitUsage        = 64
)

// Options of Run.
type Options struct {
	Hosts    []string // HOST or HOST:PORT: the first is connected to, the others are tried when the connection is lost. Default 127.0.0.1
	Port     string   // of hosts without one; default 9042
	Keyspace string   // USE it after connecting

	Execute string // -e: run these statements and leave
	File    string // -f: run this file and leave; - is Stdin
	Format  string // table (default), vertical, csv, json, ndjson or markdown

	User, Password string
	TLS            *tls.Config
	ConnectTimeout time.Duration // default 5 s
	RequestTimeout time.Duration // of one page of a statement; default 30 s

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// What is a terminal. Without a terminal on both Stdin and Stdout statements are read from Stdin in batch mode, unless Execute or File is given. The line
	// editor works on the process's own terminal: with StdinTerminal and StdoutTerminal Stdin and Stdout must be os.Stdin and os.Stdout.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	NoColor                                       bool // as with the variable NO_COLOR set: no colour on a terminal either

	HistoryFile string    // default ~/.nodedb/shell_history; - is none
	Commands    []Command // more commands, such as the demo's \kill
	Banner      string    // shown before the first prompt, instead of the usual greeting
	Version     string    // of nodedb, for SHOW VERSION
}

// Command is a command of the shell that its caller adds. Its Name begins with a backslash.
type Command struct {
	Name  string // \kill
	Args  string // what it takes, for HELP: N
	Help  string // one line
	Run   func(ctx context.Context, out io.Writer, args []string) error
	Hosts func() []string // nil, or asked after Run: the hosts that the shell may connect to from now on
}

// withDefaults fills in what wasn't said.
func (o Options) withDefaults() Options {
	if o.Port == "" {
		o.Port = wire.DefaultPort
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{defaultHost}
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = defaultRequestTimeout
	}
	if o.Stdin == nil {
		o.Stdin = bytes.NewReader(nil)
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	return o
}

// shell is a running shell. One goroutine works in it.
type shell struct {
	o           Options
	out         *output
	errColour   bool
	interactive bool
	dial        func(ctx context.Context, addr string) (session, error)
	read        lineReader // interactive only

	hosts  []string
	conn   session
	server server
	names  *catalog // of the server's schema, for completion; nil: not read, or out of date

	keyspace          string
	level, serial     consistency.Level
	serialGiven       bool
	paging            bool
	pageSize          int
	tracing, expanded bool
	describes         describer

	source []string // files being read by SOURCE, the innermost last
	failed bool     // a statement failed
	quit   bool     // EXIT was said
}

const (
	interactivePage = 100  // rows a page, and between two ---MORE---
	batchPage       = 1000 // rows a page
	maxPageSize     = 100_000
)

func newShell(o Options) *shell {
	o = o.withDefaults()
	colour := !o.NoColor
	s := &shell{
		o: o, hosts: o.Hosts, keyspace: o.Keyspace, level: consistency.One, serial: consistency.Serial, paging: true, pageSize: batchPage,
		out: newOutput(o.Stdout, colour && o.StdoutTerminal), errColour: colour && o.StderrTerminal,
		interactive: o.StdinTerminal && o.StdoutTerminal && o.Execute == "" && o.File == "",
	}
	if s.interactive {
		s.pageSize = interactivePage
	}
	s.dial = s.dialWire
	return s
}

// Run runs a shell and gives the process's exit code. Everything it has to say was said on Stdout and Stderr. When ctx ends, so does the shell; an
// interactive one takes no notice of an end that was caused by an interrupt (signal.NotifyContext's cause), since Ctrl-C ends a statement there.
func Run(ctx context.Context, o Options) (exitCode int) {
	if err := checkOptions(o); err != nil {
		if o.Stderr != nil {
			fmt.Fprintf(o.Stderr, "nodedb shell: %v\n", err)
		}
		return ExitUsage
	}
	s := newShell(o)
	if s.interactive {
		var stop func()
		ctx, stop = withoutInterrupt(ctx)
		defer stop()
	}
	return s.run(ctx)
}

func checkOptions(o Options) error {
	if o.Execute != "" && o.File != "" {
		return errors.New("-e and -f can't both be given")
	}
	for _, c := range o.Commands {
		if !strings.HasPrefix(c.Name, `\`) || c.Run == nil {
			return fmt.Errorf("command %q must begin with a backslash and have a Run", c.Name)
		}
	}
	return checkFormat(o.Format)
}

func (s *shell) run(ctx context.Context) int {
	defer s.out.Flush()
	script, name, err := s.script()
	if err != nil {
		s.complain("%v", err)
		return ExitFailed
	}
	if err := s.connect(ctx); err != nil {
		s.complain("%v", err)
		return ExitNoConnection
	}
	defer func() { s.conn.Close() }()
	if err := s.takeKeyspace(ctx); err != nil {
		s.complain("%v", err)
		return ExitNoConnection
	}
	if s.interactive {
		return s.interact(ctx)
	}
	s.batch(ctx, name, script)
	if s.failed {
		return ExitFailed
	}
	return ExitDone
}

// script reads what is to be run in batch mode. It is read whole, before anything is done.
func (s *shell) script() (script, name string, err error) {
	switch {
	case s.interactive:
		return "", "", nil
	case s.o.Execute != "":
		return s.o.Execute, "", nil
	case s.o.File != "" && s.o.File != "-":
		script, err = readScript(s.o.File)
		return script, s.o.File, err
	}
	b, err := io.ReadAll(io.LimitReader(s.o.Stdin, maxScript+1))
	if err == nil && len(b) > maxScript {
		err = fmt.Errorf("more than %d MiB of statements on standard input; use COPY or nodedb load for data", maxScript>>20)
	}
	return string(b), "", err
}

// maxScript bounds a script in bytes.
const maxScript = 256 << 20

func readScript(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Size() > maxScript {
		return "", fmt.Errorf("%s: more than %d MiB; use COPY or nodedb load for data", file, maxScript>>20)
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// note says something that is no data.
func (s *shell) note(format string, args ...any) {
	s.out.Flush()
	fmt.Fprintf(s.o.Stderr, format+"\n", args...)
}

// complain says what went wrong.
func (s *shell) complain(format string, args ...any) {
	s.out.Flush()
	text := fmt.Sprintf(format, args...)
	if s.interactive {
		if s.errColour {
			text = colourNull + text + colourReset
		}
		fmt.Fprintln(s.o.Stderr, text)
		return
	}
	fmt.Fprintln(s.o.Stderr, "nodedb shell: "+text)
}

// params are those of a statement now.
func (s *shell) params() *wire.Params {
	p := &wire.Params{Consistency: uint16(s.level), PageSize: int32(s.pageSize)}
	if s.serialGiven {
		p.Serial = uint16(s.serial)
	}
	return p
}
