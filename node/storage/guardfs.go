package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/fault"
)

// Fault points: an error from them is what the disk would have answered.
var (
	walWrite = fault.New("storage/wal-write")
	walSync  = fault.New("storage/wal-sync")
	fileSync = fault.New("storage/file-sync")
	newTable = fault.New("storage/new-table") // a flush or compaction begins an sstable
)

const (
	// noSpaceWait is how long a WAL or manifest write waits for space between two tries.
	noSpaceWait = 100 * time.Millisecond
	// noSpaceTries bounds them (a minute); then the store stops.
	noSpaceTries = 600
)

// guardFS stands between Pebble and the disk. The first failed sync, or failed write of a file Pebble can't do without,
// freezes it: the engine fails, and from then on nothing reaches the disk any more. Pebble itself is told that all went
// well, because on v2.1.7 it panics or deadlocks on WAL errors; the engine refuses everything, and acknowledges
// nothing, from before Pebble is told.
//
// Running out of space is different: Pebble retries flushes and compactions by itself, and WAL and manifest writes wait
// here.
//
// While Pebble opens the store it gets the errors: it gives them back.
type guardFS struct {
	vfs.FS
	e      *Engine
	opened atomic.Bool
}

// frozen reports whether nothing may reach the disk any more.
func (g *guardFS) frozen() bool { return g.e.failed.Load() != nil }

// vital reports whether Pebble can't go on without this file's writes, or we without a witness (manifest.go).
func vital(g vfs.FS, name string) bool {
	base := g.PathBase(name)
	return strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.") ||
		strings.HasPrefix(base, manifestWitnessFile)
}

// file makes a file, and wraps it.
func (g *guardFS) file(name string, open func() (vfs.File, error)) (f vfs.File, err error) {
	if err = g.change("create", name, func() (err error) {
		f, err = open()
		return err
	}); err != nil {
		return nil, err
	}
	if f == nil { // it could not be made, and Pebble must not know
		return blackHole{}, nil
	}
	w := &guardFile{File: f, g: g, name: name, vital: vital(g.FS, name)}
	if number, ok := logNumber(g.FS.PathBase(name)); ok {
		w.log, w.state = true, &logState{number: number}
		w.ahead.begin(f)
		g.e.log.Store(w.state)
	}
	if number, ok := manifestNumber(g.FS.PathBase(name)); ok {
		w.state = &logState{number: number}
		g.e.manifest.current.Store(w.state)
	}
	return w, nil
}

