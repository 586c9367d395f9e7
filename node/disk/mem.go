package disk

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// MemFS is a file system in memory whose CrashClone drops what was not synced.
//
// Pebble v2.1.7's own takes its lock for reading twice in Link and ReuseForWrite; a CrashClone that waits between the two never ends, nor do they.
type MemFS struct {
	*vfs.MemFS
	cloning sync.RWMutex // held for reading in what takes the lock below twice
}

// Crashable is an empty MemFS.
func Crashable() *MemFS { return &MemFS{MemFS: vfs.NewCrashableMem()} }

// CrashClone is what a crash at this moment would leave.
func (m *MemFS) CrashClone(c vfs.CrashCloneCfg) *MemFS {
	m.cloning.Lock()
	defer m.cloning.Unlock()
	return &MemFS{MemFS: m.MemFS.CrashClone(c)}
}

// Link implements vfs.FS.
func (m *MemFS) Link(oldname, newname string) error {
	m.cloning.RLock()
	defer m.cloning.RUnlock()
	return m.MemFS.Link(oldname, newname)
}

// ReuseForWrite implements vfs.FS.
func (m *MemFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	m.cloning.RLock()
	defer m.cloning.RUnlock()
	return m.MemFS.ReuseForWrite(oldname, newname, c)
}
