package batchlog

import (
	"errors"

	"nodedb/node/fault"
	"nodedb/node/rpc"
	"nodedb/node/storage"
)

// write brings entries to the store: what came while the last burst was encoded becomes the next one, and the keys of ended entries go along.
func (l *Log) write() {
	for first := range l.queue {
		l.writeBurst(l.gather(first))
	}
}

// gather takes what else is queued.
func (l *Log) gather(first put) []put {
	burst, size := []put{first}, len(first.body)
	for len(burst) < maxBurst && size < maxBurstBytes {
		select {
		case p, open := <-l.queue:
			if !open {
				return burst
			}
			burst, size = append(burst, p), size+len(p.body)
		default:
			return burst
		}
	}
	return burst
}

func (l *Log) writeBurst(burst []put) {
	pairs := make([]storage.Pair, 0, 2*len(burst))
	l.mu.Lock()
	for i := range burst {
		if !burst[i].e.ended { // ended already: it must not be written behind the deletion
			pairs = append(pairs, storage.Pair{Key: keyOf(burst[i].e.id), Value: burst[i].body})
		}
	}
	gone := l.takeGone()
	l.mu.Unlock()
	if pairs = append(pairs, gone...); len(pairs) == 0 || fault.Planted("batchlog/kept-in-memory-only") {
		l.answer(burst, nil, nil)
		return
	}
	l.Store.ApplySystem(pairs, func(err error) { l.answer(burst, gone, err) })
}

// takeGone gives deletions of ended entries, at most maxEnded. REQUIRES: mu.
func (l *Log) takeGone() []storage.Pair {
	n := min(len(l.mu.gone), maxEnded)
	pairs := make([]storage.Pair, n)
	for i, key := range l.mu.gone[:n] {
		pairs[i] = storage.Pair{Key: key}
	}
	if l.mu.gone = l.mu.gone[n:]; len(l.mu.gone) == 0 {
		l.mu.gone = nil
	}
	return pairs
}

// answer tells the coordinators of a burst how it ended. Deletions that were refused with it (a full disk takes them alone) are due again.
func (l *Log) answer(burst []put, gone []storage.Pair, err error) {
	if err != nil {
		l.stats.refused.Add(float64(len(burst)))
		l.mu.Lock()
		for i := range gone {
			l.mu.gone = append(l.mu.gone, gone[i].Key)
		}
		for i := range burst {
			if !burst[i].e.stored { // else it was kept before, and its message came twice
				l.endLocked(burst[i].e)
			}
		}
		l.mu.Unlock()
		err = refusal(err)
	} else {
		l.stats.kept.Add(float64(len(burst)))
		l.mu.Lock()
		for i := range burst {
			burst[i].e.stored = true
		}
		l.mu.Unlock()
	}
	for i := range burst {
		burst[i].done(err)
	}
}

// refusal gives the store's failures their code.
func refusal(err error) error {
	code := rpc.CodeInternal
	switch {
	case errors.Is(err, storage.ErrDiskFull):
		code = rpc.CodeDiskFull
	case errors.Is(err, storage.ErrTooLarge):
		code = rpc.CodeInvalid
	case errors.Is(err, storage.ErrClosed):
		code = rpc.CodeNotReady
	}
	return &rpc.RemoteError{Code: code, Message: err.Error()}
}

// deleteEnded deletes the keys of entries that ended, where no new entry took them along. It waits until that is durable.
func (l *Log) deleteEnded() {
	for {
		l.mu.Lock()
		pairs := l.takeGone()
		l.mu.Unlock()
		if len(pairs) == 0 {
			return
		}
		done := make(chan error, 1)
		l.Store.ApplySystem(pairs, func(err error) { done <- err })
		if <-done != nil {
			return // the node stops, or is about to: they come back, to no effect
		}
	}
}
