package schema

import (
	"errors"
	"strings"
	"testing"

	"nodedb/query/types"
)

// step is one change and what it should answer: part of an error's text, or "" for success.
type step struct {
	ch   Change
	want string
	kind error
}

func simple(ks string) Change {
	return Change{Op: CreateKeyspace, Keyspace: ks, Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "3"}}
}

// flights is a table with a composite partition key, a descending clustering column, a static and two regulars.
func flights(ks string) Change {
	return Change{Op: CreateTable, Keyspace: ks, Name: "flights", ID: [16]byte{1}, Columns: []ColumnDef{
		{Name: "origin", Type: "text", Kind: PartitionKey},
		{Name: "day", Type: "date", Kind: PartitionKey, Position: 1},
		{Name: "dep", Type: "int", Kind: Clustering, Desc: true},
		{Name: "carrier", Type: "text", Kind: Clustering, Position: 1},
		{Name: "z", Type: "int", Kind: Regular, Position: -1},
		{Name: "delay", Type: "double", Kind: Regular, Position: -1},
		{Name: "note", Type: "text", Kind: Static, Position: -1},
	}, Options: map[string]string{"comment": "it's", "compaction": `{"class":"LeveledCompactionStrategy"}`}}
}

func apply(t *testing.T, c *Catalog, changes ...Change) *Catalog {
	t.Helper()
	for i := range changes {
		n, _, err := c.Apply(&changes[i], c.Epoch+1)
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		c = n
	}
	return c
}

func table(cols ...ColumnDef) Change {
	return Change{Op: CreateTable, Keyspace: "ks", Name: "t", ID: [16]byte{9}, Columns: cols}
}

func pk(name, typ string) ColumnDef { return ColumnDef{Name: name, Type: typ, Kind: PartitionKey} }
func reg(name, typ string) ColumnDef {
	return ColumnDef{Name: name, Type: typ, Kind: Regular, Position: -1}
}

func with(c Change, options ...string) Change {
	c.Options = map[string]string{}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	return c
}

func replicate(op Op, class string, options ...string) Change {
	c := with(Change{Op: op, Keyspace: "new", Class: class}, options...)
	c.Replication, c.Options = c.Options, nil
	return c
}

