package exec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/virtual"
)

// guardChange holds a change of the schema to the guardrails. What it would make is looked at on this node's catalog, which may be a moment behind: guardrails are
// for mistakes of people, not for races.
func (r *request) guardChange(ch *schema.Change) error {
	g := &r.x.guards
	switch {
	case !g.DropKeyspace && ch.Op == schema.DropKeyspace:
		return violated("drop_keyspace_enabled", "DROP KEYSPACE functionality is not allowed")
	case !g.DropTruncateTable && (ch.Op == schema.DropTable || ch.Op == schema.TruncateTable):
		return violated("drop_truncate_table_enabled", "DROP and TRUNCATE TABLE functionality is not allowed")
	}
	if err := r.guardProperties(ch); err != nil {
		return err
	}
	if err := r.guardNumbers(ch); err != nil {
		return err
	}
	catalog := r.x.cluster.Catalog()
	next, target, err := catalog.Apply(ch, catalog.Epoch+1)
	if err != nil || target == (schema.Target{}) {
		return nil // the metadata log says so, too
	}
	switch ch.Op {
	case schema.CreateKeyspace, schema.AlterKeyspace:
		return r.guardReplication(ch, next.Keyspaces[ch.Keyspace])
	case schema.CreateTable, schema.AlterTable:
		t, _ := next.Table(ch.Keyspace, ch.Name)
		return r.guardTable(ch, t)
	case schema.CreateType, schema.AlterType:
		return r.guardType(ch, next.Keyspaces[ch.Keyspace].Types[ch.Name])
	}
	return nil
}

// guardProperties holds the options that a statement names to their guardrail, and leaves out those that are to be ignored. The change is this run's own, its
// options are not.
func (r *request) guardProperties(ch *schema.Change) error {
	const name, noun = "table_properties", "Table Properties"
	g := &r.x.guards
	given := slices.Collect(maps.Keys(ch.Options))
	if err := refuseListed(name, noun, given, g.PropertiesDisallowed); err != nil {
		return err
	}
	if ignored := listed(given, g.PropertiesIgnored); len(ignored) > 0 {
		r.warn(name, "Ignoring provided values %s as they are not supported for %s (ignored values are: %s)", words(ignored), noun, words(g.PropertiesIgnored))
		ch.Options = maps.Clone(ch.Options)
		for _, option := range ignored {
			delete(ch.Options, option)
		}
	}
	r.warnListed(name, noun, given, g.PropertiesWarned)
	return nil
}

// guardNumbers holds the keyspaces and tables that there are to their guardrails, whether or not one of the name is among them.
func (r *request) guardNumbers(ch *schema.Change) error {
	g, all := &r.x.guards, r.x.cluster.Catalog().Keyspaces
	texts := func(noun, name string, n int) (warning, failure func(int) string) {
		return func(limit int) string {
				return fmt.Sprintf("Creating %s %s, current number of %ss %d exceeds warning threshold of %d.", noun, name, noun, n, limit)
			}, func(limit int) string {
				return fmt.Sprintf("Cannot have more than %d %ss, aborting the creation of %s %s", limit, noun, noun, name)
			}
	}
	switch ch.Op {
	case schema.CreateKeyspace:
		n := len(all) + 1
		warning, failure := texts("keyspace", ch.Keyspace, n)
		return r.guard("keyspaces", n, g.KeyspacesWarn, g.KeyspacesFail, warning, failure)
	case schema.CreateTable:
		n := 1
		for _, k := range all {
			n += len(k.Tables)
		}
		warning, failure := texts("table", ch.Name, n)
		return r.guard("tables", n, g.TablesWarn, g.TablesFail, warning, failure)
	}
	return nil
}

// guardReplication holds a keyspace's replication to the guardrails, and warns of factors that there are too few nodes for.
func (r *request) guardReplication(ch *schema.Change, k *schema.Keyspace) error {
	g := &r.x.guards
	if !g.SimpleStrategy && ch.Class != "" && strings.HasSuffix(k.Class, "SimpleStrategy") {
		return violated("simplestrategy", "SimpleStrategy is not allowed")
	}
	for _, f := range factors(k) {
		const above, below = "maximum_replication_factor", "minimum_replication_factor"
		text := func(side, threshold string) func(int) string {
			return func(limit int) string {
				return fmt.Sprintf("The keyspace %s has a replication factor of %d, %s the %s threshold of %d.", k.Name, f.factor, side, threshold, limit)
			}
		}
		err := r.guard(above, f.factor, g.ReplicasMostWarn, g.ReplicasMostFail, text("above", "warning"), text("above", "failure"))
		switch {
		case err != nil:
			return err
		case f.factor < g.ReplicasLeastFail:
			return violated(below, "%s", text("below", "failure")(g.ReplicasLeastFail))
		case f.factor < g.ReplicasLeastWarn:
			r.warn(below, "%s", text("below", "warning")(g.ReplicasLeastWarn))
		}
	}
	if ch.Class != "" {
		r.warnOfNodes(k, r.x.cluster.Topology().Nodes)
	}
	return nil
}

