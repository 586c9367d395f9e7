package row

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// twinHeader is a set of facts again: what covers a place is asked of all of them.
type twinHeader struct {
	deletions []int64
	ranges    []RangeDeletion
	static    facts
}

// The places that bounds and keys of these tests are drawn from, in order.
var places = []string{"", "a", "aa", "b", "c", "cc", "d", "e"}

func drawHeader(t *rapid.T) (h twinHeader) {
	for range rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "deletions") {
		h.deletions = append(h.deletions, drawTimestamp.Draw(t, "deletion"))
	}
	for range rapid.IntRange(0, 5).Draw(t, "ranges") {
		r := RangeDeletion{
			Start:     []byte(rapid.SampledFrom(places).Draw(t, "start")),
			Timestamp: drawTimestamp.Draw(t, "timestamp"),
		}
		if rapid.IntRange(0, 4).Draw(t, "open") > 0 {
			r.End = []byte(rapid.SampledFrom(places).Draw(t, "end"))
		}
		h.ranges = append(h.ranges, r)
	}
	if rapid.Bool().Draw(t, "has static") {
		h.static = drawFacts(t)
	}
	return h
}

func (h twinHeader) deletion() int64 {
	newest := NoDeletion
	for _, d := range h.deletions {
		newest = max(newest, d)
	}
	return newest
}

func (h twinHeader) build() []byte {
	header := Header{Deletion: h.deletion(), Ranges: h.ranges, Static: h.static.build()}
	return header.Append(nil)
}

func (h twinHeader) with(g twinHeader) twinHeader {
	return twinHeader{
		append(append([]int64{}, h.deletions...), g.deletions...),
		append(append([]RangeDeletion{}, h.ranges...), g.ranges...),
		h.static.with(g.static),
	}
}

// covering asks every range in turn.
func (h twinHeader) covering(key string) int64 {
	newest := h.deletion()
	for _, r := range h.ranges {
		if string(r.Start) <= key && (r.End == nil || key < string(r.End)) {
			newest = max(newest, r.Timestamp)
		}
	}
	return newest
}

// pieces works the normal form out place by place: no bound lies between two neighbouring places.
func (h twinHeader) pieces() (s string) {
	at := NoDeletion
	for _, place := range places {
		next := h.covering(place)
		if next <= h.deletion() {
			next = NoDeletion
		}
		if next != at {
			s += fmt.Sprintf("from %q at %d\n", place, next)
		}
		at = next
	}
	return s
}

func piecesOf(h *Header) (s string) {
	for i, r := range h.Ranges {
		if i > 0 && !bytes.Equal(h.Ranges[i-1].End, r.Start) {
			s += fmt.Sprintf("from %q at %d\n", h.Ranges[i-1].End, NoDeletion)
		}
		s += fmt.Sprintf("from %q at %d\n", r.Start, r.Timestamp)
	}
	if n := len(h.Ranges); n > 0 && h.Ranges[n-1].End != nil {
		s += fmt.Sprintf("from %q at %d\n", h.Ranges[n-1].End, NoDeletion)
	}
	return s
}

