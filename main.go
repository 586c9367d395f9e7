// Command nodedb is a peer-to-peer, wide-column database: one binary, the same on every host.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v2"

	"nodedb/node"
	"nodedb/node/bench"
	"nodedb/node/config"
	"nodedb/node/demo"
	"nodedb/node/storage"
	"nodedb/query/load"
	"nodedb/query/shell"
)

// flights is the demo's data set: all flights that left New York City in 2013 (CC0).
//
//go:embed testdata/nycflights13
var flights embed.FS

// flightFiles are the files of flights alone.
func flightFiles() fs.FS {
	files, err := fs.Sub(flights, "testdata/nycflights13")
	if err != nil {
		panic(err) // only for an invalid name
	}
	return files
}

// Exit statuses (the shell and load document their own).
const (
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	app := newApp()
	err := app.Run(flagsFirst(app, os.Args))
	var exit cli.ExitCoder
	switch {
	case err == nil:
	case errors.As(err, &exit):
		if exit.Error() != "" {
			fmt.Fprintln(os.Stderr, "nodedb:", exit.Error())
		}
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "nodedb:", err)
		os.Exit(exitFailed)
	}
}

func newApp() *cli.App {
	return &cli.App{
		Name:            "nodedb",
		Usage:           "a peer-to-peer, wide-column database: one binary, no master",
		Version:         version(),
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main prints and exits
		OnUsageError:    usageError,
		Description: "Try it:          nodedb demo\n" +
			"One node:        nodedb start --data d1\n" +
			"Another:         nodedb start --listen 127.0.0.2 --data d2 --join 127.0.0.1\n" +
			"Ask any of them: nodedb shell 127.0.0.2 -e \"SELECT cluster_name FROM system.local\"",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("%q is not a command; see nodedb --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{startCommand(), statusCommand(), removeCommand(), repairCommand(), shellCommand(), loadCommand(), demoCommand(), bench.Command(flightFiles())},
	}
}

func usage(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...), exitUsage)
}

func usageError(_ *cli.Context, err error, _ bool) error {
	return usage("%v; see nodedb --help", err)
}

// version names the commit and its date, or says that the binary was built without them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	var revision, date, dirty string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.time":
			date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = " (modified)"
			}
		}
	}
	if revision == "" {
		return "devel"
	}
	return fmt.Sprintf("%s of %s%s, %s", revision, date, dirty, runtime.Version())
}

