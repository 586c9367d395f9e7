package storage

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
)

// TestPaceOf: as they come until half of what stops them waits, then ever slower, never not at all.
func TestPaceOf(t *testing.T) {
	var b strings.Builder
	for _, s := range []struct {
		sublevels int
		memory    uint64
	}{{0, 0}, {12, 128 << 20}, {13, 0}, {18, 0}, {21, 0}, {23, 0}, {24, 0}, {40, 0}, {0, 192 << 20}, {0, 256 << 20}, {18, 240 << 20}} {
		fmt.Fprintf(&b, "%d/%d: %.1f ", s.sublevels, s.memory>>20, float64(paceOf(s.sublevels, s.memory))/(1<<20))
	}
	want := "0/0: 0.0 12/128: 0.0 13/0: 53.8 18/0: 16.0 21/0: 4.0 23/0: 1.0 24/0: 1.0 40/0: 1.0 0/192: 16.0 0/256: 1.0 18/240: 1.0 "
	if got := b.String(); got != want {
		t.Errorf("MiB/s:\n%s, want\n%s", got, want)
	}
}

// TestReserve: batches have their turns one after the other, at the rate, and none waits for longer than the bound.
func TestReserve(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	p.rate.Store(1 << 20)
	var waits []time.Duration
	for range 3 {
		waits = append(waits, p.reserve(1<<18, now))
	}
	waits = append(waits, p.reserve(100<<20, now), p.reserve(1, now), p.reserve(1, now.Add(5*time.Second)))
	if got := fmt.Sprint(waits); got != "[0s 250ms 500ms 750ms 1s 0s]" {
		t.Errorf("waits: %s", got)
	}
}

// starved is a disk on which compactions make no table until they may; flushes do.
type starved struct {
	disk.FS
	gate chan struct{}
}

func (s *starved) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if c == "pebble-compaction" {
		<-s.gate
	}
	return s.FS.Create(name, c)
}

// TestWritesSlowDownBeforeTheyStop: when compactions don't keep up, a write waits for its turn, well below the timeout of a request, and no write stops; once they have caught up it
// waits no more.
func TestWritesSlowDownBeforeTheyStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &starved{disk.Crashable(), make(chan struct{})}
		e := openTest(t, fs)
		wide := strings.Repeat("v", 256<<10)
		var slowest, sum time.Duration
		write := func(i int) {
			begun := time.Now()
			apply(t, e, insert(testTable, "k", "a", int64(i+1), wide))
			sum += time.Since(begun)
			slowest = max(slowest, time.Since(begun))
		}
		const levels = l0StopWrites - 2
		for i := range levels {
			write(i)
			check(t, e.db.Flush()) // a level of L0 more: each has the same row
			synctest.Wait()
		}
		if l := e.db.Metrics().Levels[0].Sublevels; l < levels-1 {
			t.Fatalf("L0 has %d sublevels: compactions don't wait", l)
		}
		for i := range 8 {
			write(levels + i)
		}
		if slowest == 0 || slowest > time.Second || sum < time.Second {
			t.Errorf("2 MiB before the stop took %v, the slowest write %v", sum, slowest)
		}
		close(fs.gate)
		time.Sleep(time.Minute)
		slowest = 0
		for i := range 8 {
			write(i)
		}
		if slowest > 0 || e.pace.slept.Load() == 0 {
			t.Errorf("with L0 compacted a write waits for %v", slowest)
		}
		check(t, e.Close())
	})
}

// roomy is a disk that says how much space it has, as a real one does, so that it is watched.
type roomy struct{ disk.FS }

func (roomy) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40}, nil
}

// TestIdleFlush: a log that is left alone is flushed, once it is worth it.
func TestIdleFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tables atomic.Int32
		e := openTest(t, disk.Watch(roomy{disk.Crashable()}, func(op disk.Op) error {
			if op.Kind == "create" && op.Phase == disk.After && strings.HasSuffix(op.Name, ".sst") {
				tables.Add(1)
			}
			return nil
		}))
		write := func(kib int) {
			for i := range kib / 256 {
				apply(t, e, insert(testTable, "k", fmt.Sprint(i), 1, strings.Repeat("v", 256<<10)))
			}
		}
		write(256)
		time.Sleep(time.Minute)
		if n := tables.Load(); n > 0 {
			t.Errorf("%d tables of 256 KiB", n)
		}
		write(26 << 10) // beyond what the small first memtables hold (ramp.go)
		if size := e.db.Metrics().WAL.Size; size < idleFlushBytes {
			t.Fatalf("the log holds %d bytes: too few for this test", size)
		}
		time.Sleep(time.Minute)
		if size := e.db.Metrics().WAL.Size; tables.Load() == 0 || size > 1000 {
			t.Errorf("a minute later the log holds %d bytes", size)
		}
		check(t, e.Close())
	})
}

// TestIdleFlushDue: a log that grows is not at rest; one that hardly does is, and is not flushed twice.
func TestIdleFlushDue(t *testing.T) {
	var i idleFlush
	var due []bool
	for _, s := range []struct {
		seconds int64
		size    uint64
	}{{0, 20 << 20}, {2, 24 << 20}, {4, 28 << 20}, {6, 28<<20 + 1000}, {9, 28<<20 + 2000}, {11, 1000}, {15, 1000}, {19, idleFlushBytes - 1}, {25, idleFlushBytes - 1}, {30, idleFlushBytes}} {
		due = append(due, i.due(s.size, time.Unix(1000+s.seconds, 0)))
	}
	if got := fmt.Sprint(due); got != "[false false false false true false false false false true]" {
		t.Errorf("due: %s", got)
	}
}
