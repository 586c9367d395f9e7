// Package batchlog keeps logged batches for other nodes until their coordinators say that they were written, and has those written again whose coordinators
// don't. It may import what package coordinator may, and coordinator itself. Start reading at Log.
package batchlog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"nodedb/coordinator"
	"nodedb/node/clock"
	"nodedb/node/metrics"
	"nodedb/node/rpc"
	"nodedb/node/storage"
)

// Store is this node's storage: its system key space.
type Store interface {
	GetSystem(key string) ([]byte, error)
	ScanSystem(prefix string, f func(key string, value []byte) bool) error
	ApplySystem(pairs []storage.Pair, done func(error))
}

// Options of Open.
type Options struct {
	Store Store
	Clock *clock.HLC
	// Deliver writes an entry to all its owners (coordinator.Redeliver). It does not block, and keeps the entry's bytes.
	Deliver func(entry []byte, done func(error))
	// After is how long an entry is left to its coordinator, or after a try that failed, before it is written again: more than a request takes,
	// and little of the minute that a batch may be half there. Default 4 s.
	After time.Duration
	// MaxBytes bounds what is kept; more is refused as overload. Default 256 MiB.
	MaxBytes int64
	// BytesPerSecond throttles what is written again; default 1 MiB/s. One entry a second goes at least.
	BytesPerSecond int64
	Logger         *slog.Logger
	Metrics        *metrics.Registry
}

const (
	// maxEntries bounds what is kept beside MaxBytes. Entries live for milliseconds, unless a coordinator dies or a level isn't met.
	maxEntries = 1 << 17
	// maxQueued bounds the entries that wait for the store.
	maxQueued = 4096
	// maxBurst bounds how many entries are written as one batch, and maxBurstBytes their bytes beside the last one's.
	maxBurst      = 64
	maxBurstBytes = 1 << 20
	// maxEnded bounds how many ends go along with a burst.
	maxEnded = 4096
)

// keyPrefix and 16 bytes in hexadecimal are an entry's key. Permanent: it is on disk.
const keyPrefix = "batch/"

func keyOf(id coordinator.BatchID) string { return keyPrefix + hex.EncodeToString(id[:]) }

// Log keeps the entries of one node.
//
//  1. Put's done(nil) is called only once the entry is as durable as the store's mode promises.
//  2. An entry is on disk until it was ended (Remove, or written again in full); after that it may still be there for a while, and come back at a
//     restart: writing it again changes nothing.
//  3. What is due stands first: entries are left alone equally long after they came and after each try.
//
// One goroutine writes, so that a disk that stalls holds up no connection; one, Run, has what is due written again.
type Log struct {
	Options
	queue chan put
	ended sync.WaitGroup // of the writer
	wake  chan struct{}  // capacity 1: a try has ended

	mu struct {
		sync.Mutex
		closed  bool
		entries map[coordinator.BatchID]*entry
		due     []*entry // in the order in which they become due; ended ones are passed over
		bytes   int64    // of entries
		gone    []string // keys of ended entries, to be deleted
		trying  int      // entries that are being written again
	}
	stats struct{ kept, refused, replayed, failed metrics.Counter }
}

// entry is what memory holds of one.
type entry struct {
	id    coordinator.BatchID
	size  int64
	due   time.Time
	tries int
	ended bool
	// stored: the store has acknowledged it.
	stored bool
}

// put is an entry on its way to the store.
type put struct {
	e    *entry
	body []byte
	done func(error)
}

// Open finds what is kept from before; its coordinators have a while to end it.
func Open(o Options) (*Log, error) {
	if o.After == 0 {
		o.After = 4 * time.Second
	}
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = 1 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{Options: o, queue: make(chan put, maxQueued), wake: make(chan struct{}, 1)}
	l.mu.entries = map[coordinator.BatchID]*entry{}
	l.measure()
	var bad error
	err := o.Store.ScanSystem(keyPrefix, func(key string, value []byte) bool {
		id, err := idOf(key)
		if bad = errors.Join(bad, err); err == nil {
			l.admit(id, int64(len(value))).stored = true
		}
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("batch log: %w", err)
	}
	l.ended.Go(l.write)
	return l, nil
}

func idOf(key string) (id coordinator.BatchID, err error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(key, keyPrefix))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%w: %q is no key of a batch", storage.ErrCorrupt, key)
	}
	return coordinator.BatchID(raw), nil
}

