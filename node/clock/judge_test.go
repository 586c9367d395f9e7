package clock

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// machine is a clock on a machine whose wall clock tests set.
type machine struct {
	*HLC
	wall     *wallClock
	suspects atomic.Int64
}

func newMachine(t *testing.T, wall int64, ceiling int64) *machine {
	t.Helper()
	m := &machine{wall: newWall(wall)}
	m.HLC = mustNew(t, Options{Wall: m.wall.now, Mono: m.wall.mono, Ceiling: ceiling, Suspect: func() { m.suspects.Add(1) }})
	t.Cleanup(m.Close)
	return m
}

// asks has a machine judge its clock by others, all of which answer.
func (m *machine) asks(others ...*machine) Verdict {
	var answers []Reading
	for i, o := range others {
		answers = append(answers, m.Read(fmt.Sprint("node ", i), o.Wall(), o.Time(), 0))
	}
	return m.Judge(len(others), answers)
}

func TestAJumpIsNotFollowed(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 6 * time.Second, -6 * time.Second, 100 * 365 * 24 * time.Hour} {
		m := newMachine(t, noon, 0)
		before := m.Now()
		m.wall.jump(jump)
		m.wall.advance(time.Second)
		if got := m.Now(); got != before+1_000_000 {
			t.Errorf("one second and a jump of %v later Now gave %+d µs", jump, got-before)
		}
		if got := m.Seconds(); got != noon/1_000_000+1 {
			t.Errorf("Seconds followed a jump of %v", jump)
		}
		if m.Doubt() == nil || m.suspects.Load() != 1 {
			t.Errorf("a jump of %v: doubt %v, %d calls of Suspect", jump, m.Doubt(), m.suspects.Load())
		}
		m.wall.advance(time.Minute)
		m.Now()
		if n := m.suspects.Load(); n != 1 {
			t.Errorf("one jump made %d calls of Suspect", n)
		}
		m.wall.jump(-jump)
		m.wall.advance(time.Second)
		if got := m.Now(); got != before+62_000_000 || m.Doubt() != nil {
			t.Errorf("the wall clock is back: Now gave %+d, doubt %v", got-before, m.Doubt())
		}
	}
}

func TestAnIdleClockIsChecked(t *testing.T) {
	m := newMachine(t, noon, 0)
	m.wall.jump(time.Hour)
	m.wall.advance(time.Second)
	m.Check()
	if m.Doubt() == nil || m.suspects.Load() != 1 {
		t.Errorf("doubt %v, %d calls of Suspect", m.Doubt(), m.suspects.Load())
	}
}

func TestASmallStepIsFollowed(t *testing.T) {
	m := newMachine(t, noon, 0)
	for _, step := range []time.Duration{4 * time.Second, -4 * time.Second, 5 * time.Second, -time.Millisecond} {
		before := m.Now()
		m.wall.jump(step)
		m.wall.advance(compareEvery)
		if got, want := m.Now(), max(before+1, m.wall.micro()); got != want {
			t.Errorf("after a step of %v Now gave %+d, want %+d", step, got-before, want-before)
		}
		m.wall.advance(10 * time.Second)
		if got := m.Now(); got != m.wall.micro() {
			t.Errorf("10 s after a step of %v Now is %+d from the wall clock", step, got-m.wall.micro())
		}
	}
	if m.Doubt() != nil || m.suspects.Load() != 0 {
		t.Errorf("doubt %v, %d calls of Suspect", m.Doubt(), m.suspects.Load())
	}
}