func checkHeader(t *rapid.T, encoded []byte, twin twinHeader) {
	h, err := DecodeHeader(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if h.Deletion != twin.deletion() || h.IsEmpty() != (len(encoded) == 0) {
		t.Fatalf("deletion %d, want %d; empty %v of %d bytes", h.Deletion, twin.deletion(), h.IsEmpty(), len(encoded))
	}
	if got, want := piecesOf(&h), twin.pieces(); got != want {
		t.Fatalf("ranges %s, want %s", got, want)
	}
	if got, want := viewString(h.Static), twin.static.content(twin.deletion()).String(); got != want {
		t.Fatalf("static %s, want %s", got, want)
	}
	for _, key := range append([]string{"a0", "zz"}, places...) {
		if got, want := h.Covering([]byte(key)), twin.covering(key); got != want {
			t.Fatalf("covering %q: %d, want %d", key, got, want)
		}
	}
	if again := h.Append(nil); !bytes.Equal(again, encoded) {
		t.Fatalf("encoded again %x, was %x", again, encoded)
	}
}

func TestHeaderAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fragments [][]byte
		var all twinHeader
		for range rapid.IntRange(1, 4).Draw(t, "fragments") {
			h := drawHeader(t)
			checkHeader(t, h.build(), h)
			fragments, all = append(fragments, h.build()), all.with(h)
		}
		merged, err := MergeHeaders([]byte("before"), fragments...)
		if err != nil {
			t.Fatal(err)
		}
		merged = bytes.TrimPrefix(merged, []byte("before"))
		checkHeader(t, merged, all)

		shuffled := rapid.Permutation(fragments).Draw(t, "order")
		cut := rapid.IntRange(0, len(shuffled)).Draw(t, "cut")
		left, errLeft := MergeHeaders(nil, shuffled[:cut]...)
		right, errRight := MergeHeaders(nil, shuffled[cut:]...)
		grouped, err := MergeHeaders(nil, right, left, merged, right)
		if err != nil || errLeft != nil || errRight != nil {
			t.Fatal(err, errLeft, errRight)
		}
		if !bytes.Equal(grouped, merged) {
			t.Fatalf("grouped %x at once %x", grouped, merged)
		}
	})
}

// A header shadows a row the same whether the row is merged first or each fragment is shadowed first: what lets replicas shadow before they
// answer.
func TestShadowCommutesWithMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fragments, _ := drawFragments(t)
		at := drawTimestamp.Draw(t, "at")
		var shadowed [][]byte
		for _, f := range fragments {
			shadowed = append(shadowed, Shadow(nil, f, at))
		}
		merged, err := Merge(nil, fragments...)
		if err != nil {
			t.Fatal(err)
		}
		late := Shadow(nil, merged, at)
		early, err := Merge(nil, shadowed...)
		if err != nil || !bytes.Equal(early, late) {
			t.Fatalf("shadowed first %s, merged first %s: %v", viewString(early), viewString(late), err)
		}
	})
}

func TestNormaliseTable(t *testing.T) {
	open := func(start string, at int64) RangeDeletion { return RangeDeletion{Start: []byte(start), Timestamp: at} }
	closed := func(start, end string, at int64) RangeDeletion { return RangeDeletion{[]byte(start), []byte(end), at} }
	for _, test := range []struct {
		name     string
		deletion int64
		in       []RangeDeletion
		want     string
	}{
		{"touching of one timestamp join", NoDeletion, []RangeDeletion{closed("b", "c", 5), closed("a", "b", 5)}, "[a,c)5 "},
		{"touching of two timestamps stay", NoDeletion, []RangeDeletion{closed("b", "c", 5), closed("a", "b", 4)}, "[a,b)4 [b,c)5 "},
		{"newer splits older", NoDeletion, []RangeDeletion{open("", 1), closed("b", "c", 2)}, "[,b)1 [b,c)2 [c,*)1 "},
		{"older hides in newer", NoDeletion, []RangeDeletion{open("", 2), closed("b", "c", 1)}, "[,*)2 "},
		{"at the partition deletion goes", 2, []RangeDeletion{open("", 2), closed("b", "c", 3)}, "[b,c)3 "},
		{"empty and inverted go", NoDeletion, []RangeDeletion{closed("b", "b", 3), closed("c", "b", 3), closed("a", "", 3)}, ""},
		{"extremes", NoDeletion, []RangeDeletion{open("a", math.MinInt64), open("b", math.MaxInt64)}, "[b,*)9223372036854775807 "},
	} {
		got := ""
		for _, r := range normalise(test.in, test.deletion) {
			end := string(r.End)
			if r.End == nil {
				end = "*"
			}
			got += fmt.Sprintf("[%s,%s)%d ", r.Start, end, r.Timestamp)
		}
		if got != test.want {
			t.Errorf("%s: got %s want %s", test.name, got, test.want)
		}
	}
}
