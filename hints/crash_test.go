package hints

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/vnodes"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// crash gives the disk after a power loss: each unsynced write is there or not, by the seed.
func crash(fs *disk.MemFS, percent int, seed uint64) *disk.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
}

// model is what a peer has to get: the naive twin of a log.
type model struct {
	acked map[vnodes.HostID][]string // acknowledged by Add, in order
	got   map[vnodes.HostID][]string // delivered so far, over all lives
}

// snapshot copies what was acknowledged.
func (m *model) snapshot(p *peers) map[vnodes.HostID][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	acked := map[vnodes.HostID][]string{}
	for id, all := range m.acked {
		acked[id] = slices.Clone(all)
	}
	return acked
}

// check says that what is pending or was delivered is all that was acknowledged.
func (m *model) check(t *rapid.T, s *Store, p *peers) {
	for id, acked := range m.snapshot(p) {
		missing := int64(0)
		for _, h := range acked {
			if !slices.Contains(m.got[id], h) {
				missing++
			}
		}
		if pending := s.Pending(id); pending < missing {
			t.Fatalf("%d pending for %s, but %d acknowledged hints were not delivered", pending, id, missing)
		}
	}
}

// Adds, replays, clean restarts and power losses in any order: every acknowledged hint is delivered at least once; without a crash exactly once
// and Pending is exact.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rapid.Check(t, func(script *rapid.T) {
		// rapid stays outside: in a bubble its clock, and so its seed, would stand still. Its way to fail is a panic.
		var failure any
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			crashScript(script)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func crashScript(t *rapid.T) {
	fs, p := disk.Crashable(), newPeers()
	m := &model{acked: map[vnodes.HostID][]string{}, got: p.got}
	o := func() Options {
		o := testOptions(fs, p)
		o.Segment = rapid.SampledFrom([]int64{60, 200, 1 << 20}).Draw(t, "segment")
		return o
	}
	s, err := Open(o())
	defer func() { s.Close() }()
	number, crashed := 0, false
	for range rapid.IntRange(1, 15).Draw(t, "steps") {
		if err != nil {
			t.Fatal(err)
		}
		switch rapid.SampledFrom([]string{"add", "add", "replay", "some", "restart", "crash"}).Draw(t, "step") {
		case "add":
			for range rapid.IntRange(1, 8).Draw(t, "hints") {
				id, h := host(byte(rapid.IntRange(1, 2).Draw(t, "peer"))), fmt.Sprintf("hint %04d", number)
				number++
				s.Add(id, []byte(h), func(err error) {
					if err == nil {
						p.set(func() { m.acked[id] = append(m.acked[id], h) })
					}
				})
			}
			if rapid.Bool().Draw(t, "wait") {
				synctest.Wait()
			}
		case "replay":
			run(s, time.Second)
		case "some":
			left := rapid.IntRange(0, 5).Draw(t, "before failing")
			p.set(func() {
				p.answer = func(vnodes.HostID, string) error {
					if left--; left < 0 {
						return errors.New("down")
					}
					return nil
				}
			})
			run(s, time.Second)
			p.set(func() { p.answer = nil })
		case "restart":
			synctest.Wait()
			before := s.PendingAll()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, err = Open(o())
			if err == nil && !crashed && fmt.Sprint(s.PendingAll()) != fmt.Sprint(before) {
				t.Fatalf("pending %v before, %v after a restart", before, s.PendingAll())
			}
		case "crash":
			crashed = true
			acked := m.snapshot(p) // before the clone: the writer is at work
			clone := crash(fs, rapid.IntRange(0, 100).Draw(t, "percent"), rapid.Uint64().Draw(t, "seed"))
			s.Close()
			synctest.Wait()
			m.acked, fs = acked, clone // what the old process acknowledges after the crash nobody hears
			s, err = Open(o())
		}
		m.check(t, s, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Wake(host(1))
	run(s, 10*time.Minute)
	for id, acked := range m.acked {
		for _, h := range acked {
			if n := count(p.got[id], h); n == 0 || (n > 1 && !crashed) {
				t.Fatalf("%s got %q %d times (crashed: %v)", id, h, n, crashed)
			}
		}
	}
	if left := s.PendingAll(); len(left) > 0 {
		t.Fatalf("still pending: %v", left)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// segmentFiles gives the paths of a peer's segments, oldest first.
func segmentFiles(t testing.TB, fs disk.FS, id vnodes.HostID) (paths []string) {
	for _, name := range files(t, fs) {
		if strings.HasPrefix(name, id.String()) && strings.HasSuffix(name, segmentSuffix) {
			paths = append(paths, fs.PathJoin("hints", name))
		}
	}
	return paths
}

func readAll(t testing.TB, fs disk.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeAll(t testing.TB, fs disk.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// prepared is a closed store with one segment of three hints.
func prepared(t testing.TB) (fs disk.FS, p *peers, o Options, name string, content []byte) {
	fs, p = disk.Crashable(), newPeers()
	o = testOptions(fs, p)
	s := open(t, o)
	for _, h := range []string{"first", "second", "third"} {
		add(t, s, host(1), h)
	}
	closeStore(t, s)
	name = segmentFiles(t, fs, host(1))[0]
	return fs, p, o, name, readAll(t, fs, name)
}

// The newest segment cut anywhere: whole records stay, the rest is cut for good.
func TestTornTailIsCut(t *testing.T) {
	fs, _, o, name, content := prepared(t)
	ends := []int{headerBytes}
	for _, h := range []string{"first", "second", "third"} {
		ends = append(ends, ends[len(ends)-1]+recordBytes+len(h))
	}
	for size := range content {
		writeAll(t, fs, name, content[:size])
		whole, _ := slices.BinarySearch(ends, size+1)
		whole = max(whole-1, 0) // records that lie before size
		s := open(t, o)
		want(t, fmt.Sprintf("pending of %d bytes", size), s.Pending(host(1)), whole)
		want(t, "damage", s.Stats().Corrupt, 0)
		torn := int64(1)
		if size == ends[whole] || size == 0 {
			torn = 0
		}
		want(t, fmt.Sprintf("torn at %d", size), s.Stats().Torn, torn)
		closeStore(t, s)
		if paths := segmentFiles(t, fs, host(1)); whole > 0 {
			want(t, "bytes kept", len(readAll(t, fs, paths[0])), ends[whole])
		} else if len(paths) > 0 {
			t.Errorf("cut at %d: a segment without hints stays", size)
		}
	}
}

// A flipped bit before the last record: the segment is set aside, the good hints before and behind it are delivered.
func TestDamageInTheMiddleIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p, o, name, content := prepared(t)
		second := headerBytes + recordBytes + len("first")
		third := second + recordBytes + len("second")
		for at := second; at < third; at++ {
			for _, bit := range []byte{1, 128} {
				damaged := slices.Clone(content)
				damaged[at] ^= bit
				writeAll(t, fs, name, damaged)
				p.set(func() { clear(p.got) })
				s := open(t, o)
				want(t, fmt.Sprintf("pending, byte %d", at), s.Pending(host(1)), 2)
				want(t, "counted", s.Stats().Corrupt, 1)
				want(t, "kept aside", string(readAll(t, fs, name+corruptSuffix)) == string(damaged), true)
				run(s, time.Second)
				want(t, "delivered", p.delivered(host(1)), []string{"first", "third"})
				closeStore(t, s)
				if err := fs.RemoveAll("hints"); err != nil {
					t.Fatal(err)
				}
				if err := fs.MkdirAll("hints", 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Any single flipped bit anywhere in a segment: no hint that was never given, Open does not fail, and at most one hint is lost but for
// those a torn tail takes.
func TestAnyFlippedBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p, o, name, content := prepared(t)
		defer func() {
			reportRow(t, 8, "each of %d bits of a segment flipped: no hint that was never given, at most one lost", 8*len(content))
		}()
		for at := range content {
			for bit := range 8 {
				damaged := slices.Clone(content)
				damaged[at] ^= 1 << bit
				writeAll(t, fs, name, damaged)
				p.set(func() { clear(p.got) })
				s, err := Open(o)
				if errors.Is(err, ErrVersion) && at == 7 {
					continue
				}
				if err != nil {
					t.Fatalf("byte %d bit %d: %v", at, bit, err)
				}
				run(s, time.Second)
				got := p.delivered(host(1))
				for _, h := range got {
					if !slices.Contains([]string{"first", "second", "third"}, h) {
						t.Fatalf("byte %d bit %d: delivered %q", at, bit, h)
					}
				}
				if at >= headerBytes && len(got) != 2 {
					t.Fatalf("byte %d bit %d: delivered %q", at, bit, got)
				}
				if st := s.Stats(); st.Corrupt+st.Torn != 1 {
					t.Fatalf("byte %d bit %d: %+v, want it counted once", at, bit, st)
				}
				closeStore(t, s)
				for _, f := range files(t, fs) {
					fs.Remove(fs.PathJoin("hints", f))
				}
			}
		}
	})
}

// Bytes that go bad under a running store: the hint is skipped and counted, the rest delivered, the segment kept aside.
func TestDamageWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		s := open(t, testOptions(fs, p))
		for _, h := range numbered(0, 6) {
			add(t, s, host(1), h)
		}
		name := segmentFiles(t, fs, host(1))[0]
		damaged := readAll(t, fs, name)
		for _, i := range []int{1, 2, 4} { // two stretches, three hints
			damaged[headerBytes+i*(recordBytes+len("hint 0000"))+recordBytes] ^= 1
		}
		writeAll(t, fs, name, damaged)
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), []string{"hint 0000", "hint 0003", "hint 0005"})
		want(t, "pending", s.Pending(host(1)), 0)
		st := s.Stats()
		want(t, "corrupt and dropped", []int64{st.Corrupt, st.Dropped}, []int64{2, 3})
		want(t, "kept aside", string(readAll(t, fs, name+corruptSuffix)) == string(damaged), true)
		closeStore(t, s)
	})
}

func TestFailedWriteIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		s := open(t, testOptions(fs, p))
		add(t, s, host(1), "before")
		full := errors.New("no space left on device")
		segment := segmentFiles(t, fs, host(1))[0]
		half := false
		disable, err := fault.Enable("hints/write", func() error {
			if half {
				return full
			}
			half = true
			f, err := fs.OpenReadWrite(segment, "test") // half a record reached the file
			if err == nil {
				_, err = f.WriteAt([]byte("half a record, longer than a head"), headerBytes+recordBytes+int64(len("before")))
			}
			return errors.Join(full, err, f.Close())
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := tryAdd(s, host(1), "lost"); !errors.Is(err, full) || !strings.Contains(err.Error(), host(1).String()) {
				t.Errorf("got %v, want the disk's error with the file's name", err)
			}
		}
		disable()
		add(t, s, host(1), "after")
		want(t, "pending", s.Pending(host(1)), 2)
		want(t, "bytes", s.mu.peers[host(1)].bytes, 2*(headerBytes+recordBytes)+len("before")+len("after"))
		closeStore(t, s)
		s = open(t, testOptions(fs, p))
		want(t, "damage after reopen", s.Stats().Corrupt+s.Stats().Torn, 0)
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), []string{"before", "after"})
		want(t, "bytes", s.mu.peers[host(1)].bytes, 0)
		closeStore(t, s)
	})
}

func TestFailedSyncStopsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		var fatal []error
		o.Fatal = func(err error) { fatal = append(fatal, err) }
		s := open(t, o)
		add(t, s, host(1), "before")
		boom := errors.New("input/output error")
		disable, err := fault.Enable("hints/sync", func() error { return boom })
		if err != nil {
			t.Fatal(err)
		}
		first := tryAdd(s, host(1), "lost")
		disable()
		for _, err := range []error{first, tryAdd(s, host(1), "refused"), tryAdd(s, host(2), "refused")} {
			if !errors.Is(err, ErrFailed) || !errors.Is(err, boom) {
				t.Errorf("got %v, want ErrFailed and its cause", err)
			}
		}
		if len(fatal) != 1 || !errors.Is(fatal[0], ErrFailed) {
			t.Errorf("Fatal got %v, want one ErrFailed", fatal)
		}
		if err := s.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("Close: %v", err)
		}
		s = open(t, testOptions(crash(fs, 0, 1), p))
		run(s, time.Second)
		want(t, "acknowledged before", p.delivered(host(1)), []string{"before"})
		closeStore(t, s)
	})
}

// What a replay saved survives a power loss: few hints are delivered twice.
func TestSavedProgressSurvivesPowerLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		o.Segment = headerBytes + 2*(recordBytes+9)
		s := open(t, o)
		for _, h := range numbered(0, 9) {
			add(t, s, host(1), h)
		}
		p.answer = func(_ vnodes.HostID, h string) error {
			if h >= "hint 0005" {
				return errors.New("down")
			}
			return nil
		}
		run(s, time.Second)
		want(t, "pending", s.Pending(host(1)), 4)
		after := open(t, testOptions(crash(fs, 0, 1), p))
		want(t, "pending after a crash", after.Pending(host(1)), 4)
		closeStore(t, after)
		closeStore(t, s)
	})
}

