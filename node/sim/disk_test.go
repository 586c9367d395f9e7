package sim

import (
	"errors"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
)

// simDisk is a machine's disk. It outlives incarnations; what a crash leaves is the next one's.
type simDisk struct {
	m  *machine
	mu struct {
		sync.Mutex
		mem  *disk.MemFS
		plan *diskPlan
	}
}

// diskPlan is what is to happen inside the n-th vital operation from now on.
type diskPlan struct {
	left int // operations until then
	// act runs inside that operation, before it: it may crash the machine. An error is what the operation gives.
	act func(op, name string) error
	// only bounds the operations that count; nil: all vital ones.
	only func(op, name string) bool
}

func newDisk(m *machine) *simDisk {
	d := &simDisk{m: m}
	d.mu.mem = disk.Crashable()
	return d
}

// mount gives the disk to an incarnation.
func (d *simDisk) mount(l *life) *lifeFS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &lifeFS{FS: d.mu.mem, d: d, l: l}
}

// crash cuts the disk loose from the incarnation that wrote to it: the next one gets a clone.
func (d *simDisk) crash(cut disk.Cut) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clone, err := cut.Clone(d.mu.mem)
	if err != nil {
		panic(err) // memory does not fail
	}
	d.mu.mem, d.mu.plan = clone, nil
}

// arm plans something for the n-th operation from now.
func (d *simDisk) arm(p *diskPlan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.plan = p
}

// disarm takes a plan back, if it still waits.
func (d *simDisk) disarm(p *diskPlan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.plan == p {
		d.mu.plan = nil
	}
}

// hit counts an operation of an incarnation.
func (d *simDisk) hit(l *life, op, name string) error {
	d.mu.Lock()
	p := d.mu.plan
	if p == nil || !vital(name) || l.deadBy() != nil || p.only != nil && !p.only(op, name) {
		d.mu.Unlock()
		return nil
	}
	p.left--
	if p.left > 0 {
		d.mu.Unlock()
		return nil
	}
	d.mu.plan = nil
	d.mu.Unlock()
	return p.act(op, name)
}

// errIO is what a broken disk answers.
var errIO = errors.New("input/output error")

// lifeFS is the disk as one incarnation sees it. After a crash it goes on over memory that nobody reads any more.
type lifeFS struct {
	vfs.FS
	d *simDisk
	l *life
}

// vital reports whether crashes are taken inside a file's operations: logs, manifests and markers of the store, hints and their progress. Not inside the
// removal of files: Pebble paces it by the real clock.
func vital(name string) bool {
	base := name[strings.LastIndex(name, "/")+1:]
	return strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.") ||
		strings.Contains(name, "/hints/")
}

func (f *lifeFS) wrap(file vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &lifeFile{File: file, fs: f, name: name}, nil
}

func (f *lifeFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.d.hit(f.l, "create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return f.wrap(file, name, err)
}

func (f *lifeFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.d.hit(f.l, "reuse", name); err != nil {
		return nil, err
	}
	file, err := f.FS.ReuseForWrite(old, name, c)
	return f.wrap(file, name, err)
}

func (f *lifeFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap(file, name, err)
}

func (f *lifeFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.wrap(file, name, err)
}

func (f *lifeFS) Rename(old, name string) error {
	if err := f.d.hit(f.l, "rename", name); err != nil {
		return err
	}
	return f.FS.Rename(old, name)
}

// lifeFile is an open file of an incarnation.
type lifeFile struct {
	vfs.File
	fs   *lifeFS
	name string
}

func (f *lifeFile) Write(b []byte) (int, error) {
	if err := f.fs.d.hit(f.fs.l, "write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *lifeFile) Sync() error {
	if err := f.fs.d.hit(f.fs.l, "sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *lifeFile) SyncData() error {
	if err := f.fs.d.hit(f.fs.l, "sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *lifeFile) SyncTo(length int64) (bool, error) {
	if err := f.fs.d.hit(f.fs.l, "sync", f.name); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
