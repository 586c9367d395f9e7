package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node/config"
	"nodedb/query/exec"
	"nodedb/query/wire"
)

// guarded is an engine over the node of an engine, with guardrails.
func guarded(t *testing.T, e *Engine, settings ...string) *Engine {
	t.Helper()
	c := config.Default()
	for i := 0; i < len(settings); i += 2 {
		if err := c.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return NewEngine(e.exec.Cluster(), Options{Exec: exec.Options{Guardrails: &c.Guardrails}})
}

// TestGuardrailsBesideRecorded: those that no recorded script can have, since each begins with a keyspace and ends without it.
func TestGuardrailsBesideRecorded(t *testing.T) {
	plain, _, s := smallTable(t)
	for _, c := range []struct {
		settings        []string
		statement       string
		warning, refuse string
	}{
		{[]string{"drop_keyspace_enabled", "false"}, "DROP KEYSPACE ks", "", "drop_keyspace_enabled violated"},
		{[]string{"minimum_replication_factor_fail_threshold", "2"}, "CREATE KEYSPACE few WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "",
			"a replication factor of 1, below the failure threshold of 2"},
		{[]string{"minimum_replication_factor_warn_threshold", "2"}, "CREATE KEYSPACE few WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
			"a replication factor of 1, below the warning threshold of 2", ""},
		{nil, "ALTER KEYSPACE few WITH durable_writes = true", "", ""},
		{nil, "DROP KEYSPACE few", "", ""},
	} {
		res, err := guarded(t, plain, c.settings...).Query(context.Background(), s, c.statement, testParams())
		switch refused := (*wire.Error)(nil); {
		case c.refuse != "":
			if !errors.As(err, &refused) || refused.Code != wire.CodeInvalid || !strings.Contains(refused.Message, c.refuse) {
				t.Errorf("%s: %v, want %q", c.statement, err, c.refuse)
			}
		case err != nil:
			t.Errorf("%s: %v", c.statement, err)
		case c.warning == "" && len(res.Warnings) > 0, c.warning != "" && !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, c.warning) }):
			t.Errorf("%s: warnings %q, want %q", c.statement, res.Warnings, c.warning)
		}
	}
}

// TestGuardedRequestsAreNotStarted: a prepared statement that a guardrail is about is answered by a worker, with its warning or refusal.
func TestGuardedRequestsAreNotStarted(t *testing.T) {
	plain, _, s := smallTable(t)
	e := guarded(t, plain, "write_consistency_levels_disallowed", "TWO", "read_consistency_levels_warned", "ONE")
	for text, level := range map[string]consistency.Level{
		"INSERT INTO t (k, c, v) VALUES (1, 1, 'a')": consistency.Two, "SELECT v FROM t WHERE k = 1 AND c = 1": consistency.One,
	} {
		prepared, err := e.Prepare(context.Background(), s, text, "")
		if err != nil {
			t.Fatal(err)
		}
		p := testParams()
		p.Level = level
		res, started, err := startOrExecute(e, s, prepared.ID, p)
		if got := fmt.Sprint(err); started || !strings.Contains(got+fmt.Sprint(res), "consistency_levels violated") {
			t.Errorf("%s: started %t, answered %v, %v", text, started, res, err)
		}
	}
}

// TestTombstonesOfPages: a page that meets more tombstones than the threshold fails, whether they are rows or ranges; what names other rows, or counts them, doesn't.
func TestTombstonesOfPages(t *testing.T) {
	plain, _, s := smallTable(t)
	for c := range 6 {
		must(t, plain, s, fmt.Sprintf("DELETE FROM t WHERE k = 1 AND c = %d", c), fmt.Sprintf("DELETE FROM t WHERE k = 2 AND c > %d AND c < %d", 10*c, 10*c+5))
	}
	e := guarded(t, plain, "tombstone_warn_threshold", "3", "tombstone_failure_threshold", "5")
	for text, fails := range map[string]bool{
		"SELECT v FROM t WHERE k = 1": true, "SELECT v FROM t WHERE k = 2": true, "SELECT v FROM t WHERE k = 1 AND c < 5": false,
		"SELECT v FROM t WHERE k = 1 AND c = 2": false, "SELECT count(*) FROM t": false,
	} {
		_, err := e.Query(context.Background(), s, text, testParams())
		refused := (*wire.Error)(nil)
		if fails != errors.As(err, &refused) || fails && (refused.Code != wire.CodeReadFailure || len(refused.Reasons) != 1 || refused.Reasons[0].Code != 1) {
			t.Errorf("%s: %v, %+v", text, err, refused)
		}
	}
}
