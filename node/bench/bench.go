// Package bench puts load on a cluster over CQL, nodedb's or Cassandra's alike, and says what it cost: operations a second, latencies, and the CPU
// time of the server's processes. Every value that it writes derives from its row's key, so every read is checked. It may import everything
// below it. Start reading at Run, then workload.go for what is run and worker.go for how.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// Errors of Run; what it returns wraps one of them, or the context's.
var (
	ErrOptions = errors.New("bench: invalid option")
	ErrServer  = errors.New("bench: the server")
	ErrWrong   = errors.New("bench: a read gave what was not written")
)

// Bounds and defaults.
const (
	DefaultKeyspace = "nodedb_bench"
	DefaultInFlight = 64
	DefaultSeconds  = 10 * time.Second
	MaxConns        = 1024
	MaxInFlight     = 1 << 15 // of all connections together
	MaxRows         = 1 << 40
	MaxRate         = 10_000_000       // operations a second
	schemaTimeout   = 60 * time.Second // of one statement that makes or drops a table
	requestTimeout  = 30 * time.Second // of one request
	loadInFlight    = 256              // while rows are written that are not measured
)

// Options of Run. Zero values take the defaults.
type Options struct {
	Hosts       []string // HOST or HOST:PORT; connections take turns
	Workloads   []string // names, in this order
	Driver      string   // lean (default) or gocql
	Version     wire.Version
	Conns       int     // connections of all hosts together; default one a host
	InFlight    []int   // operations under way at once, of all connections together; each workload is measured with each; default 64
	Rate        float64 // operations a second; 0: closed loop, the next as soon as one ends
	Seconds     time.Duration
	Ops         int64             // end after so many operations, if that is earlier; 0: no such end
	Warm        time.Duration     // of the same load, before anything is measured
	Settle      bool              // before each measurement, and its warming, wait until the server is at rest
	Rows        int64             // rows to write before; 0: the workload's own number
	Keys        string            // uniform, zipfian or latest; "": the workload's own
	Replication int               // factor; default 3, or the number of hosts if that is less
	Consistency consistency.Level // default QUORUM; never ANY, at which nothing can be read
	Keyspace    string
	Keep        bool   // read the rows of an earlier run: make no tables, write no rows before
	Files       fs.FS  // the flights, for the workloads that read them
	Copy        copier // what the workload load does instead of `nodedb load`; nil: that
	Pids        []int  // of the server's processes; nil: those of this machine that listen on Hosts
	Progress    io.Writer
	Terminal    bool // Progress is one: the line is rewritten in place
}

// Report is what a run gave, one result a workload and number in flight.
type Report struct {
	Driver      string   `json:"driver"`
	Protocol    int      `json:"protocol"`
	Hosts       []string `json:"hosts"`
	Conns       int      `json:"connections"`
	Rate        float64  `json:"rate,omitempty"`
	Replication int      `json:"replication"`
	Consistency string   `json:"consistency"`
	Pids        []int    `json:"pids,omitempty"`
	Results     []Result `json:"results"`
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"127.0.0.1"}
	}
	o.Hosts = slices.Clone(o.Hosts)
	for i, h := range o.Hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			o.Hosts[i] = net.JoinHostPort(h, wire.DefaultPort)
		}
	}
	if o.Driver == "" {
		o.Driver = driverLean
	}
	if o.Version == 0 {
		o.Version = wire.V4
	}
	if o.Conns == 0 {
		o.Conns = len(o.Hosts)
	}
	if len(o.InFlight) == 0 {
		o.InFlight = []int{max(DefaultInFlight, o.Conns)}
	}
	if o.Seconds == 0 {
		o.Seconds = DefaultSeconds
	}
	if o.Replication == 0 {
		o.Replication = min(3, len(o.Hosts))
	}
	if o.Consistency == 0 {
		o.Consistency = consistency.Quorum
	}
	if o.Keyspace == "" {
		o.Keyspace = DefaultKeyspace
	}
	return o, o.check()
}

// check refuses what can't be run, with what would be.
func (o *Options) check() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...)
	}
	switch {
	case !slices.Contains(drivers, o.Driver):
		return refuse("no driver %q: want one of %s", o.Driver, strings.Join(drivers, ", "))
	case o.Version < wire.MinVersion || o.Version > wire.MaxVersion:
		return refuse("no protocol v%d: want 4 or 5", o.Version)
	case o.Conns < 1 || o.Conns > MaxConns:
		return refuse("%d connections: want 1 to %d", o.Conns, MaxConns)
	case slices.Min(o.InFlight) < 1 || slices.Max(o.InFlight) > MaxInFlight:
		return refuse("%v in flight: want 1 to %d", o.InFlight, MaxInFlight)
	case o.Rate < 0 || o.Seconds < 0 || o.Warm < 0 || o.Ops < 0:
		return refuse("rate, seconds, warm and ops can't be negative")
	case o.Rate > MaxRate:
		return refuse("%.0f operations a second: at most %d", o.Rate, MaxRate)
	case o.Rows < 0 || o.Rows > MaxRows:
		return refuse("%d rows: want 1 to %d", o.Rows, int64(MaxRows))
	case o.Keys != "" && !slices.Contains(distributions, o.Keys):
		return refuse("no distribution of keys %q: want one of %s", o.Keys, strings.Join(distributions, ", "))
	case o.Replication < 1:
		return refuse("replication factor %d", o.Replication)
	case strings.ContainsAny(o.Keyspace, `"'; `):
		return refuse("no name of a keyspace: %q", o.Keyspace)
	}
	return nil
}

