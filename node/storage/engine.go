// Package storage keeps one node's rows: the only importer of Pebble's engine, and of btree for memory tables. It may
// import vnodes, node/row, node/disk, node/metrics, node/fault. Start reading at Engine.
package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/disk"
	"nodedb/node/metrics"
	"nodedb/node/row"
)

// Sentinel errors; operations wrap them with what they did.
var (
	ErrClosed   = errors.New("storage: closed")
	ErrCorrupt  = errors.New("storage: corrupt data")
	ErrDiskFull = errors.New("storage: disk full, writes are refused until space is free")
	ErrLocked   = errors.New("storage: data directory is in use by another process")
	ErrTooNew   = errors.New("storage: data directory was written by a newer nodedb")
	ErrDropped  = errors.New("storage: table was dropped or truncated")
	ErrTooLarge = errors.New("storage: mutation is larger than the limit")
	ErrFailStop = errors.New("storage: stopped after a failed write or sync")
)

// SyncMode says when a write is acknowledged.
type SyncMode uint8

const (
	// SyncBatch acknowledges after fsync (group commit). The default.
	SyncBatch SyncMode = iota
	// SyncPeriodic acknowledges at once and syncs every SyncPeriod.
	SyncPeriodic
)

// DefaultSyncPeriod is Cassandra's commitlog_sync_period.
const DefaultSyncPeriod = 10 * time.Second

// Options of Open.
type Options struct {
	FS         disk.FS // disk.Real() by default
	Dir        string
	Sync       SyncMode
	SyncPeriod time.Duration // default 10 s, as Cassandra's commitlog_sync_period
	CacheBytes int64         // block cache; 0: sized from the machine's memory, at most an eighth of it
	RowBytes   int64         // row cache; 0: sized from the machine's memory, at most a 64th of it; less than 1 MiB: none
	Logger     *slog.Logger
	// Fatal is called once, from any goroutine, when the engine can't go on (corruption, failed fsync): the process
	// must stop. It names the file.
	Fatal func(error)

	Metrics *metrics.Registry // nil: metrics are shown nowhere
	// DiskFloor is the free space in bytes below which writes are refused; 0: 256 MiB.
	DiskFloor uint64
}

// Engine is one node's store. Safe for concurrent use.
//
// Invariants:
//  1. done(nil) is called only after the write is visible and, in SyncBatch, after a sync that covers it succeeded.
//  2. A write reads nothing: rows and headers are merge operands, and the merger makes rows of them when somebody reads or compacts.
//     Only a hot key is read, once in hotWrites writes, to shorten its chain (hot.go).
//  3. Whoever rewrites content under a key (hot.go's collapse, DeleteRange) holds the key's stripe exclusively from its read until its write is
//     visible; plain writers hold it shared until theirs is.
//  4. After the first failed sync or vital write nothing reaches the disk any more and nothing is acknowledged (guardfs.go).
//  5. In SyncBatch a read shows only what is durable: what a crash could take back, it waits for (indoubt.go).
//  6. What the row cache gives is what a read would give, without what is not synced yet; a write is in it before the write is acknowledged, and before
//     any read that saw it returns (rowfollow.go).
//  7. Who changes content under a key counts that in inDoubt's words while Pebble has the batch: else a flush could hide it from readers (published.go).
//
// A write takes this way: admit (tables, limits, space) -> one Pebble batch -> its turn where compactions are behind (pace.go) -> stripes shared -> order shared -> ApplyNoSyncWait,
// visible -> stripes free -> the sync queue, bounded by maxInFlight -> order free -> hot keys collapsed; and the one sync waiter, in the
// queue's order -> the row cache follows -> out of doubt -> done. Stripes are taken before order, never while it is held.
//
// Rejected: a goroutine per write that waits for its sync (2 to 3 times the CPU), batching by timer (the group commit
// of Pebble's log writer batches by itself while a sync is under way), and Sets after a read (a read before each
// write).
type Engine struct {
	db     *pebble.DB
	fs     *guardFS
	dir    string
	logger *slog.Logger
	fatal  func(error)
	mode   SyncMode
	lock   *pebble.Lock
	cache  *pebble.Cache

	failed  atomic.Pointer[error] // why nothing goes on; set once
	closing atomic.Bool
	active  atomic.Int64  // callers inside, plus writes not done yet, plus one for the engine itself
	drained chan struct{} // closed when active reaches 0

	tables atomic.Pointer[tableSet]
	hot    hotKeys
	space  spaceGuard
	doubt  inDoubt
	pace   pace
	rows   *rowCache // nil: none

	log       atomic.Pointer[logState] // the newest log
	witnessed atomic.Int64             // what the last witness said (logtail.go)
	manifest  manifestWitness

	counts   counters
	order    sync.RWMutex     // shared from before a write is visible until it is in syncing
	syncing  chan pendingSync // writes that are visible, in commit order
	unsynced atomic.Bool      // SyncPeriodic: something was written since the last sync

	drop       chan struct{} // asks the dropper to look, capacity 1
	rotated    chan struct{} // there is a new memtable, capacity 1
	stop       chan struct{} // ends the background goroutines
	background sync.WaitGroup

	mu struct {
		sync.Mutex
		snapshots map[*Snapshot]struct{}
		headers   map[row.StorageID]bool // which tables have a header entry in the engine's own space
	}
}