// A wall clock that jumps to and fro by an hour never moves what is stamped by more than MaxSkew from true time.
func TestStrobing(t *testing.T) {
	m := newMachine(t, noon, 0)
	a, b := newMachine(t, noon, 0), newMachine(t, noon, 0)
	truth, last := noon, int64(0)
	for i := range 10_000 {
		m.wall.jump([]time.Duration{time.Hour, -time.Hour, -30 * time.Minute, 30 * time.Minute}[i%4])
		for _, x := range []*machine{m, a, b} {
			x.wall.advance(7 * time.Millisecond)
		}
		truth += 7000
		now := m.Now()
		if now <= last {
			t.Fatalf("Now gave %d after %d", now, last)
		}
		last = now
		if !within(now-truth, DefaultMaxSkew) {
			t.Fatalf("step %d: stamped %v from true time", i, span(now-truth))
		}
		if i%10 == 0 {
			if v := m.asks(a, b); v.Adopted != 0 || v.Trust != nil {
				t.Fatalf("step %d: %+v", i, v)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		name   string
		jump   time.Duration   // of the judging machine, after its start
		skew   time.Duration   // it had at its start
		others []time.Duration // jumps of the others' wall clocks, after their start
		silent int             // of others that don't answer

		adopted time.Duration
		doubt   bool
		refused bool
	}{
		{name: "all is well", others: []time.Duration{0, 0}},
		{name: "alone", jump: hour, adopted: hour},
		{name: "nobody answers", jump: hour, silent: 2, doubt: true},
		{name: "one machine jumps ahead", jump: hour, others: []time.Duration{0, 0}, doubt: true},
		{name: "one machine jumps back", jump: -hour, others: []time.Duration{0, 0}, doubt: true},
		{name: "all were suspended", jump: hour, others: []time.Duration{hour, hour}, adopted: hour, refused: true},
		{name: "one of two agrees, which makes two of three", jump: hour, others: []time.Duration{hour, 0}, adopted: hour, refused: true},
		{name: "the only one that answers agrees", jump: hour, others: []time.Duration{hour}, silent: 3, doubt: true},
		{name: "another's wall clock is wrong", others: []time.Duration{hour, hour}},
		{name: "ahead from the start", skew: hour, others: []time.Duration{0, 0}, refused: true},
		{name: "behind from the start", skew: -hour, others: []time.Duration{0, 0}, refused: true},
		{name: "wrong from the start, then set", skew: hour, jump: -hour, others: []time.Duration{0, 0}, adopted: -hour},
		{name: "late from the start, then set", skew: -hour, jump: hour, others: []time.Duration{0, 0}, adopted: hour},
		{name: "wrong from the start, alone", skew: hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, noon+c.skew.Microseconds(), 0)
			var others []*machine
			for _, jump := range c.others {
				o := newMachine(t, noon, 0)
				o.wall.jump(jump)
				others = append(others, o)
			}
			m.wall.jump(c.jump)
			var answers []Reading
			for _, o := range others {
				answers = append(answers, m.Read("other", o.Wall(), o.Time(), 0))
			}
			v := m.Judge(len(others)+c.silent, answers)
			if v.Adopted != c.adopted || (v.Doubt != nil) != c.doubt || (v.Trust != nil) != c.refused {
				t.Errorf("adopted %v, doubt %v, trust %v", v.Adopted, v.Doubt, v.Trust)
			}
			if c.refused && !errors.Is(m.Trusted(), ErrDistrust) {
				t.Errorf("Trusted gave %v", m.Trusted())
			}
		})
	}
}

// While the machines of a cluster that was suspended adopt the new time one after the other, some refuse writes; when all have, none does.
func TestASuspendedClusterComesBack(t *testing.T) {
	ms := []*machine{newMachine(t, noon, 0), newMachine(t, noon, 0), newMachine(t, noon, 0)}
	for _, m := range ms {
		m.Now()
		m.wall.jump(time.Hour)
	}
	for range 2 {
		for i, m := range ms {
			m.asks(ms[(i+1)%3], ms[(i+2)%3])
		}
	}
	for i, m := range ms {
		if m.Doubt() != nil || m.Trusted() != nil || m.Now() < noon+time.Hour.Microseconds() {
			t.Errorf("node %d: doubt %v, trust %v, now %+d", i, m.Doubt(), m.Trusted(), m.Now()-noon)
		}
	}
}

// Without answers the last verdict stands: who is cut off doesn't become right by it.
func TestAVerdictStandsUntilAnother(t *testing.T) {
	m, o := newMachine(t, noon+time.Hour.Microseconds(), 0), newMachine(t, noon, 0)
	m.asks(o)
	if m.Judge(1, nil); m.Trusted() == nil {
		t.Error("trusted though nobody answered")
	}
	if m.Judge(0, nil); m.Trusted() != nil {
		t.Errorf("the only node: %v", m.Trusted())
	}
}

