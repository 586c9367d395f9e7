// Package hints is hinted handoff: a checksummed, fsynced segment log a peer of the mutations it missed, replayed when it is back. It may
// import vnodes, node/row, node/disk, node/rpc, node/metrics, node/fault. Start reading at Store.
package hints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/node/metrics"
	"nodedb/vnodes"
)

// Sentinel errors; operations wrap them with what they did.
var (
	// ErrFull says that a peer's hints reached their bound; the hint is dropped, counted, and left to repair.
	ErrFull = errors.New("hints: full")
	// ErrBusy says that too many hints wait for the disk; the hint is dropped, counted, and left to repair.
	ErrBusy = errors.New("hints: too many wait for the disk")
	// ErrTooLarge says that a hint exceeds MaxHintBytes, or is empty.
	ErrTooLarge = errors.New("hints: not a mutation of 1 byte to 16 MiB")
	// ErrRefused, given to Deliver's done, says that the peer can never take the hint: it is dropped and counted. Any other failure is tried
	// again until MaxAge.
	ErrRefused = errors.New("hints: refused for good")
	// ErrOverloaded, given to Deliver's done, says that the peer sheds hints: they go on after a pause, more slowly. It is no failure.
	ErrOverloaded = errors.New("hints: the peer has no room for hints now")
	// ErrObsolete, given to Deliver's done, says that the hint need not be kept (its table is gone). Add's done gets it for a peer that was
	// forgotten meanwhile.
	ErrObsolete = errors.New("hints: obsolete")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("hints: closed")
	// ErrFailed says that a sync failed: what the disk holds is unknown, and no hint is taken any more until a restart.
	ErrFailed = errors.New("hints: stopped after a failed sync")
	// ErrVersion says that a file was written by a newer nodedb.
	ErrVersion = errors.New("hints: written by a newer nodedb")
)

// Options of Open.
type Options struct {
	FS       disk.FS
	Dir      string
	MaxBytes int64         // a peer; default 1 GiB
	MaxAge   time.Duration // default 3 h
	Segment  int64         // bytes; default 16 MiB
	Now      func() time.Time
	Logger   *slog.Logger
	// Deliver sends some hints' mutations to the peer, in one message where that serves, and calls done once for each, by its index, when it was
	// applied durably there (nil), is obsolete (ErrObsolete), was shed (ErrOverloaded) or failed. One that is refused must not take the others
	// with it. Deliver must not block, and may call done before it returns. What it is given is its own to keep.
	Deliver func(to vnodes.HostID, mutations [][]byte, done func(i int, err error))
	// Alive reports whether the peer may be sent to.
	Alive func(vnodes.HostID) bool
	// Foreground tells how many requests of clients this node has answered since its start, and how long all took together: hints make way for
	// them (governor.go). nil: there are none.
	Foreground func() (requests int64, took time.Duration)
	// BytesPerSecond throttles replay a peer; 0: 32 MiB/s. BatchBytes bounds what goes in one Deliver, but for a single hint; 0: 32 KiB. InFlight
	// bounds the Delivers a peer that have not ended; 0: 4.
	BytesPerSecond int64
	BatchBytes     int64
	InFlight       int
	// Lost is told that hints for a peer were not kept or were given up (overflow, expiry, damage, a full disk, a refusal for good): what the
	// peer missed is left to anti-entropy, which should look at it first. Run calls it, from its one goroutine and holding no lock, at most once
	// a peer and ReplayInterval. nil: nobody is told.
	Lost func(to vnodes.HostID)
	// Metrics shows the store's counters; nil: nowhere.
	Metrics *metrics.Registry
	// Fatal is called once when a sync failed; nil: it is only logged, and Add gives ErrFailed from then on.
	Fatal func(error)
}

