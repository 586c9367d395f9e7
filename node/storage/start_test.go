package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// BenchmarkStartAfterKill opens what a process that was killed left: tables, and a log of so many MiB.
func BenchmarkStartAfterKill(b *testing.B) {
	for _, mib := range []int{8, 16, 60} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			dir := b.TempDir()
			live, left := filepath.Join(dir, "live"), filepath.Join(dir, "left")
			e := openTest(b, disk.Real(), func(o *Options) { o.Dir = live })
			fillKiB(b, e, 0, 16<<10)
			check(b, e.db.Flush())
			fillKiB(b, e, 16<<10, mib<<10)
			check(b, os.CopyFS(left, os.DirFS(live)))
			check(b, e.Close())
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				again := filepath.Join(dir, fmt.Sprint("again", i))
				check(b, os.CopyFS(again, os.DirFS(left)))
				b.StartTimer()
				begun := time.Now()
				e, err := Open(Options{Dir: again})
				check(b, err)
				b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "ms/open")
				b.StopTimer()
				check(b, e.Close())
				check(b, os.RemoveAll(again))
				b.StartTimer()
			}
		})
	}
}

// fillKiB writes rows of 1 KiB that don't compress.
func fillKiB(tb testing.TB, e *Engine, from, rows int) {
	tb.Helper()
	const window = 256
	errs := make(chan error, window)
	for i := range rows + window {
		if i >= window {
			check(tb, <-errs)
		}
		if i < rows {
			value := make([]byte, 0, 1024)
			for len(value) < 1000 {
				token, _ := limitKey(int64((from+i)*128 + len(value)))
				value = append(value, uint32Key(int(token))...)
			}
			m := insert(testTable, fmt.Sprint(from+i), "", 1, string(value))
			m.Token, _ = limitKey(int64(from + i))
			e.Apply([]row.Mutation{m}, func(err error) { errs <- err })
		}
	}
}
