package row

import (
	"encoding/binary"
	"testing"
)

// benchRow is a row as INSERT writes it: a marker and n columns of 10 bytes.
func benchRow(timestamp int64, n int) []byte {
	var b Builder
	b.Add(Cell{Column: Marker, Timestamp: timestamp})
	for i := range n {
		b.Add(Cell{Column: ColumnID(i + 1), Timestamp: timestamp, Value: []byte("0123456789")})
	}
	return b.Append(nil)
}

func benchPage(rows int) []byte {
	var w PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("partition"), nil)
	row := benchRow(1_700_000_000_000_000, 10)
	for i := range rows {
		w.Row(binary.BigEndian.AppendUint64(nil, uint64(i)), row)
	}
	return w.Finish(nil)
}

var sink int

func BenchmarkMerge(b *testing.B) {
	const now = 1_700_000_000_000_000
	old, update, whole := benchRow(now, 10), benchRow(now+12345, 1), benchRow(now+12345, 10)
	many := make([][]byte, 16)
	for i := range many {
		many[i] = benchRow(now+int64(i), 10)
	}
	for _, c := range []struct {
		name      string
		fragments [][]byte
	}{
		{"one", [][]byte{old}}, {"two 10 columns", [][]byte{old, whole}}, {"10 columns and an update of 1", [][]byte{old, update}}, {"16 of 10 columns", many},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				merged, err := Merge(dst, c.fragments...)
				if err != nil {
					b.Fatal(err)
				}
				sink += len(merged)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	var builder Builder
	dst := make([]byte, 0, 4096)
	value := []byte("0123456789")
	for b.Loop() {
		builder.Reset()
		for i := range 11 {
			builder.Add(Cell{Column: ColumnID(i), Timestamp: 5, Value: value})
		}
		sink += len(builder.Append(dst))
	}
}

func BenchmarkView(b *testing.B) {
	v := View(benchRow(1_700_000_000_000_000, 10))
	b.Run("Find", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, _ := v.Find(7)
			sink += len(c.Value)
		}
	})
	b.Run("Index, 3 x Find", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x := v.Index()
			for _, col := range [...]ColumnID{2, 5, 7} {
				c, _ := x.Find(col)
				sink += len(c.Value)
			}
		}
	})
	b.Run("At, all 11", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range v.Len() {
				c := v.At(i)
				sink += len(c.Value)
			}
		}
	})
	b.Run("Index.At, all 11", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x := v.Index()
			for i := range x.Len() {
				c := x.At(i)
				sink += len(c.Value)
			}
		}
	})
	b.Run("Check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v.Check() != nil {
				b.Fatal("corrupt")
			}
		}
	})
}

func BenchmarkPageRead(b *testing.B) {
	const rows = 1000
	page := benchPage(rows)
	for _, find := range []bool{false, true} {
		name := "rows"
		if find {
			name = "rows, Find of 1 column"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var r PageReader
			for b.Loop() {
				r.Reset(page)
				for {
					event, err := r.Next()
					if err != nil {
						b.Fatal(err)
					}
					if event == PageEnd {
						break
					}
					if find && event == PageRow {
						c, _ := r.Row.Find(7)
						sink += len(c.Value)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

func BenchmarkMutation(b *testing.B) {
	m := Mutation{Storage: 7, Token: 8, Key: []byte("partition"), Rows: []Entry{{[]byte("clustering"), benchRow(5, 10)}}}
	encoded := m.Append(nil)
	b.ReportAllocs()
	var got Mutation
	for b.Loop() {
		if _, err := got.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
