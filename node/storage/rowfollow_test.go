package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// bothModes runs a test in each mode.
func bothModes(t *testing.T, test func(t *testing.T, mode SyncMode)) {
	for mode, name := range map[SyncMode]string{SyncBatch: "batch", SyncPeriodic: "periodic"} {
		t.Run(name, func(t *testing.T) { test(t, mode) })
	}
}

// randomRow is a row with cells of some columns, deletions, expiring cells and collections' elements among them.
func randomRow(rng *rand.Rand) []byte {
	var b row.Builder
	if rng.IntN(8) == 0 {
		b.Delete(rng.Int64N(40) + 1)
	}
	for column := row.ColumnID(0); column < 6; column++ {
		c := row.Cell{Column: column, Timestamp: rng.Int64N(40) + 1, Value: bytes.Repeat([]byte{byte(rng.Int())}, rng.IntN(60))}
		switch rng.IntN(8) {
		case 0:
			c.Kind, c.Value = row.Tombstone, nil
		case 1:
			c.Expiry, c.TTL = testNow+rng.Int64N(5), 10
		case 2:
			c.Kind, c.Value = row.ComplexTombstone, nil
		case 3:
			c.Path = []byte{byte(rng.IntN(3))}
		case 4, 5:
			continue
		}
		b.Add(c)
	}
	return b.Append(nil)
}

// TestRowCacheFollowsWrites: a row that was cached once stays at hand, with what any reader of the memtables gets, whatever rows are written.
func TestRowCacheFollowsWrites(t *testing.T) {
	bothModes(t, func(t *testing.T, mode SyncMode) {
		e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync, o.RowBytes = mode, 4<<20 })
		defer func() { check(t, e.Close()) }()
		rng := rand.New(rand.NewPCG(5, uint64(mode)))
		keys, clusterings := []string{"a", "b\x00", "long key"}, []string{"", "1", "2\x00"}
		for _, key := range keys {
			for _, clustering := range clusterings {
				readOne(t, e, key, clustering) // there is no such row yet
			}
		}
		for range 600 {
			var ms []row.Mutation
			for range 1 + rng.IntN(3) {
				m := rowMutation(testTable, keys[rng.IntN(len(keys))], clusterings[rng.IntN(len(clusterings))], randomRow(rng))
				m.Rows = append(m.Rows, row.Entry{Clustering: []byte(clusterings[rng.IntN(len(clusterings))] + "3"), Fragment: randomRow(rng)})
				ms = append(ms, m)
			}
			apply(t, e, ms...)
			spec := oneRowOf(testTable, keys[rng.IntN(len(keys))], clusterings[rng.IntN(len(clusterings))])
			got, ok := e.ReadCached(&spec, nil)
			s := e.NewSnapshot()
			want, err := s.Read(context.Background(), &spec, nil)
			check(t, errors.Join(err, s.Close()))
			if ok && !bytes.Equal(got, want) {
				t.Fatalf("%+v: the cache gives %x; the memtable %x", spec, got, want)
			}
			if !ok {
				readOne(t, e, string(spec.Key), string(spec.Slices[0].Start)) // written maxUnread times since somebody asked
			}
		}
		hits, misses, _ := e.rows.figures()
		if misses > hits/4 {
			t.Errorf("%d hits, %d misses: the cache did not follow", hits, misses)
		}
	})
}

// TestRowCacheEndsWithAHeader: what merging a row can't express ends the partition's entries, and an entry with a header is not merged into.
func TestRowCacheEndsWithAHeader(t *testing.T) {
	bothModes(t, func(t *testing.T, mode SyncMode) {
		e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync = mode })
		defer func() { check(t, e.Close()) }()
		apply(t, e, insert(testTable, "k", "a", 1, "v"))
		readOne(t, e, "k", "a")
		both := headerMutation(testTable, "k", row.Header{Deletion: 5})
		both.Rows = insert(testTable, "k", "a", 4, "w").Rows
		apply(t, e, both)
		if atHand(e, "k", "a") {
			t.Error("given though its partition was deleted")
		}
		readOne(t, e, "k", "a")
		if !atHand(e, "k", "a") {
			t.Fatal("not kept")
		}
		apply(t, e, insert(testTable, "k", "a", 3, "covered by the header"))
		if atHand(e, "k", "a") {
			t.Error("merged as if there were no header")
		}
	})
}

// TestRowCacheForgetsWhatIsOnlyWritten: an entry follows so many writes that nobody asks for, and no more.
func TestRowCacheForgetsWhatIsOnlyWritten(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	readOne(t, e, "k", "a")
	for i := range int64(3 * maxUnread) {
		apply(t, e, insert(testTable, "k", "a", i+1, "v"))
		if !atHand(e, "k", "a") {
			t.Fatalf("forgotten after %d writes, though it is asked for", i+1)
		}
	}
	for i := range int64(maxUnread + 1) {
		apply(t, e, insert(testTable, "k", "a", 100+i, "v"))
	}
	if atHand(e, "k", "a") {
		t.Errorf("kept over %d writes that nobody asked for", maxUnread+1)
	}
}

