package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/metrics"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// oneRowOf is a read of one row.
func oneRowOf(id row.StorageID, key, clustering string) ReadSpec {
	spec := partition(id, key)
	spec.Slices = []Slice{{[]byte(clustering), append([]byte(clustering), 0)}}
	return spec
}

// TestRowCacheGivesWhatAReadGives holds reads of one row against reads of a snapshot, which know no cache, while rows, headers and ranges are written and
// the cache is so small that it forgets.
func TestRowCacheGivesWhatAReadGives(t *testing.T) {
	hits := uint64(0)
	for seed := range uint64(40) {
		hits += cacheAgainstSnapshot(t, seed)
	}
	if hits < 100 {
		t.Errorf("the cache was hit %d times: this test shows nothing", hits)
	}
}

// mortal is a mutation that writes one cell that expires soon.
func mortal(id row.StorageID, key, clustering string, ts int64) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: 1, Timestamp: ts, Value: []byte("v"), Expiry: testNow + 5, TTL: 10})
	return rowMutation(id, key, clustering, b.Append(nil))
}

// TestRowCacheLeavesMemoryTablesAlone: what is written to one is read from it at once.
func TestRowCacheLeavesMemoryTablesAlone(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	spec := oneRowOf(memoryTable, "k", "c")
	for i := range int64(4) {
		apply(t, e, insert(memoryTable, "k", "c", i+1, "v"))
		for range 2 {
			page, err := e.Read(context.Background(), &spec, nil)
			check(t, err)
			if got := newest(t, page); got != i+1 {
				t.Fatalf("read %d after %d was written", got, i+1)
			}
		}
	}
}

// cacheAgainstSnapshot makes random steps, and gives how often the cache was hit.
func cacheAgainstSnapshot(t *testing.T, seed uint64) (hits uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync, o.RowBytes = SyncMode(rng.IntN(2)), 1<<20 })
	defer func() { check(t, e.Close()) }()
	keys, clusterings := []string{"a", "b", "\x00", "long key"}, []string{"", "1", "2"}
	for i := range int64(80) {
		key, clustering, ts := keys[rng.IntN(len(keys))], clusterings[rng.IntN(len(clusterings))], i+1
		table := []row.StorageID{testTable, testTable, memoryTable}[rng.IntN(3)]
		switch step := rng.IntN(40); {
		case step < 4:
			apply(t, e, insert(table, key, clustering, ts, strings.Repeat("v", rng.IntN(20_000))))
		case step == 4:
			apply(t, e, mortal(table, key, clustering, ts))
		case step < 7 && seed%2 == 0: // in other runs no partition has a header
			apply(t, e, headerMutation(table, key, row.Header{Deletion: ts - 2}))
		case step == 7:
			check(t, e.DeleteRange(table, tokenRangeOf(key)))
		default:
			spec := oneRowOf(table, key, clustering)
			spec.RowLimit, spec.PartitionRows, spec.Now = rng.IntN(3), rng.IntN(2), testNow+rng.Int64N(10)
			spec.Reverse, spec.NoRows = rng.IntN(5) == 0, rng.IntN(9) == 0
			got, err := e.Read(context.Background(), &spec, nil)
			check(t, err)
			s := e.NewSnapshot() // of a memory table it reads what is
			want, err := s.Read(context.Background(), &spec, nil)
			check(t, err)
			check(t, s.Close())
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d, step %d, %+v: the page %x, want %x", seed, i, spec, got, want)
			}
		}
	}
	hits, _, _ = e.rows.figures()
	return hits
}

// TestRowCacheNeverGoesBack: who reads after a write was acknowledged sees it, and nobody sees an older value after a newer one.
func TestRowCacheNeverGoesBack(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	const writes, readers = 400, 3
	var acknowledged atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range readers {
		all.Go(func() {
			spec, last, buf := oneRowOf(testTable, "k", "c"), int64(0), []byte(nil)
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := max(last, acknowledged.Load())
				page, err := e.Read(context.Background(), &spec, buf)
				if err != nil {
					t.Error(err)
					return
				}
				buf = page
				if last = newest(t, page); last < least {
					t.Errorf("read %d after %d", last, least)
					return
				}
			}
		})
	}
	for i := range int64(writes) {
		apply(t, e, insert(testTable, "k", "c", i+1, "v"))
		acknowledged.Store(i + 1)
		if i%4 == 0 { // so that some reads find the row at rest
			spec := oneRowOf(testTable, "k", "c")
			for range 20 {
				_, err := e.Read(context.Background(), &spec, nil)
				check(t, err)
			}
		}
	}
	close(stop)
	all.Wait()
	if hits, _, _ := e.rows.figures(); hits == 0 {
		t.Error("the cache was never hit: this test shows nothing")
	}
}