// refused lists changes on a catalog with keyspace ks, table flights, type address (used by table people) and the error
// each gets.
var refused = []step{
	{simple("ks"), `Cannot add existing keyspace "ks"`, ErrExists},
	{simple("system"), "system keyspace is not user-modifiable.", ErrInvalid},
	{simple("bad-name"), `characters only (got "bad-name")`, ErrInvalid},
	{simple(strings.Repeat("x", 49)), `Keyspace name must not be more than 48 characters long (got 49 characters for "x`, ErrInvalid},
	{replicate(CreateKeyspace, ""), "Missing replication strategy class", ErrConfig},
	{replicate(CreateKeyspace, "Foo", "a", "1"), "Unable to find replication strategy class 'org.apache.cassandra.locator.Foo'", ErrConfig},
	{replicate(CreateKeyspace, "SimpleStrategy"), "SimpleStrategy requires a replication_factor strategy option.", ErrConfig},
	{replicate(CreateKeyspace, "SimpleStrategy", "dc1", "1", "replication_factor", "1"), "Unrecognized strategy option {dc1} passed to SimpleStrategy", ErrConfig},
	{replicate(CreateKeyspace, "SimpleStrategy", "replication_factor", "x"), "must be numeric; found x", ErrConfig},
	{replicate(CreateKeyspace, "SimpleStrategy", "replication_factor", "0"), "found 0", ErrConfig},
	{replicate(CreateKeyspace, "SimpleStrategy", "replication_factor", "3/1"), "found 3/1", ErrConfig},
	{replicate(CreateKeyspace, "NetworkTopologyStrategy"), "at least one datacenter", ErrConfig},
	{replicate(CreateKeyspace, "NetworkTopologyStrategy", "dc1", "-1"), "found -1", ErrConfig},
	{replicate(AlterKeyspace, "SimpleStrategy", "replication_factor", "1"), "Keyspace 'new' doesn't exist", ErrNotFound},
	{Change{Op: DropKeyspace, Keyspace: "no"}, "Keyspace 'no' doesn't exist", ErrNotFound},
	{flights("no"), "Keyspace 'no' doesn't exist", ErrNotFound},
	{flights("ks"), `Cannot add already existing table "flights" to keyspace "ks"`, ErrExists},
	{table(reg("v", "int")), "No PRIMARY KEY specified for table 't'", ErrInvalid},
	{table(pk("k", "int"), reg("k", "int")), "Duplicate column 'k' declaration for table 't'", ErrInvalid},
	{table(pk("k", "list<int>")), "Invalid non-frozen collection type list<int> for PRIMARY KEY column 'k'", ErrInvalid},
	{table(pk("k", "address")), "Invalid non-frozen user-defined type address for PRIMARY KEY column 'k'", ErrInvalid},
	{table(pk("k", "counter")), "counter type is not supported for PRIMARY KEY column 'k'", ErrInvalid},
	{table(pk("k", "duration")), "duration type is not supported for PRIMARY KEY column 'k'", ErrInvalid},
	{table(pk("k", "frozen<list<duration>>")), "duration type is not supported for PRIMARY KEY column 'k'", ErrInvalid},
	{table(pk("k", "int"), reg("v", "nosuch")), "Unknown type ks.nosuch", ErrInvalid},
	{table(pk("k", "int"), reg("v", "other.nosuch")), "cannot refer to a user type in keyspace other", ErrInvalid},
	{table(pk("k", "int"), reg("v", "list<list<int>>")), "list<int> inside a collection must be frozen", ErrInvalid},
	{table(pk("k", "int"), reg("v", "map<int, address>")), "address inside a collection must be frozen", ErrInvalid},
	{table(pk("k", "int"), ColumnDef{Name: "s", Type: "int", Kind: Static, Position: -1}), staticNeedsClustering, ErrInvalid},
	{table(pk("k", "int"), reg("v", "int"), reg("c", "counter")), "Cannot mix counter and non counter columns", ErrInvalid},
	{with(table(pk("k", "int"), reg("c", "counter")), "default_time_to_live", "5"), "Cannot set default_time_to_live on a table with counters", ErrInvalid},
	{with(table(pk("k", "int")), "foo", "1"), "Unknown property 'foo'", ErrSyntax},
	{with(table(pk("k", "int")), "gc_grace_seconds", "-1"), "gc_grace_seconds must be greater than or equal to 0 (got -1)", ErrConfig},
	{with(table(pk("k", "int")), "gc_grace_seconds", "x"), "Invalid integer value x for 'gc_grace_seconds'", ErrSyntax},
	{with(table(pk("k", "int")), "default_time_to_live", "630720001"), "must be less than or equal to 630720000", ErrConfig},
	{with(table(pk("k", "int")), "bloom_filter_fp_chance", "0"), "bloom_filter_fp_chance must be larger than", ErrConfig},
	{with(table(pk("k", "int")), "crc_check_chance", "1.1"), "crc_check_chance must be larger than or equal to 0", ErrConfig},
	{with(table(pk("k", "int")), "compaction", `{"min":"1"}`), "Missing sub-option 'class' for the 'compaction' option.", ErrConfig},
	{with(table(pk("k", "int")), "compaction", `{"class":"Foo"}`), "Unable to find compaction strategy class 'org.apache.cassandra.db.compaction.Foo'", ErrConfig},
	{with(table(pk("k", "int")), "compaction", `x`), "should be a map", ErrSyntax},
	{with(table(pk("k", "int")), "cdc", `{}`), "Invalid boolean value {} for 'cdc'", ErrSyntax},
	{with(table(pk("k", "int")), "caching", `{"foo":"ALL"}`), "only 'keys' and 'rows_per_partition' are allowed", ErrConfig},
	{with(table(pk("k", "int")), "caching", `{"keys":"some"}`), "Invalid value 'some' for caching sub-option 'keys'", ErrConfig},
	{with(table(pk("k", "int")), "speculative_retry", "often"), "Invalid value often for option 'speculative_retry'", ErrConfig},
	{with(table(pk("k", "int")), "read_repair", "often"), "want BLOCKING or NONE", ErrConfig},
	{with(table(pk("k", "int")), "memory", "maybe"), "Invalid boolean value maybe for 'memory'", ErrSyntax},
	{with(table(pk("k", "int")), "speculative_retry", "0p"), "Invalid value 0p for PERCENTILE option 'speculative_retry': must be between (0.0 and 100.0)", ErrConfig},
	{with(table(pk("k", "int")), "speculative_retry", "MIN(1ms,2ms)"), "Invalid value MIN(1ms,2ms) for option 'speculative_retry'", ErrConfig},
	{with(table(pk("k", "int")), "memtable", "x"), `Memtable configuration "x" not found.`, ErrConfig},
	{with(table(pk("k", "int")), "compaction", `{"class":"LeveledCompactionStrategy","bucket_low":"1"}`), "Properties specified [bucket_low] are not understood by LeveledCompactionStrategy", ErrConfig},
	{with(table(pk("k", "int")), "compaction", `{"class":"SizeTieredCompactionStrategy","max_threshold":"3"}`), "Min compaction threshold (got 4) cannot be greater than max compaction threshold (got 3)", ErrConfig},
	{with(table(pk("k", "int")), "compression", `{"class":"x.LZ4Compressor"}`), "Could not create Compression for type x.LZ4Compressor", ErrConfig},
	{with(table(pk("k", "int")), "compression", `{"class":"SnappyCompressor","compression_level":"1"}`), "Unknown compression options compression_level", ErrConfig},
	{with(table(pk("k", "int")), "compression", `{"class":"SnappyCompressor","chunk_length_in_kb":"12"}`), "chunk_length_in_kb must be a power of 2", ErrConfig},
	{with(table(pk("k", "int")), "compression", `{"enabled":"false","class":"SnappyCompressor"}`), "no other options must be specified", ErrConfig},
	{with(table(pk("k", "int")), "max_index_interval", "5"), "max_index_interval must be greater than or equal to min_index_interval (128) (got 5)", ErrConfig},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "no"}, "Table 'ks.no' doesn't exist", ErrNotFound},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Columns: []ColumnDef{reg("z", "int")}}, "Column with name 'z' already exists", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Columns: []ColumnDef{reg("c", "counter")}}, "Cannot mix counter", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Dropped: []string{"q"}}, "Column q was not found in table 'ks.flights'", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Dropped: []string{"day"}}, "Cannot drop PRIMARY KEY column day", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Renamed: [][2]string{{"z", "y"}}}, "Cannot rename non PRIMARY KEY column z", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Renamed: [][2]string{{"day", "z"}}}, "another column with that name already exists", ErrInvalid},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Options: map[string]string{"memory": "true"}}, "Cannot alter memory", ErrConfig},
	{Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Options: map[string]string{"id": "x"}}, "Cannot alter table id.", ErrConfig},
	{Change{Op: DropTable, Keyspace: "ks", Name: "no"}, "Table 'ks.no' doesn't exist", ErrNotFound},
	{Change{Op: TruncateTable, Keyspace: "ks", Name: "no"}, "Table 'ks.no' doesn't exist", ErrNotFound},
	{Change{Op: CreateType, Keyspace: "ks", Name: "address"}, "A user type with name 'address' already exists", ErrExists},
	{Change{Op: CreateType, Keyspace: "ks", Name: "u", Columns: []ColumnDef{reg("a", "int"), reg("a", "int")}}, "Duplicate field name 'a' in type 'u'", ErrInvalid},
	{Change{Op: CreateType, Keyspace: "ks", Name: "u", Columns: []ColumnDef{reg("a", "counter")}}, "cannot contain counters", ErrInvalid},
	{Change{Op: CreateType, Keyspace: "ks", Name: "u", Columns: []ColumnDef{reg("a", "address")}}, "cannot contain non-frozen UDTs", ErrInvalid},
	{Change{Op: AlterType, Keyspace: "ks", Name: "no"}, "Type ks.no doesn't exist", ErrNotFound},
	{Change{Op: AlterType, Keyspace: "ks", Name: "address", Columns: []ColumnDef{reg("street", "int")}}, "a field with name street already exists", ErrInvalid},
	{Change{Op: AlterType, Keyspace: "ks", Name: "address", Columns: []ColumnDef{reg("a", "frozen<address>")}}, "circular reference", ErrInvalid},
	{Change{Op: AlterType, Keyspace: "ks", Name: "address", Renamed: [][2]string{{"x", "y"}}}, "Unknown field x in user type address", ErrInvalid},
	{Change{Op: AlterType, Keyspace: "ks", Name: "address", Renamed: [][2]string{{"street", "city"}}}, "Duplicate field name city", ErrInvalid},
	{Change{Op: DropType, Keyspace: "ks", Name: "address"}, "as it is still used by tables people", ErrInvalid},
	{Change{Op: DropType, Keyspace: "ks", Name: "no"}, "Type 'ks.no' doesn't exist", ErrNotFound},
	{Change{Op: 99, Keyspace: "ks"}, "Unknown schema change 99", ErrInvalid},
}

