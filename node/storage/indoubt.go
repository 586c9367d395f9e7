package storage

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// doubtSlots is how many counters partitions share. A partition that shares one with another that is being written costs its readers a sync, no more.
const doubtSlots = 1 << 14

// inDoubt knows which partitions hold writes that are visible and may not be synced yet: a power loss would take back what a read of them showed.
// Such a read waits for one sync (invariant 5 of Engine); all that wait at a time share it.
//
// A write is counted before it becomes visible and until its sync is done, so a reader that finds its partition's count at zero after it has read saw
// only what is durable. Else it asks for a sync that begins after its read: the log is one sequence, so that sync covers all it saw. Waiting
// for the count to fall to zero instead would starve the readers of a hot partition.
type inDoubt struct {
	slots [doubtSlots]atomic.Int32
	all   atomic.Int64
	wake  chan struct{} // capacity 1
	mu    struct {
		sync.Mutex
		waiting []chan struct{}
	}
}

func doubtSlot(prefix []byte) uint16 { return uint16(xxhash.Sum64(prefix) % doubtSlots) }

// add counts a write's partitions by n: 1 before it is visible, -1 once it is synced. After a failed sync the doubt stays.
func (d *inDoubt) add(slots []uint16, n int32) {
	if len(slots) == 0 {
		return // for memory tables only, or SyncPeriodic
	}
	d.all.Add(int64(n))
	for _, s := range slots {
		d.slots[s].Add(n)
	}
}

// holds reports whether what was read may be lost: of one partition, or of any where prefix is empty.
func (d *inDoubt) holds(prefix []byte) bool {
	if d.all.Load() == 0 {
		return false
	}
	return len(prefix) == 0 || d.slots[doubtSlot(prefix)].Load() != 0
}

// await returns once a sync that began after the call is done, or with ctx's error.
func (d *inDoubt) await(ctx context.Context) error {
	done := make(chan struct{})
	d.mu.Lock()
	d.mu.waiting = append(d.mu.waiting, done)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // somebody asked already, and is not served yet
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *inDoubt) take() (waiting []chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, d.mu.waiting = d.mu.waiting, nil
	return waiting
}

// settleDoubts syncs the log for the reads that wait. A sync that fails has stopped the engine, and they see that.
func (e *Engine) settleDoubts() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.doubt.wake:
		}
		waiting := e.doubt.take()
		if len(waiting) == 0 {
			continue // they were served by the sync before
		}
		if err := e.db.LogData(nil, pebble.Sync); err != nil && e.failed.Load() == nil {
			e.fail(syncFailed(e.dir, err))
		}
		for _, done := range waiting {
			close(done)
		}
	}
}

// durable returns once what a page shows survives a power loss, in SyncBatch. Memory tables and a snapshot's older state promise nothing less: their
// reads wait only for what is in doubt now.
func (e *Engine) durable(ctx context.Context, spec *ReadSpec, t *table) error {
	if t.memory != nil || e.mode == SyncPeriodic || e.doubt.all.Load() == 0 {
		return nil
	}
	var scratch [128]byte
	prefix := scratch[:0]
	if spec.Key != nil {
		prefix = appendPrefix(prefix, spec.Storage, spec.Token, spec.Key)
	}
	if !e.doubt.holds(prefix) {
		return nil
	}
	e.counts.doubts.Add(1)
	return e.doubt.await(ctx)
}
