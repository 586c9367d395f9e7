package schema

import "testing"

func TestDescribe(t *testing.T) {
	c := sample(t)
	k, _ := c.Keyspace("ks")
	if got, want := k.Create(), `CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '3'}  AND durable_writes = true;`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := k.CreateType("address"), "CREATE TYPE ks.address (\n    street text,\n    city text\n);"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	options := `additional_write_policy = '99p'
    AND allow_auto_snapshot = true
    AND bloom_filter_fp_chance = 0.1
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND cdc = false
    AND comment = 'it''s'
    AND compaction = {'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4'}
    AND compression = {'chunk_length_in_kb': '16', 'class': 'org.apache.cassandra.io.compress.LZ4Compressor'}
    AND memtable = 'default'
    AND crc_check_chance = 1.0
    AND default_time_to_live = 0
    AND extensions = {}
    AND gc_grace_seconds = 864000
    AND incremental_backups = true
    AND max_index_interval = 2048
    AND memtable_flush_period_in_ms = 0
    AND min_index_interval = 128
    AND read_repair = 'BLOCKING'
    AND speculative_retry = '99p';`
	want := `CREATE TABLE ks.flights (
    origin text,
    day date,
    dep int,
    carrier text,
    note text static,
    delay double,
    z int,
    PRIMARY KEY ((origin, day), dep, carrier)
) WITH CLUSTERING ORDER BY (dep DESC, carrier ASC)
    AND ` + options
	if got := k.Tables["flights"].Create(false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTypesInOrder(t *testing.T) {
	c := apply(t, sample(t), Change{Op: CreateType, Keyspace: "ks", Name: "aaa", Columns: []ColumnDef{reg("x", "frozen<address>")}})
	k, _ := c.Keyspace("ks")
	if got := k.TypesInOrder(); len(got) != 2 || got[0] != "address" {
		t.Errorf("got %v: address has to stand before aaa, which uses it", got)
	}
}
