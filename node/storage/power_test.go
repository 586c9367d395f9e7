package storage

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/row"
)

var (
	clones = flag.Int("clones", 200, "crash clones that TestPowerLoss takes, and damages that TestFlips does")
	seed   = flag.Uint64("seed", 1, "seed of TestPowerLoss and TestFlips")
)

// promises is what was acknowledged: nothing of it may be missing after a crash.
type promises struct {
	rows     map[string]bool // key/clustering=value, each written once
	counters map[string]int  // by writer: the newest value of a row that is written again and again
	deleted  map[string]int  // by writer: rows of partition "d<writer>" below this clustering are deleted
	system   int             // the newest value of two system entries that change together
}

func (p *promises) clone() *promises {
	return &promises{maps.Clone(p.rows), maps.Clone(p.counters), maps.Clone(p.deleted), p.system}
}

// powerLoss is one disk and its engine's life up to some crashes.
type powerLoss struct {
	t   *testing.T
	mem *disk.MemFS
	rng *rand.Rand // under mu

	left atomic.Int64 // places until the next crash
	mu   struct {
		sync.Mutex
		*promises
		crashes []crash
	}
}

// crash is what one left, and what had been acknowledged before.
type crash struct {
	place string
	fs    *disk.MemFS
	*promises
}

const (
	crashGap      = 40 // places between two crashes, at most
	roundCrashes  = 40 // crashes of one round, at most
	powerWriters  = 3
	powerWrites   = 40
	unsyncedShare = 4 // crashes in so many that keep some or all of what was not synced
)

// at takes a crash clone at some places: before, inside and after each change of the disk.
func (p *powerLoss) at(op disk.Op) error {
	if p.left.Add(-1) != 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	promised := p.mu.promises.clone() // before the clone: what is acknowledged meanwhile needn't be in it
	keep := 0
	if p.rng.IntN(unsyncedShare) == 0 {
		keep = p.rng.IntN(101)
	}
	c := crash{placeOf(op), p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: p.rng}), promised}
	if p.mu.crashes = append(p.mu.crashes, c); len(p.mu.crashes) < roundCrashes {
		p.left.Store(1 + p.rng.Int64N(crashGap))
	}
	return nil
}

// placeOf names what a crash met: log, MANIFEST, sst, marker …
func placeOf(op disk.Op) string {
	base := path.Base(op.Name)
	kind := base
	if ext := path.Ext(base); ext != "" {
		kind = ext[1:]
	}
	for _, prefix := range []string{"MANIFEST", "OPTIONS", "marker", "temporary"} {
		if strings.HasPrefix(base, prefix) {
			kind = prefix
		}
	}
	if base == "data" || base == "." || base == "/" {
		kind = "directory"
	}
	return kind + " " + op.Kind
}

func (p *powerLoss) promise(f func(*promises)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.mu.promises)
}

// round goes on from what an earlier crash left (its recovery can crash, too), writes from several goroutines, flushes, compacts and reopens.
func (p *powerLoss) round(number int) {
	fs := disk.Watch(p.mem, p.at)
	p.left.Store(1 + int64(number%crashGap))
	e := openTest(p.t, fs)
	var writers sync.WaitGroup
	for w := range powerWriters {
		writers.Go(func() {
			for i := range powerWrites {
				p.write(e, w, number*powerWrites+i)
			}
		})
	}
	writers.Go(func() {
		for range 3 {
			check(p.t, e.db.Flush())
			check(p.t, e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false))
		}
	})
	writers.Go(func() {
		for i := range 10 {
			n := number*10 + i + 1
			value := []byte(strconv.Itoa(n))
			check(p.t, e.PutSystem(Pair{Key: "a", Value: value}, Pair{Key: "b", Value: value}))
			p.promise(func(m *promises) { m.system = n })
		}
	})
	writers.Wait()
	check(p.t, e.Close())
}

func (p *powerLoss) write(e *Engine, w, i int) {
	key, c, ts := fmt.Sprintf("w%d", w), fmt.Sprintf("c%06d", i), int64(i+1)
	apply(p.t, e, insert(testTable, key, c, 1, "v"))
	p.promise(func(m *promises) { m.rows[key+"/"+c+"=v"] = true })
	apply(p.t, e, insert(testTable, key, "hot", ts, strconv.Itoa(i)), insert(testTable, "d"+key, c, ts, "v"))
	p.promise(func(m *promises) { m.counters[key] = i })
	if i%9 == 0 {
		h := row.EmptyHeader
		h.Ranges = []row.RangeDeletion{{Start: []byte("c"), End: []byte(c), Timestamp: ts}}
		apply(p.t, e, headerMutation(testTable, "d"+key, h))
		p.promise(func(m *promises) { m.deleted[key] = i })
	}
}

