package consistency

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nodedb/vnodes"

	"pgregory.net/rapid"
)

func TestLevelNames(t *testing.T) {
	want := []string{"ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL", "LOCAL_ONE"}
	for code, name := range want { // the numbers are the protocol's (native_protocol_v4.spec, section 3, [consistency])
		if got := Level(code).String(); got != name {
			t.Errorf("level %d is %s, want %s", code, got, name)
		}
		if l, err := ParseLevel(strings.ToLower(name)); err != nil || l != Level(code) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	if _, err := ParseLevel("MOST"); !errors.Is(err, ErrUnknownLevel) || !strings.Contains(err.Error(), "LOCAL_ONE") {
		t.Errorf("%v", err)
	}
	if s := Level(77).String(); s != "UNKNOWN(77)" {
		t.Error(s)
	}
}

func id(n int) vnodes.HostID { return vnodes.HostID{15: byte(n + 1)} }

func owners(dcs ...string) []*vnodes.Node {
	var list []*vnodes.Node
	for i, dc := range dcs {
		list = append(list, &vnodes.Node{ID: id(i), DC: dc})
	}
	return list
}

func TestRefusedLevels(t *testing.T) {
	r := &vnodes.Replicas{Old: owners("a"), New: owners("a")}
	rep := vnodes.Replication{Factor: 1}
	for _, c := range []struct {
		make func(Level, *vnodes.Replicas, vnodes.Replication, string) (*Tracker, error)
		l    Level
		err  error
	}{
		{NewWrite, Serial, ErrLevelRefused}, {NewWrite, LocalSerial, ErrLevelRefused}, {NewWrite, 11, ErrUnknownLevel}, {NewWrite, Any, nil},
		{NewRead, Any, ErrLevelRefused}, {NewRead, 99, ErrUnknownLevel}, {NewRead, Serial, nil}, {NewRead, EachQuorum, nil},
		{NewSerial, Quorum, ErrLevelRefused}, {NewSerial, Serial, nil},
	} {
		if _, err := c.make(c.l, r, rep, "a"); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%v: %v, want %v", c.l, err, c.err)
		}
	}
}

// How many answers each level needs, and of whom, without a move.
func TestRequired(t *testing.T) {
	two := vnodes.Replication{Datacenters: map[string]int{"a": 3, "b": 2}}
	simple := vnodes.Replication{Factor: 3}
	all := owners("a", "a", "a", "b", "b")
	for _, c := range []struct {
		l        Level
		rep      vnodes.Replication
		nodes    []*vnodes.Node
		required int
		eligible int
	}{
		{Any, two, all, 1, 5}, {One, two, all, 1, 5}, {Two, two, all, 2, 5}, {Three, two, all, 3, 5}, {Quorum, two, all, 3, 5},
		{All, two, all, 5, 5}, {LocalQuorum, two, all, 2, 3}, {EachQuorum, two, all, 4, 5}, {LocalOne, two, all, 1, 3},
		{Quorum, simple, owners("a", "a", "a"), 2, 3}, {EachQuorum, simple, owners("a", "a", "a"), 2, 3}, {All, simple, owners("a", "a", "a"), 3, 3},
		{Quorum, simple, owners("a"), 2, 1}, {All, simple, owners("a"), 3, 1}, // the replication's numbers, not the cluster's
		{Quorum, vnodes.Replication{Everywhere: true}, owners("a", "a", "a", "b"), 3, 4}, {All, vnodes.Replication{Everywhere: true}, owners("a", "b"), 2, 2},
		{LocalQuorum, vnodes.Replication{Datacenters: map[string]int{"b": 2}}, owners("b", "b"), 1, 0},
	} {
		tr, err := NewWrite(c.l, &vnodes.Replicas{Old: c.nodes, New: c.nodes}, c.rep, "a")
		if err != nil {
			t.Fatal(err)
		}
		eligible := 0
		for _, n := range c.nodes {
			if tr.Eligible(n.ID) {
				eligible++
			}
		}
		if _, _, required := tr.Counts(); required != c.required || eligible != c.eligible {
			t.Errorf("%v %v: required %d of %d, want %d of %d", c.l, c.rep, required, eligible, c.required, c.eligible)
		}
	}
}