// Damage behind what was delivered: only what is pending and good goes into the new segment.
func TestDamageAfterProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		s := open(t, o)
		for _, h := range numbered(0, 6) {
			add(t, s, host(1), h)
		}
		p.answer = func(_ vnodes.HostID, h string) error {
			if h >= "hint 0002" {
				return errors.New("down")
			}
			return nil
		}
		run(s, time.Second)
		closeStore(t, s)
		name := segmentFiles(t, fs, host(1))[0]
		damaged := readAll(t, fs, name)
		damaged[headerBytes+3*(recordBytes+9)+recordBytes] ^= 1
		writeAll(t, fs, name, damaged)
		p.set(func() { p.answer = nil })
		for range 2 { // the second time from the new segment
			s = open(t, o)
			want(t, "pending", s.Pending(host(1)), 3)
			closeStore(t, s)
		}
		s = open(t, o)
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), []string{"hint 0000", "hint 0001", "hint 0002", "hint 0004", "hint 0005"})
		closeStore(t, s)
	})
}

// An error that says nothing about the hints ends a replay and loses none.
func TestUnreadableSegmentIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := &refusing{MemFS: disk.Crashable()}, newPeers()
		s := open(t, testOptions(fs, p))
		for _, h := range numbered(0, 5) {
			add(t, s, host(1), h)
		}
		fs.refuse.Store(true)
		run(s, time.Second)
		want(t, "pending", s.Pending(host(1)), 5)
		fs.refuse.Store(false)
		s.Wake(host(1))
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), numbered(0, 5))
		want(t, "corrupt", s.Stats().Corrupt, 0)
		closeStore(t, s)
	})
}

// refusing is a disk that opens no file for reading while refuse is set.
type refusing struct {
	*disk.MemFS
	refuse atomic.Bool
}

func (fs *refusing) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if fs.refuse.Load() {
		return nil, errors.New("too many open files")
	}
	return fs.MemFS.Open(name, opts...)
}

// Files of a newer nodedb stop Open with the file's name.
func TestNewerFilesAreRefused(t *testing.T) {
	fs, _, o, name, content := prepared(t)
	newer := slices.Clone(content)
	newer[7] = 9
	writeAll(t, fs, name, newer)
	if _, err := Open(o); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), name) {
		t.Errorf("segment: %v, want ErrVersion and the file's name", err)
	}
	writeAll(t, fs, name, content)
	progress := fs.PathJoin("hints", host(1).String()+progressSuffix)
	writeAll(t, fs, progress, append([]byte{9}, make([]byte, progressBytes-1)...))
	if _, err := Open(o); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), progress) {
		t.Errorf("progress: %v, want ErrVersion and the file's name", err)
	}
	writeAll(t, fs, progress, []byte("\x01damaged"))
	s := open(t, o)
	want(t, "pending with a damaged progress", s.Pending(host(1)), 3)
	closeStore(t, s)
}