const (
	// MaxQueuedBytes bounds the hints that wait for the disk, of all peers.
	MaxQueuedBytes = 64 << 20
	// MaxInFlightBytes bounds the unacknowledged hints of a peer, beside InFlight. One hint may always be under way.
	MaxInFlightBytes = 32 << 20
	// maxReplays bounds the peers that are sent to at once; the others wait in line.
	maxReplays = 8
	// ReplayInterval is how often peers with hints are tried without a Wake, and old hints dropped.
	ReplayInterval = time.Second
)

func (o *Options) setDefaults() {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 3 * time.Hour
	}
	if o.Segment <= 0 {
		o.Segment = 16 << 20
	}
	if o.BytesPerSecond <= 0 {
		o.BytesPerSecond = 32 << 20
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 32 << 10
	}
	if o.InFlight <= 0 {
		o.InFlight = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Store keeps the hints of one node.
//
// One goroutine, the writer (writer.go), changes files: it appends what Add queued, many hints to one sync, saves each peer's progress,
// and removes segments. Run (replay.go) has one goroutine for each peer that is being sent to; those only read. What they share is in
// memory, under mu, which nobody holds across a call, a send or I/O.
//
//  1. A hint is acknowledged (Add's done) once its record and its segment's directory entry are synced.
//  2. It is pending until Deliver's done said that it was applied or is obsolete, or until it expired.
//  3. A peer's acked position never passes a pending hint. What lies before it is gone for good once it is saved, and a segment is
//     removed only after the position behind it was saved: a removal that a crash undoes brings nothing back.
//  4. Hints may be delivered twice (after a crash, or a failure that was none): they are idempotent mutations.
type Store struct {
	o     Options
	stats stats

	usual      atomic.Int64  // how long a foreground request takes while nothing is replayed, ns; 0: unknown
	work       chan struct{} // capacity 1: the writer has something to do
	due        chan struct{} // capacity 1: Run should look for peers to send to
	writerDone chan struct{}

	mu struct {
		sync.Mutex
		peers  map[vnodes.HostID]*peer
		lost   map[vnodes.HostID]int64 // hints not kept or given up since Open
		untold []vnodes.HostID         // of them, those that Options.Lost is to be told of; each once
		dirty  []*peer                 // have work for the writer; each once
		queued int64                   // bytes of all queues
		active int                     // replays
		closed bool
		failed error
	}
}

// Add stores a hint for a peer and calls done when it is synced (group commit). It does not block and keeps a copy. done gets the
// reason when the hint is not kept, then possibly before Add returns; it must not block.
func (s *Store) Add(to vnodes.HostID, mutation []byte, done func(error)) {
	if len(mutation) == 0 || len(mutation) > MaxHintBytes {
		s.mu.Lock()
		s.lose(to, 1)
		s.mu.Unlock()
		done(fmt.Errorf("%w: %d bytes", ErrTooLarge, len(mutation)))
		return
	}
	encoded := appendRecord(make([]byte, 0, recordBytes+len(mutation)), s.o.Now().UnixMilli(), mutation)
	if err := s.queue(to, encoded, done); err != nil {
		done(err)
	}
}

// queue hands a record to the writer.
func (s *Store) queue(to vnodes.HostID, encoded []byte, done func(error)) error {
	size := int64(len(encoded))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.closed:
		return ErrClosed
	case s.mu.failed != nil:
		s.lose(to, 1)
		return s.mu.failed
	case s.mu.queued+size > MaxQueuedBytes:
		s.stats.busy.Add(1)
		s.lose(to, 1)
		return fmt.Errorf("%w: %d bytes", ErrBusy, s.mu.queued)
	}
	p := s.mu.peers[to]
	if p == nil {
		p = newPeer(to)
		s.mu.peers[to] = p
	}
	if p.bytes+size > s.o.MaxBytes {
		s.stats.full.Add(1)
		s.lose(to, 1)
		return fmt.Errorf("%w: %d bytes are kept for %s, the limit is %d", ErrFull, p.bytes, to, s.o.MaxBytes)
	}
	p.bytes += size
	s.mu.queued += size
	p.queue = append(p.queue, queued{encoded, done})
	s.markDirty(p)
	return nil
}

