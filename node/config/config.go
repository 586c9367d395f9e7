// Package config is the validated configuration of a node: one strict YAML file, flags and NODEDB_* variables, all with the same names. It
// imports nothing of nodedb. Start reading at Config.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrConfig says that a setting is unknown or invalid; the text names the file and line, flag or variable.
var ErrConfig = errors.New("configuration")

// Duration is a time.Duration written as Cassandra writes them: 10s, 500ms, 3h.
type Duration time.Duration

// Size is a number of bytes, written 1024KiB, 64MiB, 1GiB or plain.
type Size int64

// Config is everything a node can be told. Names and units are Cassandra's where the meaning is the same; a flag is the key with hyphens, a
// variable is NODEDB_ and the key in capitals. A flag wins over a variable, a variable over the file, the file over the default.
type Config struct {
	ClusterName string `key:"cluster_name" default:"nodedb" help:"name of the cluster; nodes of another name are refused"`
	Listen      string `key:"listen" default:"127.0.0.1" help:"IP address this node listens on and is known by to the others"`
	// Data holds everything that outlives the process. It is locked while a node runs on it.
	Data string `key:"data" default:"./nodedb-data" help:"data directory"`
	// Join is the founding list: see DESIGN.md of gossip/metalog. Ignored once the node has data.
	Join       []string `key:"join" default:"" help:"addresses of other nodes, to join their cluster or found one with them"`
	Datacenter string   `key:"datacenter" default:"datacenter1" help:"data centre this node stands in"`
	Rack       string   `key:"rack" default:"rack1" help:"rack this node stands in"`
	// NumTokens is the node's weight: a machine twice as big takes twice the tokens, and so twice the data and requests.
	NumTokens int `key:"num_tokens" default:"16" help:"tokens on the ring (1 to 1024); twice the tokens, twice the data"`

	NativeTransportPort int `key:"native_transport_port" default:"9042" help:"port of the CQL binary protocol"`
	StoragePort         int `key:"storage_port" default:"7000" help:"port between nodes (TCP)"`
	GossipPort          int `key:"gossip_port" default:"7001" help:"port of the failure detector (TCP and UDP)"`
	HTTPPort            int `key:"http_port" default:"8181" help:"port of the HTTP JSON API"`

	// CommitlogSync: batch acknowledges a write once it is on disk; periodic acknowledges at once and can lose CommitlogSyncPeriod of
	// acknowledged writes when all replicas lose power together.
	CommitlogSync       string   `key:"commitlog_sync" default:"batch" one:"batch periodic" help:"batch: a write is acknowledged once synced; periodic: before"`
	CommitlogSyncPeriod Duration `key:"commitlog_sync_period" default:"10s" help:"how often periodic syncs"`
	CacheSize           Size     `key:"cache_size" default:"0" help:"block cache; 0: sized from the machine's memory"`
	// RowCacheSize: by default a 64th of the memory, at most 128MiB. It fills as rows are read.
	RowCacheSize Size `key:"row_cache_size" default:"0" help:"cache of rows that are read one by one; 0: sized from the machine's memory; less than 1MiB: none"`

	WriteRequestTimeout Duration `key:"write_request_timeout" default:"2s" help:"how long a coordinator waits for a write"`
	ReadRequestTimeout  Duration `key:"read_request_timeout" default:"5s" help:"how long a coordinator waits for a read of one partition"`
	RangeRequestTimeout Duration `key:"range_request_timeout" default:"10s" help:"how long a coordinator waits for a page of a range"`

	MaxHintWindow       Duration `key:"max_hint_window" default:"3h" help:"older hints are dropped"`
	MaxHintsSizePerHost Size     `key:"max_hints_size_per_host" default:"1GiB" help:"more hints for one dead node are dropped"`
	HintedHandoffRate   Size     `key:"hinted_handoff_throttle" default:"32MiB" help:"bytes a second of replay to one node"`

	// BatchlogReplayRate bounds what this node writes again of logged batches whose coordinators died.
	BatchlogReplayRate Size `key:"batchlog_replay_throttle" default:"1MiB" help:"bytes a second of logged batches written again for coordinators that died"`

	// AntiEntropyTarget: every range of every table is compared with its other owners once in about this time. Smaller finds differences sooner; a comparison
	// reads the whole table on each owner.
	AntiEntropyTarget Duration `key:"anti_entropy_target" default:"24h" help:"time in which all replicas are compared and, where they differ, repaired"`
	// AntiEntropyGrace: sooner, a comparison would move what hints are about to bring; later, the node lacks for longer what hints don't.
	AntiEntropyGrace Duration `key:"anti_entropy_grace" default:"10s" help:"how long after a node came up its replicas are compared; hints come first"`
	// AntiEntropyThrottle bounds what this node reads for comparisons, its own and others'. Beside requests it reads less: for a twentieth of one processor's time.
	AntiEntropyThrottle Size `key:"anti_entropy_throttle" default:"32MiB" help:"bytes a second read to compare replicas; 0: as fast as it goes"`

	MaxConnections int `key:"native_transport_max_concurrent_connections" default:"4096" help:"CQL connections accepted at once"`
	// MaxFrameSize of a request, uncompressed, in 4KiB to 256MiB. A node keeps up to 32MiB of one connection's requests and 256MiB of all, or one more.
	MaxFrameSize Size `key:"native_transport_max_frame_size" default:"16MiB" help:"a larger CQL request is refused"`
	// PreparedCacheSize: a statement is taken to cost 4KiB and 64 bytes a character; at most 10,000 are kept. Clients prepare again what was dropped.
	PreparedCacheSize Size `key:"prepared_statements_cache_size" default:"256MiB" help:"memory of prepared statements; beyond it the least recently used are dropped"`

	LogLevel  string `key:"log_level" default:"info" one:"debug info warn error" help:"debug, info, warn or error"`
	LogFormat string `key:"log_format" default:"text" one:"text json" help:"text or json"`

	Guardrails
}

