package schema

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// DefaultGCGrace is gc_grace_seconds where it isn't given: ten days.
const DefaultGCGrace = 864000

// MaxTTL is the longest time to live in seconds: twenty years, as in Cassandra.
const MaxTTL = 20 * 365 * 24 * 3600

// option is one table option: its default as DESCRIBE shows it ("" for none), whether it is a map, and how a value is checked and written so that equal
// ones are equal texts.
type option struct {
	fallback string
	isMap    bool
	quoted   bool
	read     func(name, value string) (string, error)
}

// options are the table options we know, by name. What DESCRIBE prints of them is what Cassandra 5 prints. Only comment, default_time_to_live,
// gc_grace_seconds and memory have an effect here.
var options = map[string]option{
	"additional_write_policy":     {fallback: "99p", quoted: true, read: readSpeculation},
	"allow_auto_snapshot":         {fallback: "true", read: readBool},
	"bloom_filter_fp_chance":      {fallback: "0.01", read: readChance(leastFalsePositives)},
	"caching":                     {fallback: `{"keys":"ALL","rows_per_partition":"NONE"}`, isMap: true, read: readCaching},
	"cdc":                         {fallback: "false", read: readBool},
	"comment":                     {quoted: true, read: readText},
	"compaction":                  {fallback: `{"class":"` + compactionPackage + `SizeTieredCompactionStrategy","max_threshold":"32","min_threshold":"4"}`, isMap: true, read: readCompaction},
	"compression":                 {fallback: `{"chunk_length_in_kb":"16","class":"` + compressPackage + `LZ4Compressor"}`, isMap: true, read: readCompression},
	"crc_check_chance":            {fallback: "1.0", read: readChance(-1)},
	"default_time_to_live":        {fallback: "0", read: readInt(0, MaxTTL)},
	"extensions":                  {fallback: `{}`, isMap: true, read: readNothing},
	"gc_grace_seconds":            {fallback: strconv.Itoa(DefaultGCGrace), read: readInt(0, 1<<31-1)},
	"incremental_backups":         {fallback: "true", read: readBool},
	"max_index_interval":          {fallback: "2048", read: readInt(1, 1<<31-1)},
	"memory":                      {fallback: "false", read: readBool},
	"memtable":                    {fallback: "default", quoted: true, read: readMemtable},
	"memtable_flush_period_in_ms": {fallback: "0", read: readInt(0, 1<<31-1)},
	"min_index_interval":          {fallback: "128", read: readInt(1, 1<<31-1)},
	"read_repair":                 {fallback: "BLOCKING", quoted: true, read: readReadRepair},
	"speculative_retry":           {fallback: "99p", quoted: true, read: readSpeculation},
}

// KnownOption reports whether CREATE TABLE … WITH knows an option.
func KnownOption(name string) bool {
	_, ok := options[name]
	return ok || name == "id"
}

// IsMap reports whether an option's value is a map.
func IsMap(name string) bool { return options[name].isMap }

// Option gives a scalar option's value, its default where it wasn't given.
func (o *TableOptions) Option(name string) string {
	switch name {
	case "comment":
		return o.Comment
	case "default_time_to_live":
		return strconv.Itoa(int(o.DefaultTTL))
	case "gc_grace_seconds":
		return strconv.Itoa(int(o.GCGraceSeconds))
	case "memory":
		return strconv.FormatBool(o.Memory)
	}
	if v, ok := o.Extra[name]; ok {
		return v
	}
	return options[name].fallback
}

// Map gives a map option's value (caching, compaction, compression, extensions), its default where it wasn't given.
func (o *TableOptions) Map(name string) map[string]string {
	m := map[string]string{}
	if json.Unmarshal([]byte(o.Option(name)), &m) != nil {
		return map[string]string{}
	}
	return m
}

// set checks and takes the options of a change. id is where the option id goes.
func (o *TableOptions) set(given map[string]string, id *[16]byte) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if name == "id" && id != nil {
			if err := parseID(given[name], id); err != nil {
				return about("WITH id", err)
			}
			continue
		}
		if err := o.setOne(name, given[name]); err != nil {
			return about("WITH "+name, err)
		}
	}
	least, most := o.number("min_index_interval"), o.number("max_index_interval")
	if most < least {
		return badOption("max_index_interval must be greater than or equal to min_index_interval (%d) (got %d)", least, most)
	}
	return nil
}

func (o *TableOptions) setOne(name, value string) error {
	def, ok := options[name]
	if !ok {
		return malformed("Unknown property '%s'", name)
	}
	value, err := def.read(name, value)
	if err == nil {
		o.take(name, value)
	}
	return err
}

func (o *TableOptions) number(name string) int {
	n, _ := strconv.Atoi(o.Option(name)) // checked when it was set
	return n
}

// take keeps a value that was read. What is the default isn't kept: it makes no difference whether it was given.
func (o *TableOptions) take(name, value string) {
	switch name {
	case "comment":
		o.Comment = value
	case "default_time_to_live":
		n, _ := strconv.ParseInt(value, 10, 32)
		o.DefaultTTL = int32(n)
	case "gc_grace_seconds":
		n, _ := strconv.ParseInt(value, 10, 32)
		o.GCGraceSeconds = int32(n)
	case "memory":
		o.Memory = value == "true"
	default:
		if value == options[name].fallback {
			delete(o.Extra, name)
			return
		}
		if o.Extra == nil {
			o.Extra = map[string]string{}
		}
		o.Extra[name] = value
	}
}

// leveledFalsePositives is bloom_filter_fp_chance of a new table that names the leveled strategy and nothing else.
const leveledFalsePositives = "0.1"

// create is set for a new table.
func (o *TableOptions) create(given map[string]string, id *[16]byte) error {
	if err := o.set(given, id); err != nil {
		return err
	}
	if _, ok := given["bloom_filter_fp_chance"]; !ok && o.Map("compaction")["class"] == compactionPackage+"LeveledCompactionStrategy" {
		o.take("bloom_filter_fp_chance", leveledFalsePositives)
	}
	return nil
}

func parseID(text string, id *[16]byte) error {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != 16 || len(text) != 36 {
		return badOption("Invalid table id %s: want a UUID", text)
	}
	copy(id[:], raw)
	return nil
}
