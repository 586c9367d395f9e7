package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// hosts counts which node answered.
type hosts struct {
	sync.Mutex
	count map[string]int
	retry int
}

func (h *hosts) ObserveQuery(_ context.Context, q gocql.ObservedQuery) {
	h.Lock()
	defer h.Unlock()
	h.count[q.Host.ConnectAddress().String()]++
	if q.Attempt > 0 {
		h.retry++
	}
}

// requestsReachAnOwner: the driver computes who owns a key by what system.local and system.peers tell it. With one replica it has to send every
// statement to the node that keeps the row, so that each node holds as many rows as statements went to it.
func (r *gocqlRun) requestsReachAnOwner(t *testing.T) {
	driverExec(t, r.session, "CREATE TABLE single.t (k text, part int, v int, PRIMARY KEY ((k, part)))")
	seen := &hosts{count: map[string]int{}}
	s := r.connect(t, "single", func(cfg *gocql.ClusterConfig) { cfg.QueryObserver = seen })
	eventually(t, func() string { // the pools of all nodes are filled in the background
		for i := range 30 {
			if err := s.Query("SELECT v FROM t WHERE k = ? AND part = ?", fmt.Sprint(i), i).Exec(); err != nil {
				return err.Error()
			}
		}
		seen.Lock()
		defer seen.Unlock()
		return not(len(seen.count) == 3, fmt.Sprintf("connections to three nodes; have %v", seen.count))
	})
	seen.Lock()
	clear(seen.count)
	seen.Unlock()
	rows := r.size(5000)
	if _, err := r.do(t, []string{"count"}); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		driverExec(t, s, "INSERT INTO t (k, part, v) VALUES (?, ?, ?)", fmt.Sprint("key ", i), i%7, i)
	}
	total := 0
	for _, n := range r.cluster.Nodes {
		held := replica(t, n, "single", "t").Rows
		total += held
		if seen.count[n.Address] != held {
			t.Errorf("node %d got %d statements and holds %d rows", n.Index, seen.count[n.Address], held)
		}
	}
	if total != rows {
		t.Errorf("%d rows on all nodes, want %d", total, rows)
	}
	for i := range rows {
		driverExec(t, s, "SELECT v FROM t WHERE k = ? AND part = ?", fmt.Sprint("key ", i), i%7)
	}
	if _, err := r.do(t, []string{"share"}); err != nil {
		t.Error(err)
	}
}

// aNodeMayDieUnderLoad: while nodes are killed and started again, idempotent statements with the driver's simple retries never fail.
func (r *gocqlRun) aNodeMayDieUnderLoad(t *testing.T) {
	seen := &hosts{count: map[string]int{}}
	s := r.connect(t, "d", func(cfg *gocql.ClusterConfig) {
		cfg.RetryPolicy, cfg.DefaultIdempotence, cfg.QueryObserver = &gocql.SimpleRetryPolicy{NumRetries: 3}, true, seen
	})
	driverExec(t, s, "CREATE TABLE d.load (k int, c int, v text, PRIMARY KEY (k, c))")
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	var done atomic.Int64
	written := make([]int, 8)
	for w := range written {
		all.Go(func() {
			for ; ctx.Err() == nil && writeAndRead(t, s, w, written[w]); written[w]++ {
				done.Add(1)
			}
		})
	}
	progress := func(more int64) {
		goal := done.Load() + more
		eventually(t, func() string { return not(done.Load() >= goal && !t.Failed(), fmt.Sprint(more, " more rows")) })
	}
	victims := []int{3}
	if r.long {
		victims = []int{3, 1} // 1 is the one that was connected to
	}
	for _, n := range victims {
		progress(200)
		kill(t, r.cluster.Nodes[n-1])
		progress(500)
		for _, other := range r.cluster.Nodes {
			if other.Running() { // one that is back before the others missed it isn't announced
				allUp(t, deadline(t, wait), other, len(r.cluster.Nodes)-1)
			}
		}
		eventually(t, func() string {
			return not(!r.host(n).IsUp(), fmt.Sprint("the driver learns that node ", n, " is down"))
		})
		start(t, r.cluster, r.cluster.Nodes[n-1])
		eventually(t, func() string { return not(r.host(n).IsUp(), fmt.Sprint("the driver learns that node ", n, " is up")) })
		progress(200)
	}
	stop()
	all.Wait()
	for w, want := range written {
		var got int
		if err := s.Query("SELECT count(*) FROM load WHERE k = ?", w).Scan(&got); err != nil || got < want {
			t.Errorf("writer %d: %d rows of %d, %v", w, got, want, err)
		}
	}
	t.Logf("%d statements, no error, while nodes were killed and started again; by node %v, %d of them retries", 2*done.Load(), seen.count, seen.retry)
}

// writeAndRead writes a row and reads it again; false: t has been told that one of both failed.
func writeAndRead(t *testing.T, s *gocql.Session, writer, i int) bool {
	t.Helper()
	if err := s.Query("INSERT INTO load (k, c, v) VALUES (?, ?, ?)", writer, i, fmt.Sprint(writer, i)).Exec(); err != nil {
		t.Errorf("writer %d, row %d: %v", writer, i, err)
		return false
	}
	var v string
	err := s.Query("SELECT v FROM load WHERE k = ? AND c = ?", writer, i).Scan(&v)
	if err != nil || v != fmt.Sprint(writer, i) {
		t.Errorf("writer %d, row %d: read %q, %v", writer, i, v, err)
		return false
	}
	return true
}

func (r *gocqlRun) aNewNodeIsTold(t *testing.T) {
	if _, err := r.do(t, []string{"add"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		h := r.host(4)
		if h == nil || !h.IsUp() || len(h.Tokens()) != 16 {
			return fmt.Sprint("the fourth node is known, up and with its tokens; ", h)
		}
		var id gocql.UUID
		err := r.session.Query("SELECT host_id FROM system.local").SetHostID(h.HostID()).Scan(&id)
		return not(err == nil && id.String() == h.HostID(), fmt.Sprint("its answer: ", err))
	})
}
