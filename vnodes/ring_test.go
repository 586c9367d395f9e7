package vnodes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

func hostID(i int) (h HostID) {
	h[13], h[14], h[15] = byte(i>>16), byte(i>>8), byte(i)
	return h
}

// naive places one token as Cassandra's text says it, with maps and a walk over every token.
func naive(nodes []Node, in func(NodeState) bool, rep Replication, t Token) []HostID {
	type point struct {
		t Token
		n Node
	}
	var ring []point
	inDC := map[string]map[HostID]bool{}
	racksOf := map[string]map[string]bool{}
	for _, n := range nodes {
		if !in(n.State) {
			continue
		}
		for _, t := range n.Tokens {
			ring = append(ring, point{t, n})
			if inDC[n.DC] == nil {
				inDC[n.DC], racksOf[n.DC] = map[HostID]bool{}, map[string]bool{}
			}
			inDC[n.DC][n.ID], racksOf[n.DC][n.Rack] = true, true
		}
	}
	sort.Slice(ring, func(i, j int) bool {
		if ring[i].t != ring[j].t {
			return ring[i].t < ring[j].t
		}
		return ring[i].n.ID.String() < ring[j].n.ID.String()
	})
	first := sort.Search(len(ring), func(i int) bool { return ring[i].t >= t })
	var chosen []HostID
	left, repeats, racks := map[string]int{}, map[string]int{}, map[string]bool{}
	for dc, rf := range rep.Datacenters {
		left[dc], repeats[dc] = min(rf, len(inDC[dc])), rf-len(racksOf[dc])
	}
	for i := range ring {
		n := ring[(first+i)%len(ring)].n
		switch {
		case slices.Contains(chosen, n.ID):
		case rep.Everywhere:
			chosen = append(chosen, n.ID)
		case len(rep.Datacenters) == 0:
			if len(chosen) < rep.Factor {
				chosen = append(chosen, n.ID)
			}
		case left[n.DC] == 0:
		case !racks[n.DC+"/"+n.Rack]:
			racks[n.DC+"/"+n.Rack] = true
			left[n.DC]--
			chosen = append(chosen, n.ID)
		case repeats[n.DC] > 0:
			repeats[n.DC]--
			left[n.DC]--
			chosen = append(chosen, n.ID)
		}
	}
	return chosen
}

func ids(nodes []*Node) (list []HostID) {
	for _, n := range nodes {
		list = append(list, n.ID)
	}
	return list
}

func asSet(list []HostID) []HostID {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b HostID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// drawNodes gives a small, crowded cluster with at most one moving node; tokens may touch the ends of the ring.
func drawNodes(t *rapid.T) []Node {
	token := rapid.OneOf(rapid.Int64Range(-40, 40), rapid.Int64(), rapid.Just(int64(MinToken)), rapid.Just(int64(MaxToken)))
	used := map[Token]bool{}
	nodes := make([]Node, rapid.IntRange(0, 9).Draw(t, "nodes"))
	for i := range nodes {
		n := Node{ID: hostID(i * 7 % 11), Address: fmt.Sprint("10.0.0.", i), State: StateNormal}
		n.DC = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "dc")
		n.Rack = rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(t, "rack")
		for range rapid.IntRange(0, 5).Draw(t, "count") {
			if tk := Token(token.Draw(t, "token")); !used[tk] {
				used[tk] = true
				n.Tokens = append(n.Tokens, tk)
			}
		}
		slices.Sort(n.Tokens)
		nodes[i] = n
	}
	if len(nodes) > 0 {
		m := &nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "mover")]
		m.State = NodeState(rapid.IntRange(0, int(StateWaiting)).Draw(t, "state"))
		if m.State == StateWaiting {
			m.Tokens = nil
		}
	}
	return nodes
}

