package wake

import (
	"sync"
	"testing"
	"testing/synctest"
)

func woken(ch Bell) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestHeldWakeUpsComeAtTheEndOfTheBurst(t *testing.T) {
	var c Cork
	a, b := NewBell(), NewBell()
	c.Wake(a)
	if !woken(a) {
		t.Error("nobody holds, and it was not woken")
	}
	c.Hold()
	c.Wake(a)
	c.Wake(b)
	c.Wake(b)
	if woken(a) || woken(b) {
		t.Error("woken in the middle of a burst")
	}
	c.Release()
	if !woken(a) || !woken(b) || woken(b) {
		t.Error("want one wake-up each at the end")
	}
}

// Two bursts overlap: what is held back comes with the end of the first that ends.
func TestTheShortestBurstWakes(t *testing.T) {
	var c Cork
	a := NewBell()
	c.Hold()
	c.Hold()
	c.Wake(a)
	c.Release()
	if !woken(a) {
		t.Error("a burst has ended, and it was not woken")
	}
	c.Release()
	c.Wake(a)
	if !woken(a) {
		t.Error("nobody holds, and it was not woken")
	}
}

func TestNilHoldsNothingBack(t *testing.T) {
	var c *Cork
	a := NewBell()
	c.Hold()
	c.Wake(a)
	if !woken(a) {
		t.Error("not woken")
	}
	c.Release()
}

// No wake-up is lost, whoever holds and releases meanwhile.
func TestNoWakeUpIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cork
		var all sync.WaitGroup
		ch, answer := NewBell(), make(chan struct{})
		all.Go(func() {
			for range 1000 {
				c.Hold()
				c.Release()
			}
		})
		all.Go(func() {
			for range 1000 {
				<-ch
				answer <- struct{}{}
			}
		})
		for range 1000 { // a lost one is a deadlock, which the bubble tells
			c.Wake(ch)
			<-answer
		}
		all.Wait()
	})
}
