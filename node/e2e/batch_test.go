package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nodedb/node/check"
	"nodedb/node/proc"
)

// perBatchKill is how many statements are done between two kills.
const perBatchKill = 150

// TestRow29LoggedBatches: kill -9 of coordinators, one random node again and again, now and then all at once, under logged batches over three partitions through
// all nodes. A minute after all is well each batch is there as a whole or not at all.
func TestRow29LoggedBatches(t *testing.T) {
	began, rounds := begins(), count(3, 100)
	c := startCluster(t, 4)
	s := startSuite(t, c, check.Options{Think: 2 * time.Millisecond, Sessions: 12, Workloads: []string{"logged"}})
	kills := 0
	var replayed float64
	for round := range rounds {
		awaitStatements(t, s, perBatchKill)
		victims := []*proc.Node{c.Nodes[rand.IntN(len(c.Nodes))]}
		if round%10 == 9 {
			victims = c.Nodes
		}
		for _, n := range victims {
			replayed += counterOf(t, n, "nodedb_batchlog_replayed_total") // it counts from each start
		}
		kill(t, victims...)
		kills += len(victims)
		start(t, c, victims...)
	}
	suite := s.finish()
	eventually(t, func() string {
		open := counter(t, c, "nodedb_batchlog_entries")
		return not(open == 0, fmt.Sprintf("%v batches to be written", open))
	})
	replayed += counter(t, c, "nodedb_batchlog_replayed_total")
	if counter(t, c, "nodedb_batchlog_kept_total") == 0 {
		t.Error("no node has kept a batch since its last start")
	}
	report(t, 29, began, "%d kills, %.0f entries written again; %s", kills, replayed, suite)
}
