package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"nodedb/query/wire"
)

// GrowthOptions of MeasureGrowth.
type GrowthOptions struct {
	Binary   string // nodedb's
	Prefix   string // first three numbers of the nodes' addresses
	Dir      string // where their data lies, for as long as it takes; "": a temporary folder
	Only     []string
	Most     int64 // no size above it; 0: as they are
	Seconds  time.Duration
	InFlight int
	Progress io.Writer
}

// Growth is what one kind of request cost at one size of one thing that may grow.
type Growth struct {
	Dimension string  `json:"dimension"`
	Size      int64   `json:"size"`
	Workload  string  `json:"workload"`
	OpsPerSec float64 `json:"ops_per_second"`
	ServerCPU float64 `json:"server_cpu_us_per_op"`
	P99       int64   `json:"p99_us"`
	RSS       int64   `json:"resident_bytes"`
	// Ratio is its CPU an operation by that at the dimension's first size: 1 where the cost doesn't grow.
	Ratio float64 `json:"cpu_ratio"`
}

// dimension is something that grows, and what should not cost more for it.
type dimension struct {
	name, about string
	sizes       []int64
	list        func(size int64) []*Workload
	nodes       func(size int64) int               // nil: one
	flags       func(size int64) map[string]string // of start
	before      func(ctx context.Context, admin *wire.Client, size int64) error
}

const (
	deepRows  = 1_000_000 // of all partitions together, whatever the size of one
	graveRows = 100       // that live, behind the deleted ones
	smallRows = 100_000
)

var dimensions = []dimension{
	{name: "nodes", about: "nodes, of which three hold each row, at QUORUM; CPU of all", sizes: []int64{3, 6}, list: pointLoads, nodes: func(n int64) int { return int(n) }},
	{name: "tables", about: "tables of the cluster", sizes: []int64{1, 1000}, list: pointLoads, before: crowd},
	{name: "vnodes", about: "tokens of a node", sizes: []int64{16, 256}, list: func(int64) []*Workload {
		return append(pointLoads(0), named("e", smallRows))
	}, flags: func(n int64) map[string]string { return map[string]string{"num-tokens": strconv.FormatInt(n, 10)} }},
	{name: "partitions", about: "partitions on disk", sizes: []int64{smallRows, 10_000_000}, list: func(n int64) []*Workload { return []*Workload{named("read", n)} }},
	{name: "partition", about: "rows of a partition, a million rows in all", sizes: []int64{100, 10_000, deepRows}, list: deepLoads},
	{name: "tombstones", about: "deleted rows before the first live one; an operation is a page", sizes: []int64{0, 10_000, 100_000, 1_000_000}, list: graveLoads},
}

// named is a workload with so many rows.
func named(name string, rows int64) *Workload {
	w, err := find(name)
	if err != nil {
		panic(err)
	}
	c := *w
	c.Rows = rows
	return &c
}

func pointLoads(int64) []*Workload { return []*Workload{named("insert", 0), named("read", smallRows)} }

// deepLoads read in partitions of so many rows: a row, and a slice.
func deepLoads(size int64) []*Workload {
	t := partitioned("deep", size)
	list := []*Workload{{Name: "row of a partition", Table: t, Rows: deepRows, Keys: uniform, Mix: []Share{{100, read}}}}
	if size >= sliceRows {
		list = append(list, &Workload{Name: "slice of 100 rows", Table: t, Rows: deepRows, Keys: uniform, Mix: []Share{{100, slice}}})
	}
	return list
}

// graveLoads ask for the first page of a partition whose first rows are deleted.
func graveLoads(size int64) []*Workload {
	bury := &kind{"bury", func(o *op) {
		o.row = o.w.run.space.next.Add(1) - 1
		if o.row >= size {
			o.call.statement = insertRow
			o.addRow(o.row)
			return
		}
		o.call.statement = updateField
		o.call.values = append(o.call.values, nil) // a null is a tombstone
		o.addKey(o.row, 2)
	}, insert.step}
	return []*Workload{{
		Name: "page", Table: partitioned("graves", size+graveRows), Rows: size + graveRows, Keys: uniform, Mix: []Share{{100, firstPage}}, InFlight: 1, Write: bury,
	}}
}

