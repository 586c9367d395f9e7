package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept from 1 µs to maxLatency with three digits.
const (
	maxLatency = 2 * requestTimeout
	digits     = 3
)

// phase is one stretch of load: writing the rows, warming, measuring. All workers share it.
type phase struct {
	mix     []Share
	start   time.Time
	until   time.Time     // no operation begins after it; zero: no such end
	period  time.Duration // open loop: between two operations of one worker; 0: closed loop
	left    atomic.Int64  // operations that may still begin
	stopped atomic.Bool   // none begins any more
	open    sync.WaitGroup
}

// worker drives one session. Nothing of its own runs: an operation that ends begins the next, on the goroutine that brought the answer; in an open
// loop a pacer begins those that are due.
//
// Invariant: an op is in free, or its answer is awaited.
type worker struct {
	run  *run
	rng  *rand.Rand // under mu
	keys *chooser   // under mu

	mu struct {
		sync.Mutex
		phase   *phase
		free    []*op
		size    int       // ops in all
		due     time.Time // open loop: when the next one should begin
		ended   bool      // none begins any more in this phase
		ops     int64
		failed  int64
		wrong   int64
		first   error // what failed first
		latency map[*kind]*hdrhistogram.Histogram
	}
}

// op is one operation under way; it is used again for the next.
type op struct {
	w      *worker
	sender sender
	kind   *kind
	begun  time.Time // closed loop: when it was sent; open loop: when it should have been
	call   call
	row    int64 // its number
	want   int   // rows asked for
	rows   int64 // read so far
	sum    int64 // of a column of them
	buf    []byte
	key    []byte
	expect [64]byte
}

// opBytes is more than any operation's values take; a buffer that grew would leave earlier values in the old one, which is only slower.
const opBytes = 2 << 10

func newWorker(r *run, s session, size int, seed uint64) *worker {
	w := &worker{run: r, rng: rand.New(rand.NewPCG(seed, 1))}
	w.mu.size = size
	for range size {
		o := &op{w: w, buf: make([]byte, 0, opBytes)}
		o.sender = s.slot(o.answered)
		w.mu.free = append(w.mu.free, o)
	}
	return w
}

// enter begins a phase, in an open loop with an operation at first. REQUIRES: no operation is under way.
func (w *worker) enter(p *phase, first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.phase, w.mu.ended, w.mu.due = p, false, first
	w.mu.ops, w.mu.failed, w.mu.wrong, w.mu.first = 0, 0, 0, nil
	w.mu.latency = map[*kind]*hdrhistogram.Histogram{}
	for _, s := range p.mix {
		w.mu.latency[s.Kind] = hdrhistogram.New(1, maxLatency.Microseconds(), digits)
	}
	p.open.Add(1)
	w.pump(time.Now())
}

// wake begins what is due; the pacer calls it, and whoever stopped the phase. It gives when the next is due.
func (w *worker) wake(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pump(now)
	return w.mu.due
}

// pump begins operations as long as there are free ops and they are due. REQUIRES: mu is held.
func (w *worker) pump(now time.Time) {
	for !w.mu.ended && len(w.mu.free) > 0 {
		at, ok := w.next(now)
		if !ok {
			break
		}
		o := w.mu.free[len(w.mu.free)-1]
		w.mu.free = w.mu.free[:len(w.mu.free)-1]
		o.begin(w.draw(), at)
		if err := o.sender.send(&o.call); err != nil { // the connection has ended
			w.record(o, now, err)
			w.mu.free = append(w.mu.free, o)
			w.mu.phase.stopped.Store(true)
		}
	}
	if w.mu.ended && len(w.mu.free) == w.mu.size && w.mu.phase != nil {
		w.mu.phase.open.Done()
		w.mu.phase = nil
	}
}

// next gives when the next operation begins, or should have begun; false if none is due. REQUIRES: mu is held.
func (w *worker) next(now time.Time) (at time.Time, ok bool) {
	p := w.mu.phase
	if at = now; p.period > 0 {
		at = w.mu.due
	}
	switch {
	case p.stopped.Load() || (!p.until.IsZero() && at.After(p.until)):
		w.mu.ended = true
		return at, false
	case at.After(now):
		return at, false
	case p.left.Add(-1) < 0:
		w.mu.ended = true
		return at, false
	}
	w.mu.due = w.mu.due.Add(p.period)
	return at, true
}

// draw draws a kind of operation. REQUIRES: mu is held.
func (w *worker) draw() *kind {
	mix := w.mu.phase.mix
	if len(mix) == 1 {
		return mix[0].Kind
	}
	at := w.rng.IntN(100)
	for _, s := range mix {
		if at -= s.Percent; at < 0 {
			return s.Kind
		}
	}
	return mix[len(mix)-1].Kind
}

func (o *op) begin(k *kind, at time.Time) {
	o.kind, o.begun = k, at
	o.buf, o.call = o.buf[:0], call{values: o.call.values[:0]}
	k.begin(o)
}

// answered is the end of a request: it checks the answer, and goes on with the operation or the next one.
func (o *op) answered(a answer, err error) {
	now := time.Now()
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		var again bool
		if again, err = o.kind.step(o, a); again && err == nil {
			if err = o.sender.send(&o.call); err == nil {
				return
			}
		}
	}
	w.record(o, now, err)
	w.mu.free = append(w.mu.free, o)
	w.pump(now)
}

// record counts an operation that ended. REQUIRES: mu is held.
func (w *worker) record(o *op, now time.Time, err error) {
	switch {
	case err == nil:
		w.mu.ops++
		_ = w.mu.latency[o.kind].RecordValue(min(max(1, now.Sub(o.begun).Microseconds()), maxLatency.Microseconds()))
		return
	case errors.Is(err, ErrWrong):
		w.mu.wrong++
	default:
		w.mu.failed++
	}
	if w.mu.first == nil {
		w.mu.first = fmt.Errorf("%s: %w", o.kind.name, err)
	}
	if w.mu.wrong+w.mu.failed >= maxFailed {
		w.mu.phase.stopped.Store(true)
	}
}

// maxFailed operations of one worker end a phase.
const maxFailed = 1000
