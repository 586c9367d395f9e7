package merkle

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nodedb/vnodes"
)

// place is an item's: a naive twin of what Bound and Walker do by rules.
type place struct {
	token      vnodes.Token
	key        string
	header     bool
	clustering string
}

func (p place) compare(o place) int {
	rank := func(header bool) int {
		if header {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(p.token, o.token), cmp.Compare(p.key, o.key), cmp.Compare(rank(p.header), rank(o.header)), cmp.Compare(p.clustering, o.clustering))
}

func (p place) bytes() []byte {
	if p.header {
		return nil
	}
	return append([]byte{}, p.clustering...)
}

func drawToken(t *rapid.T) vnodes.Token {
	return rapid.SampledFrom([]vnodes.Token{vnodes.MinToken + 1, -5, -4, 0, 7, 8, 9, 1 << 40, vnodes.MaxToken - 1, vnodes.MaxToken}).Draw(t, "token")
}

func drawPlace(t *rapid.T) place {
	p := place{token: drawToken(t), key: rapid.SampledFrom([]string{"", "a", "a\x00", "b"}).Draw(t, "key"), header: rapid.Bool().Draw(t, "header")}
	if !p.header {
		p.clustering = rapid.SampledFrom([]string{"", "c", "c\x00", "d", "\xff"}).Draw(t, "clustering")
	}
	return p
}

func drawBound(t *rapid.T) Bound {
	p := drawPlace(t)
	b := Bound{Kind: BoundKind(rapid.IntRange(0, 2).Draw(t, "kind")), Token: p.token}
	if b.Kind >= BehindPartition {
		b.Key = []byte(p.key)
	}
	if b.Kind == BehindRow {
		b.Clustering = []byte(p.clustering)
	}
	return b
}

// before is Bound.Before as its kinds' words say.
func before(b Bound, p place) bool {
	switch {
	case p.token != b.Token:
		return p.token > b.Token
	case b.Kind == BehindToken:
		return false
	case p.key != string(b.Key):
		return p.key > string(b.Key)
	case b.Kind == BehindPartition, p.header:
		return false
	}
	return p.clustering > string(b.Clustering)
}

func drawInterval(t *rapid.T) (Interval, bool) {
	if rapid.Bool().Draw(t, "even") {
		a, b := drawToken(t), drawToken(t)
		iv := OfRange(vnodes.Range{Start: min(a, b), End: max(a, b)}, rapid.SampledFrom([]int{2, 3, 16, 1000}).Draw(t, "parts"))
		return iv, a != b
	}
	bounds := rapid.SliceOfN(rapid.Custom(drawBound), 2, 6).Draw(t, "bounds")
	slices.SortFunc(bounds, func(a, b Bound) int { return a.Compare(&b) })
	bounds = slices.CompactFunc(bounds, func(a, b Bound) bool { return a.Compare(&b) == 0 })
	if len(bounds) < 2 {
		return Interval{}, false
	}
	return Interval{Lower: bounds[0], Upper: bounds[len(bounds)-1], Cuts: bounds[1 : len(bounds)-1]}, true
}

// Whatever the cut, each item lies in exactly the piece whose ends stand around it, and a piece taken as an interval holds the same items.
func TestPiecesAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		iv, ok := drawInterval(t)
		if !ok {
			return
		}
		items := rapid.SliceOfN(rapid.Custom(drawPlace), 0, 40).Draw(t, "items")
		slices.SortFunc(items, place.compare)
		walker := iv.Walk(0)
		for _, p := range items {
			if !before(iv.Lower, p) || before(iv.Upper, p) {
				continue
			}
			want := 0
			for want < iv.Pieces()-1 && before(iv.End(want), p) {
				want++
			}
			if got := walker.Piece(p.token, []byte(p.key), p.bytes()); got != want {
				t.Fatalf("%+v lies in piece %d, want %d of %+v", p, got, want, iv)
			}
			own := iv.Piece(want)
			if !own.Lower.Before(p.token, []byte(p.key), p.bytes()) || own.Upper.Before(p.token, []byte(p.key), p.bytes()) {
				t.Fatalf("%+v is not in its piece %+v", p, own)
			}
		}
	})
}

// A bound that comes first has no item before it that the other has not.
func TestBoundsAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, p := drawBound(t), drawBound(t), drawPlace(t)
		if a.Before(p.token, []byte(p.key), p.bytes()) != before(a, p) {
			t.Fatalf("%+v before %+v", a, p)
		}
		if a.Compare(&b) != -b.Compare(&a) {
			t.Fatal("the order is not one")
		}
		if a.Compare(&b) <= 0 && before(b, p) && !before(a, p) {
			t.Fatalf("%+v comes before %+v, but %+v lies between", a, b, p)
		}
	})
}

func TestIntervalsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ivs []Interval
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			iv, ok := drawInterval(t)
			if ok && (len(ivs) == 0 || ivs[len(ivs)-1].Upper.Compare(&iv.Lower) <= 0) {
				ivs = append(ivs, iv)
			}
		}
		b := AppendIntervals(nil, ivs)
		got, err := DecodeIntervals(b)
		if err != nil {
			t.Fatal(err)
		}
		if again := AppendIntervals(nil, got); !bytes.Equal(again, b) || len(got) != len(ivs) {
			t.Fatalf("%+v came back as %+v", ivs, got)
		}
		for i := range ivs {
			if got[i].Pieces() != ivs[i].Pieces() || got[i].Lower.Compare(&ivs[i].Lower) != 0 || got[i].Upper.Compare(&ivs[i].Upper) != 0 {
				t.Fatalf("%+v came back as %+v", ivs[i], got[i])
			}
		}
	})
}

func TestHostileIntervalsAreRefused(t *testing.T) {
	tok := func(t vnodes.Token) Bound { return AtToken(t) }
	in := func(clustering string) Bound {
		return Bound{Kind: BehindRow, Token: 5, Key: []byte("k"), Clustering: []byte(clustering)}
	}
	many := make([]Bound, Fanout+1)
	for i := range many {
		many[i] = in(string(rune('b' + i)))
	}
	for name, ivs := range map[string][]Interval{
		"ends before it begins": {{Lower: tok(9), Upper: tok(3)}},
		"empty":                 {{Lower: tok(3), Upper: tok(3)}},
		"out of order":          {{Lower: tok(3), Upper: tok(9)}, {Lower: tok(1), Upper: tok(2)}},
		"overlapping":           {{Lower: tok(3), Upper: tok(9)}, {Lower: tok(8), Upper: tok(12)}},
		"even inside a row":     {{Lower: in("a"), Upper: tok(9), Even: 4}},
		"too many parts":        {{Lower: tok(1), Upper: tok(9), Even: 2 * MaxRoot}},
		"cuts descend":          {{Lower: tok(1), Upper: tok(9), Cuts: []Bound{in("b"), in("a")}}},
		"a cut outside":         {{Lower: tok(1), Upper: tok(4), Cuts: []Bound{in("b")}}},
		"too many cuts":         {{Lower: tok(1), Upper: tok(9), Cuts: many}},
		"too many intervals":    make([]Interval, MaxIntervals+1),
	} {
		if got, err := DecodeIntervals(AppendIntervals(nil, ivs)); err == nil {
			t.Errorf("%s: taken as %+v", name, got)
		}
	}
}

// Each thing that an item is made of shows in its hash.
func TestHashesCoverEverything(t *testing.T) {
	hash := func(token vnodes.Token, key, clustering, fragment string) uint64 {
		var h Hasher
		h.Partition(token, []byte(key))
		return h.Row([]byte(clustering), []byte(fragment))
	}
	seen := map[uint64]string{}
	for _, token := range []vnodes.Token{1, 2} {
		for _, key := range []string{"", "k", "kk"} {
			for _, clustering := range []string{"", "c", "kc"} {
				for _, fragment := range []string{"f", "g", "cf"} {
					what := fmt.Sprint(token, key, "/", clustering, "/", fragment)
					h := hash(token, key, clustering, fragment)
					if other, taken := seen[h]; taken || IsHeader(h) {
						t.Errorf("%s has the hash of %s", what, other)
					}
					seen[h] = what
				}
			}
			var h Hasher
			h.Partition(token, []byte(key))
			if header := h.Header([]byte("f")); !IsHeader(header) || seen[header] != "" || header == h.Header([]byte("g")) {
				t.Error("a header's hash")
			}
		}
	}
}

func TestFoldJoinsNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawToken(t), drawToken(t)
		if a == b {
			return
		}
		r := vnodes.Range{Start: min(a, b), End: max(a, b)}
		fine, coarse := OfRange(r, 64), OfRange(r, 8)
		for i := range 8 {
			x, y := fine.End(8*i+7), coarse.End(i)
			if x.Compare(&y) != 0 {
				t.Fatalf("part %d of 8 ends at %d, the fine ones at %d", i, y.Token, x.Token)
			}
		}
		var parts []Part
		var all Sum
		for i := 1; i < 64; i++ { // part 0 holds nothing
			parts = append(parts, Part{i, Sum{Items: uint64(i), Hash: rapid.Uint64().Draw(t, "hash")}})
			all.Join(parts[i-1].Sum)
		}
		if got := Fold(parts, 64, 1)[0]; !got.Equal(all) {
			t.Fatal("folding loses something")
		}
		if got := Fold(parts, 64, 8)[3].Items; got != 24+25+26+27+28+29+30+31 {
			t.Fatalf("part 3 has %d items", got)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendIntervals(nil, []Interval{OfRange(vnodes.Range{Start: -4, End: 9}, 16)}))
	f.Add(AppendSums(nil, []Sum{{Items: 3, Hash: 9}, {}}))
	f.Add(AppendLists(nil, [][]uint64{{1, 2}, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ivs, err := DecodeIntervals(b); err == nil {
			for i := range ivs {
				if ivs[i].Lower.Compare(&ivs[i].Upper) >= 0 || ivs[i].Pieces() > MaxPieces {
					t.Fatal("a bad interval was taken")
				}
			}
		}
		if s, err := DecodeSums(b); err == nil && len(s) > len(b) {
			t.Fatal("sums from nothing")
		}
		_, _ = DecodeLists(b)
		_, _ = DecodeBound(b)
	})
}