// Key describes one setting, for flags and documentation.
type Key struct {
	Name, Default, Help string
	List                bool
}

// Flag is the setting's command-line name.
func (k Key) Flag() string { return strings.ReplaceAll(k.Name, "_", "-") }

// Variable is the setting's environment name.
func (k Key) Variable() string { return "NODEDB_" + strings.ToUpper(k.Name) }

// fields are those of Config that are settings.
var fields = slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[Config]()), func(f reflect.StructField) bool { return f.Anonymous })

// Keys lists all settings in the order of Config.
func Keys() []Key {
	var keys []Key
	for _, f := range fields {
		keys = append(keys, Key{f.Tag.Get("key"), f.Tag.Get("default"), f.Tag.Get("help"), f.Type.Kind() == reflect.Slice})
	}
	return keys
}

// Default is the configuration that nothing was said about.
func Default() *Config {
	c := &Config{}
	for _, k := range Keys() {
		if err := c.Set(k.Name, k.Default); err != nil {
			panic(err) // a default in this file is wrong
		}
	}
	return c
}

// Set gives a setting its value from text.
func (c *Config) Set(name, text string) error {
	v := reflect.ValueOf(c).Elem()
	for _, f := range fields {
		if f.Tag.Get("key") == name {
			text = strings.TrimSpace(text)
			err := oneOf(f.Tag.Get("one"), text)
			if err == nil {
				err = setField(v.FieldByIndex(f.Index), text)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("%q is not a setting%s", name, nearest(name))
}

// Values gives all settings by name, as Set takes them.
func (c *Config) Values() map[string]string {
	values, v := map[string]string{}, reflect.ValueOf(c).Elem()
	for _, f := range fields {
		values[f.Tag.Get("key")] = textOf(v.FieldByIndex(f.Index).Interface())
	}
	return values
}

func textOf(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, ",")
	case Duration:
		return time.Duration(v).String()
	case Size:
		for _, u := range []struct {
			suffix string
			bytes  Size
		}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if v > 0 && v%u.bytes == 0 {
				return strconv.FormatInt(int64(v/u.bytes), 10) + u.suffix
			}
		}
		return strconv.FormatInt(int64(v), 10)
	}
	return fmt.Sprint(value)
}

