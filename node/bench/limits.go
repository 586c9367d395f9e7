package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"nodedb/node/disk"
	"nodedb/node/storage"
)

// LimitOptions of Limits.
type LimitOptions struct {
	Binary   string // nodedb's
	Prefix   string // first three numbers of the addresses
	Dir      string // where stores are made and removed; "": a temporary folder
	Files    fs.FS  // the flights, that are scanned
	Seconds  time.Duration
	InFlight int
	Progress io.Writer
	rows     int64 // that reads find; 0: the workload's own number
}

// Limit is what this machine can do, and what nodedb does of it.
type Limit struct {
	Name   string       `json:"name"`
	Bound  string       `json:"bound"` // what the limit is
	Limit  storage.Cost `json:"limit"`
	Nodedb storage.Cost `json:"nodedb"`
	Wanted float64      `json:"wanted,omitempty"` // the limit's CPU time an operation as a share of nodedb's; 0: nothing is
}

// Limits measures, one after the other and each by turns where it can: raw Pebble against the storage engine, bytes over loopback against node/rpc, and a
// whole node over CQL against raw Pebble, against a CQL server that does nothing, and against itself with periodic syncs. Each figure goes to Progress as it
// comes; with an error, those that were measured before it are given.
func Limits(ctx context.Context, o LimitOptions) (limits []Limit, err error) {
	if o.Seconds <= 0 || o.InFlight < 1 || o.InFlight > MaxInFlight {
		return nil, fmt.Errorf("%w: want some seconds, and 1 to %d in flight", ErrOptions, MaxInFlight)
	}
	dir, err := os.MkdirTemp(o.Dir, "nodedb-limits-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	say := func(what string) {
		if o.Progress != nil {
			fmt.Fprintln(o.Progress, what)
		}
	}
	say("measuring raw Pebble and the storage engine")
	stores, err := storage.MeasureLimits(ctx, disk.Real(), dir, o.Seconds)
	if err != nil {
		return nil, err
	}
	add := func(more ...Limit) {
		limits = append(limits, more...)
		for _, l := range more {
			say(fmt.Sprintf("%s: %.2f µs, and %s: %.2f", l.Name, l.Nodedb.CPU, l.Bound, l.Limit.CPU))
		}
	}
	for _, l := range stores {
		add(Limit{"storage: " + l.Name, "raw Pebble", l.Raw, l.Engine, 0})
	}
	say("measuring loopback and node/rpc")
	for _, window := range []int{1, 64, 256} {
		l, err := measureRPC(ctx, o.Prefix, window, o.Seconds)
		if err != nil {
			return limits, err
		}
		add(l)
	}
	say("measuring a CQL server that does nothing, and a node")
	whole, err := measureWhole(ctx, &o, stores)
	if add(whole...); err != nil || o.Files == nil {
		return limits, err
	}
	say("measuring scans of all flights, from disk to frame")
	scans, err := measureScans(ctx, &o)
	add(scans...)
	return limits, err
}

// Which of the storage limits a whole node is compared with.
const (
	storageSynced64 = 2
	storagePeriodic = 4
	storageRead     = 5
)

// measureWhole runs insert and read over CQL on a null server and on nodes that sync before they answer, and periodically.
func measureWhole(ctx context.Context, o *LimitOptions, stores []storage.Limit) ([]Limit, error) {
	if len(stores) <= storageRead {
		return nil, fmt.Errorf("%d storage limits", len(stores))
	}
	null, err := measureSystem(ctx, o, &nullSystem{binary: o.Binary, addr: o.Prefix + ".1:9042"}, "insert")
	if err != nil {
		return nil, err
	}
	synced, err := measureSystem(ctx, o, &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: "batch"}, "insert", "read")
	if err != nil {
		return nil, err
	}
	periodic, err := measureSystem(ctx, o, &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: "periodic"}, "insert")
	if err != nil {
		return nil, err
	}
	in := fmt.Sprintf(", %d in flight", o.InFlight)
	return []Limit{
		{"CQL: insert 100 B, synced" + in, "raw Pebble, synced, 64 waiting", stores[storageSynced64].Raw, synced[0], wholeWanted},
		{"CQL: insert 100 B, synced every 10 s" + in, "raw Pebble, synced every 10 ms", stores[storagePeriodic].Raw, periodic[0], wholeWanted},
		{"CQL: insert 100 B, synced" + in, "nodedb, synced every 10 s", periodic[0], synced[0], wholeWanted},
		{"CQL: insert 100 B, synced" + in, "null CQL server", null[0], synced[0], 0},
		{"CQL: insert 100 B, synced" + in, "null CQL server + raw Pebble", after(null[0], stores[storageSynced64].Raw), synced[0], 0},
		{"CQL: read one row" + in, "null CQL server + Pebble Get", after(null[0], stores[storageRead].Raw), synced[1], wholeWanted},
	}, nil
}

