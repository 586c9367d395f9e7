package row

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestShape: what a shape says of any row is what Find says: a row of a shape that another row taught has that one's columns in its places, and a row that
// has more than plain cells has no shape.
func TestShape(t *testing.T) {
	sizes := rapid.SampledFrom([]int{0, 1, 2, 3, 255, 256, 70_000}) // ends of 1, 2 and 4 bytes
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) View {
			var b Builder
			columns := rapid.SliceOfNDistinct(rapid.SampledFrom([]ColumnID{0, 1, 2, 3, 255, 256, 259, 513, 770}), 0, 5, rapid.ID).Draw(t, name)
			plain := rapid.IntRange(0, 3).Draw(t, name+" plain") > 0
			if rapid.IntRange(0, 3).Draw(t, name+" deletion") == 0 {
				b.Delete(4)
			}
			for _, c := range []ColumnID{0, 1, 2, 3, 255, 256, 259, 513, 770} {
				if !contains(columns, c) {
					continue
				}
				cell := Cell{Column: c, Timestamp: 5, Value: bytes.Repeat([]byte{byte(c)}, sizes.Draw(t, "size"))}
				if !plain && c > 1 {
					cell.Timestamp++
				}
				b.Add(cell)
			}
			return b.Append(nil)
		}
		first, second := draw("first"), draw("second")
		x, y := first.Index(), second.Index()
		var s Shape
		s.Learn(second) // forgotten
		if learnt := s.Learn(first); learnt != (x.attrs == nil && x.Len() > 0) || s.Of(first) != learnt {
			t.Fatalf("%x: learnt %v, has it %v", first, learnt, s.Of(first))
		}
		if !s.Of(second) {
			if x.attrs == nil && y.attrs == nil && x.Len() > 0 && bytes.Equal(x.columns, y.columns) && x.flags == y.flags {
				t.Fatal("the same columns and flags are another shape")
			}
			return
		}
		if !second.LiveAt(0) {
			t.Fatalf("%x has a shape and is not live", second)
		}
		for c := range ColumnID(1024) {
			cell, ok := y.Find(c)
			place := s.Place(c)
			if ok != (place >= 0) || ok && !bytes.Equal(s.Plain(second, place), cell.Value) {
				t.Fatalf("column %d: %v %x, place %d", c, ok, cell.Value, place)
			}
		}
	})
}

func contains(list []ColumnID, c ColumnID) bool {
	for _, o := range list {
		if o == c {
			return true
		}
	}
	return false
}

// TestViewLiveAt: a view and its index agree about every row.
func TestViewLiveAt(t *testing.T) {
	var b Builder
	add := func(cells ...Cell) View {
		b.Reset()
		for _, c := range cells {
			b.Add(c)
		}
		return b.Append(nil)
	}
	rows := []View{
		nil, {}, {1}, {1, 0}, add(Cell{Timestamp: 1}), add(Cell{Column: 3, Timestamp: 1, Value: []byte("v")}),
		add(Cell{Column: 3, Kind: Tombstone, Timestamp: 1}), add(Cell{Column: 3, Timestamp: 1, Expiry: 10, TTL: 1}),
		add(Cell{Column: 1, Kind: Tombstone, Timestamp: 1}, Cell{Column: 3, Timestamp: 1}),
	}
	for _, v := range rows {
		for _, now := range []int64{9, 10, 11} {
			if x := v.Index(); v.LiveAt(now) != x.LiveAt(now) {
				t.Errorf("%x at %d: %v", v, now, v.LiveAt(now))
			}
		}
	}
}
