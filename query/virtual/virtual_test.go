package virtual

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"nodedb/node/row"
	"nodedb/node/trace"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden in testdata/virtual")

type fakeSource struct {
	catalog  *schema.Catalog
	topology Topology
	traces   *trace.Recorder
}

func (s *fakeSource) Catalog() *schema.Catalog { return s.catalog }
func (s *fakeSource) Topology() Topology       { return s.topology }
func (s *fakeSource) Traces() *trace.Recorder  { return s.traces }
func (s *fakeSource) Estimate(table row.StorageID, r vnodes.Range) (int64, int64) {
	return 10 * int64(table), 100
}

func (s *fakeSource) AntiEntropy() []RangeAgreement {
	return []RangeAgreement{
		{Keyspace: "nyc", Table: "flights", Range: vnodes.Range{Start: -9, End: 5}, Agreed: time.UnixMilli(1_700_000_000_000), Compared: time.UnixMilli(1_700_000_100_000),
			Problem: "127.3.7.2 is down", Rows: 3, Partitions: 2, Sent: 400, Received: 50, TotalRows: 7, TotalSent: 4000, TotalReceived: 500},
		{Keyspace: "nyc", Table: "flights", Range: vnodes.Range{Start: 5, End: 20}},
	}
}

func (s *fakeSource) Clients() []Client {
	return []Client{
		{Address: "127.0.0.1", Port: 4000, Stage: "ready", Protocol: 5, Options: map[string]string{"CQL_VERSION": "3.0.0", "DRIVER_NAME": "d", "DRIVER_VERSION": "1"},
			User: "ann", Keyspace: "nyc", Requests: 12, TLS: true},
		{Address: "::1", Port: 4001, Stage: "authenticating", Protocol: 4},
	}
}

func (s *fakeSource) Settings() map[string]string {
	return map[string]string{"cluster_name": "nodedb", "join": ""}
}

func source(t *testing.T) *fakeSource {
	catalog := schema.Empty()
	for i, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "nyc", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "2"}},
		{Op: schema.CreateKeyspace, Keyspace: "dc", Class: "NetworkTopologyStrategy", Replication: map[string]string{"dc1": "1"}},
		{Op: schema.CreateType, Keyspace: "nyc", Name: "place", Columns: []schema.ColumnDef{{Name: "x", Type: "int"}, {Name: "y", Type: "frozen<list<text>>"}}},
		{Op: schema.CreateTable, Keyspace: "nyc", Name: "flights", ID: [16]byte{15: 7}, Columns: []schema.ColumnDef{
			{Name: "origin", Type: "text", Kind: schema.PartitionKey}, {Name: "day", Type: "date", Kind: schema.PartitionKey, Position: 1},
			{Name: "at", Type: "timestamp", Kind: schema.Clustering, Desc: true}, {Name: "runway", Type: "int", Kind: schema.Static},
			{Name: "stops", Type: "map<text, frozen<place>>", Kind: schema.Regular}, {Name: "Gate", Type: "text", Kind: schema.Regular},
		}, Options: map[string]string{"comment": "a year's", "memory": "true", "compaction": `{"class":"LeveledCompactionStrategy"}`, "bloom_filter_fp_chance": "0.1"}},
	} {
		next, _, err := catalog.Apply(ch, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		catalog = next
	}
	nodes := []vnodes.Node{
		{ID: vnodes.HostID{15: 1}, Address: "127.3.7.1", DC: "dc1", Rack: "r1", State: vnodes.StateNormal, Tokens: []vnodes.Token{-9, 100, 20}},
		{ID: vnodes.HostID{15: 2}, Address: "127.3.7.2", DC: "dc1", Rack: "r2", State: vnodes.StateLeaving, Tokens: []vnodes.Token{5}},
		{ID: vnodes.HostID{15: 3}, Address: "2001:db8::3", DC: "dc1", Rack: "r2", State: vnodes.StateJoiningRead, Tokens: []vnodes.Token{6}},
		{ID: vnodes.HostID{15: 4}, Address: "127.3.7.4", DC: "dc1", Rack: "r2", State: vnodes.StateJoining, Tokens: []vnodes.Token{7}},
		{ID: vnodes.HostID{15: 5}, Address: "127.3.7.5", DC: "dc1", Rack: "r2", State: vnodes.StateWaiting},
	}
	s := &fakeSource{catalog: catalog, traces: trace.New(netip.MustParseAddrPort("127.3.7.1:7000"), ticking(), nil)}
	addTrace(s.traces)
	s.topology = Topology{ClusterName: "test", ReleaseVersion: "4.0.11", Self: nodes[0].ID, NativePort: 9042, Ring: vnodes.NewRing(1, nodes)}
	for i := range nodes {
		s.topology.Nodes = append(s.topology.Nodes, NodeInfo{Node: &nodes[i], Up: true})
	}
	return s
}

