package bench

import (
	"context"
	"fmt"
	"time"
)

// When a server is at rest: what it does on its own, once what it was given has been flushed and compacted, is less than restShare of a core for each process, for restFor. A
// node of nodedb flushes what it holds after up to 7 s without writes.
const (
	restWindow = time.Second
	restFor    = 9 * time.Second
	restShare  = 0.08
	mostSettle = 90 * time.Second // a server that doesn't rest is measured nonetheless
)

// resting counts for how long a server has been at rest.
type resting struct{ since time.Duration }

// window takes what processes used of a time, and reports whether they have rested for long enough.
func (r *resting) window(wall, cpu time.Duration, processes int) bool {
	if r.since += wall; float64(cpu) > restShare*float64(wall)*float64(processes) {
		r.since = 0
	}
	return r.since >= restFor
}

// settle waits until the server is at rest. What was loaded before, for this workload or another, is still being flushed and compacted for seconds, which costs CPU that
// isn't that of the load that is measured.
func (r *run) settle(ctx context.Context) error {
	var rest resting
	tick := time.NewTicker(restWindow)
	defer tick.Stop()
	r.say("%s: waiting until the server is at rest", r.w.Name)
	before, at := r.meter.read(), time.Now()
	for begun := at; at.Sub(begun) < mostSettle; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, used := time.Now(), r.meter.read()
		if rest.window(now.Sub(at), used.since(before).server, len(r.meter.pids)) {
			return nil
		}
		before, at = used, now
	}
	r.say("%s: the server is still busy after %.0f s, and is measured nonetheless", r.w.Name, mostSettle.Seconds())
	return nil
}

// say writes a line of progress, where that is shown.
func (r *run) say(format string, args ...any) {
	if r.o.Progress != nil {
		fmt.Fprintf(r.o.Progress, format+"\n", args...)
	}
}
