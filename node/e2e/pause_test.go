package e2e

import (
	"context"
	"testing"
	"time"

	"nodedb/node/check"
)

// pauses are how long nodes are stopped, in turn: FAULTS.md says 1 to 60 s.
var pauses = []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, 60 * time.Second, 2 * time.Second, 10 * time.Second}

// TestRow14Pause stops one node (SIGSTOP) for 1 to 60 seconds while writes go on: whoever was asked through it, and whatever it answers when it wakes
// up, nothing acknowledged is lost.
func TestRow14Pause(t *testing.T) {
	t.Parallel()
	began, rounds := begins(), count(1, 18)
	c := startCluster(t, 4)
	w := newWorkload(t, c)
	s := startSuite(t, c, check.Options{Think: 10 * time.Millisecond})
	w.Start(context.Background())
	longest := time.Duration(0)
	for round := range rounds {
		victim, long := c.Nodes[round%len(c.Nodes)], pauses[round%len(pauses)]
		longest = max(longest, long)
		if err := victim.Pause(); err != nil {
			t.Fatal(err)
		}
		pass(long)
		if err := victim.Resume(); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes {
			allUp(t, deadline(t, wait), n, len(c.Nodes))
		}
	}
	w.Stop()
	suite := s.finish()
	lost := verify(t, c, w)
	acked, unknown := w.Counts()
	report(t, 14, began, "%d pauses up to %s: %d acks, %d unknown, %d lost; %s", rounds, longest, acked, unknown, lost, suite)
}