// rows gives a table's rows as maps from column to text, ordered by key.
func rows(t *testing.T, s Source, keyspace, name string) (out []map[string]string) {
	table, ok := Keyspaces()[keyspace].Tables[name]
	if !ok {
		t.Fatalf("no table %s.%s", keyspace, name)
	}
	var keys []string
	seen := make(map[string]map[string]string)
	err := Rows(table, s, func(values [][]byte) error {
		r := make(map[string]string)
		key := ""
		for i, c := range table.Columns {
			if err := c.Type.Validate(values[i]); err != nil {
				t.Errorf("%s.%s.%s: %v", keyspace, name, c.Name, err)
			}
			if values[i] != nil {
				r[c.Name] = string(c.Type.AppendText(nil, values[i]))
			}
			if c.Kind == schema.PartitionKey || c.Kind == schema.Clustering {
				if values[i] == nil {
					t.Errorf("%s.%s: a row without %s", keyspace, name, c.Name)
				}
				key += r[c.Name] + "|"
			}
		}
		if seen[key] != nil {
			t.Errorf("%s.%s: two rows with key %s", keyspace, name, key)
		}
		keys, seen[key] = append(keys, key), r
		return nil
	})
	if err != nil {
		t.Fatalf("%s.%s: %v", keyspace, name, err)
	}
	sort.Strings(keys)
	for _, k := range keys {
		out = append(out, seen[k])
	}
	return out
}

func allTables() (names [][2]string) {
	for _, k := range Keyspaces() {
		for _, t := range k.Tables {
			names = append(names, [2]string{k.Name, t.Name})
		}
	}
	sort.Slice(names, func(i, j int) bool { return strings.Join(names[i][:], ".") < strings.Join(names[j][:], ".") })
	return names
}

// TestGolden holds what every table says, user schema and cluster included. Rows of system_schema that tell of system tables are left out here.
func TestGolden(t *testing.T) {
	s := source(t)
	var b strings.Builder
	for _, name := range allTables() {
		fmt.Fprintf(&b, "%s.%s\n", name[0], name[1])
		for _, r := range rows(t, s, name[0], name[1]) {
			if _, system := Keyspaces()[r["keyspace_name"]]; system && r["table_name"] != "IndexInfo" {
				continue
			}
			for _, c := range Keyspaces()[name[0]].Tables[name[1]].Columns {
				value, ok := r[c.Name]
				if !ok {
					value = "null"
				}
				fmt.Fprintf(&b, "  %s: %s\n", c.Name, value)
			}
			fmt.Fprintln(&b)
		}
	}
	path := filepath.Join("..", "..", "testdata", "virtual", "tables.txt")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Fatalf("differs from %s; got:\n%s", path, b.String())
	}
}

// TestDriversNeed: the columns that drivers drop a row or a refresh for are there and not null (DRIVERS.md).
func TestDriversNeed(t *testing.T) {
	s := source(t)
	need := map[string][]string{
		"system.local":                 {"key", "cluster_name", "data_center", "host_id", "partitioner", "rack", "release_version", "rpc_address", "schema_version", "tokens", "native_protocol_version"},
		"system.peers":                 {"peer", "data_center", "host_id", "rack", "release_version", "rpc_address", "schema_version", "tokens"},
		"system.peers_v2":              {"peer", "peer_port", "native_address", "native_port", "data_center", "host_id", "rack", "schema_version", "tokens"},
		"system_schema.keyspaces":      {"keyspace_name", "replication", "durable_writes"},
		"system_schema.tables":         {"keyspace_name", "table_name", "flags", "id"},
		"system_schema.columns":        {"kind", "position", "type", "clustering_order", "column_name_bytes"},
		"system.size_estimates":        {"range_start", "range_end", "partitions_count", "mean_partition_size"},
		"system_schema.types":          {"type_name", "field_names", "field_types"},
		"system_virtual_schema.tables": {"keyspace_name", "table_name"},
	}
	for name, columns := range need {
		keyspace, table, _ := strings.Cut(name, ".")
		all := rows(t, s, keyspace, table)
		if len(all) == 0 {
			t.Errorf("%s is empty", name)
		}
		for _, r := range all {
			for _, c := range columns {
				if r[c] == "" {
					t.Errorf("%s: %s is null in %v", name, c, r)
				}
			}
		}
	}
	for _, table := range []string{"functions", "aggregates", "indexes", "views", "triggers", "dropped_columns"} {
		if n := len(rows(t, s, "system_schema", table)); n != 0 {
			t.Errorf("system_schema.%s has %d rows", table, n)
		}
	}
}

