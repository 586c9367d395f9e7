package bench

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
)

// addressFlag is where nodes are started.
func addressFlag() cli.Flag {
	return &cli.StringFlag{Name: "addresses", Usage: "first three numbers of the nodes' addresses", Value: "127.0.0"}
}

// Defaults of compare.
const (
	defaultOwnWarm  = 10              // seconds
	defaultPeerWarm = 180             // seconds: what a JVM needs
	eachWarm        = 2 * time.Second // before each workload: its table is new
)

func compareCommand(files fs.FS) *cli.Command {
	// What compare says itself: where it runs, and what is warmed.
	own := []string{"warm", "pid", "keep", "list"}
	flags := slices.DeleteFunc(loadFlags(), func(f cli.Flag) bool { return slices.Contains(own, f.Names()[0]) })
	return &cli.Command{
		Name:  "compare",
		Usage: "the same load on nodedb and on a peer, one at a time, in both orders; one table of ratios",
		Description: "The peer's command takes start N, wipe and pids; SYNC in its environment is --peer-sync. node/bench/peer/cassandra in nodedb's repository is\n" +
			"one (it needs java 17 and mvn). Order: nodedb, peer, peer, nodedb.\n\n" +
			"Example: nodedb bench compare --peer node/bench/peer/cassandra --nodes 3 --only insert,read --seconds 20",
		OnUsageError: misused,
		Flags: append(flags, addressFlag(),
			&cli.StringFlag{Name: "peer", Usage: "`COMMAND` that starts and stops the peer"},
			&cli.IntFlag{Name: "nodes", Usage: "`N` nodes of each", Value: 1},
			&cli.StringFlag{Name: "sync", Usage: "nodedb's commitlog_sync: batch (synced before the answer) or periodic", Value: "batch"},
			&cli.StringFlag{Name: "peer-sync", Usage: "the peer's: periodic or batch", Value: "periodic"},
			&cli.Float64Flag{Name: "warm", Usage: "`SECONDS` of load on the peer before it is measured", Value: defaultPeerWarm},
			&cli.Float64Flag{Name: "own-warm", Usage: "`SECONDS` of load on nodedb before it is measured", Value: defaultOwnWarm},
		),
		Action: func(c *cli.Context) error { return runCompare(c, files) },
	}
}

func runCompare(c *cli.Context, files fs.FS) error {
	if c.Args().Present() {
		return misuse("compare starts its own nodes, and takes no HOST; got %q", c.Args().First())
	}
	if c.String("peer") == "" {
		return misuse("compare: say with what: --peer COMMAND; see nodedb bench compare --help")
	}
	for _, name := range []string{"sync", "peer-sync"} {
		if s := c.String(name); s != "batch" && s != "periodic" {
			return misuse("--%s: want batch or periodic, got %q", name, s)
		}
	}
	load, err := optionsOf(c, files)
	if err != nil {
		return err
	}
	load.Warm = eachWarm
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	result, err := Compare(ctx, CompareOptions{
		Load: load, Binary: binary, Peer: c.String("peer"), Prefix: c.String("addresses"), Nodes: c.Int("nodes"), Sync: c.String("sync"),
		PeerSync: c.String("peer-sync"), Warm: seconds(c.Float64("own-warm")), PeerWarm: seconds(c.Float64("warm")),
	})
	switch {
	case errors.Is(err, ErrOptions):
		return misuse("%v", err)
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c.App.Writer, result)
	default:
		return result.Print(c.App.Writer)
	}
}

func limitsCommand() *cli.Command {
	return &cli.Command{
		Name:         "limits",
		Usage:        "what this machine can do (raw Pebble, loopback, a CQL server that does nothing), and nodedb beside it",
		Description:  "Example: nodedb bench limits --seconds 5",
		OnUsageError: misused,
		Flags: []cli.Flag{
			addressFlag(),
			&cli.Float64Flag{Name: "seconds", Usage: "`SECONDS` for each figure", Value: 3},
			&cli.IntFlag{Name: "in-flight", Usage: "`N` CQL operations under way at once", Value: DefaultInFlight},
			&cli.StringFlag{Name: "data", Usage: "`DIR` to make stores in, and remove them (default: a temporary folder)"},
			&cli.BoolFlag{Name: "json", Usage: "for machines"},
			&cli.BoolFlag{Name: "quiet", Usage: "don't say what is being measured"},
		},
		Action: runLimits,
	}
}

func runLimits(c *cli.Context) error {
	if c.Args().Present() {
		return misuse("limits takes no arguments, got %q", c.Args().First())
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	o := LimitOptions{
		Binary: binary, Prefix: c.String("addresses"), Dir: c.String("data"), Seconds: seconds(c.Float64("seconds")), InFlight: c.Int("in-flight"),
	}
	if !c.Bool("quiet") {
		o.Progress = os.Stderr
	}
	ctx, cancel := interruptible()
	defer cancel()
	limits, err := Limits(ctx, o)
	switch {
	case errors.Is(err, ErrOptions):
		return misuse("%v", err)
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c.App.Writer, limits)
	default:
		return PrintLimits(c.App.Writer, limits)
	}
}

func nullCommand() *cli.Command {
	return &cli.Command{
		Name:         "null",
		Usage:        "a CQL server that answers VOID to everything: what a client and the protocol cost",
		Description:  "Example: nodedb bench null --listen 127.0.0.9:9042, and then nodedb bench 127.0.0.9 --only insert",
		OnUsageError: misused,
		Flags:        []cli.Flag{&cli.StringFlag{Name: "listen", Usage: "`HOST:PORT`", Value: "127.0.0.1:9042"}},
		Action: func(c *cli.Context) error {
			ctx, cancel := interruptible()
			defer cancel()
			return ServeNull(ctx, c.String("listen"))
		},
	}
}