func sample(t *testing.T) *Catalog {
	t.Helper()
	return apply(t, Empty(), simple("ks"), flights("ks"),
		Change{Op: CreateType, Keyspace: "ks", Name: "address", Columns: []ColumnDef{reg("street", "text"), reg("city", "text")}},
		Change{Op: CreateTable, Keyspace: "ks", Name: "people", ID: [16]byte{2}, Columns: []ColumnDef{
			pk("id", "int"), reg("home", "frozen<address>"), reg("all", "map<text, frozen<address>>")}})
}

func TestRefusedChanges(t *testing.T) {
	c := sample(t)
	before := string(c.Append(nil))
	for _, s := range refused {
		_, target, err := c.Apply(&s.ch, 100)
		if err == nil || !strings.Contains(err.Error(), s.want) || !errors.Is(err, s.kind) {
			t.Errorf("%+v:\n got error %v (%v)\nwant %q", s.ch, err, s.kind, s.want)
		}
		if (s.kind == ErrConfig || s.kind == ErrSyntax) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%v is not ErrInvalid too", err)
		}
		if target != (Target{}) {
			t.Errorf("%+v: target %+v with an error", s.ch, target)
		}
	}
	if string(c.Append(nil)) != before {
		t.Error("a refused change changed the catalog")
	}
}

