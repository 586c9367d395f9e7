package bench

import (
	"fmt"
	"io"
	"text/tabwriter"

	"nodedb/query/load"
)

// Verdict is what was wanted of a figure, and whether it is so.
type Verdict struct {
	What   string  `json:"what"`
	Figure float64 `json:"figure"`
	Wanted float64 `json:"wanted"`
	Least  bool    `json:"at_least"` // Wanted is the least; else the most
	Met    bool    `json:"met"`
}

func verdict(what string, figure, wanted float64, least bool) Verdict {
	v := Verdict{what, figure, wanted, least, figure <= wanted}
	if least {
		v.Met = figure >= wanted
	}
	return v
}

// target is what nodedb's figure of a workload has to be, as a share of the peer's. nodedb syncs before it answers.
type target struct {
	nodes    int
	workload string
	peerSync string // "": any
	name     string
	figure   func(*Row) float64
	wanted   float64
	least    bool
}

func cpuTarget(nodes int, workload string, wanted float64) target {
	return target{nodes, workload, "periodic", "CPU", func(r *Row) float64 { return r.CPU }, wanted, false}
}

func opsTarget(nodes int, workload, peerSync string, wanted float64) target {
	return target{nodes, workload, peerSync, "operations a second", func(r *Row) float64 { return r.Ops }, wanted, true}
}

// targets are nodedb's own, with DefaultInFlight under way where the workload takes as many.
var targets = []target{
	cpuTarget(1, "insert", 1./3), opsTarget(1, "insert", "batch", 5), cpuTarget(1, "read", 1./6),
	cpuTarget(1, "a", 1./4), cpuTarget(1, "b", 1./4), cpuTarget(1, "c", 1./4), cpuTarget(1, "d", 1./4), cpuTarget(1, "e", 1./4), cpuTarget(1, "f", 1./4),
	cpuTarget(1, "count", 1./20), cpuTarget(1, "group", 1./20), cpuTarget(1, "paged", 1./10),
	cpuTarget(3, "insert", 1./5), cpuTarget(3, "read", 1./6), opsTarget(3, "load", "", 5),
}

// Targets of every workload: latency at half of the peer's rate, resident memory, disk.
const (
	halfP99Target  = 1. / 3
	residentTarget = 1. / 4
	diskTarget     = 1
)

// judge compares what was measured with the targets. Nothing is said of what wasn't measured on both sides.
func (c *Comparison) judge() {
	c.Verdicts = nil
	resident := 0.
	for i := range c.Rows {
		row := &c.Rows[i]
		resident = max(resident, row.RSS)
		for _, t := range targets {
			if t.nodes != c.Nodes || t.workload != row.Workload || (t.peerSync != "" && t.peerSync != c.PeerSync) || c.Sync != "batch" {
				continue
			}
			w, err := find(t.workload)
			if figure := t.figure(row); err == nil && figure > 0 && row.InFlight == usualInFlight(w) {
				c.Verdicts = append(c.Verdicts, verdict(t.workload+": "+t.name, figure, t.wanted, t.least))
			}
		}
	}
	for i := range c.Half {
		if row := &c.Half[i]; row.P99 > 0 {
			c.Verdicts = append(c.Verdicts, verdict(row.Workload+": p99 at half of the peer's rate", row.P99, halfP99Target, false))
		}
	}
	if resident > 0 {
		c.Verdicts = append(c.Verdicts, verdict("resident memory, the largest share", resident, residentTarget, false))
	}
	if d := c.Disk; d.Own > 0 && d.Peer > 0 {
		c.Verdicts = append(c.Verdicts, verdict("the flights on disk", float64(d.Own)/float64(d.Peer), diskTarget, false))
	}
}

// usualInFlight is how many operations of a workload are under way where nothing else is said.
func usualInFlight(w *Workload) int {
	switch {
	case len(w.Mix) == 0:
		return load.DefaultInFlight
	case w.InFlight > 0:
		return min(w.InFlight, DefaultInFlight)
	}
	return DefaultInFlight
}

func printVerdicts(out io.Writer, list []Verdict) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "target\tfigure\twanted\t")
	for _, v := range list {
		sign := "<="
		if v.Least {
			sign = ">="
		}
		fmt.Fprintf(w, "%s\t%.3f\t%s %.3f\t%s\n", v.What, v.Figure, sign, v.Wanted, metOrShort(v.Met))
	}
	return w.Flush()
}
