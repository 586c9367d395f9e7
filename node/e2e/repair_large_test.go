package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nodedb/node/proc"
)

var repairRows = flag.Int("rows", 0, "TestRepairLarge: rows of the table, of which one in a hundred is made different (0: not run)")

// cpuTicks is the processor time that a process has used, in ticks of 10 ms.
func cpuTicks(t *testing.T, n *proc.Node) (ticks int64) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+2:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return user + system
}

func cpuOf(t *testing.T, c *proc.Cluster) (total time.Duration) {
	for _, n := range c.Nodes {
		total += time.Duration(cpuTicks(t, n)) * 10 * time.Millisecond
	}
	return total
}

// Three nodes, many rows, one in a hundred missed by the third: what a repair exchanges against what differs, how long until a verification finds nothing, and
// what the always-on comparison costs while nothing differs.
//
//	go test ./node/e2e -timeout 0 -run TestRepairLarge -rows 5000000 -v
func TestRepairLarge(t *testing.T) {
	if *repairRows == 0 {
		t.Skip("a measurement: -rows 5000000")
	}
	c := newCluster(t, 3, map[string]string{"max-hints-size-per-host": "1B", "anti-entropy-grace": "24h", "anti-entropy-throttle": "0", "commitlog-sync": "periodic"})
	start(t, c, c.Nodes...)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE big WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE big.t (k bigint PRIMARY KEY, v text)")
	value := strings.Repeat("0123456789", 10)
	load := func(rows, each int, version string) {
		name := filepath.Join(t.TempDir(), "rows.csv")
		var b []byte
		b = append(b, "k,v\n"...)
		for n := 0; n < rows; n += each {
			b = fmt.Appendf(b, "%d,%s%s\n", n, version, value)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "load", name, "--table", "big.t", c.Nodes[0].Address)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("load: %v\n%s", err, out)
		}
	}
	begun := time.Now()
	load(*repairRows, 1, "a")
	t.Logf("%d rows of %d bytes loaded in %s", *repairRows, len(value)+1+8, time.Since(begun).Round(time.Second))
	runRepair(t, c, "--now")
	idle := cpuOf(t, c)
	begun = time.Now()
	runRepair(t, c, "--now")
	t.Logf("a comparison of all ranges, all equal: %s of CPU on all nodes together, in %s; at one a day that is %.4f%% of a core",
		cpuOf(t, c)-idle, time.Since(begun).Round(time.Millisecond), 100*(cpuOf(t, c)-idle).Seconds()/86400)
	kill(t, c.Nodes[2])
	load(*repairRows, 100, "b")
	start(t, c, c.Nodes[2])
	differing := *repairRows / 100
	begun = time.Now()
	runRepair(t, c, "--now")
	t.Logf("repaired %d rows (%d bytes of values and keys) in %s", differing, differing*(len(value)+1+8), time.Since(begun).Round(time.Millisecond))
	if out := runRepair(t, c, "--verify"); !strings.Contains(out, "the replicas are equal") {
		t.Error(out)
	}
	t.Logf("and verified %s after the repair began", time.Since(begun).Round(time.Millisecond))
}

func runRepair(t *testing.T, c *proc.Cluster, how string) string {
	t.Helper()
	out, errs, status := repairRun(t, "big.t", how, c.Nodes[0].Address)
	if status != 0 {
		t.Fatalf("%s exits %d\n%s%s", how, status, out, errs)
	}
	t.Log(how, ": ", strings.TrimSpace(out))
	return out
}