// flagsFirst moves flags before positional arguments, where urfave/cli looks for them: `shell HOST -e x` is as good as `shell -e x HOST`.
func flagsFirst(app *cli.App, args []string) []string {
	at := slices.IndexFunc(args[min(1, len(args)):], func(a string) bool { return !strings.HasPrefix(a, "-") }) + 1
	if at == 0 {
		return args
	}
	cmd := app.Command(args[at])
	if cmd == nil {
		return args
	}
	for at+1 < len(args) { // bench compare
		i := slices.IndexFunc(cmd.Subcommands, func(sub *cli.Command) bool { return sub.HasName(args[at+1]) })
		if i < 0 {
			break
		}
		cmd, at = cmd.Subcommands[i], at+1
	}
	var flags, rest []string
	for i := at + 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case len(a) < 2 || a[0] != '-':
			rest = append(rest, a)
		default:
			flags = append(flags, a)
			if takesValue(cmd, a) && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	out := append(slices.Clone(args[:at+1]), flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

func takesValue(cmd *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

// interruptible ends with SIGINT or SIGTERM.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func startCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "config", Usage: "YAML `FILE` with the same settings", EnvVars: []string{"NODEDB_CONFIG"}}}
	for _, k := range config.Keys() {
		usage := fmt.Sprintf("%s (default: %s; %s)", k.Help, k.Default, k.Variable())
		if k.Default == "" {
			usage = fmt.Sprintf("%s (%s)", k.Help, k.Variable())
		}
		flags = append(flags, &cli.StringFlag{Name: k.Flag(), Usage: usage})
	}
	return &cli.Command{
		Name:  "start",
		Usage: "run a node",
		Description: "Without --join it founds a cluster of one. With --join it joins the cluster it finds there, or founds one together with\n" +
			"a majority of the list. A node that has data knows its cluster and ignores --join.\n\n" +
			"Example: nodedb start --listen 127.0.0.2 --data d2 --join 127.0.0.1",
		Flags:        flags,
		OnUsageError: usageError,
		Action:       start,
	}
}

func start(c *cli.Context) error {
	if c.Args().Present() {
		return usage("start takes no arguments, got %q; see nodedb start --help", c.Args().First())
	}
	storage.HugePages()
	given := map[string]string{}
	for _, k := range config.Keys() {
		if c.IsSet(k.Flag()) {
			given[k.Name] = c.String(k.Flag())
		}
	}
	cfg, err := config.Load(c.String("config"), os.Environ(), given)
	if err != nil {
		return usage("%v", err)
	}
	logger := newLogger(cfg)
	for _, name := range config.Unknown(os.Environ()) {
		logger.Warn("this variable is no setting; see nodedb start --help", "variable", name)
	}
	ctx, cancel := interruptible()
	defer cancel()
	failed := make(chan error, 1)
	begun := time.Now()
	node.BoundGarbage()
	resting := node.RestAfterLoad(ctx)
	defer func() { cancel(); <-resting }()
	n, err := node.Start(ctx, node.Options{
		Config: cfg, Logger: logger, Release: version(),
		Progress: func(line string) { logger.Info(line) },
		Fatal:    func(err error) { failed <- err },
	})
	if err != nil {
		if ctx.Err() != nil {
			return cli.Exit("stopped before the node was up", exitFailed)
		}
		return err
	}
	logger.Info("node is up", "listen", cfg.Listen, "cql", cfg.NativeTransportPort, "http", cfg.HTTPPort, "commitlog_sync", cfg.CommitlogSync, "after", time.Since(begun).Round(time.Millisecond))
	select {
	case err := <-failed:
		return fmt.Errorf("the node stopped itself: %w", err)
	case <-ctx.Done():
	}
	cancel() // a second signal ends the process at once
	logger.Info("draining")
	return n.Close(context.Background())
}

func newLogger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // validated
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:         "status",
		Usage:        "show the ring: who is up, load, schema epoch, pending hints",
		ArgsUsage:    "[HOST]",
		Description:  "Example: nodedb status 127.0.0.2 --json",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "for machines"},
			&cli.IntFlag{Name: "http-port", Value: 8181, Usage: "HTTP `PORT` of the node", EnvVars: []string{"NODEDB_HTTP_PORT"}},
		},
		Action: status,
	}
}

// statusTimeout is how long a command waits for the node asked: a little longer than a removal takes at most, which waits for others.
const statusTimeout = 25 * time.Second

func status(c *cli.Context) error {
	if c.NArg() > 1 {
		return usage("status takes one HOST, got %q as well", c.Args().Get(1))
	}
	var s node.Status
	if err := callNode(c, http.MethodGet, c.Args().First(), "/v1/ring", &s); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(s)
	}
	node.PrintStatus(os.Stdout, &s)
	return nil
}

// callNode asks a node's HTTP API; host "" is 127.0.0.1.
func callNode(c *cli.Context, method, host, path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	body, err := openNode(ctx, c, method, host, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("the answer of %s: %w", nodeAddress(c, host), err)
	}
	return nil
}

func nodeAddress(c *cli.Context, host string) string {
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Int("http-port")))
}