// workloads finds those that are named.
func (o *Options) workloads() (list []*Workload, err error) {
	if len(o.Workloads) == 0 {
		return nil, fmt.Errorf("%w: no workload named: want some of %s", ErrOptions, strings.Join(Names(), ", "))
	}
	for _, name := range o.Workloads {
		w, err := find(name)
		if err != nil {
			return nil, err
		}
		if w.Table.fill != nil && o.Files == nil {
			return nil, fmt.Errorf("%w: %s: no files of flights", ErrOptions, name)
		}
		list = append(list, w)
	}
	return list, nil
}

// Run runs workloads one after the other, each on a table of its own: makes it, writes its rows, warms, measures. One that failed
// doesn't keep the others from running; the report holds the results when the error is not nil, too.
func Run(ctx context.Context, o Options) (*Report, error) {
	list, err := o.workloads()
	if err != nil {
		return nil, err
	}
	return runList(ctx, o, list)
}

// runList is Run of workloads that need not have a name in Workloads.
func runList(ctx context.Context, o Options, list []*Workload) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Pids == nil {
		o.Pids = listeners(o.Hosts)
	}
	r := &Report{
		Driver: o.Driver, Protocol: int(o.Version), Hosts: o.Hosts, Conns: o.Conns, Rate: o.Rate,
		Replication: o.Replication, Consistency: o.Consistency.String(), Pids: o.Pids, Results: []Result{},
	}
	admin, err := wire.Dial(ctx, o.Hosts[0], wire.ClientOptions{Version: o.Version, Timeout: schemaTimeout})
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrServer, err)
	}
	defer admin.Close()
	var errs []error
	var have *Table // with the rows of a file, which no workload changes
	for _, w := range list {
		results, err := runOne(ctx, &o, admin, w, have)
		r.Results = append(r.Results, results...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", w.Name, err))
			if ctx.Err() != nil || !(errors.Is(err, ErrServer) || errors.Is(err, ErrWrong)) {
				break
			}
		}
		if have = nil; w.Table.fill != nil && err == nil {
			have = w.Table
		}
	}
	return r, errors.Join(errs...)
}

// runOne makes a workload's table, unless it is the one that there is already, and runs it.
func runOne(ctx context.Context, o *Options, admin *wire.Client, w *Workload, have *Table) ([]Result, error) {
	isLoad := len(w.Mix) == 0
	if isLoad || (!o.Keep && w.Table != have) {
		if err := makeTable(ctx, o, admin, w.Table); err != nil {
			return nil, err
		}
		if isLoad {
			return measureLoad(ctx, o, w)
		}
		if w.Table.fill != nil {
			if _, err := w.Table.fill(ctx, o); err != nil {
				return nil, err
			}
		}
	}
	r := &run{o: o, w: w, rows: w.Rows, meter: meter{pids: o.Pids}, pause: pause}
	var err error
	if w.Table.fill != nil {
		if r.flights, err = sumFlights(o.Files); err != nil {
			return nil, err
		}
	} else if o.Rows > 0 {
		r.rows = o.Rows
	}
	if per := w.Table.perPartition; per > 0 { // whole partitions: what reads of them expect
		r.rows = (r.rows + per - 1) / per * per
	}
	if r.sessions, err = connect(ctx, o, w.Table.statements(o.Keyspace)); err != nil {
		return nil, err
	}
	defer closeAll(r.sessions)
	return r.all(ctx)
}

// makeTable makes the keyspace, and an empty table.
func makeTable(ctx context.Context, o *Options, admin *wire.Client, t *Table) error {
	for _, cql := range []string{
		fmt.Sprintf(`CREATE KEYSPACE IF NOT EXISTS "%s" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': %d}`, o.Keyspace, o.Replication),
		fmt.Sprintf(`DROP TABLE IF EXISTS "%s".%s`, o.Keyspace, t.Name),
		t.create(o.Keyspace),
	} {
		if _, err := admin.Query(ctx, cql, nil); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrServer, cql, err)
		}
	}
	return awaitAgreement(ctx, admin)
}

// agreementPoll is how often the nodes' schemas are looked at.
const agreementPoll = 50 * time.Millisecond

// awaitAgreement waits until all nodes have the same schema, as drivers do: a peer's other nodes refuse writes to a table that they haven't heard of.
func awaitAgreement(ctx context.Context, admin *wire.Client) error {
	ctx, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	tick := time.NewTicker(agreementPoll)
	defer tick.Stop()
	for {
		versions := map[string]bool{}
		for _, table := range []string{"local", "peers"} {
			res, err := admin.Query(ctx, "SELECT schema_version FROM system."+table, nil)
			if err != nil {
				return fmt.Errorf("%w: system.%s: %w", ErrServer, table, err)
			}
			for res.Next() {
				versions[string(res.Row()[0])] = true
			}
			if err := res.Err(); err != nil {
				return fmt.Errorf("%w: system.%s: %w", ErrServer, table, err)
			}
		}
		if len(versions) <= 1 { // none: a server that answers nothing
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the nodes have %d schemas after %s: %w", ErrServer, len(versions), schemaTimeout, ctx.Err())
		case <-tick.C:
		}
	}
}
