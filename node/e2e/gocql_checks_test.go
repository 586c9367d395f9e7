package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"github.com/apache/cassandra-gocql-driver/v2/snappy"
)

func (r *gocqlRun) nodesAreDiscovered(t *testing.T) {
	ids := map[string]bool{}
	r.onHosts(t, r.session, func(h *gocql.HostInfo) {
		if !h.IsUp() || h.Version().String() != "v5.0.0" || len(h.Tokens()) != 16 || h.DataCenter() != "datacenter1" {
			t.Errorf("%s, version %s, %d tokens", h, h.Version(), len(h.Tokens()))
		}
		eventually(t, func() string { // the pools of all nodes are filled in the background
			var id gocql.UUID
			if err := r.session.Query("SELECT host_id FROM system.local").SetHostID(h.HostID()).Scan(&id); err != nil {
				return err.Error()
			}
			return not(id.String() == h.HostID(), "the node that was asked answers")
		})
		ids[h.HostID()] = true
	})
	if len(ids) != 3 {
		t.Errorf("%d nodes", len(ids))
	}
}

func (r *gocqlRun) versionsAndCompressions(t *testing.T) {
	for _, tc := range []struct {
		version    int
		compressor gocql.Compressor
	}{{4, nil}, {4, lz4.LZ4Compressor{}}, {4, snappy.SnappyCompressor{}}, {5, nil}, {5, lz4.LZ4Compressor{}}} {
		s := r.connect(t, "", func(cfg *gocql.ClusterConfig) { cfg.ProtoVersion, cfg.Compressor = tc.version, tc.compressor })
		var got string
		text := strings.Repeat("compressible ", 20_000)
		if err := s.Query("SELECT (text)? AS t FROM system.local", text).Scan(&got); err != nil || got != text {
			t.Errorf("v%d, %T: %d bytes, %v", tc.version, tc.compressor, len(got), err)
		}
		s.Close()
	}
}

func (r *gocqlRun) statementsArePrepared(t *testing.T) {
	s := r.session
	driverExec(t, s, "CREATE TABLE d.prepared (k int, c text, v int, w int, PRIMARY KEY (k, c))")
	insert := "INSERT INTO d.prepared (k, c, v, w) VALUES (?, ?, ?, ?)"
	driverExec(t, s, insert, 1, "a", 1, 1)
	driverExec(t, s, insert, 1, "a", 2, gocql.UnsetValue) // w stays
	driverExec(t, s, insert, 2, "b", nil, 3)
	named := "SELECT v, w FROM d.prepared WHERE k = :key AND c = :other"
	var v, w *int
	if err := s.Query(named, gocql.NamedValue("other", "a"), gocql.NamedValue("key", 1)).Scan(&v, &w); err == nil {
		t.Error("gocql takes names in another order now: hold it to the values")
	}
	for k, c := range map[int]string{1: "a", 2: "b"} {
		if err := s.Query(named, k, c).Scan(&v, &w); err != nil || k == 1 && (*v != 2 || *w != 1) || k == 2 && (v != nil || *w != 3) {
			t.Errorf("row %d: %v, %v, %v", k, v, w, err)
		}
	}
	m, err := s.StatementMetadata(t.Context(), insert, "")
	if err != nil || !slices.Equal(m.PKBindColumnIndexes, []int{0}) || len(m.BindColumns) != 4 {
		t.Errorf("%+v, %v", m, err)
	}
	var e gocql.RequestError
	if err := s.Query("SELECT nothing FROM d.prepared WHERE k = ?", 1).Exec(); !errors.As(err, &e) || e.Code() != gocql.ErrCodeInvalid {
		t.Errorf("no such column: %v", err)
	}
}

