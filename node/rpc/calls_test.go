package rpc

import (
	"testing"

	"pgregory.net/rapid"
)

// The table against a map: no call is lost, given twice, or found by a stale id.
func TestCallTableAgainstMap(t *testing.T) {
	type twin struct {
		call     *Call
		deadline int64
	}
	rapid.Check(t, func(t *rapid.T) {
		table := callTable{limit: 8}
		live := map[uint64]twin{}
		var ids []uint64 // all ever given
		drop := func(c *Call) {
			for id, w := range live {
				if w.call == c {
					delete(live, id)
					return
				}
			}
			t.Fatal("a call that was not there")
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				w := twin{&Call{}, rapid.Int64Range(1, 100).Draw(t, "deadline")}
				id, ok := table.add(w.call, w.deadline)
				if ok != (len(live) < 8) {
					t.Fatalf("add with %d live gave %v", len(live), ok)
				}
				if !ok {
					return
				}
				if _, dup := live[id]; dup || id == 0 {
					t.Fatalf("id %d", id)
				}
				live[id] = w
				ids = append(ids, id)
			},
			"take": func(t *rapid.T) {
				if len(ids) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				if got := table.take(id); got != live[id].call {
					t.Fatalf("take %d gave %p, want %p", id, got, live[id].call)
				}
				delete(live, id)
			},
			"expire": func(t *rapid.T) {
				now := rapid.Int64Range(0, 101).Draw(t, "now")
				late, next := table.expired(nil, now)
				for _, c := range late {
					drop(c)
				}
				var want int64
				for id, w := range live {
					if w.deadline <= now {
						t.Fatalf("call %d of %d outlived %d", id, w.deadline, now)
					}
					if want == 0 || w.deadline < want {
						want = w.deadline
					}
				}
				if next != want {
					t.Fatalf("next deadline %d, want %d", next, want)
				}
			},
			"drain": func(*rapid.T) {
				for _, c := range table.drain() {
					drop(c)
				}
				if len(live) != 0 {
					t.Fatalf("%d calls left", len(live))
				}
			},
			"": func(t *rapid.T) {
				if table.live != len(live) {
					t.Fatalf("%d live, want %d", table.live, len(live))
				}
			},
		})
	})
}

// Ids go on after the generation wraps, and 0 stays what no call has.
func TestCallTableGenerationWraps(t *testing.T) {
	table := callTable{limit: 1, slots: []callSlot{{gen: 1<<32 - 1}}, free: []uint32{0}}
	c := &Call{}
	if id, ok := table.add(c, 1); !ok || id == 0 || table.take(id) != c {
		t.Fatalf("id %d", id)
	}
}