// Open opens or creates the store and locks the directory.
func Open(o Options) (*Engine, error) {
	o = o.withDefaults()
	e := &Engine{
		dir: o.Dir, logger: o.Logger, fatal: o.Fatal, mode: o.Sync,
		drained: make(chan struct{}),
		syncing: make(chan pendingSync, maxInFlight),
		drop:    make(chan struct{}, 1),
		rotated: make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	e.active.Store(1)
	e.rows = newRowCache(o.RowBytes)
	e.tables.Store(&tableSet{})
	e.mu.snapshots = make(map[*Snapshot]struct{})
	e.doubt.wake = make(chan struct{}, 1)
	e.pace.look = make(chan struct{}, 1)
	e.counts.stalls = o.Metrics.Counter("nodedb_storage_write_stalls_total", "Times that writes waited for flushes or compactions.")
	if err := e.open(&o); err != nil {
		return nil, err
	}
	e.space.start(e, &o)
	e.showCounts(o.Metrics)
	e.rows.show(o.Metrics)
	e.showPebble(o.Metrics)
	e.background.Go(e.waitForSyncs)
	e.background.Go(e.settleDoubts)
	e.background.Go(e.dropTables)
	e.background.Go(e.flushRamp)
	e.background.Go(e.watchPace)
	e.pace.changed() // an earlier process may have left a deep L0
	if o.Sync == SyncPeriodic {
		e.background.Go(func() { e.syncPeriodically(o.SyncPeriod) })
	}
	return e, nil
}

// open prepares the directory and opens Pebble in it.
func (e *Engine) open(o *Options) (err error) {
	fs := &guardFS{FS: o.FS, e: e}
	e.fs = fs
	if err := prepareDir(fs, o.Dir); err != nil {
		return err
	}
	if e.lock, err = pebble.LockDirectory(o.Dir, fs); err != nil {
		return lockError(o.Dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.manifest.close(), e.lock.Close())
		}
	}()
	if err = checkFormat(fs, o.Dir); err != nil {
		return err
	}
	if err = checkLogTail(fs, o.Dir); err != nil {
		return err
	}
	if err = checkManifest(fs, o.Dir); err != nil {
		return err
	}
	e.cache = pebble.NewCache(o.CacheBytes)
	defer e.cache.Unref()
	if e.db, err = pebble.Open(o.Dir, e.pebbleOptions(o, fs)); err != nil {
		if f := e.failed.Load(); f != nil {
			return fmt.Errorf("storage: open %s: %w", o.Dir, *f)
		}
		return e.openError(err)
	}
	fs.opened.Store(true)
	if f := e.failed.Load(); f != nil {
		return errors.Join(fmt.Errorf("storage: open %s: %w", o.Dir, *f), e.db.Close())
	}
	if err = e.loadHeaderFlags(); err != nil {
		return errors.Join(err, e.db.Close())
	}
	return nil
}

