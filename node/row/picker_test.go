package row

import "testing"

// TestPickerLearnsAnew: a Picker that knows as many rows' shapes as it may forgets them for its next read. Its reader is used again, and what another table's rows were like must
// not keep those of this one from being picked for ever.
func TestPickerLearnsAnew(t *testing.T) {
	shaped := func(c ColumnID) View {
		var b Builder
		b.Add(Cell{Column: 1, Timestamp: 7, Value: []byte("v")})
		b.Add(Cell{Column: c, Timestamp: 7, Value: []byte("w")})
		return b.Append(nil)
	}
	var p Picker
	p.Reset([]ColumnID{1})
	for c := ColumnID(2); c < 2+maxShapes; c++ {
		if p.of(shaped(c)) == nil {
			t.Fatalf("shape %d is not picked", c-1)
		}
	}
	other := shaped(100)
	if p.of(other) != nil {
		t.Fatalf("%d shapes are known, more than there may be", len(p.known))
	}
	if p.Reset([]ColumnID{1}); p.of(other) == nil {
		t.Error("the next read picks nothing of rows of another shape")
	}
}
