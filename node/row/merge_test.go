package row

import (
	"bytes"
	"testing"
)

// plain builds a row of plain cells at one timestamp.
func plain(timestamp int64, value string, columns ...ColumnID) []byte {
	var b Builder
	for _, c := range columns {
		b.Add(Cell{Column: c, Timestamp: timestamp, Value: []byte(value)})
	}
	return b.Append(nil)
}

func deleted(at int64, row []byte) []byte {
	var b Builder
	b.Delete(at)
	for i := range View(row).Len() {
		b.Add(View(row).At(i))
	}
	return b.Append(nil)
}

// What superseding must see through: it compares bytes, and those of columns mean other columns in a wide row.
func TestMergeOfPlainRows(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []byte
		want []byte
	}{
		{"same columns, newer wins", plain(1, "a", 0, 1), plain(2, "b", 0, 1), plain(2, "b", 0, 1)},
		{"same columns, same timestamp, larger value wins", plain(1, "a", 0, 1), plain(1, "b", 0, 1), plain(1, "b", 0, 1)},
		{"equal rows", plain(1, "a", 0, 1), plain(1, "a", 0, 1), plain(1, "a", 0, 1)},
		{"older row has the deletion", deleted(1, plain(2, "a", 1)), plain(3, "b", 1), deleted(1, plain(3, "b", 1))},
		{"newer row has the deletion", plain(2, "a", 1), deleted(2, plain(3, "b", 1)), deleted(2, plain(3, "b", 1))},
		{"narrow columns 0 and 1 are the bytes of the wide column 256", plain(2, "", 0, 1), plain(1, "", 256), func() []byte {
			var b Builder
			b.Add(Cell{Column: 0, Timestamp: 2})
			b.Add(Cell{Column: 1, Timestamp: 2})
			b.Add(Cell{Column: 256, Timestamp: 1})
			return b.Append(nil)
		}()},
	} {
		for range 2 {
			if got := mustMerge(t, test.a, test.b); !bytes.Equal(got, test.want) {
				t.Errorf("%s: got %swant %s", test.name, viewString(got), viewString(test.want))
			}
			test.a, test.b = test.b, test.a
		}
	}
}
