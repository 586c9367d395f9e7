package e2e

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"nodedb/node"
	"nodedb/node/check"
	"nodedb/node/proc"
)

// perKill is how many writes are acknowledged between two kills: a million over FAULTS.md's 300.
const perKill = 3400

// newWorkload makes a table with three replicas and a workload on it.
func newWorkload(t *testing.T, c *proc.Cluster) *proc.Workload {
	t.Helper()
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE chaos WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
	w := &proc.Workload{Table: "chaos.writes", Nodes: c.Nodes, Writers: 3, Window: 64}
	if err := w.Setup(deadline(t, time.Minute), client); err != nil {
		t.Fatal(err)
	}
	return w
}

// verify reads everything through every node and gives how many acknowledged writes are lost.
func verify(t *testing.T, c *proc.Cluster, w *proc.Workload) (lost int) {
	t.Helper()
	for _, n := range c.Nodes {
		missing, examples, err := w.Verify(deadline(t, 10*time.Minute), n)
		if err != nil {
			t.Fatal(err)
		}
		if missing > 0 {
			t.Errorf("through node %d: %d acknowledged writes are lost, for example %v", n.Index, missing, examples)
		}
		lost = max(lost, missing)
	}
	return lost
}

// allUp waits until a node sees every node up.
func allUp(t *testing.T, ctx context.Context, n *proc.Node, count int) {
	t.Helper()
	err := n.Await(ctx, func(s node.Status) bool {
		up := 0
		for i := range s.Nodes {
			if s.Nodes[i].State == "up" {
				up++
			}
		}
		return up == count
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRow1KillOne: kill -9 of one random node, again and again, under writes at QUORUM through all nodes, and under the suite of package check.
func TestRow1KillOne(t *testing.T) {
	began, rounds := begins(), count(3, 300)
	c := startCluster(t, 4) // one more than replicas: coordinators that own nothing, too
	w := newWorkload(t, c)
	s := startSuite(t, c, check.Options{Think: 20 * time.Millisecond})
	w.Start(context.Background())
	for i := range rounds {
		victim := c.Nodes[rand.IntN(len(c.Nodes))]
		ctx := deadline(t, 2*time.Minute)
		if err := w.AwaitAcked(ctx, perKill); err != nil {
			t.Fatal(err)
		}
		kill(t, victim)
		if err := w.AwaitAcked(ctx, perKill/10); err != nil {
			t.Fatalf("round %d: with node %d down: %v", i+1, victim.Index, err)
		}
		start(t, c, victim)
	}
	w.Stop()
	suite := s.finish()
	lost := verify(t, c, w)
	acked, unknown := w.Counts()
	report(t, 1, began, "%d kills, %d acks, %d unknown, %d lost; %s", rounds, acked, unknown, lost, suite)
}

// TestRow2KillAll: kill -9 of all nodes at once, under writes.
func TestRow2KillAll(t *testing.T) {
	began, rounds := begins(), count(2, 100)
	c := startCluster(t, 3)
	w := newWorkload(t, c)
	s := startSuite(t, c, check.Options{Think: 20 * time.Millisecond})
	for range rounds {
		w.Start(context.Background())
		if err := w.AwaitAcked(deadline(t, 2*time.Minute), perKill); err != nil {
			t.Fatal(err)
		}
		kill(t, c.Nodes...)
		w.Stop()
		start(t, c, c.Nodes...)
	}
	suite := s.finish()
	lost := verify(t, c, w)
	acked, unknown := w.Counts()
	report(t, 2, began, "%d rounds, %d acks, %d unknown, %d lost; %s", rounds, acked, unknown, lost, suite)
}
