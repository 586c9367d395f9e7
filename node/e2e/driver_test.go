package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"

	"nodedb/node/proc"
)

// quiet keeps the driver's log out of the test's.
type quiet struct{}

func (quiet) Error(string, ...gocql.LogField)   {}
func (quiet) Warning(string, ...gocql.LogField) {}
func (quiet) Info(string, ...gocql.LogField)    {}
func (quiet) Debug(string, ...gocql.LogField)   {}

// gocqlSession connects Apache's Go driver to one node, with its own defaults; it finds the others by itself.
func gocqlSession(t *testing.T, n *proc.Node, keyspace string, set ...func(*gocql.ClusterConfig)) *gocql.Session {
	t.Helper()
	cfg := gocql.NewCluster(n.Address)
	cfg.Logger, cfg.Keyspace = quiet{}, keyspace
	for _, f := range set {
		f(cfg)
	}
	s, err := cfg.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func driverExec(t *testing.T, s *gocql.Session, statement string, values ...any) {
	t.Helper()
	if err := s.Query(statement, values...).Exec(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestDriver drives three nodes by an unmodified driver.
func TestDriver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	s := gocqlSession(t, c.Nodes[0], "")
	driverExec(t, s, "CREATE KEYSPACE d"+simpleRF3)
	driverExec(t, s, "CREATE KEYSPACE single WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}")
	t.Run("every scalar type", func(t *testing.T) { driverTypes(t, s) })
	t.Run("pages and batches", func(t *testing.T) { driverPages(t, s) })
	t.Run("token aware", func(t *testing.T) { driverTokenAware(t, c) })
	t.Run("a node is killed", func(t *testing.T) { driverSurvivesKill(t, c) })
}

func driverTypes(t *testing.T, s *gocql.Session) {
	t.Helper()
	names := []string{"ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "duration", "float", "inet", "int", "smallint", "text",
		"time", "timestamp", "timeuuid", "tinyint", "uuid", "varchar", "varint"}
	def, cols, marks := "CREATE TABLE d.types (k int PRIMARY KEY", "k", "?"
	for _, n := range names {
		def += ", c_" + n + " " + n
		cols += ", c_" + n
		marks += ", ?"
	}
	driverExec(t, s, def+")")
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	at := time.Date(2013, 7, 4, 12, 34, 56, 789e6, time.UTC)
	row := []any{"plain", int64(math.MinInt64), []byte{0, 255, 1}, true, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), inf.NewDecBig(huge, 20),
		math.Inf(-1), gocql.Duration{Months: -1, Days: -2, Nanoseconds: -3}, float32(math.SmallestNonzeroFloat32), net.ParseIP("2001:db8::1"),
		math.MinInt32, int16(math.MaxInt16), "grüße 世界 \x00", 23*time.Hour + 59*time.Minute + 1, at, gocql.UUIDFromTime(at), int8(math.MinInt8),
		gocql.MustRandomUUID(), "", huge}
	driverExec(t, s, "INSERT INTO d.types ("+cols+") VALUES ("+marks+")", append([]any{1}, row...)...)
	driverExec(t, s, "INSERT INTO d.types ("+cols+") VALUES ("+marks+")", append([]any{2}, make([]any, len(row))...)...)
	into := make([]any, len(row)+1)
	into[0] = new(int)
	for i, v := range row {
		into[i+1] = reflect.New(reflect.TypeOf(v)).Interface()
	}
	if err := s.Query("SELECT "+cols+" FROM d.types WHERE k = ?", 1).Scan(into...); err != nil {
		t.Fatal(err)
	}
	for i, v := range row {
		if got := reflect.ValueOf(into[i+1]).Elem().Interface(); !sameValue(got, v) {
			t.Errorf("%s: wrote %v, read %v", names[i], v, got)
		}
	}
	nulls := map[string]any{}
	if err := s.Query("SELECT "+cols+" FROM d.types WHERE k = ?", 2).MapScan(nulls); err != nil {
		t.Fatal(err)
	}
	var text *string
	var number *int64
	if err := s.Query("SELECT c_text, c_bigint FROM d.types WHERE k = ?", 2).Scan(&text, &number); err != nil || text != nil || number != nil {
		t.Errorf("nulls are read as %v, %v, %v", text, number, err)
	}
}

func sameValue(got, want any) bool {
	switch w := want.(type) {
	case time.Time:
		return w.Equal(got.(time.Time))
	case []byte:
		return bytes.Equal(w, got.([]byte))
	case net.IP:
		return w.Equal(got.(net.IP))
	case *big.Int:
		return w.Cmp(got.(*big.Int)) == 0
	case *inf.Dec:
		return w.Cmp(got.(*inf.Dec)) == 0 && w.Scale() == got.(*inf.Dec).Scale()
	}
	return got == want
}

func driverPages(t *testing.T, s *gocql.Session) {
	t.Helper()
	const rows = 1001
	driverExec(t, s, "CREATE TABLE d.pages (k int, c int, v text, PRIMARY KEY (k, c))")
	for c := 0; c < rows; c += 50 {
		b := s.Batch(gocql.UnloggedBatch)
		for i := c; i < min(c+50, rows); i++ {
			b.Query("INSERT INTO d.pages (k, c, v) VALUES (?, ?, ?)", i%3, i, fmt.Sprint("v", i))
		}
		if err := b.Exec(); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[int]bool{}
	pages, state := 0, []byte(nil)
	for {
		iter := s.Query("SELECT c, v FROM d.pages").PageSize(100).PageState(state).Iter()
		state = iter.PageState()
		pages++
		if n := iter.NumRows(); n > 100 {
			t.Errorf("a page has %d rows", n)
		}
		for range iter.NumRows() {
			var i int
			var v string
			if !iter.Scan(&i, &v) || seen[i] || v != fmt.Sprint("v", i) {
				t.Errorf("row %d, %q: seen %v", i, v, seen[i])
			}
			seen[i] = true
		}
		if len(state) == 0 {
			break
		}
	}
	if len(seen) != rows || pages < 11 {
		t.Errorf("%d rows on %d pages, want %d on 11 or more", len(seen), pages, rows)
	}
	scanned := 0
	iter := s.Query("SELECT c FROM d.pages WHERE k = ?", 1).PageSize(7).Iter() // the driver turns the pages
	for i := 0; iter.Scan(&i); scanned++ {
		if i != 1+3*scanned {
			t.Fatalf("row %d is %d", scanned, i)
		}
	}
	if err := iter.Close(); err != nil || scanned != (rows+1)/3 {
		t.Errorf("%d rows, %v", scanned, err)
	}
}

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

// driverTokenAware: the driver computes who owns a key by what system.local and system.peers tell it. With one replica it has to send every
// statement to the node that keeps the row, so that each node holds as many rows as statements went to it.
func driverTokenAware(t *testing.T, c *proc.Cluster) {
	t.Helper()
	driverExec(t, gocqlSession(t, c.Nodes[1], ""), "CREATE TABLE single.t (k text PRIMARY KEY, v int)")
	seen := &hosts{count: map[string]int{}}
	s := gocqlSession(t, c.Nodes[1], "single", func(cfg *gocql.ClusterConfig) {
		cfg.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
		cfg.QueryObserver = seen
	})
	eventually(t, func() string { // the pools of all nodes are filled in the background
		for i := range 30 {
			if err := s.Query("SELECT v FROM t WHERE k = ?", fmt.Sprint(i)).Iter().Close(); err != nil {
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
	const rows = 300
	for i := range rows {
		driverExec(t, s, "INSERT INTO t (k, v) VALUES (?, ?)", fmt.Sprint("key ", i), i)
	}
	total := 0
	for _, n := range c.Nodes {
		held := replica(t, n, "single", "t").Rows
		total += held
		if seen.count[n.Address] != held {
			t.Errorf("node %d got %d statements and holds %d rows", n.Index, seen.count[n.Address], held)
		}
	}
	if total != rows {
		t.Errorf("%d rows on all nodes, want %d", total, rows)
	}
}

// driverSurvivesKill: while a node is killed and started again, idempotent statements with the driver's simple retries never fail.
func driverSurvivesKill(t *testing.T, c *proc.Cluster) {
	t.Helper()
	seen := &hosts{count: map[string]int{}}
	s := gocqlSession(t, c.Nodes[0], "d", func(cfg *gocql.ClusterConfig) {
		cfg.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
		cfg.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: 3}
		cfg.DefaultIdempotence = true
		cfg.QueryObserver = seen
	})
	driverExec(t, s, "CREATE TABLE d.load (k int, c int, v text, PRIMARY KEY (k, c))")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	written := make([]int, 4)
	progress := make(chan struct{}, 1)
	for w := range written {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := s.Query("INSERT INTO load (k, c, v) VALUES (?, ?, ?)", w, i, fmt.Sprint(w, i)).Exec(); err != nil {
					t.Errorf("writer %d, row %d: %v", w, i, err)
					return
				}
				var v string
				if err := s.Query("SELECT v FROM load WHERE k = ? AND c = ?", w, i).Scan(&v); err != nil || v != fmt.Sprint(w, i) {
					t.Errorf("writer %d, row %d: read %q, %v", w, i, v, err)
					return
				}
				written[w] = i + 1
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	awaitRounds := func(n int) {
		deadline := time.After(wait)
		for range n {
			select {
			case <-progress:
			case <-deadline:
				t.Fatal("the writers stand still")
			}
		}
	}
	for _, victim := range []*proc.Node{c.Nodes[2], c.Nodes[0]} { // the second is the one that was connected to
		awaitRounds(200)
		kill(t, victim)
		awaitRounds(500)
		start(t, c, victim)
	}
	awaitRounds(200)
	stop()
	all.Wait()
	for w, want := range written {
		var got int
		if err := s.Query("SELECT count(*) FROM load WHERE k = ?", w).Scan(&got); err != nil || got < want {
			t.Errorf("writer %d: %d rows of %d, %v", w, got, want, err)
		}
	}
	t.Logf("%v rows; statements by node %v, %d of them retries", written, seen.count, seen.retry)
}
