package check

import (
	"fmt"
	"sync"
)

// keySpan is how many keys a session has to itself: session s owns s*keySpan to (s+1)*keySpan-1.
const keySpan = 100_000

// versions is what is known of one key that one session writes, one number after another from 1; 0 is the key's absence. Later numbers have later
// timestamps. Safe for concurrent use.
//
// Invariant: a read at a level that overlaps with itself gives a number that was issued, wasn't refused, and isn't below what was acknowledged, or
// read, before the read began.
type versions struct {
	key int
	mu  struct {
		sync.Mutex
		issued  int
		refused map[int]bool
		floor
	}
}

// floor is what a read that begins now has to see at least.
type floor struct {
	acked int
	seen  int // by a read that has ended
}

func newVersions(key int) *versions {
	v := &versions{key: key}
	v.mu.refused = map[int]bool{}
	return v
}

// next issues a number.
func (v *versions) next() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.issued++
	return v.mu.issued
}

func (v *versions) wrote(n int, o Outcome) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch o {
	case Done:
		v.mu.acked = max(v.mu.acked, n)
	case Refused:
		v.mu.refused[n] = true
	}
}

func (v *versions) begin() floor {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.floor
}

// read judges a number that a read gave which began at f: the rule it breaks, "" if none.
func (v *versions) read(f floor, n int) (rule, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.seen = max(v.mu.seen, n)
	switch {
	case n > v.mu.issued || n < 0:
		return "invented", fmt.Sprintf("%d was read, and %d is the last that was written", n, v.mu.issued)
	case v.mu.refused[n]:
		return "refused", fmt.Sprintf("%d was read, and its write was refused", n)
	case n < f.acked:
		return "stale", fmt.Sprintf("%d was read, and %d had been acknowledged before the read began", n, f.acked)
	case n < f.seen && f.seen <= v.mu.acked:
		return RuleBackwards, fmt.Sprintf("%d was read, and %d had been read before", n, f.seen)
	case n < f.seen:
		return RuleUnhappened, fmt.Sprintf("%d was read, and %d, never acknowledged, had been read before", n, f.seen)
	}
	return "", ""
}

// owned are the keys of a workload, each written by one session. Everybody reads them.
//
// A session that stamps its own writes goes on with a key whatever happens: a late write is older than what came after it. One that lets the
// coordinator stamp them gives a key up after a write of unknown outcome, for that may take effect after the next, and be newer.
type owned struct {
	perKey  int         // writes after which a session goes on to a new key
	current []*versions // by session
	made    []int       // keys, by session
	mu      struct {
		sync.Mutex
		all []*versions
	}
}

func newOwned(sessions, perKey int) *owned {
	return &owned{perKey: perKey, current: make([]*versions, sessions), made: make([]int, sessions)}
}

// own is the session's key to write.
func (o *owned) own(s *Session) *versions {
	v := o.current[s.id]
	if v == nil {
		v = newVersions(s.id*keySpan + o.made[s.id])
		o.made[s.id]++
		o.current[s.id] = v
		o.mu.Lock()
		o.mu.all = append(o.mu.all, v)
		o.mu.Unlock()
	}
	return v
}

// wrote notes a write of the session's key.
func (o *owned) wrote(s *Session, v *versions, n int, outcome Outcome) {
	v.wrote(n, outcome)
	if n >= o.perKey || outcome == Unknown && !s.hops() {
		o.current[s.id] = nil
	}
}

// recentKeys is how many keys back any looks.
const recentKeys = 12

// any is one of the newest keys; nil if there is none.
func (o *owned) any(s *Session) *versions {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.mu.all) == 0 {
		return nil
	}
	return o.mu.all[len(o.mu.all)-1-s.rand.IntN(min(recentKeys, len(o.mu.all)))]
}

// everything is all keys, in the order in which they were made.
func (o *owned) everything() []*versions {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.all
}
