package schema

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	compactionPackage = "org.apache.cassandra.db.compaction."
	compressPackage   = "org.apache.cassandra.io.compress."
)

// decodeMap reads a map of texts, as a change has it.
func decodeMap(name, value string) (map[string]string, error) {
	m := map[string]string{}
	if json.Unmarshal([]byte(value), &m) != nil {
		return nil, malformed("Invalid value for property '%s'. It should be a map of texts.", name)
	}
	return m, nil
}

// encodeMap writes a map so that equal ones are equal texts: keys ascend.
func encodeMap(m map[string]string) (string, error) {
	out, err := json.Marshal(m)
	return string(out), err
}

// readCaching fills in what isn't said.
func readCaching(name, value string) (string, error) {
	m, err := decodeMap(name, value)
	if err != nil {
		return "", err
	}
	out := map[string]string{"keys": "ALL", "rows_per_partition": "NONE"}
	if unknown := keysBut(m, "keys", "rows_per_partition"); unknown != nil {
		return "", badOption("Invalid caching sub-options %s: only 'keys' and 'rows_per_partition' are allowed", listed(unknown))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out[k] = strings.ToUpper(m[k])
		if out[k] == "ALL" || out[k] == "NONE" {
			continue
		}
		if k == "keys" {
			return "", badOption("Invalid value '%s' for caching sub-option 'keys': only 'ALL' and 'NONE' are allowed", m[k])
		}
		if _, err := strconv.ParseUint(m[k], 10, 31); err != nil {
			return "", badOption("Invalid value '%s' for caching sub-option 'rows_per_partition': only 'ALL', 'NONE', and integer values are allowed", m[k])
		}
	}
	return encodeMap(out)
}

// keysBut lists the keys that aren't known, in order.
func keysBut(m map[string]string, known ...string) (unknown []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, k) {
			unknown = append(unknown, k)
		}
	}
	return unknown
}

func listed(keys []string) string { return "[" + strings.Join(keys, ", ") + "]" }

// Options of compaction, which is of one kind here: all have no effect, and are kept for those who ask.
var (
	anyCompaction = []string{"class", "enabled", "log_all", "only_purge_repaired_tombstones", "provide_overlapping_tombstones", "tombstone_compaction_interval",
		"tombstone_threshold", "unchecked_tombstone_compaction"}
	thresholds  = []string{"min_threshold", "max_threshold"}
	sizeTiered  = slices.Concat(anyCompaction, thresholds, []string{"bucket_high", "bucket_low", "min_sstable_size"})
	compactions = map[string][]string{
		"SizeTieredCompactionStrategy": sizeTiered,
		"TimeWindowCompactionStrategy": append(slices.Clone(sizeTiered), "compaction_window_size", "compaction_window_unit", "expired_sstable_check_frequency_seconds",
			"timestamp_resolution", "unsafe_aggressive_sstable_expiration"),
		"LeveledCompactionStrategy": slices.Concat(anyCompaction, thresholds, []string{"fanout_size", "single_sstable_uplevel", "sstable_size_in_mb"}),
		"UnifiedCompactionStrategy": append(slices.Clone(anyCompaction), "base_shard_count", "expired_sstable_check_frequency_seconds", "flush_size_override",
			"max_sstables_to_compact", "min_sstable_size", "overlap_inclusion_method", "scaling_parameters", "sstable_growth", "target_sstable_size",
			"unsafe_aggressive_sstable_expiration"),
	}
)

// readCompaction writes the class's name in full and fills in the thresholds where there are any.
func readCompaction(name, value string) (string, error) {
	m, err := decodeMap(name, value)
	if err != nil {
		return "", err
	}
	if m["class"] == "" {
		return "", badOption("Missing sub-option 'class' for the 'compaction' option.")
	}
	m["class"] = inPackage(compactionPackage, m["class"])
	class := strings.TrimPrefix(m["class"], compactionPackage)
	known, ok := compactions[class]
	if !ok {
		return "", badOption("Unable to find compaction strategy class '%s'", m["class"])
	}
	if unknown := keysBut(m, known...); unknown != nil {
		return "", badOption("Properties specified %s are not understood by %s", listed(unknown), class)
	}
	if slices.Contains(known, "min_threshold") {
		if err := fillThresholds(m); err != nil {
			return "", err
		}
	}
	return encodeMap(m)
}