// change makes or renames a file. For one that Pebble can't do without it waits for space, and any other error fails the engine and is kept from Pebble.
func (g *guardFS) change(op, name string, do func() error) error {
	if g.frozen() {
		return nil
	}
	err := do()
	if err == nil || !vital(g.FS, name) || !g.opened.Load() {
		return err
	}
	for try := 0; isNoSpace(err) && try < noSpaceTries; try++ {
		g.e.space.ranOut()
		time.Sleep(noSpaceWait)
		err = do()
	}
	if err != nil {
		g.e.fail(fmt.Errorf("%w: %s %s: %w", ErrFailStop, op, name, err))
	}
	return nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Create implements vfs.FS.
func (g *guardFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(g.FS.PathBase(name), "marker.") {
		return g.createMarker(name, c)
	}
	if strings.HasSuffix(name, ".sst") {
		if err := newTable.Hit(); err != nil {
			return nil, err
		}
	}
	return g.file(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

// createMarker makes the empty file whose name says which manifest counts. Pebble v2.1.7 syncs the directory only once the new marker is there and the old one gone:
// on a file system that doesn't keep the order of such changes, a power loss in between leaves a marker without its manifest, or none. So what
// the marker names is made durable before it, and the marker before the old one goes.
func (g *guardFS) createMarker(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	var dir vfs.File
	if err = g.change("open the directory of", name, func() (err error) {
		dir, err = g.OpenDir(g.FS.PathDir(name))
		return err
	}); err != nil {
		return nil, err
	}
	if dir == nil {
		return blackHole{}, nil
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return nil, err
	}
	if f, err = g.file(name, func() (vfs.File, error) { return g.FS.Create(name, c) }); err != nil {
		return nil, err
	}
	if err := dir.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenReadWrite implements vfs.FS.
func (g *guardFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.file(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (g *guardFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	g.witnessManifest()
	return g.file(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir implements vfs.FS: a directory's sync counts like a file's.
func (g *guardFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guardFile{File: f, g: g, name: name}, nil
}

// Remove implements vfs.FS.
func (g *guardFS) Remove(name string) error {
	if superfluous(g.FS.PathBase(name)) {
		g.witnessManifest()
	}
	if g.frozen() {
		return nil
	}
	return g.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (g *guardFS) RemoveAll(name string) error {
	if g.frozen() {
		return nil
	}
	return g.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (g *guardFS) Rename(oldname, newname string) error {
	return g.change("rename to", newname, func() error { return g.FS.Rename(oldname, newname) })
}

// Link implements vfs.FS.
func (g *guardFS) Link(oldname, newname string) error {
	if g.frozen() {
		return nil
	}
	return g.FS.Link(oldname, newname)
}

// Unwrap implements vfs.FS.
func (g *guardFS) Unwrap() vfs.FS { return g.FS }

// guardFile is a file of a guardFS.
type guardFile struct {
	vfs.File
	g     *guardFS
	name  string
	vital bool

	log     bool
	ahead   logAhead     // of a log
	state   *logState    // of a log or manifest
	written atomic.Int64 // bytes, of a log or manifest
}

// Write implements vfs.File.
func (f *guardFile) Write(p []byte) (n int, err error) {
	if f.g.frozen() {
		return len(p), nil
	}
	for try := 0; ; try++ {
		var wrote int
		wrote, err = f.write(p[n:])
		n += wrote
		if err == nil || (isNoSpace(err) && !f.vital) {
			return n, err
		}
		if isNoSpace(err) && try < noSpaceTries {
			f.g.e.space.ranOut()
			time.Sleep(noSpaceWait)
			continue
		}
		f.g.e.fail(fmt.Errorf("%w: write %s: %w", ErrFailStop, f.name, err))
		return len(p), nil
	}
}

func (f *guardFile) write(p []byte) (int, error) {
	if f.log {
		if err := walWrite.Hit(); err != nil {
			return 0, err
		}
		f.ahead.reach(f.File, f.written.Load()+int64(len(p)))
	}
	n, err := f.File.Write(p)
	f.written.Add(int64(n))
	return n, err
}

// Preallocate implements vfs.File. Logs are written ahead (logahead.go): blocks that Pebble takes for them, as many as a memtable and a tenth have, would lie there unused in
// logs of small memtables, and for as long as those are kept.
func (f *guardFile) Preallocate(offset, length int64) error {
	if f.log || f.g.frozen() {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

// sync answers for all kinds of sync. full: all that was written is durable afterwards.
func (f *guardFile) sync(full bool, do func() error) error {
	if f.g.frozen() {
		return nil
	}
	point, written := fileSync, f.written.Load()
	if f.log {
		point = walSync
	}
	err := point.Hit()
	if err == nil {
		err = do()
	}
	if err != nil && !fault.Planted("storage/failed-sync-ignored") {
		f.g.e.fail(fmt.Errorf("%w: sync %s: %w", ErrFailStop, f.name, err))
		return nil
	}
	if f.state != nil && full {
		f.state.synced.Store(written)
	}
	return nil
}

// Sync implements vfs.File.
func (f *guardFile) Sync() error { return f.sync(true, f.File.Sync) }

// SyncData implements vfs.File.
func (f *guardFile) SyncData() error { return f.sync(true, f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *guardFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(false, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// blackHole is a file of a frozen file system, and what is known of it: Pebble panics when it can't stat a log that it uses again.
type blackHole struct{}

func (blackHole) Name() string           { return "" }
func (blackHole) Size() int64            { return 0 }
func (blackHole) Mode() os.FileMode      { return 0 }
func (blackHole) ModTime() time.Time     { return time.Time{} }
func (blackHole) IsDir() bool            { return false }
func (blackHole) Sys() any               { return nil }
func (blackHole) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (blackHole) Close() error                            { return nil }
func (blackHole) Read([]byte) (int, error)                { return 0, io.EOF }
func (blackHole) ReadAt([]byte, int64) (int, error)       { return 0, io.EOF }
func (blackHole) Write(p []byte) (int, error)             { return len(p), nil }
func (blackHole) WriteAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (blackHole) Preallocate(int64, int64) error          { return nil }
func (blackHole) Stat() (vfs.FileInfo, error)             { return blackHole{}, nil }
func (blackHole) Sync() error                             { return nil }
func (blackHole) SyncTo(int64) (fullSync bool, err error) { return false, nil }
func (blackHole) SyncData() error                         { return nil }
func (blackHole) Prefetch(int64, int64) error             { return nil }
func (blackHole) Fd() uintptr                             { return vfs.InvalidFd }
