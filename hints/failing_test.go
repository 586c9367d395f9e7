package hints

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/vnodes"
)

// failing fails the n-th change of the disk that it is asked about, once, with EIO.
type failing struct {
	n  int
	op disk.Op // the one that failed
}

func (f *failing) at(op disk.Op) error {
	if op.Phase == disk.After {
		return nil
	}
	if f.n--; f.n != 0 {
		return nil
	}
	f.op = op
	return syscall.EIO
}

// TestEveryFailedChange (FAULTS row 5) fails each change of the disk in turn. A failed sync stops the store within a second: nothing is acknowledged any more. Any
// other failure costs the hints that met it. What is acknowledged survives a power loss, in all cases.
func TestEveryFailedChange(t *testing.T) {
	places, stops := 0, 0
	for n := 1; ; n++ {
		f := &failing{n: n}
		synctest.Test(t, func(t *testing.T) {
			if failChange(t, f) {
				stops++
			}
		})
		if t.Failed() {
			t.Fatalf("change %d: %+v", n, f.op)
		}
		if f.n > 0 {
			break // there are no more
		}
		places++
	}
	if places < 30 || stops < 10 {
		t.Errorf("%d places, %d stops: the script meets too few", places, stops)
	}
	reportRow(t, 5, "each of %d changes failed, %d stopped the store at once, 0 acknowledged hints lost", places, stops)
}

// failChange runs a script on a disk that fails once.
func failChange(t *testing.T, f *failing) (stopped bool) {
	mem, p := disk.Crashable(), newPeers()
	o := testOptions(disk.Watch(mem, f.at), p)
	o.Segment = headerBytes + 3*(recordBytes+9)
	fatal := 0
	o.Fatal = func(error) { fatal++ }
	var acked []string
	life := func(from, to int) {
		s, err := Open(o)
		if err != nil {
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("Open gave %v", err)
			}
			return
		}
		for i, h := range numbered(from, to) {
			broken := f.n <= 0 && f.op.Kind == "sync"
			err := tryAdd(s, host(1), h)
			switch {
			case err == nil:
				acked = append(acked, h)
				if broken && fatal > 0 {
					t.Errorf("%q is acknowledged after a failed sync", h)
				}
			case !errors.Is(err, syscall.EIO):
				t.Errorf("Add gave %v", err)
			}
			if i == 4 {
				run(s, time.Second)
			}
			synctest.Wait()
		}
		if f.n <= 0 && f.op.Kind == "sync" && fatal == 0 && s.Stats().Added > 0 {
			t.Errorf("a failed sync of %s did not stop the store", f.op.Name)
		}
		s.Close()
	}
	life(0, 8)
	stopped = fatal == 1
	if fatal > 1 {
		t.Errorf("Fatal was called %d times", fatal)
	}
	o = testOptions(crash(mem, 0, 1), p)
	s := open(t, o)
	run(s, time.Second)
	for _, h := range acked {
		if !slices.Contains(p.delivered(host(1)), h) {
			t.Errorf("acknowledged, never delivered: %s", h)
		}
	}
	want(t, "pending", s.PendingAll(), map[vnodes.HostID]int64{})
	closeStore(t, s)
	return stopped
}

// A replay whose progress can't be saved delivers again after a crash, and loses nothing.
func TestFaultBeforeProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		s := open(t, o)
		for _, h := range numbered(0, 6) {
			add(t, s, host(1), h)
		}
		disable, err := fault.Enable("hints/before-progress", func() error { return syscall.ENOSPC })
		if err != nil {
			t.Fatal(err)
		}
		p.answer = func(_ vnodes.HostID, h string) error {
			if h >= "hint 0003" {
				return errors.New("down")
			}
			return nil
		}
		run(s, time.Second)
		want(t, "pending", s.Pending(host(1)), 3)
		after := open(t, testOptions(crash(fs, 0, 1), p))
		want(t, "pending after a crash", after.Pending(host(1)), 6)
		closeStore(t, after)
		disable()
		closeStore(t, s)
		s = open(t, o)
		want(t, "pending after a restart in peace", s.Pending(host(1)), 3)
		closeStore(t, s)
	})
}

// A hint that finds the writer's queue full is refused, and told as lost: its replica has to be compared.
func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		s := open(t, testOptions(fs, p))
		large := strings.Repeat("x", 4<<20)
		hold := make(chan struct{})
		disable, err := fault.Enable("hints/write", func() error { <-hold; return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer disable()
		var answers sync.WaitGroup
		var kept, busy atomic.Int64
		const asked = 2 * MaxQueuedBytes / (4 << 20)
		for range asked {
			answers.Add(1)
			s.Add(host(1), []byte(large), func(err error) {
				defer answers.Done()
				switch {
				case err == nil:
					kept.Add(1)
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		s.mu.Lock()
		queued := s.mu.queued
		s.mu.Unlock()
		if queued > MaxQueuedBytes {
			t.Errorf("%d bytes wait for the disk", queued)
		}
		close(hold)
		answers.Wait()
		if kept.Load()+busy.Load() != asked || busy.Load() == 0 || kept.Load() == 0 {
			t.Errorf("%d kept, %d refused of %d", kept.Load(), busy.Load(), asked)
		}
		want(t, "refused", s.Stats().Busy, busy.Load())
		want(t, "pending", s.Pending(host(1)), kept.Load())
		want(t, "lost", s.Lost()[host(1)], busy.Load())
		closeStore(t, s)
	})
}

// The tail of a failed write is cut before the next segment begins. Its sync is one like any other: if it fails the store stops, and acknowledges nothing.
func TestAFailedCutStopsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, p := disk.Crashable(), newPeers()
		failing := ""
		o := testOptions(disk.Watch(mem, func(op disk.Op) error {
			if failing != "" && op.Phase == disk.Before && op.Kind == "sync" && strings.HasSuffix(op.Name, failing) {
				return syscall.EIO
			}
			return nil
		}), p)
		fatal := 0
		o.Fatal = func(error) { fatal++ }
		s := open(t, o)
		add(t, s, host(1), "before")
		segment := segmentFiles(t, mem, host(1))[0]
		disable, err := fault.Enable("hints/write", func() error { // half a record reached the file
			f, err := mem.OpenReadWrite(segment, "test")
			if err == nil {
				_, err = f.WriteAt([]byte("half"), headerBytes+recordBytes+int64(len("before")))
			}
			return errors.Join(syscall.ENOSPC, err, f.Close())
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := tryAdd(s, host(1), "lost"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a write to a full disk gave %v", err)
		}
		disable()
		failing = tmpSuffix
		if err := tryAdd(s, host(1), "refused"); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a hint behind a failed sync gave %v", err)
		}
		want(t, "fatal", fatal, 1)
		if err := s.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("Close: %v", err)
		}
		s = open(t, testOptions(crash(mem, 0, 1), p))
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), []string{"before"})
		closeStore(t, s)
	})
}

func TestForgetAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, testOptions(disk.Crashable(), newPeers()))
		closeStore(t, s)
		if err := s.Forget(host(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}
