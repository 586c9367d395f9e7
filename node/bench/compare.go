package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"nodedb/coordinator/consistency"
)

// CompareOptions of Compare.
type CompareOptions struct {
	Load     Options // what is run: workloads, seconds, in flight, driver, …; hosts and processes are the systems' own
	Binary   string  // nodedb's
	Peer     string  // command that starts the peer: see peerSystem
	Prefix   string  // first three numbers of the nodes' addresses
	Nodes    int
	Sync     string        // nodedb's commitlog_sync: batch or periodic
	PeerSync string        // SYNC of the peer's command
	Warm     time.Duration // of load on nodedb, after it started
	PeerWarm time.Duration // and on the peer: a JVM that has not compiled yet is four times slower
}

// Comparison is what Compare gave: each system's passes, in the order in which they ran.
type Comparison struct {
	Nodes    int    `json:"nodes"`
	Sync     string `json:"nodedb_sync"`
	PeerSync string `json:"peer_sync"`
	Passes   []Pass `json:"passes"`
	Rows     []Row  `json:"rows"`
}

// Pass is one run of all workloads against one system.
type Pass struct {
	System string `json:"system"`
	*Report
}

// Row is one workload with so many in flight: each side's mean of its passes, and the ratios.
type Row struct {
	Workload string  `json:"workload"`
	InFlight int     `json:"in_flight"`
	Own      Side    `json:"nodedb"`
	Peer     Side    `json:"peer"`
	CPU      float64 `json:"cpu_ratio"` // nodedb's CPU time an operation, divided by the peer's: less is better
	Ops      float64 `json:"ops_ratio"` // operations a second, likewise: more is better
	P99      float64 `json:"p99_ratio"` // less is better
	RSS      float64 `json:"rss_ratio"` // less is better
	Swing    float64 `json:"ops_swing"` // the largest difference between two passes of one system, as a share: how much to trust the row
}

// Side is a mean of passes.
type Side struct {
	OpsPerSec float64 `json:"ops_per_second"`
	CPU       float64 `json:"cpu_us_per_op"`
	P99       float64 `json:"p99_us"`
	RSS       float64 `json:"resident_bytes"`
}

// Compare runs the same load on nodedb and on a peer, one at a time, in both orders: nodedb, peer, peer, nodedb. The peer stays up, and warm, between its two passes.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes: want 1 to %d", ErrOptions, o.Nodes, maxNodes)
	}
	if o.Peer == "" {
		return nil, fmt.Errorf("%w: no command of a peer", ErrOptions)
	}
	if _, err := o.Load.withDefaults(); err != nil {
		return nil, err
	}
	if _, err := o.Load.workloads(); err != nil {
		return nil, err
	}
	own := &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: o.Sync}
	peer := &peerSystem{command: o.Peer, prefix: o.Prefix, sync: o.PeerSync}
	c := &Comparison{Nodes: o.Nodes, Sync: o.Sync, PeerSync: o.PeerSync}
	for _, turn := range []struct {
		s      system
		warm   time.Duration
		passes int
	}{{own, o.Warm, 1}, {peer, o.PeerWarm, 2}, {own, o.Warm, 1}} {
		if err := c.turn(ctx, &o, turn.s, turn.warm, turn.passes); err != nil {
			return c, fmt.Errorf("%s: %w", turn.s.name(), err)
		}
	}
	c.summarize(own.name())
	return c, nil
}

// maxNodes of one system on one machine.
const maxNodes = 16

// turn starts a system, warms it, runs all workloads so often, and throws it away.
func (c *Comparison) turn(ctx context.Context, o *CompareOptions, s system, warm time.Duration, passes int) (err error) {
	say := func(format string, args ...any) {
		if o.Load.Progress != nil {
			fmt.Fprintf(o.Load.Progress, s.name()+": "+format+"\n", args...)
		}
	}
	begun := time.Now()
	defer func() { err = errors.Join(err, s.wipe()) }()
	hosts, pids, err := s.start(ctx, o.Nodes)
	if err != nil {
		return err
	}
	say("%d nodes answer after %.1f s", o.Nodes, time.Since(begun).Seconds())
	load := o.Load
	load.Hosts, load.Pids = hosts, pids
	if load.Consistency == 0 {
		load.Consistency = consistency.Quorum
	}
	if err := warmUp(ctx, load, warm, say); err != nil {
		return err
	}
	for range passes {
		r, err := Run(ctx, load)
		if err != nil {
			return err
		}
		c.Passes = append(c.Passes, Pass{s.name(), r})
	}
	return nil
}