func TestNoOpsByIfExists(t *testing.T) {
	c := sample(t)
	for _, ch := range []Change{
		simple("ks"), flights("ks"), {Op: CreateType, Keyspace: "ks", Name: "address"},
		{Op: DropKeyspace, Keyspace: "no"}, {Op: AlterKeyspace, Keyspace: "no"},
		{Op: DropTable, Keyspace: "no", Name: "t"}, {Op: AlterTable, Keyspace: "ks", Name: "t"}, {Op: DropType, Keyspace: "no", Name: "t"},
		{Op: AlterType, Keyspace: "ks", Name: "t"},
	} {
		ch.IfExists = true
		next, target, err := c.Apply(&ch, 100)
		if err != nil || next != c || target != (Target{}) {
			t.Errorf("%+v: got %p (was %p), %+v, %v", ch, next, c, target, err)
		}
	}
}

// TestChangesOfNothing: whatever leaves everything as it was is no change, and no event.
func TestChangesOfNothing(t *testing.T) {
	c := sample(t)
	durable := true
	alter := func(options ...string) Change {
		return with(Change{Op: AlterTable, Keyspace: "ks", Name: "flights"}, options...)
	}
	for _, ch := range []Change{
		{Op: AlterTable, Keyspace: "ks", Name: "flights", IfColumn: true, Columns: []ColumnDef{reg("z", "text")}},
		{Op: AlterTable, Keyspace: "ks", Name: "flights", IfColumn: true, Dropped: []string{"nope"}},
		{Op: AlterTable, Keyspace: "ks", Name: "flights", IfColumn: true, Renamed: [][2]string{{"nope", "x"}}},
		{Op: AlterType, Keyspace: "ks", Name: "address", IfColumn: true, Columns: []ColumnDef{reg("city", "int")}},
		{Op: AlterType, Keyspace: "ks", Name: "address", IfColumn: true, Renamed: [][2]string{{"nope", "x"}}},
		{Op: AlterKeyspace, Keyspace: "ks", Durable: &durable},
		alter("comment", "it's"), alter("extensions", `{"a":"b"}`), alter("cdc", "NO"), alter("memtable", "default"), alter("speculative_retry", "99PERCENTILE"),
		alter("compression", `{"class":"LZ4Compressor"}`), alter("caching", `{"keys":"all"}`), alter("crc_check_chance", "1"),
		alter("compaction", `{"class":"org.apache.cassandra.db.compaction.LeveledCompactionStrategy","min_threshold":"4"}`),
	} {
		next, target, err := c.Apply(&ch, 100)
		if err != nil || next != c || target != (Target{}) {
			t.Errorf("%+v: %+v, %v", ch, target, err)
		}
	}
}

