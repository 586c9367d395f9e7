package stream

import (
	"context"
	"sync"
	"time"
)

const (
	// paceBurst is how much may be read at once after a pause, beside no requests: as much as a timer comes late at any rate.
	paceBurst = 5 * time.Millisecond
	// leastWait is what a timer is worth: shorter waits add up.
	leastWait = time.Millisecond
	// restShare is how long reading rests beside requests, as a multiple of what it took: it gets at most a twentieth of one processor, as hints do
	// of the writer (coordinator/replica/writer.go). maxRest bounds that: a disk that hung says nothing of what a page costs.
	restShare = 19
	maxRest   = time.Second
	// late is by how much a timer may be late before the machine counts as busy, and maxBrake how many times slower that makes us at most.
	late     = 3 * time.Millisecond
	maxBrake = 16
	// minBraked is the bytes a second below which it doesn't slow us: that is no load, and answers would come after their deadlines.
	minBraked = 1 << 20
)

// Pace bounds what a node reads to compare and repair, for itself and for others together. Three things slow it down:
//
//	throttle so many bytes a second, never exceeded
//	requests while the node has some, reading rests after each page, in proportion to what that took: a request waits for one short page, seldom
//	timers   that come late: the processors have more to do than they can, whoever asks it of them; up to maxBrake times slower, until they come in time again
//
// nil is no bound.
type Pace struct {
	perSecond int64
	requested func() bool
	now       func() time.Time
	mu        struct {
		sync.Mutex
		next  time.Time // when the bucket is empty
		brake int
	}
}

// NewPace makes a pace; 0 bytes a second is no bound. requested reports whether the node has requests; nil: never.
func NewPace(perSecond int64, requested func() bool) *Pace {
	if perSecond <= 0 {
		return nil
	}
	if requested == nil {
		requested = func() bool { return false }
	}
	p := &Pace{perSecond: perSecond, requested: requested, now: time.Now}
	p.mu.brake = 1
	return p
}

// Take accounts for n bytes, which took so long to read and to sum, and waits until they are due.
func (p *Pace) Take(ctx context.Context, n int, took time.Duration) error {
	if p == nil {
		return ctx.Err()
	}
	delay := p.reserve(n, took)
	if delay < leastWait {
		return ctx.Err()
	}
	due := p.now().Add(delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		p.felt(p.now().Sub(due))
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pace) reserve(n int, took time.Duration) time.Duration {
	burst, rest := paceBurst, time.Duration(0)
	if p.requested() {
		burst, rest = 0, min(restShare*took, maxRest)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if earliest := now.Add(-burst); p.mu.next.Before(earliest) {
		p.mu.next = earliest
	}
	p.mu.next = p.mu.next.Add(max(rest, time.Duration(float64(n)*float64(p.mu.brake)/float64(p.perSecond)*float64(time.Second))))
	return p.mu.next.Sub(now)
}

// felt learns from how late a timer was.
func (p *Pace) felt(lateness time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lateness > late {
		p.mu.brake = min(2*p.mu.brake, maxBrake, max(1, int(p.perSecond/minBraked)))
	} else if p.mu.brake > 1 {
		p.mu.brake--
	}
}
