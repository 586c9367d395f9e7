package coordinator

import (
	"sync"
	"time"
)

// deadlines ends requests whose time is up, with one timer for all of them: a timer a request costs more than all else that is done for its deadline.
// Requests of one kind have the same timeout, so they stand in order as they come, but for those that begin anew or have a deadline of their own.
//
// Invariant: while there are deadlines, the timer is running, and fires no later than the first.
type deadlines struct {
	mu struct {
		sync.Mutex
		first, last *deadline
		timer       *time.Timer
		fires       time.Time // zero: the timer isn't running
	}
}

// deadline is a request's place. It lies inside the request.
type deadline struct {
	until      time.Time
	request    interface{ expire() }
	prev, next *deadline
	waiting    bool
}

// add has request.expire called, from a goroutine that it must not block, once until has come.
func (l *deadlines) add(d *deadline, until time.Time, request interface{ expire() }) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*d = deadline{until: until, request: request, prev: l.mu.last, waiting: true}
	for d.prev != nil && d.prev.until.After(until) {
		d.prev = d.prev.prev
	}
	if d.prev == nil {
		d.next, l.mu.first = l.mu.first, d
	} else {
		d.next, d.prev.next = d.prev.next, d
	}
	if d.next == nil {
		l.mu.last = d
	} else {
		d.next.prev = d
	}
	if l.mu.fires.IsZero() || until.Before(l.mu.fires) {
		l.arm(until)
	}
}

// remove forgets a deadline; false: it was taken already, and expire is called or has been.
func (l *deadlines) remove(d *deadline) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unlink(d)
}

// REQUIRES: mu is held.
func (l *deadlines) unlink(d *deadline) bool {
	if !d.waiting {
		return false
	}
	if d.prev == nil {
		l.mu.first = d.next
	} else {
		d.prev.next = d.next
	}
	if d.next == nil {
		l.mu.last = d.prev
	} else {
		d.next.prev = d.prev
	}
	*d = deadline{}
	return true
}

// REQUIRES: mu is held.
func (l *deadlines) arm(at time.Time) {
	l.mu.fires = at
	if l.mu.timer == nil {
		l.mu.timer = time.AfterFunc(time.Until(at), l.fire)
		return
	}
	l.mu.timer.Reset(time.Until(at))
}

func (l *deadlines) fire() {
	for _, r := range l.due(time.Now()) {
		r.expire()
	}
}

// due takes the requests whose time is up, and sets the timer for the first of the others.
func (l *deadlines) due(now time.Time) (requests []interface{ expire() }) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := l.mu.first; d != nil && !d.until.After(now); d = l.mu.first {
		requests = append(requests, d.request)
		l.unlink(d)
	}
	if l.mu.fires = (time.Time{}); l.mu.first != nil {
		l.arm(l.mu.first.until)
	}
	return requests
}
