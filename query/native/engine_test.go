package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/virtual"
	"nodedb/query/wire"
	"nodedb/vnodes"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// oneReplica is an exec.Cluster of one replica: the real storage engine on memory files. Schema changes are applied at once and told to the server.
type oneReplica struct {
	changing sync.Mutex // a schema change reads the catalog and replaces it
	store    *storage.Engine
	catalog  atomic.Pointer[schema.Catalog]
	ring     *vnodes.Ring
	server   atomic.Pointer[Server]
	traces   *trace.Recorder
}

func newOneReplica(t testing.TB, address string) *oneReplica {
	o := storage.Options{FS: disk.Crashable(), Dir: "d"}
	if _, bench := t.(*testing.B); bench {
		o.FS, o.Dir = disk.Real(), t.TempDir() // a memory file's sync copies the file
	}
	store, err := storage.Open(storage.Options{
		FS: o.FS, Dir: o.Dir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Fatal: func(err error) { t.Errorf("storage stopped: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &oneReplica{store: store, traces: trace.New(netip.MustParseAddrPort("127.3.9.1:7000"), time.Now, nil)}
	n.ring = vnodes.NewRing(1, []vnodes.Node{{ID: vnodes.HostID{15: 1}, Address: address, DC: "datacenter1", Rack: "rack1", Weight: 1, Tokens: []vnodes.Token{0}}})
	n.catalog.Store(schema.Empty())
	return n
}

func (n *oneReplica) Catalog() *schema.Catalog { return n.catalog.Load() }
func (n *oneReplica) Traces() *trace.Recorder  { return n.traces }
func (n *oneReplica) Timestamp() int64         { return time.Now().UnixMicro() }
func (n *oneReplica) Seconds() int64           { return time.Now().Unix() }

func (n *oneReplica) Topology() virtual.Topology {
	node, _ := n.ring.Node(vnodes.HostID{15: 1})
	return virtual.Topology{
		ClusterName: "test", ReleaseVersion: "4.0.11", Self: node.ID, Nodes: []virtual.NodeInfo{{Node: node, Up: true}}, Ring: n.ring, NativePort: 9042,
	}
}

func (n *oneReplica) Write(_ context.Context, r *coordinator.WriteRequest, done func(error)) {
	ms := make([]row.Mutation, len(r.Writes))
	for i := range r.Writes {
		var err error
		if ms[i], _, err = row.DecodeMutation(r.Writes[i].Mutation.Append(nil)); err != nil {
			done(err)
			return
		}
	}
	n.store.Apply(ms, done)
}

func (n *oneReplica) Read(ctx context.Context, r *coordinator.ReadRequest, done func([]byte, error)) {
	done(n.store.Read(ctx, &r.Spec, nil))
}

func (n *oneReplica) ChangeSchema(_ context.Context, ch *schema.Change) (schema.Target, string, error) {
	n.changing.Lock()
	defer n.changing.Unlock()
	old := n.catalog.Load()
	next, target, err := old.Apply(ch, old.Epoch+1)
	if err != nil {
		return target, "", err
	}
	tables := map[row.StorageID]storage.TableKind{}
	for _, k := range next.Keyspaces {
		for _, t := range k.Tables {
			tables[t.Storage] = storage.OnDisk
		}
	}
	if err := n.store.SetTables(tables, next.Highest); err != nil {
		return target, "", err
	}
	n.catalog.Store(next)
	if s := n.server.Load(); s != nil && target != (schema.Target{}) {
		s.NotifySchema(query.Change(target))
	}
	return target, "", nil
}

// startReal serves the real engine over one replica.
func startReal(t testing.TB, address string) (*oneReplica, string) {
	n := newOneReplica(t, address)
	s, addr := startOn(t, Options{Engine: query.NewEngine(n, query.Options{ReleaseVersion: "4.0.11"}), Traces: n.traces}, address+":0")
	n.server.Store(s)
	return n, addr
}

func realSession(t testing.TB, addr string, version int) *gocql.Session {
	host, port, _ := net.SplitHostPort(addr)
	cluster := gocql.NewCluster(host)
	cluster.Port, _ = strconv.Atoi(port)
	cluster.ProtoVersion, cluster.Logger = version, quiet{}
	cluster.Timeout, cluster.ConnectTimeout = 10*time.Second, 10*time.Second
	cluster.Consistency = gocql.One
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// TestRealEngine drives parser, planner, executor and storage through the door by gocql, in both versions: DDL, types, paging, batches, token-aware
// routing keys, metadata, and a prepared SELECT * across ALTER.
func TestRealEngine(t *testing.T) {
	_, addr := startReal(t, "127.3.9.3")
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			t.Parallel()
			session := realSession(t, addr, version)
			defer session.Close()
			ks := fmt.Sprint("real", version)
			for _, ddl := range []string{
				"CREATE KEYSPACE " + ks + " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
				"CREATE TABLE " + ks + ".t (a text, b int, c bigint, d double, e timestamp, f uuid, g blob, PRIMARY KEY ((a), b)) WITH CLUSTERING ORDER BY (b DESC)",
			} {
				if err := session.Query(ddl).Exec(); err != nil {
					t.Fatal(ddl, err)
				}
			}
			realRows(t, session, ks)
			realBatch(t, session, ks)
			realAlter(t, session, ks)
			waitFor(t, func() bool { // the driver reads the schema anew about a second after an event
				meta, err := session.KeyspaceMetadata(ks)
				return err == nil && meta.Tables["t"] != nil && len(meta.Tables["t"].Columns) == 8 && meta.Tables["t"].ClusteringColumns[0].Order == gocql.DESC
			})
		})
	}
}

// realRows writes 1,000 rows and reads them back in pages.
func realRows(t *testing.T, session *gocql.Session, ks string) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	id := gocql.TimeUUID()
	for i := range 1000 {
		err := session.Query("INSERT INTO "+ks+".t (a, b, c, d, e, f, g) VALUES (?, ?, ?, ?, ?, ?, ?)", "k", i, int64(i)<<33, float64(i)/4, at, id, []byte{byte(i)}).Exec()
		if err != nil {
			t.Fatal(err)
		}
	}
	iter := session.Query("SELECT b, c, d, e, f, g FROM "+ks+".t WHERE a = ?", "k").PageSize(77).Iter()
	var b, want int
	var c int64
	var d float64
	var e time.Time
	var f gocql.UUID
	var g []byte
	for want = 999; iter.Scan(&b, &c, &d, &e, &f, &g); want-- {
		if b != want || c != int64(b)<<33 || d != float64(b)/4 || !e.Equal(at) || f != id || len(g) != 1 || g[0] != byte(b) {
			t.Fatal(b, c, d, e, f, g)
		}
	}
	if err := iter.Close(); err != nil || want != -1 {
		t.Fatal(want, err)
	}
}

func realBatch(t *testing.T, session *gocql.Session, ks string) {
	batch := session.Batch(gocql.UnloggedBatch)
	for i := range 10 {
		batch.Query("INSERT INTO "+ks+".t (a, b, c) VALUES (?, ?, ?)", "batch", i, int64(i))
	}
	batch.Query("DELETE FROM " + ks + ".t WHERE a = 'batch' AND b = 3")
	if err := batch.Exec(); err != nil {
		t.Fatal(err)
	}
	var n int64
	if err := session.Query("SELECT count(*) FROM "+ks+".t WHERE a = ?", "batch").Scan(&n); err != nil || n < 9 {
		t.Fatal(n, err)
	}
}

// realAlter reads by a prepared SELECT * before and after a column came.
func realAlter(t *testing.T, session *gocql.Session, ks string) {
	read := func() (map[string]any, error) {
		m := make(map[string]any)
		return m, session.Query("SELECT * FROM "+ks+".t WHERE a = ? AND b = ?", "k", 7).MapScan(m)
	}
	before, err := read()
	if err != nil || len(before) != 7 {
		t.Fatal(before, err)
	}
	for _, cql := range []string{"ALTER TABLE " + ks + ".t ADD aa int", "UPDATE " + ks + ".t SET aa = 5 WHERE a = 'k' AND b = 7"} {
		if err := session.Query(cql).Exec(); err != nil {
			t.Fatal(cql, err)
		}
	}
	after, err := read()
	if err != nil || len(after) != 8 || after["aa"] != 5 || after["c"] != before["c"] || after["e"] != before["e"] {
		t.Fatal(after, err)
	}
}

// TestRealErrors: errors keep their codes through the door, and so do warnings and events.
func TestRealErrors(t *testing.T) {
	events := make(chan wire.Event, 10)
	_, addr := startReal(t, "127.3.9.4")
	c := dial(t, addr, wire.ClientOptions{Version: wire.V5, OnEvent: func(e wire.Event) { events <- e }})
	if err := c.Register(t.Context(), wire.EventSchema); err != nil {
		t.Fatal(err)
	}
	create := "CREATE KEYSPACE e WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
	res, err := c.Query(t.Context(), create, nil)
	if err != nil || res.Kind != wire.KindSchemaChange || res.Change.Kind != "CREATED" || res.Change.Keyspace != "e" {
		t.Fatal(res, err)
	}
	if e := <-events; e.Type != wire.EventSchema || e.Schema.Object != "KEYSPACE" || e.Schema.Keyspace != "e" {
		t.Errorf("%+v", e)
	}
	for cql, want := range map[string]wire.ErrorCode{
		create: wire.CodeAlreadyExists, "SELEC": wire.CodeSyntax, "SELECT * FROM e.nothing": wire.CodeInvalid, "USE nowhere": wire.CodeInvalid,
	} {
		_, err := c.Query(t.Context(), cql, nil)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Errorf("%s: %v, want %v", cql, err, want)
		}
	}
	if _, err := c.Execute(t.Context(), &wire.Prepared{ID: make([]byte, 16)}, nil); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
}

