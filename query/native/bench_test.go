package native

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"nodedb/query/wire"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// cpuTime is the CPU that this process, client and server together, has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNull is the protocol alone: an engine that answers VOID, a client that keeps a window of EXECUTEs of 100 bytes in flight on one connection.
func BenchmarkNull(b *testing.B) {
	for _, v := range []wire.Version{wire.V4, wire.V5} {
		for _, window := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("v%d/window=%d", v, window), func(b *testing.B) {
				_, addr := start(b, Options{Engine: &fakeEngine{}})
				c := dial(b, addr, wire.ClientOptions{Version: v})
				req := &wire.Execute{ID: make([]byte, 16), Params: wire.Params{Consistency: 1, Values: [][]byte{make([]byte, 8), make([]byte, 92)}}}
				benchmarkWindow(b, c, req, window)
			})
		}
	}
}

func benchmarkWindow(b *testing.B, c *wire.Client, req wire.Request, window int) {
	slots := make(chan struct{}, window)
	done := func(wire.Response, error) { <-slots }
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		slots <- struct{}{}
		if err := c.Send(req, done); err != nil {
			b.Fatal(err)
		}
	}
	for range window {
		slots <- struct{}{}
	}
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkGocql is the same through the Go driver, 64 in flight.
func BenchmarkGocql(b *testing.B) {
	_, addr := startOn(b, Options{Engine: newSystemEngine(driverAddress)}, driverAddress+":0")
	cluster := gocql.NewCluster(driverAddress)
	_, port, _ := net.SplitHostPort(addr)
	cluster.Port, _ = strconv.Atoi(port)
	cluster.Logger = quiet{}
	session, err := cluster.CreateSession()
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	work := make(chan struct{}, 64)
	var owned sync.WaitGroup
	for range 64 {
		owned.Go(func() {
			for range work {
				if err := session.Query("INSERT INTO k.t (k, v) VALUES (?, ?)", "key", "value").Exec(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	before := cpuTime()
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	owned.Wait()
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}
