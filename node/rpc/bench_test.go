package rpc

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCall measures calls over loopback, caller and handler in this process. cpu-µs/call counts both sides.
func BenchmarkCall(b *testing.B) {
	for _, window := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("inflight=%d", window), func(b *testing.B) { benchCall(b, window, 200) })
	}
}

func benchCall(b *testing.B, window, size int) {
	x, y := newTCP(b, Options{Identity: identity(1, 9)}), newTCP(b, Options{Identity: identity(2, 9)})
	y.Handle(VerbWrite, echo)
	y.Serve()
	if r := call(x, y.self(), VerbWrite, nil, time.Minute); r.err != nil {
		b.Fatal(r.err)
	}
	slots := make(chan *Call, window)
	to, body := y.self(), make([]byte, size)
	for range window {
		c := &Call{To: to, Verb: VerbWrite, Body: body, Timeout: 10 * time.Second}
		c.Done = func(_ []byte, err error) {
			if err != nil {
				b.Error(err)
			}
			slots <- c
		}
		slots <- c
	}
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	for range b.N {
		x.Send(<-slots)
	}
	for range window {
		<-slots
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/call")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
