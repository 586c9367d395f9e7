package bench

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"nodedb/node/storage"
)

// addressFlag is where nodes are started.
func addressFlag() cli.Flag {
	return &cli.StringFlag{Name: "addresses", Usage: "first three numbers of the nodes' addresses", Value: "127.0.0"}
}

// Defaults of compare.
const (
	defaultOwnWarm  = 10              // seconds of each workload: a compiled program has a heap and pools to fill, no code to make
	defaultPeerWarm = 180             // seconds of each workload: what a JVM needs
	eachWarm        = 2 * time.Second // right before a workload is measured, on both: its table is new
)

func compareCommand(files fs.FS) *cli.Command {
	// What compare says itself: where it runs, and what is warmed.
	own := []string{"warm", "pid", "keep", "list"}
	flags := slices.DeleteFunc(loadFlags(), func(f cli.Flag) bool { return slices.Contains(own, f.Names()[0]) })
	return &cli.Command{
		Name:  "compare",
		Usage: "the same load on nodedb and on a peer, one at a time, in both orders; one table of ratios",
		Description: "The peer's command takes start N, wipe, pids, copy and disk; SYNC in its environment is --peer-sync. node/bench/peer/cassandra in nodedb's\n" +
			"repository is one (it needs java 17, mvn, and python3 for cqlsh). Order: nodedb, peer, peer, nodedb. The workload load is each system's own: `nodedb load`, and what the\n" +
			"peer's command copy does. Where all workloads are over the flights, what they take on disk is compared, too. Exit status 1: something failed; what there is\n" +
			"is printed nonetheless.\n\n" +
			"A system that was started is warmed with each workload, 64 in flight, until it is steady: until its CPU time an operation, by windows of 10 s, has not got 5% less for four\n" +
			"windows. --warm and --own-warm are the most of that for each workload; what is below 50 s is too short to tell, and is used up. The output says how long each was warmed,\n" +
			"and whether it became steady. Then all are measured, each on a new table, once the system rests (it has flushed and compacted what it was given: less than 8% of a core for\n" +
			"9 s, 90 s at most), after 2 s of its load to fill the caches of both systems alike.\n\n" +
			"Example: nodedb bench compare --peer node/bench/peer/cassandra --only insert,read,a,b,c,d,e,f --seconds 4   (up to 50 minutes, most of them to warm the peer)\n" +
			"         nodedb bench compare --peer node/bench/peer/cassandra --nodes 3 --only insert,read --seconds 20 --half\n" +
			"         nodedb bench compare --peer node/bench/peer/cassandra --only insert,read --in-flight 1,4,16,64,256,1024 --seconds 3",
		OnUsageError: misused,
		Flags: append(flags, addressFlag(),
			&cli.StringFlag{Name: "peer", Usage: "`COMMAND` that starts and stops the peer"},
			&cli.IntFlag{Name: "nodes", Usage: "`N` nodes of each", Value: 1},
			&cli.StringFlag{Name: "sync", Usage: "nodedb's commitlog_sync: batch (synced before the answer) or periodic", Value: "batch"},
			&cli.StringFlag{Name: "peer-sync", Usage: "the peer's: periodic or batch", Value: "periodic"},
			&cli.Float64Flag{Name: "warm", Usage: "at most so many `SECONDS` of each workload on the peer before any is measured; 0: none", Value: defaultPeerWarm},
			&cli.BoolFlag{Name: "half", Usage: "then each workload at half of the rate that the peer reached, in an open loop: latencies at the same load"},
			&cli.Float64Flag{Name: "own-warm", Usage: "the same on nodedb, which is compiled already", Value: defaultOwnWarm},
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
	load.Warm, load.Settle = eachWarm, true
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	result, err := Compare(ctx, CompareOptions{
		Load: load, Binary: binary, Peer: c.String("peer"), Prefix: c.String("addresses"), Nodes: c.Int("nodes"), Sync: c.String("sync"),
		PeerSync: c.String("peer-sync"), Warm: seconds(c.Float64("own-warm")), PeerWarm: seconds(c.Float64("warm")), Half: c.Bool("half"),
	})
	switch {
	case errors.Is(err, ErrOptions):
		return misuse("%v", err)
	case result == nil:
		return err
	case c.Bool("json"):
		return errors.Join(printJSON(c.App.Writer, result), err)
	default:
		return errors.Join(result.Print(c.App.Writer), err)
	}
}

func limitsCommand(files fs.FS) *cli.Command {
	return &cli.Command{
		Name:         "limits",
		Usage:        "what this machine can do (raw Pebble, loopback, a CQL server that does nothing), and nodedb beside it",
		Description:  "Example: nodedb bench limits --seconds 5",
		OnUsageError: misused,
		Flags: []cli.Flag{
			addressFlag(), dataFlag(), jsonFlag(), quietFlag(),
			&cli.Float64Flag{Name: "seconds", Usage: "`SECONDS` for each figure", Value: 3},
			&cli.IntFlag{Name: "in-flight", Usage: "`N` CQL operations under way at once", Value: DefaultInFlight},
		},
		Action: func(c *cli.Context) error { return runLimits(c, files) },
	}
}

func runLimits(c *cli.Context, files fs.FS) error {
	storage.HugePages() // as a node does

	o := LimitOptions{Files: files, Prefix: c.String("addresses"), Dir: c.String("data"), Seconds: seconds(c.Float64("seconds")), InFlight: c.Int("in-flight")}
	return ownNodes(c, func(ctx context.Context, binary string, progress io.Writer) (any, func(io.Writer) error, error) {
		o.Binary, o.Progress = binary, progress
		limits, err := Limits(ctx, o)
		if len(limits) == 0 {
			return nil, nil, err
		}
		return limits, func(out io.Writer) error { return PrintLimits(out, limits) }, err
	})
}

func growthCommand() *cli.Command {
	return &cli.Command{
		Name:  "growth",
		Usage: "whether a request costs more as nodes, tables, tokens, partitions, a partition or its tombstones grow",
		Description: "Starts nodes for each size, and puts the same load on. A ratio of 1 says that the cost doesn't grow. All of it takes half an hour and 5 GB of disk;\n" +
			"--only and --most make it less.\n\nExample: nodedb bench growth --only tables,vnodes --seconds 5",
		OnUsageError: misused,
		Flags: []cli.Flag{
			addressFlag(), dataFlag(), jsonFlag(), quietFlag(),
			&cli.StringFlag{Name: "only", Usage: "`THINGS` that grow, joined by commas: " + strings.Join(DimensionNames(), ", ") + " (default: all)"},
			&cli.Int64Flag{Name: "most", Usage: "leave out sizes above `N`"},
			&cli.Float64Flag{Name: "seconds", Usage: "`SECONDS` for each figure", Value: 5},
			&cli.IntFlag{Name: "in-flight", Usage: "`N` operations under way at once", Value: DefaultInFlight},
		},
		Action: func(c *cli.Context) error {
			o := GrowthOptions{
				Prefix: c.String("addresses"), Dir: c.String("data"), Most: c.Int64("most"), Seconds: seconds(c.Float64("seconds")), InFlight: c.Int("in-flight"),
			}
			if c.IsSet("only") {
				o.Only = strings.Split(c.String("only"), ",")
			}
			return ownNodes(c, func(ctx context.Context, binary string, progress io.Writer) (any, func(io.Writer) error, error) {
				o.Binary, o.Progress = binary, progress
				list, err := MeasureGrowth(ctx, o)
				if err != nil && len(list) == 0 {
					return nil, nil, err
				}
				return list, func(out io.Writer) error { return PrintGrowth(out, list) }, err
			})
		},
	}
}

func volumeCommand() *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "fill a node: write amplification, then how soon it answers after a start, and what it costs while idle",
		Description: "Rows of 1 KB, in random order of their tokens. What goes to the disk is the node's own count (nodedb_storage_written_bytes): log, flushes and compactions.\n\n" +
			"Example: nodedb bench volume --gb 10",
		OnUsageError: misused,
		Flags: []cli.Flag{
			addressFlag(), dataFlag(), jsonFlag(), quietFlag(),
			&cli.Float64Flag{Name: "gb", Usage: "`GB` of rows to write, in 10^9 bytes", Value: 10},
			&cli.IntFlag{Name: "steps", Usage: "`N` figures on the way", Value: 10},
			&cli.IntFlag{Name: "in-flight", Usage: "`N` writes under way at once", Value: loadInFlight},
			&cli.Float64Flag{Name: "idle", Usage: "`SECONDS` to watch the node while nothing is asked of it", Value: 30},
			&cli.Float64Flag{Name: "quiet-for", Usage: "`SECONDS` without writes to the disk after which it has settled", Value: 10},
			&cli.StringFlag{Name: "sync", Usage: "commitlog_sync: batch or periodic", Value: "batch"},
		},
		Action: func(c *cli.Context) error {
			o := VolumeOptions{
				Prefix: c.String("addresses"), Dir: c.String("data"), Sync: c.String("sync"), Bytes: int64(c.Float64("gb") * 1e9), Steps: c.Int("steps"),
				InFlight: c.Int("in-flight"), Idle: seconds(c.Float64("idle")), Quiet: seconds(c.Float64("quiet-for")),
			}
			return ownNodes(c, func(ctx context.Context, binary string, progress io.Writer) (any, func(io.Writer) error, error) {
				o.Binary, o.Progress = binary, progress
				v, err := MeasureVolume(ctx, o)
				if v == nil {
					return nil, nil, err
				}
				return v, func(out io.Writer) error { return v.Print(out) }, err
			})
		},
	}
}

func dataFlag() cli.Flag {
	return &cli.StringFlag{Name: "data", Usage: "`DIR` to make stores in, and remove them (default: a temporary folder)"}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "for machines"} }

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Usage: "don't say what is being measured"}
}

// ownNodes runs a subcommand that starts nodes of its own, and prints what it gave, with an error too: what was measured before it took its time. print is nil
// where that is nothing.
func ownNodes(c *cli.Context, run func(ctx context.Context, binary string, progress io.Writer) (result any, print func(io.Writer) error, err error)) error {
	if c.Args().Present() {
		return misuse("%s starts its own nodes, and takes no arguments; got %q", c.Command.Name, c.Args().First())
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	var progress io.Writer
	if !c.Bool("quiet") {
		progress = os.Stderr
	}
	ctx, cancel := interruptible()
	defer cancel()
	result, print, err := run(ctx, binary, progress)
	switch {
	case errors.Is(err, ErrOptions):
		return misuse("%v", err)
	case print == nil:
		return err
	case c.Bool("json"):
		return errors.Join(err, printJSON(c.App.Writer, result))
	default:
		return errors.Join(err, print(c.App.Writer))
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
