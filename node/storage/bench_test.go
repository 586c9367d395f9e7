package storage

import (
	"context"
	"fmt"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// sides runs a benchmark on raw Pebble and on the engine, in a fresh directory each.
func sides(b *testing.B, mode SyncMode, run func(*testing.B, *limitBench)) {
	for _, raw := range []bool{true, false} {
		b.Run(map[bool]string{true: "raw", false: "engine"}[raw], func(b *testing.B) {
			l, err := openLimits(disk.Real(), b.TempDir(), mode, raw)
			check(b, err)
			b.ReportAllocs()
			run(b, l)
			b.StopTimer()
			check(b, l.e.Close())
		})
	}
}

func BenchmarkWriteSynced(b *testing.B) {
	for _, waiting := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint("waiting=", waiting), func(b *testing.B) { sides(b, SyncBatch, func(b *testing.B, l *limitBench) { writeN(b, l, waiting) }) })
	}
}

func BenchmarkWritePeriodic(b *testing.B) {
	sides(b, SyncPeriodic, func(b *testing.B, l *limitBench) { writeN(b, l, 1) })
}

// writeN keeps so many writes waiting until b.N are done.
func writeN(b *testing.B, l *limitBench, waiting int) {
	slots := make(chan struct{}, waiting)
	done := func(err error) {
		if err != nil {
			b.Error(err)
		}
		<-slots
	}
	if l.raw && waiting > 1 {
		work := make(chan struct{})
		for range waiting {
			go func() {
				for range work {
					slots <- struct{}{}
					l.write(done)
				}
			}()
		}
		b.ResetTimer()
		for range b.N {
			work <- struct{}{}
		}
		close(work)
	} else {
		b.ResetTimer()
		for range b.N {
			slots <- struct{}{}
			l.write(done)
		}
	}
	for range waiting {
		slots <- struct{}{}
	}
}

func BenchmarkReadPoint(b *testing.B) {
	sides(b, SyncPeriodic, func(b *testing.B, l *limitBench) {
		check(b, l.fill())
		buf := make([]byte, 0, 4096)
		b.ResetTimer()
		for i := range b.N {
			var err error
			if buf, err = l.read(context.Background(), int64(i)*7919%limitRows+1, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkScan reports nanoseconds a row.
func BenchmarkScan(b *testing.B) {
	sides(b, SyncPeriodic, func(b *testing.B, l *limitBench) {
		check(b, l.fill())
		buf := make([]byte, 0, 2*defaultByteLimit)
		b.ResetTimer()
		for n := 0; n < b.N; {
			rows, err := l.scan(context.Background(), buf)
			check(b, err)
			n += rows
		}
	})
}

// fillWide writes one partition of 100,000 rows.
func fillWide(b *testing.B, l *limitBench) {
	for i := range 100 {
		m := row.Mutation{Storage: limitTable, Token: 1, Key: []byte("k")}
		for j := range 1000 {
			m.Rows = append(m.Rows, row.Entry{Clustering: wideRow(i*1000 + j), Fragment: limitFragment(int64(i*1000 + j))})
		}
		apply(b, l.e, m)
	}
	check(b, l.e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false))
}

func wideRow(n int) []byte { return fmt.Appendf(nil, "c%07d", n) }

// BenchmarkReadDeep reads one row in the middle of a wide partition, in a table without headers, and in one that has
// some elsewhere and here.
func BenchmarkReadDeep(b *testing.B) {
	for _, headers := range []string{"none", "elsewhere", "here"} {
		b.Run("headers="+headers, func(b *testing.B) {
			l, err := openLimits(disk.Real(), b.TempDir(), SyncPeriodic, false)
			check(b, err)
			h := row.EmptyHeader
			h.Deletion = -1
			switch headers {
			case "elsewhere":
				apply(b, l.e, row.Mutation{Storage: limitTable, Token: 2, Key: []byte("other"), Header: h.Append(nil)})
			case "here":
				apply(b, l.e, row.Mutation{Storage: limitTable, Token: 1, Key: []byte("k"), Header: h.Append(nil)})
			}
			fillWide(b, l)
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				n := i * 7919 % 100_000
				spec := ReadSpec{Storage: limitTable, Token: 1, Key: []byte("k"), Now: 1, Slices: []Slice{{Start: wideRow(n), End: wideRow(n + 1)}}}
				page, err := l.e.Read(context.Background(), &spec, buf)
				if err != nil || len(page) < limitValue {
					b.Fatalf("%q, %v", page, err)
				}
			}
			b.StopTimer()
			check(b, l.e.Close())
		})
	}
}

// BenchmarkScanWide scans one partition of 100,000 rows; nanoseconds a row.
func BenchmarkScanWide(b *testing.B) {
	for _, reverse := range []bool{false, true} {
		b.Run(fmt.Sprint("reverse=", reverse), func(b *testing.B) {
			l, err := openLimits(disk.Real(), b.TempDir(), SyncPeriodic, false)
			check(b, err)
			fillWide(b, l)
			buf := make([]byte, 0, 2*defaultByteLimit)
			b.ReportAllocs()
			b.ResetTimer()
			spec := ReadSpec{Storage: limitTable, Token: 1, Key: []byte("k"), Now: 1, Reverse: reverse}
			var r row.PageReader
			for n := 0; n < b.N; {
				before := l.e.counts.entries.Load()
				page, err := l.e.Read(context.Background(), &spec, buf)
				check(b, err)
				n += int(l.e.counts.entries.Load() - before)
				spec.After, err = stopOf(&r, page)
				check(b, err)
			}
			b.StopTimer()
			check(b, l.e.Close())
		})
	}
}