// newest is the newest timestamp of a page's rows; 0: there are none.
func newest(t *testing.T, page []byte) (ts int64) {
	rows, _ := parsePage(t, page)
	for _, r := range rows {
		if r.row != "" {
			ts = max(ts, row.View(r.row).MaxTimestamp())
		}
	}
	return ts
}

// atHand reports whether the cache gives a row.
func atHand(e *Engine, key, clustering string) bool {
	spec := oneRowOf(testTable, key, clustering)
	_, ok := e.ReadCached(&spec, nil)
	return ok
}

// newestAtHand is the newest timestamp of a row that the cache must have.
func newestAtHand(t *testing.T, e *Engine, key, clustering string) int64 {
	t.Helper()
	spec := oneRowOf(testTable, key, clustering)
	page, ok := e.ReadCached(&spec, nil)
	if !ok {
		t.Fatalf("row %s of %s is not at hand", clustering, key)
	}
	return newest(t, page)
}

func readOne(t *testing.T, e *Engine, key, clustering string) {
	t.Helper()
	spec := oneRowOf(testTable, key, clustering)
	_, err := e.Read(context.Background(), &spec, nil)
	check(t, err)
}

// TestRowCacheCounts: a count is no row: neither is given for the other.
func TestRowCacheCounts(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	count := oneRowOf(testTable, "k", "a")
	count.Count = true
	for range 2 {
		page, err := e.Read(context.Background(), &count, nil)
		check(t, err)
		var r row.PageReader
		r.Reset(page)
		for _, want := range []row.Event{row.PagePartition, row.PageCount, row.PageEnd} {
			if event, err := r.Next(); err != nil || event != want {
				t.Fatalf("%v, %v; want %v", event, err, want)
			}
		}
		readOne(t, e, "k", "a")
		if !atHand(e, "k", "a") {
			t.Error("a row that was read is not at hand")
		}
	}
}

// TestRowCacheShowsNothingInDoubt: while a write of a cached row is not synced, the cache gives the row without it, and Read waits; then both give it.
func TestRowCacheShowsNothingInDoubt(t *testing.T) {
	e, verdict := heldSync(t) // k has a write in doubt
	readOne(t, e, "other", "a")
	done := make(chan error, 1)
	e.Apply([]row.Mutation{insert(testTable, "other", "a", 2, "w")}, func(err error) { done <- err })
	if got := newestAtHand(t, e, "other", "a"); got != 1 {
		t.Errorf("the cache gives the write of time %d before its sync, want that of time 1", got)
	}
	if _, err := e.Read(brief(t), &[]ReadSpec{oneRowOf(testTable, "other", "a")}[0], nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read before the sync gave %v", err)
	}
	for range cap(verdict) {
		verdict <- nil
	}
	check(t, <-done)
	if got := newestAtHand(t, e, "other", "a"); got != 2 {
		t.Errorf("the cache gives the write of time %d after 2 was acknowledged", got)
	}
}

// TestRowCacheEndsWithItsTable: what was dropped, deleted by range, or lies in an engine that is closed is not given.
func TestRowCacheEndsWithItsTable(t *testing.T) {
	e := openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	readOne(t, e, "k", "a")
	check(t, e.DeleteRange(testTable, everything))
	if atHand(e, "k", "a") {
		t.Error("given after its range was deleted")
	}
	apply(t, e, insert(testTable, "k", "a", 2, "v"))
	readOne(t, e, "k", "a")
	if !atHand(e, "k", "a") {
		t.Fatal("not kept")
	}
	check(t, e.SetTables(map[row.StorageID]TableKind{memoryTable: InMemory}, 10))
	if atHand(e, "k", "a") {
		t.Error("given after its table was dropped")
	}
	check(t, e.Close())
	if atHand(e, "k", "a") {
		t.Error("given by a closed engine")
	}
	without := openTest(t, disk.Crashable(), func(o *Options) { o.RowBytes = -1 })
	readOne(t, without, "k", "a")
	if atHand(without, "k", "a") {
		t.Error("given without a cache")
	}
	check(t, without.Close())
}