// verify opens what a crash left.
func (c *crash) verify(t *testing.T) {
	t.Helper()
	probe, err := Open(Options{FS: c.fs.CrashClone(vfs.CrashCloneCfg{}), Dir: "data", CacheBytes: 8 << 20, Fatal: func(error) {}})
	if err != nil {
		t.Errorf("%s: the store does not open: %v", c.place, err)
		return
	}
	check(t, probe.Close())
	e := openTest(t, c.fs)
	defer func() { check(t, e.Close()) }()
	there := map[string]bool{}
	for _, v := range values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow})) {
		there[v] = true
		key, value, _ := strings.Cut(v, "=")
		writer, clustering, _ := strings.Cut(key, "/")
		n, _ := strconv.Atoi(value)
		switch {
		case clustering == "hot" && n < c.counters[writer]:
			t.Errorf("%s: %s is older than %d, which was acknowledged", c.place, v, c.counters[writer])
		case writer[0] == 'd' && clustering < fmt.Sprintf("c%06d", c.deleted[writer[1:]]):
			t.Errorf("%s: %s was deleted, and is back", c.place, v)
		case clustering != "hot" && value != "v":
			t.Errorf("%s: %s was never written", c.place, v)
		}
	}
	for v := range c.rows {
		if !there[v] {
			t.Errorf("%s: acknowledged, lost: %s", c.place, v)
		}
	}
	a, err := e.GetSystem("a")
	check(t, err)
	b, err := e.GetSystem("b")
	check(t, err)
	if n, _ := strconv.Atoi(string(a)); string(a) != string(b) || n < c.system {
		t.Errorf("%s: system entries %q and %q, %d was acknowledged", c.place, a, b, c.system)
	}
}

// TestMarkersFollowWhatTheyName: a file system needn't keep the order of unsynced changes of a directory, so a manifest is durable before the marker that names it, and that before
// the old marker goes.
func TestMarkersFollowWhatTheyName(t *testing.T) {
	mem := disk.Crashable()
	seen := 0
	fs := disk.Watch(mem, func(op disk.Op) error {
		base := path.Base(op.Name)
		if !strings.HasPrefix(base, "marker.manifest.") || op.Phase != disk.Before {
			return nil
		}
		synced, err := mem.CrashClone(vfs.CrashCloneCfg{}).List("data")
		if err != nil {
			return err
		}
		seen++
		marker := func(name string) bool { return strings.HasPrefix(name, "marker.manifest.") }
		manifest := base[strings.LastIndexByte(base, '.')+1:]
		switch {
		case op.Kind == "create" && !slices.Contains(synced, manifest):
			t.Errorf("%s is made before %s is durable", base, manifest)
		case op.Kind == "remove" && (len(slices.DeleteFunc(slices.Clone(synced), marker)) > len(synced)-2):
			t.Errorf("%s goes before its successor is durable: %q", base, synced)
		}
		return nil
	})
	for range 3 { // each start begins a manifest
		check(t, openTest(t, fs).Close())
	}
	if seen < 3 {
		t.Errorf("%d changes of markers seen", seen)
	}
}

// TestPowerLoss (FAULTS row 3) crashes inside the n-th change of the disk, n by the seed: log, sstables, manifest, markers, directory; while writers write, the store
// flushes, compacts, and recovers from the crash before. Each clone must open and hold all that was acknowledged.
func TestPowerLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 3))
	places := map[string]int{}
	acknowledged := 0
	mem, promised := disk.Crashable(), &promises{map[string]bool{}, map[string]int{}, map[string]int{}, 0}
	for taken, number := 0, 0; taken < *clones; number++ {
		p := &powerLoss{t: t, mem: mem, rng: rng}
		p.mu.promises = promised
		p.round(number)
		mem, promised = disk.Crashable(), &promises{map[string]bool{}, map[string]int{}, map[string]int{}, 0}
		if number%4 != 3 && len(p.mu.crashes) > 0 { // go on from a crash, for up to four rounds
			c := &p.mu.crashes[rng.IntN(len(p.mu.crashes))]
			mem, promised = c.fs.CrashClone(vfs.CrashCloneCfg{}), c.promises.clone()
		}
		for i := range p.mu.crashes {
			c := &p.mu.crashes[i]
			places[c.place]++
			acknowledged += len(c.rows)
			c.verify(t)
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d", *seed, number)
		}
		taken += len(p.mu.crashes)
	}
	var by []string
	sum := 0
	for _, place := range slices.Sorted(maps.Keys(places)) {
		by = append(by, fmt.Sprintf("%s %d", place, places[place]))
		sum += places[place]
	}
	reportRow(t, 3, "%d crash clones opened, %d acknowledged rows looked for, 0 lost; crashed in %s", sum, acknowledged, strings.Join(by, ", "))
}
