package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/node/row"
)

// TestCrashesLoseNothingAcknowledged takes crash clones while writers write, and looks for every write that was
// acknowledged before.
func TestCrashesLoseNothingAcknowledged(t *testing.T) {
	const writers, each, crashes = 4, 60, 12
	fs := disk.Crashable()
	e := openTest(t, fs)
	var acked sync.Map // key/clustering -> true
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("w%d", w)
				m := insert(testTable, key, fmt.Sprintf("c%03d", i), 1, "v")
				if i%7 == 0 { // a header, the first of the table too: its flag must come back with it
					h := row.EmptyHeader
					h.Ranges = []row.RangeDeletion{{Start: []byte("x"), Timestamp: int64(i + 1)}}
					m.Header = h.Append(nil)
				}
				e.Apply([]row.Mutation{m}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					acked.Store(fmt.Sprintf("%s/c%03d=v", key, i), true)
				})
				if i%20 == 10 && w == 0 {
					check(t, e.db.Flush())
				}
			}
		})
	}
	stopped := make(chan struct{})
	go func() { wg.Wait(); close(stopped) }()
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range crashes {
		if n == crashes-1 {
			<-stopped
		}
		var promised []string
		acked.Range(func(k, _ any) bool { promised = append(promised, k.(string)); return true })
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 50, 100}[n%4], RNG: rng})
		checkPromised(t, clone, promised)
	}
	check(t, e.Close())
}

func checkPromised(t *testing.T, fs disk.FS, promised []string) {
	t.Helper()
	e := openTest(t, fs)
	defer func() { check(t, e.Close()) }()
	there := make(map[string]bool)
	for _, v := range values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow})) {
		there[v] = true
	}
	for _, want := range promised {
		if !there[want] {
			t.Errorf("acknowledged, lost in the crash: %s (of %d)", want, len(promised))
		}
	}
}

// TestHeaderFlagSurvivesWithTheHeader crashes right after the first header of a table was acknowledged.
func TestHeaderFlagSurvivesWithTheHeader(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs)
	h := row.EmptyHeader
	h.Deletion = 10
	apply(t, e, insert(testTable, "k", "m", 5, "old"))
	apply(t, e, headerMutation(testTable, "k", h))
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	check(t, e.Close())
	e = openTest(t, clone)
	defer func() { check(t, e.Close()) }()
	spec := partition(testTable, "k")
	spec.Slices = []Slice{{Start: []byte("m"), End: []byte("n")}} // deep inside: goes by the flag
	if got := values(readAll(t, e, spec)); len(got) != 0 {
		t.Errorf("the partition's deletion was overlooked: %q", got)
	}
}

func TestAcknowledgedIsVisible(t *testing.T) {
	for _, mode := range []SyncMode{SyncBatch, SyncPeriodic} {
		e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync = mode })
		for i := range 200 {
			c := fmt.Sprintf("c%03d", i)
			apply(t, e, insert(testTable, "k", c, 1, "v"))
			spec := partition(testTable, "k")
			spec.Slices = []Slice{{Start: []byte(c), End: []byte(c + "\xff")}}
			if got := values(readAll(t, e, spec)); len(got) != 1 {
				t.Fatalf("mode %d: acknowledged, not visible: %s", mode, c)
			}
		}
		check(t, e.Close())
	}
}

// TestPeriodicSync holds SyncPeriodic to its bound: what is older than a period survives.
func TestPeriodicSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := disk.Crashable()
		e := openTest(t, fs, func(o *Options) { o.Sync, o.SyncPeriod = SyncPeriodic, time.Second })
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		lost := fs.CrashClone(vfs.CrashCloneCfg{})
		time.Sleep(time.Second)
		synctest.Wait()
		kept := fs.CrashClone(vfs.CrashCloneCfg{})
		check(t, e.Close())
		for name, want := range map[disk.FS]int{lost: 0, kept: 1} {
			e := openTest(t, name)
			if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != want {
				t.Errorf("got %q, want %d rows", got, want)
			}
			check(t, e.Close())
		}
	})
}

