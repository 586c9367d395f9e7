package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nodedb/query/types"
	"nodedb/query/wire"
)

func parseType(t *testing.T, s string) *types.Type {
	t.Helper()
	typ, err := types.Parse(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// systemSchema answers what the shell asks to describe keyspace nyc by itself.
func systemSchema(t *testing.T) *fake {
	f := newFake(t)
	name, texts := types.VarcharType, parseType(t, "frozen<map<text, text>>")
	list := parseType(t, "frozen<list<text>>")
	where := " WHERE keyspace_name = 'nyc'"
	table := where + " AND table_name = 'flights'"
	f.rows("SELECT keyspace_name FROM system_schema.keyspaces", columns("k", name), []any{"system"}, []any{"nyc"}, []any{"Odd Ks"})
	f.rows("SELECT cluster_name, partitioner FROM system.local", columns("cluster_name", name, "partitioner", name),
		[]any{"test", "org.apache.cassandra.dht.Murmur3Partitioner"})
	f.rows("SELECT keyspace_name, table_name FROM system_schema.tables", columns("k", name, "t", name),
		[]any{"system", "local"}, []any{"nyc", "flights"}, []any{"nyc", "Airports"})
	f.rows("SELECT keyspace_name, type_name FROM system_schema.types", columns("k", name, "t", name))
	f.rows("SELECT * FROM system_schema.keyspaces"+where, columns("keyspace_name", name, "durable_writes", types.BooleanType, "replication", texts),
		[]any{"nyc", "true", "{'class': 'SimpleStrategy', 'replication_factor': '3'}"})
	f.rows("SELECT type_name FROM system_schema.types"+where, columns("t", name), []any{"spot"})
	f.rows("SELECT table_name FROM system_schema.tables"+where, columns("t", name), []any{"flights"})
	f.rows("SELECT field_names, field_types FROM system_schema.types"+where+" AND type_name = 'spot'", columns("n", list, "t", list),
		[]any{"['lat', 'Lon']", "['double', 'frozen<list<double>>']"})
	f.rows("SELECT * FROM system_schema.tables"+table, columns("keyspace_name", name, "table_name", name, "comment", name, "gc_grace_seconds", types.IntType,
		"caching", texts, "id", types.UUIDType, "memtable", name), []any{"nyc", "flights", "it's", "864000", "{'keys': 'ALL'}", "00000000-0000-0000-0000-000000000001", nil})
	f.rows("SELECT column_name, clustering_order, kind, position, type FROM system_schema.columns"+table,
		columns("column_name", name, "clustering_order", name, "kind", name, "position", types.IntType, "type", name),
		[]any{"dest", "none", "regular", "-1", "text"}, []any{"flight", "desc", "clustering", "1", "int"}, []any{"day", "none", "partition_key", "1", "date"},
		[]any{"sched", "asc", "clustering", "0", "timestamp"}, []any{"origin", "none", "partition_key", "0", "text"},
		[]any{"City", "none", "static", "-1", "frozen<spot>"})
	for _, none := range []string{
		"SELECT * FROM system_schema.keyspaces WHERE keyspace_name = 'flights'", "SELECT * FROM system_schema.keyspaces WHERE keyspace_name = 'nope'",
		"SELECT * FROM system_schema.tables" + where + " AND table_name = 'nope'",
		"SELECT field_names, field_types FROM system_schema.types" + where + " AND type_name = 'nope'",
	} {
		f.rows(none, columns("x", name))
	}
	f.uses("nyc")
	return f
}

// TestDescribeHere: a server without DESCRIBE is described from system_schema.
func TestDescribeHere(t *testing.T) {
	f := systemSchema(t)
	script := "DESCRIBE CLUSTER; DESC KEYSPACES; DESCRIBE TABLES\nUSE nyc; DESCRIBE TABLES; DESCRIBE TYPES\nDESC KEYSPACE; DESC ONLY KEYSPACE nyc; DESC TABLE nyc.flights; " +
		"DESCRIBE flights; DESC TYPE spot"
	code, stdout, stderr := run(t, f, Options{Execute: script})
	if code != 0 {
		t.Fatal(stderr)
	}
	golden(t, "describe", stdout)
	for statement, want := range map[string]string{
		"DESCRIBE TABLE nyc.nope": "table nyc.nope: not found", "DESCRIBE KEYSPACE nope": "keyspace nope: not found", "DESCRIBE nope": "nope is no keyspace, table or type",
		"DESCRIBE INDEX i": "the shell itself can't describe index", "DESCRIBE KEYSPACE": "there is no keyspace", "DESCRIBE SELECT": "HELP DESCRIBE",
	} {
		if strings.HasSuffix(statement, " nope") && !strings.Contains(statement, "KEYSPACE ") {
			statement = "USE nyc; " + statement
		}
		if code, _, stderr := run(t, f, Options{Execute: statement}); code != ExitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q", statement, code, stderr)
		}
	}
}

// TestDescribeByServer: a server with DESCRIBE is asked, and shown.
func TestDescribeByServer(t *testing.T) {
	f := newFake(t)
	name := types.VarcharType
	three := []any{"keyspace_name", name, "type", name, "name", name}
	f.rows("DESCRIBE CLUSTER", columns("cluster", name, "partitioner", name, "snitch", name), []any{"test", "a.b.Murmur3Partitioner", "SimpleSnitch"})
	f.rows("DESCRIBE KEYSPACES", columns(three...), []any{"system", "keyspace", "system"}, []any{"nyc", "keyspace", "nyc"})
	f.rows("DESC TABLES", columns(three...), []any{"nyc", "table", `"Flights"`}, []any{"nyc", "table", "airports"}, []any{"a", "table", "b"})
	f.rows("DESCRIBE TYPES", columns(three...))
	f.rows("DESCRIBE TABLE t", columns(append(three, "create_statement", name)...), []any{"nyc", "table", "t", "CREATE TABLE nyc.t (\n    k int PRIMARY KEY\n);"})
	f.fails("DESCRIBE TABLE x", wire.Errorf(wire.CodeInvalid, "'x' not found in keyspace 'nyc'"))
	code, stdout, stderr := run(t, f, Options{Execute: "DESCRIBE CLUSTER\nDESCRIBE KEYSPACES; DESC TABLES; DESCRIBE TYPES; DESCRIBE TABLE t; DESCRIBE TABLE x"})
	if code != ExitFailed || !strings.Contains(stderr, "'x' not found") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	golden(t, "describe_server", stdout)
}

func TestCopyTo(t *testing.T) {
	f := newFake(t)
	f.pages(`SELECT a, "B" FROM nyc.t`, columns("a", types.IntType, "B", types.VarcharType), [][]any{{"1", "x,y"}, {"2", nil}}, [][]any{{"3", ""}})
	dir := t.TempDir()
	file := filepath.Join(dir, "it's.csv")
	quoted := "'" + strings.ReplaceAll(file, "'", "''") + "'"
	for _, c := range []struct{ with, want string }{
		{"", "1,\"x,y\"\r\n2,\r\n3,\"\"\r\n"},
		{"WITH HEADER = true AND DELIMITER = '|' AND NULL = 'NA';", "a|B\r\n1|x,y\r\n2|NA\r\n3|\"\"\r\n"},
		{"with maxrows=1 and pagesize = 10", "1,\"x,y\"\r\n"},
	} {
		code, stdout, stderr := run(t, f, Options{Execute: `COPY nyc.t (a, "B") TO ` + quoted + " " + c.with})
		b, err := os.ReadFile(file)
		if code != 0 || stdout != "" || err != nil || string(b) != c.want || !strings.Contains(stderr, "rows written to "+file) {
			t.Errorf("%s: exit %d, %q, %q, %v, %q", c.with, code, stdout, stderr, err, b)
		}
	}
	if _, stdout, _ := run(t, f, Options{Execute: `COPY nyc.t(a,"B") TO STDOUT`}); stdout != "1,\"x,y\"\r\n2,\r\n3,\"\"\r\n" {
		t.Errorf("to standard output: %q", stdout)
	}
	// A failure leaves no file behind, and an older one alone.
	f.fails("SELECT * FROM nyc.gone", wire.Errorf(wire.CodeInvalid, "no such table"))
	if code, _, _ := run(t, f, Options{Execute: "COPY nyc.gone TO " + quoted}); code != ExitFailed {
		t.Errorf("exit %d", code)
	}
	if b, _ := os.ReadFile(file); string(b) != "1,\"x,y\"\r\n" {
		t.Errorf("the older file became %q", b)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCopyPlan(t *testing.T) {
	s := newShell(Options{})
	s.keyspace = "ks"
	c, err := s.copyPlan(`copy "T" ( a , "B b" ) from 'x y.csv' with header=TRUE and DELIMITER='\t' AND skiprows = 2 AND TTL = 60 AND ERRFILE = 'bad.csv'`)
	if err != nil {
		t.Fatal(err)
	}
	want := copyOptions{header: true, delimiter: '\t', pageSize: batchPage, maxRows: -1, skipRows: 2, ttl: 60, rejects: "bad.csv"}
	if c.table != `ks."T"` || !slices.Equal(c.columns, []string{"a", "B b"}) || !c.from || c.file != "x y.csv" || c.options != want {
		t.Errorf("%+v", c)
	}
	for line, want := range map[string]string{
		"COPY": "want COPY", "COPY t": "want COPY", "COPY t TO": "want COPY", "COPY t (a TO 'x'": "want COPY", "COPY t TO 'x": "not closed",
		"COPY t TO STDIN x": "want COPY", "COPY t TO 'x' WITH": "want COPY", "COPY t TO 'x' WITH HEADER": "want HEADER = value",
		"COPY t TO 'x' WITH HEADER = maybe": "HEADER = maybe", "COPY t TO 'x' WITH DELIMITER = 'ab'": "one character", "COPY t TO 'x' WITH FROB = 1": "FROB is none of",
		"COPY t TO 'x' WITH PAGESIZE = 0": "want 1 to", "COPY t TO 'x' trailing": "want COPY", "COPY select.t TO 'x' y": "want COPY",
	} {
		if _, err := s.copyPlan(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	s.keyspace = ""
	if _, err := s.copyPlan("COPY t TO 'x'"); err == nil || !strings.Contains(err.Error(), "USE one") {
		t.Errorf("without a keyspace: %v", err)
	}
}