// openNode asks a node's HTTP API and gives the body of a good answer.
func openNode(ctx context.Context, c *cli.Context, method, host, path string) (io.ReadCloser, error) {
	addr := nodeAddress(c, host)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, nil)
	if err != nil {
		return nil, usage("%v", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s: %w", addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem struct{ Detail string }
	if json.NewDecoder(resp.Body).Decode(&problem) == nil && problem.Detail != "" {
		return nil, fmt.Errorf("%s: %s", addr, problem.Detail)
	}
	return nil, fmt.Errorf("%s answered %s: is it a nodedb node?", addr, resp.Status)
}

func removeCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "give up a node that died before it had finished joining",
		ArgsUsage: "HOST_ID [HOST]",
		Description: "Only one node joins at a time; one that died on the way holds the line up until it is back or removed. Its host id is never\n" +
			"admitted again. A node that has joined can't be removed yet.\n\nExample: nodedb remove 6f1a0c3e-… 127.0.0.1",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "http-port", Value: 8181, Usage: "HTTP `PORT` of the node", EnvVars: []string{"NODEDB_HTTP_PORT"}},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return usage("remove takes a HOST_ID, as status shows it, and a HOST to ask")
			}
			var s node.Status
			if err := callNode(c, http.MethodDelete, c.Args().Get(1), "/v1/ring/"+c.Args().First(), &s); err != nil {
				return err
			}
			node.PrintStatus(os.Stdout, &s)
			return nil
		},
	}
}

// exitDiffers is the status of a check that found a difference.
const exitDiffers = 3

func repairCommand() *cli.Command {
	return &cli.Command{
		Name:      "repair",
		Usage:     "show when replicas last agreed, or compare them now",
		ArgsUsage: "status [HOST] | KEYSPACE.TABLE --now|--verify [HOST]",
		Description: "Nodes compare and repair their replicas by themselves, once in anti_entropy_target: nothing has to be run. status shows when all\n" +
			"replicas of each table last agreed; --now compares a table at once and repairs what differs; --verify only says what does, and\n" +
			"exits with 3 if anything does.\n\nExample: nodedb repair nyc.flights --verify 127.0.0.2",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "now", Usage: "compare all replicas of the table and repair them"},
			&cli.BoolFlag{Name: "verify", Usage: "compare all replicas of the table, change nothing"},
			&cli.BoolFlag{Name: "ranges", Usage: "status: a line for each range"},
			&cli.BoolFlag{Name: "json", Usage: "for machines"},
			&cli.IntFlag{Name: "http-port", Value: 8181, Usage: "HTTP `PORT` of the node", EnvVars: []string{"NODEDB_HTTP_PORT"}},
		},
		Action: repair,
	}
}

func repair(c *cli.Context) error {
	what, host := c.Args().Get(0), c.Args().Get(1)
	if c.NArg() < 1 || c.NArg() > 2 {
		return usage("repair takes status or KEYSPACE.TABLE, and a HOST to ask; see nodedb repair --help")
	}
	if what == "status" {
		if c.Bool("now") || c.Bool("verify") {
			return usage("repair status takes neither --now nor --verify")
		}
		return repairStatus(c, host)
	}
	keyspace, name, ok := strings.Cut(what, ".")
	switch {
	case !ok || keyspace == "" || name == "":
		return usage("repair: want KEYSPACE.TABLE, got %q", what)
	case c.Bool("now") == c.Bool("verify"):
		return usage("repair %s: say --now to repair it, or --verify to look only", what)
	case c.Bool("ranges"):
		return usage("--ranges belongs to repair status")
	}
	return repairTable(c, host, "/v1/repair/"+url.PathEscape(keyspace)+"/"+url.PathEscape(name))
}

