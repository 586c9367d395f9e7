package stream

import (
	"context"
	"sync"
	"time"
)

const (
	// paceBurst is how much may be read at once after a pause.
	paceBurst = 50 * time.Millisecond
	// late is by how much a timer may be late before the machine counts as busy, and maxBrake how many times slower that makes us at most.
	late     = 3 * time.Millisecond
	maxBrake = 16
	// minBraked is the bytes a second below which it doesn't slow us: that is no load, and answers would come after their deadlines.
	minBraked = 1 << 20
)

// Pace bounds the bytes a second that a node reads to compare and repair, for itself and for others. It yields to requests: where its own timers
// come late, the processors have more to do than they can, and it slows down, up to maxBrake times, until they come in time again. nil is no bound.
type Pace struct {
	perSecond int64
	now       func() time.Time
	mu        struct {
		sync.Mutex
		next  time.Time // when the bucket is empty
		brake int
	}
}

// NewPace makes a pace; 0 bytes a second is no bound.
func NewPace(perSecond int64) *Pace {
	if perSecond <= 0 {
		return nil
	}
	p := &Pace{perSecond: perSecond, now: time.Now}
	p.mu.brake = 1
	return p
}

// Take accounts for n bytes and waits until they are due.
func (p *Pace) Take(ctx context.Context, n int) error {
	if p == nil {
		return ctx.Err()
	}
	delay := p.reserve(n)
	if delay <= 0 {
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

func (p *Pace) reserve(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if earliest := now.Add(-paceBurst); p.mu.next.Before(earliest) {
		p.mu.next = earliest
	}
	p.mu.next = p.mu.next.Add(time.Duration(float64(n) * float64(p.mu.brake) / float64(p.perSecond) * float64(time.Second)))
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
