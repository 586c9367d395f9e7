package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
	"nodedb/query/types"
	"nodedb/query/wire"
)

var (
	repairLoadRows = flag.Int("repair-load", 0, "TestRepairUnderLoad: rows of the table (0: not run)")
	repairLoadRate = flag.Int("repair-load-rate", 1000, "TestRepairUnderLoad: requests a second, on all nodes together")
	repairLoadLong = flag.Duration("repair-load-for", 30*time.Second, "TestRepairUnderLoad: how long each half of a pair is measured")
	repairTarget   = flag.Duration("repair-load-target", 30*time.Second, "TestRepairUnderLoad: anti_entropy_target of the halves that compare; with 24h, the default, so is the grace")
	repairPairs    = flag.Int("repair-load-pairs", 5, "TestRepairUnderLoad: pairs, whose ratios' median counts")
)

const (
	// mostComparisonCosts is what the p99 of requests may rise to while replicas are compared.
	mostComparisonCosts = 1.1
	// warmUp is how long the load runs before it is measured, on nodes that were just started.
	warmUp = 8 * time.Second
	// sendEvery is how often the load looks what is due.
	sendEvery = time.Millisecond
	// defaultTarget and defaultGrace are what a node has that is told nothing else. The grace is longer than warmUp.
	defaultTarget = 24 * time.Hour
	defaultGrace  = 10 * time.Second
)

// notComparing is what the halves without comparison start their nodes with.
var notComparing = map[string]string{"anti-entropy-target": "8760h", "anti-entropy-grace": "8760h"}

// comparing is what the others start theirs with. At the default target a node with a gigabyte compares half a megabyte in half a minute;
// but each was just started, and so has all its ranges compared once, after the grace, while requests are measured. At 30 s they are compared 2,880 times as often.
func comparing() map[string]string {
	if *repairTarget >= defaultTarget {
		return map[string]string{"anti-entropy-target": repairTarget.String(), "anti-entropy-grace": defaultGrace.String()}
	}
	return map[string]string{"anti-entropy-target": repairTarget.String(), "anti-entropy-grace": "1s"}
}

// Three nodes, reads and writes of random rows at QUORUM and at a fixed rate: the p99 while replicas are compared against the p99 while they are not, in
// pairs that take turns in which half comes first. A latency counts from when its request was due.
//
//	go test ./node/e2e -timeout 0 -run TestRepairUnderLoad -repair-load 300000 -v
//	go test ./node/e2e -timeout 0 -run TestRepairUnderLoad -repair-load 300000 -repair-load-target 24h -v
func TestRepairUnderLoad(t *testing.T) {
	if *repairLoadRows == 0 {
		t.Skip("a measurement of about 8 minutes: -repair-load 300000")
	}
	c := newCluster(t, 3, map[string]string{"commitlog-sync": "periodic"})
	maps.Copy(c.Flags, notComparing)
	start(t, c, c.Nodes...)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE big"+simpleRF3, "CREATE TABLE big.t (k bigint PRIMARY KEY, v text)")
	var csv strings.Builder
	csv.WriteString("k,v\n")
	for n := range *repairLoadRows {
		fmt.Fprintf(&csv, "%d,%s\n", n, loadedValue)
	}
	loadRows(t, c.Nodes[0], "big.t", csv.String())
	var ratios []float64
	for pair := range *repairPairs {
		var on, off half
		if pair%2 == 0 {
			on, off = measureHalf(t, c, comparing()), measureHalf(t, c, notComparing)
		} else {
			off, on = measureHalf(t, c, notComparing), measureHalf(t, c, comparing())
		}
		ratio := float64(on.p99()) / float64(off.p99())
		ratios = append(ratios, ratio)
		t.Logf("pair %d: p99 %.2f ms comparing, %.2f ms not: %.2fx; p50 %.2f and %.2f ms; CPU %.2f and %.2f cores; "+
			"%.1f%% and %.1f%% of the machine stolen by its host; %d requests, %d failed; %d comparisons of a range read %.1f MiB/s where they were driven",
			pair+1, ms(on.p99()), ms(off.p99()), ratio, ms(on.at(0.5)), ms(off.at(0.5)), on.cores, off.cores, on.stolen, off.stolen,
			len(on.latencies)+len(off.latencies), on.failed+off.failed, int(on.sessions), on.scanned/repairLoadLong.Seconds()/(1<<20))
		if on.sessions == 0 || off.sessions != 0 {
			t.Errorf("%d comparisons where there should be some, %d where there should be none", int(on.sessions), int(off.sessions))
		}
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	t.Logf("median of %d pairs: %.2fx, at most %.1fx is wanted; %d rows, %d requests/s, compared every %s", len(ratios), median, mostComparisonCosts, *repairLoadRows,
		*repairLoadRate, *repairTarget)
	if median > mostComparisonCosts {
		t.Errorf("comparing replicas costs requests too much: %.2f", ratios)
	}
}

// loadedValue is 100 bytes.
var loadedValue = strings.Repeat("0123456789", 10)

// half is what was measured with one setting.
type half struct {
	latencies         []time.Duration // ascending
	failed            int
	cores             float64 // all nodes together
	stolen            float64 // percent of the machine's time that its host gave to others: what makes a p99 differ from one half to the next
	sessions, scanned float64
}

func (h *half) at(share float64) time.Duration {
	return h.latencies[min(len(h.latencies)-1, int(share*float64(len(h.latencies))))]
}

func (h *half) p99() time.Duration { return h.at(0.99) }

// measureHalf starts the nodes anew with a setting and measures requests.
func measureHalf(t *testing.T, c *proc.Cluster, setting map[string]string) (h half) {
	t.Helper()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	maps.Copy(c.Flags, setting)
	start(t, c, c.Nodes...)
	l := newSteadyLoad(t, c.Nodes, "big.t", *repairLoadRows, *repairLoadRate)
	defer l.close()
	l.run(warmUp)
	cpu, sessions, scanned := cpuOf(t, c), counter(t, c, "nodedb_anti_entropy_sessions_total"), counter(t, c, "nodedb_anti_entropy_scanned_bytes_total")
	stolen, all := stolenTicks(t)
	h.latencies, h.failed = l.run(*repairLoadLong)
	stolenNow, allNow := stolenTicks(t)
	h.stolen = 100 * float64(stolenNow-stolen) / float64(max(1, allNow-all))
	h.cores = (cpuOf(t, c) - cpu).Seconds() / repairLoadLong.Seconds()
	h.sessions = counter(t, c, "nodedb_anti_entropy_sessions_total") - sessions
	h.scanned = counter(t, c, "nodedb_anti_entropy_scanned_bytes_total") - scanned
	if len(h.latencies) == 0 {
		t.Fatalf("no request was answered, %d failed", h.failed)
	}
	return h
}

// stolenTicks is how much time the machine had since it started, and how much of it the host gave to others, in ticks.
func stolenTicks(t *testing.T) (stolen, all int64) {
	t.Helper()
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	for i, f := range strings.Fields(line)[1:] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if all += n; i == 7 {
			stolen = n
		}
	}
	return stolen, all
}

