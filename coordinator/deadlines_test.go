package coordinator

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// expiring notes when it expired.
type expiring struct {
	deadline
	at time.Time
}

func (e *expiring) expire() { e.at = time.Now() }

// TestDeadlines: each request that is not removed expires when its time is up, whatever the order they came in; none that is removed does.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list deadlines
		rng := rand.New(rand.NewPCG(1, 2))
		begun := time.Now()
		var all, removed []*expiring
		var untils []time.Time
		for i := range 201 {
			e := &expiring{}
			until := time.Now().Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			list.add(&e.deadline, until, e)
			if i%3 == 0 {
				removed = append(removed, e)
			} else {
				all, untils = append(all, e), append(untils, until)
			}
			time.Sleep(time.Millisecond)
			if i%3 == 2 {
				list.remove(&removed[len(removed)-1].deadline)
			}
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for i, e := range all {
			if !e.at.Equal(untils[i]) {
				t.Errorf("due after %v, expired after %v", untils[i].Sub(begun), e.at.Sub(begun))
			}
		}
		for _, e := range removed {
			if !e.at.IsZero() && e.at.Sub(begun) > time.Duration(len(all)+len(removed)+3)*time.Millisecond { // some were due before they were removed
				t.Errorf("removed, and expired after %v", e.at.Sub(begun))
			}
		}
		if list.mu.first != nil || list.mu.last != nil || !list.mu.fires.IsZero() {
			t.Error("something is left")
		}
	})
}
