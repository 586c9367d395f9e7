package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/check"
	"nodedb/node/proc"
)

const (
	// settle is how long a cluster may take until requests fare as FAULTS.md says of a partition; then it is measured for as long.
	settle = 10 * time.Second
	// rejoin is how long it may take until all see each other after a cut was healed.
	rejoin = 30 * time.Second
)

// arrow is a direction in which nothing gets through, by indexes of nodes.
type arrow struct{ from, to int }

// cut drops all packets that go along the arrows, and only those.
func cut(t *testing.T, c *proc.Cluster, arrows ...arrow) {
	t.Helper()
	nft(t, "add table ip cut", "add chain ip cut in { type filter hook input priority 0; policy accept; }", "flush chain ip cut in")
	for _, a := range arrows {
		nft(t, fmt.Sprintf("add rule ip cut in ip saddr %s ip daddr %s drop", c.Nodes[a.from].Address, c.Nodes[a.to].Address))
	}
}

// between are all arrows between a group of nodes and the others.
func between(nodes int, group ...int) (out []arrow) {
	for _, g := range group {
		for other := range nodes {
			if !slices.Contains(group, other) {
				out = append(out, arrow{g, other}, arrow{other, g})
			}
		}
	}
	return out
}

// heal lets everything through again, and waits until all nodes see each other; it gives how long that took.
func heal(t *testing.T, c *proc.Cluster) time.Duration {
	t.Helper()
	cut(t, c)
	began := time.Now()
	ctx := deadline(t, rejoin)
	for _, n := range c.Nodes {
		allUp(t, ctx, n, len(c.Nodes))
	}
	return time.Since(began)
}

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
	slowest    time.Duration
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

// percentile of the latencies of requests that were done.
func (p *probe) percentile(share float64) time.Duration {
	if len(p.latencies) == 0 {
		return 0
	}
	sorted := slices.Clone(p.latencies)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
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
	var all sync.WaitGroup
	for _, p := range probes {
		p.done, p.fail, p.latencies = 0, 0, nil
		all.Go(func() { p.run(ctx, pace) })
	}
	all.Wait()
}

// TestRow10Partition cuts one of three nodes off, again and again. Ten seconds later the majority answers 99 of 100 requests; through the minority no
// request at QUORUM is acknowledged that was sent after the cut; nothing is lost.
func TestRow10Partition(t *testing.T) {
	campaignOnly(t, 40*time.Second)
	t.Parallel()
	if !isolated(t) {
		return
	}
	began, rounds := begins(), count(1, 10)
	c := startCluster(t, 3)
	s := startSuite(t, c, check.Options{Think: 20 * time.Millisecond})
	worst, acked, slowest := 1.0, 0, time.Duration(0)
	for round := range rounds {
		lonely := round % 3
		majority := newProbes(t, c, (lonely+1)%3, (lonely+2)%3)
		minority := newProbes(t, c, lonely)
		cut(t, c, between(3, lonely)...)
		measure(minority, 50*time.Millisecond, settle)
		acked += minority[0].done
		measure(append(majority, minority...), 20*time.Millisecond, settle)
		acked += minority[0].done
		for _, p := range majority {
			worst = min(worst, float64(p.done)/float64(p.done+p.fail))
		}
		slowest = max(slowest, heal(t, c))
	}
	if worst < 0.99 {
		t.Errorf("the majority answers only %.2f%%", 100*worst)
	}
	if acked > 0 {
		t.Errorf("%d requests were acknowledged at QUORUM through the minority", acked)
	}
	text := s.finish()
	drained(t, deadline(t, time.Minute), c)
	report(t, 10, began, "%d cuts: majority answers %.2f%%, minority acknowledges %d, all see each other %.1f s after the healing at the latest; %s", rounds,
		100*worst, acked, slowest.Seconds(), text)
}

// TestRow11OneWay cuts single directions: one, a ring of them, and two nodes from each other while a third, the bridge, sees both. Once it is healed
// all see each other within 30 s, and nothing is lost.
func TestRow11OneWay(t *testing.T) {
	campaignOnly(t, 3*time.Minute)
	t.Parallel()
	if !isolated(t) {
		return
	}
	began, rounds := begins(), count(1, 10)
	kinds := []struct {
		name   string
		arrows []arrow
	}{
		{"one way", []arrow{{0, 1}}},
		{"ring", []arrow{{0, 1}, {1, 2}, {2, 0}}},
		{"bridge", []arrow{{0, 1}, {1, 0}}},
		{"deaf", []arrow{{0, 2}, {1, 2}}},
		{"mute", []arrow{{2, 0}, {2, 1}}},
	}
	c := startCluster(t, 3)
	s := startSuite(t, c, check.Options{Think: 20 * time.Millisecond})
	slowest := time.Duration(0)
	var names []string
	for round := range rounds {
		for _, k := range kinds {
			if round == 0 {
				names = append(names, k.name)
			}
			turned := slices.Clone(k.arrows)
			for i := range turned {
				turned[i] = arrow{(turned[i].from + round) % 3, (turned[i].to + round) % 3}
			}
			cut(t, c, turned...)
			pass(settle)
			slowest = max(slowest, heal(t, c))
		}
	}
	text := s.finish()
	drained(t, deadline(t, time.Minute), c)
	report(t, 11, began, "%d times each of %s: all see each other %.1f s after the healing at the latest; %s", rounds, strings.Join(names, ", "),
		slowest.Seconds(), text)
}
