package storage

import "github.com/cockroachdb/pebble/v2/vfs"

// A sync of a file that has grown since the last one, or of blocks that were never written, has to change the file system's metadata too (on ext4 sizes, extents and, if
// there is one, its journal), for each sync of the log. Pebble's logs grow until they are used again, which the first few of a store, and of each start, are not. So a log
// is written ahead with zeros, a piece at a time; what follows overwrites them, and its syncs write data alone. Zeros are no record (recordsEnd): they end a log as
// the end of the file does, and as what an older log left behind does in one that is used again.
const (
	// aheadBytes is how much of a log is written ahead at once. The sync that meets the piece writes it, too, so it must be small; a hundred and more syncs follow.
	aheadBytes = 256 << 10
	// memoryAhead is that of file systems in memory. They gain nothing by it; but so simulations and power losses meet such logs.
	memoryAhead = 4 << 10
)

var aheadZeros [aheadBytes]byte

// logAhead knows how far a log's file has been written, its zeros included. Not safe for concurrent use: Pebble writes a log from one goroutine.
type logAhead struct {
	piece int   // bytes; 0: nothing is written ahead
	end   int64 // bytes
}

// begin looks at a file that has just been made, or is used again.
func (a *logAhead) begin(f vfs.File) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	a.piece, a.end = aheadBytes, info.Size()
	if f.Fd() == vfs.InvalidFd {
		a.piece = memoryAhead
	}
}

// reach is called before bytes up to an offset are written. Without space, or where it fails otherwise, the log goes on without zeros: what is wrong its own writes
// and syncs will meet.
func (a *logAhead) reach(f vfs.File, end int64) {
	if end <= a.end || a.piece == 0 {
		return
	}
	n, err := f.WriteAt(aheadZeros[:a.piece], end)
	if a.end = end + int64(n); err != nil {
		a.piece = 0
	}
}

// removeLogs removes all logs of a store that was flushed to its last write, and closed: its tables hold what they do. Pebble keeps five that it has no use for, each as large as a
// memtable, to write over; but it never writes over those of an earlier process, only removes them, at its start. The manifest's edit that made them
// superfluous is synced, and witnessed (guardFS.Remove). A log that comes back in a power loss is an old one, which Pebble removes, or the last, which is empty.
func (e *Engine) removeLogs() error {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := logNumber(name); ok {
			if err := e.fs.Remove(e.fs.PathJoin(e.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
