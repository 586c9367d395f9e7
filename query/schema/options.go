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

// option is one table option: its default as DESCRIBE shows it ("" for none), whether it is a map, and its check.
type option struct {
	fallback string
	isMap    bool
	quoted   bool
	check    func(name, value string) error
}

// options are the table options we know, by name. What DESCRIBE prints of them is what Cassandra 5 prints.
var options = map[string]option{
	"additional_write_policy":     {fallback: "99p", quoted: true, check: checkSpeculation},
	"allow_auto_snapshot":         {fallback: "true", check: checkBool},
	"bloom_filter_fp_chance":      {fallback: "0.01", check: checkChance(6.71e-5)},
	"caching":                     {fallback: `{"keys":"ALL","rows_per_partition":"NONE"}`, isMap: true, check: checkCaching},
	"cdc":                         {fallback: "false", check: checkBool},
	"comment":                     {quoted: true, check: checkAny},
	"compaction":                  {fallback: `{"class":"` + compactionPackage + `SizeTieredCompactionStrategy","max_threshold":"32","min_threshold":"4"}`, isMap: true, check: checkCompaction},
	"compression":                 {fallback: `{"chunk_length_in_kb":"16","class":"` + compressPackage + `LZ4Compressor"}`, isMap: true, check: checkAny},
	"crc_check_chance":            {fallback: "1.0", check: checkChance(-1)},
	"default_time_to_live":        {fallback: "0", check: checkInt(0, MaxTTL)},
	"extensions":                  {fallback: `{}`, isMap: true, check: checkAny},
	"gc_grace_seconds":            {fallback: strconv.Itoa(DefaultGCGrace), check: checkInt(0, 1<<31-1)},
	"incremental_backups":         {fallback: "true", check: checkBool},
	"max_index_interval":          {fallback: "2048", check: checkInt(1, 1<<31-1)},
	"memory":                      {fallback: "false", check: checkBool},
	"memtable":                    {fallback: "default", quoted: true, check: checkAny},
	"memtable_flush_period_in_ms": {fallback: "0", check: checkInt(0, 1<<31-1)},
	"min_index_interval":          {fallback: "128", check: checkInt(1, 1<<31-1)},
	"read_repair":                 {fallback: "BLOCKING", quoted: true, check: checkReadRepair},
	"speculative_retry":           {fallback: "99p", quoted: true, check: checkSpeculation},
}

// obsolete options are accepted and forgotten, as in Cassandra.
var obsolete = []string{"read_repair_chance", "dclocal_read_repair_chance", "index_interval", "replicate_on_write", "populate_io_cache_on_flush"}

const (
	compactionPackage = "org.apache.cassandra.db.compaction."
	compressPackage   = "org.apache.cassandra.io.compress."
)

// KnownOption reports whether CREATE TABLE … WITH knows an option.
func KnownOption(name string) bool {
	_, ok := options[name]
	return ok || name == "id" || slices.Contains(obsolete, name)
}

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
		value := given[name]
		if slices.Contains(obsolete, name) {
			continue
		}
		if name == "id" && id != nil {
			if err := parseID(value, id); err != nil {
				return about("WITH id", err)
			}
			continue
		}
		def, ok := options[name]
		if !ok {
			return about("WITH "+name, badOption("Unknown property '%s'", name))
		}
		if def.isMap != strings.HasPrefix(value, "{") && (def.isMap || !def.quoted) {
			return about("WITH "+name, badOption("Invalid value %s for property '%s': %s", value, name, kindWanted(def)))
		}
		if err := def.check(name, value); err != nil {
			return about("WITH "+name, err)
		}
		o.take(name, value)
	}
	least, most := o.number("min_index_interval"), o.number("max_index_interval")
	if most < least {
		return badOption("max_index_interval must be greater than or equal to min_index_interval (%d) (got %d)", least, most)
	}
	return nil
}

func kindWanted(def option) string {
	if def.isMap {
		return "it should be a map such as {'class': '…'}"
	}
	return "it should be a single value, not a map"
}

func (o *TableOptions) number(name string) int {
	n, _ := strconv.Atoi(o.Option(name)) // checked when it was set
	return n
}

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
		o.Memory = strings.EqualFold(value, "true")
	default:
		if o.Extra == nil {
			o.Extra = map[string]string{}
		}
		o.Extra[name] = normal(name, value)
	}
}

// normal writes class names in full and fills in what Cassandra shows although it wasn't given.
func normal(name, value string) string {
	prefix := map[string]string{"compaction": compactionPackage, "compression": compressPackage}[name]
	if prefix == "" {
		return value
	}
	m := map[string]string{}
	if json.Unmarshal([]byte(value), &m) != nil {
		return value
	}
	if c := m["class"]; c != "" && !strings.Contains(c, ".") {
		m["class"] = prefix + c
	}
	if name == "compaction" && (strings.HasSuffix(m["class"], ".SizeTieredCompactionStrategy") || strings.HasSuffix(m["class"], ".TimeWindowCompactionStrategy")) {
		setDefault(m, "max_threshold", "32")
		setDefault(m, "min_threshold", "4")
	}
	out, err := json.Marshal(m) // keys ascend: canonical
	if err != nil {
		return value
	}
	return string(out)
}

