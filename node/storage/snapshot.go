package storage

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// Snapshot pins a consistent state to stream from. Close it: it keeps old versions and files alive.
type Snapshot struct {
	e    *Engine
	snap *pebble.Snapshot // nil: the engine was closed already
}

// NewSnapshot pins the current state (tables on disk; memory tables are read live). Of a closed engine it gives one
// whose reads fail.
func (e *Engine) NewSnapshot() *Snapshot {
	s := &Snapshot{e: e}
	if e.enter() != nil {
		return s
	}
	defer e.leave()
	for {
		before := e.doubt.glance(&e.doubt.all)
		s.snap = e.db.NewSnapshot()
		if before.sawAll(&e.doubt) || e.awaitPublished(context.Background()) != nil {
			break // of an engine that has failed nothing can be read
		}
		_ = s.snap.Close()
	}
	e.mu.Lock()
	e.mu.snapshots[s] = struct{}{}
	e.mu.Unlock()
	return s
}

// Read is Engine.Read at the snapshot.
func (s *Snapshot) Read(ctx context.Context, spec *ReadSpec, buf []byte) ([]byte, error) {
	if s.snap == nil {
		return nil, ErrClosed
	}
	return s.e.read(ctx, s.snap, spec, buf)
}

// Close lets the snapshot go. Closing it twice, or after the engine, does nothing. No Read may be under way.
func (s *Snapshot) Close() error {
	s.e.mu.Lock()
	_, open := s.e.mu.snapshots[s]
	delete(s.e.mu.snapshots, s)
	s.e.mu.Unlock()
	if !open {
		return nil
	}
	return s.snap.Close()
}