// TestFailedPeriodicSyncStops: writes are acknowledged before the sync, so the least is that a failed one ends that within a period.
func TestFailedPeriodicSyncStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fatal fatals
		fs := disk.Crashable()
		e := openTest(t, fs, func(o *Options) { o.Sync, o.SyncPeriod, o.Fatal = SyncPeriodic, time.Second, fatal.call })
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		time.Sleep(time.Second)
		synctest.Wait()
		disable, err := fault.Enable("storage/wal-sync", func() error { return syscall.EIO })
		check(t, err)
		defer disable()
		apply(t, e, insert(testTable, "k", "b", 1, "v"))
		time.Sleep(time.Second)
		synctest.Wait()
		if n := fatal.count.Load(); n != 1 {
			t.Errorf("Fatal was called %d times", n)
		}
		if err := applyErr(e, insert(testTable, "k", "c", 1, "v")); !errors.Is(err, ErrFailStop) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a write after the failure gave %v", err)
		}
		if err := e.Close(); !errors.Is(err, ErrFailStop) {
			t.Errorf("Close gave %v", err)
		}
		disable()
		e = openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}))
		if got := values(readAll(t, e, partition(testTable, "k"))); !slices.Equal(got, []string{"k/a=v"}) {
			t.Errorf("after a power loss: %q", got)
		}
		check(t, e.Close())
	})
}

// TestFailedSyncStops fails one sync of each kind: no acknowledgement afterwards, Fatal once with the file's name,
// nothing hangs.
func TestFailedSyncStops(t *testing.T) {
	for _, point := range []string{"storage/wal-sync", "storage/wal-write", "storage/file-sync"} {
		t.Run(point, func(t *testing.T) {
			var fatal fatals
			fs := disk.Crashable()
			e := openTest(t, fs, func(o *Options) { o.Fatal = fatal.call })
			apply(t, e, insert(testTable, "k", "a", 1, "v"))
			disable, err := fault.Enable(point, func() error { return syscall.EIO })
			check(t, err)
			defer disable()
			if point == "storage/file-sync" {
				_ = e.db.Flush() // its sstable's sync fails
			}
			if err := applyErr(e, insert(testTable, "k", "b", 1, "v")); !errors.Is(err, ErrFailStop) || !errors.Is(err, syscall.EIO) {
				t.Errorf("a write after the failure gave %v", err)
			}
			disable() // the disk is well again: that must not matter
			if err := applyErr(e, insert(testTable, "k", "c", 1, "v")); !errors.Is(err, ErrFailStop) {
				t.Errorf("a later write gave %v", err)
			}
			if err := e.PutSystem(Pair{Key: "x", Value: []byte("y")}); !errors.Is(err, ErrFailStop) {
				t.Errorf("PutSystem gave %v", err)
			}
			spec := partition(testTable, "k")
			if _, err := e.Read(context.Background(), &spec, nil); !errors.Is(err, ErrFailStop) {
				t.Errorf("Read gave %v", err)
			}
			if n := fatal.count.Load(); n != 1 {
				t.Fatalf("Fatal was called %d times", n)
			}
			if err := *fatal.first.Load(); !strings.Contains(err.Error(), "data") {
				t.Errorf("Fatal does not name the file: %v", err)
			}
			if err := e.Close(); !errors.Is(err, ErrFailStop) {
				t.Errorf("Close gave %v", err)
			}
			e = openTest(t, fs)
			defer func() { check(t, e.Close()) }()
			if got := values(readAll(t, e, partition(testTable, "k"))); len(got) == 0 || got[0] != "k/a=v" {
				t.Errorf("after a restart: %q", got)
			}
		})
	}
}

// smallDisk is a file system whose free space tests set.
type smallDisk struct {
	disk.FS
	free atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load(), TotalBytes: 100 << 30}, nil
}

func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &smallDisk{FS: disk.Crashable()}
		fs.free.Store(1 << 30)
		e := openTest(t, fs)
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		fs.free.Store(defaultDiskFloor - 1)
		time.Sleep(2 * spacePeriod)
		err := applyErr(e, insert(testTable, "k", "b", 1, "v"))
		if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "255 MiB") {
			t.Errorf("full disk: Apply gave %v", err)
		}
		if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 1 {
			t.Errorf("full disk: read %q", got)
		}
		check(t, e.PutSystem(Pair{Key: "x", Value: []byte("y")}))
		fs.free.Store(defaultDiskFloor + 1) // not yet a quarter above
		time.Sleep(2 * spacePeriod)
		if err := applyErr(e, insert(testTable, "k", "b", 1, "v")); !errors.Is(err, ErrDiskFull) {
			t.Errorf("hardly any space: Apply gave %v", err)
		}
		fs.free.Store(1 << 30)
		time.Sleep(2 * spacePeriod)
		apply(t, e, insert(testTable, "k", "b", 1, "v"))
		check(t, e.Close())
	})
}

