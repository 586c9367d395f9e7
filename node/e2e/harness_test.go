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

	"nodedb/node/proc"
	"nodedb/query/wire"
)

var (
	kills  = flag.Int("kills", 0, "campaign: kill -9 of one node so many times, and of all nodes a fifth as often (0: the short form)")
	perOne = flag.Int64("writes", 3000, "acknowledged writes between two kills")
)

// binary is nodedb, built once for the whole package.
var binary string

// network gives every test a 127.x.y.0/24 of its own.
var network atomic.Int32

func TestMain(m *testing.M) {
	flag.Parse()
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

// newCluster plans n nodes on addresses of their own; they are killed when the test ends.
func newCluster(t *testing.T, n int, flags map[string]string) *proc.Cluster {
	t.Helper()
	c := proc.New(proc.Options{
		Binary: binary, Dir: t.TempDir(), Prefix: fmt.Sprintf("127.44.%d", network.Add(1)), Flags: flags,
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

func startCluster(t *testing.T, n int) *proc.Cluster {
	t.Helper()
	c := newCluster(t, n, nil)
	if err := c.Start(deadline(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
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

func itoa(n int) string { return fmt.Sprint(n) }