// markDirty has the writer look at a peer. REQUIRES: mu.
func (s *Store) markDirty(p *peer) {
	if p.dirty {
		return
	}
	p.dirty = true
	s.mu.dirty = append(s.mu.dirty, p)
	signal(s.work)
}

// signal wakes who waits on a channel of capacity 1; one signal stands for many.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Wake tells that a peer just came up: it is tried at once.
func (s *Store) Wake(id vnodes.HostID) {
	s.mu.Lock()
	p := s.mu.peers[id]
	if p != nil {
		p.notBefore = time.Time{}
	}
	s.mu.Unlock()
	if p != nil {
		signal(s.due)
	}
}

// Pending is the number of hints not yet delivered, for a peer.
func (s *Store) Pending(id vnodes.HostID) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.mu.peers[id]; p != nil {
		return p.pending
	}
	return 0
}

// PendingAll is Pending of all peers that have hints.
func (s *Store) PendingAll() map[vnodes.HostID]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[vnodes.HostID]int64, len(s.mu.peers))
	for id, p := range s.mu.peers {
		if p.pending > 0 {
			all[id] = p.pending
		}
	}
	return all
}

// Lost is, for each peer, the number of hints that were not kept or were given up since Open: what it missed is left to anti-entropy. Damage
// counts as one where nobody knows how many there were.
func (s *Store) Lost() map[vnodes.HostID]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.lost)
}

// lose counts hints that a peer will not get from here. REQUIRES: mu.
func (s *Store) lose(to vnodes.HostID, n int64) {
	if fault.Planted("hints/loss-not-told") {
		return
	}
	s.mu.lost[to] += n
	if !slices.Contains(s.mu.untold, to) {
		s.mu.untold = append(s.mu.untold, to)
	}
}

// tellLost passes on which peers lost hints.
func (s *Store) tellLost() {
	s.mu.Lock()
	lost := s.mu.untold
	s.mu.untold = nil
	s.mu.Unlock()
	if s.o.Lost == nil {
		return
	}
	for _, id := range lost {
		s.o.Lost(id)
	}
}

// Forget drops a removed peer's hints, and returns when their files are gone.
func (s *Store) Forget(id vnodes.HostID) error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	delete(s.mu.lost, id)
	s.mu.untold = slices.DeleteFunc(s.mu.untold, func(lost vnodes.HostID) bool { return lost == id })
	p := s.mu.peers[id]
	if p == nil {
		s.mu.Unlock()
		return nil
	}
	if p.forgotten == nil {
		p.forgotten = make(chan struct{})
		delete(s.mu.peers, id)
		s.stats.dropped.Add(p.pending)
		s.markDirty(p)
	}
	signal(p.kick)
	s.mu.Unlock()
	<-p.forgotten
	return p.forgetErr
}

// Close syncs and stops. End Run first: what is under way then counts as not delivered.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.mu.closed
	s.mu.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	signal(s.work)
	<-s.writerDone
	s.mu.Lock()
	peers := slices.Collect(maps.Values(s.mu.peers))
	failed := s.mu.failed
	s.mu.Unlock()
	errs := []error{failed}
	for _, p := range peers {
		errs = append(errs, s.savePosition(p), p.closeActive())
	}
	return errors.Join(errs...)
}

// Run replays until ctx ends: whenever a peer with hints is alive. Call it once.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(ReplayInterval)
	defer tick.Stop()
	var senders sync.WaitGroup
	defer senders.Wait()
	quiet := s.look()
	s.tellLost() // of what Open found
	for {
		for _, p := range s.ready() {
			if s.o.Alive(p.id) && s.begin(p) {
				senders.Go(func() {
					s.replay(ctx, p)
					s.ended()
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			quiet = s.learnUsual(quiet)
			s.expire()
			s.tellLost()
		case <-s.due:
		}
	}
}

// ended makes room for the next peer in line.
func (s *Store) ended() {
	s.mu.Lock()
	s.mu.active--
	s.mu.Unlock()
	signal(s.due)
}
