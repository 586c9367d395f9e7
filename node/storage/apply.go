package storage

import (
	"fmt"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/fault"
	"nodedb/node/row"
)

// Fault points. beforeCommit is hit between a write's admission and its commit: an error refuses the write. beforeAck is hit between a write's sync and its
// acknowledgement: with an error the caller hears of a failure, though the write is durable.
var (
	beforeCommit = fault.New("storage/before-commit")
	beforeAck    = fault.New("storage/before-ack")
)

const (
	// maxInFlight bounds the writes that are visible and wait for their sync. Apply waits when there are so many:
	// back-pressure.
	maxInFlight = 1024
	// maxApplyBytes bounds one call of Apply: a batch beyond half a memtable is a flush of its own.
	maxApplyBytes = memTableBytes / 2
	// maxPooledOps bounds the scratch a write keeps for the next one.
	maxPooledOps = 1024
)

// pendingSync is a write that is visible, not yet durable; or who waits for those before it.
type pendingSync struct {
	write *write // nil: none
	done  func(error)
}

// write is the scratch of one Apply.
type write struct {
	batch   *pebble.Batch // nil: nothing for the disk
	tables  *tableSet
	stripes stripeSet
	slots   []uint16 // of the partitions that hold a doubt until the sync (indoubt.go)
	ended   []uint16 // those of them whose rows the row cache can't follow
	rows    []rowRef // that it can (rowfollow.go)
	follow  follower
	prefix  []byte
	hot     []hotKey
	headers []*table // those whose first header this batch may carry
	memory  bool     // some mutation is for a memory table
}

var writes = sync.Pool{New: func() any { return new(write) }}

func (w *write) release() {
	if max(cap(w.hot), cap(w.slots), cap(w.rows)) <= maxPooledOps {
		*w = write{
			slots: w.slots[:0], ended: w.ended[:0], rows: w.rows[:0], prefix: w.prefix[:0], hot: w.hot[:0], headers: w.headers[:0], follow: w.follow,
		}
		writes.Put(w)
	}
}

// Apply writes mutations blindly as one atomic batch and calls done once, when they are visible and as durable as the
// mode promises. It may call done before it returns or from another goroutine; done must not block, nor call Apply, ApplySystem, Read or
// Close: they may wait for the sync waiter, which calls it. It copies what it keeps.
//
// Errors: ErrClosed, ErrFailStop, ErrCorrupt, ErrDiskFull, ErrDropped, ErrTooLarge. In all of them but ErrFailStop and
// ErrCorrupt nothing was written. Apply waits while maxInFlight writes wait for their sync, and for its turn where
// compactions are behind (pace.go).
func (e *Engine) Apply(ms []row.Mutation, done func(error)) {
	if len(ms) > 1 && fault.Planted("storage/batch-in-parts") {
		e.Apply(ms[:1], func(error) {})
		ms = ms[1:]
	}
	if err := e.enter(); err != nil {
		done(err)
		return
	}
	w := writes.Get().(*write)
	if err := e.prepare(w, ms); err != nil {
		e.counts.refused.Add(1)
		w.drop()
		e.leave()
		done(err)
		return
	}
	e.pace.await(w.size())
	e.commit(w, ms, done)
}

// size is the bytes of the batch.
func (w *write) size() int {
	if w.batch == nil {
		return 0
	}
	return w.batch.Len()
}

// drop gives up a write that was not committed.
func (w *write) drop() {
	if w.batch != nil {
		_ = w.batch.Close() // of a batch that was never applied: cannot fail
	}
	w.release()
}

