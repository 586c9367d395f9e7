package row

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

// The twin: a row is the set of all facts ever written, and its content is worked out from them by the letter of DESIGN.md section 2,
// with maps and no thought of speed.
type facts struct {
	deletions []int64
	cells     []Cell
}

type twinPlace struct {
	column ColumnID
	kind   Kind // Live for Tombstone too
	path   string
}

// twinContent is what is to be seen of facts.
type twinContent struct {
	deletion int64
	cells    []Cell
}

func (f facts) content(alsoDeletedAt int64) twinContent {
	own := NoDeletion
	for _, d := range f.deletions {
		own = max(own, d)
	}
	covered := f.coverage(max(own, alsoDeletedAt))
	content := twinContent{deletion: NoDeletion}
	if own > alsoDeletedAt {
		content.deletion = own
	}
	registers := map[twinPlace]Cell{}
	for _, c := range f.cells {
		place := twinPlace{c.Column, c.Kind, string(c.Path)}
		if c.Kind == Tombstone {
			place.kind = Live
		}
		if c.Kind == Counter || covered(c.Column, c.Timestamp, c.Kind == ComplexTombstone) {
			continue
		}
		if old, ok := registers[place]; !ok || twinWins(c, old) {
			registers[place] = c
		}
	}
	for _, c := range registers {
		content.cells = append(content.cells, c)
	}
	content.cells = append(content.cells, f.counters(covered)...)
	sort.Slice(content.cells, func(i, j int) bool { return twinKey(content.cells[i]) < twinKey(content.cells[j]) })
	return content
}

// coverage says what deletions remove: everything at or below the row's; of a column also what is at or below its newest complex
// tombstone, but for complex tombstones.
func (f facts) coverage(deletion int64) func(column ColumnID, timestamp int64, complex bool) bool {
	complexes := map[ColumnID]int64{}
	for _, c := range f.cells {
		if old, ok := complexes[c.Column]; c.Kind == ComplexTombstone && (!ok || old < c.Timestamp) {
			complexes[c.Column] = c.Timestamp
		}
	}
	return func(column ColumnID, timestamp int64, complex bool) bool {
		newest, ok := complexes[column]
		return timestamp <= deletion || (ok && !complex && timestamp <= newest)
	}
}

// counters merges the shards that are left, by the names of their shards.
func (f facts) counters(covered func(ColumnID, int64, bool) bool) (cells []Cell) {
	counters := map[twinPlace]map[string]Shard{}
	for _, c := range f.cells {
		for i := 0; c.Kind == Counter && i < ShardCount(c.Value); i++ {
			s := ShardAt(c.Value, i)
			if covered(c.Column, s.Clock, false) {
				continue
			}
			place, id := twinPlace{c.Column, Counter, string(c.Path)}, fmt.Sprintf("%x %016x", s.Host, s.Incarnation)
			if counters[place] == nil {
				counters[place] = map[string]Shard{}
			}
			old, ok := counters[place][id]
			if !ok || s.Clock > old.Clock || (s.Clock == old.Clock && s.Sum > old.Sum) {
				counters[place][id] = s
			}
		}
	}
	for place, shards := range counters {
		c := Cell{Column: place.column, Kind: Counter, Path: []byte(place.path), Timestamp: math.MinInt64}
		for _, id := range slices.Sorted(maps.Keys(shards)) {
			c.Value = AppendShard(c.Value, shards[id])
			c.Timestamp = max(c.Timestamp, shards[id].Clock)
		}
		cells = append(cells, c)
	}
	return cells
}

func twinKey(c Cell) string {
	switch c.Kind {
	case ComplexTombstone:
		return fmt.Sprintf("%05d 0", c.Column)
	case Counter:
		return fmt.Sprintf("%05d 1 %x 1", c.Column, c.Path)
	}
	return fmt.Sprintf("%05d 1 %x 0", c.Column, c.Path)
}

func twinWins(a, b Cell) bool {
	rank := func(c Cell) int64 {
		if c.Kind == Tombstone {
			return 2
		}
		if c.Expiry != 0 {
			return 1
		}
		return 0
	}
	for _, pair := range [][2]int64{
		{a.Timestamp, b.Timestamp}, {rank(a), rank(b)}, {a.Expiry, b.Expiry},
		{int64(bytes.Compare(a.Value, b.Value)), 0}, {int64(a.TTL), int64(b.TTL)},
	} {
		if pair[0] != pair[1] {
			return pair[0] > pair[1]
		}
	}
	return false
}

func (c twinContent) String() string {
	s := fmt.Sprintf("deletion %d\n", c.deletion)
	for _, cell := range c.cells {
		s += cellString(cell)
	}
	return s
}