// TestOptionsAreShownAsCassandraDoes: in its words, with what wasn't said filled in.
func TestOptionsAreShownAsCassandraDoes(t *testing.T) {
	for _, o := range [][3]string{
		{"speculative_retry", "none", "'NEVER'"}, {"speculative_retry", "Always", "'ALWAYS'"}, {"speculative_retry", "99.90percentile", "'99.9p'"},
		{"additional_write_policy", "max(10ms, 50P)", "'MAX(50p,10ms)'"}, {"bloom_filter_fp_chance", "1", "1.0"}, {"crc_check_chance", "5e-4", "5.0E-4"},
		{"cdc", "Yes", "true"}, {"incremental_backups", "0", "false"}, {"gc_grace_seconds", "+7", "7"}, {"read_repair", "none", "'NONE'"},
		{"caching", `{"rows_per_partition":"10"}`, "{'keys': 'ALL', 'rows_per_partition': '10'}"}, {"compression", "{}", "{'enabled': 'false'}"},
		{"compression", `{"class":"ZstdCompressor","enabled":"true","compression_level":"9"}`,
			"{'chunk_length_in_kb': '16', 'class': 'org.apache.cassandra.io.compress.ZstdCompressor', 'compression_level': '9'}"},
		{"compaction", `{"class":"UnifiedCompactionStrategy"}`, "{'class': 'org.apache.cassandra.db.compaction.UnifiedCompactionStrategy'}"},
	} {
		c := apply(t, sample(t), with(table(pk("k", "int")), o[0], o[1]))
		made, _ := c.Table("ks", "t")
		if got := made.Options.literal(o[0]); got != o[2] {
			t.Errorf("%s = %s is shown as %s, want %s", o[0], o[1], got, o[2])
		}
	}
}

func TestTableLayout(t *testing.T) {
	c := sample(t)
	tab, ok := c.Table("ks", "flights")
	if !ok {
		t.Fatal("no table")
	}
	var got []string
	for _, col := range tab.Columns {
		got = append(got, col.Name+":"+col.Kind.String())
	}
	want := "origin:partition_key day:partition_key dep:clustering carrier:clustering note:static delay:regular z:regular"
	if strings.Join(got, " ") != want {
		t.Errorf("columns %v\nwant %s", got, want)
	}
	for name, id := range map[string]int{"delay": 1, "note": 2, "z": 3, "origin": 0, "dep": 0} {
		col, ok := tab.Column(name)
		if !ok || int(col.ID) != id {
			t.Errorf("%s has id %d, want %d", name, col.ID, id)
		}
		if byID, ok := tab.ColumnByID(col.ID); ok != (id > 0) || (ok && byID != col) {
			t.Errorf("ColumnByID(%d) gives %v %v", id, byID, ok)
		}
	}
	if by, ok := c.TableByStorage(tab.Storage); !ok || by != tab {
		t.Error("TableByStorage doesn't find the table")
	}
}

