package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one workload gave.
type Result struct {
	Workload  string             `json:"workload"`
	InFlight  int                `json:"in_flight"`
	Ops       int64              `json:"operations"`
	Failed    int64              `json:"failed"`
	Wrong     int64              `json:"wrong"`
	Seconds   float64            `json:"seconds"`
	OpsPerSec float64            `json:"ops_per_second"`
	ServerCPU float64            `json:"server_cpu_us_per_op,omitempty"` // of all server processes; absent where they are not known
	ClientCPU float64            `json:"client_cpu_us_per_op"`
	ServerRSS int64              `json:"server_resident_bytes,omitempty"`
	Latency   Latency            `json:"latency"`
	ByKind    map[string]Latency `json:"latency_by_kind,omitempty"` // where there are several

	first error
}

// Latency of operations, in µs. In an open loop it counts from when they should have begun.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   int64   `json:"p50_us"`
	P90   int64   `json:"p90_us"`
	P99   int64   `json:"p99_us"`
	P999  int64   `json:"p999_us"`
	Max   int64   `json:"max_us"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	return Latency{h.TotalCount(), h.Mean(), h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

// collect adds up what the workers counted.
func (r *run) collect(p *phase, wall time.Duration, used usage) *Result {
	res := &Result{Workload: r.w.Name, Seconds: wall.Seconds()}
	all := hdrhistogram.New(1, maxLatency.Microseconds(), digits)
	kinds := map[*kind]*hdrhistogram.Histogram{}
	for _, s := range p.mix {
		kinds[s.Kind] = hdrhistogram.New(1, maxLatency.Microseconds(), digits)
	}
	for _, w := range r.workers {
		w.mu.Lock()
		res.Ops += w.mu.ops
		res.Failed += w.mu.failed
		res.Wrong += w.mu.wrong
		if res.first == nil {
			res.first = w.mu.first
		}
		for k, h := range w.mu.latency {
			kinds[k].Merge(h)
			all.Merge(h)
		}
		w.mu.Unlock()
	}
	res.Latency = latencyOf(all)
	if len(p.mix) > 1 {
		res.ByKind = map[string]Latency{}
		for k, h := range kinds {
			res.ByKind[k.name] = latencyOf(h)
		}
	}
	if res.Ops > 0 {
		res.OpsPerSec = float64(res.Ops) / wall.Seconds()
		res.ServerCPU = perOp(used.server, res.Ops)
		res.ClientCPU = perOp(used.client, res.Ops)
	}
	res.ServerRSS = r.meter.resident()
	return res
}

func perOp(d time.Duration, ops int64) float64 { return float64(d.Nanoseconds()) / 1000 / float64(ops) }

// Print writes a report as a table.
func (r *Report) Print(out io.Writer) error {
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("%.0f operations a second", r.Rate)
	}
	fmt.Fprintf(out, "%s client, protocol v%d, %d connections, %s; replication %d, %s\n", r.Driver, r.Protocol, r.Conns, loop,
		r.Replication, r.Consistency)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workload\tin flight\tops/s\tserver µs/op\tclient µs/op\tmean ms\tp50\tp99\tp99.9\tmax\tresident MB\toperations\tfailed\twrong\t")
	for i := range r.Results {
		res := &r.Results[i]
		server := "-"
		if res.ServerCPU > 0 {
			server = fmt.Sprintf("%.1f", res.ServerCPU)
		}
		l := res.Latency
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t\n", res.Workload, res.InFlight, rate(res.OpsPerSec), server, res.ClientCPU,
			l.Mean/1000, millis(l.P50), millis(l.P99), millis(l.P999), millis(l.Max), res.ServerRSS>>20, res.Ops, res.Failed, res.Wrong)
	}
	return w.Flush()
}

// rate writes operations a second; those that take seconds with three digits.
func rate(n float64) string {
	if n < 100 {
		return fmt.Sprintf("%.3g", n)
	}
	return fmt.Sprintf("%.0f", n)
}

func millis(us int64) float64 { return float64(us) / 1000 }
