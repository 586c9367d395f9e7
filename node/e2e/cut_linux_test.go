package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
