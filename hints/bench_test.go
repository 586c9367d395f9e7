package hints

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"nodedb/node/disk"
	"nodedb/vnodes"
)

// BenchmarkAdd stores synced hints of 200 bytes on the real disk, with so many waiting at once.
func BenchmarkAdd(b *testing.B) {
	for _, waiting := range []int{1, 64, 1024} {
		b.Run(map[int]string{1: "1 waiting", 64: "64 waiting", 1024: "1024 waiting"}[waiting], func(b *testing.B) {
			o := testOptions(disk.Real(), newPeers())
			o.Dir = b.TempDir()
			s := open(b, o)
			b.ReportAllocs()
			mutation := make([]byte, 200)
			slots := make(chan struct{}, waiting)
			var acked sync.WaitGroup
			for b.Loop() {
				slots <- struct{}{}
				acked.Add(1)
				s.Add(host(1), mutation, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
					acked.Done()
				})
			}
			acked.Wait()
			closeStore(b, s)
		})
	}
}

// BenchmarkReplay delivers hints of 200 bytes that are answered at once.
func BenchmarkReplay(b *testing.B) {
	const n = 10_000
	o := testOptions(disk.Real(), newPeers())
	o.Dir, o.BytesPerSecond = b.TempDir(), 1<<40
	var left atomic.Int64
	drained := make(chan struct{}, 1)
	o.Deliver = func(_ vnodes.HostID, mutations [][]byte, done func(int, error)) {
		for i := range mutations {
			done(i, nil)
		}
		if left.Add(-int64(len(mutations))) == 0 {
			drained <- struct{}{}
		}
	}
	s := open(b, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	mutation := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		left.Store(n)
		var acked sync.WaitGroup
		acked.Add(n)
		for range n {
			s.Add(host(1), mutation, func(error) { acked.Done() })
		}
		acked.Wait()
		b.StartTimer()
		s.Wake(host(1))
		<-drained
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/hint")
	cancel()
	<-ended
	closeStore(b, s)
}

// BenchmarkOpen reads a log of 100,000 hints of 200 bytes.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	o := testOptions(disk.Real(), newPeers())
	o.Dir = b.TempDir()
	s := open(b, o)
	var acked sync.WaitGroup
	acked.Add(n)
	for range n {
		s.Add(host(1), make([]byte, 200), func(error) { acked.Done() })
	}
	acked.Wait()
	closeStore(b, s)
	b.ReportAllocs()
	for b.Loop() {
		closeStore(b, open(b, o))
	}
}