// TestPeers: never oneself, and only who owns ranges.
func TestPeers(t *testing.T) {
	s := source(t)
	for _, table := range []string{"peers", "peers_v2"} {
		var got []string
		for _, r := range rows(t, s, "system", table) {
			got = append(got, r["peer"])
		}
		if fmt.Sprint(got) != "[127.3.7.2 2001:db8::3]" {
			t.Errorf("%s: %v", table, got)
		}
	}
	local := rows(t, s, "system", "local")
	if len(local) != 1 || local[0]["tokens"] != "{'-9', '100', '20'}" || local[0]["partitioner"] != Partitioner {
		t.Errorf("%v", local)
	}
	s.topology.Self = vnodes.HostID{}
	if n := len(rows(t, s, "system", "local")); n != 0 {
		t.Errorf("%d rows before the node has an identity", n)
	}
}

// TestSelfDescription: every system table and column is told of once, in system_schema or in system_virtual_schema.
func TestSelfDescription(t *testing.T) {
	s := source(t)
	told := make(map[string]int)
	for _, in := range []string{"system_schema", "system_virtual_schema"} {
		for _, r := range rows(t, s, in, "columns") {
			told[r["keyspace_name"]+"."+r["table_name"]+"."+r["column_name"]+" "+r["type"]+" "+r["kind"]]++
		}
		for _, r := range rows(t, s, in, "tables") {
			told[r["keyspace_name"]+"."+r["table_name"]]++
		}
		for _, r := range rows(t, s, in, "keyspaces") {
			told[r["keyspace_name"]]++
		}
	}
	for _, k := range Keyspaces() {
		if told[k.Name] != 1 {
			t.Errorf("%s is told of %d times", k.Name, told[k.Name])
		}
		for _, table := range k.Tables {
			if n := told[k.Name+"."+table.Name]; n != 1 || !table.Virtual {
				t.Errorf("%s.%s is told of %d times", k.Name, table.Name, n)
			}
			for _, c := range table.Columns {
				if n := told[k.Name+"."+table.Name+"."+c.Name+" "+c.Type.String()+" "+c.Kind.String()]; n != 1 {
					t.Errorf("%s.%s.%s is told of %d times", k.Name, table.Name, c.Name, n)
				}
			}
		}
	}
}

func TestEmitError(t *testing.T) {
	s := source(t)
	stop := errors.New("stop")
	for _, name := range allTables() {
		table := Keyspaces()[name[0]].Tables[name[1]]
		calls := 0
		err := Rows(table, s, func([][]byte) error { calls++; return stop })
		if calls > 1 || (calls == 1 && !errors.Is(err, stop)) || (calls == 0 && err != nil) {
			t.Errorf("%v: %d calls, %v", name, calls, err)
		}
	}
}

// TestTableID: the ids that Cassandra gives its own tables, which some tools know by heart.
func TestTableID(t *testing.T) {
	for name, want := range map[string]string{"local": "7ad54392-bcdd-35a6-8417-4e047860b377", "peers": "37f71aca-7dc2-383b-a706-72528af04d4f"} {
		if got := vnodes.HostID(Keyspaces()["system"].Tables[name].ID).String(); got != want {
			t.Errorf("system.%s: %s, want %s", name, got, want)
		}
	}
}

// ticking is a clock that goes on by a millisecond a look.
func ticking() func() time.Time {
	at := time.UnixMilli(1_700_000_000_000)
	return func() time.Time {
		at = at.Add(time.Millisecond)
		return at
	}
}

// addTrace adds a trace that has ended, and one that has only begun.
func addTrace(r *trace.Recorder) {
	id := [16]byte{15: 1}
	r.Span(id, "cql").Add("Parsing")
	r.Begin(trace.Session{ID: id, Client: netip.MustParseAddrPort("127.3.7.9:5555"), Command: "QUERY", Request: "Execute CQL3 query",
		Parameters: map[string]string{"query": "SELECT"}})
	far := trace.Encode(nil, []trace.Event{{At: time.UnixMilli(1_700_000_000_000), Activity: "Reading", Elapsed: time.Hour}})
	r.Span(id, "cql").Merge("127.3.7.2", far)
	r.End(id)
	r.Begin(trace.Session{ID: [16]byte{15: 2}})
}
