//go:debug randseednop=0

package gossip

import (
	"flag"
	"fmt"
	"math/rand"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/rpc/simnet"
)

// oddTiming gives node i's intervals nanoseconds of their own: timers of one virtual instant fire in random order, so
// that none may meet.
func oddTiming(t Timing, i int) Timing {
	t.setDefaults()
	odd := time.Duration(2*i + 1)
	t.Probe += 1009 * odd
	t.ProbeTimeout += 1013 * odd
	t.Gossip += 1019 * odd
	t.PushPull += 1021 * odd
	t.Rejoin += 1031 * odd
	t.Stream += 1033 * odd
	return t
}

// aWhile runs five nodes over a bad network, and gives what was sent, and what came of it, in order.
func aWhile(t *testing.T, seed int64) string {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines that start together draw in one order
	rand.Seed(seed)                                 // memberlist draws from the global source
	var log strings.Builder
	o := simnet.Options{Seed: uint64(seed), Faults: simnet.Faults{Drop: 0.05, Duplicate: 0.01, MinDelay: time.Millisecond, MaxDelay: 30 * time.Millisecond}}
	o.Observe = func(d simnet.Delivery) { fmt.Fprintln(&log, d.At.UnixNano(), d.From, d.To, d.Size, d.Fate) }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 5, o)
		for i := 1; i <= 5; i++ {
			b.start(i, func(o *Options) { o.Timing = oddTiming(o.Timing, i); o.Generation = uint64(i) })
			time.Sleep(time.Duration(7*i) * time.Millisecond)
		}
		time.Sleep(*while)
		b.end()
	})
	return log.String()
}

// while is how long each run of TestSameSeedSameHistory is, in virtual time. Off by default: other tests' goroutines
// draw from the global source too, and where the machine is busy, goroutines that start together change places.
var while = flag.Duration("while", 0, "virtual time of TestSameSeedSameHistory, e.g. 1h; run it alone")

// DESIGN.md section 7: the same seed gives the same history, as long as nobody is declared dead: memberlist's suspicion
// ends at the very instant of a probe.
func TestSameSeedSameHistory(t *testing.T) {
	if *while == 0 {
		t.Skip("go test ./gossip -run SameSeed -while 1h")
	}
	first, second := aWhile(t, 1), aWhile(t, 1)
	if first != second {
		x, y := strings.Split(first, "\n"), strings.Split(second, "\n")
		for i := range x {
			if i >= len(y) || x[i] != y[i] {
				t.Fatalf("two histories of one seed: line %d of %d and %d is %q and %q", i, len(x), len(y), x[i], y[min(i, len(y)-1)])
			}
		}
		t.Fatal("the second goes on")
	}
	t.Logf("%d packets and segments", strings.Count(first, "\n"))
	if third := aWhile(t, 2); third == first {
		t.Error("another seed, the same history")
	}
}
