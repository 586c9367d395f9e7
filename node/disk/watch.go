package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// Op is one change of a file system, as Watch tells it.
type Op struct {
	Kind  string // create, write, sync, rename, remove or link
	Name  string // of the file or directory; of a rename or link the new one
	Phase Phase
}

// Phase is how far an Op is.
type Phase uint8

const (
	// Before: nothing has happened yet.
	Before Phase = iota
	// Inside, of writes of two bytes or more: half of it is there.
	Inside
	// After: it is done, and whoever asked for it does not know yet.
	After
)

// Watch is a file system that calls at around each change, so that a test can crash or fail it at any of them. An error of at is what the caller
// gets; Before, the change does not happen then. at is called from any goroutine, several at once.
func Watch(fs FS, at func(Op) error) FS { return &watched{fs, at} }

type watched struct {
	vfs.FS
	at func(Op) error
}

// do runs one change between at's calls.
func (w *watched) do(kind, name string, change func() error) error {
	if err := w.at(Op{kind, name, Before}); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return w.at(Op{kind, name, After})
}

// open is do for what gives a file.
func (w *watched) open(name string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = w.do("create", name, func() (err error) {
		f, err = open()
		return err
	})
	switch {
	case err == nil:
		return &watchedFile{f, w, name}, nil
	case f != nil:
		_ = f.Close() // at's error is what counts
	}
	return nil, err
}

// Create implements vfs.FS.
func (w *watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.open(name, func() (vfs.File, error) { return w.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (w *watched) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.open(newname, func() (vfs.File, error) { return w.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenReadWrite implements vfs.FS.
func (w *watched) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return w.open(name, func() (vfs.File, error) { return w.FS.OpenReadWrite(name, c, o...) })
}

// OpenDir implements vfs.FS.
func (w *watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &watchedFile{f, w, name}, nil
}

// Remove implements vfs.FS.
func (w *watched) Remove(name string) error {
	return w.do("remove", name, func() error { return w.FS.Remove(name) })
}

// Rename implements vfs.FS.
func (w *watched) Rename(oldname, newname string) error {
	return w.do("rename", newname, func() error { return w.FS.Rename(oldname, newname) })
}

// Link implements vfs.FS.
func (w *watched) Link(oldname, newname string) error {
	return w.do("link", newname, func() error { return w.FS.Link(oldname, newname) })
}

// Unwrap implements vfs.FS.
func (w *watched) Unwrap() vfs.FS { return w.FS }

type watchedFile struct {
	vfs.File
	w    *watched
	name string
}

// Write implements vfs.File.
func (f *watchedFile) Write(p []byte) (n int, err error) {
	if err := f.w.at(Op{"write", f.name, Before}); err != nil {
		return 0, err
	}
	if half := len(p) / 2; half > 0 {
		if n, err = f.File.Write(p[:half]); err == nil {
			err = f.w.at(Op{"write", f.name, Inside})
		}
		if err != nil {
			return n, err
		}
	}
	rest, err := f.File.Write(p[n:])
	if n += rest; err != nil {
		return n, err
	}
	return n, f.w.at(Op{"write", f.name, After})
}

// Sync implements vfs.File.
func (f *watchedFile) Sync() error { return f.w.do("sync", f.name, f.File.Sync) }

// SyncData implements vfs.File.
func (f *watchedFile) SyncData() error { return f.w.do("sync", f.name, f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *watchedFile) SyncTo(length int64) (full bool, err error) {
	err = f.w.do("sync", f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