func cellString(c Cell) string {
	return fmt.Sprintf("  %d kind %d at %d expiry %d ttl %d path %q value %q\n",
		c.Column, c.Kind, c.Timestamp, c.Expiry, c.TTL, c.Path, c.Value)
}

// viewString describes what a view shows in the twin's words.
func viewString(v View) string {
	content := twinContent{deletion: v.Deletion()}
	for i := range v.Len() {
		content.cells = append(content.cells, v.At(i))
	}
	return content.String()
}

var drawTimestamp = rapid.OneOf(rapid.Int64Range(-2, 6), rapid.Int64Range(-2, 6), rapid.Int64Range(0, 1000),
	rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64, 1_700_000_000_000_000}))

func drawCell(t *rapid.T) Cell {
	c := Cell{
		Column:    rapid.SampledFrom([]ColumnID{0, 1, 2, 3, 255, 256, 65535}).Draw(t, "column"),
		Kind:      rapid.SampledFrom([]Kind{Live, Live, Live, Tombstone, ComplexTombstone, Counter}).Draw(t, "kind"),
		Timestamp: drawTimestamp.Draw(t, "timestamp"),
	}
	if c.Kind != ComplexTombstone {
		c.Path = []byte(rapid.SampledFrom([]string{"", "", "a", "ab", "b"}).Draw(t, "path"))
	}
	switch c.Kind {
	case Live:
		c.Value = []byte(rapid.SampledFrom([]string{"", "x", "y", "xx", string(make([]byte, 300))}).Draw(t, "value"))
		c.Expiry = rapid.SampledFrom([]int64{0, 0, 50, 60, math.MaxInt64, -1}).Draw(t, "expiry")
		if c.Expiry != 0 {
			c.TTL = rapid.SampledFrom([]int32{0, 1, 2, math.MaxInt32, -1}).Draw(t, "ttl")
		}
	case Counter:
		for range rapid.IntRange(0, 3).Draw(t, "shards") {
			s := Shard{Incarnation: uint64(rapid.IntRange(0, 1).Draw(t, "incarnation"))}
			s.Host[15] = byte(rapid.IntRange(0, 1).Draw(t, "host"))
			s.Clock, s.Sum = drawTimestamp.Draw(t, "clock"), rapid.Int64Range(-3, 3).Draw(t, "sum")
			c.Value = AppendShard(c.Value, s)
		}
	}
	return c
}

func drawFacts(t *rapid.T) (f facts) {
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "deletions") {
		f.deletions = append(f.deletions, drawTimestamp.Draw(t, "deletion"))
	}
	for range rapid.IntRange(0, 8).Draw(t, "cells") {
		f.cells = append(f.cells, drawCell(t))
	}
	return f
}

func (f facts) with(g facts) facts {
	return facts{append(append([]int64{}, f.deletions...), g.deletions...), append(append([]Cell{}, f.cells...), g.cells...)}
}

func (f facts) build() []byte {
	var b Builder
	for _, d := range f.deletions {
		b.Delete(d)
	}
	for _, c := range f.cells {
		b.Add(c)
	}
	return b.Append(nil)
}

func mustMerge(t testing.TB, fragments ...[]byte) []byte {
	t.Helper()
	merged, err := Merge(nil, fragments...)
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

func drawFragments(t *rapid.T) (fragments [][]byte, all facts) {
	for range rapid.IntRange(1, 6).Draw(t, "fragments") {
		f := drawFacts(t)
		fragments, all = append(fragments, f.build()), all.with(f)
	}
	return fragments, all
}

// Merge equals the twin, whatever the order and grouping, and what it writes passes Check and is what Builder writes of the same facts.
func TestMergeAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fragments, all := drawFragments(t)
		merged, err := Merge([]byte("before"), fragments...)
		if err != nil {
			t.Fatal(err)
		}
		merged = bytes.TrimPrefix(merged, []byte("before"))
		if err := View(merged).Check(); err != nil {
			t.Fatalf("merged: %v", err)
		}
		if got, want := viewString(merged), all.content(NoDeletion).String(); got != want {
			t.Fatalf("got %swant %s", got, want)
		}
		if built := all.build(); !bytes.Equal(built, merged) {
			t.Fatalf("built  %x\nmerged %x", built, merged)
		}
	})
}

