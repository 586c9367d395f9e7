package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Warming is how long a workload was on before anything was measured, and what it cost meanwhile.
type Warming struct {
	System   string    `json:"system"`
	Workload string    `json:"workload"`
	Seconds  float64   `json:"seconds"` // of load
	Steady   bool      `json:"steady"`  // its cost was, at the end; false, too, where that was too soon to tell
	Windows  []float64 `json:"server_cpu_us_per_op"`
}

// When a workload is warm. A JVM compiles for minutes what it runs often, the more slowly the fewer cores it is left, and halts on the way.
const (
	warmWindow    = 10 * time.Second
	steadyWindows = 4    // in a row that got no cheaper
	steadyShare   = 0.05 // of the least cost before: what counts as cheaper
)

// steady reports whether a series of costs has stopped falling: whether none of the last steadyWindows is cheaper by steadyShare than the cheapest before. What disturbs a
// window, a collection of garbage or another process, makes it dearer and never cheaper, so it is the least that tells; a mean would be taken in by one bad window. A cost that
// falls by 2% a window is still falling.
func steady(costs []float64) bool {
	n := len(costs) - steadyWindows
	if n < 1 {
		return false
	}
	least := slices.Min(costs[:n])
	return least > 0 && slices.Min(costs[n:]) > (1-steadyShare)*least
}

// warmUp puts each workload on until its cost is steady, for most at most. All are warmed before the first is measured: what a JVM compiled for one it compiles
// anew when another comes along. What a cold server fails at is told, and is no error: it has to be warm when it is measured.
func (c *Comparison) warmUp(ctx context.Context, system string, load Options, most time.Duration, say func(format string, args ...any)) error {
	if most <= 0 {
		return nil
	}
	names := load.Workloads
	load.Warm, load.Settle, load.Ops, load.Rate, load.InFlight = 0, false, 0, 0, nil
	for _, name := range names {
		workload, err := find(name)
		if err != nil {
			return err
		}
		load.Workloads, load.Keep = []string{name}, false
		say("warming with %s until its cost is steady, for %.0f s at most", name, most.Seconds())
		w := Warming{System: system, Workload: name}
		err = w.until(most, func(d time.Duration) (*Result, error) {
			load.Seconds = d
			r, err := Run(ctx, load)
			if errors.Is(err, ErrServer) && ctx.Err() == nil {
				say("while it was warmed: %v", err)
				err = nil
			}
			if err != nil || len(r.Results) == 0 {
				return nil, err
			}
			load.Keep = workload.Rows > 0 || workload.Table.fill != nil // what only writes gets a new table each time, as when it is measured
			return &r.Results[0], nil
		})
		if err != nil {
			return err
		}
		say("%s", w.String())
		c.Warmed = append(c.Warmed, w)
	}
	return nil
}

// until puts load on by window after window, until its cost is steady, and for most at most: of load, what lies between windows not counted. A window in which nothing
// went well is the last.
func (w *Warming) until(most time.Duration, window func(time.Duration) (*Result, error)) error {
	for left := most; left > 0 && !w.Steady; left = most - seconds(w.Seconds) {
		res, err := window(min(warmWindow, left))
		if err != nil || res == nil || res.Ops == 0 {
			return err
		}
		w.Seconds += res.Seconds
		w.Windows = append(w.Windows, res.ServerCPU)
		w.Steady = steady(w.Windows)
	}
	return nil
}

func (w *Warming) String() string {
	text := fmt.Sprintf("%s %.0f s", w.Workload, w.Seconds)
	switch {
	case w.Steady:
		text += ", steady"
	case len(w.Windows) <= steadyWindows:
		text += ", too short to tell"
	default:
		text += ", NOT STEADY"
	}
	if n := len(w.Windows); n > 1 {
		text += fmt.Sprintf(" (%.1f to %.1f µs)", w.Windows[0], w.Windows[n-1])
	}
	return text
}

// printWarmed writes a line for each life of a system.
func (c *Comparison) printWarmed(out io.Writer) {
	for rest := c.Warmed; len(rest) > 0; {
		system := rest[0].System
		var texts []string
		for len(rest) > 0 && rest[0].System == system {
			texts, rest = append(texts, rest[0].String()), rest[1:]
		}
		fmt.Fprintf(out, "warmed before, %s: %s\n", system, strings.Join(texts, "; "))
	}
}
