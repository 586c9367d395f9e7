package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
	"nodedb/query/wire"
)

// binary is nodedb, built once for the whole package.
var binary string

// network gives every test a 127.x.y.0/24 of its own.
var network atomic.Int32

func TestMain(m *testing.M) {
	flag.Parse()
	if binary = os.Getenv(inNamespace); binary != "" { // see isolated
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "nodedb-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "nodedb")
	build := exec.Command("go", "build", "-o", binary, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// newPrefix is a /24 for one test; the second number keeps two runs of this package on one machine apart.
func newPrefix() string { return fmt.Sprintf("127.%d.%d", 100+os.Getpid()%100, network.Add(1)) }

// newCluster plans n nodes on addresses of their own; they are killed when the test ends.
func newCluster(t *testing.T, n int, flags map[string]string) *proc.Cluster {
	t.Helper()
	c := proc.New(proc.Options{
		Binary: binary, Dir: t.TempDir(), Prefix: newPrefix(), Flags: flags,
	}, n)
	t.Cleanup(func() {
		for _, m := range c.Nodes {
			if t.Failed() {
				if log, err := os.ReadFile(m.LogFile()); err == nil {
					t.Logf("log of node %d:\n%s", m.Index, log[max(0, len(log)-4000):])
				}
			}
			if m.Running() {
				if err := m.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return c
}

// startCluster starts n founders and waits until each sees all.
func startCluster(t *testing.T, n int) *proc.Cluster {
	t.Helper()
	c := newCluster(t, n, nil)
	start(t, c, c.Nodes...)
	return c
}

// deadline bounds one wait of a test.
func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, n *proc.Node) *wire.Client {
	t.Helper()
	c, err := n.Dial(deadline(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func exec1(t *testing.T, c *wire.Client, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Query(deadline(t, 30*time.Second), s, nil); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// ask runs a statement through a node and gives its rows as text.
func ask(t *testing.T, n *proc.Node, level consistency.Level, cql string) []string {
	t.Helper()
	rows, err := tryAsk(t, n, level, cql)
	if err != nil {
		t.Fatalf("through node %d: %s: %v", n.Index, cql, err)
	}
	return rows
}

// tryAsk is ask for statements that may fail. Its connection is closed at once.
func tryAsk(t *testing.T, n *proc.Node, level consistency.Level, cql string) ([]string, error) {
	t.Helper()
	ctx := deadline(t, wait)
	c, err := n.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return proc.Ask(ctx, c, level, cql)
}

// execIn is exec1 for other goroutines than the test's own.
func execIn(t *testing.T, c *wire.Client, statement string) {
	t.Helper()
	if _, err := c.Query(deadline(t, wait), statement, nil); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

// not is what a condition of eventually waits for.
func not(holds bool, what string) string {
	if holds {
		return ""
	}
	return what
}

// wantRows compares an answer with what was expected, in any order.
func wantRows(t *testing.T, got, want []string) {
	t.Helper()
	if d := proc.Difference(got, want, false); d != "" {
		t.Error(d)
	}
}

// eventually polls a condition until it holds. The condition says what it still waits for; "" is that it holds.
func eventually(t *testing.T, condition func() string) {
	t.Helper()
	ctx := deadline(t, wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		why := condition()
		if why == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", why)
		case <-tick.C:
		}
	}
}

// replica is what one node itself holds of a table.
func replica(t *testing.T, n *proc.Node, keyspace, table string) node.Checksum {
	t.Helper()
	var sum node.Checksum
	if err := n.GetJSON(deadline(t, 30*time.Second), "/v1/replica/"+keyspace+"/"+table, &sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

// readLog is all that a node has written.
func readLog(t *testing.T, n *proc.Node) string {
	t.Helper()
	raw, err := os.ReadFile(n.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func kill(t *testing.T, nodes ...*proc.Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts nodes at once and waits until they see each other and all others that run.
func start(t *testing.T, c *proc.Cluster, nodes ...*proc.Node) {
	t.Helper()
	ctx := deadline(t, time.Minute)
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { failed <- n.Start(ctx) }()
	}
	for range nodes {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	running := 0
	for _, n := range c.Nodes {
		if n.Running() {
			running++
		}
	}
	for _, n := range c.Nodes {
		if n.Running() {
			allUp(t, ctx, n, running)
		}
	}
}

// loadRows brings CSV into a table by `nodedb load`, through one node.
func loadRows(t *testing.T, n *proc.Node, table, csv string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.csv")
	if err := os.WriteFile(file, []byte(csv), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := run(t, nil, "load", file, "--table", table, n.Address); status != 0 {
		t.Fatalf("load: status %d: %s", status, out)
	}
}

// wait bounds one condition.
const wait = 30 * time.Second

const simpleRF3 = " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"

func itoa(n int) string { return fmt.Sprint(n) }