func (l *Log) measure() {
	r := l.Metrics
	l.stats.kept = r.Counter("nodedb_batchlog_kept_total", "Batches kept for coordinators.")
	l.stats.refused = r.Counter("nodedb_batchlog_refused_total", "Batches not kept: too many, or no room on the disk.")
	l.stats.replayed = r.Counter("nodedb_batchlog_replayed_total", "Batches written again in full, because their coordinator did not say that they were.")
	l.stats.failed = r.Counter("nodedb_batchlog_failed_total", "Tries to write a batch again that failed; each is tried again.")
	r.GaugeFunc("nodedb_batchlog_entries", "Batches kept now.", func() float64 { return float64(l.Len()) })
}

// Register sets the verbs' handlers.
func (l *Log) Register(t rpc.Transport) {
	t.Handle(rpc.VerbBatchLog, l.handlePut)
	t.Handle(rpc.VerbBatchDone, l.handleRemove)
}

func (l *Log) handlePut(in *rpc.Inbound) {
	m, err := coordinator.DecodeBatch(in.Body)
	if err != nil {
		in.Reply(nil, invalid(err))
		return
	}
	l.Put(m, func(err error) { in.Reply(nil, err) })
}

func (l *Log) handleRemove(in *rpc.Inbound) {
	ids, err := coordinator.DecodeBatchDone(in.Body)
	if err != nil {
		in.Reply(nil, invalid(err))
		return
	}
	l.Remove(ids)
	in.Reply(nil, nil)
}

func invalid(err error) error {
	return &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "batch log: " + err.Error()}
}

// Put keeps an entry; m's bytes have to stay until done. A coordinator whose clock is far ahead is refused: written again, its batch would win over what
// others write until then.
func (l *Log) Put(m *coordinator.BatchMessage, done func(error)) {
	if err := l.Clock.Update(m.Clock); err != nil {
		done(&rpc.RemoteError{Code: rpc.CodeClock, Message: err.Error()})
		return
	}
	if _, err := coordinator.DecodeBatchEntry(m.Entry); err != nil {
		done(invalid(err))
		return
	}
	if err := l.enqueue(m, done); err != nil {
		l.stats.refused.Inc()
		done(err)
	}
}

// enqueue hands an entry to the writer.
func (l *Log) enqueue(m *coordinator.BatchMessage, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := int64(len(m.Entry))
	full := l.mu.entries[m.ID] == nil && (len(l.mu.entries) >= maxEntries || l.mu.bytes+size > l.MaxBytes)
	switch {
	case l.mu.closed:
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the node is shutting down"}
	case full || len(l.queue) == maxQueued:
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many batches are open in the batch log"}
	}
	l.queue <- put{l.admitLocked(m.ID, size), m.Entry, done} // there is room: who sends holds mu
	return nil
}

func (l *Log) admit(id coordinator.BatchID, size int64) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.admitLocked(id, size)
}

// admitLocked notes an entry. One that came twice is one. REQUIRES: mu.
func (l *Log) admitLocked(id coordinator.BatchID, size int64) *entry {
	if e := l.mu.entries[id]; e != nil {
		return e
	}
	e := &entry{id: id, size: size, due: time.Now().Add(l.After)}
	l.mu.entries[id] = e
	l.mu.bytes += size
	l.mu.due = append(l.mu.due, e)
	return e
}

// Remove ends entries: they were written, or nothing of them was. Those that are not here are ignored.
func (l *Log) Remove(ids []coordinator.BatchID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if e := l.mu.entries[id]; e != nil {
			l.endLocked(e)
		}
	}
	l.compactLocked()
}

// endLocked forgets an entry; its key is deleted with the next write. REQUIRES: mu.
func (l *Log) endLocked(e *entry) {
	if e.ended {
		return
	}
	e.ended = true
	delete(l.mu.entries, e.id)
	l.mu.bytes -= e.size
	l.mu.gone = append(l.mu.gone, keyOf(e.id))
}

// compactSlack is how many ended entries due may hold beside as many as live.
const compactSlack = 1024

// compactLocked keeps due from growing by what was ended before its turn. REQUIRES: mu.
func (l *Log) compactLocked() {
	if len(l.mu.due) < 2*len(l.mu.entries)+compactSlack {
		return
	}
	live := make([]*entry, 0, len(l.mu.entries))
	for _, e := range l.mu.due {
		if !e.ended {
			live = append(live, e)
		}
	}
	l.mu.due = live
}

// Len is how many entries are kept.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.entries)
}

// Close ends the writer, and deletes what was ended. The transport must have stopped delivering, and Run have returned.
func (l *Log) Close() {
	l.mu.Lock()
	l.mu.closed = true
	l.mu.Unlock()
	close(l.queue)
	l.ended.Wait()
	l.deleteEnded()
}
