// Package shell is the interactive shell and its batch mode, for any server that speaks the CQL binary protocol. It may import query/wire, query/cql,
// query/types, query/load and coordinator/consistency. Start reading at Run.
package shell

import (
	"context"
	"crypto/tls"
	"io"
	"time"
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

// Run runs a shell and gives the process's exit code. Everything it has to say was said on Stdout and Stderr. When ctx ends, so does the shell.
func Run(ctx context.Context, o Options) (exitCode int) { panic("contract") }

// Formats are the values of Options.Format.
var Formats = []string{"table", "vertical", "csv", "json", "ndjson", "markdown"}
