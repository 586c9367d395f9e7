package e2e

import (
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

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

// gocqlRun is one run of Apache's Go driver, the client that needs nothing but Go. It runs always, in its short form unless -clients asks for it.
type gocqlRun struct {
	clientRun
	session *gocql.Session
	long    bool
}

// gocqlSuite is a check each, in the order in which they run: later ones use tables of earlier ones.
var gocqlSuite = []struct {
	name  string
	check func(*gocqlRun, *testing.T)
}{
	{"nodes are discovered", (*gocqlRun).nodesAreDiscovered},
	{"versions and compressions", (*gocqlRun).versionsAndCompressions},
	{"statements are prepared", (*gocqlRun).statementsArePrepared},
	{"every type both ways", (*gocqlRun).everyTypeBothWays},
	{"pages are turned", (*gocqlRun).pagesAreTurned},
	{"batches are applied", (*gocqlRun).batchesAreApplied},
	{"requests are traced", (*gocqlRun).requestsAreTraced},
	{"schema changes are told", (*gocqlRun).schemaChangesAreTold},
	{"prepared statements survive alter", (*gocqlRun).preparedStatementsSurviveAlter},
	{"requests reach an owner", (*gocqlRun).requestsReachAnOwner},
	{"a node may die under load", (*gocqlRun).aNodeMayDieUnderLoad},
	{"a new node is told", (*gocqlRun).aNewNodeIsTold},
}

func runGocql(t *testing.T, long bool) {
	t.Helper()
	began := time.Now()
	r := &gocqlRun{clientRun: clientRun{cluster: startCluster(t, 3)}, long: long}
	r.session = r.connect(t, "")
	driverExec(t, r.session, "CREATE KEYSPACE d"+simpleRF3)
	driverExec(t, r.session, "CREATE KEYSPACE single WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}")
	for _, c := range gocqlSuite {
		t.Run(c.name, func(t *testing.T) { c.check(r, t) })
	}
	t.Logf("gocql: %d checks in %.1f s", len(gocqlSuite), time.Since(began).Seconds())
}

// connect opens a session that knows all nodes and sends statements to an owner.
func (r *gocqlRun) connect(t *testing.T, keyspace string, set ...func(*gocql.ClusterConfig)) *gocql.Session {
	t.Helper()
	return gocqlSession(t, r.cluster.Nodes[0], keyspace, append([]func(*gocql.ClusterConfig){func(cfg *gocql.ClusterConfig) {
		cfg.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
		cfg.Timeout = 20 * time.Second
	}}, set...)...)
}

// size is how much of something the long form does, a tenth of it the short one.
func (r *gocqlRun) size(long int) int {
	if r.long {
		return long
	}
	return long / 10
}

// onHosts runs f for each host that the driver knows.
func (r *gocqlRun) onHosts(t *testing.T, s *gocql.Session, f func(h *gocql.HostInfo)) {
	t.Helper()
	hosts := s.GetHosts()
	if len(hosts) < 3 {
		t.Fatalf("the driver knows %d nodes", len(hosts))
	}
	for _, h := range hosts {
		f(h)
	}
}

// host is what the driver knows of node n, from 1.
func (r *gocqlRun) host(n int) *gocql.HostInfo {
	for _, h := range r.session.GetHosts() {
		if n <= len(r.cluster.Nodes) && h.ConnectAddress().String() == r.cluster.Nodes[n-1].Address {
			return h
		}
	}
	return nil
}
