package clock

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wallClock is a wall clock, and monotonic time, that tests move.
type wallClock struct{ us, passed atomic.Int64 }

func newWall(us int64) *wallClock {
	w := &wallClock{}
	w.us.Store(us)
	return w
}
func (w *wallClock) now() time.Time          { return time.UnixMicro(w.us.Load()) }
func (w *wallClock) mono() time.Duration     { return time.Duration(w.passed.Load()) }
func (w *wallClock) advance(d time.Duration) { w.passed.Add(int64(d)); w.jump(d) }
func (w *wallClock) jump(d time.Duration)    { w.us.Add(d.Microseconds()) }
func (w *wallClock) micro() int64            { return w.us.Load() }
func mustNew(t *testing.T, o Options) *HLC   { t.Helper(); c, err := New(o); failIf(t, err); return c }
func failIf(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
func persistTo(p *atomic.Int64) func(int64) error {
	return func(c int64) error { p.Store(c); return nil }
}

const noon = int64(1_700_000_000_000_000)

func TestNowFollowsTheWallClockAndNeverRepeats(t *testing.T) {
	wall := newWall(noon)
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono})
	defer c.Close()
	if got := c.Now(); got != noon {
		t.Fatalf("first Now gave %d, want the wall clock %d", got, noon)
	}
	if got := c.Now(); got != noon+1 {
		t.Fatalf("the wall clock stands still, Now gave %d", got-noon)
	}
	wall.advance(time.Second)
	if got := c.Now(); got != wall.micro() {
		t.Fatalf("Now gave %d, want %d", got, wall.micro())
	}
}

// TestLookingMovesNothing: of two clocks on one machine one looks at the wall clock all the time. Both tell the same time (node/sim/BUGS.md, 7).
func TestLookingMovesNothing(t *testing.T) {
	passed := time.Duration(0)
	o := Options{Wall: func() time.Time { return time.UnixMicro(noon).Add(600 + passed) }, Mono: func() time.Duration { return 700 + passed }}
	curious, other := mustNew(t, o), mustNew(t, o)
	defer curious.Close()
	defer other.Close()
	for passed < compareEvery/2 { // then the other looks, too
		curious.Check()
		passed += 137 * time.Nanosecond
		if a, b := curious.Time(), other.Time(); a != b {
			t.Fatalf("after %v the one that looks tells %d, the other %d", passed, a-noon, b-noon)
		}
	}
}

func TestWallClockJumps(t *testing.T) {
	wall := newWall(noon)
	var stored atomic.Int64
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Persist: persistTo(&stored)})
	defer c.Close()
	last := c.Now()
	for _, jump := range []time.Duration{time.Hour, -time.Hour, -24 * time.Hour, 48 * time.Hour, -time.Microsecond} {
		wall.jump(jump)
		wall.advance(time.Second)
		for range 1000 {
			now := c.Now()
			if now <= last {
				t.Fatalf("after a jump of %v Now gave %d, before %d", jump, now, last)
			}
			if now > stored.Load() {
				t.Fatalf("after a jump of %v Now gave %d above the stored ceiling %d", jump, now, stored.Load())
			}
			last = now
		}
	}
}

func TestRestartStartsAboveEverythingGivenBefore(t *testing.T) {
	wall := newWall(noon)
	var stored atomic.Int64
	last := int64(0)
	for run := range 200 {
		c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Ceiling: stored.Load(), Persist: persistTo(&stored)})
		first := c.Now()
		if first <= last {
			t.Fatalf("run %d: Now gave %d, an earlier run %d", run, first, last)
		}
		last = first
		for range 100 {
			last = c.Now()
		}
		c.Close()
		wall.advance(100 * time.Millisecond)
		if run == 50 {
			wall.jump(-time.Second)
		}
	}
	// A crash loop must not push the clock further ahead the longer it lasts.
	if ahead := time.Duration(last-wall.micro()) * time.Microsecond; ahead > lead+2*time.Second {
		t.Errorf("after 200 quick restarts the clock is %v ahead", ahead)
	}
}

func TestUpdate(t *testing.T) {
	wall := newWall(noon)
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, MaxSkew: 2 * time.Second})
	defer c.Close()
	failIf(t, c.Update(noon-5))
	if got := c.Now(); got != noon {
		t.Errorf("an old timestamp moved the clock to %d", got-noon)
	}
	failIf(t, c.Update(noon+2_000_000))
	if got := c.Now(); got != noon+2_000_001 {
		t.Errorf("Now gave %d after an update to 2 s ahead", got-noon)
	}
	if err := c.Update(noon + 2_000_001); !errors.Is(err, ErrSkew) {
		t.Errorf("an update beyond MaxSkew gave %v", err)
	}
	if got := c.Now(); got != noon+2_000_002 {
		t.Errorf("a refused update moved the clock to %d", got-noon)
	}
}

