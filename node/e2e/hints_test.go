package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"nodedb/node/proc"
)

var (
	hintWrites = flag.Int64("hints", 0, "writes while a node is down, for TestRow25MillionHints; 0: a share of a million, by -campaign")
	hintRate   = flag.Int("hints-rate", 700, "requests a second while hints are replayed, for TestRow25MillionHints")
)

const (
	// probePace is how often a probe asks.
	probePace = 5 * time.Millisecond
	// mostReplayCosts is what the p99 of requests may rise to while hints are replayed.
	mostReplayCosts = 2.0
	// steadyFor is how long requests are measured before the fault and after the replay.
	steadyFor = 15 * time.Second
	// foregroundRows is how many rows those requests read and write.
	foregroundRows = 10_000
)

// TestRow25MillionHints: a node is down during a million writes, then back. Requests go on at a steady rate, half reads and half writes at QUORUM through the two
// nodes that hold the hints: the p99 from the start of the node until its hints are delivered may be twice that before. A latency counts from when its
// request was due. With the rate that is the default, the machine this was made on (2 cores for three nodes and the client) is half idle before.
//
//	go test ./node/e2e -timeout 0 -run TestRow25 -hints 1000000 -v
func TestRow25MillionHints(t *testing.T) {
	began, writes := begins(), *hintWrites
	if writes == 0 {
		campaignOnly(t, 2*time.Minute)
		writes = int64(count(1, 1_000_000))
	}
	c := startCluster(t, 3)
	w := newWorkload(t, c)
	l := newForeground(t, c)
	before := l.phase("before", steadyFor)
	kill(t, c.Nodes[2])
	w.Nodes = c.Nodes[:2]
	w.Start(context.Background())
	if err := w.AwaitAcked(deadline(t, time.Hour), writes); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	l.phase("down", steadyFor/3) // and storage gets over the writes
	pending := pendingHints(t, c.Nodes[0])
	back := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	measured := make(chan half)
	go func() { measured <- l.phaseUntil(ctx, "during") }()
	start(t, c, c.Nodes[2])
	drained(t, deadline(t, time.Hour), c)
	took := time.Since(back)
	cancel()
	during := <-measured
	after := l.phase("after", steadyFor)
	eventually(t, func() string {
		return not(replica(t, c.Nodes[2], "chaos", "writes") == replica(t, c.Nodes[0], "chaos", "writes"), "the node that was down to hold what the others do")
	})
	lost := verify(t, c, w)
	ratio := float64(during.p99()) / float64(before.p99())
	failed := before.failed + during.failed + after.failed
	if ratio > mostReplayCosts || failed > 0 {
		t.Errorf("the p99 of requests is %.2f times what it was, at most %.1f is wanted; %d requests failed", ratio, mostReplayCosts, failed)
	}
	report(t, 25, began, "%d writes while a node was down, %d hints, delivered in %.1f s; foreground p99 %.1f ms before, %.1f ms during (%.2fx, %d requests), "+
		"%.1f ms after, %d failed; %d lost", writes, pending, took.Seconds(), ms(before.p99()), ms(during.p99()), ratio, len(during.latencies), ms(after.p99()), failed, lost)
}

// foreground is the requests that hints make way for.
type foreground struct {
	*steadyLoad
	t *testing.T
	c *proc.Cluster
}

// newForeground makes its table and fills it, and lets the nodes warm up.
func newForeground(t *testing.T, c *proc.Cluster) *foreground {
	t.Helper()
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE fg"+simpleRF3, "CREATE TABLE fg.t (k bigint PRIMARY KEY, v text)")
	var csv strings.Builder
	csv.WriteString("k,v\n")
	for n := range foregroundRows {
		fmt.Fprintf(&csv, "%d,%s\n", n, loadedValue)
	}
	loadRows(t, c.Nodes[0], "fg.t", csv.String())
	l := &foreground{newSteadyLoad(t, c.Nodes[:2], "fg.t", foregroundRows, *hintRate), t, c}
	t.Cleanup(l.close)
	l.run(warmUp)
	return l
}

// phase asks for so long.
func (l *foreground) phase(name string, long time.Duration) half {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	return l.phaseUntil(ctx, name)
}

// phaseUntil asks until the context ends, and prints what came of it.
func (l *foreground) phaseUntil(ctx context.Context, name string) (p half) {
	begun := time.Now()
	busy, all := machineTicks()
	p.latencies, p.failed = l.runUntil(ctx)
	busyNow, allNow := machineTicks()
	if len(p.latencies) == 0 {
		l.t.Errorf("%s: no request was answered, %d failed", name, p.failed)
		p.latencies = []time.Duration{0}
	}
	l.t.Logf("%-6s %5.1f s: %d requests, %d failed, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms; the machine is %.0f%% busy", name, time.Since(begun).Seconds(),
		len(p.latencies), p.failed, ms(p.at(0.5)), ms(p.p99()), ms(p.at(0.999)), 100*(busyNow-busy)/max(1, allNow-all))
	return p
}

// machineTicks is how much processor time all processes of the machine have used, and how much there was; 0 where it has no /proc.
func machineTicks() (busy, all float64) {
	raw, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	for i := 1; i < len(fields); i++ {
		n, _ := strconv.ParseFloat(fields[i], 64)
		all += n
		if i != 4 && i != 5 { // idle, and idle while a disk works
			busy += n
		}
	}
	return busy, all
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pendingHints is how many hints wait on all nodes together.
func pendingHints(t *testing.T, n *proc.Node) (count int64) {
	t.Helper()
	s, err := n.Status(deadline(t, wait))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Nodes {
		count += s.Nodes[i].PendingHints
	}
	return count
}
