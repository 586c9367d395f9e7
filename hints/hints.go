// Package hints is hinted handoff: a checksummed, fsynced segment log a peer of the mutations it missed, replayed when it is back. It may
// import vnodes, node/row, node/disk, node/rpc, node/metrics, node/fault. Start reading at Store.
package hints

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"nodedb/node/disk"
	"nodedb/vnodes"
)

// ErrFull says that a peer's hints reached their bound; the hint is dropped, counted, and left to repair.
var ErrFull = errors.New("hints: full")

// Options of Open.
type Options struct {
	FS       disk.FS
	Dir      string
	MaxBytes int64         // a peer; default 1 GiB
	MaxAge   time.Duration // default 3 h
	Segment  int64         // bytes; default 16 MiB
	Now      func() time.Time
	Logger   *slog.Logger
	// Deliver sends one mutation's bytes to the peer and calls done when it was applied durably there (nil), is obsolete (ErrObsolete), or failed. It must not block.
	Deliver func(to vnodes.HostID, mutation []byte, done func(error))
	// Alive reports whether the peer may be sent to.
	Alive func(vnodes.HostID) bool
	// BytesPerSecond throttles replay a peer; 0: 32 MiB/s. InFlight bounds unacknowledged hints a peer; 0: 128.
	BytesPerSecond int64
	InFlight       int
}

// ErrObsolete, given to Deliver's done, says that the hint need not be kept (its table is gone).
var ErrObsolete = errors.New("hints: obsolete")

// Store keeps the hints of one node.
type Store struct{}

// Open reads the segments that are there; a torn tail is cut, a corrupt record in the middle is counted and its segment kept aside.
func Open(o Options) (*Store, error) { panic("contract") }

// Add stores a hint for a peer and calls done when it is synced (group commit). It must not block.
func (s *Store) Add(to vnodes.HostID, mutation []byte, done func(error)) { panic("contract") }

// Run replays until ctx ends: whenever a peer with hints is alive. Wake tells that a peer just came up.
func (s *Store) Run(ctx context.Context) { panic("contract") }
func (s *Store) Wake(peer vnodes.HostID) { panic("contract") }

// Pending is the number of hints not yet delivered, for a peer; PendingAll by peer.
func (s *Store) Pending(peer vnodes.HostID) int64    { panic("contract") }
func (s *Store) PendingAll() map[vnodes.HostID]int64 { panic("contract") }

// Forget drops a removed peer's hints.
func (s *Store) Forget(peer vnodes.HostID) error { panic("contract") }

// Close syncs and stops.
func (s *Store) Close() error { panic("contract") }
