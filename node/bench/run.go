package bench

import (
	"context"
	"fmt"
	"math"
	"time"
)

// run is one workload's.
type run struct {
	o        *Options
	w        *Workload
	rows     int64
	flights  *flightSums // what queries over all flights have to give
	sessions []session
	workers  []*worker
	space    *rowSpace
	meter    meter
	pause    func(time.Duration)
}

// all writes the rows, and measures with each number in flight.
func (r *run) all(ctx context.Context) ([]Result, error) {
	if !r.o.Keep && r.rows > 0 {
		if err := r.write(ctx); err != nil {
			return nil, err
		}
	}
	r.space = newRowSpace(r.rows)
	var results []Result
	for _, n := range r.o.InFlight {
		if r.w.InFlight > 0 {
			n = min(n, r.w.InFlight)
		}
		if len(results) > 0 && results[len(results)-1].InFlight == n { // as many as the workload takes
			continue
		}
		res, err := r.measure(ctx, n)
		if res != nil {
			results = append(results, *res)
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// measure lets the server settle, warms, and measures with so many in flight.
func (r *run) measure(ctx context.Context, inFlight int) (*Result, error) {
	if r.o.Settle {
		if err := r.settle(ctx); err != nil {
			return nil, err
		}
	}
	r.makeWorkers(inFlight)
	if r.o.Warm > 0 {
		if _, err := r.phase(ctx, "warm", r.w.Mix, r.o.Warm, math.MaxInt64, r.o.Rate); err != nil {
			return nil, err
		}
	}
	ops := r.o.Ops
	if ops == 0 {
		ops = math.MaxInt64
	}
	res, err := r.phase(ctx, "", r.w.Mix, r.o.Seconds, ops, r.o.Rate)
	res.InFlight = inFlight
	return res, err
}

// write writes the rows that the workload reads.
func (r *run) write(ctx context.Context) error {
	r.space = newRowSpace(0)
	r.makeWorkers(loadInFlight)
	writing := insert
	if r.w.Write != nil {
		writing = r.w.Write
	}
	_, err := r.phase(ctx, "write rows", []Share{{100, writing}}, 0, r.rows, 0)
	return err
}

// makeWorkers spreads operations in flight over the sessions.
func (r *run) makeWorkers(inFlight int) {
	r.workers = r.workers[:0]
	sessions := r.sessions[:min(len(r.sessions), inFlight)]
	for i, s := range sessions {
		size := inFlight / len(sessions)
		if i < inFlight%len(sessions) {
			size++
		}
		w := newWorker(r, s, size, uint64(i)+uint64(time.Now().UnixNano()))
		if r.rows > 0 && r.space.next.Load() > 0 {
			keys := r.w.Keys
			if r.o.Keys != "" {
				keys = r.o.Keys
			}
			w.keys = newChooser(keys, r.space, r.rows, w.rng)
		}
		r.workers = append(r.workers, w)
	}
}

// phase puts load on for d (0: until the operations are done), and gives what it cost. A connection that ended, operations that failed, and wrong
// answers are errors; the result is given with them.
func (r *run) phase(ctx context.Context, what string, mix []Share, d time.Duration, ops int64, rate float64) (*Result, error) {
	p := &phase{mix: mix, start: time.Now()}
	p.left.Store(ops)
	if d > 0 {
		p.until = p.start.Add(d)
	}
	if rate > 0 {
		p.period = time.Duration(float64(time.Second) * float64(len(r.workers)) / rate)
	}
	watch := startProgress(r, p, what)
	before := r.meter.read()
	for i, w := range r.workers {
		w.enter(p, p.start.Add(p.period*time.Duration(i)/time.Duration(len(r.workers)))) // workers take turns
	}
	done := make(chan struct{})
	go func() {
		p.open.Wait()
		close(done)
	}()
	r.await(ctx, p, done)
	wall, cpu := time.Since(p.start), r.meter.read().since(before)
	watch.finish()
	res := r.collect(p, wall, cpu)
	if err := ctx.Err(); err != nil {
		return res, err
	}
	return res, res.err()
}

// await waits for the end of all operations, and paces an open loop. When the context ends, operations under way are awaited as long as a request
// may take.
func (r *run) await(ctx context.Context, p *phase, done <-chan struct{}) {
	stop := context.AfterFunc(ctx, func() {
		p.stopped.Store(true)
		r.wakeAll()
	})
	defer stop()
	if p.period == 0 {
		<-done
		return
	}
	for {
		select {
		case <-done:
			return
		default:
		}
		next := r.wakeAll()
		r.pause(min(max(time.Until(next), minPause), maxPause))
	}
}

// How long the pacer sleeps: 20,000 wakes a second at most cost some hundredths of a core.
const (
	minPause = 50 * time.Microsecond
	maxPause = 10 * time.Millisecond
)

// wakeAll begins what is due, and gives when the next operation is.
func (r *run) wakeAll() time.Time {
	now := time.Now()
	next := now.Add(maxPause)
	for _, w := range r.workers {
		if due := w.wake(now); due.Before(next) {
			next = due
		}
	}
	return next
}

// err says why a result can't be trusted.
func (r *Result) err() error {
	switch {
	case r.Wrong > 0:
		return fmt.Errorf("%w: %d of %d operations; first: %w", ErrWrong, r.Wrong, r.Ops+r.Wrong+r.Failed, r.first)
	case r.Failed > 0:
		return fmt.Errorf("%w failed %d of %d operations; first: %w", ErrServer, r.Failed, r.Ops+r.Failed, r.first)
	}
	return nil
}
