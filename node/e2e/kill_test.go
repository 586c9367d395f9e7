package e2e

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"nodedb/node"
	"nodedb/node/proc"
)

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

func verify(t *testing.T, c *proc.Cluster, w *proc.Workload) {
	t.Helper()
	acked, unknown := w.Counts()
	for _, n := range c.Nodes {
		lost, examples, err := w.Verify(deadline(t, 10*time.Minute), n)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("through node %d: %d acknowledged, %d unknown, %d lost", n.Index, acked, unknown, lost)
		if lost > 0 {
			t.Errorf("acknowledged writes are lost, for example %v", examples)
		}
	}
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

// TestKillOne is FAULTS.md row 1: kill -9 of one random node, again and again, under writes at QUORUM through all nodes.
func TestKillOne(t *testing.T) {
	rounds := 4
	if *kills > 0 {
		rounds = *kills
	}
	c := startCluster(t, 3)
	w := newWorkload(t, c)
	w.Start(context.Background())
	for i := range rounds {
		victim := c.Nodes[rand.IntN(len(c.Nodes))]
		ctx := deadline(t, 2*time.Minute)
		if err := w.AwaitAcked(ctx, *perOne); err != nil {
			t.Fatal(err)
		}
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := w.AwaitAcked(ctx, *perOne/10); err != nil {
			t.Fatalf("round %d: with node %d down: %v", i+1, victim.Index, err)
		}
		if err := victim.Start(ctx); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes {
			allUp(t, ctx, n, len(c.Nodes))
		}
	}
	w.Stop()
	verify(t, c, w)
}

// TestKillAll is FAULTS.md row 2: kill -9 of all nodes at once, under writes.
func TestKillAll(t *testing.T) {
	rounds := 2
	if *kills > 0 {
		rounds = max(1, *kills/5)
	}
	c := startCluster(t, 3)
	w := newWorkload(t, c)
	for range rounds {
		ctx := deadline(t, 2*time.Minute)
		w.Start(context.Background())
		if err := w.AwaitAcked(ctx, *perOne); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes {
			if err := n.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		w.Stop()
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes {
			allUp(t, ctx, n, len(c.Nodes))
		}
	}
	verify(t, c, w)
}