func (r *gocqlRun) pagesAreTurned(t *testing.T) {
	rows := r.size(10_000)
	driverExec(t, r.session, "CREATE TABLE d.pages (k int, c int, v text, PRIMARY KEY (k, c))")
	for c := 0; c < rows; c += 50 {
		b := r.session.Batch(gocql.UnloggedBatch)
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
		iter := r.session.Query("SELECT c, v FROM d.pages").PageSize(100).PageState(state).Iter()
		state = bytes.Clone(iter.PageState())
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
	if len(seen) != rows || pages < rows/100 {
		t.Errorf("%d rows on %d pages, want %d", len(seen), pages, rows)
	}
	r.anotherNodeGoesOn(t)
	scanned := 0
	iter := r.session.Query("SELECT c FROM d.pages WHERE k = ?", 1).PageSize(7).Iter() // the driver turns the pages
	for i := 0; iter.Scan(&i); scanned++ {
		if i != 1+3*scanned {
			t.Fatalf("row %d is %d", scanned, i)
		}
	}
	if err := iter.Close(); err != nil || scanned != (rows+1)/3 {
		t.Errorf("%d rows, %v", scanned, err)
	}
}

// anotherNodeGoesOn: a page state of one node is good for all.
func (r *gocqlRun) anotherNodeGoesOn(t *testing.T) {
	t.Helper()
	page := r.session.Query("SELECT c FROM d.pages WHERE k = 1").PageSize(7).Iter()
	state := bytes.Clone(page.PageState())
	r.onHosts(t, r.session, func(h *gocql.HostInfo) {
		rest := r.session.Query("SELECT c FROM d.pages WHERE k = 1").PageSize(3).PageState(state).SetHostID(h.HostID()).Iter()
		var c int
		if !rest.Scan(&c) || c != 22 {
			t.Errorf("%s goes on at %d: %v", h, c, rest.Close())
		}
	})
}

func (r *gocqlRun) batchesAreApplied(t *testing.T) {
	driverExec(t, r.session, "CREATE TABLE d.batched (k int, c int, v text, PRIMARY KEY (k, c))")
	for kind, keys := range map[gocql.BatchType][]func(i int) int{
		gocql.UnloggedBatch: {func(i int) int { return i }},
		gocql.LoggedBatch:   {func(int) int { return 100 }, func(i int) int { return 200 + i }},
	} {
		for _, key := range keys {
			b := r.session.Batch(kind)
			for i := range 10 {
				b.Query("INSERT INTO d.batched (k, c, v) VALUES (?, ?, ?)", key(i), i, "prepared")
				b.Query(fmt.Sprintf("INSERT INTO d.batched (k, c, v) VALUES (%d, %d, 'text')", key(i), i+100))
			}
			if err := b.Exec(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var n int
	if err := r.session.Query("SELECT count(*) FROM d.batched").Scan(&n); err != nil || n != 60 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// traceID is a gocql.Tracer that keeps the last id.
type traceID struct{ id gocql.UUID }

func (i *traceID) Trace(id []byte) { i.id = gocql.UUID(id) }

func (r *gocqlRun) requestsAreTraced(t *testing.T) {
	r.onHosts(t, r.session, func(h *gocql.HostInfo) {
		var session traceID
		if err := r.session.Query("SELECT * FROM d.batched WHERE k = 100").Trace(&session).SetHostID(h.HostID()).Exec(); err != nil {
			t.Fatal(err)
		}
		var coordinator string
		var parameters map[string]string
		eventually(t, func() string {
			var duration *int
			err := r.session.Query("SELECT coordinator, duration, parameters FROM system_traces.sessions WHERE session_id = ?", session.id).SetHostID(h.HostID()).
				Scan(&coordinator, &duration, &parameters)
			return not(err == nil && duration != nil && *duration > 0, fmt.Sprint("the trace ends; ", err))
		})
		events := r.session.Query("SELECT activity FROM system_traces.events WHERE session_id = ?", session.id).SetHostID(h.HostID()).Iter().NumRows()
		if coordinator != h.ConnectAddress().String() || parameters["consistency_level"] != "QUORUM" || events < 2 {
			t.Errorf("%s: coordinator %s, %d events, %v", h, coordinator, events, parameters)
		}
	})
}

// schemaChangesAreTold: a session's own picture of the schema follows what another changes, by events alone.
func (r *gocqlRun) schemaChangesAreTold(t *testing.T) {
	watcher := r.connect(t, "")
	sees := func(what string, holds func(k *gocql.KeyspaceMetadata) bool) {
		t.Helper()
		eventually(t, func() string {
			all, err := watcher.AllKeyspaceMetadata()
			return not(err == nil && holds(all["told"]), fmt.Sprint(what, " ", err))
		})
	}
	column := func(k *gocql.KeyspaceMetadata, name string) bool {
		return k != nil && k.Tables["t"] != nil && k.Tables["t"].Columns[name] != nil
	}
	driverExec(t, r.session, "CREATE KEYSPACE told"+simpleRF3)
	sees("the keyspace", func(k *gocql.KeyspaceMetadata) bool { return k != nil })
	driverExec(t, r.session, "CREATE TYPE told.pair (a int, b text)")
	driverExec(t, r.session, "CREATE TABLE told.t (k int PRIMARY KEY, v frozen<pair>)")
	sees("table and type", func(k *gocql.KeyspaceMetadata) bool { return column(k, "v") && k.UserTypes["pair"] != nil })
	driverExec(t, r.session, "ALTER TABLE told.t ADD more map<text, int>")
	sees("the column", func(k *gocql.KeyspaceMetadata) bool { return column(k, "more") })
	driverExec(t, r.session, "DROP TABLE told.t")
	sees("the table's end", func(k *gocql.KeyspaceMetadata) bool { return k != nil && k.Tables["t"] == nil })
	driverExec(t, r.session, "DROP KEYSPACE told")
	sees("the keyspace's end", func(k *gocql.KeyspaceMetadata) bool { return k == nil })
	if err := watcher.AwaitSchemaAgreement(t.Context()); err != nil {
		t.Error(err)
	}
}

func (r *gocqlRun) preparedStatementsSurviveAlter(t *testing.T) {
	for _, version := range []int{4, 5} {
		s := r.connect(t, "d", func(cfg *gocql.ClusterConfig) { cfg.ProtoVersion = version })
		table := fmt.Sprint("altered", version)
		everywhere := func(want map[string]any) {
			t.Helper()
			r.onHosts(t, r.session, func(h *gocql.HostInfo) {
				eventually(t, func() string { // also until this session's pools are filled
					got := map[string]any{}
					err := s.Query("SELECT * FROM "+table+" WHERE k = ?", 1).SetHostID(h.HostID()).MapScan(got)
					if err == nil && !maps.Equal(got, want) {
						t.Fatalf("v%d through %s: %v, want %v", version, h, got, want)
					}
					return not(err == nil, fmt.Sprint("an answer: ", err))
				})
			})
		}
		driverExec(t, s, "CREATE TABLE "+table+" (k int PRIMARY KEY, m text)")
		driverExec(t, s, "INSERT INTO "+table+" (k, m) VALUES (?, ?)", 1, "m")
		everywhere(map[string]any{"k": 1, "m": "m"})
		driverExec(t, r.session, "ALTER TABLE d."+table+" ADD a int") // before m in the row
		driverExec(t, r.session, "UPDATE d."+table+" SET a = 7 WHERE k = 1")
		everywhere(map[string]any{"k": 1, "a": 7, "m": "m"})
		driverExec(t, r.session, "ALTER TABLE d."+table+" DROP m")
		everywhere(map[string]any{"k": 1, "a": 7})
		s.Close()
	}
}