// TestRowCacheIsBounded: it takes no more than it may, and keeps what is asked for again and again.
func TestRowCacheIsBounded(t *testing.T) {
	const bound = 8 << 20
	registry := metrics.NewRegistry()
	e := openTest(t, disk.Crashable(), func(o *Options) { o.RowBytes, o.Metrics = bound, registry })
	defer func() { check(t, e.Close()) }()
	look := func(n int) rowLook {
		spec := oneRowOf(testTable, fmt.Sprint("key ", n), "")
		spec.Token = vnodes.PartitionToken(spec.Key)
		l, ok := e.look(&spec)
		if !ok {
			t.Fatal("one row is no row")
		}
		return l
	}
	rng := rand.New(rand.NewPCG(1, 2))
	page := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 500+n%7*100) }
	const hot = 500
	lost := 0
	for n := range 60_000 {
		l := look(hot + n)
		e.keep(&l, page(hot+n))
		h := rng.IntN(hot)
		l = look(h)
		got, ok := e.rows.get(&l, nil)
		if !ok {
			e.keep(&l, page(h))
			lost++
		} else if !bytes.Equal(got, page(h)) {
			t.Fatalf("key %d: %d bytes of %d", h, len(got), got[0])
		}
	}
	_, _, size := e.rows.figures()
	if size > bound || size < bound/2 {
		t.Errorf("%d bytes, want at most %d, and not much less", size, bound)
	}
	places := 0
	for i := range e.rows.shards {
		places += len(e.rows.shards[i].places)
	}
	if places > bound/500 {
		t.Errorf("%d places are remembered", places)
	}
	if lost > 3*hot {
		t.Errorf("%d times one of %d hot rows was forgotten", lost-hot, hot)
	}
	if s := scrape(t, registry); !strings.Contains(s, "nodedb_storage_row_cache_hits_total") {
		t.Error("the figures are not shown")
	}
}

// BenchmarkReadCached is a row that the cache has.
func BenchmarkReadCached(b *testing.B) {
	e := openTest(b, disk.Crashable())
	defer func() { check(b, e.Close()) }()
	const rows = 10_000
	specs := make([]ReadSpec, rows)
	for i := range specs {
		key := fmt.Sprint("key ", i)
		apply(b, e, insert(testTable, key, "", 1, strings.Repeat("v", 100)))
		specs[i] = oneRowOf(testTable, key, "")
		_, err := e.Read(context.Background(), &specs[i], nil)
		check(b, err)
	}
	buf := make([]byte, 0, 4096)
	n := 0
	for b.Loop() {
		n = (n + 7919) % rows
		if _, ok := e.ReadCached(&specs[n], buf); !ok {
			b.Fatal("not at hand")
		}
	}
}

// TestRowCacheKeepsNothingBesideAWrite: what is read while a write of its partition is on its way, visible or not, is not kept.
func TestRowCacheKeepsNothingBesideAWrite(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	write := []uint16{doubtSlot(testTable, tokenOf([]byte("k")))}
	e.doubt.begin(write, nil)
	readOne(t, e, "k", "a")
	if atHand(e, "k", "a") {
		t.Error("given while a write is on its way")
	}
	e.doubt.end(write)
	if atHand(e, "k", "a") {
		t.Error("what was read beside a write was kept")
	}
	spec := oneRowOf(testTable, "k", "a")
	look, _ := e.look(&spec)
	e.doubt.begin(write, nil)
	e.doubt.end(write)
	e.keep(&look, []byte("old"))
	if _, _, size := e.rows.figures(); size != 0 {
		t.Error("what was read before a write was kept after it")
	}
}