// heldEnd is an engine with a cached row a of partition k, whose write of time 2 is synced, but has not ended: the sync waiter is held up by who wrote before.
func heldEnd(t *testing.T, second ...row.Mutation) (e *Engine, release func()) {
	t.Helper()
	e = openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "v"), insert(testTable, "k", "b", 1, "v"))
	readOne(t, e, "k", "a")
	readOne(t, e, "k", "b")
	held, free := make(chan struct{}), make(chan struct{})
	e.Apply([]row.Mutation{insert(testTable, "other", "a", 1, "v")}, func(error) { close(held); <-free })
	<-held
	done := make(chan error, 1)
	e.Apply(second, func(err error) { done <- err })
	var once sync.Once
	release = func() { once.Do(func() { close(free); check(t, <-done) }) }
	t.Cleanup(func() {
		release()
		check(t, e.Close())
	})
	return e, release
}

// TestReadsDontRunAheadOfTheRowCache: a read that saw a write in the memtable returns only when the cache has the write, or the row would go back for who reads next.
func TestReadsDontRunAheadOfTheRowCache(t *testing.T) {
	e, release := heldEnd(t, insert(testTable, "k", "a", 2, "w"))
	specs := []ReadSpec{oneRowOf(testTable, "k", "a"), partition(testTable, "k"), {Storage: testTable, Range: everything}}
	for i := range specs {
		if page, err := e.Read(brief(t), &specs[i], nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read %d shows %d, %v, while the cache gives %d", i, newest(t, page), err, newestAtHand(t, e, "k", "a"))
		}
	}
	if got := newestAtHand(t, e, "k", "a"); got != 1 {
		t.Errorf("the cache gives %d before the write has ended", got)
	}
	release()
	for i := range specs {
		page, err := e.Read(context.Background(), &specs[i], nil)
		check(t, err)
		if got := newest(t, page); got != 2 {
			t.Errorf("read %d shows %d", i, got)
		}
	}
	if got := newestAtHand(t, e, "k", "a"); got != 2 {
		t.Errorf("the cache gives %d after the write has ended", got)
	}
}

// TestRowCacheShowsAWriteWhole: of a write's rows none is given before all are followed, and then all are.
func TestRowCacheShowsAWriteWhole(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	rows := []string{"a", "b", "c"}
	m := insert(testTable, "k", rows[0], 2, "w")
	for _, r := range rows {
		readOne(t, e, "k", r)
		m.Rows = append(m.Rows, row.Entry{Clustering: []byte(r), Fragment: m.Rows[0].Fragment})
	}
	w := new(write)
	check(t, e.prepare(w, []row.Mutation{m}))
	ticket := e.rows.followed.Load() + 1
	e.rows.follow(w, ticket)
	for _, r := range rows {
		if atHand(e, "k", r) {
			t.Errorf("row %s is given before the write is followed whole", r)
		}
	}
	e.rows.followed.Store(ticket)
	for _, r := range rows {
		if got := newestAtHand(t, e, "k", r); got != 2 {
			t.Errorf("row %s: %d", r, got)
		}
	}
	w.drop()
}

// TestRowCacheNeverGoesBackByItself: who reads rows of one partition by the cache alone sees no row of an older write after one of a newer.
func TestRowCacheNeverGoesBackByItself(t *testing.T) {
	bothModes(t, func(t *testing.T, mode SyncMode) {
		e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync = mode })
		defer func() { check(t, e.Close()) }()
		rows := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for n, last := 0, int64(0); ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					spec := oneRowOf(testTable, "k", rows[(n*5+n/8)%len(rows)])
					page, ok := e.ReadCached(&spec, nil)
					if !ok {
						var err error
						if page, err = e.Read(context.Background(), &spec, nil); err != nil {
							t.Error(err)
							return
						}
					}
					got := newest(t, page)
					if got < last {
						t.Errorf("row %s shows the write of time %d after another row showed that of %d", spec.Slices[0].Start, got, last)
						return
					}
					last = got
				}
			})
		}
		for i := range int64(400) {
			m := insert(testTable, "k", rows[0], i+1, "v")
			for _, r := range rows[1:] {
				m.Rows = append(m.Rows, row.Entry{Clustering: []byte(r), Fragment: m.Rows[0].Fragment})
			}
			apply(t, e, m)
		}
		close(stop)
		all.Wait()
	})
}

// BenchmarkFollow is a write of one field of ten to a cached row of 1 KB: what following costs.
func BenchmarkFollow(b *testing.B) {
	for _, cached := range []bool{false, true} {
		b.Run(fmt.Sprint("cached=", cached), func(b *testing.B) {
			e := openTest(b, disk.Crashable(), func(o *Options) { o.Sync = SyncPeriodic })
			defer func() { check(b, e.Close()) }()
			whole := make([]row.Cell, 10)
			for i := range whole {
				whole[i] = row.Cell{Column: row.ColumnID(i + 1), Timestamp: 1, Value: bytes.Repeat([]byte("v"), 100)}
			}
			fragment := func(cells ...row.Cell) []byte {
				var builder row.Builder
				for _, c := range cells {
					builder.Add(c)
				}
				return builder.Append(nil)
			}
			apply(b, e, rowMutation(testTable, "k", "", fragment(whole...)))
			spec, now, buf := oneRowOf(testTable, "k", ""), int64(1), []byte(nil)
			if cached {
				_, err := e.Read(context.Background(), &spec, nil)
				check(b, err)
			}
			for b.Loop() {
				now++
				cell := whole[now%10]
				cell.Timestamp = now
				apply(b, e, rowMutation(testTable, "k", "", fragment(cell)))
				if cached {
					buf, _ = e.ReadCached(&spec, buf)
				}
			}
		})
	}
}
