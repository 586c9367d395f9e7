package hints

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/vnodes"
)

func host(n byte) vnodes.HostID { return vnodes.HostID{15: n} }

// peers is the other side of Deliver in tests.
type peers struct {
	mu       sync.Mutex
	got      map[vnodes.HostID][]string // in the order of delivery
	down     map[vnodes.HostID]bool
	answer   func(to vnodes.HostID, mutation string) error // nil: applied
	hold     bool                                          // keep done in held
	held     []func(error)
	inFlight int
	most     int // in flight at once
}

func newPeers() *peers {
	return &peers{got: map[vnodes.HostID][]string{}, down: map[vnodes.HostID]bool{}}
}

func (p *peers) deliver(to vnodes.HostID, mutations [][]byte, done func(int, error)) {
	for i, m := range mutations {
		p.deliverOne(to, m, func(err error) { done(i, err) })
	}
}

func (p *peers) deliverOne(to vnodes.HostID, mutation []byte, done func(error)) {
	p.mu.Lock()
	p.inFlight++
	p.most = max(p.most, p.inFlight)
	finish := func(err error) {
		p.mu.Lock()
		p.inFlight--
		p.mu.Unlock()
		done(err)
	}
	if p.hold {
		p.held = append(p.held, finish)
		p.got[to] = append(p.got[to], string(mutation))
		p.mu.Unlock()
		return
	}
	var err error
	if p.answer != nil {
		err = p.answer(to, string(mutation))
	}
	if err == nil {
		p.got[to] = append(p.got[to], string(mutation))
	}
	p.mu.Unlock()
	finish(err)
}

func (p *peers) alive(id vnodes.HostID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.down[id]
}

func (p *peers) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *peers) delivered(id vnodes.HostID) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got[id])
}

func testOptions(fs disk.FS, p *peers) Options {
	return Options{FS: fs, Dir: "hints", Deliver: p.deliver, Alive: p.alive}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// add stores a hint and waits until it is acknowledged.
func add(t testing.TB, s *Store, to vnodes.HostID, mutation string) {
	t.Helper()
	if err := tryAdd(s, to, mutation); err != nil {
		t.Fatal(err)
	}
}

func tryAdd(s *Store, to vnodes.HostID, mutation string) error {
	done := make(chan error, 1)
	s.Add(to, []byte(mutation), func(err error) { done <- err })
	return <-done
}

// run replays for a while of virtual time. It is called in a synctest bubble.
func run(s *Store, d time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	time.Sleep(d)
	synctest.Wait()
	cancel()
	<-ended
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("hint %04d", i))
	}
	return all
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func files(t testing.TB, fs disk.FS) (names []string) {
	t.Helper()
	names, err := fs.List("hints")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestHintsAreDeliveredInOrderAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		o.Segment = 200 // several segments
		s := open(t, o)
		hints := numbered(0, 50)
		for _, h := range hints {
			add(t, s, host(1), h)
			add(t, s, host(2), "other "+h)
		}
		want(t, "pending", s.PendingAll(), map[vnodes.HostID]int64{host(1): 50, host(2): 50})
		p.set(func() { p.down[host(2)] = true })
		run(s, time.Second)
		want(t, "delivered to 1", p.delivered(host(1)), hints)
		want(t, "delivered to 2, which is down", p.delivered(host(2)), []string{})
		want(t, "pending", s.PendingAll(), map[vnodes.HostID]int64{host(2): 50})
		for _, name := range files(t, fs) {
			if strings.HasPrefix(name, host(1).String()) && strings.HasSuffix(name, segmentSuffix) {
				t.Errorf("the delivered segment %s is still there", name)
			}
		}
		add(t, s, host(1), "later")
		want(t, "pending", s.Pending(host(1)), 1)
		closeStore(t, s)
		s = open(t, o)
		want(t, "pending after reopen", s.PendingAll(), map[vnodes.HostID]int64{host(1): 1, host(2): 50})
		closeStore(t, s)
	})
}

func TestWakeAndTickStartAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		p.set(func() { p.down[host(1)] = true })
		add(t, s, host(1), "a")
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		time.Sleep(ReplayInterval / 2)
		p.set(func() { p.down[host(1)] = false })
		synctest.Wait()
		want(t, "before anybody tells", s.Pending(host(1)), 1)
		s.Wake(host(1))
		synctest.Wait()
		want(t, "after Wake", s.Pending(host(1)), 0)

		add(t, s, host(1), "b")
		synctest.Wait()
		want(t, "just added", s.Pending(host(1)), 1)
		time.Sleep(ReplayInterval)
		synctest.Wait()
		want(t, "after a tick", s.Pending(host(1)), 0)
		cancel()
		<-ended
		closeStore(t, s)
	})
}

func TestInFlightIsBoundedAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.InFlight, o.BatchBytes = 5, 1
		s := open(t, o)
		for _, h := range numbered(0, 20) {
			add(t, s, host(1), h)
		}
		p.set(func() { p.hold = true })
		run(s, time.Minute) // ends though nothing was answered
		want(t, "in flight", p.most, 5)
		want(t, "sent", p.delivered(host(1)), numbered(0, 5))
		want(t, "pending", s.Pending(host(1)), 20)
		closeStore(t, s)
		for _, done := range p.held {
			done(nil) // too late: must do no harm
			done(errors.New("twice"))
		}
	})
}

// Answers out of order keep the window open and lose nothing: what was not answered is pending after a reopen.
func TestProgressIsTheAcknowledgedPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.InFlight, o.BatchBytes = 4, 1
		s := open(t, o)
		for _, h := range numbered(0, 6) {
			add(t, s, host(1), h)
		}
		p.set(func() { p.hold = true })
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		synctest.Wait()
		p.held[0](nil)
		p.held[2](nil)
		p.held[0](nil) // twice: must not count
		p.held[2](errors.New("twice"))
		synctest.Wait()
		want(t, "pending", s.Pending(host(1)), 4)
		want(t, "sent", p.delivered(host(1)), numbered(0, 6))
		cancel()
		<-ended
		closeStore(t, s)
		p = newPeers()
		o.Deliver, o.Alive = p.deliver, p.alive
		s = open(t, o)
		want(t, "pending after reopen", s.Pending(host(1)), 5)
		run(s, time.Second)
		want(t, "delivered again", p.delivered(host(1)), numbered(1, 6))
		closeStore(t, s)
	})
}

func TestReplayIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		const size, perSecond = 1000, 10_000
		o.BytesPerSecond = perSecond
		s := open(t, o)
		for i := range 100 {
			add(t, s, host(1), fmt.Sprintf("%0*d", size-recordBytes, i))
		}
		for seconds := 1; seconds <= 3; seconds++ {
			// 10 hints a second, and the first of each start on the burst.
			run(s, time.Second)
			if got := len(p.delivered(host(1))); got < 10*seconds-1 || got > 12*seconds {
				t.Errorf("after %d s: %d hints of %d bytes delivered, want about %d at %d bytes/s", seconds, got, size, 10*seconds, perSecond)
			}
		}
		closeStore(t, s)
	})
}

func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		var tries []time.Duration
		begun := time.Now()
		p.answer = func(vnodes.HostID, string) error {
			tries = append(tries, time.Since(begun).Round(time.Second))
			return errors.New("refused")
		}
		add(t, s, host(1), "a")
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		time.Sleep(200 * time.Second)
		synctest.Wait()
		// Backoffs of 0.5, 1, 2, 4, 8, 16, 32, 60, 60 s end at the next tick.
		want(t, "tries at", tries, "[0s 1s 2s 4s 8s 16s 32s 1m4s 2m4s 3m4s]")
		want(t, "failures", s.Stats().Failures, 10)
		p.set(func() { p.answer = nil })
		s.Wake(host(1))
		synctest.Wait()
		want(t, "pending after Wake", s.Pending(host(1)), 0)
		cancel()
		<-ended
		closeStore(t, s)
	})
}

func TestObsoleteHintsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		p.answer = func(_ vnodes.HostID, m string) error {
			if m == "b" {
				return fmt.Errorf("table 7: %w", ErrObsolete)
			}
			return nil
		}
		for _, h := range []string{"a", "b", "c"} {
			add(t, s, host(1), h)
		}
		run(s, time.Second)
		want(t, "delivered", p.delivered(host(1)), []string{"a", "c"})
		want(t, "pending", s.Pending(host(1)), 0)
		want(t, "obsolete", s.Stats().Obsolete, 1)
		closeStore(t, s)
	})
}

// A hint that its peer can never take must not hold up those behind it.
func TestARefusedHintIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		p.answer = func(_ vnodes.HostID, m string) error {
			if m == "poison" {
				return fmt.Errorf("malformed: %w", ErrRefused)
			}
			return nil
		}
		add(t, s, host(1), "poison")
		add(t, s, host(1), "good")
		run(s, time.Second)
		want(t, "dropped", s.Stats().Dropped, 1)
		want(t, "delivered", p.delivered(host(1)), "[good]")
		want(t, "pending", s.Pending(host(1)), 0)
		closeStore(t, s)
	})
}

// A refusal that may pass is tried again until MaxAge, whatever else the peer takes.
func TestATransientRefusalKeepsTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		begun := time.Now()
		p.answer = func(_ vnodes.HostID, m string) error {
			if m == "moved" && time.Since(begun) < time.Minute {
				return errors.New("2 of 3 owners are up")
			}
			return nil
		}
		add(t, s, host(1), "moved")
		for i := range 20 {
			add(t, s, host(1), fmt.Sprint("other ", i))
			run(s, 10*time.Second)
		}
		want(t, "dropped", s.Stats().Dropped, 0)
		want(t, "pending", s.Pending(host(1)), 0)
		want(t, "delivered", len(p.delivered(host(1))), 21)
		closeStore(t, s)
	})
}

func TestFullIsRefusedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.MaxBytes = headerBytes + 3*(recordBytes+9)
		s := open(t, o)
		for i := range 3 {
			add(t, s, host(1), numbered(i, i+1)[0])
		}
		err := tryAdd(s, host(1), "one more.")
		if !errors.Is(err, ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
		add(t, s, host(2), "others have their own bound"[:9])
		want(t, "counted", s.Stats().Full, 1)
		run(s, time.Second)
		add(t, s, host(1), "room now.")
		closeStore(t, s)

		for name, size := range map[string]int{"empty": 0, "too large": MaxHintBytes + 1} {
			if err := tryAdd(s, host(1), string(make([]byte, size))); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v, want ErrTooLarge", name, err)
			}
		}
		if err := tryAdd(s, host(1), "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	})
}

func TestOldHintsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.MaxAge, o.Segment = time.Hour, 100
		s := open(t, o)
		p.set(func() { p.down[host(1)] = true })
		for _, h := range numbered(0, 10) {
			add(t, s, host(1), h)
		}
		time.Sleep(30 * time.Minute)
		for _, h := range numbered(10, 15) {
			add(t, s, host(1), h)
		}
		time.Sleep(40 * time.Minute)
		run(s, ReplayInterval) // a dead peer's go by segments; one segment has hints of both ages
		if n := s.Stats().Expired; n < 8 || n > 10 {
			t.Errorf("%d expired while the peer was down, want nearly all of the 10 old ones", n)
		}
		want(t, "expired and pending", s.Stats().Expired+s.Pending(host(1)), 15)
		p.set(func() { p.down[host(1)] = false })
		run(s, time.Second)
		want(t, "expired", s.Stats().Expired, 10)
		want(t, "delivered", p.delivered(host(1)), numbered(10, 15))
		want(t, "pending", s.Pending(host(1)), 0)
		closeStore(t, s)
	})
}

func TestForgetRemovesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, p := disk.Crashable(), newPeers()
		o := testOptions(fs, p)
		o.InFlight, o.BatchBytes = 1, 1
		s := open(t, o)
		for _, h := range numbered(0, 5) {
			add(t, s, host(1), h)
			add(t, s, host(2), h)
		}
		p.set(func() { p.hold = true })
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		synctest.Wait() // both replays are waiting for an answer
		if err := s.Forget(host(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, "pending", s.PendingAll(), map[vnodes.HostID]int64{host(2): 5})
		for _, name := range files(t, fs) {
			if strings.HasPrefix(name, host(1).String()) {
				t.Errorf("%s is still there", name)
			}
		}
		add(t, s, host(1), "it is back")
		want(t, "pending of the new log", s.Pending(host(1)), 1)
		if err := s.Forget(host(9)); err != nil {
			t.Errorf("forget an unknown peer: %v", err)
		}
		cancel()
		<-ended
		closeStore(t, s)
		s = open(t, o)
		want(t, "pending after reopen", s.PendingAll(), map[vnodes.HostID]int64{host(1): 1, host(2): 5})
		closeStore(t, s)
	})
}

// Adds and replays of several peers at once: everything arrives, each peer's in the order of its one adder. Meant for -race.
func TestConcurrentAddsAndReplays(t *testing.T) {
	p := newPeers()
	o := testOptions(disk.Crashable(), p)
	o.Segment = 4 << 10
	s := open(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	const each, hosts = 500, 4
	all := make(chan struct{})
	left := each * hosts
	p.answer = func(vnodes.HostID, string) error { // under p.mu
		if left--; left == 0 {
			close(all)
		}
		return nil
	}
	var adders sync.WaitGroup
	for id := byte(1); id <= hosts; id++ {
		adders.Go(func() {
			var acked sync.WaitGroup
			for i := range each {
				acked.Add(1)
				s.Add(host(id), binary.BigEndian.AppendUint32(nil, uint32(i)), func(err error) {
					if err != nil {
						t.Error(err)
					}
					acked.Done()
				})
				if i%50 == 0 {
					s.Wake(host(id))
				}
			}
			acked.Wait()
			s.Wake(host(id))
		})
	}
	adders.Wait()
	<-all
	cancel()
	<-ended
	want(t, "pending", s.PendingAll(), map[vnodes.HostID]int64{})
	closeStore(t, s)
	for id := byte(1); id <= hosts; id++ {
		got := p.delivered(host(id))
		if len(got) != each || !slices.IsSorted(got) {
			t.Errorf("peer %d got %d hints, in order %v; want %d", id, len(got), slices.IsSorted(got), each)
		}
	}
}

// A segment that gets a hint just after all in it expired counts the old ones once.
func TestExpiredHintsAreCountedOnce(t *testing.T) {
	seg := &segment{seq: 1, size: 100, records: 2, newestMs: 5}
	p := newPeer(host(1))
	p.segments, p.active, p.pending = []*segment{seg}, seg, 2
	want(t, "expired", p.expireBefore(5), 2)
	seg.size, seg.records, seg.newestMs, p.pending = 150, 3, 9, p.pending+1
	want(t, "expired before the younger one is too old", p.expireBefore(8), 0)
	want(t, "expired later", p.expireBefore(9), 1)
	want(t, "pending", p.pending, 0)
}

// reportRow says the figures of a row of FAULTS.md in the line that .ci/campaign gathers: row, test, figures, verdict.
func reportRow(t *testing.T, row int, format string, args ...any) {
	t.Helper()
	verdict := "ok"
	if t.Failed() {
		verdict = "FAILED"
	}
	t.Logf("row %d: hints/%s: %s: %s", row, t.Name(), fmt.Sprintf(format, args...), verdict)
}
