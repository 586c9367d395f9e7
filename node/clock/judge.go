package clock

import (
	"errors"
	"fmt"
	"time"
)

// ErrDistrust says that a clock differs too much from the other nodes' to stamp writes.
var ErrDistrust = errors.New("this node's clock can't be trusted")

// silence is how long a verdict stands that no answer has confirmed.
const silence = time.Minute

// Reading is what another node's clocks showed. It stays good while monotonic time runs at one speed here and there.
type Reading struct {
	peer        string
	wall, stamp int64 // µs, when mono() here was 0
}

// Read notes the wall clock and the Time (µs) another node told, as of age ago (half of the round trip).
func (c *HLC) Read(peer string, wall, stamp int64, age time.Duration) Reading {
	at := (c.mono() - age).Microseconds()
	return Reading{peer: peer, wall: wall - at, stamp: stamp - at}
}

// Wall is the wall clock, µs, as other nodes ask for it.
func (c *HLC) Wall() int64 { return c.wall().UnixMicro() }

// Verdict is what a judgement found.
type Verdict struct {
	Worst   time.Duration // the greatest difference to another node's clock; positive: this one is ahead
	Peer    string        // that node
	Adopted time.Duration // how far the wall clock had jumped that is now followed; 0: none
	Doubt   error         // a jump that is still not followed
	Trust   error         // why writes are refused, or nil
}

// Judge settles a doubt and decides about trust by the other nodes' clocks. others is how many there are, answers came
// from those that live.
//
//	doubt   the wall clock's jump is followed if it and the wall clocks that show the same time are a majority of all
//	trust   refused once what this node stamps is further than MaxSkew from that of a majority of the others, until as many answers are near as far. Without
//	        answers the old verdict stands, for a minute: who could not be asked for so long goes by its own clock, unless that is in doubt
//
// Behind counts as ahead does: a write stamped an hour in the past is acknowledged and never seen.
func (c *HLC) Judge(others int, answers []Reading) Verdict {
	var v Verdict
	c.Check()
	if d := c.doubt.Load(); d != nil && c.wallAgrees(others, answers) {
		jump := time.Duration(d.jump) * time.Microsecond
		if c.Accept(jump) {
			v.Adopted = jump
		}
	}
	far, near := 0, 0
	now := max(c.last.Load(), c.Time()) - c.mono().Microseconds()
	for _, r := range answers {
		ahead := now - r.stamp
		if !within(ahead, c.maxSkew) {
			far++
		} else {
			near++
		}
		if !within(ahead, v.Worst.Abs()) {
			v.Worst, v.Peer = time.Duration(ahead)*time.Microsecond, r.peer
		}
	}
	if len(answers) > 0 {
		c.heard.Store(int64(c.mono()))
	}
	switch {
	case 2*far > others:
		c.Distrust(fmt.Errorf("%w: its timestamps are %s from those of %s (%d of %d nodes differ by more than %v)",
			ErrDistrust, span(v.Worst.Microseconds()), v.Peer, far, others, c.maxSkew))
	case near > 0 && near >= far || others == 0, c.doubt.Load() == nil && c.mono()-time.Duration(c.heard.Load()) > silence:
		c.Distrust(nil)
	}
	v.Doubt, v.Trust = c.Doubt(), c.Trusted()
	return v
}

// wallAgrees reports whether this machine's wall clock and those that show the same time are a majority of all.
func (c *HLC) wallAgrees(others int, answers []Reading) bool {
	near := 0
	wall := c.Wall() - c.mono().Microseconds()
	for _, r := range answers {
		if within(wall-r.wall, c.maxSkew) {
			near++
		}
	}
	return 2*near+1 > others // with this machine's own
}

// Distrust says why nothing may be written with this clock's timestamps; nil: all is well again.
func (c *HLC) Distrust(why error) {
	if why == nil {
		c.distrust.Store(nil)
		return
	}
	c.distrust.Store(&why)
}

// Trusted is why nothing may be written with this clock's timestamps, or nil. It costs one atomic load.
func (c *HLC) Trusted() error {
	if why := c.distrust.Load(); why != nil {
		return *why
	}
	return nil
}

// Suspect asks for a judgement at once: another node has refused this one's timestamps.
func (c *HLC) Suspect() { c.suspect() }