// counter sums a metric without labels over all nodes.
func counter(t *testing.T, c *proc.Cluster, name string) (sum float64) {
	t.Helper()
	for _, n := range c.Nodes {
		sum += counterOf(t, n, name)
	}
	return sum
}

// counterOf is a node's metric without labels.
func counterOf(t *testing.T, n *proc.Node, name string) float64 {
	t.Helper()
	r, err := http.Get(n.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n"+name+" ")
	line, _, _ := strings.Cut(after, "\n")
	v, err := strconv.ParseFloat(line, 64)
	if !ok || err != nil {
		t.Fatalf("node %d has no %s", n.Index, name)
	}
	return v
}

// steadyLoad asks some nodes in turns, when a request is due and not when the last was answered: a slow answer doesn't slow the load down.
type steadyLoad struct {
	rows, rate    int // rate: requests a second, on all nodes together
	clients       []*wire.Client
	reads, writes [][]byte // prepared, by client
}

// newSteadyLoad is for a table (k bigint PRIMARY KEY, v text) of so many rows.
func newSteadyLoad(t *testing.T, nodes []*proc.Node, table string, rows, rate int) *steadyLoad {
	t.Helper()
	l := &steadyLoad{rows: rows, rate: rate}
	prepare := func(client *wire.Client, text string) []byte {
		st, err := client.Prepare(deadline(t, wait), text)
		if err != nil {
			t.Fatal(err)
		}
		return st.ID
	}
	for _, n := range nodes {
		client, err := n.Dial(deadline(t, wait))
		if err != nil {
			t.Fatal(err)
		}
		l.clients = append(l.clients, client)
		l.reads = append(l.reads, prepare(client, "SELECT v FROM "+table+" WHERE k = ?"))
		l.writes = append(l.writes, prepare(client, "INSERT INTO "+table+" (k, v) VALUES (?, ?)"))
	}
	return l
}

func (l *steadyLoad) close() {
	for _, c := range l.clients {
		_ = c.Close()
	}
}

// request is the i-th: writes and reads in turns.
func (l *steadyLoad) request(i int) *wire.Execute {
	n := i % len(l.clients)
	p := wire.Params{Consistency: uint16(consistency.Quorum), Values: [][]byte{types.AppendInt64(nil, rand.Int64N(int64(l.rows)))}}
	if i/len(l.clients)%2 == 0 {
		return &wire.Execute{ID: l.reads[n], Params: p}
	}
	p.Values = append(p.Values, []byte(loadedValue))
	return &wire.Execute{ID: l.writes[n], Params: p}
}

// run asks for so long and waits for the answers.
func (l *steadyLoad) run(long time.Duration) (latencies []time.Duration, failed int) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	return l.runUntil(ctx)
}

// runUntil asks until the context ends and waits for the answers.
func (l *steadyLoad) runUntil(ctx context.Context) (latencies []time.Duration, failed int) {
	var mu sync.Mutex
	var answers sync.WaitGroup
	answered := func(due time.Time, err error) {
		took := time.Since(due)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed++
		} else {
			latencies = append(latencies, took)
		}
		answers.Done()
	}
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for ctx.Err() == nil {
		for due := began; ; sent++ {
			if due = began.Add(time.Duration(sent) * time.Second / time.Duration(l.rate)); due.After(time.Now()) {
				break
			}
			answers.Add(1)
			err := l.clients[sent%len(l.clients)].Send(l.request(sent), func(r wire.Response, err error) {
				if err == nil {
					err = r.Err()
				}
				answered(due, err)
			})
			if err != nil {
				answered(due, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	answers.Wait()
	slices.Sort(latencies)
	return latencies, failed
}
