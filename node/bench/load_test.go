package bench

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestValues: a value is right for its own key and field, whatever its version, and any changed bit is noticed.
func TestValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 30).Draw(t, "key")
		field, version := rapid.IntRange(0, 9).Draw(t, "field"), rapid.Uint64().Draw(t, "version")
		v := appendValue(nil, seedOf(key, field), version)
		if err := checkValue(v, seedOf(key, field)); err != nil {
			t.Fatal(err)
		}
		for _, b := range v {
			if b < ' ' || b > '_' {
				t.Fatalf("%q is not printable", v)
			}
		}
		if err := checkValue(v, seedOf(key, field+1)); !errors.Is(err, ErrWrong) {
			t.Fatal("another field's value is taken")
		}
		if err := checkValue(v, seedOf(append(key, 0), field)); !errors.Is(err, ErrWrong) {
			t.Fatal("another key's value is taken")
		}
		bad := bytes.Clone(v)
		bad[rapid.IntRange(0, fieldBytes-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if err := checkValue(bad, seedOf(key, field)); !errors.Is(err, ErrWrong) {
			t.Fatal("a changed bit is taken")
		}
	})
}

// TestDistributions: all draw only rows that are there; zipfian has favourites that are spread, latest has the newest.
func TestDistributions(t *testing.T) {
	const rows, draws = 1000, 100_000
	for _, kind := range distributions {
		space := newRowSpace(rows)
		c := newChooser(kind, space, rows, rand.New(rand.NewPCG(1, 2)))
		for range rows {
			space.acknowledged(space.next.Add(1) - 1)
		}
		counts := map[int64]int{}
		for range draws {
			counts[c.draw()]++
		}
		most, times := int64(-1), 0
		for n, k := range counts {
			if n < 0 || n >= 2*rows || (kind != latest && n >= rows) {
				t.Fatalf("%s drew row %d", kind, n)
			}
			if k > times {
				most, times = n, k
			}
		}
		// Of 1,000 ranks at theta 0.99 the first has 1/zeta = 13%, of 2,000 12%.
		switch share := float64(times) / draws; {
		case kind == uniform && share > 0.002:
			t.Errorf("uniform: row %d has %.3f", most, share)
		case kind == zipfian && (share < 0.12 || share > 0.15 || most == 0):
			t.Errorf("zipfian: row %d has %.3f", most, share)
		case kind == latest && (share < 0.11 || share > 0.14 || most != 2*rows-1):
			t.Errorf("latest: row %d has %.3f", most, share)
		}
	}
}

// TestLatestWaits: a row that is not acknowledged, and those after it, are not read.
func TestLatestWaits(t *testing.T) {
	space := newRowSpace(5)
	for n, low := range map[int64]int64{7: 5, 6: 5} {
		if space.acknowledged(n); space.low.Load() != low {
			t.Fatalf("after %d: %d", n, space.low.Load())
		}
	}
	if space.acknowledged(5); space.low.Load() != 8 {
		t.Fatal(space.low.Load())
	}
}

// slowSession answers a request service after it was sent, one after the other, as a server does that serves one at a time.
type slowSession struct {
	service time.Duration
	mu      sync.Mutex
	free    time.Time
}

func (*slowSession) close() {}

func (s *slowSession) slot(done func(answer, error)) sender { return &slowSender{s, done} }

type slowSender struct {
	*slowSession
	done func(answer, error)
}

func (s *slowSender) send(*call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(s.service)
	time.AfterFunc(time.Until(s.free), func() { s.done(nil, nil) })
	return nil
}

var idle = &kind{"idle", func(*op) {}, nothing}

func runSlow(t *testing.T, o Options, sessions []session) *Result {
	r := &run{o: &o, w: &Workload{Name: "idle"}, sessions: sessions, space: newRowSpace(0), pause: time.Sleep}
	r.makeWorkers(o.InFlight[0])
	res, err := r.phase(t.Context(), "", []Share{{100, idle}}, o.Seconds, 1<<40, o.Rate)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestLatencyFromTheIntendedStart: a server that takes 20 ms for each of 100 operations a second falls behind; in an open loop the latency says so, though each
// request is answered within 20 ms of being sent.
func TestLatencyFromTheIntendedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := runSlow(t, Options{InFlight: []int{1}, Rate: 100, Seconds: time.Second}, []session{&slowSession{service: 20 * time.Millisecond}})
		// Operation k should begin at 10k ms and ends at 20(k+1): the last of 101 is 1020 ms late.
		if l := res.Latency; res.Ops != 101 || l.Max < 1_015_000 || l.Max > 1_025_000 || l.P50 < 500_000 || l.P50 > 540_000 {
			t.Errorf("%+v", res)
		}
	})
}

// TestClosedLoop: the same server in a closed loop shows 20 ms for each with one in flight, and 80 with four.
func TestClosedLoop(t *testing.T) {
	for inFlight, want := range map[int]int64{1: 20_000, 4: 80_000} {
		synctest.Test(t, func(t *testing.T) {
			res := runSlow(t, Options{InFlight: []int{inFlight}, Seconds: time.Second}, []session{&slowSession{service: 20 * time.Millisecond}})
			if l := res.Latency; l.P50 < want-100 || l.P50 > want+100 || res.Ops < 50 || res.Ops > 54 {
				t.Errorf("%d in flight: %+v", inFlight, res)
			}
		})
	}
}

// TestSpread: operations in flight are spread over all sessions, and so is the rate.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := []session{&slowSession{service: time.Millisecond}, &slowSession{service: time.Millisecond}, &slowSession{service: time.Millisecond}}
		res := runSlow(t, Options{InFlight: []int{7}, Rate: 300, Seconds: time.Second}, sessions)
		if res.Ops < 300 || res.Ops > 303 || res.Latency.Max > 1100 {
			t.Errorf("%+v", res)
		}
	})
}
