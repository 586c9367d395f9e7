package rpc

// callTable holds a connection's outstanding calls in slots that are used again and again, so that a call costs no
// allocation and all deadlines can be looked through as one array. An id is generation<<32 | slot: an answer to a call
// that has ended finds another generation and is dropped.
//
// Not safe for concurrent use.
type callTable struct {
	slots []callSlot
	free  []uint32
	live  int
	limit int
}

type callSlot struct {
	call     *Call // nil: free
	deadline int64 // nanoseconds on the transport's own clock
	gen      uint32
}

// add gives the call an id, or false at the limit.
func (t *callTable) add(c *Call, deadline int64) (id uint64, ok bool) {
	if t.live >= t.limit {
		return 0, false
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, callSlot{})
	}
	s := &t.slots[i]
	if s.gen++; s.gen == 0 {
		s.gen = 1 // so that no id is 0
	}
	s.call, s.deadline = c, deadline
	t.live++
	return uint64(s.gen)<<32 | uint64(i), true
}

// take removes a call; nil when it has ended already.
func (t *callTable) take(id uint64) *Call {
	i := uint32(id)
	if int64(i) >= int64(len(t.slots)) || t.slots[i].gen != uint32(id>>32) || t.slots[i].call == nil {
		return nil
	}
	return t.remove(i)
}

func (t *callTable) remove(i uint32) *Call {
	c := t.slots[i].call
	t.slots[i].call = nil
	t.free = append(t.free, i)
	t.live--
	return c
}

// expired removes the calls whose deadline is at or before now, appends them to dst, and gives the earliest deadline
// that is left (0: none).
func (t *callTable) expired(dst []*Call, now int64) ([]*Call, int64) {
	var next int64
	for i := range t.slots {
		s := &t.slots[i]
		switch {
		case s.call == nil:
		case s.deadline <= now:
			dst = append(dst, t.remove(uint32(i)))
		case next == 0 || s.deadline < next:
			next = s.deadline
		}
	}
	return dst, next
}

// drain removes all calls.
func (t *callTable) drain() []*Call {
	var all []*Call
	for i := range t.slots {
		if t.slots[i].call != nil {
			all = append(all, t.remove(uint32(i)))
		}
	}
	return all
}
