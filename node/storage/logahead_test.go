package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
)

// TestLogAhead: a log on a disk is followed by zeros. A process that dies leaves them behind; all that was acknowledged is read back, and damage before them is
// found as ever.
func TestLogAhead(t *testing.T) {
	dir := t.TempDir()
	e := openTest(t, disk.Real(), func(o *Options) { o.Dir = filepath.Join(dir, "data") })
	const rows = 200
	for i := range rows {
		apply(t, e, insert(testTable, "k", fmt.Sprintf("%03d", i), 1, string(bytes.Repeat([]byte("v"), 3000)))) // 600 kB: more than twice what is written ahead
	}
	left := filepath.Join(dir, "left")
	check(t, os.CopyFS(left, os.DirFS(filepath.Join(dir, "data"))))
	check(t, e.Close())
	log, b, number := newestLog(t, left)
	end := recordsEnd(b, uint32(number))
	if ahead := len(b) - end; ahead == 0 || ahead > 2*aheadBytes || !allZero(b[end:]) {
		t.Errorf("%d bytes follow the records, which end at %d", ahead, end)
	}
	b[end-5000] ^= 1 // synced: witnesses behind it say so
	broken := filepath.Join(dir, "broken")
	check(t, os.CopyFS(broken, os.DirFS(left)))
	check(t, os.WriteFile(filepath.Join(broken, log), b, 0o644))
	if e, err := Open(Options{Dir: broken}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged log was opened: %v, %v", e, err)
	}
	e = openTest(t, disk.Real(), func(o *Options) { o.Dir = left })
	if got := len(values(readAll(t, e, partition(testTable, "k")))); got != rows {
		t.Errorf("%d of %d rows are left", got, rows)
	}
	check(t, e.Close())
}

// newestLog gives a store's newest log.
func newestLog(t *testing.T, dir string) (name string, b []byte, number uint64) {
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, entry := range entries {
		if n, ok := logNumber(entry.Name()); ok && n >= number {
			name, number = entry.Name(), n
		}
	}
	b, err = os.ReadFile(filepath.Join(dir, name))
	check(t, err)
	return name, b, number
}

// TestLogsStayWhereFlushesFail: what a stop could not flush in time lies in the log, and nowhere else.
func TestLogsStayWhereFlushesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := disk.Crashable()
		e := openTest(t, fs)
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		late := make(chan struct{})
		disable, err := fault.Enable("storage/new-table", func() error {
			<-late
			return errors.New("no more files")
		})
		check(t, err)
		time.AfterFunc(2*closeFlush, func() { close(late) })
		check(t, e.Close())
		disable()
		e = openTest(t, fs)
		if got := values(readAll(t, e, partition(testTable, "k"))); !slices.Equal(got, []string{"k/a=v"}) {
			t.Errorf("after a stop that could not flush: %q", got)
		}
		check(t, e.Close())
	})
}
