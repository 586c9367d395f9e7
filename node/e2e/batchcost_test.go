package e2e

import (
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"nodedb/node/proc"
)

var batchCost = flag.Int("batchcost", 0, "batches of each kind that TestBatchCost measures; 0: none")

// TestBatchCost compares logged batches over two partitions with unlogged ones: latency and the nodes' CPU, in turns, for one client and for sixteen.
func TestBatchCost(t *testing.T) {
	if *batchCost == 0 {
		t.Skip("a measurement: run it with -batchcost 2000, on a machine that does nothing else")
	}
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE cost"+simpleRF3, "CREATE TABLE cost.a (k int PRIMARY KEY, v text)", "CREATE TABLE cost.b (k int PRIMARY KEY, v text)")
	for _, clients := range []int{1, 16} {
		var took, cpu [2][]time.Duration // unlogged, logged
		for range 6 {
			for i, kind := range []string{"UNLOGGED ", ""} {
				before := cpuOf(t, c)
				took[i] = append(took[i], sendBatches(t, c, kind, clients, *batchCost/6)...)
				cpu[i] = append(cpu[i], cpuOf(t, c)-before)
			}
		}
		var median, spent [2]time.Duration
		for i := range took {
			slices.Sort(took[i])
			median[i] = took[i][len(took[i])/2]
			for _, d := range cpu[i] {
				spent[i] += d / time.Duration(len(took[i]))
			}
		}
		t.Logf("%d clients: median %v unlogged, %v logged (%.2fx); CPU of all nodes %v a batch unlogged, %v logged (%.2fx)", clients, median[0], median[1],
			float64(median[1])/float64(median[0]), spent[0], spent[1], float64(spent[1])/float64(spent[0]))
	}
}

// sendBatches sends n batches at QUORUM, over two partitions in two tables, and gives how long each took.
func sendBatches(t *testing.T, c *proc.Cluster, kind string, clients, n int) (took []time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range clients {
		client := dial(t, c.Nodes[i%len(c.Nodes)])
		all.Go(func() {
			for k := range n / clients {
				begun := time.Now()
				execIn(t, client, fmt.Sprintf("BEGIN %sBATCH INSERT INTO cost.a (k, v) VALUES (%d, 'value'); INSERT INTO cost.b (k, v) VALUES (%d, 'value'); APPLY BATCH",
					kind, i*n+k, -i*n-k))
				mu.Lock()
				took = append(took, time.Since(begun))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return took
}
