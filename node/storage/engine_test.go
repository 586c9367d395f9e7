package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/vnodes"
)

func TestWriteReadReopen(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs)
	for _, id := range []row.StorageID{testTable, memoryTable} {
		apply(t, e, insert(id, "k", "a", 1, "1"), insert(id, "k", "b", 1, "2"), insert(id, "other", "a", 1, "3"))
		apply(t, e, insert(id, "k", "b", 2, "two"))
		want := []string{"k/a=1", "k/b=two"}
		if got := values(readAll(t, e, partition(id, "k"))); !reflect.DeepEqual(got, want) {
			t.Errorf("table %d: got %q, want %q", id, got, want)
		}
	}
	check(t, e.Close())
	if err := applyErr(e, insert(testTable, "k", "a", 1, "1")); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Close gave %v", err)
	}
	spec := partition(testTable, "k")
	if _, err := e.Read(context.Background(), &spec, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close gave %v", err)
	}
	e = openTest(t, fs)
	defer func() { check(t, e.Close()) }()
	if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 2 {
		t.Errorf("after reopening: %q", got)
	}
	if got := readAll(t, e, partition(memoryTable, "k")); len(got) != 0 {
		t.Errorf("a memory table kept %q over a restart", got)
	}
}

func TestLockAndFormat(t *testing.T) {
	dir := t.TempDir()
	e := openTest(t, nil, func(o *Options) { o.Dir = dir })
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Open gave %v", err)
	}
	check(t, e.Close())
	path := filepath.Join(dir, formatFile)
	for text, want := range map[string]error{"nodedb storage 2\n": ErrTooNew, "nodedb storage x": ErrCorrupt, "": ErrCorrupt, "storage": ErrCorrupt} {
		check(t, os.WriteFile(path, []byte(text), 0o644))
		if _, err := Open(Options{Dir: dir}); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("format file %q: Open gave %v, want %v", text, err, want)
		}
	}
	check(t, os.WriteFile(path, []byte("nodedb storage 1\n"), 0o644))
	e = openTest(t, nil, func(o *Options) { o.Dir = dir })
	check(t, e.Close())
	if err := e.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("a second Close gave %v", err)
	}
}

func TestTablesThatDontExist(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	for _, id := range []row.StorageID{0, 3, 11} {
		if err := applyErr(e, insert(testTable, "k", "a", 1, "v"), insert(id, "k", "a", 1, "v")); !errors.Is(err, ErrDropped) {
			t.Errorf("a write to storage id %d gave %v", id, err)
		}
		spec := partition(id, "k")
		if _, err := e.Read(context.Background(), &spec, nil); !errors.Is(err, ErrDropped) {
			t.Errorf("a read of storage id %d gave %v", id, err)
		}
	}
	if got := readAll(t, e, partition(testTable, "k")); len(got) != 0 {
		t.Errorf("a refused batch left %q", got)
	}
	if err := e.SetTables(map[row.StorageID]TableKind{0: OnDisk}, 10); err == nil {
		t.Error("SetTables took the system's storage id")
	}
	if err := e.SetTables(map[row.StorageID]TableKind{testTable: InMemory}, 10); err == nil {
		t.Error("SetTables took a table that changes its kind")
	}
}

// stored counts the keys of a storage id, without asking the tables.
func stored(t *testing.T, e *Engine, id row.StorageID) (n int) {
	lower, upper := tableSpan(id)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	check(t, err)
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	check(t, it.Close())
	return n
}

func TestDroppedTablesLoseTheirData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := disk.Crashable()
		e := openTest(t, fs)
		check(t, e.SetTables(map[row.StorageID]TableKind{3: OnDisk, 4: OnDisk, testTable: OnDisk}, 10))
		h := row.EmptyHeader
		h.Deletion = 1
		for _, id := range []row.StorageID{3, 4, testTable} {
			apply(t, e, insert(id, "k", "a", 5, "v"), headerMutation(id, "k", h))
		}
		check(t, e.SetTables(map[row.StorageID]TableKind{4: OnDisk}, 10))
		synctest.Wait()
		if a, b, c := stored(t, e, 3), stored(t, e, 4), stored(t, e, testTable); a != 0 || b != 2 || c != 0 {
			t.Errorf("stored keys of the tables: %d %d %d, want 0 2 0", a, b, c)
		}
		if v, err := e.db.NewSnapshot(), error(nil); err == nil {
			_, _, err = v.Get(appendSystemKey(nil, spaceEngine, headersName(3)))
			if !errors.Is(err, pebble.ErrNotFound) {
				t.Errorf("the header entry of a dropped table: %v", err)
			}
			check(t, v.Close())
		}
		if err := applyErr(e, insert(3, "k", "a", 5, "v")); !errors.Is(err, ErrDropped) {
			t.Errorf("a write to a dropped table gave %v", err)
		}
		check(t, e.Close())

		e, err := Open(Options{FS: fs, Dir: "data"}) // dropped while it was down, ids above highest kept
		check(t, err)
		check(t, e.SetTables(nil, 3))
		synctest.Wait()
		if n := stored(t, e, 4); n != 2 {
			t.Errorf("storage id 4 is above the highest known, yet %d keys are left", n)
		}
		check(t, e.SetTables(nil, 4))
		synctest.Wait()
		if n := stored(t, e, 4); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		check(t, e.Close())
	})
}

