package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// busyClock is a bubble's clock on a machine whose timers come late: it jumps while a timer is waited for.
type busyClock struct {
	behind atomic.Int64 // nanoseconds that the bubble's clock is behind
}

func (c *busyClock) now() time.Time { return time.Now().Add(time.Duration(c.behind.Load())) }

// take takes n bytes so often, each time with a timer that comes so late, and gives how long one took.
func (c *busyClock) take(t *testing.T, p *Pace, times, n int, lateness time.Duration) time.Duration {
	t.Helper()
	began := c.now()
	for range times {
		jump := time.AfterFunc(time.Nanosecond, func() { c.behind.Add(int64(lateness)) })
		if err := p.Take(t.Context(), n, 0); err != nil {
			t.Fatal(err)
		}
		if jump.Stop() {
			t.Fatal("nothing was waited for")
		}
	}
	return c.now().Sub(began) / time.Duration(times)
}

// Timers that come late slow reading down, step by step to a bound; timers that come in time make it as fast again.
func TestPaceYieldsToABusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytes = 10_000_000 // 100 ms at full speed
		full := 100 * time.Millisecond
		var c busyClock
		p := NewPace(100_000_000, nil)
		p.now = c.now
		c.take(t, p, 1, bytes, 0) // what may be read at once
		// What a Take costs is decided before it waits, so a timer slows the next one. A timer that comes late ends late: hence the tolerance.
		about := func(what string, got, want time.Duration) {
			t.Helper()
			if d := got - want; d < -6*time.Millisecond || d > 6*time.Millisecond {
				t.Errorf("%s: a Take takes %s, want %s", what, got, want)
			}
		}
		about("in time", c.take(t, p, 10, bytes, 0), full)
		about("a little late", c.take(t, p, 10, bytes, late), full)
		about("late once", c.take(t, p, 1, bytes, late+time.Millisecond), full)
		about("after one late timer", c.take(t, p, 1, bytes, 0), 2*full)
		about("after one in time", c.take(t, p, 1, bytes, 0), full)
		c.take(t, p, 5, bytes, late+time.Millisecond)
		about("late again and again", c.take(t, p, 5, bytes, late+time.Millisecond), maxBrake*full)
		about("as the machine has time again", c.take(t, p, maxBrake, bytes, 0), (maxBrake+1)*full/2)
		about("in time again", c.take(t, p, 10, bytes, 0), full)
		slow := NewPace(2*minBraked, nil)
		slow.now = c.now
		c.take(t, slow, 10, minBraked, late+time.Millisecond)
		about("late, and slow anyway", c.take(t, slow, 5, minBraked, late+time.Millisecond), time.Second)
	})
}

// What was not read for a while is not made up for, but for a burst; no bound and an ended context wait for nothing.
func TestPaceBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1_000_000, nil)
		time.Sleep(time.Hour)
		began := time.Now()
		for range 10 {
			if err := p.Take(t.Context(), 10_000, 0); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(began), 100*time.Millisecond-paceBurst; got != want {
			t.Errorf("after an hour 100 ms' worth took %s, want %s", got, want)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		for _, p := range []*Pace{p, NewPace(0, nil)} {
			if err := p.Take(ended, 1<<30, 0); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if err := NewPace(0, nil).Take(t.Context(), 1<<30, 0); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// Beside requests reading gets a twentieth of a processor, all that read at once together, whatever the throttle; what took long rests long, to a bound.
func TestPaceRestsBesideRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := true
		p := NewPace(1<<30, func() bool { return requests })
		took := func(readers, times int, each time.Duration) time.Duration {
			began := time.Now()
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					for range times {
						if err := p.Take(t.Context(), 1, each); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			return time.Since(began)
		}
		const page = 200 * time.Microsecond
		for readers := range 3 {
			if got, want := took(readers+1, 100, page), time.Duration(readers+1)*100*restShare*page; got != want {
				t.Errorf("%d readers rested %s, want %s", readers+1, got, want)
			}
		}
		time.Sleep(time.Hour) // gives no credit
		if got, want := took(1, 1, time.Minute), maxRest; got != want {
			t.Errorf("after a page that took a minute reading rested %s, want %s", got, want)
		}
		const tiny = time.Microsecond // a timer each would cost more than what was read
		if got := took(1, 52, tiny); got != 0 {
			t.Errorf("52 tiny pages rested %s: they are not yet worth a timer", got)
		}
		if got, want := took(1, 1, tiny), 53*restShare*tiny; got != want {
			t.Errorf("the 53rd rested %s, want %s for all", got, want)
		}
		if requests = false; took(1, 100, page) != 0 {
			t.Error("it rests without requests")
		}
	})
}

// Everything that is read is paced, on both sides: ranges of one page, and answers that end early so as to be there in time.
func TestSessionsArePaced(t *testing.T) {
	const perSecond = 20_000 // bytes
	for _, rows := range []int{100, 10_000} {
		bubble(t, 2, func(t *testing.T, k *kit) {
			for _, r := range k.nodes {
				for n := range rows {
					r.write(insert(n, 1, 10, "a value of thirty letters, like"))
				}
			}
			for i, r := range k.nodes {
				r.server.Pace = nil
				s, peers := k.session()
				if i == 0 {
					s.Pace = NewPace(perSecond, nil)
				} else {
					r.server.Pace = NewPace(perSecond, nil)
				}
				began := time.Now()
				out, err := s.Run(t.Context(), peers)
				if err != nil || !out.Agreed() || out.Rows > 0 {
					t.Fatal(out, err)
				}
				due := time.Duration(float64(out.Scanned) / perSecond * float64(time.Second)) // the peer reads as much
				if took := time.Since(began); took < due-paceBurst || took > due+time.Second {
					t.Errorf("%d rows with node %d paced: %d bytes took %s, want %s", rows, i, out.Scanned, took, due)
				}
			}
		})
	}
}
