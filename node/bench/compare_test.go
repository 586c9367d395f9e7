package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildNodedb gives the path of nodedb, built when a test first needs it, and removed by TestMain.
var buildNodedb = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "nodedb")
	out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

var built string

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "nodedb-bench-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

func nodedb(t *testing.T) string {
	t.Helper()
	path, err := buildNodedb()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func prefix(third int) string { return fmt.Sprintf("127.%d.%d", 100+os.Getpid()%100, third) }

// peerScript is a peer's command as Compare wants it: nodedb itself, on one node, that writes down what it is asked.
const peerScript = `#!/bin/sh
echo "$1 $2 $SYNC" >> %[1]s/asked
case $1 in
start)
  %[2]s start --listen %[3]s.1 --data %[1]s/data > %[1]s/log 2>&1 &
  echo $! > %[1]s/pid
  until grep -q 'node is up' %[1]s/log; do kill -0 $(cat %[1]s/pid) || exit 1; sleep 0.05; done ;;
pids) cat %[1]s/pid ;;
wipe)
  [ -f %[1]s/pid ] || exit 0
  kill $(cat %[1]s/pid)
  while kill -0 $(cat %[1]s/pid) 2> /dev/null; do sleep 0.05; done
  rm -rf %[1]s/pid %[1]s/data %[1]s/log ;;
*) echo "no such thing: $1"; exit 1 ;;
esac
`

// TestCompare: two real systems, each on its own, in both orders; what was started is gone at the end.
func TestCompare(t *testing.T) {
	dir, at := t.TempDir(), prefix(81)
	script := filepath.Join(dir, "peer")
	if err := os.WriteFile(script, fmt.Appendf(nil, peerScript, dir, nodedb(t), at), 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c, err := Compare(t.Context(), CompareOptions{
		Load:   Options{Workloads: []string{"insert", "read"}, Ops: 3000, Rows: 1000, Progress: &said},
		Binary: nodedb(t), Peer: script, Prefix: at, Nodes: 1, Sync: "batch", PeerSync: "periodic", PeerWarm: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, p := range c.Passes {
		order = append(order, p.System)
		if len(p.Pids) != 1 || len(p.Results) != 2 || p.Results[0].Ops != 3000 || p.Results[0].ServerCPU <= 0 || p.Results[0].ServerRSS <= 0 {
			t.Errorf("%+v", p.Report)
		}
	}
	if got := strings.Join(order, " "); got != "nodedb peer peer nodedb" {
		t.Errorf("passes: %s", got)
	}
	if len(c.Rows) != 2 || c.Rows[1].Workload != "read" || c.Rows[1].CPU != c.Rows[1].Own.CPU/c.Rows[1].Peer.CPU {
		t.Errorf("%+v", c.Rows)
	}
	asked, err := os.ReadFile(dir + "/asked")
	if want := "wipe  periodic\nstart 1 periodic\npids  periodic\nwipe  periodic\n"; err != nil || string(asked) != want {
		t.Errorf("asked %q, %v", asked, err)
	}
	if !strings.Contains(said.String(), "peer: warming") {
		t.Errorf("said %q", said.String())
	}
	l, err := net.Listen("tcp", at+".1:9042")
	if err != nil {
		t.Fatalf("something is left: %v", err)
	}
	l.Close()
}

// TestPeerThatFails: what a peer's command says when it fails is in the error.
func TestPeerThatFails(t *testing.T) {
	s := &peerSystem{command: "sh -c", prefix: prefix(82)}
	if _, err := s.run(t.Context(), "echo no java here; exit 3"); err == nil || !strings.Contains(err.Error(), "no java here") {
		t.Error(err)
	}
	for _, o := range []CompareOptions{{Nodes: 0, Peer: "x"}, {Nodes: 17, Peer: "x"}, {Nodes: 1}, {Nodes: 1, Peer: "x"}} {
		if _, err := Compare(t.Context(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestRatios: means of a system's passes, nodedb's divided by the peer's, and how far passes of one system lie apart.
func TestRatios(t *testing.T) {
	pass := func(system string, ops, cpu float64, p99, rss int64) Pass {
		return Pass{system, &Report{Results: []Result{{Workload: "w", InFlight: 8, OpsPerSec: ops, ServerCPU: cpu, ServerRSS: rss, Latency: Latency{P99: p99}}}}}
	}
	c := Comparison{Passes: []Pass{
		pass("nodedb", 90, 2, 100, 1<<20), pass("other", 20, 8, 1000, 8<<20), pass("other", 30, 12, 3000, 8<<20), pass("nodedb", 110, 4, 300, 1<<20),
	}}
	c.summarize("nodedb")
	want := Row{"w", 8, Side{100, 3, 200, 1 << 20}, Side{25, 10, 2000, 8 << 20}, 0.3, 4, 0.1, 0.125, 0.4}
	if got := c.Rows[0]; math.Abs(got.CPU-want.CPU) > 1e-9 || got != want {
		t.Errorf("%+v", got)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil || !strings.Contains(out.String(), "4.00  0.30  0.10  0.12    40%") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestLimits: every limit and what nodedb does of it is measured, and nothing is left.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	limits, err := Limits(t.Context(), LimitOptions{Binary: nodedb(t), Prefix: prefix(83), Dir: dir, Seconds: 50 * time.Millisecond, InFlight: 64, rows: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := PrintLimits(&out, limits); err != nil {
		t.Fatal(err)
	}
	for _, l := range limits {
		if l.Limit.PerSecond <= 0 || l.Nodedb.PerSecond <= 0 {
			t.Errorf("%+v", l)
		}
	}
	for _, name := range []string{"storage: write 100 B, synced, 64 waiting", "RPC: 200 B", "raw Pebble, synced every 10 ms", "null CQL server + Pebble Get"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("no %q in\n%s", name, out.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