// TestNoSpaceInTheLogWaits meets ENOSPC in the log itself, as when another process fills the disk between two looks.
func TestNoSpaceInTheLogWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &smallDisk{FS: disk.Crashable()}
		fs.free.Store(1 << 30)
		e := openTest(t, fs)
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		disable, err := fault.Enable("storage/wal-write", func() error { return syscall.ENOSPC })
		check(t, err)
		fs.free.Store(0)
		first := make(chan error, 1)
		e.Apply([]row.Mutation{insert(testTable, "k", "b", 1, "v")}, func(err error) { first <- err })
		time.Sleep(2 * spacePeriod)
		if err := applyErr(e, insert(testTable, "k", "c", 1, "v")); !errors.Is(err, ErrDiskFull) {
			t.Errorf("no space in the log: the next Apply gave %v", err)
		}
		disable()
		fs.free.Store(1 << 30)
		if err := <-first; err != nil {
			t.Errorf("the write that met ENOSPC gave %v", err)
		}
		time.Sleep(2 * spacePeriod)
		apply(t, e, insert(testTable, "k", "c", 1, "v"))
		check(t, e.Close())
	})
}

// TestCorruptionStopsOrIsHarmless flips bytes all over an sstable: each read gives the right rows, or an error and
// Fatal with the file's name.
func TestCorruptionStopsOrIsHarmless(t *testing.T) {
	dir := t.TempDir()
	e := openTest(t, nil, func(o *Options) { o.Dir = dir })
	for i := range 400 {
		apply(t, e, insert(testTable, fmt.Sprintf("k%02d", i%20), fmt.Sprintf("c%03d", i), 1, strings.Repeat("v", i%50)))
	}
	check(t, e.db.Flush())
	want := values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow}))
	check(t, e.Close())
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	check(t, err)
	if len(tables) == 0 || len(want) != 400 {
		t.Fatalf("%d sstables, %d rows", len(tables), len(want))
	}
	stops := 0
	for _, name := range tables {
		original, err := os.ReadFile(name)
		check(t, err)
		step := max(1, len(original)/25)
		for at := step / 2; at < len(original); at += step {
			flipped := append([]byte(nil), original...)
			flipped[at] ^= 0x40
			check(t, os.WriteFile(name, flipped, 0o644))
			stops += readFlipped(t, dir, filepath.Base(name), at, want)
		}
		check(t, os.WriteFile(name, original, 0o644))
	}
	if stops == 0 {
		t.Error("no flip was noticed")
	}
}

// readFlipped gives 1 where the engine stopped.
func readFlipped(t *testing.T, dir, name string, at int, want []string) int {
	var fatal fatals
	e, err := Open(Options{Dir: dir, Fatal: fatal.call, CacheBytes: 8 << 20})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, byte %d: Open gave %v", name, at, err)
		}
		return 1
	}
	defer func() { _ = e.Close() }() // a stopped engine says so again
	var page []byte
	if err = e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk}, 10); err == nil { // Pebble's own background reads may be first to see it
		page, err = e.Read(context.Background(), &ReadSpec{Storage: testTable, Range: everything, Now: testNow}, nil)
	}
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || fatal.count.Load() != 1 || !strings.Contains((*fatal.first.Load()).Error(), name) {
			t.Errorf("%s, byte %d: read gave %v; %d calls of Fatal", name, at, err, fatal.count.Load())
		}
		return 1
	}
	if rows, _ := parsePage(t, page); fmt.Sprint(values(rows)) != fmt.Sprint(want) {
		t.Errorf("%s, byte %d: wrong answer, no error", name, at)
	}
	return 0
}

