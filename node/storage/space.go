package storage

import (
	"fmt"
	"sync/atomic"
	"time"

	"nodedb/node/disk"
)

const (
	// defaultDiskFloor is the free space below which writes are refused, however small the disk. It is what Pebble gets for its logs (each as
	// large as a memtable, and some are kept to be used again), to flush and compact with, and system entries to be written to: with less it meets a full disk in
	// its log, which stops the node, or retries flushes in a loop.
	defaultDiskFloor = 256 << 20
	// spacePeriod and spaceBytes say how often the free space is looked at.
	spacePeriod = time.Second
	spaceBytes  = 32 << 20
)

// spaceGuard refuses writes before the disk is full: Pebble itself can't meet ENOSPC in its log and live.
type spaceGuard struct {
	fs    disk.FS
	dir   string
	floor uint64 // bytes

	watched bool // the file system tells its free space
	full    atomic.Bool
	free    atomic.Uint64
	written atomic.Int64 // bytes since the last look
	look    chan struct{}
}

// start looks for the first time and keeps looking, where the file system can tell.
func (s *spaceGuard) start(e *Engine, o *Options) {
	s.fs, s.dir, s.look = o.FS, o.Dir, make(chan struct{}, 1)
	if _, err := s.fs.GetDiskUsage(s.dir); err != nil {
		return // a file system in memory
	}
	s.watched = true
	if s.floor = o.DiskFloor; s.floor == 0 {
		s.floor = defaultDiskFloor
	}
	s.check()
	e.background.Go(func() { s.watch(e) })
}

func (s *spaceGuard) watch(e *Engine) {
	ticker := time.NewTicker(spacePeriod)
	defer ticker.Stop()
	var idle idleFlush
	for {
		select {
		case <-e.stop:
			return
		case <-ticker.C:
			idle.look(e)
		case <-s.look:
		}
		if was, now := s.full.Load(), s.check(); was != now {
			e.logger.Warn("storage: free space crossed the floor", "writes_refused", now, "free_bytes", s.free.Load(), "floor_bytes", s.floor, "dir", s.dir)
		}
	}
}

// check measures. Writes are taken again only a quarter above the floor, so as not to flicker.
func (s *spaceGuard) check() (full bool) {
	s.written.Store(0)
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return s.full.Load() // keep what we know
	}
	s.free.Store(usage.AvailBytes)
	threshold := s.floor
	if s.full.Load() {
		threshold += s.floor / 4
	}
	full = usage.AvailBytes < threshold
	s.full.Store(full)
	return full
}

// admit refuses a write while the disk is full.
func (s *spaceGuard) admit() error {
	if !s.full.Load() {
		return nil
	}
	return fmt.Errorf("%w: %d MiB are free under %s, %d MiB are kept in reserve; free some space, writes go on by themselves",
		ErrDiskFull, s.free.Load()>>20, s.dir, (s.floor+s.floor/4)>>20)
}

// wrote counts bytes on their way to the disk.
func (s *spaceGuard) wrote(n int) {
	if s.watched && s.written.Add(int64(n)) >= spaceBytes {
		s.kick()
	}
}

// ranOut is told that the disk answered ENOSPC.
func (s *spaceGuard) ranOut() {
	if s.watched {
		s.full.Store(true)
		s.kick()
	}
}

func (s *spaceGuard) kick() {
	select {
	case s.look <- struct{}{}:
	default: // a look is due already
	}
}
