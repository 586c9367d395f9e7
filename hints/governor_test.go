package hints

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/vnodes"
)

// A transcript of one governor: what each window's requests do to the rate.
func TestGovernorMakesWay(t *testing.T) {
	const limit, MiB = 32 << 20, 1 << 20
	now, l := time.Unix(1000, 0), load{}
	g := newGovernor(limit, 32<<10, now, l)
	window := func(requests int64, each time.Duration) string {
		now = now.Add(windowEvery)
		if !g.due(now) {
			t.Fatal("a window does not end")
		}
		l.requests, l.took = l.requests+requests, l.took+time.Duration(requests)*each
		g.observe(now, l, int64(2*time.Millisecond))
		return fmt.Sprintf("%.2f", g.rate/MiB)
	}
	for i, step := range []struct {
		requests int64
		each     time.Duration
		rate     string
	}{
		{0, 0, "8.00"},                        // nobody there: twice as fast
		{7, time.Second, "16.00"},             // too few requests to go by
		{100, 2 * time.Millisecond, "8.00"},   // requests: at most the share
		{100, 3 * time.Millisecond, "8.00"},   // within half as long again
		{100, 4 * time.Millisecond, "4.00"},   // slower than that
		{100, 400 * time.Millisecond, "2.00"}, // still
		{100, 2 * time.Millisecond, "2.50"},   // well again: a quarter more
		{0, 0, "5.00"},
		{0, 0, "10.00"},
		{0, 0, "20.00"},
		{0, 0, "32.00"},
	} {
		if got := window(step.requests, step.each); got != step.rate {
			t.Errorf("step %d, %d requests of %v: %s MiB/s, want %s", i, step.requests, step.each, got, step.rate)
		}
	}
	for range 20 {
		window(100, time.Second)
	}
	want(t, "the least rate", g.rate, float64(minRate))
	want(t, "bytes a message at it", g.batch(), minRate/10)
}

// After a rush of requests, beside which nothing would seem slow, what is usual comes down to what requests take beside hints; a few that are fast by chance say nothing.
func TestGovernorForgetsARush(t *testing.T) {
	now, l, usual := time.Unix(1000, 0), load{}, int64(20*time.Millisecond)
	g := newGovernor(32<<20, 32<<10, now, l)
	window := func(requests int64, each time.Duration) {
		now = now.Add(windowEvery)
		l.requests, l.took = l.requests+requests, l.took+time.Duration(requests)*each
		usual = g.observe(now, l, usual)
	}
	window(100, time.Millisecond)
	want(t, "usual after a few requests", usual, int64(20*time.Millisecond))
	for range 40 {
		window(100, 2*time.Millisecond)
	}
	if usual < int64(2*time.Millisecond) || usual > int64(2200*time.Microsecond) {
		t.Errorf("%s is usual where requests take 2 ms", time.Duration(usual))
	}
	rate := g.rate
	window(100, 4*time.Millisecond)
	want(t, "rate beside requests that take twice as long", g.rate, rate/2)
	for range 40 {
		window(100, 4*time.Millisecond)
	}
	if usual > int64(2200*time.Microsecond) {
		t.Errorf("hints that make requests slow made %s usual", time.Duration(usual))
	}
}

// Batches that are under way together shed once; each shedding after a pause doubles it.
func TestGovernorPausesWhenThePeerSheds(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newGovernor(32<<20, 32<<10, now, load{})
	for _, pause := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		for range 3 {
			g.shed(now)
		}
		want(t, "pause", g.delay(now), pause*time.Millisecond)
		now = now.Add(g.delay(now))
	}
	want(t, "rate", g.rate, float64(minRate))
	now = now.Add(maxShedPause + 1)
	g.shed(now)
	want(t, "pause after a long while", g.delay(now), firstShedPause)
}

// Hints that the peer sheds are no failures: the replay goes on, slowly, until it takes them.
func TestShedHintsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		for _, h := range numbered(0, 20) {
			add(t, s, host(1), h)
		}
		begun, tries := time.Now(), 0
		p.answer = func(_ vnodes.HostID, h string) error {
			if tries++; time.Since(begun) < 2*time.Second {
				return fmt.Errorf("busy: %w", ErrOverloaded)
			}
			return nil
		}
		run(s, 10*time.Second)
		want(t, "delivered", p.delivered(host(1)), numbered(0, 20))
		want(t, "failures", s.Stats().Failures, 0)
		if tries < 100 || tries > 200 { // at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s
			t.Errorf("%d tries of 20 hints in 2 s, want about 6 each", tries)
		}
		closeStore(t, s)
	})
}

// One batch takes many hints, and a refusal of one leaves the others be.
func TestHintsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.BatchBytes = 10 * (recordBytes + 9)
		var sizes []int
		o.Deliver = func(to vnodes.HostID, mutations [][]byte, done func(int, error)) {
			sizes = append(sizes, len(mutations))
			p.deliver(to, mutations, done)
		}
		s := open(t, o)
		for _, h := range numbered(0, 35) {
			add(t, s, host(1), h)
		}
		p.answer = func(_ vnodes.HostID, h string) error {
			switch h {
			case "hint 0003":
				return ErrRefused
			case "hint 0012":
				return errors.New("not yet")
			}
			return nil
		}
		run(s, time.Millisecond)
		want(t, "batches", sizes, []int{10, 10, 10, 5})
		want(t, "pending", s.Pending(host(1)), 1)
		p.set(func() { p.answer = nil })
		s.Wake(host(1))
		run(s, time.Second)
		want(t, "pending", s.Pending(host(1)), 0)
		want(t, "delivered, dropped, failures", []int64{s.Stats().Delivered, s.Stats().Dropped, s.Stats().Failures}, []int64{34, 1, 1})
		closeStore(t, s)
	})
}

// A peer that dies in the middle is not sent to any more, and its hints stay.
func TestAPeerThatDiesInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		o := testOptions(disk.Crashable(), p)
		o.BatchBytes = 1
		s := open(t, o)
		for _, h := range numbered(0, 100) {
			add(t, s, host(1), h)
		}
		tries := 0
		p.answer = func(to vnodes.HostID, _ string) error {
			if tries++; tries > 40 {
				p.down[to] = true // under p.mu
				return errors.New("unreachable")
			}
			return nil
		}
		run(s, time.Minute)
		want(t, "tries", tries, 41)
		want(t, "pending", s.Pending(host(1)), 60)
		p.set(func() { p.answer, p.down = nil, map[vnodes.HostID]bool{} })
		s.Wake(host(1))
		run(s, time.Second)
		want(t, "pending", s.Pending(host(1)), 0)
		closeStore(t, s)
	})
}

// Peers are sent to in parallel, so many at once; the others follow.
func TestReplaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		s := open(t, testOptions(disk.Crashable(), p))
		const hosts = maxReplays + 3
		for id := byte(1); id <= hosts; id++ {
			add(t, s, host(id), "a")
		}
		p.set(func() { p.hold = true })
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		synctest.Wait()
		want(t, "at once", p.most, maxReplays)
		p.held[4](nil)
		synctest.Wait()
		want(t, "the ninth has begun", len(p.held), maxReplays+1)
		cancel()
		running.Wait()
		closeStore(t, s)
	})
}