func TestColumnIDsAreNeverReused(t *testing.T) {
	c := sample(t)
	alter := func(add []ColumnDef, drop ...string) {
		c = apply(t, c, Change{Op: AlterTable, Keyspace: "ks", Name: "flights", Columns: add, Dropped: drop})
	}
	seen := map[string]bool{}
	for range 5 {
		tab, _ := c.Table("ks", "flights")
		z, ok := tab.Column("z")
		if !ok || seen[string(rune(z.ID))] {
			t.Fatalf("z has id %d again (%v)", z.ID, seen)
		}
		seen[string(rune(z.ID))] = true
		alter(nil, "z")
		old := z.ID
		tab, _ = c.Table("ks", "flights")
		if _, ok := tab.ColumnByID(old); ok {
			t.Fatal("a dropped column is found by its id")
		}
		alter([]ColumnDef{reg("z", "text")})
	}
}

func TestTruncateGivesNewStorage(t *testing.T) {
	c := sample(t)
	old, _ := c.Table("ks", "flights")
	n := apply(t, c, Change{Op: TruncateTable, Keyspace: "ks", Name: "flights"})
	fresh, _ := n.Table("ks", "flights")
	if fresh.Storage <= n.Highest-1 || fresh.Storage == old.Storage || fresh.ID != old.ID || fresh.Epoch == old.Epoch {
		t.Errorf("before %d %x epoch %d, after %d %x epoch %d", old.Storage, old.ID, old.Epoch, fresh.Storage, fresh.ID, fresh.Epoch)
	}
	if _, ok := n.TableByStorage(old.Storage); ok {
		t.Error("the old storage id is still known")
	}
	if got, _ := c.Table("ks", "flights"); got.Storage != old.Storage {
		t.Error("the older catalog changed")
	}
	// A dropped table's storage id is not given again.
	n = apply(t, n, Change{Op: DropTable, Keyspace: "ks", Name: "flights"}, flights("ks"))
	if again, _ := n.Table("ks", "flights"); again.Storage <= fresh.Storage {
		t.Errorf("storage id %d after %d", again.Storage, fresh.Storage)
	}
}

func TestAlterTypeReachesTables(t *testing.T) {
	c := sample(t)
	old, _ := c.Table("ks", "people")
	n := apply(t, c, Change{Op: AlterType, Keyspace: "ks", Name: "address", Columns: []ColumnDef{reg("zip", "int")}, Renamed: [][2]string{{"city", "town"}}})
	tab, _ := n.Table("ks", "people")
	home, _ := tab.Column("home")
	if got := strings.Join(home.Type.Fields, " "); got != "street town zip" || !home.Type.Frozen {
		t.Errorf("home has fields %s, frozen %v", got, home.Type.Frozen)
	}
	all, _ := tab.Column("all")
	if len(all.Type.Elems[1].Fields) != 3 {
		t.Error("the type inside the map is the old one")
	}
	if tab.Epoch == old.Epoch {
		t.Error("the table's epoch stayed: plans would go on with the old type")
	}
	oldHome, _ := old.Column("home")
	if len(oldHome.Type.Fields) != 2 {
		t.Error("the older table changed")
	}
}