func drawReplication(t *rapid.T) Replication {
	switch rapid.IntRange(0, 4).Draw(t, "strategy") {
	case 0:
		return Replication{Everywhere: true}
	case 1:
		return Replication{Factor: rapid.IntRange(0, 6).Draw(t, "rf")}
	case 2:
		return Replication{Datacenters: map[string]int{"a": rapid.IntRange(0, 5).Draw(t, "rf")}}
	}
	return Replication{Datacenters: map[string]int{
		"a": rapid.IntRange(0, 4).Draw(t, "rf a"), "b": rapid.IntRange(0, 4).Draw(t, "rf b"), "absent": 2}}
}

// Rapid draws small things; these clusters are full, so that racks fill up and DCs interleave.
func TestCrowdedPlacementAgainstNaive(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		nodes := make([]Node, 4+rng.IntN(10))
		for i, tk := range rng.Perm(100)[:5*len(nodes)%97] {
			n := &nodes[i%len(nodes)]
			n.Tokens = append(n.Tokens, Token(tk-50))
		}
		for i := range nodes {
			nodes[i].ID, nodes[i].DC, nodes[i].Rack = hostID(i), string('a'+rune(rng.IntN(2))), fmt.Sprint("r", min(rng.IntN(3), rng.IntN(3)))
			slices.Sort(nodes[i].Tokens)
		}
		nodes[0].State = NodeState(rng.IntN(int(StateWaiting)))
		rep := Replication{Datacenters: map[string]int{"a": rng.IntN(5), "b": rng.IntN(5)}}
		p := NewRing(1, nodes).Place(rep)
		for tk := Token(-52); tk < 52; tk++ {
			if err := replicasDiffer(nodes, rep, tk, p.Replicas(tk)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

func TestPlacementAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, rep := drawNodes(t), drawReplication(t)
		p := NewRing(1, nodes).Place(rep)
		tokens := []Token{MinToken + 1, MaxToken, 0}
		for _, n := range nodes {
			for _, tk := range n.Tokens {
				if tk > MinToken+1 && tk < MaxToken {
					tokens = append(tokens, tk-1, tk, tk+1)
				}
			}
		}
		for _, tk := range tokens {
			if err := replicasDiffer(nodes, rep, tk, p.Replicas(tk)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// replicasDiffer says how r differs from what the naive twin finds for tk.
func replicasDiffer(nodes []Node, rep Replication, tk Token, r *Replicas) error {
	from, to := naive(nodes, NodeState.inOld, rep, tk), naive(nodes, NodeState.inNew, rep, tk)
	moving := !slices.Equal(asSet(from), asSet(to))
	if rep.Everywhere || !moving { // Everywhere is by host id; where nothing moves, New is Old, whatever the order
		to, from = asSet(to), asSet(from)
		r2 := Replicas{Old: sortedNodes(r.Old), New: sortedNodes(r.New), ReadNew: r.ReadNew, write: r.write}
		r = &r2
	}
	if !slices.Equal(ids(r.Old), from) || !slices.Equal(ids(r.New), to) {
		return fmt.Errorf("token %d: old %v, want %v; new %v, want %v", tk, ids(r.Old), from, ids(r.New), to)
	}
	if r.Moving() != moving {
		return fmt.Errorf("token %d: moving %v, want %v", tk, r.Moving(), moving)
	}
	wantRead := false
	for _, n := range nodes {
		wantRead = wantRead || moving && (n.State == StateJoiningRead || n.State == StateLeavingRead)
	}
	if r.ReadNew != wantRead {
		return fmt.Errorf("token %d: read new %v, want %v", tk, r.ReadNew, wantRead)
	}
	all := map[HostID]bool{}
	for _, id := range append(from, to...) {
		all[id] = true
	}
	if len(r.Write()) != len(all) {
		return fmt.Errorf("token %d: write to %v, want %v", tk, ids(r.Write()), all)
	}
	for _, n := range nodes {
		if r.Contains(n.ID) != all[n.ID] {
			return fmt.Errorf("token %d: contains %v: %v", tk, n.ID, r.Contains(n.ID))
		}
	}
	foreign := Replicas{Old: r.Old, New: r.New}
	if !slices.Equal(asSet(ids(foreign.Write())), asSet(ids(r.Write()))) {
		return fmt.Errorf("token %d: Write of a hand-made Replicas is %v", tk, ids(foreign.Write()))
	}
	return nil
}

func sortedNodes(nodes []*Node) []*Node {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b *Node) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return nodes
}

// Ranges cover the ring once, in order, and agree with Replicas; Owned is their part that contains a node.
func TestRangesCoverTheRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, rep := drawNodes(t), drawReplication(t)
		r := NewRing(1, nodes)
		p := r.Place(rep)
		at := MinToken
		for _, rr := range p.Ranges() {
			if rr.Range.Start != at || rr.Range.End <= at {
				t.Fatalf("range %v after %d", rr.Range, at)
			}
			at = rr.Range.End
			for _, tk := range []Token{rr.Range.Start + 1, rr.Range.End} {
				if p.Replicas(tk) != rr.Replicas {
					t.Fatalf("%v: Replicas(%d) is another", rr.Range, tk)
				}
			}
		}
		if at != MaxToken {
			t.Fatalf("the ranges end at %d", at)
		}
		checkRuns(t, p)
		probes := []Token{MinToken + 1, -41, -1, 0, 1, 41, MaxToken}
		for _, n := range r.Nodes() {
			owned := p.Owned(n.ID)
			for i := 1; i < len(owned); i++ {
				if owned[i].Start <= owned[i-1].End {
					t.Fatalf("owned ranges are not joined or not in order: %v", owned)
				}
			}
			for _, tk := range append(probes, n.Tokens...) {
				in := slices.ContainsFunc(owned, func(r Range) bool { return r.Contains(tk) })
				if tk != MinToken && in != p.Replicas(tk).Contains(n.ID) {
					t.Fatalf("%v owns %d: %v by Owned, not by Replicas", n.ID, tk, in)
				}
			}
		}
	})
}

// checkRuns holds Run to a walk over all ranges.
func checkRuns(t *rapid.T, p *Placement) {
	ranges := p.Ranges()
	for i, rr := range ranges {
		end := rr.Range.End
		for _, next := range ranges[i+1:] {
			if next.Replicas.ReadNew != rr.Replicas.ReadNew || !slices.Equal(sortedIDs(next.Replicas.Old), sortedIDs(rr.Replicas.Old)) ||
				!slices.Equal(sortedIDs(next.Replicas.New), sortedIDs(rr.Replicas.New)) {
				break
			}
			end = next.Range.End
		}
		for _, after := range []Token{rr.Range.Start, rr.Range.End - 1} {
			if owners, got := p.Run(after); owners != rr.Replicas || got != end {
				t.Fatalf("%v: the run behind %d ends at %d, want %d", rr.Range, after, got, end)
			}
		}
	}
}

func sortedIDs(nodes []*Node) []HostID {
	list := ids(nodes)
	slices.SortFunc(list, func(a, b HostID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// Two nodes with one token can't come out of the metadata log; if it happened, the lower host id owns the range.
func TestEqualTokens(t *testing.T) {
	p := NewRing(1, []Node{{ID: hostID(2), Tokens: []Token{5}}, {ID: hostID(1), Tokens: []Token{5, 9}}}).Place(Replication{Factor: 1})
	for tk, want := range map[Token]HostID{5: hostID(1), 4: hostID(1), 9: hostID(1), 10: hostID(1)} {
		if got := ids(p.Replicas(tk).Old); !slices.Equal(got, []HostID{want}) {
			t.Errorf("%d: %v", tk, got)
		}
	}
}

func TestPlaceCaches(t *testing.T) {
	r := NewRing(7, testCluster(5, 8, 2))
	a := r.Place(Replication{Datacenters: map[string]int{"dc0": 3, "dc1": 2}})
	b := r.Place(Replication{Datacenters: map[string]int{"dc1": 2, "dc0": 3}})
	if a != b {
		t.Error("the same replication was placed twice")
	}
	if a == r.Place(Replication{Datacenters: map[string]int{"dc0": 3, "dc1": 1}}) || a == r.Place(Replication{Factor: 3}) {
		t.Error("another replication got the same placement")
	}
	if r.Epoch() != 7 {
		t.Error("epoch lost")
	}
	if n, ok := r.Node(hostID(3)); !ok || n.ID != hostID(3) {
		t.Error("node not found")
	}
	if _, ok := r.Node(hostID(99)); ok {
		t.Error("a stranger was found")
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	r := NewRing(1, testCluster(20, 16, 2))
	rep := Replication{Datacenters: map[string]int{"dc0": 3, "dc1": 3}}
	r.Place(rep)
	tk := Token(0)
	n := testing.AllocsPerRun(1000, func() {
		tk += 0x1234567890abcde
		rs := r.Place(rep).Replicas(tk)
		run, end := r.Place(rep).Run(tk)
		if len(rs.Write()) != 6 || rs.Moving() || len(rs.Read()) != 6 || len(run.Read()) != 6 || end <= tk {
			t.Fatal("wrong replicas")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a lookup", n)
	}
}

// testCluster has random tokens, racks of uneven size and a DC that is much smaller than the other.
func testCluster(n, tokens, dcs int) []Node {
	nodes := make([]Node, n)
	h := uint64(1)
	for i := range nodes {
		dc := 0
		if dcs > 1 && i%max(2, n/4) == 1 {
			dc = 1
		}
		rack := i % 7
		if i == n/2 {
			rack = 7
		}
		nodes[i] = Node{ID: hostID(i), Address: fmt.Sprint("10.1.", i/256, ".", i%256), DC: fmt.Sprint("dc", dc), Rack: fmt.Sprint("rack", rack), Weight: tokens}
		for range tokens {
			h = fmix(h + 0x9e3779b97f4a7c15)
			nodes[i].Tokens = append(nodes[i].Tokens, Token(h))
		}
		slices.Sort(nodes[i].Tokens)
	}
	if dcs > 1 && n >= 10 { // the small DC needs a few nodes
		nodes[2].DC, nodes[3].DC = "dc1", "dc1"
	}
	return nodes
}

// A large ring with racks and DCs of uneven size, while a node joins. (BenchmarkNewRing and BenchmarkPlace have 256,000
// tokens.)
func TestLargeRing(t *testing.T) {
	nodes := testCluster(1000, 16, 2)
	nodes[9].State = StateJoining
	r := NewRing(1, nodes)
	for _, rep := range []Replication{{Factor: 3}, {Datacenters: map[string]int{"dc0": 3, "dc1": 3}}} {
		p := r.Place(rep)
		if n := len(p.Ranges()); n != 16_001 {
			t.Errorf("%d ranges", n)
		}
		for _, tk := range nodes[5].Tokens {
			if want := naive(nodes, NodeState.inOld, rep, tk); !slices.Equal(ids(p.Replicas(tk).Old), want) {
				t.Errorf("%v: %v, want %v", rep, ids(p.Replicas(tk).Old), want)
			}
		}
	}
}

func BenchmarkNewRing(b *testing.B) {
	nodes := testCluster(1000, 256, 2)
	for b.Loop() {
		NewRing(1, nodes)
	}
}

func BenchmarkPlace(b *testing.B) {
	nodes := testCluster(1000, 256, 2)
	for _, rep := range []Replication{{Factor: 3}, {Datacenters: map[string]int{"dc0": 3, "dc1": 3}}} {
		b.Run(fmt.Sprint(rep.Factor), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := NewRing(1, nodes)
				b.StartTimer()
				r.Place(rep)
			}
		})
	}
}

func BenchmarkReplicas(b *testing.B) {
	p := NewRing(1, testCluster(1000, 256, 2)).Place(Replication{Factor: 3})
	tk := Token(0)
	for b.Loop() {
		tk += 0x1234567890abcde
		p.Replicas(tk)
	}
}
