package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// failing fails the n-th change of the disk, once, with EIO.
type failing struct {
	left atomic.Int64
	mu   struct {
		sync.Mutex
		op    disk.Op   // the one that failed
		at    time.Time // when
		fatal time.Time // when the engine said so
	}
}

func (f *failing) change(op disk.Op) error {
	if op.Phase == disk.After || f.left.Add(-1) != 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.op, f.mu.at = op, time.Now()
	return syscall.EIO
}

func (f *failing) fatal(error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.fatal = time.Now()
}

// stopped reports whether the engine has told of the failure.
func (f *failing) stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.mu.fatal.IsZero()
}

// TestEveryFailedChange (FAULTS row 5) fails each change of the disk in turn, of a script that writes, flushes, compacts and reopens. A failed sync, and a failed write of a log,
// a manifest or a marker, stops the engine within a second, and nothing is acknowledged afterwards. Whatever failed, what was acknowledged survives a power loss.
func TestEveryFailedChange(t *testing.T) {
	places, stops, slowest := 0, map[string]int{}, time.Duration(0)
	step := int64(5)
	if *clones >= 1000 { // a campaign
		step = 1
	}
	for n := int64(1); ; n += step {
		f := &failing{}
		f.left.Store(n)
		failChange(t, f)
		if t.Failed() {
			t.Fatalf("change %d: %+v", n, f.mu.op)
		}
		if f.left.Load() > 0 {
			break // there are no more
		}
		places++
		if f.stopped() {
			stops[f.mu.op.Kind]++
			slowest = max(slowest, f.mu.fatal.Sub(f.mu.at))
		}
	}
	if places < 30 || stops["sync"] < 10 {
		t.Errorf("%d places, stops %v: the script meets too few", places, stops)
	}
	reportRow(t, 5, "each of %d changes failed; the engine stopped by kind: %v, at most %v later; 0 acknowledged rows lost", places, stops, slowest)
}

// TestNoSpaceForANewLogWaits meets ENOSPC where Pebble begins a log: it would panic. In real time: Pebble holds mutexes while it waits, and a bubble's clock stands still
// while somebody wants one.
func TestNoSpaceForANewLogWaits(t *testing.T) {
	const tries = 3
	var met, full atomic.Int64
	e := openTest(t, disk.Watch(disk.Crashable(), func(op disk.Op) error {
		if full.Load() == 1 && op.Kind == "create" && strings.HasSuffix(op.Name, ".log") && met.Add(1) <= tries {
			return syscall.ENOSPC
		}
		return nil
	}))
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	full.Store(1)
	check(t, e.db.Flush()) // begins a log
	apply(t, e, insert(testTable, "k", "b", 1, "v"))
	if n := met.Load(); n <= tries {
		t.Errorf("%d tries to make a log", n)
	}
	check(t, e.Close())
}

// TestNoSpaceForAManifestWitnessWaits meets ENOSPC where what is superfluous is about to be deleted, which makes room: that must not stop the engine.
func TestNoSpaceForAManifestWitnessWaits(t *testing.T) {
	const tries = 3
	var met, full atomic.Int64
	e := openTest(t, disk.Watch(disk.Crashable(), func(op disk.Op) error {
		if full.Load() == 1 && (op.Kind == "create" || op.Kind == "write") && strings.Contains(op.Name, manifestWitnessFile) && met.Add(1) <= tries {
			return syscall.ENOSPC
		}
		return nil
	}))
	full.Store(1)
	for _, c := range []string{"a", "b", "c"} {
		apply(t, e, insert(testTable, "k", c, 1, "v"))
		check(t, e.db.Flush())
	}
	check(t, e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false))
	e.db.TestOnlyWaitForCleaning()
	if n := met.Load(); n <= tries {
		t.Errorf("%d tries to write a witness", n)
	}
	check(t, e.Close())
}

// noDirs is a disk whose directories can't be opened now and then: the process has too many files open.
type noDirs struct {
	disk.FS
	broken atomic.Bool
}

func (f *noDirs) OpenDir(name string) (vfs.File, error) {
	if f.broken.Load() {
		return nil, syscall.EMFILE
	}
	return f.FS.OpenDir(name)
}

// TestNoDirectoryForAMarker: what Pebble can't go on without stops the engine, and Pebble does not hear of it.
func TestNoDirectoryForAMarker(t *testing.T) {
	fs := &noDirs{FS: disk.Crashable()}
	var fatal atomic.Int64
	e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(error) { fatal.Add(1) }})
	check(t, err)
	fs.broken.Store(true)
	g := guardFS{FS: fs, e: e}
	g.opened.Store(true)
	f, err := g.Create("data/marker.manifest.000009.MANIFEST-000009", vfs.WriteCategoryUnspecified)
	if err != nil || f == nil || fatal.Load() != 1 {
		t.Errorf("Create gave %v, %v; the engine stopped %d times", f, err, fatal.Load())
	}
	if err := e.Close(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Close gave %v", err)
	}
}

func failChange(t *testing.T, f *failing) {
	mem := disk.Crashable()
	fs := disk.Watch(mem, f.change)
	acked := map[string]bool{}
	for life := range 2 {
		e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: f.fatal})
		if err != nil {
			if !errors.Is(err, syscall.EIO) && !strings.Contains(err.Error(), syscall.EIO.Error()) {
				t.Errorf("Open gave %v", err)
			}
			break
		}
		_ = e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk}, 10)
		for i := range 6 {
			stopped := f.stopped()
			c := fmt.Sprintf("life%d-%d", life, i)
			err := applyErr(e, insert(testTable, "k", c, 1, "v"))
			if err == nil {
				acked["k/"+c+"=v"] = true
				if stopped {
					t.Errorf("%s is acknowledged after the engine stopped", c)
				}
			}
			if i == 3 {
				_ = e.db.Flush()
				_ = e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false)
			}
		}
		_ = e.Close()
		if f.stopped() {
			break
		}
	}
	op := f.mu.op
	must := op.Kind == "sync" || op.Kind == "write" && vital(mem, op.Name)
	if f.left.Load() <= 0 && must && !f.stopped() && len(acked) == 12 {
		t.Errorf("a failed %s of %s did not stop the engine", op.Kind, op.Name)
	}
	if f.stopped() && f.mu.fatal.Sub(f.mu.at) > time.Second {
		t.Errorf("a failed %s of %s stopped the engine %v later", op.Kind, op.Name, f.mu.fatal.Sub(f.mu.at))
	}
	promised := make([]string, 0, len(acked))
	for v := range acked {
		promised = append(promised, v)
	}
	checkPromised(t, mem.CrashClone(vfs.CrashCloneCfg{}), promised)
}
