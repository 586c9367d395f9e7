package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
)

// TestMemoryTableIsRefilled: a node that was killed gets a memory table's rows back from the other replicas; killed on all nodes the table is
// empty, works, and the logs say so loudly. A table on disk beside it keeps its rows throughout.
func TestMemoryTableIsRefilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	one, two, three := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	exec1(t, dial(t, one), "CREATE KEYSPACE m"+simpleRF3,
		"CREATE TABLE m.t (k int, c int, v text, PRIMARY KEY (k, c)) WITH memory = true",
		"CREATE TABLE m.disk (k int, c int, v text, PRIMARY KEY (k, c))")
	var before, after strings.Builder
	var rows []string
	for i := range 1200 {
		b := &before
		if i >= 1000 {
			b = &after // written while node 2 is down
		}
		fmt.Fprintf(b, "%d,%d,v%d\n", i%40, i, i)
		if i != 7 && i != 1007 {
			rows = append(rows, fmt.Sprintf("%d|%d|v%d", i%40, i, i))
		}
	}
	for _, table := range []string{"m.t", "m.disk"} {
		loadRows(t, one, table, "k,c,v\n"+before.String())
	}
	kill(t, two)
	client := dial(t, one)
	for _, table := range []string{"m.t", "m.disk"} {
		loadRows(t, one, table, "k,c,v\n"+after.String())
		exec1(t, client, "DELETE FROM "+table+" WHERE k = 7 AND c = 7", "DELETE FROM "+table+" WHERE k = 7 AND c = 1007")
	}
	start(t, c, two)
	for _, table := range []string{"t", "disk"} {
		eventually(t, func() string {
			a, b := replica(t, one, "m", table), replica(t, two, "m", table)
			if a.Digest != b.Digest {
				return fmt.Sprintf("%s: node 1 holds %+v, node 2 %+v", table, a, b)
			}
			return ""
		})
	}
	err := one.Await(deadline(t, wait), func(s node.Status) bool { // hints are on disk: those that are left would bring rows back
		for i := range s.Nodes {
			if s.Nodes[i].PendingHints > 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*proc.Node{one, three} { // what node 2 answers now is its own
		if err := n.Drain(); err != nil { // not killed: hints that were delivered a moment ago would be delivered again
			t.Fatal(err)
		}
	}
	for _, table := range []string{"m.t", "m.disk"} {
		wantRows(t, ask(t, two, consistency.One, "SELECT k, c, v FROM "+table), rows)
	}
	kill(t, two)
	start(t, c, c.Nodes...)
	for _, n := range c.Nodes {
		eventually(t, func() string { // a replica that isn't sure yet refuses reads
			got, err := tryAsk(t, n, consistency.Quorum, "SELECT k, c, v FROM m.t")
			if err == nil && len(got) > 0 {
				t.Fatalf("rows from nowhere through node %d: %q", n.Index, got)
			}
			if err != nil {
				return err.Error()
			}
			return ""
		})
		wantRows(t, ask(t, n, consistency.Quorum, "SELECT k, c, v FROM m.disk"), rows)
	}
	logs := readLog(t, one) + readLog(t, two) + readLog(t, three)
	if !strings.Contains(logs, "level=WARN msg=\"memory table starts EMPTY") { // from the first that was sure; the others took that over
		t.Error("no node warned that the table starts empty")
	}
	exec1(t, dial(t, three), "INSERT INTO m.t (k, c, v) VALUES (1, 2, 'again')")
	wantRows(t, ask(t, one, consistency.Quorum, "SELECT k, c, v FROM m.t"), []string{"1|2|again"})
}

// TestAnOrderedStartGetsPastMemoryTables: after all were killed, the nodes are started one by one, each once the one before it is ready.
func TestAnOrderedStartGetsPastMemoryTables(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE ks.m (k int PRIMARY KEY) WITH memory = true", "INSERT INTO ks.m (k) VALUES (1)")
	for _, n := range c.Nodes {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := deadline(t, time.Minute)
	for _, n := range c.Nodes {
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes {
		allUp(t, ctx, n, 3)
	}
}
