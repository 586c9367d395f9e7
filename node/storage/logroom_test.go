//go:build unix

package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"nodedb/node/disk"
)

// TestLogsTakeTheirRoom: a log takes the room of what was written to it, not that of a memtable; and a clean stop leaves none, nor what Pebble kept to write over.
func TestLogsTakeTheirRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := openTest(t, disk.Real(), func(o *Options) { o.Dir = dir })
	fillKiB(t, e, 0, 2000) // memtables of 256 KiB, 512 KiB, 1 MiB …
	usage := func() (logs, taken int64) {
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, entry := range entries {
			if _, ok := logNumber(entry.Name()); ok {
				info, err := entry.Info()
				check(t, err)
				logs++
				taken += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		return logs, taken
	}
	if logs, taken := usage(); logs < 3 || taken > 2000*1100+logs*2*aheadBytes {
		t.Errorf("%d logs of 2 MB of rows take %d bytes", logs, taken)
	}
	check(t, e.Close())
	if logs, taken := usage(); logs > 0 {
		t.Errorf("a clean stop leaves %d logs of %d bytes", logs, taken)
	}
	e = openTest(t, disk.Real(), func(o *Options) { o.Dir = dir })
	if got := len(values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow}))); got != 2000 {
		t.Errorf("%d of 2000 rows are left", got)
	}
	check(t, e.Close())
}
