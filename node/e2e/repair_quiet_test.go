package e2e

import (
	"flag"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

var (
	quietRows = flag.Int("quiet-rows", 0, "TestRepairQuiet: rows of the table (0: not run)")
	quietLong = flag.Duration("quiet-for", time.Minute, "TestRepairQuiet: how long each setting is measured")
)

// Three nodes with data and without requests: the processor time of each with comparison off, at the default target and at 30 s.
//
//	go test ./node/e2e -timeout 0 -run TestRepairQuiet -quiet-rows 1000000 -v
func TestRepairQuiet(t *testing.T) {
	if *quietRows == 0 {
		t.Skip("a measurement of about 5 minutes: -quiet-rows 1000000")
	}
	c := newCluster(t, 3, map[string]string{"commitlog-sync": "periodic"})
	maps.Copy(c.Flags, notComparing)
	start(t, c, c.Nodes...)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE big"+simpleRF3, "CREATE TABLE big.t (k bigint PRIMARY KEY, v text)")
	var csv strings.Builder
	csv.WriteString("k,v\n")
	for n := range *quietRows {
		fmt.Fprintf(&csv, "%d,%s\n", n, loadedValue)
	}
	loadRows(t, c.Nodes[0], "big.t", csv.String())
	for _, setting := range []struct {
		name  string
		flags map[string]string
	}{
		{"off", notComparing},
		{"24h, the default", map[string]string{"anti-entropy-target": defaultTarget.String(), "anti-entropy-grace": "1s"}},
		{"30s", map[string]string{"anti-entropy-target": "30s", "anti-entropy-grace": "1s"}},
	} {
		measureQuiet(t, c, setting.name, setting.flags)
	}
}

// measureQuiet starts the nodes anew with a setting and, once they have compared everything as nodes do that come up, measures them.
func measureQuiet(t *testing.T, c *proc.Cluster, name string, flags map[string]string) {
	t.Helper()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	maps.Copy(c.Flags, flags)
	start(t, c, c.Nodes...)
	const sessions, scanned = "nodedb_anti_entropy_sessions_total", "nodedb_anti_entropy_scanned_bytes_total"
	if name != "off" {
		eventually(t, func() string { return not(counter(t, c, sessions) > 0, "no range is compared") })
		ranges := len(ask(t, c.Nodes[0], consistency.One, "SELECT table_name FROM system_views.anti_entropy"))
		eventually(t, func() string { return not(counter(t, c, sessions) >= float64(ranges), "not all ranges are compared") })
	}
	before, done, read := cpuOf(t, c), counter(t, c, sessions), counter(t, c, scanned)
	<-deadline(t, *quietLong).Done()
	cpu := cpuOf(t, c) - before
	t.Logf("anti_entropy_target %s: %s of CPU in %s on three nodes together, %.2f%% of one core each; %d comparisons of a range read %.1f MiB where they were driven; %d rows",
		name, cpu, *quietLong, 100*cpu.Seconds()/quietLong.Seconds()/float64(len(c.Nodes)), int(counter(t, c, sessions)-done), (counter(t, c, scanned)-read)/(1<<20), *quietRows)
}
