package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
)

// repairRun runs `nodedb repair` without a terminal.
func repairRun(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, 2*wait), binary, append([]string{"repair"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// missed starts three nodes that keep no hints, and has the third miss rows of every kind.
func missed(t *testing.T, flags map[string]string) *proc.Cluster {
	t.Helper()
	flags["max-hints-size-per-host"] = "1B"
	c := newCluster(t, 3, flags)
	start(t, c, c.Nodes...)
	db := dial(t, c.Nodes[0])
	exec1(t, db, "CREATE KEYSPACE r WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE r.t (k text, c int, s text static, v text, PRIMARY KEY (k, c))")
	for k := range 20 {
		for i := range 5 {
			exec1(t, db, fmt.Sprintf("INSERT INTO r.t (k, c, v) VALUES ('key %d', %d, 'old')", k, i))
		}
	}
	kill(t, c.Nodes[2])
	exec1(t, db, "INSERT INTO r.t (k, c, v) VALUES ('new partition', 7, 'new')", "UPDATE r.t SET v = 'newer' WHERE k = 'key 3' AND c = 1",
		"DELETE FROM r.t WHERE k = 'key 4'", "DELETE FROM r.t WHERE k = 'key 5' AND c > 1 AND c < 4", "UPDATE r.t SET s = 'static' WHERE k = 'key 6'",
		"DELETE v FROM r.t WHERE k = 'key 7' AND c = 0", "INSERT INTO r.t (k, c, v) VALUES ('key 8', 9, 'for a while') USING TTL 86400")
	start(t, c, c.Nodes[2])
	return c
}

// A node was down longer than hints reach: --verify says what it lacks and exits 3, --now repairs it, and --verify is content.
func TestRepairCommand(t *testing.T) {
	t.Parallel()
	c := missed(t, map[string]string{"anti-entropy-grace": "1h"})
	host := c.Nodes[1].Address
	out, errs, status := repairRun(t, "r.t", "--verify", host)
	if status != 3 {
		t.Fatalf("verify exits %d\n%s%s", status, out, errs)
	}
	for _, want := range []string{"k = 'new partition' AND c = 7", "k = 'key 3' AND c = 1", "k = 'key 4'", "k = 'key 5'", "k = 'key 6'", "k = 'key 7' AND c = 0", "k = 'key 8' AND c = 9"} {
		if !strings.Contains(out, c.Nodes[2].Address+": "+want+" (") && !strings.Contains(out, want+" (different, held against "+c.Nodes[2].Address) &&
			!strings.Contains(out, want+" (extra, held against "+c.Nodes[2].Address) && !strings.Contains(out, want+" (missing, held against "+c.Nodes[2].Address) {
			t.Errorf("verify does not name %s:\n%s", want, out)
		}
	}
	if out, errs, status = repairRun(t, "r.t", "--now", host, "--json"); status != 0 {
		t.Fatalf("repair exits %d\n%s%s", status, out, errs)
	}
	var p node.RepairProgress
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.Pushed+p.Fetched < 7 || p.Done != p.Ranges || p.Ranges < 3 {
		t.Errorf("repair printed %s (%v)", out, err)
	}
	if out, errs, status = repairRun(t, "--verify", "r.t", host); status != 0 || !strings.Contains(out, "the replicas are equal") {
		t.Errorf("verify after the repair exits %d\n%s%s", status, out, errs)
	}
	want := replica(t, c.Nodes[0], "r", "t")
	for _, n := range c.Nodes[1:] {
		if got := replica(t, n, "r", "t"); got != want {
			t.Errorf("node %d holds %+v, node 0 %+v", n.Index, got, want)
		}
	}
	out, errs, status = repairRun(t, "status", host)
	if status != 0 || !strings.Contains(out, "r.t") || strings.Contains(out, "never ") && !strings.Contains(out, " 0 ") {
		t.Errorf("status exits %d\n%s%s", status, out, errs)
	}
	rows := ask(t, c.Nodes[1], consistency.One, "SELECT table_name, problem FROM system_views.anti_entropy WHERE keyspace_name = 'r' AND table_name = 't'")
	if len(rows) < p.Ranges {
		t.Errorf("the view has %d rows: %v", len(rows), rows)
	}
	for _, refused := range []struct {
		args []string
		want string
		exit int
	}{
		{[]string{"r.none", "--now", host}, "no such table", 1}, {[]string{"r.t", host}, "say --now", 64}, {[]string{"t", "--now", host}, "want KEYSPACE.TABLE", 64},
		{[]string{"status", "--now", host}, "neither", 64}, {[]string{"r.t", "--now", "--verify", host}, "say --now", 64},
	} {
		if out, errs, status := repairRun(t, refused.args...); status != refused.exit || !strings.Contains(errs, refused.want) {
			t.Errorf("%v exits %d: %s%s", refused.args, status, out, errs)
		}
	}
	kill(t, c.Nodes[2])
	eventually(t, func() string {
		_, errs, status := repairRun(t, "r.t", "--now", host)
		return not(status == 1 && strings.Contains(errs, c.Nodes[2].Address+" is down"), "repair with a node down: "+errs)
	})
}

// Nobody runs anything: a node that was down longer than hints reach is repaired when it is back.
func TestRepairByItself(t *testing.T) {
	t.Parallel()
	c := missed(t, map[string]string{"anti-entropy-grace": "500ms", "anti-entropy-target": "1m"})
	eventually(t, func() string {
		want := replica(t, c.Nodes[0], "r", "t")
		return not(replica(t, c.Nodes[1], "r", "t") == want && replica(t, c.Nodes[2], "r", "t") == want, "the replicas differ")
	})
}
