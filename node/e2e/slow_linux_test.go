package e2e

import (
	"fmt"
	"testing"
	"time"

	"nodedb/node/check"
	"nodedb/node/proc"
)

// noise is what a p99 may be whatever it was before: less says nothing on a machine with other work.
const noise = 20 * time.Millisecond

// slowSyncs lets every sync of a node take so much longer, from now on until the function that it gives is called. That strace stops the node at each
// system call makes it a slow node altogether.
func slowSyncs(t *testing.T, n *proc.Node, by time.Duration) (end func()) {
	t.Helper()
	x := inject(t, n, "fsync,fdatasync", fmt.Sprintf("delay_enter=%d", by.Microseconds()))
	return func() {
		x.detach()
		x.first(t)
	}
}

// besides measures requests through two nodes before and while the third one's disk is slow, and says by how much their p99 rose.
func besides(t *testing.T, row int, delay, lasts time.Duration, most float64) {
	t.Helper()
	began := begins()
	c := startCluster(t, 3)
	s := startSuite(t, c, check.Options{Think: 50 * time.Millisecond})
	probes := newProbes(t, c, 0, 1)
	measure(probes, probePace, settle)
	before := percentile(probes, 0.99)
	end := slowSyncs(t, c.Nodes[2], delay)
	injected := time.Now()
	pass(settle)
	measure(probes, probePace, settle)
	during, failed := percentile(probes, 0.99), probes[0].fail+probes[1].fail
	requests := len(probes[0].latencies) + len(probes[1].latencies)
	pass(time.Until(injected.Add(lasts)))
	end()
	if float64(during) > most*float64(before) && during > noise || failed > requests/100 {
		t.Errorf("p99 was %s before and is %s; %d of %d requests fail", before, during, failed, requests+failed)
	}
	for _, n := range c.Nodes {
		allUp(t, deadline(t, wait), n, len(c.Nodes))
	}
	text := s.finish()
	drained(t, deadline(t, time.Minute), c)
	report(t, row, began, "syncs of one node take %s longer: the others' p99 %.1f ms before, %.1f ms during (%.2fx), %d of %d failed; %s", delay, ms(before),
		ms(during), float64(during)/float64(before), failed, requests+failed, text)
}

// TestRow6DiskStalls: one node's disk syncs nothing for a minute. Ten seconds later requests through the others are as fast as before, within a factor of
// two.
func TestRow6DiskStalls(t *testing.T) {
	campaignOnly(t, 2*time.Minute)
	besides(t, 6, time.Minute, time.Minute+settle, 2)
}

// TestRow15SlowDisk: one node's syncs take 300 ms longer.
func TestRow15SlowDisk(t *testing.T) {
	campaignOnly(t, time.Minute)
	besides(t, 15, 300*time.Millisecond, 2*settle, 3)
}
