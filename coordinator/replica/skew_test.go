package replica

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/clock"
)

// wallOf gives a node a wall clock of its own, `off` from the others'; later stores to off are its jumps. suspects counts what asks for a judgement.
func wallOf(t *testing.T, m *testNode, start time.Duration) (off, suspects *atomic.Int64) {
	t.Helper()
	off, suspects = &atomic.Int64{}, &atomic.Int64{}
	off.Store(int64(start))
	cl, err := clock.New(clock.Options{
		Wall:    func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		Suspect: func() { suspects.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.clock, m.replica.Clock, m.coordinator.Clock, m.batches.Clock = cl, cl, cl, cl
	return off, suspects
}

// judge holds a node's clock against the others', as node does.
func (c *testCluster) judge(i int) clock.Verdict {
	var answers []clock.Reading
	for k, o := range c.nodes {
		if k != i {
			answers = append(answers, c.nodes[i].clock.Read("node", o.clock.Wall(), o.clock.Time(), 0))
		}
	}
	return c.nodes[i].clock.Judge(len(c.nodes)-1, answers)
}

// A coordinator whose wall clock jumps must not shadow what others acknowledge later, nor have its own writes shadowed.
func TestAClockJumpShadowsNothing(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
			a, b := c.nodes[0], c.nodes[1]
			off, suspects := wallOf(t, a, 0)
			if err := b.write(consistency.Quorum, mutation("k", 1, "before", b.clock.Now())); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			off.Store(int64(jump))
			if err := a.write(consistency.Quorum, mutation("k", 1, "jumped", a.clock.Now())); err != nil {
				t.Errorf("a jump of %v: %v", jump, err)
			}
			if suspects.Load() == 0 || a.clock.Doubt() == nil {
				t.Errorf("a jump of %v went unnoticed", jump)
			}
			if got, err := b.read(consistency.All, "k"); !slices.Equal(got, []string{"k/1=jumped"}) {
				t.Errorf("a jump of %v: read %v, %v", jump, got, err)
			}
			time.Sleep(time.Second)
			if v := c.judge(0); v.Adopted != 0 || v.Trust != nil {
				t.Errorf("a jump of %v: %+v", jump, v)
			}
			if err := b.write(consistency.Quorum, mutation("k", 1, "acked", b.clock.Now())); err != nil {
				t.Fatal(err)
			}
			if got, err := b.read(consistency.All, "k"); !slices.Equal(got, []string{"k/1=acked"}) {
				t.Errorf("a jump of %v: read %v, %v", jump, got, err)
			}
		})
	}
}

// While the wall clock strobes by an hour, a session through two coordinators reads what it wrote last.
func TestAStrobingClockKeepsASessionsOrder(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		off, _ := wallOf(t, c.nodes[0], 0)
		for i := range 200 {
			off.Store(int64([]time.Duration{time.Hour, 0, -time.Hour, 30 * time.Minute}[i%4]))
			m, value := c.nodes[i%2], string(rune('a'+i%26))
			if err := m.write(consistency.Quorum, mutation("k", 1, value, m.clock.Now())); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
			if got, err := c.nodes[(i+1)%3].read(consistency.Quorum, "k"); !slices.Equal(got, []string{"k/1=" + value}) {
				t.Fatalf("write %d: read %v, %v, want %s", i, got, err, value)
			}
			if i%7 == 0 {
				c.judge(0)
			}
			time.Sleep(3 * time.Millisecond)
		}
	})
}

// A node that started with a wrong clock refuses to write, reads all the same, and writes once its clock is set.
func TestAWrongClockRefusesToWrite(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, -time.Hour} {
		bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
			off, _ := wallOf(t, c.nodes[0], wrong)
			if v := c.judge(0); v.Trust == nil {
				t.Fatalf("%v off: trusted", wrong)
			}
			var skew *coordinator.ClockSkew
			err := c.nodes[0].write(consistency.One, mutation("k", 1, "poison", c.nodes[0].clock.Now()))
			if !errors.As(err, &skew) || !errors.Is(err, clock.ErrDistrust) {
				t.Errorf("%v off: the write gave %v", wrong, err)
			}
			if len(c.nodes[0].store.partitions) != 0 {
				t.Errorf("%v off: the refused write was applied", wrong)
			}
			if err := c.nodes[1].write(consistency.Quorum, mutation("k", 1, "acked", c.nodes[1].clock.Now())); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got, err := c.nodes[0].read(consistency.Quorum, "k"); !slices.Equal(got, []string{"k/1=acked"}) {
				t.Errorf("%v off: read %v, %v", wrong, got, err)
			}
			off.Store(0)
			if v := c.judge(0); v.Trust != nil || v.Adopted != -wrong {
				t.Errorf("%v off, then set: %+v", wrong, v)
			}
			if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "set", c.nodes[0].clock.Now())); err != nil {
				t.Error(err)
			}
			if got, err := c.nodes[1].read(consistency.Quorum, "k"); !slices.Equal(got, []string{"k/1=set"}) {
				t.Errorf("%v off, then set: read %v, %v", wrong, got, err)
			}
		})
	}
}

// One replica whose clock lags gets hints for what it refuses; a coordinator whose clock is ahead leaves none, or the write that failed would come an hour later.
func TestHintsForARefusedClock(t *testing.T) {
	for _, level := range []consistency.Level{consistency.One, consistency.Quorum} {
		bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
			wallOf(t, c.nodes[2], -time.Hour)
			if err := c.nodes[0].write(level, mutation("k", 1, "a", 10)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if got := c.nodes[0].hinted(2); got != 1 {
				t.Errorf("at %v: %d hints for the replica whose clock lags, want 1", level, got)
			}
		})
	}
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		wallOf(t, c.nodes[0], time.Hour)
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "poison", 10)); err == nil {
			t.Fatal("the others accepted a clock an hour ahead")
		}
		time.Sleep(time.Minute)
		if got := c.nodes[0].hinted(1) + c.nodes[0].hinted(2); got != 0 {
			t.Errorf("%d hints of a failed write by a wrong clock", got)
		}
	})
}

// A refusal of the coordinator's clock asks for a judgement at once.
func TestARefusedClockIsSuspected(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		_, suspects := wallOf(t, c.nodes[0], time.Hour)
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err == nil {
			t.Error("the others accepted a clock an hour ahead")
		}
		if suspects.Load() == 0 {
			t.Error("nobody asks for a judgement")
		}
	})
}

// Level ONE, the coordinator started with a clock an hour ahead (its peers were not up when it was judged): its own acknowledgement "meets" the level, and the
// refusals of the two others become hints, which poison the row an hour later.
func TestHintOfWrongClockAtOne(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		wallOf(t, c.nodes[0], time.Hour)
		err := c.nodes[0].write(consistency.One, mutation("k", 1, "poison", c.nodes[0].clock.Now()))
		time.Sleep(10 * time.Second)
		if h := c.nodes[0].hinted(1) + c.nodes[0].hinted(2); h > 0 {
			t.Errorf("%d hints of a write stamped an hour ahead (write: %v)", h, err)
		}
	})
}