func TestAClockThatIsNotTrustedStandsStill(t *testing.T) {
	m := newMachine(t, noon, 0)
	last := m.Now()
	m.Distrust(errors.New("no"))
	m.wall.advance(time.Minute)
	if got := m.Now(); got != last {
		t.Errorf("Now gave %+d", got-last)
	}
	m.Distrust(nil)
	if got := m.Now(); got != last+time.Minute.Microseconds() {
		t.Errorf("trusted again, Now gave %+d", got-last)
	}
}

// A machine that booted an hour ahead, and was set right before anything was stamped, is not ahead, and not after a restart either.
func TestAWrongStartIsTakenBack(t *testing.T) {
	wall := newWall(noon + time.Hour.Microseconds())
	var stored atomic.Int64
	ceiling := noon - 1000
	c := mustNew(t, Options{Wall: wall.now, Mono: wall.mono, Ceiling: ceiling, Persist: persistTo(&stored)})
	defer c.Close()
	other := newMachine(t, noon, 0)
	judge := func() Verdict { return c.Judge(1, []Reading{c.Read("other", other.Wall(), other.Time(), 0)}) }
	if judge().Trust == nil {
		t.Fatal("trusted an hour ahead")
	}
	c.Now() // of a write that will be refused
	wall.jump(-time.Hour)
	if v := judge(); v.Trust != nil || v.Adopted != -time.Hour {
		t.Fatalf("set right: %+v", v)
	}
	if got := c.Now(); got != noon {
		t.Errorf("Now gave %+d", got-noon)
	}
	if got := stored.Load(); got < noon || got > noon+lead.Microseconds() {
		t.Errorf("the stored ceiling is %s from the wall clock", span(got-noon))
	}
	// What was stamped can't be taken back: it stays ahead, and refuses.
	m := newMachine(t, noon+time.Hour.Microseconds(), 0)
	last := m.Now()
	m.wall.jump(-time.Hour)
	if v := m.asks(other); v.Trust == nil || m.Now() != last {
		t.Errorf("%+v, Now %+d", v, m.Now()-last)
	}
	for _, x := range []*machine{m, other} {
		x.wall.advance(time.Hour)
	}
	if v := m.asks(other); v.Trust != nil || m.Now() <= last {
		t.Errorf("an hour later: %+v", v)
	}
}

func TestAcceptRefusesAnotherJump(t *testing.T) {
	m := newMachine(t, noon, 0)
	m.wall.jump(2 * time.Hour)
	if m.Accept(time.Hour) {
		t.Error("accepted a jump of 2 h as one of 1 h")
	}
	if !m.Accept(2*time.Hour) || m.Time() != noon+2*time.Hour.Microseconds() {
		t.Errorf("Time is %+d", m.Time()-noon)
	}
}

// A reading interrupted by the scheduler must not pass for a jump.
func TestASlowReadingSaysNothing(t *testing.T) {
	wall := newWall(noon)
	slow := time.Duration(0)
	c := mustNew(t, Options{Mono: wall.mono, Wall: func() time.Time {
		now := wall.now()
		wall.advance(slow)
		return now
	}})
	defer c.Close()
	slow = time.Minute
	wall.advance(time.Second)
	c.Check()
	if err := c.Doubt(); err != nil {
		t.Error(err)
	}
}

// Whatever the wall clock does, timestamps grow, and without Accept they stay near monotonic time.
func TestTimestampsKeepOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, noon, 0)
		last, steps := int64(0), int64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "n") {
			d := time.Duration(rapid.Int64Range(-1e13, 1e13).Draw(rt, "jump"))
			if rapid.Bool().Draw(rt, "small") {
				d %= DefaultMaxSkew
			}
			steps++
			m.wall.jump(d)
			m.wall.advance(time.Duration(rapid.Int64Range(0, 1e8).Draw(rt, "pass")))
			now := m.Now()
			if now <= last {
				rt.Fatalf("Now gave %d after %d", now, last)
			}
			last = now
			// Each look at the wall clock may follow one small step.
			if off := m.Time() - noon - m.wall.mono().Microseconds(); !within(off, time.Duration(steps)*DefaultMaxSkew) {
				rt.Fatalf("%s from monotonic time after %d steps", span(off), steps)
			}
		}
	})
}
