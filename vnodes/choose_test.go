package vnodes

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// grow adds nodes one by one as the metadata log does.
func grow(n, tokens int, dc func(i int) string) []Node {
	var nodes []Node
	for i := range n {
		nodes = append(nodes, Node{ID: hostID(i + 1), DC: dc(i), Rack: "r", Weight: tokens,
			Tokens: ChooseTokens(NewRing(1, nodes), dc(i), tokens, uint64(i))})
	}
	return nodes
}

func oneDC(int) string { return "dc" }

// Ownership stays even at every size on the way from 3 to 50 nodes, with one replica and with three.
func TestChooseTokensIsEven(t *testing.T) {
	nodes := grow(50, 16, oneDC)
	worst := map[int]float64{}
	for n := 1; n <= len(nodes); n++ {
		r := NewRing(1, nodes[:n])
		for _, factor := range []int{1, 3} {
			worst[factor] = max(worst[factor], r.Unevenness(Replication{Factor: factor}))
		}
	}
	t.Logf("most over mean: %.3f with one replica, %.3f with three", worst[1], worst[3])
	if worst[1] > 1.06 || worst[3] > 1.16 {
		t.Errorf("ownership is uneven: %v", worst)
	}
}

// A DC's tokens are chosen among its own, whatever the other DCs have.
func TestChooseTokensByDC(t *testing.T) {
	nodes := grow(18, 16, func(i int) string { return fmt.Sprint("dc", i%3/2) })
	r := NewRing(1, nodes)
	for _, dc := range []string{"dc0", "dc1"} {
		if u := r.Unevenness(Replication{Datacenters: map[string]int{dc: 1}}); u > 1.06 {
			t.Errorf("%s: %.3f", dc, u)
		}
	}
}

// More tokens, more of the ring.
func TestChooseTokensByWeight(t *testing.T) {
	var nodes []Node
	for i, weight := range []int{16, 16, 32, 8, 16, 64, 16} {
		nodes = append(nodes, Node{ID: hostID(i + 1), DC: "dc", Weight: weight,
			Tokens: ChooseTokens(NewRing(1, nodes), "dc", weight, 1)})
	}
	if u := NewRing(1, nodes).Unevenness(Replication{Factor: 1}); u > 1.08 {
		t.Errorf("%.3f", u)
	}
}

// Whatever the ring: n distinct, ascending tokens that nobody has, none of them MinToken, and the same ones again.
func TestChooseTokensAreFresh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewRing(1, drawNodes(t))
		n, seed := rapid.IntRange(0, 20).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")
		tokens := ChooseTokens(r, "a", n, seed)
		if len(tokens) != n || !slices.IsSorted(tokens) || slices.Contains(tokens, MinToken) {
			t.Fatalf("%v", tokens)
		}
		for i, tk := range tokens {
			if i > 0 && tokens[i-1] == tk {
				t.Fatalf("twice: %d", tk)
			}
			for _, other := range r.Nodes() {
				if slices.Contains(other.Tokens, tk) {
					t.Fatalf("%d is %v's", tk, other.ID)
				}
			}
		}
		if !slices.Equal(tokens, ChooseTokens(r, "a", n, seed)) {
			t.Fatal("not deterministic")
		}
	})
}

func BenchmarkChooseTokens(b *testing.B) {
	r := NewRing(1, testCluster(1000, 256, 2))
	for b.Loop() {
		ChooseTokens(r, "dc0", 256, 1)
	}
}