// What is wanted: a share of the limit of a whole node, and rows of a scan, from storage to frame, in a second of one core.
const (
	wholeWanted = 0.6
	scanWanted  = 5_000_000
)

// measureScans reads all flights from the tables of a node that was stopped and started, so that no row is in memory alone. An operation is a row.
func measureScans(ctx context.Context, o *LimitOptions) (limits []Limit, err error) {
	s := &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: "batch"}
	defer func() { err = errors.Join(err, s.wipe()) }()
	hosts, pids, err := s.start(ctx, 1)
	if err != nil {
		return nil, err
	}
	run := Options{Hosts: hosts, Pids: pids, Files: o.Files, Seconds: o.Seconds, Warm: min(2*o.Seconds, maxLimitWarm), Workloads: []string{"load"}}
	loaded, err := Run(ctx, run)
	if err != nil {
		return nil, err
	}
	if run.Pids, err = s.restart(ctx); err != nil {
		return nil, err
	}
	run.Workloads, run.Keep = []string{"count", "paged"}, true
	r, err := Run(ctx, run)
	if err != nil {
		return nil, err
	}
	rows := float64(loaded.Results[0].Ops)
	for i, name := range []string{"CQL: count(*), a row", "CQL: two columns of all rows, a row"} {
		res := &r.Results[i]
		limits = append(limits, Limit{name, "5M rows/s a core", storage.Cost{PerSecond: scanWanted, CPU: 1e6 / scanWanted},
			storage.Cost{PerSecond: res.OpsPerSec * rows, CPU: res.ServerCPU / rows}, 1})
	}
	return limits, nil
}

// after is one thing done after the other, by as many.
func after(a, b storage.Cost) storage.Cost {
	return storage.Cost{PerSecond: 1 / (1/a.PerSecond + 1/b.PerSecond), CPU: a.CPU + b.CPU}
}

// measureSystem starts one node, runs workloads over CQL, and throws it away. CPU is the server process's.
func measureSystem(ctx context.Context, o *LimitOptions, s server, workloads ...string) (costs []storage.Cost, err error) {
	defer func() { err = errors.Join(err, s.wipe()) }()
	hosts, pids, err := s.start(ctx, 1)
	if err != nil {
		return nil, err
	}
	r, err := Run(ctx, Options{
		Hosts: hosts, Pids: pids, Workloads: workloads, InFlight: []int{o.InFlight}, Seconds: o.Seconds, Warm: min(2*o.Seconds, maxLimitWarm), Rows: o.rows,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	for _, res := range r.Results {
		costs = append(costs, storage.Cost{PerSecond: res.OpsPerSec, CPU: res.ServerCPU})
	}
	return costs, nil
}

// maxLimitWarm is enough to read most of the rows once: the limit that reads are held against is that of warm ones.
const maxLimitWarm = 6 * time.Second

// nullSystem is the CQL server that does nothing, in a process of its own.
type nullSystem struct {
	binary, addr string
	cmd          *exec.Cmd
}

func (s *nullSystem) name() string { return "null CQL server" }

func (s *nullSystem) start(ctx context.Context, _ int) (hosts []string, pids []int, err error) {
	s.cmd = exec.CommandContext(ctx, s.binary, "bench", "null", "--listen", s.addr)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, nil, err
	}
	tick := time.NewTicker(nullPoll)
	defer tick.Stop()
	for range nullTimeout / nullPoll {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			return []string{s.addr}, []int{s.cmd.Process.Pid}, c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	return nil, nil, fmt.Errorf("the null CQL server does not answer on %s after %s", s.addr, nullTimeout)
}

// How long the null server may take to listen, and how often it is looked for.
const (
	nullTimeout = 10 * time.Second
	nullPoll    = 10 * time.Millisecond
)

func (s *nullSystem) wipe() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // ended by us
	return err
}

// PrintLimits writes the table. What is wanted is judged by CPU: the client takes its share of the cores, and a rate says how much that was.
func PrintLimits(out io.Writer, limits []Limit) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tthe limit\tlimit ops/s\tµs CPU\tnodedb ops/s\tµs CPU\tof its rate\tof its CPU\twanted of its CPU\t")
	for _, l := range limits {
		wanted := "\t"
		if l.Wanted > 0 {
			wanted = fmt.Sprintf(">= %.0f%%\t%s", 100*l.Wanted, metOrShort(ratio(l.Limit.CPU, l.Nodedb.CPU) >= l.Wanted))
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%.0f\t%.2f\t%s\t%s\t%s\n", l.Name, l.Bound, l.Limit.PerSecond, l.Limit.CPU, l.Nodedb.PerSecond, l.Nodedb.CPU,
			share(l.Nodedb.PerSecond, l.Limit.PerSecond), share(l.Limit.CPU, l.Nodedb.CPU), wanted)
	}
	return w.Flush()
}

func metOrShort(met bool) string {
	if met {
		return "met"
	}
	return "SHORT"
}

func share(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return strconv.FormatFloat(100*part/whole, 'f', 0, 64) + "%"
}
