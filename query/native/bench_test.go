package native

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"nodedb/query"
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

// inlineEngine ends what it starts at once.
type inlineEngine struct{ fakeEngine }

func (e *inlineEngine) Start(_ context.Context, _ *query.Session, _ [16]byte, _ *query.Params, done func(*query.Result, error)) bool {
	done(void, nil)
	return true
}

// BenchmarkNullStarter is the same with an engine that starts EXECUTEs on the reader.
func BenchmarkNullStarter(b *testing.B) {
	_, addr := start(b, Options{Engine: &inlineEngine{}})
	c := dial(b, addr, wire.ClientOptions{})
	req := &wire.Execute{ID: make([]byte, 16), Params: wire.Params{Consistency: 1, Values: [][]byte{make([]byte, 8), make([]byte, 92)}}}
	benchmarkWindow(b, c, req, 64)
}

// groupEngine ends what waits in groups, as a commit log does: whatever came while the last group was ended.
type groupEngine struct {
	fakeEngine
	mu      sync.Mutex
	waiting []func(*query.Result, error)
	wake    chan struct{}
}

func newGroupEngine(b *testing.B) *groupEngine {
	e := &groupEngine{wake: make(chan struct{}, 1)}
	var owned sync.WaitGroup
	owned.Go(func() {
		var group []func(*query.Result, error)
		for range e.wake {
			runtime.Gosched()
			e.mu.Lock()
			group, e.waiting = e.waiting, group[:0]
			e.mu.Unlock()
			for _, done := range group {
				done(void, nil)
			}
		}
	})
	b.Cleanup(func() { close(e.wake); owned.Wait() })
	e.execute = func(context.Context, *query.Session, [16]byte, *query.Params) (*query.Result, error) {
		ended := make(chan struct{})
		e.add(func(*query.Result, error) { close(ended) })
		<-ended
		return void, nil
	}
	return e
}

func (e *groupEngine) add(done func(*query.Result, error)) {
	e.mu.Lock()
	e.waiting = append(e.waiting, done)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// groupStarter starts EXECUTEs.
type groupStarter struct{ *groupEngine }

func (e groupStarter) Start(_ context.Context, _ *query.Session, _ [16]byte, _ *query.Params, done func(*query.Result, error)) bool {
	e.add(done)
	return true
}

// BenchmarkGroup is what waiting costs: each request waits for a group, on a worker of its own or on none.
func BenchmarkGroup(b *testing.B) {
	for name, engine := range map[string]func(*groupEngine) Engine{
		"workers": func(e *groupEngine) Engine { return e }, "starter": func(e *groupEngine) Engine { return groupStarter{e} },
	} {
		b.Run(name, func(b *testing.B) {
			_, addr := start(b, Options{Engine: engine(newGroupEngine(b))})
			c := dial(b, addr, wire.ClientOptions{})
			req := &wire.Execute{ID: make([]byte, 16), Params: wire.Params{Consistency: 1, Values: [][]byte{make([]byte, 8), make([]byte, 92)}}}
			benchmarkWindow(b, c, req, 64)
		})
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

// keyed is an EXECUTE with another key each time: a bigint below 100,000.
type keyed struct {
	*wire.Execute
	key []byte
}

func (k keyed) AppendBody(dst []byte, v wire.Version) []byte {
	binary.BigEndian.PutUint64(k.key, rand.Uint64N(100_000))
	return k.Execute.AppendBody(dst, v)
}

// BenchmarkReal is the whole node but its peers: prepared INSERT and SELECT of one row through engine and storage on a real disk, synced, 64 in flight.
func BenchmarkReal(b *testing.B) {
	_, addr := startReal(b, "127.3.9.7")
	c := dial(b, addr, wire.ClientOptions{})
	for _, cql := range []string{
		"CREATE KEYSPACE b WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "CREATE TABLE b.t (k bigint PRIMARY KEY, v blob)",
	} {
		if _, err := c.Query(b.Context(), cql, nil); err != nil {
			b.Fatal(err)
		}
	}
	for _, cql := range []string{"INSERT INTO b.t (k, v) VALUES (?, ?)", "SELECT v FROM b.t WHERE k = ?"} {
		b.Run(cql[:6], func(b *testing.B) {
			st, err := c.Prepare(b.Context(), cql)
			if err != nil {
				b.Fatal(err)
			}
			values := [][]byte{make([]byte, 8), make([]byte, 100)}
			req := &wire.Execute{ID: st.ID, Params: wire.Params{Consistency: 1, Values: values[:len(st.Markers)]}}
			benchmarkWindow(b, c, keyed{req, values[0]}, 64)
		})
	}
}
