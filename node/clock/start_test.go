package clock

import (
	"sync/atomic"
	"testing"
	"time"
)

// A joiner with a wrong clock is refused; the operator sets the clock and starts again, as the message says.
func TestCeilingOutlivesRefusedStart(t *testing.T) {
	var ceiling atomic.Int64
	real := time.Now()
	mono := time.Duration(0)
	open := func(off time.Duration) *HLC {
		c, err := New(Options{Wall: func() time.Time { return real.Add(off + mono) }, Mono: func() time.Duration { return mono },
			Ceiling: ceiling.Load(), Persist: func(v int64) error { ceiling.Store(v); return nil }})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(24 * time.Hour)
	v := c.Judge(2, []Reading{c.Read("a", real.UnixMicro(), real.UnixMicro(), 0), c.Read("b", real.UnixMicro(), real.UnixMicro(), 0)})
	if v.Trust == nil {
		t.Fatal("trusted a day ahead")
	}
	c.Close()
	mono = 0
	c = open(0)
	v = c.Judge(2, []Reading{c.Read("a", real.UnixMicro(), real.UnixMicro(), 0), c.Read("b", real.UnixMicro(), real.UnixMicro(), 0)})
	if v.Trust != nil {
		t.Fatalf("the clock is right now, no timestamp was ever given, and still: %v", v.Trust)
	}
}

// Of four others only one with a wrong clock answers: that is no majority, and no reason to refuse writes.
func TestOneWrongClockProvesNothing(t *testing.T) {
	real := time.Now()
	mono := time.Duration(0)
	c, _ := New(Options{Wall: func() time.Time { return real.Add(mono) }, Mono: func() time.Duration { return mono }})
	bad := real.Add(time.Hour).UnixMicro()
	c.Judge(4, []Reading{c.Read("b", bad, bad, 0)}) // of four others only the bad one answered
	for range 100 {
		mono += time.Hour
		c.Judge(4, nil)
	}
	if c.Trusted() != nil {
		t.Fatal(c.Trusted())
	}
}

// A verdict that nobody confirms lapses: who was refused by nodes that are gone goes by its own clock.
func TestAVerdictLapses(t *testing.T) {
	real := time.Now()
	mono := time.Duration(0)
	c, err := New(Options{Wall: func() time.Time { return real.Add(mono) }, Mono: func() time.Duration { return mono }})
	if err != nil {
		t.Fatal(err)
	}
	bad := real.Add(time.Hour).UnixMicro()
	if v := c.Judge(1, []Reading{c.Read("b", bad, bad, 0)}); v.Trust == nil {
		t.Fatal("the only other node differs by an hour, and nothing is refused")
	}
	mono += silence / 2
	if v := c.Judge(1, nil); v.Trust == nil {
		t.Error("the verdict was gone at once")
	}
	mono += silence
	if v := c.Judge(1, nil); v.Trust != nil {
		t.Errorf("nobody has confirmed it for %v: %v", silence, v.Trust)
	}
}

// Two of three nodes are up: one that was suspended follows its wall clock, which the other confirms; one that started with a wrong clock stays refused while
// only one of those that say so answers.
func TestTwoOfThree(t *testing.T) {
	real := time.Now()
	var suspended, mono time.Duration
	c, err := New(Options{Wall: func() time.Time { return real.Add(mono + suspended) }, Mono: func() time.Duration { return mono }})
	if err != nil {
		t.Fatal(err)
	}
	c.Now()
	mono, suspended = time.Second, time.Hour
	good := real.Add(mono + suspended).UnixMicro()
	if v := c.Judge(2, []Reading{c.Read("b", good, good, 0)}); v.Adopted == 0 || v.Doubt != nil || v.Trust != nil {
		t.Errorf("resumed: %+v", v)
	}
	wrong, err := New(Options{Wall: func() time.Time { return real.Add(time.Hour + mono) }, Mono: func() time.Duration { return mono }})
	if err != nil {
		t.Fatal(err)
	}
	at := real.Add(mono).UnixMicro()
	both := []Reading{wrong.Read("b", at, at, 0), wrong.Read("d", at, at, 0)}
	if v := wrong.Judge(2, both); v.Trust == nil {
		t.Error("an hour ahead of both others, and trusted")
	}
	if v := wrong.Judge(2, both[:1]); v.Trust == nil {
		t.Errorf("an answer that is an hour off made it trusted: %+v", v)
	}
}