func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fragments, _ := drawFragments(t)
		merged, err := Merge(nil, fragments...)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := rapid.Permutation(fragments).Draw(t, "order")
		cut := rapid.IntRange(0, len(shuffled)).Draw(t, "cut")
		left, errLeft := Merge(nil, shuffled[:cut]...)
		right, errRight := Merge(nil, shuffled[cut:]...)
		grouped, err := Merge(nil, right, left, merged, right)
		if err != nil || errLeft != nil || errRight != nil {
			t.Fatal(err, errLeft, errRight)
		}
		if !bytes.Equal(grouped, merged) {
			t.Fatalf("grouped %s at once %s", viewString(grouped), viewString(merged))
		}
	})
}

func TestShadowAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFacts(t)
		at := drawTimestamp.Draw(t, "at")
		got := Shadow([]byte("before"), f.build(), at)
		got = bytes.TrimPrefix(got, []byte("before"))
		if err := View(got).Check(); err != nil {
			t.Fatal(err)
		}
		if got, want := viewString(got), f.content(at).String(); got != want {
			t.Fatalf("shadowed at %d: got %swant %s", at, got, want)
		}
	})
}

// At equal timestamps the winner is the one that DESIGN.md names, whichever comes first: each of these loses to the next.
func TestTiesHaveOneWinner(t *testing.T) {
	ascending := []Cell{
		{Value: []byte("a")}, {Value: []byte("b")}, {Value: []byte("bb")},
		{Expiry: 50, TTL: 10, Value: []byte("z")}, {Expiry: 60, TTL: 10, Value: []byte("a")}, {Expiry: 60, TTL: 10, Value: []byte("b")}, {Expiry: 60, TTL: 20, Value: []byte("b")},
		{Kind: Tombstone},
	}
	fragment := func(c Cell) []byte {
		var b Builder
		c.Column, c.Timestamp = 1, 7
		b.Add(c)
		b.Add(Cell{Column: 2, Timestamp: 9}) // the fragments differ in shape, or the shortcut for equal shapes would answer
		return b.Append(nil)
	}
	for i, loser := range ascending {
		for _, winner := range ascending[i+1:] {
			for _, pair := range [][2]Cell{{loser, winner}, {winner, loser}} {
				merged, err := Merge(nil, fragment(pair[0]), fragment(pair[1]))
				if err != nil {
					t.Fatal(err)
				}
				if want := fragment(winner); !bytes.Equal(merged, want) {
					t.Errorf("%+v and %+v merge to %swant the second", loser, winner, viewString(merged))
				}
			}
		}
	}
}

// A cell with a TTL is gone in the second of its expiry, not only in the one after.
func TestACellIsGoneAtItsExpiry(t *testing.T) {
	var b Builder
	b.Add(Cell{Column: 1, Timestamp: 6, Expiry: 100, TTL: 10, Value: []byte("x")})
	v := View(b.Append(nil))
	x := v.Index()
	c, _ := x.Find(1)
	for now, want := range map[int64]bool{90: true, 99: true, 100: false, 101: false} {
		if c.LiveAt(now) != want || v.LiveAt(now) != want {
			t.Errorf("at %d the cell lives: %v, the row: %v; want %v", now, c.LiveAt(now), v.LiveAt(now), want)
		}
	}
}

// Every way to look at a row agrees with its list of cells.
func TestLookupsAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFacts(t)
		v := View(f.build())
		content := f.content(NoDeletion)
		newest, live := content.deletion, false
		now := rapid.Int64Range(40, 70).Draw(t, "now")
		for _, c := range content.cells {
			newest = max(newest, c.Timestamp)
			live = live || c.Kind == Counter || c.Kind == Live && (c.Expiry == NoExpiry || now < c.Expiry) // not by Cell.LiveAt, which is under test
		}
		if v.MaxTimestamp() != newest || v.LiveAt(now) != live {
			t.Fatalf("newest %d want %d, live %v want %v", v.MaxTimestamp(), newest, v.LiveAt(now), live)
		}
		for _, column := range []ColumnID{0, 1, 2, 3, 4, 255, 256, 65535} {
			var of, simple []Cell
			first := 0
			for _, c := range content.cells {
				switch {
				case c.Column < column:
					first++
				case c.Column == column:
					of = append(of, c)
					if c.Kind != ComplexTombstone && len(c.Path) == 0 {
						simple = append(simple, c)
					}
				}
			}
			if from, to := v.Span(column); from != first || to != first+len(of) {
				t.Fatalf("span of %d: %d to %d, want %d to %d", column, from, to, first, first+len(of))
			}
			got, ok := v.Find(column)
			if ok != (len(simple) > 0) || (ok && cellString(got) != cellString(simple[0])) {
				t.Fatalf("find %d: %v %s want %v", column, ok, cellString(got), simple)
			}
		}
	})
}
