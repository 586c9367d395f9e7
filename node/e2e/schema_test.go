package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

// sameSchema fails unless all nodes have one schema: in their own words, in their peers' words, and in the ids of a keyspace's tables, which it
// gives as name|id.
func sameSchema(t *testing.T, nodes []*proc.Node, keyspace string) []string {
	t.Helper()
	versions, tables := map[string]bool{}, map[string]bool{}
	var first []string
	for _, n := range nodes {
		for _, q := range []string{"SELECT schema_version FROM system.local", "SELECT schema_version FROM system.peers"} {
			for _, v := range ask(t, n, consistency.One, q) {
				versions[v] = true
			}
		}
		first = ask(t, n, consistency.One, "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = '"+keyspace+"'")
		slices.Sort(first)
		tables[strings.Join(first, "\n")] = true
	}
	if len(versions) != 1 || len(tables) != 1 {
		t.Errorf("schema versions %v; tables of %s: %v", versions, keyspace, tables)
	}
	return first
}

// TestSchemaChangesFromAllNodesAtOnce: one table made by all nodes at the same moment is one table; different tables are all there; every node
// says the same.
func TestSchemaChangesFromAllNodesAtOnce(t *testing.T) {
	t.Parallel()
	const each, races = 20, 5
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE s"+simpleRF3)
	var all sync.WaitGroup
	gate := make(chan struct{})
	for _, n := range c.Nodes {
		client := dial(t, n)
		all.Go(func() {
			<-gate
			for i := range each {
				if i < races {
					execIn(t, client, fmt.Sprintf("CREATE TABLE IF NOT EXISTS s.same%d (k int PRIMARY KEY, v text)", i))
				}
				execIn(t, client, fmt.Sprintf("CREATE TABLE s.n%d_%d (k int PRIMARY KEY, v text)", n.Index, i))
			}
		})
	}
	close(gate)
	all.Wait()
	tables := sameSchema(t, c.Nodes, "s")
	ids := map[string]bool{}
	for _, line := range tables {
		_, id, _ := strings.Cut(line, "|")
		ids[id] = true
	}
	if want := races + 3*each; len(tables) != want || len(ids) != want {
		t.Errorf("%d tables with %d ids, want %d: %v", len(tables), len(ids), want, tables)
	}
	for i, n := range c.Nodes { // a row through each, of a table made through the one before it
		table := fmt.Sprintf("s.n%d_%d", (i+2)%3+1, each-1)
		exec1(t, dial(t, n), "INSERT INTO "+table+" (k, v) VALUES (1, 'x')", fmt.Sprintf("INSERT INTO s.same0 (k, v) VALUES (%d, 'x')", i))
		wantRows(t, ask(t, c.Nodes[(i+1)%3], consistency.Quorum, "SELECT k, v FROM "+table), []string{"1|x"})
	}
	wantRows(t, ask(t, c.Nodes[0], consistency.Quorum, "SELECT k FROM s.same0"), []string{"0", "1", "2"})
}