// TestBytesThatAreNoRowStop: what no checksum finds, the codec does.
func TestBytesThatAreNoRowStop(t *testing.T) {
	prefix := appendPrefix(nil, testTable, tokenOf([]byte("k")), []byte("k"))
	junk := []byte("\x01 junk, not a header and not a row")
	for name, write := range map[string]func(*pebble.Batch) error{
		"header": func(b *pebble.Batch) error { return b.Set(append(prefix, markerHeader), junk, nil) },
		"merge": func(b *pebble.Batch) error {
			key := append(append(bytes.Clone(prefix), markerRow), 'a')
			return errors.Join(b.Merge(key, junk, nil), b.Merge(key, junk[:20], nil))
		},
		"marker": func(b *pebble.Batch) error { return b.Set(append(bytes.Clone(prefix), 9), junk, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var fatal fatals
			e := openTest(t, disk.Crashable(), func(o *Options) { o.Fatal = fatal.call })
			h := row.EmptyHeader
			h.Deletion = 1
			apply(t, e, headerMutation(testTable, "other", h)) // so that headers are looked for
			b := e.db.NewBatch()
			check(t, write(b))
			check(t, b.Commit(pebble.NoSync))
			spec := partition(testTable, "k")
			if _, err := e.Read(context.Background(), &spec, nil); !errors.Is(err, ErrCorrupt) || fatal.count.Load() != 1 {
				t.Errorf("Read gave %v, %d calls of Fatal", err, fatal.count.Load())
			}
			if err := e.Close(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Close gave %v", err)
			}
		})
	}
}

// TestNewDirectoriesSurvive crashes right after the first write into directories that did not exist.
func TestNewDirectoriesSurvive(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs, func(o *Options) { o.Dir = "/var/lib/nodedb/data" })
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	check(t, e.Close())
	e = openTest(t, clone, func(o *Options) { o.Dir = "/var/lib/nodedb/data" })
	defer func() { check(t, e.Close()) }()
	if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

// TestFlippedLogStops flips bytes all over the log a crash left, and cuts records out of it: each time the start is
// refused or every row is there. Only behind the last witness can nobody know.
func TestFlippedLogStops(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs)
	const rows = 300
	for i := range rows - 100 {
		apply(t, e, insert(testTable, "k", fmt.Sprintf("c%03d", i), 1, strings.Repeat("v", 300)))
	}
	var batch []row.Mutation // a group commit over several blocks, where Pebble's own synced offsets fall behind
	for i := range 100 {
		batch = append(batch, insert(testTable, "k", fmt.Sprintf("c%03d", rows-100+i), 1, strings.Repeat("w", 2000)))
	}
	apply(t, e, batch...)
	apply(t, e, insert(testTable, "other", "a", 1, "v"))
	check(t, e.PutSystem(Pair{Key: "a", Value: []byte("b")}))
	names, err := fs.List("data")
	check(t, err)
	name := ""
	for _, n := range names {
		if _, ok := logNumber(n); ok {
			name = max(name, n)
		}
	}
	clone := func() *disk.MemFS { return fs.CrashClone(vfs.CrashCloneCfg{}) }
	original := readFile(t, clone(), "data/"+name)
	number := must(strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64))
	known, end := furthestWitness(original, number), recordsEnd(original, uint32(number))
	if known < int64(end)-500 || end == len(original) || !allZero(original[end:]) {
		t.Fatalf("the last witness vouches for %d of %d bytes, and %d follow that were written ahead", known, end, len(original)-end)
	}
	stops := 0
	for at := 3; at < int(known); at += 2999 {
		broken := clone()
		flipped := bytes.Clone(original)
		flipped[at] ^= 0x10
		writeFile(t, broken, "data/"+name, flipped)
		n, stopped := rowsAfterFlip(t, broken)
		if stopped {
			stops++
		} else if n != rows {
			t.Errorf("%s, byte %d of %d: %d of %d rows, no error", name, at, len(original), n, rows)
		}
	}
	check(t, e.Close())
	if stops == 0 {
		t.Error("no flip was noticed")
	}
	t.Logf("%d flips stopped the start; %d of %d bytes are vouched for", stops, known, end)
}

func rowsAfterFlip(t *testing.T, fs disk.FS) (n int, stopped bool) {
	e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(error) {}})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("Open gave %v", err)
		}
		return 0, true
	}
	check(t, e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk}, 10))
	n = len(values(readAll(t, e, partition(testTable, "k"))))
	check(t, e.Close())
	return n, false
}

func readFile(t testing.TB, fs disk.FS, name string) []byte {
	f, err := fs.Open(name)
	check(t, err)
	b, err := io.ReadAll(f)
	check(t, errors.Join(err, f.Close()))
	return b
}

func writeFile(t *testing.T, fs disk.FS, name string, b []byte) {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	check(t, err)
	_, err = f.Write(bytes.Clone(b))
	check(t, errors.Join(err, f.Sync(), f.Close()))
}
