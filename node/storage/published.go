package storage

import (
	"context"
	"sync/atomic"

	"nodedb/node/fault"
)

// Pebble (2.1.7) lets go of a memtable when a write is in it, and only then publishes the write, so that readers see it. A flush that comes between the two merges the
// write with the older ones under its key into one entry, which carries the write's sequence number. Until the write is published, readers see neither it nor what it was
// merged with: a row that was there is gone, or older than it was. That takes a flush shorter than the time for which a thread stands still, so it is rare, and short;
// but a read that has seen a row must not see less of it later, and what such a read gave would stay in the row cache.
//
// So each flush is counted when it begins. An entry in the log that is written after that is published behind all writes of the flush (inDoubt.published). A read is taken
// as it is if every flush was published when it began, as nearly all are, or if nothing that it reads was being written meanwhile: else it waits for such an entry, and
// reads again. Whatever changes content under a key therefore counts itself in the words of inDoubt, before it gives a batch to Pebble and until Pebble has returned.

// flushBegins counts a flush. Its memtables are full, and no write goes into them any more. Pebble's lock is held.
func (d *inDoubt) flushBegins() {
	d.flushes.Add(1)
	d.ask()
}

// glance is what a reader notes before it opens anything of Pebble.
type glance struct {
	word      *atomic.Uint64
	was       uint64
	published uint64
}

func (d *inDoubt) glance(word *atomic.Uint64) glance {
	return glance{word, word.Load(), d.published.Load()}
}

// wordOf is the word of what a read looks at.
func (d *inDoubt) wordOf(spec *ReadSpec) *atomic.Uint64 {
	if spec.Key == nil {
		return &d.all
	}
	return &d.slots[doubtSlot(spec.Storage, spec.Token)].word
}

// sawAll reports whether no flush can have hidden anything from who read since the glance.
func (g *glance) sawAll(d *inDoubt) bool {
	if fault.Planted("storage/hidden-by-a-flush") {
		return true
	}
	return d.flushes.Load() == g.published || g.was&doubtMask == 0 && g.word.Load() == g.was
}

// awaitPublished returns once all flushes that have begun are published.
func (e *Engine) awaitPublished(ctx context.Context) error {
	err := e.doubt.await(ctx)
	if f := e.failed.Load(); f != nil {
		return *f
	}
	return err
}
