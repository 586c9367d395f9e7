package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/check"
	"nodedb/node/proc"
)

// drained waits until no node holds hints for another.
func drained(t *testing.T, ctx context.Context, c *proc.Cluster) {
	t.Helper()
	err := c.Nodes[0].Await(ctx, func(s node.Status) bool {
		for i := range s.Nodes {
			if s.Nodes[i].PendingHints > 0 || s.Nodes[i].State != "up" {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// probe asks through one node, at a steady pace, and counts.
type probe struct {
	client     check.Client
	statement  func(i int) *check.Statement
	done, fail int
	latencies  []time.Duration
}

// run asks every pace until the context ends; a request isn't sent before the last one's answer.
func (p *probe) run(ctx context.Context, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
		began := time.Now()
		if r := p.client.Run(own, p.statement(i)); r.Outcome == check.Done {
			p.done++
			p.latencies = append(p.latencies, time.Since(began))
		} else {
			p.fail++
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// percentile of the latencies of the probes' requests that were done.
func percentile(probes []*probe, share float64) time.Duration {
	var all []time.Duration
	for _, p := range probes {
		all = append(all, p.latencies...)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(share*float64(len(all))))]
}

// quorumMix writes and reads at QUORUM, half and half, keys of its own.
func quorumMix(table string, keys int) func(i int) *check.Statement {
	return func(i int) *check.Statement {
		k := i / 2 % keys
		text := fmt.Sprintf("INSERT INTO %s (k, v) VALUES (%d, 'probe %d')", table, k, i)
		if i%2 == 1 {
			text = fmt.Sprintf("SELECT v FROM %s WHERE k = %d", table, k)
		}
		return &check.Statement{CQL: text, Level: consistency.Quorum}
	}
}

// newProbes makes a table and a probe through each of the nodes.
func newProbes(t *testing.T, c *proc.Cluster, nodes ...int) []*probe {
	t.Helper()
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE IF NOT EXISTS probe"+simpleRF3, "CREATE TABLE IF NOT EXISTS probe.t (k int PRIMARY KEY, v text)")
	var out []*probe
	for _, i := range nodes {
		through := c.Nodes[i].Through()
		t.Cleanup(through.Close)
		out = append(out, &probe{client: through, statement: quorumMix("probe.t", 500)})
	}
	return out
}

// measure runs probes side by side for so long.
func measure(probes []*probe, pace, long time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	measureUntil(ctx, probes, pace)
}

// measureUntil runs probes side by side until the context ends.
func measureUntil(ctx context.Context, probes []*probe, pace time.Duration) {
	var all sync.WaitGroup
	for _, p := range probes {
		p.done, p.fail, p.latencies = 0, 0, nil
		all.Go(func() { p.run(ctx, pace) })
	}
	all.Wait()
}
