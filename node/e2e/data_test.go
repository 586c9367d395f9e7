package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nodedb/coordinator/consistency"
)

// TestCommitlogPeriodic: with commitlog_sync: periodic nodes take writes and have them all after they were drained, however long the period.
// That a write is acknowledged before it is synced is held by node/storage; here the setting, its flag and the two together.
func TestCommitlogPeriodic(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, map[string]string{"commitlog-sync": "periodic", "commitlog-sync-period": "1h"})
	start(t, c, c.Nodes...)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE ks"+simpleRF3, "CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
	var csv strings.Builder
	var want []string
	for i := range 2000 {
		fmt.Fprintf(&csv, "%d,v%d\n", i, i)
		want = append(want, fmt.Sprintf("%d|v%d", i, i))
	}
	loadRows(t, c.Nodes[0], "ks.t", "k,v\n"+csv.String())
	wantRows(t, ask(t, c.Nodes[1], consistency.Quorum, "SELECT k, v FROM ks.t"), want)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	start(t, c, c.Nodes...)
	for _, n := range c.Nodes {
		wantRows(t, ask(t, n, consistency.Quorum, "SELECT k, v FROM ks.t"), want)
	}
	kill(t, c.Nodes[2]) // what a killed process did not sync is on two other machines
	start(t, c, c.Nodes[2])
	wantRows(t, ask(t, c.Nodes[2], consistency.Quorum, "SELECT k, v FROM ks.t"), want)
	if out, status := run(t, nil, "start", "--commitlog-sync", "sometimes"); status != 64 || !strings.Contains(out, "batch or periodic") {
		t.Errorf("status %d: %s", status, out)
	}
}

// TestDataOfANewerVersionIsRefused: the directory's format file is what tells; nothing in the directory is touched.
func TestDataOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	exec1(t, dial(t, n), "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, v text)", "INSERT INTO ks.t (k, v) VALUES (1, 'kept')")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.Dir, "data", "store", "nodedb-format")
	ours, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ text, want string }{
		{"nodedb storage 99\n", "start the newer binary"},
		{"something else\n", "corrupt"},
	} {
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, status := run(t, nil, "start", "--listen", n.Address, "--data", filepath.Join(n.Dir, "data"))
		if status != 1 || !strings.Contains(out, tc.want) || !strings.Contains(out, file) {
			t.Errorf("%q: status %d: %s", tc.text, status, out)
		}
		if left, err := os.ReadFile(file); err != nil || string(left) != tc.text {
			t.Errorf("the format file is now %q, %v", left, err)
		}
	}
	if err := os.WriteFile(file, ours, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, c, n)
	wantRows(t, ask(t, n, consistency.One, "SELECT v FROM ks.t WHERE k = 1"), []string{"kept"})
}

// TestRow9AWipedNodeIsRefused: a machine that lost its data directory is another node. At the same address it may not take the old one's place
// unasked: it would answer reads with nothing. It says so and waits, and the cluster goes on.
func TestRow9AWipedNodeIsRefused(t *testing.T) {
	t.Parallel()
	began := begins()
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE w"+simpleRF3, "CREATE TABLE w.t (k int PRIMARY KEY, v text)",
		"INSERT INTO w.t (k, v) VALUES (1, 'one')")
	wiped := c.Nodes[1]
	kill(t, wiped)
	if err := os.RemoveAll(filepath.Join(wiped.Dir, "data")); err != nil {
		t.Fatal(err)
	}
	const members = "SELECT peer, host_id FROM system.peers"
	before := ask(t, c.Nodes[0], consistency.One, members)
	if err := wiped.Launch(); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, deadline(t, wait), wiped, "the address belongs to another host id; replace or remove that node first ("+wiped.Address+" is ")
	for i, n := range []int{0, 2} {
		exec1(t, dial(t, c.Nodes[n]), fmt.Sprintf("INSERT INTO w.t (k, v) VALUES (%d, 'more')", 10+i),
			fmt.Sprintf("CREATE TABLE w.after%d (k int PRIMARY KEY)", i))
		if got := ask(t, c.Nodes[n], consistency.Quorum, "SELECT v FROM w.t WHERE k = 1"); len(got) != 1 || got[0] != "one" {
			t.Errorf("through node %d: %v", n+1, got)
		}
	}
	wantRows(t, ask(t, c.Nodes[0], consistency.One, members), before)
	if _, err := tryAsk(t, wiped, consistency.One, "SELECT v FROM w.t"); err == nil {
		t.Error("the wiped node answers requests")
	}
	kill(t, wiped) // fails if it has ended
	report(t, 9, began, "refused until it is replaced; the others go on")
}
