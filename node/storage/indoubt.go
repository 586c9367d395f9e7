package storage

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/row"
	"nodedb/vnodes"
)

const (
	// doubtSlots is how many counters partitions share. A partition that shares one with another that is being written costs its readers a sync, no more.
	doubtSlots    = 1 << doubtSlotBits
	doubtSlotBits = 14
	// doubtMask are the bits of a slot that count: more than writes can be in flight (maxInFlight of maxApplyBytes). Those above are the slot's age.
	doubtMask = doubtAge - 1
	doubtAge  = 1 << 28
)

// inDoubt knows which partitions hold writes that are visible and may not be synced yet: a power loss would take back what a read of them showed.
// Such a read waits for one sync (invariant 5 of Engine); all that wait at a time share it.
//
// A write is counted before it becomes visible and until its sync is done, so a reader that finds its partition's count at zero after it has read saw
// only what is durable. Else it asks for a sync that begins after its read: the log is one sequence, so that sync covers all it saw. Waiting
// for the count to fall to zero instead would starve the readers of a hot partition.
//
// A slot that has seen a write end is older than before. So one whose word is what it was, with nothing in doubt, has the same content as then: only what was
// read under such a word enters the row cache (rowcache.go). For its sake writes are counted in SyncPeriodic too, until they are visible.
//
// Who waited for a sync also waits until the writes that it saw have ended, and the row cache has followed them (rowfollow.go): else the cache would give somebody an older
// row after this reader has shown the newer one.
type inDoubt struct {
	slots  [doubtSlots]partitionSlot
	all    atomic.Uint64 // as a slot's word, for all partitions
	system atomic.Uint64 // as a slot's word, for system entries that are being written
	wake   chan struct{} // capacity 1

	flushes   atomic.Uint64 // that have begun
	published atomic.Uint64 // those of them whose writes are all published (published.go)

	mu struct {
		sync.Mutex
		waiting []chan struct{}
	}
}

// partitionSlot is what some partitions share.
type partitionSlot struct {
	word atomic.Uint64 // | writes that ended, modulo 2^36 | writes in doubt, 28 bits |
	era  atomic.Uint64 // goes up with each write that the row cache can't follow, after word and before it is visible
}

// partitionHash mixes what tells partitions apart. Tokens are hashes already, of keys; tables have the same keys.
func partitionHash(id row.StorageID, token vnodes.Token) uint64 {
	h := (uint64(token) ^ uint64(id)*0x9E3779B97F4A7C15) * 0xD6E8FEB86659FD93
	return h ^ h>>32
}

func doubtSlot(id row.StorageID, token vnodes.Token) uint16 { return slotOf(partitionHash(id, token)) }

func slotOf(partition uint64) uint16 { return uint16(partition >> (64 - doubtSlotBits)) }

// begin counts a write's partitions, before it is visible; those in ended are also in slots, and lose their entries in the row cache.
func (d *inDoubt) begin(slots, ended []uint16) {
	if len(slots) == 0 {
		return // for memory tables only
	}
	d.all.Add(1)
	for _, s := range slots {
		d.slots[s].word.Add(1)
	}
	d.endEntries(ended)
}

// endEntries ends the row cache's entries of the slots.
func (d *inDoubt) endEntries(slots []uint16) {
	for _, s := range slots {
		d.slots[s].era.Add(1)
	}
}

// end forgets what begin counted, once it is durable, or was never written. After a failed sync the doubt stays.
func (d *inDoubt) end(slots []uint16) {
	if len(slots) == 0 {
		return
	}
	for _, s := range slots {
		d.slots[s].word.Add(doubtAge - 1)
	}
	d.all.Add(doubtAge - 1)
}

// beginAll is begin for a write that may concern any partition.
func (d *inDoubt) beginAll() {
	d.all.Add(1)
	for i := range d.slots {
		d.slots[i].word.Add(1)
		d.slots[i].era.Add(1)
	}
}

// endAll ends beginAll.
func (d *inDoubt) endAll() {
	for i := range d.slots {
		d.slots[i].word.Add(doubtAge - 1)
	}
	d.all.Add(doubtAge - 1)
}

// holds reports whether what was read may be lost: of one partition, or of any where spec is for a range.
func (d *inDoubt) holds(spec *ReadSpec) bool {
	if d.all.Load()&doubtMask == 0 {
		return false
	}
	return spec.Key == nil || d.slots[doubtSlot(spec.Storage, spec.Token)].word.Load()&doubtMask != 0
}

// await returns once a sync that began after the call is done, the writes that were visible before it have ended, and those of every flush that had begun are
// published; or with ctx's error.
func (d *inDoubt) await(ctx context.Context) error {
	done := make(chan struct{})
	d.mu.Lock()
	d.mu.waiting = append(d.mu.waiting, done)
	d.mu.Unlock()
	d.ask()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask wakes settleDoubts.
func (d *inDoubt) ask() {
	select {
	case d.wake <- struct{}{}:
	default: // somebody asked already, and is not served yet
	}
}

func (d *inDoubt) take() (waiting []chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, d.mu.waiting = d.mu.waiting, nil
	return waiting
}

// settleDoubts syncs the log for the reads that wait, and sees to it that flushes become published. A sync that fails has stopped the engine, and they see that.
func (e *Engine) settleDoubts() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.doubt.wake:
		}
		begun := e.doubt.flushes.Load() // before the entry, which is published behind all that these flushes hold
		waiting := e.doubt.take()
		if len(waiting) > 0 {
			e.settle(begun, pebble.Sync)
			e.awaitEnds()
		} else if begun != e.doubt.published.Load() && !e.space.full.Load() {
			e.settle(begun, pebble.NoSync)
		}
		for _, done := range waiting {
			close(done)
		}
	}
}

// settle writes an empty entry to the log.
func (e *Engine) settle(begun uint64, o *pebble.WriteOptions) {
	switch err := e.db.LogData(nil, o); {
	case err == nil:
		e.doubt.published.Store(begun)
	case e.failed.Load() == nil:
		e.fail(syncFailed(e.dir, err))
	}
}

// awaitEnds returns once all writes that are visible now have ended.
func (e *Engine) awaitEnds() {
	if !e.hold() {
		return // all have, and whoever waits has left
	}
	passed := make(chan struct{})
	e.order.Lock() // those that are visible are in the queue now
	e.syncing <- pendingSync{done: func(error) { close(passed) }}
	e.order.Unlock()
	<-passed
}

// durable returns once what a page shows survives a power loss, in SyncBatch. Memory tables and a snapshot's older state promise nothing less: their
// reads wait only for what is in doubt now.
func (e *Engine) durable(ctx context.Context, spec *ReadSpec, t *table) error {
	if t.memory != nil || e.mode == SyncPeriodic || !e.doubt.holds(spec) {
		return nil
	}
	e.counts.doubts.Add(1)
	return e.doubt.await(ctx)
}
