package hints

import "time"

// What a governor goes by.
const (
	// paceBurst is how much may be sent at once after a pause.
	paceBurst = 100 * time.Millisecond
	// windowEvery is how often the rate is set anew.
	windowEvery = 250 * time.Millisecond
	// minForeground is how many requests of clients a window has when hints make way for them; fewer say nothing of how long one takes.
	minForeground = 8
	// minSample is how many requests beside hints can show that one usually takes less: the mean of fewer is often low by chance.
	minSample = 128
	// firstRate is where a replay begins, and minRate what it always may: bytes a second.
	firstRate = 4 << 20
	minRate   = 128 << 10
	// foregroundShare: beside foreground work a replay has at most this part of its limit.
	foregroundShare = 4
	// latencySlack is by how much a request may take longer than usual in any case: where usual is less than a millisecond, noise is more than half of it.
	latencySlack = 500 * time.Microsecond
	// firstShedPause doubles each time a peer sheds again, up to maxShedPause.
	firstShedPause = 100 * time.Millisecond
	maxShedPause   = 5 * time.Second
)

// load is how many requests of clients were answered since the start, and how long all took together.
type load struct {
	requests int64
	took     time.Duration
}

// since gives how many requests came after an earlier look, and how long one took.
func (l load) since(before load) (n int64, each time.Duration) {
	if n = l.requests - before.requests; n <= 0 {
		return 0, 0
	}
	return n, (l.took - before.took) / time.Duration(n)
}

// governor decides how fast one peer's hints go out, so that requests of clients don't feel it. It is pure: time and load are given to it.
//
//	limit    never exceeded
//	rate     grows fast while there are no requests. Beside them it grows slowly, to a share of the limit, and halves in each window
//	         in which they take half as long again as they did before the replay
//	shed     the peer had no room: half the rate, after a pause
type governor struct {
	limit float64 // bytes a second
	rate  float64 // bytes a second, at most limit
	chunk int64   // Options.BatchBytes

	empty  time.Time // when the bucket is
	window time.Time // its end
	before load      // at its begin
	sample load      // at the begin of the requests that may show what is usual

	shedPause time.Duration
	shedUntil time.Time
}

func newGovernor(limit, chunk int64, now time.Time, l load) *governor {
	return &governor{limit: float64(limit), rate: min(firstRate, float64(limit)), chunk: chunk, window: now.Add(windowEvery), before: l, sample: l}
}

// due reports whether a window has ended.
func (g *governor) due(now time.Time) bool { return !now.Before(g.window) }

// observe sets the rate by what happened in a window that has ended. usualNs is how long a request takes without hints, 0 if nobody knows: then it is this window's
// figure. What is known after the window is given back: beside hints a request takes no less than without, so what is usual is at most that. (The peer may have
// come back right after a rush of requests, beside which nothing could ever seem slow.)
func (g *governor) observe(now time.Time, l load, usualNs int64) (usual int64) {
	n, each := l.since(g.before)
	g.before, g.window = l, now.Add(windowEvery)
	if n < minForeground {
		g.rate = min(2*g.rate, g.limit)
		return usualNs
	}
	if usualNs == 0 {
		usualNs = int64(each)
	}
	if m, mean := l.since(g.sample); m >= minSample {
		g.sample = l
		usualNs -= max(0, usualNs-int64(mean)) / usualWeight
	}
	if u := time.Duration(usualNs); each > max(u+u/2, u+latencySlack) {
		g.slower()
	} else {
		g.rate = max(min(g.rate*1.25, g.limit/foregroundShare), g.least())
	}
	return usualNs
}

func (g *governor) least() float64 { return min(minRate, g.limit) }

func (g *governor) slower() { g.rate = max(g.rate/2, g.least()) }

// shed is told that the peer had no room.
func (g *governor) shed(now time.Time) {
	if now.Before(g.shedUntil) {
		return // batches that were under way together
	}
	g.slower()
	if now.Sub(g.shedUntil) > maxShedPause {
		g.shedPause = 0 // long ago
	}
	g.shedPause = min(max(2*g.shedPause, firstShedPause), maxShedPause)
	g.shedUntil = now.Add(g.shedPause)
}

// batch is how many bytes may go in one message: a tenth of a second's, so that a low rate has no bursts.
func (g *governor) batch() int64 { return min(g.chunk, int64(g.rate*paceBurst.Seconds())) }

// delay is how long to wait before the next message.
func (g *governor) delay(now time.Time) time.Duration {
	return max(g.empty.Sub(now), g.shedUntil.Sub(now), 0)
}

// sent takes bytes from the bucket, which may go below zero: the next message waits for it.
func (g *governor) sent(now time.Time, n int64) {
	if earliest := now.Add(-paceBurst); g.empty.Before(earliest) {
		g.empty = earliest
	}
	g.empty = g.empty.Add(time.Duration(float64(n) / g.rate * float64(time.Second)))
}

// look gives the load now.
func (s *Store) look() (l load) {
	if s.o.Foreground != nil {
		l.requests, l.took = s.o.Foreground()
	}
	return l
}

// usualWeight: a new sample of what is usual counts a quarter.
const usualWeight = 4

// learnUsual notes how long requests take while nothing is replayed.
func (s *Store) learnUsual(before load) load {
	now := s.look()
	s.mu.Lock()
	replaying := s.mu.active > 0
	s.mu.Unlock()
	if n, each := now.since(before); n >= minForeground && !replaying {
		old := s.usual.Load()
		if old == 0 {
			old = int64(each)
		}
		s.usual.Store(old + (int64(each)-old)/usualWeight)
	}
	return now
}
