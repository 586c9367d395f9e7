package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLayersOverrideEachOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodedb.yaml")
	text := "# a comment\ncluster_name: from-file\nnum_tokens: 32\njoin: [10.0.0.1, 10.0.0.2]\nwrite_request_timeout: 750ms\ncache_size: 64MiB\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, []string{"NODEDB_NUM_TOKENS=64", "NODEDB_RACK=r7", "HOME=/"}, map[string]string{"rack": "r9"})
	if err != nil {
		t.Fatal(err)
	}
	if c.ClusterName != "from-file" || c.NumTokens != 64 || c.Rack != "r9" || c.HTTPPort != 8181 {
		t.Errorf("layers: got %+v", c)
	}
	if strings.Join(c.Join, " ") != "10.0.0.1 10.0.0.2" || time.Duration(c.WriteRequestTimeout) != 750*time.Millisecond || c.CacheSize != 64<<20 {
		t.Errorf("values: got %+v", c)
	}
}

func TestBadSettingsNameTheirPlace(t *testing.T) {
	for _, tc := range []struct{ name, yaml, env, flag, want string }{
		{"unknown key", "cluster_name: a\nnum_token: 4\n", "", "", `line 2: "num_token" is not a setting; did you mean "num_tokens"?`},
		{"wrong value", "\nnum_tokens: many\n", "", "", `line 2: num_tokens: want a whole number, got "many"`},
		{"twice", "rack: a\nrack: b\n", "", "", `[2:1] mapping key "rack" already defined`},
		{"half-written", "cluster_name: a\nrack:\n", "", "", "line 2: rack: want a plain value"},
		{"not a mapping", "just words\n", "", "", "line 1: want lines of the form"},
		{"nested", "rack:\n  a: b\n", "", "", "line 1: rack: want a plain value"},
		{"variable", "", "NODEDB_HTTP_PORT=x", "", `variable NODEDB_HTTP_PORT: http_port: want a whole number`},
		{"flag", "", "", "0", "num_tokens: want 1 to 1024, got 0"},
		{"sizes", "cache_size: 12 parsecs\n", "", "", `line 1: cache_size: want a size such as`},
		{"durations", "max_hint_window: 0s\n", "", "", `line 1: max_hint_window: want a duration`},
		{"listen", "listen: 0.0.0.0\n", "", "", "name the one that the other nodes reach"},
		{"ports", "http_port: 9042\n", "", "", "native_transport_port and http_port are both 9042"},
		{"choice", "commitlog_sync: never\n", "", "", `line 1: commitlog_sync: want batch or periodic, got "never"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(file, []byte(tc.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			flags := map[string]string{}
			if tc.flag != "" {
				flags["num_tokens"] = tc.flag
			}
			_, err := Load(file, []string{tc.env}, flags)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want an error with %q, got %v", tc.want, err)
			}
		})
	}
}

func TestMistypedVariablesAreNoticed(t *testing.T) {
	got := Unknown([]string{"NODEDB_COMITLOG_SYNC=periodic", "NODEDB_RACK=r", "NODEDB_CONFIG=f", "HOME=/"})
	if strings.Join(got, " ") != "NODEDB_COMITLOG_SYNC" {
		t.Errorf("got %q", got)
	}
}

func TestEveryKeyIsDocumentedAndHasADefault(t *testing.T) {
	for _, k := range Keys() {
		if k.Name == "" || k.Help == "" {
			t.Errorf("setting %+v lacks its name or help", k)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults don't validate: %v", err)
	}
}