func TestAlterKeyspaceChangesTableEpochs(t *testing.T) {
	c := sample(t)
	no := false
	n := apply(t, c, Change{Op: AlterKeyspace, Keyspace: "ks", Class: "org.apache.cassandra.locator.NetworkTopologyStrategy",
		Replication: map[string]string{"dc1": "3", "dc2": "0"}, Durable: &no})
	k, _ := n.Keyspace("ks")
	if k.Replication.Datacenters["dc1"] != 3 || k.Replication.Factor != 0 || k.DurableWrites || k.Class != "NetworkTopologyStrategy" {
		t.Errorf("%+v", k)
	}
	if tab, _ := n.Table("ks", "flights"); tab.Epoch != n.Epoch {
		t.Errorf("table at epoch %d, catalog at %d", tab.Epoch, n.Epoch)
	}
	// Only durable_writes: the replication stays.
	yes := true
	n = apply(t, n, Change{Op: AlterKeyspace, Keyspace: "ks", Durable: &yes})
	if k, _ := n.Keyspace("ks"); k.Replication.Datacenters["dc1"] != 3 || !k.DurableWrites {
		t.Errorf("%+v", k)
	}
}

func TestKeys(t *testing.T) {
	c := sample(t)
	tab, _ := c.Table("ks", "flights")
	key, err := tab.AppendPartitionKey([]byte("x"), [][]byte{[]byte("JFK"), {0x80, 0, 0x3d, 0x09}})
	if want := "x\x00\x03JFK\x00\x00\x04\x80\x00\x3d\x09\x00"; err != nil || string(key) != want {
		t.Fatalf("key %q, %v, want %q", key, err, want)
	}
	values, err := tab.SplitPartitionKey(nil, key[1:])
	if err != nil || len(values) != 2 || string(values[0]) != "JFK" {
		t.Fatalf("split: %q %v", values, err)
	}
	for _, bad := range []string{"", "\x00", "\x00\x03JF", "\x00\x03JFK\x01", "\x00\x01a\x00\x00\x01b\x00c"} {
		if v, err := tab.SplitPartitionKey(nil, []byte(bad)); err == nil {
			t.Errorf("%q splits to %q", bad, v)
		}
	}
	ck, err := tab.AppendClustering(nil, [][]byte{{0, 0, 0, 7}, []byte("AA")})
	if err != nil {
		t.Fatal(err)
	}
	values, err = tab.SplitClustering(values, ck)
	if err != nil || len(values) != 2 || string(values[0]) != "\x00\x00\x00\x07" || string(values[1]) != "AA" {
		t.Fatalf("clustering split: %q %v", values, err)
	}
	later, _ := tab.AppendClustering(nil, [][]byte{{0, 0, 0, 8}})
	if string(later) >= string(ck) {
		t.Error("dep is DESC: 8 comes before 7")
	}
	people, _ := c.Table("ks", "people")
	for _, k := range []struct {
		table  *Table
		values [][]byte
		want   string
	}{
		{people, [][]byte{nil}, "Invalid null value in condition for column id"},
		{people, [][]byte{{}}, "Key may not be empty"},
		{people, [][]byte{make([]byte, 65536)}, "Key length of 65536 is longer than maximum of 65535"},
		{tab, [][]byte{make([]byte, 65535), {1}}, "Key length of"},
		{tab, [][]byte{{1}}, "has 2 columns, got 1 values"},
	} {
		if _, err := k.table.AppendPartitionKey(nil, k.values); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("got %v, want %q", err, k.want)
		}
	}
	if _, err := tab.AppendClustering(nil, [][]byte{nil}); err == nil || !strings.Contains(err.Error(), "column dep") {
		t.Errorf("got %v", err)
	}
	if _, err := tab.AppendClustering(nil, [][]byte{{0, 0, 0, 1}, make([]byte, 65535)}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

func TestUnindexedTableLooksUp(t *testing.T) {
	tab := &Table{Columns: []*Column{{Name: "a", Type: types.IntType}, {Name: "b", ID: 4, Type: types.IntType}}}
	if c, ok := tab.Column("b"); !ok || c.ID != 4 {
		t.Error("column b not found")
	}
	if c, ok := tab.ColumnByID(4); !ok || c.Name != "b" {
		t.Error("column 4 not found")
	}
	if _, ok := tab.ColumnByID(0); ok {
		t.Error("0 is the marker, not a column")
	}
}