// TestRealTrace: a traced request's session is in system_traces, with its duration, as soon as it was answered.
func TestRealTrace(t *testing.T) {
	_, addr := startReal(t, "127.3.9.6")
	c := dial(t, addr, wire.ClientOptions{})
	const cql = "SELECT cluster_name FROM system.local"
	traced, err := c.Trace(t.Context(), cql, &wire.Params{Consistency: 1, PageSize: 10})
	if err != nil || traced.TraceID == [16]byte{} {
		t.Fatal(traced, err)
	}
	res, err := c.Query(t.Context(), "SELECT duration, parameters['query'], request, started_at, client FROM system_traces.sessions WHERE session_id = ?",
		&wire.Params{Consistency: 1, Values: [][]byte{traced.TraceID[:]}})
	if err != nil || !res.Next() {
		t.Fatal(res, err)
	}
	row := res.Row()
	if row[0] == nil || string(row[1]) != cql || string(row[2]) != "Execute CQL3 query" || row[3] == nil || len(row[4]) != 4 {
		t.Errorf("%q", row)
	}
}

// TestFailedTrace: a request that fails has a trace too, and bound values are shown.
func TestFailedTrace(t *testing.T) {
	_, addr := startReal(t, "127.3.9.7")
	c := dial(t, addr, wire.ClientOptions{})
	const cql = "SELECT * FROM no.such WHERE k = ?"
	_, err := c.Trace(t.Context(), cql, &wire.Params{Consistency: 1, Values: [][]byte{{0, 1}, nil, make([]byte, 2*maxTracedValue)}})
	if we := (*wire.Error)(nil); !errors.As(err, &we) || we.Code != wire.CodeInvalid {
		t.Fatal(err)
	}
	res, err := c.Query(t.Context(), "SELECT session_id, duration, parameters['query'], parameters['bound_var_0'], parameters['bound_var_1'], parameters['bound_var_2'] FROM system_traces.sessions", nil)
	if err != nil || !res.Next() {
		t.Fatal(res, err)
	}
	row := res.Row()
	if row[1] == nil || string(row[2]) != cql || string(row[3]) != "0x0001" || string(row[4]) != "null" || len(row[5]) != 2+2*maxTracedValue+3 {
		t.Errorf("%q", row)
	}
	res, err = c.Query(t.Context(), "SELECT activity FROM system_traces.events WHERE session_id = ?", &wire.Params{Consistency: 1, Values: [][]byte{row[0]}})
	if err != nil || !res.Next() || !strings.Contains(string(res.Row()[0]), "Answering an error: ") {
		t.Errorf("%v, %v", res, err)
	}
}