// TestSchemaChangesWhileANodeIsDown: tables dropped, made anew, truncated and altered meanwhile. When the node is back its schema is current, and
// at ONE through it no row is seen that the others no longer have, at no moment.
func TestSchemaChangesWhileANodeIsDown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	one, two, three := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	client := dial(t, one)
	exec1(t, client, "CREATE KEYSPACE s"+simpleRF3)
	var csv strings.Builder
	for i := range 300 {
		fmt.Fprintf(&csv, "%d,old\n", i)
	}
	for _, table := range []string{"dropped", "again", "emptied", "altered"} {
		exec1(t, client, "CREATE TABLE s."+table+" (k int PRIMARY KEY, v text)")
		loadRows(t, one, "s."+table, "k,v\n"+csv.String())
	}
	for _, n := range c.Nodes { // the rows are on node 3 as well, or this test shows nothing
		eventually(t, func() string { return not(replica(t, n, "s", "again").Rows == 300, "300 rows on every node") })
	}
	kill(t, three)
	exec1(t, client, "DROP TABLE s.dropped", "DROP TABLE s.again", "CREATE TABLE s.again (k int PRIMARY KEY, v text)", "TRUNCATE s.emptied",
		"ALTER TABLE s.altered ADD w int", "UPDATE s.altered SET w = 5 WHERE k = 1")
	want := []string{"1|new", "1000|new"}
	for _, table := range []string{"s.again", "s.emptied"} {
		exec1(t, client, "INSERT INTO "+table+" (k, v) VALUES (1, 'new')", "INSERT INTO "+table+" (k, v) VALUES (1000, 'new')")
	}
	if err := three.Start(deadline(t, wait)); err != nil { // and asked at once, before anything has settled
		t.Fatal(err)
	}
	for _, q := range []string{"SELECT k, v FROM s.emptied", "SELECT k, v FROM s.again"} { // whoever asks first gets no old row either
		for _, r := range ask(t, three, consistency.One, q) {
			if !slices.Contains(want, r) {
				t.Fatalf("%s: the old row %q is seen", q, r)
			}
		}
	}
	for _, r := range ask(t, three, consistency.One, "SELECT k, v, w FROM s.altered WHERE k = 1") { // a hint may bring the 5 later
		if r != "1|old|5" && r != "1|old|null" {
			t.Errorf("altered: %s", r)
		}
	}
	for _, table := range []string{"s.again", "s.emptied"} {
		eventually(t, func() string {
			got := ask(t, three, consistency.One, "SELECT k, v FROM "+table)
			for _, r := range got {
				if !slices.Contains(want, r) {
					t.Fatalf("%s: the old row %q is seen", table, r)
				}
			}
			return not(len(got) == len(want), "the new rows of "+table+" through node 3")
		})
	}
	if _, err := tryAsk(t, three, consistency.One, "SELECT k FROM s.dropped"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a dropped table answers: %v", err)
	}
	allUp(t, deadline(t, wait), three, 3)
	if got := sameSchema(t, c.Nodes, "s"); len(got) != 3 {
		t.Errorf("tables: %v", got)
	}
	for _, table := range []string{"again", "emptied", "altered"} {
		eventually(t, func() string {
			return not(replica(t, three, "s", table) == replica(t, one, "s", table), "the same copy of "+table+" on nodes 1 and 3")
		})
	}
	kill(t, one, two) // node 3's own copy
	wantRows(t, ask(t, three, consistency.One, "SELECT k, v, w FROM s.altered WHERE k = 1"), []string{"1|old|5"})
	wantRows(t, ask(t, three, consistency.One, "SELECT k, v FROM s.again"), want)
	wantRows(t, ask(t, three, consistency.One, "SELECT k, v FROM s.emptied"), want)
}

// TestSlowNodeIsNamed: a schema change that a node doesn't apply in time is answered with a warning that names it; so is a TRUNCATE while a node is
// down.
func TestSlowNodeIsNamed(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE s"+simpleRF3, "CREATE TABLE s.t (k int PRIMARY KEY)")
	warnings := func(cql string) string {
		t.Helper()
		res, err := client.Query(deadline(t, wait), cql, nil)
		if err != nil {
			t.Fatalf("%s: %v", cql, err)
		}
		return strings.Join(res.Warnings, "\n")
	}
	if w := warnings("TRUNCATE s.t"); w != "" {
		t.Errorf("with all nodes up: %s", w)
	}
	three := c.Nodes[2]
	if err := syscall.Kill(three.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w := warnings("TRUNCATE s.t")
	if err := syscall.Kill(three.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w, "1 node has not applied it yet: "+three.Address) || !strings.Contains(w, "go with the old data") {
		t.Errorf("while node 3 stands still: %q", w)
	}
	kill(t, three)
	allUp(t, deadline(t, wait), c.Nodes[0], 2)
	if w := warnings("TRUNCATE s.t"); !strings.Contains(w, three.Address+" (down)") {
		t.Errorf("while node 3 is down: %q", w)
	}
	if w := warnings("ALTER TABLE s.t ADD v text"); w != "" {
		t.Errorf("nothing is lost by a new column while node 3 is down: %q", w)
	}
}
