package readrepair

import (
	"encoding/binary"
	"testing"

	"nodedb/node/row"
)

// benchPage has rows of 10 columns; every staleEvery-th row (0: none) is of an older write.
func benchPage(rows, staleEvery int) []byte {
	build := func(timestamp int64) []byte {
		var b row.Builder
		for i := range 11 {
			b.Add(row.Cell{Column: row.ColumnID(i), Timestamp: timestamp, Value: []byte("0123456789")})
		}
		return b.Append(nil)
	}
	fresh, stale := build(2), build(1)
	var w row.PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("partition"), nil)
	for i := range rows {
		fragment := fresh
		if staleEvery > 0 && i%staleEvery == 0 {
			fragment = stale
		}
		w.Row(binary.BigEndian.AppendUint64(nil, uint64(i)), fragment)
	}
	return w.Finish(nil)
}

func BenchmarkMerge(b *testing.B) {
	const rows = 1000
	fresh := benchPage(rows, 0)
	for _, c := range []struct {
		name  string
		pages [][]byte
	}{
		{"3 equal pages", [][]byte{fresh, benchPage(rows, 0), benchPage(rows, 0)}},
		{"3 pages, 1 of 10 rows stale on one", [][]byte{fresh, benchPage(rows, 10), benchPage(rows, 0)}},
		{"3 pages, one empty", [][]byte{fresh, benchPage(0, 0), fresh}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Merge(1, c.pages, false); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