// TestDropWaitsForWriters drops and writes at once: nothing may be left of a table whose last write was admitted
// before.
func TestDropWaitsForWriters(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	for round := range 30 {
		id := row.StorageID(round + 20)
		check(t, e.SetTables(map[row.StorageID]TableKind{id: OnDisk}, id))
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() {
				for i := range 100 {
					err := applyErr(e, insert(id, "k", fmt.Sprint("c", w, i), 1, "v"))
					if errors.Is(err, ErrDropped) {
						return
					}
					check(t, err)
				}
			})
		}
		check(t, e.SetTables(nil, id))
		wg.Wait()
		check(t, e.dropAbsent()) // what the background does; writers that come later are refused
		if n := stored(t, e, id); n != 0 {
			t.Fatalf("round %d: %d keys are left", round, n)
		}
	}
}

func TestTooLarge(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	if err := applyErr(e, insert(testTable, strings.Repeat("k", row.MaxKeyBytes+1), "a", 1, "v")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a key over the limit gave %v", err)
	}
	if err := applyErr(e, insert(testTable, "k", "a", 1, strings.Repeat("v", row.MaxMutationBytes))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a mutation over the limit gave %v", err)
	}
	m := insert(testTable, "k", "a", 1, strings.Repeat("v", row.MaxMutationBytes/2))
	batch := make([]row.Mutation, maxApplyBytes/m.Size()+1)
	for i := range batch {
		batch[i] = m
	}
	if err := applyErr(e, batch...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a batch over the limit gave %v", err)
	}
	if err := e.PutSystem(Pair{Key: "k", Value: make([]byte, maxSystemBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a system entry over the limit gave %v", err)
	}
	if got := readAll(t, e, partition(testTable, "k")); len(got) != 0 {
		t.Errorf("refused writes left %d rows", len(got))
	}
	apply(t, e, m)
}

func TestSystemEntries(t *testing.T) {
	fs := disk.Crashable()
	for _, mode := range []SyncMode{SyncBatch, SyncPeriodic} {
		e := openTest(t, fs, func(o *Options) { o.Sync = mode })
		check(t, e.PutSystem(Pair{"log/1", []byte("one")}, Pair{"log/2", []byte("two")}, Pair{"log", []byte{}}, Pair{"other", []byte("x")}))
		check(t, e.PutSystem(Pair{"log/1", nil}, Pair{"log/3", []byte("three")}))
		clone := fs.CrashClone(vfs.CrashCloneCfg{})
		check(t, e.Close())
		e = openTest(t, clone)
		var got []string
		check(t, e.ScanSystem("log", func(key string, value []byte) bool {
			got = append(got, key+"="+string(value))
			return key != "log/3"
		}))
		if want := []string{"log=", "log/2=two", "log/3=three"}; !reflect.DeepEqual(got, want) {
			t.Errorf("mode %d: scan gave %q, want %q", mode, got, want)
		}
		for key, want := range map[string][]byte{"log/1": nil, "log/2": []byte("two"), "log": {}, "lo": nil} {
			if got, err := e.GetSystem(key); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("GetSystem(%q) gave %q, %v", key, got, err)
			}
		}
		check(t, e.Close())
	}
}

func TestSnapshotsStandStill(t *testing.T) {
	e := openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "old"))
	s := e.NewSnapshot()
	apply(t, e, insert(testTable, "k", "a", 2, "new"), insert(testTable, "k", "b", 2, "new"))
	check(t, e.DeleteRange(testTable, everything))
	check(t, e.db.Flush())
	spec := partition(testTable, "k")
	page, err := s.Read(context.Background(), &spec, nil)
	check(t, err)
	if rows, _ := parsePage(t, page); !reflect.DeepEqual(values(rows), []string{"k/a=old"}) {
		t.Errorf("the snapshot reads %q", values(rows))
	}
	check(t, s.Close())
	check(t, s.Close())
	open := e.NewSnapshot()
	check(t, e.Close())
	if _, err := open.Read(context.Background(), &spec, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot's read after Close gave %v", err)
	}
	check(t, open.Close())
	if _, err := e.NewSnapshot().Read(context.Background(), &spec, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot of a closed engine reads: %v", err)
	}
}