func inPackage(prefix, class string) string {
	if strings.Contains(class, ".") {
		return class
	}
	return prefix + class
}

// fillThresholds checks how many files are compacted at once, and fills in the defaults.
func fillThresholds(m map[string]string) error {
	numbers := map[string]int{}
	for name, fallback := range map[string]string{"min_threshold": "4", "max_threshold": "32"} {
		if _, ok := m[name]; !ok {
			m[name] = fallback
		}
	}
	for _, name := range thresholds {
		n, err := strconv.ParseInt(m[name], 10, 32)
		if err != nil || strings.Trim(m[name], "0123456789") != "" {
			return badOption("Invalid value %s for '%s' compaction sub-option - must be an integer", m[name], name)
		}
		numbers[name] = int(n)
	}
	least, most := numbers["min_threshold"], numbers["max_threshold"]
	switch {
	case least == 0 || most == 0:
		return badOption("Disabling compaction by setting compaction thresholds to 0 has been removed, set the compaction option 'enabled' to false instead.")
	case least < 2:
		return badOption("Min compaction threshold cannot be less than 2 (got %d)", least)
	case least > most:
		return badOption("Min compaction threshold (got %d) cannot be greater than max compaction threshold (got %d)", least, most)
	}
	return nil
}

// compressors are the classes that Cassandra has, and their own options. Which one is named makes no difference here.
var compressors = map[string][]string{
	"LZ4Compressor":     {"lz4_compressor_type", "lz4_high_compressor_level"},
	"SnappyCompressor":  nil,
	"DeflateCompressor": nil,
	"ZstdCompressor":    {"compression_level"},
	"NoopCompressor":    nil,
}

// disabledCompression is how a table without compression is shown.
const disabledCompression = `{"enabled":"false"}`

// defaultChunk is chunk_length_in_kb where it isn't given.
const defaultChunk = "16"

// readCompression writes the class's name in full and fills in the length of chunks.
func readCompression(name, value string) (string, error) {
	m, err := decodeMap(name, value)
	if err != nil || len(m) == 0 {
		return disabledCompression, err
	}
	enabled, given := m["enabled"]
	delete(m, "enabled")
	switch {
	case given && !strings.EqualFold(enabled, "true"):
		if len(m) > 0 {
			return "", badOption("If the 'enabled' option is set to false no other options must be specified")
		}
		return disabledCompression, nil
	case m["class"] == "":
		return "", badOption("Missing sub-option 'class' for the 'compression' option.")
	}
	m["class"] = inPackage(compressPackage, m["class"])
	own, ok := compressors[strings.TrimPrefix(m["class"], compressPackage)]
	if !ok {
		return "", badOption("Could not create Compression for type %s", m["class"])
	}
	if err := checkChunk(m); err != nil {
		return "", err
	}
	if unknown := keysBut(m, append([]string{"class", "chunk_length_in_kb", "crc_check_chance", "min_compress_ratio"}, own...)...); unknown != nil {
		return "", badOption("Unknown compression options %s", unknown[0])
	}
	return encodeMap(m)
}

func checkChunk(m map[string]string) error {
	text, ok := m["chunk_length_in_kb"]
	if !ok {
		m["chunk_length_in_kb"] = defaultChunk
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err != nil:
		return badOption("Invalid value %s for option 'chunk_length_in_kb'", text)
	case n <= 0:
		return badOption("Invalid negative or null chunk_length_in_kb")
	case n&(n-1) != 0:
		return badOption("chunk_length_in_kb must be a power of 2")
	}
	return nil
}