func setField(f reflect.Value, text string) error {
	switch p := f.Addr().Interface().(type) {
	case *string:
		*p = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number, got %q", text)
		}
		*p = n
	case *bool:
		if err := oneOf("true false", text); err != nil {
			return err
		}
		*p = text == "true"
	case *[]string:
		*p = nil
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	case *Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return fmt.Errorf("want a duration such as 10s, 500ms or 3h, got %q", text)
		}
		*p = Duration(d)
	case *Size:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		*p = n
	default:
		panic("config: a field of unknown type " + f.Type().String())
	}
	return nil
}

func parseSize(text string) (Size, error) {
	units := []struct {
		suffix string
		bytes  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("want a size such as 64MiB, 1024KiB or 1GiB, got %q", text)
}

// nearest suggests the setting a wrong name may have meant.
func nearest(name string) string {
	best, at := 4, ""
	for _, k := range Keys() {
		if d := distance(name, k.Name); d < best {
			best, at = d, k.Name
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// Validate checks what a single setting can't tell.
func (c *Config) Validate() error {
	addr, err := netip.ParseAddr(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("%w: listen: want an IP address that the other nodes can reach, got %q", ErrConfig, c.Listen)
	case addr.IsUnspecified():
		return fmt.Errorf("%w: listen: %s is every address; name the one that the other nodes reach this one by", ErrConfig, c.Listen)
	case c.ClusterName == "":
		return fmt.Errorf("%w: cluster_name is empty", ErrConfig)
	case c.Data == "":
		return fmt.Errorf("%w: data is empty: name a directory", ErrConfig)
	case c.Datacenter == "" || c.Rack == "":
		return fmt.Errorf("%w: datacenter and rack must not be empty", ErrConfig)
	case c.NumTokens < 1 || c.NumTokens > 1024:
		return fmt.Errorf("%w: num_tokens: want 1 to 1024, got %d", ErrConfig, c.NumTokens)
	case c.MaxFrameSize < 4<<10 || c.MaxFrameSize > 256<<20:
		return fmt.Errorf("%w: native_transport_max_frame_size: want 4KiB to 256MiB, got %d bytes", ErrConfig, c.MaxFrameSize)
	case c.BatchSizeFail < 1 || c.BatchSizeFail > 16<<20:
		return fmt.Errorf("%w: batch_size_fail_threshold: want 1B to 16MiB, got %d bytes", ErrConfig, c.BatchSizeFail)
	case c.PreparedCacheSize < 1<<20:
		return fmt.Errorf("%w: prepared_statements_cache_size: want 1MiB or more, got %d bytes", ErrConfig, c.PreparedCacheSize)
	}
	return c.validatePorts()
}

func (c *Config) validatePorts() error {
	seen := map[int]string{}
	for _, p := range []struct {
		name string
		port int
	}{
		{"native_transport_port", c.NativeTransportPort}, {"storage_port", c.StoragePort},
		{"gossip_port", c.GossipPort}, {"http_port", c.HTTPPort},
	} {
		if p.port < 1 || p.port > 65535 {
			return fmt.Errorf("%w: %s: want a port from 1 to 65535, got %d", ErrConfig, p.name, p.port)
		}
		if other, ok := seen[p.port]; ok {
			return fmt.Errorf("%w: %s and %s are both %d", ErrConfig, other, p.name, p.port)
		}
		seen[p.port] = p.name
	}
	return nil
}

// oneOf checks a setting that has choices, given as words with blanks between.
func oneOf(choices, got string) error {
	words := strings.Fields(choices)
	if len(words) == 0 || slices.Contains(words, got) {
		return nil
	}
	return fmt.Errorf("want %s, got %q", strings.Join(words, " or "), got)
}

// Unknown lists the variables of the environment that look like settings and are none: mistyped, perhaps.
func Unknown(environ []string) (names []string) {
	known := map[string]bool{"NODEDB_CONFIG": true}
	for _, k := range Keys() {
		known[k.Variable()] = true
	}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "NODEDB_") && !known[name] {
			names = append(names, name)
		}
	}
	return names
}
