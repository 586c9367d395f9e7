package e2e

import (
	"context"
	"flag"
	"testing"
	"time"

	"nodedb/node/proc"
)

var hintWrites = flag.Int64("hints", 0, "writes while a node is down, for TestRow25MillionHints; 0: a share of a million, by -campaign")

// probePace is how often each probe asks while hints are replayed.
const probePace = 5 * time.Millisecond

// TestRow25MillionHints: a node is down during a million writes, then back. How long from its start until the hints are delivered, and what that does to requests
// meanwhile, against requests before.
func TestRow25MillionHints(t *testing.T) {
	began, writes := begins(), *hintWrites
	if writes == 0 {
		campaignOnly(t, time.Minute)
		writes = int64(count(1, 1_000_000))
	}
	c := startCluster(t, 3)
	w := newWorkload(t, c)
	probes := newProbes(t, c, 0, 1)
	measure(probes, probePace, settle)
	before, failed := percentile(probes, 0.99), probes[0].fail+probes[1].fail
	kill(t, c.Nodes[2])
	w.Nodes = c.Nodes[:2]
	w.Start(context.Background())
	if err := w.AwaitAcked(deadline(t, time.Hour), writes); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	pending := pendingHints(t, c.Nodes[0])
	back := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		measureUntil(ctx, probes, probePace)
	}()
	start(t, c, c.Nodes[2])
	drained(t, deadline(t, time.Hour), c)
	took := time.Since(back)
	cancel()
	<-measured
	during := percentile(probes, 0.99)
	failed += probes[0].fail + probes[1].fail
	eventually(t, func() string {
		return not(replica(t, c.Nodes[2], "chaos", "writes") == replica(t, c.Nodes[0], "chaos", "writes"), "the node that was down to hold what the others do")
	})
	lost := verify(t, c, w)
	report(t, 25, began, "%d writes while a node was down, %d hints, delivered in %.1f s; foreground p99 %.1f ms before, %.1f ms during (%.2fx, %d requests), "+
		"%d failed; %d lost", writes, pending, took.Seconds(), ms(before), ms(during), float64(during)/float64(before),
		len(probes[0].latencies)+len(probes[1].latencies), failed, lost)
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
