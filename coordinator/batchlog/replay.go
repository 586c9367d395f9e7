package batchlog

import (
	"context"
	"errors"
	"time"
)

const (
	// lookEvery is how often Run looks for what is due: about a second, but never at one instant with what looks each second (hints), for a simulation can't
	// repeat in which order the two go.
	lookEvery = 997 * time.Millisecond
	// maxTrying bounds the entries that are being written again: fewer than the writes that a replica lets wait for which no client waits (16), or this node's own
	// replica would shed some of what is begun at once, and they would be written to the others in vain.
	maxTrying = 8
	// warnEvery tries in vain the log tells of an entry.
	warnEvery = 15
)

// errVanished says that an entry is not in the store: not yet, or not any more. Once it was there, its batch had ended before: of a message that came twice
// the second was taken for a new entry, whose key went with the deletion of the first.
var errVanished = errors.New("its bytes are not in the store")

// Run has entries written again whose coordinators did not end them in time, until ctx ends. It waits for what it began.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	budget := l.BytesPerSecond
	for {
		select {
		case <-ctx.Done():
			l.awaitTries()
			return
		case <-tick.C:
			budget = min(budget, 0) + l.BytesPerSecond
			l.deleteEnded()
		case <-l.wake:
		}
		for budget > 0 {
			e := l.takeDue()
			if e == nil {
				break
			}
			budget -= e.size
			l.try(e)
		}
	}
}

// takeDue gives the next entry to be written again; nil: none is due, or enough are under way.
func (l *Log) takeDue() *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.mu.due) > 0 && l.mu.trying < maxTrying {
		e := l.mu.due[0]
		if !e.ended && time.Now().Before(e.due) {
			return nil
		}
		if l.mu.due = l.mu.due[1:]; !e.ended {
			l.mu.trying++
			return e
		}
	}
	return nil
}

// try writes an entry again.
func (l *Log) try(e *entry) {
	body, err := l.Store.GetSystem(keyOf(e.id))
	if err == nil && body == nil {
		err = errVanished
	}
	if err != nil {
		l.tried(e, err)
		return
	}
	l.Deliver(body, func(err error) { l.tried(e, err) })
}

// tried takes a try's outcome.
func (l *Log) tried(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.trying--
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if e.ended {
		return
	}
	switch {
	case err == nil:
		l.stats.replayed.Inc()
		l.endLocked(e)
		return
	case e.stored && errors.Is(err, errVanished):
		l.endLocked(e)
		return
	}
	l.stats.failed.Inc()
	if e.tries++; e.tries%warnEvery == 0 {
		l.Logger.Warn("a logged batch could not be written yet", "batch", keyOf(e.id), "tries", e.tries, "why", err)
	}
	e.due = time.Now().Add(l.After)
	l.mu.due = append(l.mu.due, e)
}

// awaitTries returns when no try is under way.
func (l *Log) awaitTries() {
	for {
		l.mu.Lock()
		trying := l.mu.trying
		l.mu.Unlock()
		if trying == 0 {
			return
		}
		<-l.wake
	}
}
