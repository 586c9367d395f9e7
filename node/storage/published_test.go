package storage

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/node/disk"
)

var flushing = flag.Duration("flushing", time.Second, "how long TestNothingVanishesBesideFlushes writes, reads and flushes")

// TestReadsWaitForAFlushToBePublished: what is being written while a flush holds writes that may not be published is read again once they are. What isn't being
// written is read at once.
func TestReadsWaitForAFlushToBePublished(t *testing.T) {
	e := openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "v"), insert(testTable, "other", "a", 1, "v"))
	check(t, e.PutSystem(Pair{Key: "x", Value: []byte("y")}))
	reads := map[string]func(){
		"partition": func() {
			looked := e.counts.entries.Load()
			readAll(t, e, partition(testTable, "k"))
			if n := e.counts.entries.Load() - looked; n < 2 {
				t.Errorf("looked at %d entries: the partition's one wasn't read again", n)
			}
		},
		"range":    func() { readAll(t, e, ReadSpec{Storage: testTable, Range: everything}) },
		"snapshot": func() { check(t, e.NewSnapshot().Close()) },
		"system": func() {
			_, err := e.GetSystem("x")
			check(t, err)
		},
		"scan": func() { check(t, e.ScanSystem("x", func(string, []byte) bool { return true })) },
	}
	slots := []uint16{doubtSlot(testTable, tokenOf([]byte("k")))}
	for name, read := range reads {
		begun := e.doubt.flushes.Add(1) // nobody is asked to publish it
		readAll(t, e, partition(testTable, "other"))
		if n := e.doubt.published.Load(); n == begun {
			t.Errorf("%s: a partition at rest waited", name)
		}
		e.doubt.begin(slots, nil)
		e.doubt.system.Add(1)
		read()
		if n := e.doubt.published.Load(); n != begun {
			t.Errorf("%s: read while flush %d had not been published, but %d", name, begun, n)
		}
		e.doubt.end(slots)
		e.doubt.system.Add(doubtAge - 1)
	}
	check(t, e.Close())
}

// TestAFlushIsPublishedUnasked: reads wait for the moment of a flush only.
func TestAFlushIsPublishedUnasked(t *testing.T) {
	e := openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	check(t, e.db.Flush())
	for e.doubt.flushes.Load() != e.doubt.published.Load() {
		runtime.Gosched()
	}
	if e.doubt.flushes.Load() == 0 {
		t.Error("a flush was not counted")
	}
	check(t, e.Close())
}

// TestNothingVanishesBesideFlushes: no reader sees less of a row than it saw before, while memtables are flushed again and again. Without published.go about one flush in
// 400 hides something, where there are more threads than processors (GOMAXPROCS=8 on two, four processes of it at once, -flushing 40s).
func TestNothingVanishesBesideFlushes(t *testing.T) {
	e := openTest(t, disk.Crashable(), func(o *Options) { o.Sync = SyncPeriodic })
	var stop atomic.Bool
	var writers, others sync.WaitGroup
	for k := range 8 {
		key := fmt.Sprint("k", k)
		writers.Go(func() {
			deadline := time.Now().Add(*flushing)
			for i := 0; time.Now().Before(deadline); i++ {
				if err := applyErr(e, insert(testTable, key, "a", int64(i+1), fmt.Sprintf("%09d", i))); err != nil {
					t.Error(err)
				}
			}
		})
		others.Go(func() {
			last := ""
			for !stop.Load() {
				spec := partition(testTable, key)
				page, err := e.Read(context.Background(), &spec, nil)
				if err != nil {
					t.Error(err)
					return
				}
				rows, _ := parsePage(t, page)
				got := append(values(rows), "")[0]
				if got < last {
					t.Errorf("read %q after %q", got, last)
				}
				last = max(last, got)
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			if err := e.db.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	stop.Store(true)
	others.Wait()
	t.Log(e.doubt.flushes.Load(), "flushes")
	check(t, e.Close())
}
