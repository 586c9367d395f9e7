package coordinator

import (
	"fmt"
	"strings"
	"testing"

	"nodedb/query/schema"
	"nodedb/vnodes"
)

// ringOf makes a view of nodes given as dc/rack, of which the first is oneself; a trailing ! says that it is down, a ? that it is joining.
func ringOf(places string) (view *View, alive func(vnodes.HostID) bool) {
	var nodes []vnodes.Node
	up := map[vnodes.HostID]bool{}
	for i, p := range strings.Fields(places) {
		n := vnodes.Node{ID: vnodes.HostID{byte(i + 1)}, Address: fmt.Sprint(i), Tokens: []vnodes.Token{vnodes.Token(i)}}
		up[n.ID] = !strings.HasSuffix(p, "!")
		if strings.HasSuffix(p, "?") {
			n.State = vnodes.StateJoining
		}
		n.DC, n.Rack, _ = strings.Cut(strings.TrimRight(p, "!?"), "/")
		nodes = append(nodes, n)
	}
	return NewView(1, vnodes.NewRing(1, nodes), schema.Empty()), func(id vnodes.HostID) bool { return up[id] }
}

func TestHolders(t *testing.T) {
	for _, tc := range []struct {
		name, places string
		any          bool
		want         string // the holders in order, when the random number is always 0
	}{
		{"one node keeps its own", "a/1", false, "0"},
		{"a joining node keeps nothing", "a/1 a/1?", false, "0"},
		{"two nodes: the other", "a/1 a/1", false, "1"},
		{"the other is down", "a/1 a/1!", false, ""},
		{"the other is down, and the level is ANY", "a/1 a/1!", true, "0"},
		{"other racks first, each before one twice", "a/1 a/1 a/2 a/2 a/3", false, "2 4 3 1"},
		{"one other rack, then one's own", "a/1 a/1 a/2", false, "2 1"},
		{"the only other rack is down", "a/1 a/1 a/1 a/2!", false, "1 2"},
		{"another datacenter only after one's own", "a/1 b/1 a/1", false, "2 1"},
		{"alone in a datacenter", "a/1 b/1 b/2", false, "1 2"},
	} {
		view, alive := ringOf(tc.places)
		walk := newBatchHolders(view, vnodes.HostID{1}, "a").walk(alive, func(int) int { return 0 }, tc.any)
		var got []string
		for n := walk.next(); n != nil; n = walk.next() {
			got = append(got, n.Address)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: holders %v, want %q", tc.name, got, tc.want)
		}
	}
}

// Every node gets its share of batches.
func TestHoldersTakeTurns(t *testing.T) {
	view, alive := ringOf("a/1 a/2 a/2 a/3 a/3")
	h := newBatchHolders(view, vnodes.HostID{1}, "a")
	times := map[string]int{}
	for i := range 400 {
		walk := h.walk(alive, func(n int) int { return i % n }, false)
		a, b := walk.next(), walk.next()
		if a.Rack == b.Rack {
			t.Errorf("both copies in rack %s", a.Rack)
		}
		times[a.Address]++
		times[b.Address]++
	}
	for _, n := range []string{"1", "2", "3", "4"} {
		if times[n] != 200 {
			t.Errorf("node %s keeps %d of 400 batches, want 200: %v", n, times[n], times)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	encode((&BatchMessage{Clock: 7, ID: BatchID{1}, Entry: []byte{batchEntryVersion, 1, 2, 3}}).encodeTo, func(b []byte) { f.Add(append([]byte(nil), b...)) })
	encode(func(e *encoder) { encodeBatchDone(e, []BatchID{{1}, {2}}) }, func(b []byte) { f.Add(append([]byte(nil), b...)) })
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := DecodeBatch(body); err == nil {
			encode(m.encodeTo, func(again []byte) {
				if n, err := DecodeBatch(again); err != nil || n.ID != m.ID || n.Clock != m.Clock || string(n.Entry) != string(m.Entry) {
					t.Errorf("%+v reads back as %+v, %v", m, n, err)
				}
			})
			if list, err := DecodeBatchEntry(m.Entry); err == nil && string(appendBatchEntry(nil, list)) != string(m.Entry) {
				t.Errorf("entry %x is not its mutations", m.Entry)
			}
		}
		if ids, err := DecodeBatchDone(body); err == nil {
			encode(func(e *encoder) { encodeBatchDone(e, ids) }, func(again []byte) {
				if more, err := DecodeBatchDone(again); err != nil || len(more) != len(ids) {
					t.Errorf("%v reads back as %v, %v", ids, more, err)
				}
			})
		}
	})
}