// factor is a replication factor; dc is "" where it is that of all of the cluster.
type factor struct {
	dc     string
	factor int
}

func factors(k *schema.Keyspace) (list []factor) {
	for _, name := range slices.Sorted(maps.Keys(k.Options)) {
		if n, err := strconv.Atoi(k.Options[name]); err == nil {
			if name == "replication_factor" {
				name = ""
			}
			list = append(list, factor{name, n})
		}
	}
	return list
}

// warnOfNodes warns of more replicas than there are nodes.
func (r *request) warnOfNodes(k *schema.Keyspace, nodes []virtual.NodeInfo) {
	for _, f := range factors(k) {
		n, where := 0, ""
		if f.dc != "" {
			where = " for datacenter " + f.dc
		}
		for _, node := range nodes {
			if f.dc == "" || node.DC == f.dc {
				n++
			}
		}
		if f.factor > n {
			r.warnings = append(r.warnings, fmt.Sprintf("Your replication factor %d for keyspace %s is higher than the number of nodes %d%s", f.factor, k.Name, n, where))
		}
	}
}

// guardTable holds a table as it would be to the guardrails.
func (r *request) guardTable(ch *schema.Change, t *schema.Table) error {
	g := &r.x.guards
	if changes := len(ch.Columns)+len(ch.Dropped)+len(ch.Renamed) > 0; changes && ch.Op == schema.AlterTable && !g.AlterTable {
		return violated("alter_table", "ALTER TABLE changing columns is not allowed")
	}
	n := len(t.Columns)
	err := r.guard("columns_per_table", n, g.ColumnsWarn, g.ColumnsFail,
		func(limit int) string {
			return fmt.Sprintf("The table %s has %d columns, this exceeds the warning threshold of %d.", t.Name, n, limit)
		}, func(limit int) string {
			return fmt.Sprintf("Tables cannot have more than %d columns, but %d provided for table %s", limit, n, t.Name)
		})
	if err != nil {
		return err
	}
	for _, d := range ch.Columns {
		if col, ok := t.Column(d.Name); ok {
			if err := r.guardVectors("Column", d.Name, col.Type); err != nil {
				return err
			}
		}
	}
	return r.guardOptions(ch, t)
}

// guardOptions holds what a table's options mean to the guardrails.
func (r *request) guardOptions(ch *schema.Change, t *schema.Table) error {
	g := &r.x.guards
	if _, given := ch.Options["compression"]; given && !g.UncompressedTables && t.Options.Map("compression")["enabled"] == "false" {
		return violated("uncompressed_tables_enabled", "Uncompressed table is not allowed")
	}
	_, given := ch.Options["compaction"]
	if !given || !strings.HasSuffix(t.Options.Map("compaction")["class"], "TimeWindowCompactionStrategy") || t.Options.DefaultTTL > 0 {
		return nil
	}
	const name, what, why = "zero_ttl_on_twcs", "0 default_time_to_live on a table with TimeWindowCompactionStrategy compaction strategy is not ",
		". It is suspicious to use default_time_to_live set to 0 with such compaction strategy. Please keep in mind that data will not start to automatically expire " +
			"after they are older than a respective compaction window unit of a certain size. Please set TTL for your INSERT or UPDATE statements if you expect " +
			"data to be expired as table settings will not do it. "
	if !g.ZeroTTLOnTWCS {
		return violated(name, "%sallowed%s", what, why)
	}
	if g.ZeroTTLOnTWCSWarn {
		r.warn(name, "%srecommended%s", what, why)
	}
	return nil
}

// guardType holds a user type as it would be to the guardrails.
func (r *request) guardType(ch *schema.Change, t *types.Type) error {
	g, n := &r.x.guards, len(t.Fields)
	err := r.guard("fields_per_udt", n, g.FieldsWarn, g.FieldsFail,
		func(limit int) string {
			return fmt.Sprintf("The user type %s has %d columns, this exceeds the warning threshold of %d.", t.Name, n, limit)
		}, func(limit int) string {
			return fmt.Sprintf("User types cannot have more than %d columns, but %d provided for user type %s.", limit, n, t.Name)
		})
	for i, name := range t.Fields {
		if added := slices.ContainsFunc(ch.Columns, func(d schema.ColumnDef) bool { return d.Name == name }); err == nil && added {
			err = r.guardVectors("Field", name, t.Elems[i])
		}
	}
	return err
}

// guardVectors holds the vectors in a type to the guardrails.
func (r *request) guardVectors(what, name string, t *types.Type) error {
	g := &r.x.guards
	if t.Kind == types.Vector {
		if !g.VectorType {
			return violated("vector_type_enabled", "%s %s is not allowed", what, name)
		}
		warning, failure := exceeds("%s %s has a vector of %d dimensions", what, name, t.Dim)
		if err := r.guard("vector_dimensions", t.Dim, g.VectorWarn, g.VectorFail, warning, failure); err != nil {
			return err
		}
	}
	if t.Kind == types.UDT {
		return nil // its fields were looked at when it was made
	}
	for _, e := range t.Elems {
		if err := r.guardVectors(what, name, e); err != nil {
			return err
		}
	}
	return nil
}