// twin decides everything from the sets of who answered, by the definition of the levels.
type twin struct {
	l             Level
	sides         [][]*vnodes.Node
	rep           vnodes.Replication
	dc            string
	acked, failed map[vnodes.HostID]bool
}

func (w *twin) every(f func(count func(map[vnodes.HostID]bool) int, members, required int) bool) bool {
	for _, side := range w.sides {
		for _, dc := range []string{"a", "b", "c", "*"} {
			required, applies := w.required(side, dc)
			if !applies {
				continue
			}
			members := map[vnodes.HostID]bool{}
			for _, n := range side {
				if dc == "*" || n.DC == dc {
					members[n.ID] = true
				}
			}
			count := func(set map[vnodes.HostID]bool) (n int) {
				for m := range members {
					if set[m] {
						n++
					}
				}
				return n
			}
			if !f(count, len(members), required) {
				return false
			}
		}
	}
	return true
}

func (w *twin) required(side []*vnodes.Node, dc string) (int, bool) {
	perDC := w.rep.Datacenters
	total := w.rep.Factor
	for _, n := range perDC {
		total += n
	}
	if w.rep.Everywhere {
		total = len(side)
	}
	local := total
	if perDC != nil {
		local = perDC[w.dc]
	}
	switch w.l {
	case Any, One:
		return 1, dc == "*"
	case Two:
		return 2, dc == "*"
	case Three:
		return 3, dc == "*"
	case Quorum, Serial:
		return total/2 + 1, dc == "*"
	case All:
		return total, dc == "*"
	case LocalOne:
		return 1, dc == w.dc
	case LocalQuorum, LocalSerial:
		return local/2 + 1, dc == w.dc
	}
	if perDC == nil {
		return total/2 + 1, dc == "*"
	}
	return perDC[dc]/2 + 1, perDC[dc] > 0
}

func (w *twin) met() bool {
	return w.every(func(count func(map[vnodes.HostID]bool) int, _, required int) bool { return count(w.acked) >= required })
}

func (w *twin) possible() bool {
	return w.every(func(count func(map[vnodes.HostID]bool) int, members, required int) bool {
		return members-count(w.failed) >= required
	})
}

func (w *twin) available(alive map[vnodes.HostID]bool) bool {
	return w.every(func(count func(map[vnodes.HostID]bool) int, _, required int) bool { return count(alive) >= required })
}

// drawReplicas gives the owners of a range that may be moving; the node that moves is the last one.
func drawReplicas(t *rapid.T) (*vnodes.Replicas, vnodes.Replication) {
	n := rapid.IntRange(2, 7).Draw(t, "nodes")
	var all []*vnodes.Node
	perDC := map[string]int{}
	for i := range n {
		dc := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "dc")
		all = append(all, &vnodes.Node{ID: id(i), DC: dc})
		if i > 0 {
			perDC[dc]++
		}
	}
	rep := vnodes.Replication{Factor: n - 1}
	switch rapid.IntRange(0, 2).Draw(t, "strategy") {
	case 0:
		rep = vnodes.Replication{Datacenters: perDC}
	case 1:
		rep = vnodes.Replication{Everywhere: true}
	}
	r := &vnodes.Replicas{Old: all[1:], New: all[1:]}
	if rapid.Bool().Draw(t, "moving") {
		r.New = all[:n-1]
		r.ReadNew = rapid.Bool().Draw(t, "read new")
	}
	return r, rep
}

func TestTrackerAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, rep := drawReplicas(t)
		l := Level(rapid.IntRange(0, 10).Draw(t, "level"))
		w := &twin{l: l, rep: rep, dc: "a", acked: map[vnodes.HostID]bool{}, failed: map[vnodes.HostID]bool{}}
		var tr *Tracker
		var err error
		switch {
		case l != Any && rapid.Bool().Draw(t, "read"):
			w.sides = [][]*vnodes.Node{r.Read()}
			tr, err = NewRead(l, r, rep, "a")
		case l.IsSerial():
			w.sides = [][]*vnodes.Node{r.Old, r.New}
			tr, err = NewSerial(l, r, rep, "a")
		default:
			w.sides = [][]*vnodes.Node{r.Old, r.New}
			tr, err = NewWrite(l, r, rep, "a")
		}
		if err != nil {
			t.Fatal(err)
		}
		alive := map[vnodes.HostID]bool{}
		for i := range 7 {
			alive[id(i)] = rapid.Bool().Draw(t, "alive")
		}
		required, live, ok := tr.Available(func(h vnodes.HostID) bool { return alive[h] })
		if want := w.available(alive) || l == Any; ok != want || !w.available(alive) && live >= required {
			t.Fatalf("available %v (%d of %d), want %v", ok, live, required, want)
		}
		for range rapid.IntRange(0, 16).Draw(t, "answers") {
			from := id(rapid.IntRange(0, 8).Draw(t, "from"))
			if rapid.Bool().Draw(t, "ack") {
				tr.Ack(from)
				w.acked[from] = true
				delete(w.failed, from)
			} else {
				tr.Fail(from)
				if !w.acked[from] {
					w.failed[from] = true
				}
			}
			if tr.Met() != w.met() || tr.Hopeless() != !w.possible() {
				t.Fatalf("%v: met %v, want %v; hopeless %v, want %v", l, tr.Met(), w.met(), tr.Hopeless(), !w.possible())
			}
			if received, _, required := tr.Counts(); (received < required) != !tr.Met() {
				t.Fatalf("%v: counts say %d of %d, met is %v", l, received, required, tr.Met())
			}
		}
	})
}

// TestAloneAgainstTracker: one owner alone is enough for a read exactly where a tracker says so.
func TestAloneAgainstTracker(t *testing.T) {
	alone := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		r, rep := drawReplicas(t)
		if rapid.Bool().Draw(t, "one copy") {
			r.Old, r.New, rep = r.Old[:1], r.New[:1], vnodes.Replication{Factor: 1}
			if rapid.Bool().Draw(t, "by dc") {
				rep = vnodes.Replication{Datacenters: map[string]int{r.Old[0].DC: 1}}
			}
		}
		l, self := Level(rapid.IntRange(1, 11).Draw(t, "level")), id(rapid.IntRange(0, 7).Draw(t, "self"))
		want := false
		if tr, err := NewRead(l, r, rep, "a"); err == nil {
			tr.Ack(self)
			want = tr.Met() && tr.Eligible(self)
		}
		got := Alone(l, r.Read(), rep, self, "a")
		if alone[got]++; got != want {
			t.Fatalf("%s of %v by %v: %v, want %v", l, r.Read(), self, got, want)
		}
	})
	if alone[true] == 0 || alone[false] == 0 {
		t.Errorf("%v: this test shows nothing", alone)
	}
	if Alone(Any, owners("a"), vnodes.Replication{Factor: 1}, id(0), "a") {
		t.Error("ANY is no level of a read")
	}
}

// A write that met QUORUM before, during or after a move shares a node with every read at QUORUM of the same step or
// the next. (All subsets of acknowledgements, by brute force.)
func TestQuorumsOverlapThroughAMove(t *testing.T) {
	nodes := owners("a", "a", "a", "a")
	from, to := nodes[:3], nodes[1:]
	rep := vnodes.Replication{Factor: 3}
	steps := []*vnodes.Replicas{
		{Old: from, New: from}, {Old: from, New: to}, {Old: from, New: to, ReadNew: true}, {Old: to, New: to},
	}
	for i, at := range steps {
		for _, next := range steps[i:min(i+2, len(steps))] {
			for w := range 16 {
				for r := range 16 {
					if meets(NewWrite, at, rep, w) && meets(NewRead, next, rep, r) && w&r == 0 {
						t.Errorf("step %d: a write to %04b is not seen by a read of %04b", i, w, r)
					}
				}
			}
		}
	}
}

func meets(make func(Level, *vnodes.Replicas, vnodes.Replication, string) (*Tracker, error), r *vnodes.Replicas, rep vnodes.Replication, set int) bool {
	tr, err := make(Quorum, r, rep, "a")
	if err != nil {
		panic(fmt.Sprint("QUORUM: ", err))
	}
	for i := range 4 {
		if set&(1<<i) != 0 {
			tr.Ack(id(i))
		}
	}
	return tr.Met()
}
