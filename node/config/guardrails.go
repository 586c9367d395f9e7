package config

// Guardrails are what an operator doesn't want clients to do: Cassandra's, by its names, warned of beyond one threshold and refused beyond another. A threshold
// that is not positive is none, and there are none unless they are asked for but those of batches and tombstones, as in a Cassandra that asks nobody for a
// password.
type Guardrails struct {
	KeyspacesWarn int `key:"keyspaces_warn_threshold" default:"-1" help:"guardrail: keyspaces, warned of; -1: none"`
	KeyspacesFail int `key:"keyspaces_fail_threshold" default:"-1" help:"guardrail: keyspaces, refused; -1: none"`
	TablesWarn    int `key:"tables_warn_threshold" default:"-1" help:"guardrail: tables of all keyspaces, warned of; -1: none"`
	TablesFail    int `key:"tables_fail_threshold" default:"-1" help:"guardrail: tables of all keyspaces, refused; -1: none"`
	ColumnsWarn   int `key:"columns_per_table_warn_threshold" default:"-1" help:"guardrail: columns of a table, warned of; -1: none"`
	ColumnsFail   int `key:"columns_per_table_fail_threshold" default:"-1" help:"guardrail: columns of a table, refused; -1: none"`
	FieldsWarn    int `key:"fields_per_udt_warn_threshold" default:"-1" help:"guardrail: fields of a user type, warned of; -1: none"`
	FieldsFail    int `key:"fields_per_udt_fail_threshold" default:"-1" help:"guardrail: fields of a user type, refused; -1: none"`
	VectorWarn    int `key:"vector_dimensions_warn_threshold" default:"-1" help:"guardrail: dimensions of a vector, warned of; -1: none"`
	VectorFail    int `key:"vector_dimensions_fail_threshold" default:"-1" help:"guardrail: dimensions of a vector, refused; -1: none"`

	ReplicasMostWarn  int `key:"maximum_replication_factor_warn_threshold" default:"-1" help:"guardrail: replication factor above this, warned of; -1: none"`
	ReplicasMostFail  int `key:"maximum_replication_factor_fail_threshold" default:"-1" help:"guardrail: replication factor above this, refused; -1: none"`
	ReplicasLeastWarn int `key:"minimum_replication_factor_warn_threshold" default:"-1" help:"guardrail: replication factor below this, warned of; -1: none"`
	ReplicasLeastFail int `key:"minimum_replication_factor_fail_threshold" default:"-1" help:"guardrail: replication factor below this, refused; -1: none"`

	PropertiesWarned     []string `key:"table_properties_warned" default:"" help:"guardrail: options of tables that are warned of"`
	PropertiesIgnored    []string `key:"table_properties_ignored" default:"" help:"guardrail: options of tables that are left out, with a warning"`
	PropertiesDisallowed []string `key:"table_properties_disallowed" default:"" help:"guardrail: options of tables that are refused"`

	ItemsWarn          int  `key:"items_per_collection_warn_threshold" default:"-1" help:"guardrail: elements of a collection that one statement writes, warned of; -1: none"`
	ItemsFail          int  `key:"items_per_collection_fail_threshold" default:"-1" help:"guardrail: elements of a collection that one statement writes, refused; -1: none"`
	CollectionSizeWarn Size `key:"collection_size_warn_threshold" default:"0" help:"guardrail: bytes of a collection that one statement writes, warned of; 0: none"`
	CollectionSizeFail Size `key:"collection_size_fail_threshold" default:"0" help:"guardrail: bytes of a collection that one statement writes, refused; 0: none"`
	ValueSizeWarn      Size `key:"column_value_size_warn_threshold" default:"0" help:"guardrail: bytes of a value outside the key, warned of; 0: none"`
	ValueSizeFail      Size `key:"column_value_size_fail_threshold" default:"0" help:"guardrail: bytes of a value outside the key, refused; 0: none"`

	PageSizeWarn   int `key:"page_size_warn_threshold" default:"-1" help:"guardrail: rows of a page, warned of; -1: none"`
	PageSizeFail   int `key:"page_size_fail_threshold" default:"-1" help:"guardrail: rows of a page, refused; -1: none"`
	PartitionsWarn int `key:"partition_keys_in_select_warn_threshold" default:"-1" help:"guardrail: partitions that a SELECT names, warned of; -1: none"`
	PartitionsFail int `key:"partition_keys_in_select_fail_threshold" default:"-1" help:"guardrail: partitions that a SELECT names, refused; -1: none"`
	ProductWarn    int `key:"in_select_cartesian_product_warn_threshold" default:"-1" help:"guardrail: what the INs of a statement multiply to, warned of; -1: none"`
	ProductFail    int `key:"in_select_cartesian_product_fail_threshold" default:"-1" help:"guardrail: what the INs of a statement multiply to, refused; -1: none"`

	// A batch may lack nothing for being large; but its coordinator holds it, and sends it to the batch log, whole.
	BatchSizeWarn  Size `key:"batch_size_warn_threshold" default:"64KiB" help:"bytes of a batch of several partitions, warned of; 0: none"`
	BatchSizeFail  Size `key:"batch_size_fail_threshold" default:"16MiB" help:"bytes of a batch of several partitions, refused; 16MiB at most"`
	UnloggedAcross int  `key:"unlogged_batch_across_partitions_warn_threshold" default:"10" help:"partitions of an unlogged batch, warned of; -1: none"`
	// Tombstones that a page of a SELECT meets: each is read and skipped, as expensive as a row.
	TombstonesWarn int `key:"tombstone_warn_threshold" default:"1000" help:"deleted or expired rows that a page of a SELECT meets, warned of; -1: none"`
	TombstonesFail int `key:"tombstone_failure_threshold" default:"100000" help:"deleted or expired rows that a page of a SELECT meets, refused; -1: none"`

	ReadLevelsWarned      []string `key:"read_consistency_levels_warned" default:"" help:"guardrail: consistency levels of reads that are warned of"`
	ReadLevelsDisallowed  []string `key:"read_consistency_levels_disallowed" default:"" help:"guardrail: consistency levels of reads that are refused"`
	WriteLevelsWarned     []string `key:"write_consistency_levels_warned" default:"" help:"guardrail: consistency levels of writes that are warned of"`
	WriteLevelsDisallowed []string `key:"write_consistency_levels_disallowed" default:"" help:"guardrail: consistency levels of writes that are refused"`

	AllowFiltering     bool `key:"allow_filtering_enabled" default:"true" help:"guardrail: false refuses ALLOW FILTERING"`
	GroupBy            bool `key:"group_by_enabled" default:"true" help:"guardrail: false refuses GROUP BY"`
	DropTruncateTable  bool `key:"drop_truncate_table_enabled" default:"true" help:"guardrail: false refuses DROP TABLE and TRUNCATE"`
	DropKeyspace       bool `key:"drop_keyspace_enabled" default:"true" help:"guardrail: false refuses DROP KEYSPACE"`
	AlterTable         bool `key:"alter_table_enabled" default:"true" help:"guardrail: false refuses ALTER TABLE that changes columns"`
	UserTimestamps     bool `key:"user_timestamps_enabled" default:"true" help:"guardrail: false refuses USING TIMESTAMP"`
	ListReads          bool `key:"read_before_write_list_operations_enabled" default:"true" help:"guardrail: false refuses changes of lists by index or by value"`
	UncompressedTables bool `key:"uncompressed_tables_enabled" default:"true" help:"guardrail: false refuses tables without compression"`
	SimpleStrategy     bool `key:"simplestrategy_enabled" default:"true" help:"guardrail: false refuses keyspaces of SimpleStrategy"`
	VectorType         bool `key:"vector_type_enabled" default:"true" help:"guardrail: false refuses columns of vectors"`
	ZeroTTLOnTWCS      bool `key:"zero_ttl_on_twcs_enabled" default:"true" help:"guardrail: false refuses TimeWindowCompactionStrategy without a TTL"`
	ZeroTTLOnTWCSWarn  bool `key:"zero_ttl_on_twcs_warned" default:"false" help:"guardrail: true warns of TimeWindowCompactionStrategy without a TTL"`
}
