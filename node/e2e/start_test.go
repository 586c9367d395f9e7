package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
)

// run runs nodedb to its end and gives what it printed and its exit status.
func run(t *testing.T, env []string, args ...string) (output string, status int) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, time.Minute), binary, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestBadStartsSayWhatToDo(t *testing.T) {
	c := startCluster(t, 1)
	running := c.Nodes[0]
	spare := strings.TrimSuffix(running.Address, ".1") + ".9"
	file := filepath.Join(t.TempDir(), "nodedb.yaml")
	if err := os.WriteFile(file, []byte("cluster_name: x\nnum_tokenz: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := func() string { return filepath.Join(t.TempDir(), "d") }
	for _, tc := range []struct {
		name   string
		env    []string
		args   []string
		status int
		want   []string
	}{
		{"unknown key", nil, []string{"start", "--config", file}, 64, []string{"line 2", "num_tokenz", "num_tokens"}},
		{"unknown flag", nil, []string{"start", "--colour", "blue"}, 64, []string{"colour"}},
		{"bad variable", []string{"NODEDB_HTTP_PORT=web"}, []string{"start"}, 64, []string{"NODEDB_HTTP_PORT", "whole number"}},
		{"busy port", nil, []string{"start", "--listen", running.Address, "--data", data()}, 1, []string{"address already in use", "_port"}},
		{"locked data", nil, []string{"start", "--listen", spare, "--data", filepath.Join(running.Dir, "data")}, 1, []string{"in use by another process"}},
		{"unresolvable join", nil, []string{"start", "--listen", spare, "--data", data(), "--join", "no-such-host.invalid"}, 1,
			[]string{"no-such-host.invalid", "does not resolve"}},
		{"other cluster", nil, []string{"start", "--listen", spare, "--data", data(), "--join", running.Address, "--cluster-name", "other"}, 1,
			[]string{"cluster_name"}},
		{"not an address of ours", nil, []string{"start", "--listen", "10.99.99.99", "--data", data()}, 1, []string{"an address of this machine"}},
		{"no such command", nil, []string{"begin"}, 64, []string{"begin", "--help"}},
		{"no such node", nil, []string{"status", spare}, 1, []string{"no node answers at " + spare}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, status := run(t, tc.env, tc.args...)
			if status != tc.status {
				t.Errorf("exit status %d, want %d", status, tc.status)
			}
			for _, w := range tc.want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in: %s", w, out)
				}
			}
		})
	}
}

func TestDataOfAnotherClusterIsRefused(t *testing.T) {
	c := startCluster(t, 1)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--cluster-name=other": "belongs to another cluster", "--datacenter=dcX": "joined with datacenter1", "--rack=r2": "joined with rack1",
		"--num-tokens=8": "joined with 16",
	} {
		out, status := run(t, nil, "start", "--listen", c.Nodes[0].Address, "--data", filepath.Join(c.Nodes[0].Dir, "data"), flag)
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: status %d: %s", flag, status, out)
		}
	}
}

// TestFoundersFormOneCluster starts machines at the same moment with the same list.
func TestFoundersFormOneCluster(t *testing.T) {
	c := startCluster(t, 5)
	var first node.Status
	for i, n := range c.Nodes {
		allUp(t, deadline(t, time.Minute), n, 5)
		s, err := n.Status(deadline(t, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = s
		}
		for k := range s.Nodes {
			if s.Nodes[k].HostID != first.Nodes[k].HostID {
				t.Errorf("node %d sees other members than node 1", n.Index)
			}
		}
	}
}

// TestAMinorityOfFoundersWaits: one of three waits and names who is missing; with a second the cluster is founded.
func TestAMinorityOfFoundersWaits(t *testing.T) {
	c := newCluster(t, 3, nil)
	alone := make(chan error, 1)
	go func() { alone <- c.Nodes[0].Start(context.Background()) }()
	ctx := deadline(t, time.Minute)
	awaitLog(t, ctx, c.Nodes[0], c.Nodes[1].Address)
	select {
	case err := <-alone:
		t.Fatalf("one of three founded a cluster (%v)", err)
	default:
	}
	if err := c.Nodes[1].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-alone; err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[2].Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		allUp(t, ctx, n, 3)
	}
}

// awaitLog returns once a node's log holds a text.
func awaitLog(t *testing.T, ctx context.Context, n *proc.Node, text string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		raw, err := os.ReadFile(n.LogFile())
		if err == nil && bytes.Contains(raw, []byte(text)) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("node %d never logged %q: %s", n.Index, text, raw)
		case <-tick.C:
		}
	}
}

// TestAJoiningNodeReceivesItsRanges adds a node while writes go on; afterwards everything is there, and the newcomer holds its share.
func TestAJoiningNodeReceivesItsRanges(t *testing.T) {
	c := startCluster(t, 3)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE chaos WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}")
	w := &proc.Workload{Table: "chaos.writes", Nodes: c.Nodes, Writers: 2, Window: 32}
	ctx := deadline(t, 2*time.Minute)
	if err := w.Setup(ctx, client); err != nil {
		t.Fatal(err)
	}
	exec1(t, client, "CREATE TABLE chaos.still (k int PRIMARY KEY, v text)")
	for i := range 300 {
		exec1(t, client, "INSERT INTO chaos.still (k, v) VALUES ("+itoa(i)+", 'v')")
	}
	w.Start(context.Background())
	if err := w.AwaitAcked(ctx, 5000); err != nil {
		t.Fatal(err)
	}
	added, err := c.Add(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		allUp(t, ctx, n, 4)
	}
	if err := w.AwaitAcked(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	verify(t, c, w)
	rows, err := proc.Ask(ctx, dial(t, added), consistency.Quorum, "SELECT count(*) FROM chaos.still")
	if err != nil || len(rows) != 1 || rows[0] != "300" {
		t.Errorf("count through the newcomer: %v, %v", rows, err)
	}
	var sum node.Checksum
	if err := added.GetJSON(ctx, "/v1/replica/chaos/still", &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Rows < 60 || sum.Rows > 270 { // 2 copies of 300 rows over 4 nodes: about 150
		t.Errorf("the newcomer holds %d of 300 rows", sum.Rows)
	}
}

// TestSIGTERMDrains: a drained node exits 0 and has everything when it is back.
func TestSIGTERMDrains(t *testing.T) {
	c := startCluster(t, 1)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, v text)", "INSERT INTO ks.t (k, v) VALUES (1, 'kept')")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(deadline(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	rows, err := proc.Ask(deadline(t, time.Minute), dial(t, c.Nodes[0]), consistency.One, "SELECT v FROM ks.t WHERE k = 1")
	if err != nil || len(rows) != 1 || rows[0] != "kept" {
		t.Errorf("after a restart: %v, %v", rows, err)
	}
}

// TestASilentPortIsNoNode: a status of something else that listens says so.
func TestASilentPortIsNoNode(t *testing.T) {
	l, err := net.Listen("tcp", "127.45.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out, status := run(t, nil, "status", "127.45.1.1", "--http-port", itoa(port))
	if status != 1 || !strings.Contains(out, "no node answers") {
		t.Errorf("status %d: %s", status, out)
	}
}