func setDefault(m map[string]string, k, v string) {
	if _, ok := m[k]; !ok {
		m[k] = v
	}
}

func parseID(text string, id *[16]byte) error {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != 16 || len(text) != 36 {
		return badOption("Invalid table id %s: want a UUID", text)
	}
	copy(id[:], raw)
	return nil
}

func checkAny(_, value string) error {
	if len(value) > MaxKey {
		return badOption("A table option's value may have %d bytes at most, got %d", MaxKey, len(value))
	}
	return nil
}

func checkBool(name, value string) error {
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return badOption("Invalid boolean value %s for '%s': want true or false", value, name)
	}
	return nil
}

func checkInt(least, most int64) func(name, value string) error {
	return func(name, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return badOption("Invalid integer value %s for '%s'", value, name)
		}
		if n < least {
			return badOption("%s must be greater than or equal to %d (got %s)", name, least, value)
		}
		if n > most {
			return badOption("%s must be less than or equal to %d (got %s)", name, most, value)
		}
		return nil
	}
}

// checkChance takes probabilities over least (or from 0 on where least is negative) to 1.
func checkChance(least float64) func(name, value string) error {
	return func(name, value string) error {
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return badOption("Invalid double value %s for '%s'", value, name)
		}
		if least >= 0 && !(f > least && f <= 1) {
			return badOption("%s must be larger than %g and less than or equal to 1.0 (got %s)", name, least, value)
		}
		if !(f >= 0 && f <= 1) {
			return badOption("%s must be larger than or equal to 0 and smaller than or equal to 1.0 (got %s)", name, value)
		}
		return nil
	}
}

func checkReadRepair(name, value string) error {
	if !strings.EqualFold(value, "BLOCKING") && !strings.EqualFold(value, "NONE") {
		return badOption("Invalid value %s for '%s': want BLOCKING or NONE", value, name)
	}
	return nil
}

// checkSpeculation takes NONE, ALWAYS, 99p, 99PERCENTILE, 50ms, and MIN or MAX of two of them.
func checkSpeculation(name, value string) error {
	v := strings.ToLower(strings.TrimSpace(value))
	if v == "none" || v == "never" || v == "always" || isThreshold(v) {
		return nil
	}
	for _, f := range []string{"min(", "max("} {
		if inner, ok := strings.CutPrefix(v, f); ok && strings.HasSuffix(inner, ")") {
			a, b, two := strings.Cut(strings.TrimSuffix(inner, ")"), ",")
			if two && isThreshold(strings.TrimSpace(a)) && isThreshold(strings.TrimSpace(b)) {
				return nil
			}
		}
	}
	return badOption("Invalid value %s for option '%s': want NONE, ALWAYS, 99p, 50ms or MIN(99p, 50ms)", value, name)
}

func isThreshold(v string) bool {
	for _, unit := range []string{"percentile", "p", "ms"} {
		if n, ok := strings.CutSuffix(v, unit); ok {
			f, err := strconv.ParseFloat(n, 64)
			return err == nil && f >= 0 && (unit == "ms" || f <= 100)
		}
	}
	return false
}

func checkCaching(name, value string) error {
	m := map[string]string{}
	if json.Unmarshal([]byte(value), &m) != nil {
		return badOption("Invalid value %s for '%s': want a map of texts", value, name)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		_, err := strconv.ParseUint(v, 10, 31)
		word := strings.EqualFold(v, "ALL") || strings.EqualFold(v, "NONE")
		switch {
		case k == "keys" && word, k == "rows_per_partition" && (word || err == nil):
		case k != "keys" && k != "rows_per_partition":
			return badOption("Invalid caching sub-options %s: only 'keys' and 'rows_per_partition' are allowed", k)
		default:
			return badOption("Invalid value '%s' for caching sub-option '%s'", v, k)
		}
	}
	return nil
}

func checkCompaction(name, value string) error {
	m := map[string]string{}
	if json.Unmarshal([]byte(value), &m) != nil {
		return badOption("Invalid value %s for '%s': want a map of texts", value, name)
	}
	class, ok := m["class"]
	if !ok {
		return badOption("Missing sub-option 'class' for the 'compaction' option.")
	}
	switch strings.TrimPrefix(class, compactionPackage) {
	case "SizeTieredCompactionStrategy", "LeveledCompactionStrategy", "TimeWindowCompactionStrategy", "UnifiedCompactionStrategy":
		return nil
	}
	return badOption("Unable to find compaction strategy class '%s'", class)
}
