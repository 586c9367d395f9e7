package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

// TestGrowFromOne is the most usual way to grow: one node with a keyspace that asks for three replicas, then two more nodes.
func TestGrowFromOne(t *testing.T) {
	c := startCluster(t, 1)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
	for i := range 200 {
		exec1(t, client, fmt.Sprintf("INSERT INTO ks.t (k, v) VALUES (%d, 'v')", i))
	}
	ctx := deadline(t, time.Minute)
	for want := 2; want <= 3; want++ {
		if _, err := c.Add(ctx); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes {
			allUp(t, ctx, n, want)
		}
	}
	if err := c.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	allUp(t, ctx, c.Nodes[1], 2)
	rows, err := proc.Ask(ctx, dial(t, c.Nodes[2]), consistency.Quorum, "SELECT count(*) FROM ks.t")
	if err != nil || len(rows) != 1 || rows[0] != "200" {
		t.Errorf("without the first node: %v, %v; want 200 rows", rows, err)
	}
}

// TestADeadJoinerCanBeRemoved: a node that died while it joined holds the next one up until it is removed.
func TestADeadJoinerCanBeRemoved(t *testing.T) {
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
	ctx := deadline(t, time.Minute)
	joiner, err := c.Add(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Nodes[0].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var id, state string
	for _, n := range s.Nodes {
		if n.Address == joiner.Address {
			id, state = n.HostID, n.State
		}
	}
	if err := joiner.Kill(); err != nil {
		t.Fatal(err)
	}
	// Whether it was caught on the way or had just finished, the answer has to be the right one.
	out, status := run(t, nil, "remove", id, c.Nodes[0].Address)
	switch {
	case status == 0:
		if strings.Contains(out, joiner.Address) {
			t.Errorf("removed, and still there: %s", out)
		}
	case !strings.Contains(out, "has to leave first"):
		t.Errorf("remove of a node that was %s: status %d: %s", state, status, out)
	}
	if out, status := run(t, nil, "remove", "not-a-host-id", c.Nodes[0].Address); status != 1 || !strings.Contains(out, "want a UUID") {
		t.Errorf("status %d: %s", status, out)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.Nodes[0].URL("/v1/ring/"+id), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 || resp.StatusCode >= 500 {
		t.Errorf("PATCH: %s", resp.Status)
	}
}

// TestReplicationOfTablesStays: other owners would not have the data.
func TestReplicationOfTablesStays(t *testing.T) {
	c := startCluster(t, 3)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"ALTER KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, v text)",
		"ALTER KEYSPACE ks WITH durable_writes = true")
	_, err := client.Query(deadline(t, time.Minute), "ALTER KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}", nil)
	if err == nil || !strings.Contains(err.Error(), "does not move it") {
		t.Errorf("replication of a keyspace with a table: %v", err)
	}
}
