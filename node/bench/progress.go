package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// progressPeriod is how often the live line changes, on a terminal; elsewhere a line is written every progressLines.
const (
	progressPeriod = time.Second
	progressLines  = 10 * time.Second
)

// progress writes a line about the load that is on.
type progress struct {
	r     *run
	p     *phase
	what  string
	stop  chan struct{}
	owned sync.WaitGroup

	before usage
	ops    int64
	at     time.Time
	width  int
}

// startProgress gives nil where nothing is to be shown.
func startProgress(r *run, p *phase, what string) *progress {
	if r.o.Progress == nil {
		return nil
	}
	g := &progress{r: r, p: p, what: what, stop: make(chan struct{}), before: r.meter.read(), at: p.start}
	period := progressLines
	if r.o.Terminal {
		period = progressPeriod
	}
	g.owned.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-g.stop:
				return
			case <-tick.C:
				g.line()
			}
		}
	})
	return g
}

// line tells of the time since the last one; the latency is that of the phase so far.
func (g *progress) line() {
	now, used := time.Now(), g.r.meter.read()
	var ops, bad int64
	all := hdrhistogram.New(1, maxLatency.Microseconds(), digits)
	for _, w := range g.r.workers {
		w.mu.Lock()
		ops += w.mu.ops
		bad += w.mu.failed + w.mu.wrong
		for _, h := range w.mu.latency {
			all.Merge(h)
		}
		w.mu.Unlock()
	}
	since := max(ops-g.ops, 1)
	text := strings.TrimSpace(g.r.w.Name + " " + g.what)
	text = fmt.Sprintf("%s  %.0f s  %d ops  %.0f/s  p99 %.2f ms", text, now.Sub(g.p.start).Seconds(), ops,
		float64(ops-g.ops)/now.Sub(g.at).Seconds(), millis(all.ValueAtQuantile(99)))
	if len(g.r.meter.pids) > 0 {
		text += fmt.Sprintf("  server %.1f µs/op", perOp(used.since(g.before).server, since))
	}
	if bad > 0 {
		text += fmt.Sprintf("  %d FAILED", bad)
	}
	g.ops, g.before, g.at = ops, used, now
	if !g.r.o.Terminal {
		fmt.Fprintln(g.r.o.Progress, text)
		return
	}
	fmt.Fprintf(g.r.o.Progress, "\r%-*s", g.width, text)
	g.width = len(text)
}

func (g *progress) finish() {
	if g == nil {
		return
	}
	close(g.stop)
	g.owned.Wait()
	if g.width > 0 {
		fmt.Fprintf(g.r.o.Progress, "\r%*s\r", g.width, "")
	}
}