func repairStatus(c *cli.Context, host string) error {
	var s node.RepairStatus
	if err := callNode(c, http.MethodGet, host, "/v1/repair", &s); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(s)
	}
	node.PrintRepairStatus(os.Stdout, &s, c.Bool("ranges"))
	return nil
}

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// repairTable follows a repair or a verification to its end. The exit status is 3 where replicas differ, 1 where not all could be compared.
func repairTable(c *cli.Context, host, path string) error {
	ctx, cancel := interruptible()
	defer cancel()
	verify := c.Bool("verify")
	if verify {
		path += "?verify=true"
	}
	body, err := openNode(ctx, c, http.MethodPost, host, path)
	if err != nil {
		return err
	}
	defer body.Close()
	p, err := node.FollowRepair(body, os.Stderr, terminal(os.Stderr))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(p)
	} else {
		node.PrintRepair(os.Stdout, p, verify)
	}
	for _, problem := range p.Problems {
		fmt.Fprintln(os.Stderr, "nodedb: not compared:", problem)
	}
	switch {
	case err != nil:
		return err
	case verify && p.Rows > 0:
		return cli.Exit("", exitDiffers)
	case len(p.Problems) > 0:
		return cli.Exit("not all replicas were compared", exitFailed)
	}
	return nil
}

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "three nodes, a year of real flights, and a shell on them",
		Description: "Starts real nodes on 127.0.0.1, .2 and .3, loads every flight that left New York City in 2013, and opens a shell in which\n" +
			"\\kill 2, \\start 2, \\add and \\status act on the nodes. With --batch it plays the whole story by itself (load, same\n" +
			"answers everywhere, kill -9 under load, hints, a node down for longer than hints reach and repaired by anti-entropy,\n" +
			"kill -9 of all) and exits 0 only if every step held.\n\n" +
			"Example: nodedb demo --batch",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "batch", Usage: "play the story without a person"},
			&cli.IntFlag{Name: "nodes", Value: 3, Usage: "how many nodes"},
			&cli.StringFlag{Name: "data", Usage: "keep the nodes' data in `DIR` (default: a temporary folder, removed at the end)"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("demo takes no arguments, got %q", c.Args().First())
			}
			if err := demo.CheckOptions(c.Int("nodes"), c.Bool("batch")); err != nil {
				return usage("%v", err)
			}
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			ctx, cancel := interruptible()
			defer cancel()
			return demo.Run(ctx, demo.Options{
				Binary: binary, Files: flightFiles(), Nodes: c.Int("nodes"), Dir: c.String("data"), Batch: c.Bool("batch"),
				Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			})
		},
	}
}

func shellCommand() *cli.Command {
	return &cli.Command{
		Name:      "shell",
		Usage:     "ask any node, in CQL",
		ArgsUsage: "[HOST [PORT]]",
		Description: "Without -e or -f, and on a terminal, it is interactive: HELP lists what it knows.\n\n" +
			"Example: nodedb shell 127.0.0.2 -e \"SELECT * FROM ks.t LIMIT 10\" --format json",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "e", Aliases: []string{"execute"}, Usage: "run `STATEMENTS` and leave"},
			&cli.StringFlag{Name: "f", Aliases: []string{"file"}, Usage: "run the statements of `FILE` and leave; - is standard input"},
			&cli.StringFlag{Name: "k", Aliases: []string{"keyspace"}, Usage: "use `KEYSPACE`"},
			&cli.StringFlag{Name: "u", Aliases: []string{"username"}, Usage: "log in as `NAME`"},
			&cli.StringFlag{Name: "p", Aliases: []string{"password"}, Usage: "with `PASSWORD`"},
			&cli.StringFlag{Name: "format", Usage: strings.Join(shell.Formats, "|"), Value: "table"},
			&cli.DurationFlag{Name: "connect-timeout", Value: 5 * time.Second, Usage: "how long to wait for the connection"},
			&cli.DurationFlag{Name: "request-timeout", Value: 30 * time.Second, Usage: "how long to wait for a page of an answer"},
		},
		Action: runShell,
	}
}