// lockError tells a directory in use from one that can't be written.
func lockError(dir string, err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("storage: lock %s: %w", dir, err)
	}
	return fmt.Errorf("%w: %s: %w; stop the other process or choose another --data", ErrLocked, dir, err)
}

// openError says what is wrong with the directory.
func (e *Engine) openError(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: open %s: %w; the files can't be trusted: replace this node, or restore its directory", ErrCorrupt, e.dir, err)
	}
	return fmt.Errorf("storage: open %s: %w", e.dir, err)
}

// Close syncs and closes. Outstanding Apply calls complete first.
func (e *Engine) Close() error {
	if e.closing.Swap(true) {
		return ErrClosed
	}
	e.leave()
	<-e.drained
	close(e.syncing)
	close(e.stop)
	e.background.Wait()
	e.mu.Lock()
	open := e.mu.snapshots
	e.mu.snapshots = nil
	e.mu.Unlock()
	var errs []error
	for s := range open {
		errs = append(errs, s.snap.Close())
	}
	flushed := false
	if e.failed.Load() == nil {
		err := e.db.LogData(nil, pebble.Sync)
		if err == nil {
			flushed, err = e.flushAtClose()
		}
		errs = append(errs, err)
	}
	errs = append(errs, e.db.Close())
	if flushed && errors.Join(errs...) == nil {
		errs = append(errs, e.removeLogs())
	}
	errs = append(errs, e.manifest.close(), e.lock.Close())
	if f := e.failed.Load(); f != nil {
		return *f
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("storage: close %s: %w", e.dir, err)
	}
	return nil
}

// closeFlush bounds the flush at the end.
const closeFlush = 5 * time.Second

// flushAtClose leaves nothing of the log to replay at the next start, and sstables, whose checksums cover all of their
// bytes, rather than a log. It is a courtesy: what it does not get done lies in the log, synced. It reports whether all got done.
//
// REQUIRES: nothing is written any more.
func (e *Engine) flushAtClose() (all bool, err error) {
	if e.space.full.Load() {
		return false, nil
	}
	flushed, err := e.db.AsyncFlush()
	if err != nil {
		return false, err
	}
	timeout := time.NewTimer(closeFlush)
	defer timeout.Stop()
	select {
	case <-flushed:
		return true, nil
	case <-timeout.C:
		e.logger.Warn("storage: closing before the last flush ended; the next start replays the log", "dir", e.dir)
		return false, nil
	}
}

// enter keeps the engine open until leave. It gives why it can't.
func (e *Engine) enter() error {
	if f := e.failed.Load(); f != nil {
		return *f
	}
	if e.closing.Load() {
		return ErrClosed
	}
	if !e.hold() {
		return ErrClosed
	}
	return nil
}

// hold is enter for the engine's own work, which is done while the engine closes, too; false: there is none any more.
func (e *Engine) hold() bool {
	for {
		n := e.active.Load()
		if n == 0 {
			return false
		}
		if e.active.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends what enter began.
func (e *Engine) leave() {
	if e.active.Add(-1) == 0 {
		close(e.drained)
	}
}

// fail stops the engine for good; err names the file. The first caller's error counts.
func (e *Engine) fail(err error) {
	if !e.failed.CompareAndSwap(nil, &err) {
		return
	}
	e.logger.Error("storage: the engine stops", "err", err, "dir", e.dir)
	e.fatal(err)
}

// readError turns an error of a read into what callers see; corruption stops the engine.
func (e *Engine) readError(op string, err error) error {
	if f := e.failed.Load(); f != nil {
		return *f
	}
	if !isCorruption(err) {
		return fmt.Errorf("storage: %s: %w", op, err)
	}
	err = fmt.Errorf("%w: %s: %s: %w", ErrCorrupt, op, corruptPath(err, e.dir), err)
	e.fail(err)
	return err
}

func isCorruption(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, row.ErrCorrupt)
}

// corruptPath names the file a corruption error is about, as far as it is known.
func corruptPath(err error, dir string) string {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return info.Path
	}
	return dir
}
