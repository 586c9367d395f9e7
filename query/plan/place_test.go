package plan

import (
	"testing"

	"pgregory.net/rapid"
)

func TestMeant(t *testing.T) {
	list := []string{"name", "id", "born", "Odd", "flights", "flight"}
	for _, c := range []struct{ wrote, want string }{
		{"nmae", "; did you mean name?"}, {"nam", "; did you mean name?"}, {"odd", `; did you mean "Odd"?`}, {"NAME", "; did you mean name?"},
		{"idd", "; did you mean id?"}, {"fligts", "; did you mean flights?"}, {"fligth", "; did you mean flight?"},
		{"xy", ""}, {"price", ""}, {"", ""},
	} {
		if got := meant(c.wrote, list); got != c.want {
			t.Errorf("%q: %q, want %q", c.wrote, got, c.want)
		}
	}
}

// naive is the distance by its definition: the cheapest of what can be done to the last letters.
func naive(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	cost := 1
	if a[len(a)-1] == b[len(b)-1] {
		cost = 0
	}
	d := min(naive(a[:len(a)-1], b)+1, naive(a, b[:len(b)-1])+1, naive(a[:len(a)-1], b[:len(b)-1])+cost)
	if n, m := len(a), len(b); n > 1 && m > 1 && a[n-1] == b[m-2] && a[n-2] == b[m-1] {
		d = min(d, naive(a[:n-2], b[:m-2])+1)
	}
	return d
}

func TestDistance(t *testing.T) {
	word := rapid.StringMatching("[abc]{0,5}")
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		want := naive(a, b)
		if got := distance(a, b, 100); got != want {
			t.Fatalf("%q to %q: %d, want %d", a, b, got, want)
		}
		if limit := rapid.IntRange(1, 3).Draw(t, "limit"); (distance(a, b, limit) < limit) != (want < limit) {
			t.Fatalf("%q to %q: %d under the limit %d, want %d", a, b, distance(a, b, limit), limit, want)
		}
	})
}