func runShell(c *cli.Context) error {
	if c.NArg() > 2 {
		return usage("shell takes HOST and PORT, got %q as well", c.Args().Get(2))
	}
	o := shell.Options{
		Port: os.Getenv("CQLSH_PORT"), Keyspace: c.String("k"), Execute: c.String("e"), File: c.String("f"), Format: c.String("format"),
		User: c.String("u"), Password: c.String("p"), ConnectTimeout: c.Duration("connect-timeout"), RequestTimeout: c.Duration("request-timeout"),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, StdinTerminal: terminal(os.Stdin), StdoutTerminal: terminal(os.Stdout),
		StderrTerminal: terminal(os.Stderr), NoColor: os.Getenv("NO_COLOR") != "", Version: version(),
	}
	if host := os.Getenv("CQLSH_HOST"); host != "" {
		o.Hosts = []string{host}
	}
	if c.NArg() > 0 {
		o.Hosts = []string{c.Args().Get(0)}
	}
	if c.NArg() > 1 {
		o.Port = c.Args().Get(1)
	}
	if _, err := strconv.ParseUint(o.Port, 10, 16); o.Port != "" && err != nil {
		return usage("shell: want a port from 1 to 65535, got %q", o.Port)
	}
	if c.IsSet("e") && o.Execute == "" {
		return nil
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM) // Ctrl-C is the shell's own
	defer cancel()
	if code := shell.Run(ctx, o); code != 0 {
		return cli.Exit("", code)
	}
	return nil
}

// terminal reports whether a file is one that a person sits at.
func terminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "load CSV, TSV or NDJSON (also .gz and .zst) into a table",
		ArgsUsage: "FILE|- [HOST]",
		Description: "The header row names the columns, unless --columns does. Rows that can't be taken go to FILE.rejects, their reasons to\n" +
			"FILE.rejects.errors, and the exit status is 2.\n\nExample: nodedb load flights.csv.zst --table nyc.flights --null NA 127.0.0.2",
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "table", Usage: "`KEYSPACE.TABLE` to load into"},
			&cli.StringFlag{Name: "columns", Usage: "`NAMES` of the fields, in order, joined by commas"},
			&cli.StringFlag{Name: "null", Usage: "`TEXT` that means null"},
			&cli.StringFlag{Name: "format", Usage: "csv|tsv|ndjson (default: by the file's name)"},
			&cli.StringFlag{Name: "delimiter", Usage: "`CHARACTER` between fields"},
			&cli.BoolFlag{Name: "skip-unknown", Usage: "skip fields that the table has no column for"},
			&cli.IntFlag{Name: "port", Value: 9042, Usage: "CQL `PORT`", EnvVars: []string{"NODEDB_NATIVE_TRANSPORT_PORT", "CQLSH_PORT"}},
			&cli.BoolFlag{Name: "json", Usage: "print the summary as JSON on standard output"},
		},
		Action: runLoad,
	}
}

// exitRejects says that some rows went to the rejects file.
const exitRejects = 2

func runLoad(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 || c.String("table") == "" {
		return usage("load takes FILE (or -), --table KEYSPACE.TABLE, and a HOST; see nodedb load --help")
	}
	o := load.Options{
		Table: c.String("table"), File: c.Args().Get(0), Format: load.Format(c.String("format")), SkipUnknown: c.Bool("skip-unknown"),
		Progress: os.Stderr,
	}
	host := "127.0.0.1"
	if c.NArg() > 1 {
		host = c.Args().Get(1)
	}
	o.Hosts = []string{net.JoinHostPort(host, strconv.Itoa(c.Int("port")))}
	if c.IsSet("columns") {
		o.Columns = strings.Split(c.String("columns"), ",")
	}
	if c.IsSet("null") {
		null := c.String("null")
		o.Null = &null
	}
	if d := c.String("delimiter"); len(d) == 1 {
		o.Delimiter = d[0]
	} else if d != "" {
		return usage("--delimiter: want one character, got %q", d)
	}
	ctx, cancel := interruptible()
	defer cancel()
	summary, err := load.Run(ctx, o)
	if errors.Is(err, load.ErrOptions) {
		return usage("%v", err)
	}
	if c.Bool("json") {
		if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, summary)
	if err != nil {
		return err
	}
	if summary.Rejects > 0 {
		return cli.Exit("", exitRejects)
	}
	return nil
}