// firstPage asks for the first page of a partition; it may be short, or empty, and says that there is more.
var firstPage = &kind{"page", func(o *op) {
	o.row = 0
	o.call.statement, o.call.pageSize = readPartition, graveRows
	o.addKey(0, 1)
}, func(o *op, a answer) (bool, error) {
	got := 0
	for ; a.Next(); got++ {
		if err := o.checkRow(a.Row()); err != nil {
			return false, err
		}
	}
	if err := a.Err(); err != nil {
		return false, err
	}
	if got < graveRows && o.call.pageState == nil {
		return false, fmt.Errorf("%w: the partition ends after %d rows, want %d", ErrWrong, got, graveRows)
	}
	return false, nil
}}

// crowd makes tables that nobody uses.
func crowd(ctx context.Context, admin *wire.Client, size int64) error {
	cql := []string{`CREATE KEYSPACE crowd WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`}
	for i := range size - 1 {
		cql = append(cql, fmt.Sprintf(`CREATE TABLE crowd.t%d (k text PRIMARY KEY, v text)`, i))
	}
	for _, s := range cql {
		if _, err := admin.Query(ctx, s, nil); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrServer, s, err)
		}
	}
	return nil
}

// MeasureGrowth measures requests at each size of each dimension, on nodes of their own.
func MeasureGrowth(ctx context.Context, o GrowthOptions) (list []Growth, err error) {
	if o.Seconds <= 0 || o.InFlight < 1 || o.InFlight > MaxInFlight {
		return nil, fmt.Errorf("%w: want some seconds, and 1 to %d in flight", ErrOptions, MaxInFlight)
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(dimensions, func(d dimension) bool { return d.name == name }) {
			return nil, fmt.Errorf("%w: nothing called %q grows: want some of %s", ErrOptions, name, strings.Join(DimensionNames(), ", "))
		}
	}
	for i := range dimensions {
		d := &dimensions[i]
		if len(o.Only) > 0 && !slices.Contains(o.Only, d.name) {
			continue
		}
		first := map[string]float64{}
		for _, size := range d.sizes {
			if o.Most > 0 && size > o.Most {
				continue
			}
			results, err := d.measure(ctx, &o, size)
			if err != nil {
				return list, fmt.Errorf("%d %s: %w", size, d.name, err)
			}
			for _, r := range results {
				if _, ok := first[r.Workload]; !ok {
					first[r.Workload] = r.ServerCPU
				}
				list = append(list, Growth{d.name, size, r.Workload, r.OpsPerSec, r.ServerCPU, r.Latency.P99, r.ServerRSS, ratio(r.ServerCPU, first[r.Workload])})
			}
		}
	}
	return list, nil
}

// DimensionNames are what may grow.
func DimensionNames() (names []string) {
	for _, d := range dimensions {
		names = append(names, d.name)
	}
	return names
}

// measure starts nodes, measures at one size, and throws them away.
func (d *dimension) measure(ctx context.Context, o *GrowthOptions, size int64) (results []Result, err error) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, "measuring with %d %s\n", size, d.name)
	}
	s := &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: "batch", parent: o.Dir}
	if d.flags != nil {
		s.flags = d.flags(size)
	}
	n := 1
	if d.nodes != nil {
		n = d.nodes(size)
	}
	defer func() { err = errors.Join(err, s.wipe()) }()
	hosts, pids, err := s.start(ctx, n)
	if err != nil {
		return nil, err
	}
	if d.before != nil {
		admin, err := wire.Dial(ctx, hosts[0], wire.ClientOptions{Timeout: schemaTimeout})
		if err != nil {
			return nil, err
		}
		err = d.before(ctx, admin, size)
		if err = errors.Join(err, admin.Close()); err != nil {
			return nil, err
		}
	}
	r, err := runList(ctx, Options{Hosts: hosts, Pids: pids, InFlight: []int{o.InFlight}, Seconds: o.Seconds, Warm: min(o.Seconds, maxLimitWarm)}, d.list(size))
	if err != nil {
		return nil, err
	}
	return r.Results, nil
}

// PrintGrowth writes the table.
func PrintGrowth(out io.Writer, list []Growth) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what grows\tsize\toperation\tops/s\tserver µs/op\tof the first size\tp99 ms\tresident MB\t")
	for _, g := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%.1f\t%.2f\t%.2f\t%d\t\n", g.Dimension, g.Size, g.Workload, rate(g.OpsPerSec), g.ServerCPU, g.Ratio, millis(g.P99), g.RSS>>20)
	}
	return w.Flush()
}
