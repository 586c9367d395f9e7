package disk

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCrashClonesBesideReuse hung with Pebble's own MemFS (BUGS.md 23).
func TestCrashClonesBesideReuse(t *testing.T) {
	fs := Crashable()
	f, err := fs.Create("a", vfs.WriteCategoryUnspecified)
	check(t, err)
	check(t, f.Close())
	var done sync.WaitGroup
	done.Go(func() {
		for range 20_000 {
			f, err := fs.ReuseForWrite("a", "b", vfs.WriteCategoryUnspecified)
			check(t, err)
			check(t, f.Close())
			check(t, fs.Link("b", "a"))
			check(t, fs.Remove("b"))
		}
	})
	done.Go(func() {
		for range 20_000 {
			fs.CrashClone(vfs.CrashCloneCfg{})
		}
	})
	done.Wait()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