func TestSecondsNeverGoBack(t *testing.T) {
	wall := newWall(noon)
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono})
	defer c.Close()
	first := c.Seconds()
	if first != noon/1_000_000 {
		t.Fatalf("Seconds gave %d", first)
	}
	wall.jump(-4 * time.Second)
	wall.advance(time.Second)
	if got := c.Seconds(); got != first {
		t.Errorf("Seconds went from %d to %d", first, got)
	}
	wall.advance(3600 * time.Second)
	if got := c.Seconds(); got != first+3597 {
		t.Errorf("Seconds gave %d", got-first)
	}
}

func TestCeilingIsStoredRarely(t *testing.T) {
	wall := newWall(noon)
	var stores atomic.Int64
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Persist: func(int64) error { stores.Add(1); return nil }})
	for range 60_000 { // a minute
		wall.advance(time.Millisecond)
		c.Now()
	}
	c.Close()
	if n := stores.Load(); n < 10 || n > 40 {
		t.Errorf("%d ceilings were stored in a minute, want about 30", n)
	}
}

func TestNowWaitsForTheCeilingOnlyWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stall = 10 * time.Second
		var slow atomic.Bool
		c := mustNew(t, Options{Persist: func(int64) error {
			if slow.Load() {
				time.Sleep(stall)
			}
			return nil
		}})
		c.Now() // stores the first ceiling
		slow.Store(true)
		time.Sleep(lead/2 + time.Millisecond)
		start := time.Now()
		c.Now() // starts storing
		if took := time.Since(start); took != 0 {
			t.Errorf("Now waited %v though the stored ceiling is far", took)
		}
		time.Sleep(lead)
		c.Now() // beyond what is stored
		if took := time.Since(start); took != lead+patience {
			t.Errorf("Now above the ceiling came back after %v, want %v", took, lead+patience)
		}
		if c.Err() == nil {
			t.Error("timestamps go on above what is stored, and Err says nothing")
		}
		c.Close()
	})
}

func TestPersistFailures(t *testing.T) {
	boom := errors.New("boom")
	first := mustNew(t, Options{Persist: func(int64) error { return boom }})
	if first.Now(); !errors.Is(first.Err(), boom) {
		t.Fatalf("Err gave %v", first.Err())
	}
	wall := newWall(noon)
	var fail atomic.Bool
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Persist: func(int64) error {
		if fail.Load() {
			return boom
		}
		return nil
	}})
	fail.Store(true)
	wall.advance(time.Minute)
	if got := c.Now(); got != wall.micro() {
		t.Errorf("Now gave %d", got-noon)
	}
	if err := c.Err(); !errors.Is(err, boom) {
		t.Errorf("Err gave %v", err)
	}
	fail.Store(false)
	wall.advance(time.Minute)
	c.Now()
	if err := c.Err(); err != nil {
		t.Errorf("a later store went well, Err gave %v", err)
	}
	c.Close()
}

func TestConcurrentNowIsUnique(t *testing.T) {
	const callers, each = 8, 5000
	wall := newWall(noon)
	var stored atomic.Int64
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Persist: persistTo(&stored)})
	got := make([][]int64, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			last := int64(0)
			for n := range each {
				if n%100 == 0 {
					wall.advance(10 * time.Millisecond)
					wall.jump(time.Duration(n/100%3-1) * 30 * time.Millisecond) // back and forth
				}
				now := c.Now()
				if now <= last {
					t.Errorf("one caller got %d after %d", now, last)
				}
				if ceiling := stored.Load(); now > ceiling {
					t.Errorf("got %d above the stored ceiling %d", now, ceiling)
				}
				last = now
				got[i] = append(got[i], now)
			}
		})
	}
	wg.Wait()
	c.Close()
	seen := make(map[int64]bool, callers*each)
	for _, list := range got {
		for _, ts := range list {
			if seen[ts] {
				t.Fatalf("%d was given twice", ts)
			}
			seen[ts] = true
		}
	}
}

func BenchmarkNow(b *testing.B) {
	c, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Now()
		}
	})
	c.Close()
}
