package storage

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/node/row"
)

// heldSync is an engine whose row b of partition k is visible and not synced; what the log's sync answers comes from verdict.
func heldSync(t *testing.T) (e *Engine, verdict chan<- error) {
	t.Helper()
	e = openTest(t, disk.Crashable(), func(o *Options) { o.Fatal = func(error) {} })
	apply(t, e, insert(testTable, "k", "a", 1, "v"), insert(testTable, "other", "a", 1, "v"))
	held := make(chan error, 16)
	disable, err := fault.Enable("storage/wal-sync", func() error { return <-held })
	check(t, err)
	t.Cleanup(func() {
		disable()
		close(held)
		if err := e.Close(); err != nil && !errors.Is(err, ErrFailStop) {
			t.Error(err)
		}
	})
	e.Apply([]row.Mutation{insert(testTable, "k", "b", 1, "v")}, func(error) {})
	return e, held
}

// brief bounds a read that must not be answered.
func brief(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestAReadShowsOnlyWhatIsDurable: what a power loss could take back is not shown; reads of other partitions don't wait.
func TestAReadShowsOnlyWhatIsDurable(t *testing.T) {
	e, verdict := heldSync(t)
	specs := map[string]ReadSpec{"partition": partition(testTable, "k"), "range": {Storage: testTable, Range: everything}}
	for name, spec := range specs {
		if page, err := e.Read(brief(t), &spec, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: a read before the sync gave %d bytes, %v", name, len(page), err)
		}
	}
	other := partition(testTable, "other")
	if _, err := e.Read(brief(t), &other, nil); err != nil {
		t.Errorf("a partition without writes: %v", err)
	}
	for range cap(verdict) {
		verdict <- nil
	}
	for name, spec := range specs {
		if got := values(readAll(t, e, spec)); len(got) < 2 {
			t.Errorf("%s: after the sync: %q", name, got)
		}
	}
}

// TestAReadInDoubtSeesAFailedSync: the read waits, the sync fails, and nothing is shown.
func TestAReadInDoubtSeesAFailedSync(t *testing.T) {
	e, verdict := heldSync(t)
	answer := make(chan error, 1)
	go func() {
		spec := partition(testTable, "k")
		_, err := e.Read(context.Background(), &spec, nil)
		answer <- err
	}()
	for range cap(verdict) {
		verdict <- syscall.EIO
	}
	if err := <-answer; !errors.Is(err, ErrFailStop) {
		t.Errorf("the read gave %v", err)
	}
}

// TestDoubtsEnd: once all is synced, none is left, whatever became of the writes.
func TestDoubtsEnd(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	for range 3 {
		apply(t, e, insert(testTable, "k", "a", 1, "v"), insert(memoryTable, "k", "a", 1, "v"), insert(testTable, "l", "a", 1, "v"))
	}
	apply(t, e, insert(memoryTable, "k", "b", 1, "v"))
	disable, err := fault.Enable("storage/before-commit", func() error { return syscall.EINVAL })
	check(t, err)
	if err := applyErr(e, insert(testTable, "k", "b", 1, "v")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("the refused write gave %v", err)
	}
	disable()
	if n := e.doubt.all.Load() & doubtMask; n != 0 {
		t.Errorf("%d writes are in doubt for ever", n)
	}
	for i := range e.doubt.slots {
		if n := e.doubt.slots[i].word.Load() & doubtMask; n != 0 {
			t.Errorf("slot %d: %d", i, n)
		}
	}
}

// BenchmarkReadWhileWritten reads one row while other goroutines write: its own partition, or others.
func BenchmarkReadWhileWritten(b *testing.B) {
	for name, key := range map[string]string{"same": "k", "others": "w"} {
		b.Run(name, func(b *testing.B) {
			e := openTest(b, disk.Real(), func(o *Options) { o.Dir = b.TempDir() })
			defer func() { check(b, e.Close()) }()
			apply(b, e, insert(testTable, "k", "a", 1, "v"))
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						apply(b, e, insert(testTable, key, "b", 1, "v"))
					}
				}
			}()
			spec := partition(testTable, "k")
			spec.Slices = []Slice{{Start: []byte("a"), End: []byte("a\x00")}}
			for b.Loop() {
				if _, err := e.Read(context.Background(), &spec, nil); err != nil {
					b.Fatal(err)
				}
			}
			close(stop)
			<-stopped
		})
	}
}
