package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v2"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// exitUsage is the status after a mistake in the command line.
const exitUsage = 64

func misuse(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...), exitUsage)
}

func misused(_ *cli.Context, err error, _ bool) error {
	return misuse("%v; see nodedb bench --help", err)
}

// Command is `nodedb bench`; files hold the flights.
func Command(files fs.FS) *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "put load on a cluster, nodedb's or Cassandra's, and say what it cost",
		ArgsUsage: "[HOST[:PORT] …]",
		Description: "Every value derives from its row's key, so every read is checked. The tables are made in a keyspace of their own, and made anew each time.\n" +
			"--list shows the workloads. Exit status 1: an operation failed, or a read gave what was not written.\n\n" +
			"Example: nodedb bench 127.0.0.1 --only insert,read,a --seconds 10\n" +
			"         nodedb bench 127.0.0.1 127.0.0.2 127.0.0.3 --only insert --rate 20000",
		OnUsageError: misused,
		Flags:        loadFlags(),
		Action:       func(c *cli.Context) error { return runLoad(c, files) },
		Subcommands:  []*cli.Command{compareCommand(files), limitsCommand(files), growthCommand(), volumeCommand(), nullCommand()},
	}
}

// loadFlags are those that say what load is put on.
func loadFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "only", Usage: "`WORKLOADS` to run, by name, joined by commas", Value: "insert,read"},
		&cli.BoolFlag{Name: "list", Usage: "show the workloads and leave"},
		&cli.Float64Flag{Name: "seconds", Usage: "`SECONDS` to measure each", Value: DefaultSeconds.Seconds()},
		&cli.Float64Flag{Name: "warm", Usage: "`SECONDS` of the same load before it is measured", Value: 2},
		&cli.Int64Flag{Name: "ops", Usage: "end after `N` operations, if that is earlier"},
		&cli.Int64Flag{Name: "rows", Usage: "`N` rows to write before (default: the workload's own number)"},
		&cli.IntSliceFlag{
			Name: "in-flight", Usage: "`N` operations under way at once, of all connections together; 1,8,64 measures each", Value: cli.NewIntSlice(DefaultInFlight),
		},
		&cli.IntFlag{Name: "connections", Usage: "`N` connections, over all hosts in turn (default: one a host)"},
		&cli.Float64Flag{Name: "rate", Usage: "`N` operations a second, latencies from when each should have begun (default: the next as soon as one ends)"},
		&cli.StringFlag{Name: "keys", Usage: strings.Join(distributions, "|") + " (default: the workload's own)"},
		&cli.StringFlag{Name: "driver", Usage: strings.Join(drivers, "|"), Value: driverLean},
		&cli.IntFlag{Name: "protocol", Usage: "version of the CQL binary protocol, 4 or 5", Value: 4},
		&cli.StringFlag{Name: "consistency", Usage: "`LEVEL` of reads and writes", Value: "QUORUM"},
		&cli.IntFlag{Name: "replication", Usage: "`FACTOR` (default: 3, or the number of hosts named if that is less)"},
		&cli.StringFlag{Name: "keyspace", Usage: "`NAME` of the keyspace; its tables of the workloads' names are dropped", Value: DefaultKeyspace},
		&cli.BoolFlag{Name: "keep", Usage: "use the rows of an earlier run with the same --rows"},
		&cli.IntSliceFlag{Name: "pid", Usage: "`PID` of a server process, for its CPU time (default: who listens on the hosts, on this machine)"},
		&cli.BoolFlag{Name: "json", Usage: "for machines"},
		&cli.BoolFlag{Name: "quiet", Usage: "no live progress"},
	}
}

// optionsOf reads the flags.
func optionsOf(c *cli.Context, files fs.FS) (Options, error) {
	for _, name := range []string{"seconds", "ops", "rows", "connections", "rate", "replication"} {
		if n := fmt.Sprint(c.Value(name)); c.IsSet(name) && (n == "0" || strings.HasPrefix(n, "-")) {
			return Options{}, misuse("--%s: want more than 0, got %s", name, n)
		}
	}
	level, err := consistency.ParseLevel(c.String("consistency"))
	if err != nil {
		return Options{}, misuse("--consistency: %v", err)
	}
	if level == consistency.Any {
		return Options{}, misuse("--consistency: nothing can be read at ANY")
	}
	o := Options{
		Hosts: c.Args().Slice(), Workloads: strings.Split(c.String("only"), ","), Driver: c.String("driver"), Version: wire.Version(c.Int("protocol")),
		Conns: c.Int("connections"), InFlight: c.IntSlice("in-flight"), Rate: c.Float64("rate"), Seconds: seconds(c.Float64("seconds")), Ops: c.Int64("ops"),
		Warm: seconds(c.Float64("warm")), Rows: c.Int64("rows"), Keys: c.String("keys"), Replication: c.Int("replication"), Consistency: level,
		Keyspace: c.String("keyspace"), Keep: c.Bool("keep"), Pids: c.IntSlice("pid"), Files: files,
	}
	if len(o.Pids) == 0 {
		o.Pids = nil
	}
	if !c.Bool("quiet") {
		o.Progress, o.Terminal = os.Stderr, isatty.IsTerminal(os.Stderr.Fd())
	}
	return o, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// runLoad is the command without a subcommand.
func runLoad(c *cli.Context, files fs.FS) error {
	if c.Bool("list") {
		return list(c.App.Writer)
	}
	o, err := optionsOf(c, files)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	r, err := Run(ctx, o)
	if errors.Is(err, ErrOptions) {
		return misuse("%v", err)
	}
	if r != nil && len(r.Results) > 0 {
		if c.Bool("json") {
			err = errors.Join(printJSON(c.App.Writer, r), err)
		} else {
			err = errors.Join(r.Print(c.App.Writer), err)
		}
	}
	return err
}

// interruptible ends with SIGINT or SIGTERM.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// list shows the workloads.
func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range Workloads {
		keys := ""
		if l.Keys != "" {
			keys = fmt.Sprintf("%d rows, %s keys", l.Rows, l.Keys)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Name, l.About, keys)
	}
	return w.Flush()
}
