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
copy) [ $# -gt 1 ] || exit 0
  %[2]s shell "$2" -e "CONSISTENCY QUORUM; COPY $3 ($4) FROM '$5' WITH HEADER = true AND NULL = 'NA'" > %[1]s/copied 2>&1 || exit 1
  echo $(($(wc -l < "$5") - 1)) ;;
disk) echo 1000 ;;
wipe)
  [ -f %[1]s/pid ] || exit 0
  kill $(cat %[1]s/pid)
  while kill -0 $(cat %[1]s/pid) 2> /dev/null; do sleep 0.05; done
  rm -rf %[1]s/pid %[1]s/data %[1]s/log ;;
*) echo "no such thing: $1"; exit 1 ;;
esac
`

// peerCommand writes a script like peerScript, for the address AT.1; dir is what it writes to.
func peerCommand(t *testing.T, text, at string) (dir, script string) {
	t.Helper()
	dir = t.TempDir()
	script = filepath.Join(dir, "peer")
	if err := os.WriteFile(script, fmt.Appendf(nil, text, dir, nodedb(t), at), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, script
}

// TestCompare: two real systems, each on its own, in both orders; what was started is gone at the end.
func TestCompare(t *testing.T) {
	at := prefix(81)
	dir, script := peerCommand(t, peerScript, at)
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
	var warmed []string
	for _, w := range c.Warmed {
		warmed = append(warmed, w.System+" "+w.Workload)
		if w.Seconds < 0.2 || w.Seconds > 0.4 || len(w.Windows) != 1 || w.Windows[0] <= 0 {
			t.Errorf("%+v", w)
		}
	}
	if got := strings.Join(warmed, ", "); got != "peer insert, peer read" || !strings.Contains(said.String(), "peer: warming with read") {
		t.Errorf("warmed %s; said %q", got, said.String())
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
	for _, o := range []CompareOptions{{Nodes: 0, Peer: "x"}, {Nodes: 17, Peer: "x"}, {Nodes: 1}, {Nodes: 1, Peer: "x"},
		{Nodes: 1, Peer: "x", PeerWarm: -1, Load: Options{Workloads: []string{"insert"}}}} {
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
	want := Row{"w", 8, 0, Side{100, 3, 200, 1 << 20, 0}, Side{25, 10, 2000, 8 << 20, 0}, 0.3, 4, 0.1, 0.125, 0.4}
	if got := c.Rows[0]; math.Abs(got.CPU-want.CPU) > 1e-9 || got != want {
		t.Errorf("%+v", got)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil || !strings.Contains(out.String(), "4.00  0.30  0.10  0.12    40%") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestCompareFlights: each system loads the flights its own way, latencies are measured at half of the peer's rate, and what is on disk is compared.
func TestCompareFlights(t *testing.T) {
	const flights = 3000
	at := prefix(84)
	dir, script := peerCommand(t, peerScript, at)
	c, err := Compare(t.Context(), CompareOptions{
		Load:   Options{Workloads: []string{"load", "count"}, Ops: 2, Files: someFlights(t, flights)},
		Binary: nodedb(t), Peer: script, Prefix: at, Nodes: 1, Sync: "batch", PeerSync: "periodic",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Passes {
		if p.Results[0].Ops != flights || p.Results[1].Ops != 2 {
			t.Errorf("%s: %+v", p.System, p.Results)
		}
	}
	asked, err := os.ReadFile(dir + "/asked")
	if err != nil || strings.Count(string(asked), "copy "+at+".1") != 2 || !strings.Contains(string(asked), "disk nodedb_bench periodic") {
		t.Errorf("asked %q, %v", asked, err)
	}
	// 3,000 flights in 17 columns are at least 20 bytes each, and no more than their CSV, as far as tables are counted and not logs.
	if c.Disk.Peer != 1000 || c.Disk.Own < 20*flights || c.Disk.Own > 120*flights {
		t.Errorf("on disk: %+v", c.Disk)
	}
	if v := c.Verdicts[len(c.Verdicts)-1]; v.What != "the flights on disk" || v.Met || len(c.Half) != 0 {
		t.Errorf("%+v, %+v", v, c.Half)
	}
}

// TestCompareAtHalf: the rate of the open loop is half of what the peer reached, on both.
func TestCompareAtHalf(t *testing.T) {
	at := prefix(85)
	_, script := peerCommand(t, peerScript, at)
	c, err := Compare(t.Context(), CompareOptions{
		Load:   Options{Workloads: []string{"insert"}, Ops: 1000, InFlight: []int{1, 64}},
		Binary: nodedb(t), Peer: script, Prefix: at, Nodes: 1, Sync: "batch", PeerSync: "periodic", Half: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 2 || len(c.Half) != 1 {
		t.Fatalf("%+v, %+v", c.Rows, c.Half)
	}
	best := max(c.Rows[0].Peer.OpsPerSec, c.Rows[1].Peer.OpsPerSec)
	if h := c.Half[0]; math.Abs(h.Rate-best/2) > 1 || h.Own.P99 <= 0 || h.Peer.P99 <= 0 || h.Own.OpsPerSec > 0.6*best {
		t.Errorf("half of %.0f: %+v", best, h)
	}
}

// TestCompareKeepsWhatItHas: the peer's second workload fails in its first pass, and later the peer is gone; what was measured is there, with the failure.
func TestCompareKeepsWhatItHas(t *testing.T) {
	at := prefix(86)
	failing := strings.Replace(peerScript, "copy) [ $# -gt 1 ] || exit 0", "copy) [ $# -gt 1 ] || exit 0; echo the disk is full >&2; exit 1 ;;\nnever) ", 1)
	_, script := peerCommand(t, failing, at)
	c, err := Compare(t.Context(), CompareOptions{
		Load:   Options{Workloads: []string{"insert", "load", "read"}, Ops: 100, Rows: 100, Files: someFlights(t, 10)},
		Binary: nodedb(t), Peer: script, Prefix: at, Nodes: 1, Sync: "batch", PeerSync: "periodic",
	})
	if err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("%v", err)
	}
	if len(c.Passes) != 4 || len(c.Rows) != 3 {
		t.Fatalf("%d passes, rows %+v", len(c.Passes), c.Rows)
	}
	for _, row := range c.Rows {
		if row.Own.OpsPerSec == 0 || (row.Peer.OpsPerSec == 0) != (row.Workload == "load") {
			t.Errorf("%+v", row)
		}
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil || !strings.Contains(out.String(), "read") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestVerdicts: what is wanted of a workload is asked of as many nodes and as much in flight as it was said for, and of nothing else.
func TestVerdicts(t *testing.T) {
	c := Comparison{Nodes: 3, Sync: "batch", PeerSync: "periodic",
		Rows: []Row{{Workload: "insert", InFlight: 64, CPU: 0.2, RSS: 0.2}, {Workload: "insert", InFlight: 1024, CPU: 0.9, RSS: 0.3}, {Workload: "read", InFlight: 64, CPU: 0.17},
			{Workload: "load", InFlight: 512, Ops: 5.5}, {Workload: "a", InFlight: 64, CPU: 0.9}},
		Half: []Row{{Workload: "read", P99: 0.5}}, Disk: DiskUse{90, 100}}
	c.judge()
	var out bytes.Buffer
	if err := printVerdicts(&out, c.Verdicts); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	want := "target figure wanted insert: CPU 0.200 <= 0.200 met read: CPU 0.170 <= 0.167 SHORT load: operations a second 5.500 >= 5.000 met " +
		"read: p99 at half of the peer's rate 0.500 <= 0.333 SHORT resident memory, the largest share 0.300 <= 0.250 SHORT the flights on disk 0.900 <= 1.000 met"
	if got != want {
		t.Errorf("%s", got)
	}
	c.Nodes, c.PeerSync, c.Rows[0].Ops, c.Half, c.Disk = 1, "batch", 4, nil, DiskUse{}
	if c.judge(); len(c.Verdicts) != 2 || c.Verdicts[0].What != "insert: operations a second" || c.Verdicts[0].Met {
		t.Errorf("%+v", c.Verdicts)
	}
}

// TestLimits: every limit and what nodedb does of it is measured, and nothing is left.
func TestLimits(t *testing.T) {
	dir, progress := t.TempDir(), bytes.Buffer{}
	limits, err := Limits(t.Context(), LimitOptions{Binary: nodedb(t), Prefix: prefix(83), Dir: dir, Seconds: 50 * time.Millisecond, InFlight: 64, rows: 1000,
		Files: someFlights(t, 1000), Progress: &progress})
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
		if !strings.Contains(progress.String(), l.Name+": ") {
			t.Errorf("%s was not said when it came", l.Name)
		}
	}
	for _, name := range []string{"storage: write 100 B, synced, 64 waiting", "RPC: 200 B", "raw Pebble, synced every 10 ms", "null CQL server + Pebble Get", "CQL: count(*), a row", ">= 60%"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("no %q in\n%s", name, out.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestLimitsBeforeAnError: what was measured before a stage that fails is given beside the error.
func TestLimitsBeforeAnError(t *testing.T) {
	limits, err := Limits(t.Context(), LimitOptions{Binary: "/no/such/nodedb", Prefix: prefix(83), Dir: t.TempDir(), Seconds: time.Millisecond, InFlight: 1})
	if err == nil || len(limits) < storageRead {
		t.Fatalf("%d figures, %v", len(limits), err)
	}
}
