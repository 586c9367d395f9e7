package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Comparison is what Compare gave: each system's passes, in the order in which they ran, those that failed with what they had.
type Comparison struct {
	Nodes    int       `json:"nodes"`
	Sync     string    `json:"nodedb_sync"`
	PeerName string    `json:"peer"`
	PeerSync string    `json:"peer_sync"`
	Warmed   []Warming `json:"warmed,omitempty"`
	Passes   []Pass    `json:"passes"`
	Rows     []Row     `json:"rows"`
	Half     []Row     `json:"at_half,omitempty"` // at half of the rate that the peer reached
	Disk     DiskUse   `json:"disk"`              // where all workloads are over the flights
	Verdicts []Verdict `json:"targets"`
}

// DiskUse is what tables take on the disks of all nodes, logs left out, in bytes; 0: not known.
type DiskUse struct {
	Own  int64 `json:"nodedb"`
	Peer int64 `json:"peer"`
}

// Pass is one run of all workloads against one system; one with a rate, of one workload in an open loop.
type Pass struct {
	System string `json:"system"`
	*Report
}

// Row is one workload with so many in flight: each side's mean of its passes, and the ratios, 0 where a side has none.
type Row struct {
	Workload string  `json:"workload"`
	InFlight int     `json:"in_flight"`
	Rate     float64 `json:"rate,omitempty"` // operations a second, in an open loop
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
	Failed    int64   `json:"failed,omitempty"` // in all passes
}

// sums are of one side's passes.
type sums struct {
	Side
	n           float64
	least, most float64 // operations a second
}

func (s *sums) add(res *Result) {
	if s.n++; s.n == 1 || res.OpsPerSec < s.least {
		s.least = res.OpsPerSec
	}
	s.most = max(s.most, res.OpsPerSec)
	s.OpsPerSec += res.OpsPerSec
	s.CPU += res.ServerCPU
	s.P99 += float64(res.Latency.P99)
	s.RSS += float64(res.ServerRSS)
	s.Failed += res.Failed + res.Wrong
}

// mean of what was added; swing is how far the passes lie apart, as a share.
func (s *sums) mean() (side Side, swing float64) {
	if s.n == 0 {
		return Side{}, 0
	}
	side = Side{s.OpsPerSec / s.n, s.CPU / s.n, s.P99 / s.n, s.RSS / s.n, s.Failed}
	return side, ratio(s.most-s.least, side.OpsPerSec)
}

// rowKey is what passes have in common that make a row.
type rowKey struct {
	workload string
	inFlight int
	open     bool
}

// summarize makes rows of what the passes have, complete or not, in the order in which it came, and judges them.
func (c *Comparison) summarize(own string) {
	var keys []rowKey
	sides, rates := map[rowKey]*[2]sums{}, map[rowKey]float64{}
	for _, p := range c.Passes {
		side := 0
		if p.System != own {
			side = 1
		}
		for i := range p.Results {
			res := &p.Results[i]
			k := rowKey{res.Workload, res.InFlight, p.Rate > 0}
			if sides[k] == nil {
				keys, sides[k] = append(keys, k), new([2]sums)
			}
			sides[k][side].add(res)
			rates[k] = p.Rate
		}
	}
	c.Rows, c.Half = nil, nil
	for _, k := range keys {
		row := Row{Workload: k.workload, InFlight: k.inFlight, Rate: rates[k]}
		var swing [2]float64
		row.Own, swing[0] = sides[k][0].mean()
		row.Peer, swing[1] = sides[k][1].mean()
		row.Swing = max(swing[0], swing[1])
		row.CPU, row.Ops = ratio(row.Own.CPU, row.Peer.CPU), ratio(row.Own.OpsPerSec, row.Peer.OpsPerSec)
		row.P99, row.RSS = ratio(row.Own.P99, row.Peer.P99), ratio(row.Own.RSS, row.Peer.RSS)
		if k.open {
			c.Half = append(c.Half, row)
		} else {
			c.Rows = append(c.Rows, row)
		}
	}
	c.judge()
}

// ratio is 0 where one side is not known: the processes' figures elsewhere than on Linux, the latencies of a load.
func ratio(own, peer float64) float64 {
	if peer == 0 {
		return 0
	}
	return own / peer
}

// Print writes the table of ratios, that of the fixed rates, and what was wanted.
func (c *Comparison) Print(out io.Writer) error {
	if len(c.Rows) == 0 {
		return nil
	}
	r := c.Passes[0].Report
	fmt.Fprintf(out, "%d nodes, replication %d, %s; nodedb syncs %s, %s syncs %s; %s client; mean of two passes, in both orders\n", c.Nodes, r.Replication,
		r.Consistency, c.Sync, c.PeerName, c.PeerSync, r.Driver)
	if err := c.printRows(out, c.Rows, "in flight", func(r *Row) string { return fmt.Sprint(r.InFlight) }); err != nil {
		return err
	}
	if len(c.Half) > 0 {
		fmt.Fprintf(out, "\nat half of the rate that %s reached, latencies from when each should have begun; one pass\n", c.PeerName)
		if err := c.printRows(out, c.Half, "rate", func(r *Row) string { return rate(r.Rate) }); err != nil {
			return err
		}
	}
	for _, row := range append(c.Rows[:len(c.Rows):len(c.Rows)], c.Half...) {
		if n, m := row.Own.Failed, row.Peer.Failed; n+m > 0 {
			fmt.Fprintf(out, "%s, %d in flight: FAILED operations: %d of nodedb, %d of %s\n", row.Workload, row.InFlight, n, m, c.PeerName)
		}
	}
	c.printWarmed(out)
	if d := c.Disk; d.Own > 0 && d.Peer > 0 {
		fmt.Fprintf(out, "\nthe flights on disk, all nodes: nodedb %.1f MB, %s %.1f MB\n", float64(d.Own)/1e6, c.PeerName, float64(d.Peer)/1e6)
	}
	return printVerdicts(out, c.Verdicts)
}

func (c *Comparison) printRows(out io.Writer, rows []Row, second string, value func(*Row) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t\tnodedb\t\t\t\t%s\t\t\t\tnodedb / %s\t\t\t\t\t\n", c.PeerName, c.PeerName)
	fmt.Fprintf(w, "workload\t%s\tops/s\tµs CPU/op\tp99 ms\tMB\tops/s\tµs CPU/op\tp99 ms\tMB\tops/s\tCPU\tp99\tMB\tswing\t\n", second)
	for i := range rows {
		row := &rows[i]
		fmt.Fprintf(w, "%s\t%s\t", row.Workload, value(row))
		for _, s := range []Side{row.Own, row.Peer} {
			fmt.Fprintf(w, "%s\t%.1f\t%.2f\t%.0f\t", rate(s.OpsPerSec), s.CPU, s.P99/1000, s.RSS/(1<<20))
		}
		fmt.Fprintf(w, "%.2f\t%.2f\t%.2f\t%.2f\t%.0f%%\t\n", row.Ops, row.CPU, row.P99, row.RSS, 100*row.Swing)
	}
	return w.Flush()
}
