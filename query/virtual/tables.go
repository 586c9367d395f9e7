package virtual

import (
	"crypto/md5"
	"fmt"
	"sort"
	"strings"
	"sync"

	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// definition is a system table: a line for each column, name, type and (unless regular) kind, as in Cassandra 5.0.
type definition struct{ keyspace, name, comment, columns string }

// tableParameters are the columns that system_schema.tables and views share.
const tableParameters = `
	additional_write_policy text
	allow_auto_snapshot boolean
	bloom_filter_fp_chance double
	caching frozen<map<text, text>>
	cdc boolean
	comment text
	compaction frozen<map<text, text>>
	compression frozen<map<text, text>>
	crc_check_chance double
	dclocal_read_repair_chance double
	default_time_to_live int
	extensions frozen<map<text, blob>>
	gc_grace_seconds int
	id uuid
	incremental_backups boolean
	max_index_interval int
	memtable text
	memtable_flush_period_in_ms int
	min_index_interval int
	read_repair text
	read_repair_chance double
	speculative_retry text`

var definitions = []definition{
	{"system", "local", "information about the local node", `
		key text partition_key
		bootstrapped text
		broadcast_address inet
		broadcast_port int
		cluster_name text
		cql_version text
		data_center text
		gossip_generation int
		host_id uuid
		listen_address inet
		listen_port int
		native_protocol_version text
		partitioner text
		rack text
		release_version text
		rpc_address inet
		rpc_port int
		schema_version uuid
		tokens set<text>
		truncated_at map<uuid, blob>`},
	{"system", "peers", "information about known peers in the cluster", `
		peer inet partition_key
		data_center text
		host_id uuid
		preferred_ip inet
		rack text
		release_version text
		rpc_address inet
		schema_version uuid
		tokens set<text>`},
	{"system", "peers_v2", "information about known peers in the cluster", `
		peer inet partition_key
		peer_port int clustering
		data_center text
		host_id uuid
		native_address inet
		native_port int
		preferred_ip inet
		preferred_port int
		rack text
		release_version text
		schema_version uuid
		tokens set<text>`},
	{"system", "size_estimates", "per-table primary range size estimates", `
		keyspace_name text partition_key
		table_name text clustering
		range_start text clustering
		range_end text clustering
		mean_partition_size bigint
		partitions_count bigint`},
	{"system", "table_estimates", "per-table range size estimates", `
		keyspace_name text partition_key
		table_name text clustering
		range_type text clustering
		range_start text clustering
		range_end text clustering
		mean_partition_size bigint
		partitions_count bigint`},
	{"system", "available_ranges", "available keyspace/ranges during bootstrap/replace that are ready to be served", `
		keyspace_name text partition_key
		ranges set<blob>`},
	{"system", "available_ranges_v2", "available keyspace/ranges during bootstrap/replace that are ready to be served", `
		keyspace_name text partition_key
		full_ranges set<blob>
		transient_ranges set<blob>`},
	{"system", "built_views", "built views", `
		keyspace_name text partition_key
		view_name text clustering
		status_replicated boolean`},
	{"system", "IndexInfo", "built column indexes", `
		table_name text partition_key
		index_name text clustering
		value blob`},

	{"system_schema", "keyspaces", "keyspace definitions", `
		keyspace_name text partition_key
		durable_writes boolean
		replication frozen<map<text, text>>`},
	{"system_schema", "tables", "table definitions", `
		keyspace_name text partition_key
		table_name text clustering
		flags frozen<set<text>>` + tableParameters},
	{"system_schema", "views", "view definitions", `
		keyspace_name text partition_key
		view_name text clustering
		base_table_id uuid
		base_table_name text
		include_all_columns boolean
		where_clause text` + tableParameters},
	{"system_schema", "columns", "column definitions", `
		keyspace_name text partition_key
		table_name text clustering
		column_name text clustering
		clustering_order text
		column_name_bytes blob
		kind text
		position int
		type text`},
	{"system_schema", "column_masks", "column dynamic data masks", `
		keyspace_name text partition_key
		table_name text clustering
		column_name text clustering
		function_argument_nulls frozen<list<boolean>>
		function_argument_types frozen<list<text>>
		function_argument_values frozen<list<text>>
		function_keyspace text
		function_name text`},
	{"system_schema", "dropped_columns", "dropped column registry", `
		keyspace_name text partition_key
		table_name text clustering
		column_name text clustering
		dropped_time timestamp
		kind text
		type text`},
	{"system_schema", "triggers", "trigger definitions", `
		keyspace_name text partition_key
		table_name text clustering
		trigger_name text clustering
		options frozen<map<text, text>>`},
	{"system_schema", "indexes", "secondary index definitions", `
		keyspace_name text partition_key
		table_name text clustering
		index_name text clustering
		kind text
		options frozen<map<text, text>>`},
	{"system_schema", "types", "user defined type definitions", `
		keyspace_name text partition_key
		type_name text clustering
		field_names frozen<list<text>>
		field_types frozen<list<text>>`},
	{"system_schema", "functions", "user defined function definitions", `
		keyspace_name text partition_key
		function_name text clustering
		argument_types frozen<list<text>> clustering
		argument_names frozen<list<text>>
		body text
		called_on_null_input boolean
		language text
		return_type text`},
	{"system_schema", "aggregates", "user defined aggregate definitions", `
		keyspace_name text partition_key
		aggregate_name text clustering
		argument_types frozen<list<text>> clustering
		final_func text
		initcond text
		return_type text
		state_func text
		state_type text`},

	{"system_virtual_schema", "keyspaces", "virtual keyspace definitions", `
		keyspace_name text partition_key`},
	{"system_virtual_schema", "tables", "virtual table definitions", `
		keyspace_name text partition_key
		table_name text clustering
		comment text`},
	{"system_virtual_schema", "columns", "virtual column definitions", `
		keyspace_name text partition_key
		table_name text clustering
		column_name text clustering
		clustering_order text
		column_name_bytes blob
		kind text
		position int
		type text`},

	{"system_views", "clients", "currently connected clients", `
		address inet partition_key
		port int clustering
		authentication_metadata frozen<map<text, text>>
		authentication_mode text
		client_options frozen<map<text, text>>
		connection_stage text
		driver_name text
		driver_version text
		hostname text
		keyspace_name text
		protocol_version int
		request_count bigint
		ssl_cipher_suite text
		ssl_enabled boolean
		ssl_protocol text
		username text`},
	{"system_views", "settings", "current settings", `
		name text partition_key
		value text`},
	{"system_views", "anti_entropy", "when all replicas of this node's ranges last agreed, and what differed", `
		keyspace_name text partition_key
		table_name text partition_key
		range_start text clustering
		range_end text
		agreed_at timestamp
		compared_at timestamp
		problem text
		rows_differed bigint
		partitions_differed bigint
		bytes_sent bigint
		bytes_received bigint
		total_rows_differed bigint
		total_bytes_sent bigint
		total_bytes_received bigint`},

	{"system_traces", "sessions", "tracing sessions", `
		session_id uuid partition_key
		client inet
		command text
		coordinator inet
		coordinator_port int
		duration int
		parameters map<text, text>
		request text
		started_at timestamp`},
	{"system_traces", "events", "tracing events", `
		session_id uuid partition_key
		event_id timeuuid clustering
		activity text
		source inet
		source_elapsed int
		source_port int
		thread text`},

	{"system_auth", "roles", "role definitions", `
		role text partition_key
		can_login boolean
		is_superuser boolean
		member_of set<text>
		salted_hash text`},
	{"system_auth", "role_members", "role memberships lookup table", `
		role text partition_key
		member text clustering`},
	{"system_auth", "role_permissions", "permissions granted to db roles", `
		role text partition_key
		resource text clustering
		permissions set<text>`},
}

// replicationClass is the class that drivers are told for a system keyspace.
var replicationClass = map[string]string{"system_traces": "SimpleStrategy", "system_auth": "SimpleStrategy"}

// virtualKeyspace says that Cassandra's own tables of this keyspace are virtual: system_virtual_schema tells of them, and system_schema doesn't.
func virtualKeyspace(name string) bool {
	return name == "system_virtual_schema" || name == "system_views"
}

var keyspaces = sync.OnceValue(func() map[string]*schema.Keyspace {
	all := make(map[string]*schema.Keyspace)
	for i := range definitions {
		d := &definitions[i]
		k := all[d.keyspace]
		if k == nil {
			k = newKeyspace(d.keyspace)
			all[d.keyspace] = k
		}
		k.Tables[d.name] = d.table()
	}
	return all
})

func newKeyspace(name string) *schema.Keyspace {
	k := &schema.Keyspace{
		Name: name, Class: "LocalStrategy", Replication: vnodes.Replication{Everywhere: true}, DurableWrites: true,
		Tables: make(map[string]*schema.Table), Types: make(map[string]*types.Type), Options: map[string]string{},
	}
	if class, ok := replicationClass[name]; ok {
		k.Class, k.Options = class, map[string]string{"replication_factor": "1"}
	}
	return k
}

// table builds the table. A definition that can't be read is a mistake in this file, found by every test.
func (d *definition) table() *schema.Table {
	t := &schema.Table{Keyspace: d.keyspace, Name: d.name, ID: tableID(d.keyspace, d.name), Virtual: true}
	t.Options = schema.TableOptions{Comment: d.comment}
	for _, line := range strings.Split(strings.TrimSpace(d.columns), "\n") {
		c := parseColumn(line)
		switch c.Kind {
		case schema.PartitionKey:
			c.Position = len(t.PartitionKey)
			t.PartitionKey = append(t.PartitionKey, c)
		case schema.Clustering:
			c.Position = len(t.Clustering)
			t.Clustering = append(t.Clustering, c)
		default:
			t.NextColumn++
			c.Position, c.ID = -1, t.NextColumn
			t.Regulars = append(t.Regulars, c)
		}
	}
	t.NextColumn++
	sort.Slice(t.Regulars, func(i, j int) bool { return t.Regulars[i].Name < t.Regulars[j].Name })
	t.Columns = append(append(append(t.Columns, t.PartitionKey...), t.Clustering...), t.Regulars...)
	return t
}

func parseColumn(line string) *schema.Column {
	name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
	c := &schema.Column{Name: name, Kind: schema.Regular}
	for suffix, kind := range map[string]schema.ColumnKind{" partition_key": schema.PartitionKey, " clustering": schema.Clustering} {
		if t, found := strings.CutSuffix(rest, suffix); found {
			rest, c.Kind = t, kind
		}
	}
	t, err := types.Parse(rest, nil)
	if !ok || err != nil {
		panic(fmt.Sprintf("system table column %q: %v", line, err))
	}
	c.Type = t
	return c
}

// tableID is the name-based UUID (version 3) that Cassandra gives its system tables.
func tableID(keyspace, name string) (id [16]byte) {
	id = md5.Sum([]byte(keyspace + name))
	id[6] = id[6]&0x0F | 0x30
	id[8] = id[8]&0x3F | 0x80
	return id
}