func TestReadLooksAtItsContext(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	var ms []row.Mutation
	for i := range 2 * contextEvery {
		ms = append(ms, insert(testTable, "k", fmt.Sprintf("c%04d", i), 1, "v"))
	}
	apply(t, e, ms...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	spec := partition(testTable, "k")
	if _, err := e.Read(ctx, &spec, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled read gave %v", err)
	}
	spec.Key, spec.Range = nil, vnodes.Range{Start: 5, End: -5}
	if _, err := e.Read(context.Background(), &spec, nil); err == nil {
		t.Error("a range that wraps was read")
	}
}

// TestDistinctGoesOnBehindAStaticRow: a partition of nothing but a static row ended the scan once.
func TestDistinctGoesOnBehindAStaticRow(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	var b row.Builder
	b.Add(row.Cell{Column: 5, Timestamp: 1, Value: []byte("s")})
	h := row.EmptyHeader
	h.Static = b.Append(nil)
	for _, key := range []string{"a", "b", "c"} {
		apply(t, e, headerMutation(testTable, key, h))
	}
	got := readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow, NoRows: true})
	if len(got) != 3 {
		t.Errorf("got %d partitions, want 3", len(got))
	}
}

// TestCloseWaitsForWrites closes while writes wait for their sync: each is done before Close returns, and well.
func TestCloseWaitsForWrites(t *testing.T) {
	e := openTest(t, disk.Crashable())
	var done atomic.Int32
	for i := range 500 {
		e.Apply([]row.Mutation{insert(testTable, "k", fmt.Sprint("c", i), 1, "v")}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	check(t, e.Close())
	if n := done.Load(); n != 500 {
		t.Errorf("Close returned with %d of 500 writes done", n)
	}
}

func TestSizes(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	value := strings.Repeat("0123456789", 100)
	for i := range 300 {
		key := fmt.Sprint("k", i)
		apply(t, e, insert(testTable, key, "a", 1, fmt.Sprint(i, value)), insert(memoryTable, key, "a", 1, value))
	}
	check(t, e.db.Flush())
	for _, id := range []row.StorageID{testTable, memoryTable} {
		all, err := e.Size(id, everything)
		check(t, err)
		half, err := e.Size(id, vnodes.Range{Start: 0, End: vnodes.MinToken})
		check(t, err)
		if all == 0 || half == 0 || half >= all {
			t.Errorf("table %d: all %d, half %d", id, all, half)
		}
	}
	if e.DiskBytes() == 0 {
		t.Error("DiskBytes is 0")
	}
}

// TestReadAllocatesNothingARow compares the allocations of a small and a large page.
func TestReadAllocatesNothingARow(t *testing.T) {
	if checkedBuild {
		t.Skip("sync.Pool drops at random under the race detector, and Pebble allocates to check its invariants")
	}
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	var ms []row.Mutation
	for i := range 2000 {
		ms = append(ms, insert(testTable, fmt.Sprint("k", i%100), fmt.Sprintf("c%04d", i), 1, "v"))
	}
	apply(t, e, ms...)
	check(t, e.db.Flush())
	buf := make([]byte, 0, 1<<20)
	allocs := func(limit int) float64 {
		spec := ReadSpec{Storage: testTable, Range: everything, Now: testNow, RowLimit: limit}
		return testing.AllocsPerRun(20, func() {
			if _, err := e.Read(context.Background(), &spec, buf); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocs(10), allocs(2000)
	if many > few+20 {
		t.Errorf("10 rows cost %.0f allocations, 2000 rows %.0f", few, many)
	}
}

// TestFewMemtablesAtTheStart: reads look into few memtables also before the first large one is full.
func TestFewMemtablesAtTheStart(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	value := strings.Repeat("v", 64<<10)
	for i := range 448 { // 28 MiB
		apply(t, e, insert(testTable, fmt.Sprint("key ", i), "", 1, value))
		if i%7 == 0 {
			awaitFewMemtables(t, e)
		}
	}
	if files := e.db.Metrics().Total().TablesCount; files == 0 {
		t.Error("nothing was flushed")
	}
}

// awaitFewMemtables lets the flush have its turn: on a busy machine the writer runs ahead of it.
func awaitFewMemtables(t *testing.T, e *Engine) {
	t.Helper()
	for end := time.Now().Add(time.Minute); e.db.Metrics().MemTable.Count > rampMemTables+1; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d memtables", e.db.Metrics().MemTable.Count)
		}
	}
}