// warmUp puts each workload on for its share of the time. What a cold server fails at is told, and is no error: it has to be warm when it is measured.
func warmUp(ctx context.Context, load Options, d time.Duration, say func(format string, args ...any)) error {
	if d <= 0 {
		return nil
	}
	say("warming for %.0f s", d.Seconds())
	names := load.Workloads
	load.Warm, load.Seconds, load.Ops, load.Rate, load.InFlight = 0, d/time.Duration(len(names)), 0, 0, nil
	for _, name := range names {
		load.Workloads = []string{name}
		switch _, err := Run(ctx, load); {
		case errors.Is(err, ErrServer) && ctx.Err() == nil:
			say("while it was warmed: %v", err)
		case err != nil:
			return err
		}
	}
	return nil
}

// summarize makes the rows.
func (c *Comparison) summarize(own string) {
	for i := range c.Passes[0].Results {
		row := Row{Workload: c.Passes[0].Results[i].Workload, InFlight: c.Passes[0].Results[i].InFlight}
		var counts [2]float64
		var least, most [2]float64
		for _, p := range c.Passes {
			side, at := &row.Own, 0
			if p.System != own {
				side, at = &row.Peer, 1
			}
			res := &p.Results[i]
			side.OpsPerSec += res.OpsPerSec
			side.CPU += res.ServerCPU
			side.P99 += float64(res.Latency.P99)
			side.RSS += float64(res.ServerRSS)
			if counts[at]++; counts[at] == 1 || res.OpsPerSec < least[at] {
				least[at] = res.OpsPerSec
			}
			most[at] = max(most[at], res.OpsPerSec)
		}
		for at, side := range []*Side{&row.Own, &row.Peer} {
			n := counts[at]
			*side = Side{side.OpsPerSec / n, side.CPU / n, side.P99 / n, side.RSS / n}
			row.Swing = max(row.Swing, ratio(most[at]-least[at], side.OpsPerSec))
		}
		row.CPU, row.Ops = ratio(row.Own.CPU, row.Peer.CPU), ratio(row.Own.OpsPerSec, row.Peer.OpsPerSec)
		row.P99, row.RSS = ratio(row.Own.P99, row.Peer.P99), ratio(row.Own.RSS, row.Peer.RSS)
		c.Rows = append(c.Rows, row)
	}
}

// ratio is 0 where one side is not known: the processes' figures elsewhere than on Linux, the latencies of a load.
func ratio(own, peer float64) float64 {
	if peer == 0 {
		return 0
	}
	return own / peer
}

// Print writes the table of ratios.
func (c *Comparison) Print(out io.Writer) error {
	if len(c.Rows) == 0 {
		return nil
	}
	peer, r := c.Passes[1].System, c.Passes[0].Report
	fmt.Fprintf(out, "%d nodes, replication %d, %s; nodedb syncs %s, %s syncs %s; %s client; mean of two passes, in both orders\n", c.Nodes, r.Replication,
		r.Consistency, c.Sync, peer, c.PeerSync, r.Driver)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t\tnodedb\t\t\t\t%s\t\t\t\tnodedb / %s\t\t\t\t\t\n", peer, peer)
	fmt.Fprintln(w, "workload\tin flight\tops/s\tµs CPU/op\tp99 ms\tMB\tops/s\tµs CPU/op\tp99 ms\tMB\tops/s\tCPU\tp99\tMB\tswing\t")
	for _, row := range c.Rows {
		fmt.Fprintf(w, "%s\t%d\t", row.Workload, row.InFlight)
		for _, s := range []Side{row.Own, row.Peer} {
			fmt.Fprintf(w, "%s\t%.1f\t%.2f\t%.0f\t", rate(s.OpsPerSec), s.CPU, s.P99/1000, s.RSS/(1<<20))
		}
		fmt.Fprintf(w, "%.2f\t%.2f\t%.2f\t%.2f\t%.0f%%\t\n", row.Ops, row.CPU, row.P99, row.RSS, 100*row.Swing)
	}
	return w.Flush()
}