// prepare checks the mutations and encodes those for the disk into one batch.
func (e *Engine) prepare(w *write, ms []row.Mutation) error {
	if err := e.space.admit(); err != nil {
		return err
	}
	w.tables = e.tables.Load()
	memory, t := 0, (*table)(nil)
	for i := range ms {
		if t == nil || t.id != ms[i].Storage {
			var err error
			if t, err = w.tables.find(ms[i].Storage); err != nil {
				return err
			}
		}
		if err := ms[i].CheckSize(); err != nil {
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		if t.memory != nil {
			w.memory = true
			memory += ms[i].Size()
		} else {
			e.encode(w, t, &ms[i])
		}
		if w.size()+memory > maxApplyBytes {
			return fmt.Errorf("%w: batch of more than %d bytes; send smaller ones", ErrTooLarge, maxApplyBytes)
		}
	}
	e.space.wrote(w.size())
	return nil
}

// encode adds a mutation's merge operands to the batch.
func (e *Engine) encode(w *write, t *table, m *row.Mutation) {
	if w.batch == nil {
		w.batch = e.db.NewBatch()
	}
	w.prefix = appendPrefix(w.prefix[:0], m.Storage, m.Token, m.Key)
	partition := partitionHash(m.Storage, m.Token)
	w.slots = append(w.slots, slotOf(partition))
	if len(m.Header) > 0 {
		w.ended = append(w.ended, slotOf(partition))
		e.merge(w, markerHeader, nil, m.Header)
		if !t.headersLogged.Load() {
			t.headers.Store(true) // before the header is visible: readers look in the opposite order
			_ = w.batch.Set(appendSystemKey(nil, spaceEngine, headersName(t.id)), nil, nil)
			w.headers = append(w.headers, t)
		}
	}
	for i := range m.Rows {
		if len(m.Rows[i].Fragment) > 0 {
			w.rows = append(w.rows, rowRef{rowHash(partition, m.Rows[i].Clustering), w.batch.Count()})
			e.merge(w, markerRow, m.Rows[i].Clustering, m.Rows[i].Fragment)
		}
	}
}

// merge adds one operand, encoded straight into the batch.
func (e *Engine) merge(w *write, marker byte, clustering, fragment []byte) {
	op := w.batch.MergeDeferred(len(w.prefix)+1+len(clustering), len(fragment))
	n := copy(op.Key, w.prefix)
	op.Key[n] = marker
	copy(op.Key[n+1:], clustering)
	copy(op.Value, fragment)
	_ = op.Finish() // fails only for indexed batches
	hash := xxhash.Sum64(op.Key)
	w.stripes.add(hash)
	if e.hot.count(hash) {
		w.hot = append(w.hot, hotKey{hash: hash, slot: w.slots[len(w.slots)-1], key: append([]byte(nil), op.Key...)})
	}
}

// commit makes the write visible, in its order with whoever rewrites the same keys, and sees to done.
func (e *Engine) commit(w *write, ms []row.Mutation, done func(error)) {
	err := beforeCommit.Hit()
	e.doubt.begin(w.slots, w.ended)
	e.hot.lockShared(&w.stripes)
	e.order.RLock()
	if err == nil {
		err = e.admitAgain(w, ms)
	}
	if err == nil && w.batch != nil {
		err = e.applyBatch(w)
	}
	e.hot.unlockShared(&w.stripes)
	if err != nil {
		e.order.RUnlock()
		e.doubt.endEntries(w.slots) // lest Pebble failed when it was visible
		e.doubt.end(w.slots)
		w.drop()
		e.leave()
		done(e.verdict(err))
		return
	}
	if w.memory {
		w.tables.applyMemory(ms)
	}
	hot := e.afterVisible(w)
	if w.batch != nil && e.mode == SyncBatch {
		e.syncing <- pendingSync{w, done} // w, done, and leave are the sync waiter's now
		e.order.RUnlock()
		e.collapseAll(hot)
		return
	}
	e.order.RUnlock()
	e.rows.follow(w, 0)
	e.doubt.end(w.slots)
	w.drop()
	e.collapseAll(hot)
	err = e.verdict(nil)
	e.leave()
	done(err)
}

// afterVisible does what may wait until the write is visible, and gives the keys to collapse once it is queued.
func (e *Engine) afterVisible(w *write) (hot []hotKey) {
	e.counts.writes.Add(1)
	if w.batch != nil {
		e.unsynced.Store(true)
	}
	// Only now: a write that relies on the flag comes later in the log, so that no crash keeps it and loses the flag.
	for _, t := range w.headers {
		t.headersLogged.Store(true)
	}
	if len(w.hot) > 0 {
		e.active.Add(1) // the write's own share may end before they are collapsed
		hot, w.hot = w.hot, nil
	}
	return hot
}

// collapseAll collapses what afterVisible gave. Not while order is held: a collapse waits for writers, and those for order.
func (e *Engine) collapseAll(hot []hotKey) {
	if len(hot) == 0 {
		return
	}
	for i := range hot {
		e.collapse(&hot[i])
	}
	e.leave()
}

// admitAgain repeats the check of the tables once the stripes are held: from here on a drop waits for this write and
// deletes it too.
func (e *Engine) admitAgain(w *write, ms []row.Mutation) error {
	now := e.tables.Load()
	if now == w.tables || fault.Planted("storage/dropped-table-takes-writes") {
		return nil
	}
	w.tables = now
	return now.admit(ms)
}

// applyBatch makes a batch visible. In SyncBatch its sync is under way then.
func (e *Engine) applyBatch(w *write) error {
	if len(w.slots) == 0 {
		e.doubt.system.Add(1)
		defer e.doubt.system.Add(doubtAge - 1)
	}
	if e.mode == SyncPeriodic || fault.Planted("storage/no-fsync") {
		return e.db.Apply(w.batch, pebble.NoSync)
	}
	return e.db.ApplyNoSyncWait(w.batch, pebble.Sync)
}

// verdict is what done is told about a write that Pebble answered with err.
func (e *Engine) verdict(err error) error {
	if f := e.failed.Load(); f != nil {
		return *f
	}
	if err != nil {
		return fmt.Errorf("storage: write: %w", err)
	}
	return nil
}

// waitForSyncs is the one sync waiter. Pebble's log writer syncs while it waits, whatever arrived meanwhile in one go.
func (e *Engine) waitForSyncs() {
	for p := range e.syncing {
		if p.write == nil {
			p.done(nil)
			e.leave()
			continue
		}
		if fault.Planted("storage/ack-before-sync") {
			p.done(nil)
			p.done = func(error) {}
		}
		err := p.write.batch.SyncWait()
		if f := e.failed.Load(); f != nil {
			err = *f // guardFS told Pebble that all is well
		}
		if err != nil {
			err = e.verdict(err)
		} else {
			e.rows.followDurable(p.write)
			err = p.write.batch.Close()
			e.doubt.end(p.write.slots)
		}
		if err == nil {
			err = beforeAck.Hit()
		}
		p.done(err)
		p.write.release()
		e.witnessSync()
		e.leave()
	}
}

func syncFailed(dir string, err error) error {
	return fmt.Errorf("%w: sync the log in %s: %w", ErrFailStop, dir, err)
}

// syncPeriodically bounds what a crash can lose in SyncPeriodic.
func (e *Engine) syncPeriodically(period time.Duration) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-ticker.C:
		}
		if e.unsynced.Swap(false) && e.failed.Load() == nil {
			if err := e.db.LogData(nil, pebble.Sync); err != nil {
				e.fail(syncFailed(e.dir, err))
			}
			e.witnessSync()
		}
	}
}
