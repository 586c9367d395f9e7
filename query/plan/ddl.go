package plan

import (
	"encoding/json"
	"slices"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// Change is a planned change of the schema, or TRUNCATE.
type Change struct {
	schema.Change
	// Truncate answers VOID rather than a schema change.
	Truncate bool
	// Expand says that NetworkTopologyStrategy was given a replication_factor, which stands for that factor in every
	// datacenter there is.
	Expand bool
	// AssignID says that the executor gives the new table its id.
	AssignID bool

	at     cql.Pos            // of the name of what is changed
	places map[string]cql.Pos // of what it names, by what schema.Error.About calls it
}

// At puts the place of what an error is about (schema.Error.About) before its text: of what is changed where the
// statement doesn't name that.
func (c *Change) At(about, text string) string {
	if p, ok := c.places[about]; ok {
		return where(p) + text
	}
	return where(c.at) + text
}

func (c *Change) note(name string, p cql.Pos) {
	if c.places == nil {
		c.places = map[string]cql.Pos{}
	}
	c.places[name] = p // the last one: of two declarations the second is wrong
}

func (c *compiler) change(st cql.Statement) (*Change, error) {
	ch := &Change{}
	var err error
	switch st := st.(type) {
	case *cql.CreateKeyspace:
		ch.Op, ch.Keyspace, ch.at, ch.IfExists = schema.CreateKeyspace, st.Name, st.NameAt, st.IfNotExists
		err = c.keyspaceOptions(ch, st.Options)
	case *cql.AlterKeyspace:
		ch.Op, ch.Keyspace, ch.at, ch.IfExists = schema.AlterKeyspace, st.Name, st.NameAt, st.IfExists
		err = c.keyspaceOptions(ch, st.Options)
	case *cql.DropKeyspace:
		ch.Op, ch.Keyspace, ch.at, ch.IfExists = schema.DropKeyspace, st.Name, st.NameAt, st.IfExists
	case *cql.CreateTable:
		err = c.createTable(ch, st)
	case *cql.AlterTable:
		err = c.alterTable(ch, st)
	case *cql.DropTable:
		ch.Op, ch.IfExists = schema.DropTable, st.IfExists
		err = c.named(ch, st.Table)
	case *cql.Truncate:
		ch.Op, ch.Truncate = schema.TruncateTable, true
		err = c.named(ch, st.Table)
	case *cql.CreateType:
		ch.Op, ch.IfExists = schema.CreateType, st.IfNotExists
		if err = c.named(ch, st.Type); err == nil {
			err = c.columns(ch, st.Fields)
		}
	case *cql.AlterType:
		err = c.alterType(ch, st)
	case *cql.DropType:
		ch.Op, ch.IfExists = schema.DropType, st.IfExists
		err = c.named(ch, st.Type)
	default:
		return nil, at(st, "%s is not part of this release of nodedb", st.Kind())
	}
	if err != nil {
		return nil, err
	}
	if schema.IsSystem(ch.Keyspace) {
		if ch.Op == schema.CreateKeyspace {
			return nil, at(ch.at, "System keyspace '%s' is not user-modifiable", ch.Keyspace)
		}
		return nil, coded(wire.CodeUnauthorized, ch.at, "%s keyspace is not user-modifiable.", ch.Keyspace)
	}
	return ch, nil
}

// named resolves the table or type that a change is about.
func (c *compiler) named(ch *Change, n cql.Name) error {
	ch.Keyspace, ch.Name, ch.at = n.Keyspace, n.Name, n.Pos
	if ch.Keyspace == "" {
		ch.Keyspace = c.keyspace
	}
	if ch.Keyspace == "" {
		return at(n, noKeyspace)
	}
	return nil
}

// syntax is what Cassandra answers to an option it doesn't know.
func syntax(n cql.Node, format string, args ...any) error {
	return coded(wire.CodeSyntax, n, format, args...)
}

func (c *compiler) keyspaceOptions(ch *Change, list []cql.Property) error {
	for _, p := range list {
		ch.note("WITH "+p.Name, p.Pos)
		switch {
		case p.Name == "replication" && p.IsMap:
			ch.Replication = map[string]string{}
			for _, pair := range p.Map {
				if pair.Key == "class" {
					ch.Class = pair.Value
					continue
				}
				ch.Replication[pair.Key] = pair.Value
			}
			if ch.Class == "" && len(p.Map) > 0 {
				return coded(wire.CodeConfig, p, "Missing replication strategy class")
			}
		case p.Name == "replication":
			return syntax(p, "Invalid value for property 'replication'. It should be a map. For example {'class': 'SimpleStrategy', 'replication_factor': 3}")
		case p.Name == "durable_writes" && !p.IsMap:
			v, err := schema.ParseBool(p.Name, p.Text)
			if err != nil {
				return syntax(p, "%v", err)
			}
			ch.Durable = &v
		default:
			return syntax(p, "Unknown property '%s'", p.Name)
		}
	}
	if ch.Op == schema.CreateKeyspace && ch.Replication == nil {
		return at(ch.at, "Missing mandatory option 'replication'")
	}
	if ch.Op == schema.CreateKeyspace && len(ch.Replication) == 0 && ch.Class != "" {
		ch.Replication["replication_factor"] = defaultFactor
	}
	_, factor := ch.Replication["replication_factor"]
	ch.Expand = factor && strings.HasSuffix(ch.Class, "NetworkTopologyStrategy")
	return nil
}

// defaultFactor is how many replicas a new keyspace gets that doesn't say it, as in Cassandra (default_keyspace_rf).
const defaultFactor = "1"

func (c *compiler) tableOptions(ch *Change, list []cql.Property) error {
	for _, p := range list {
		ch.note("WITH "+p.Name, p.Pos)
		if !schema.KnownOption(p.Name) {
			return syntax(p, "Unknown property '%s'", p.Name)
		}
		switch {
		case schema.IsMap(p.Name) && !p.IsMap:
			return syntax(p, "Invalid value for property '%s'. It should be a map.", p.Name)
		case p.IsMap && !schema.IsMap(p.Name):
			return syntax(p, "Invalid value for property '%s'. It should be a string.", p.Name)
		}
		if ch.Options == nil {
			ch.Options = map[string]string{}
		}
		if !p.IsMap {
			ch.Options[p.Name] = p.Text
			continue
		}
		m := map[string]string{}
		for _, pair := range p.Map {
			m[pair.Key] = pair.Value
		}
		text, err := json.Marshal(m)
		if err != nil {
			return at(p, "%v", err)
		}
		ch.Options[p.Name] = string(text)
	}
	return nil
}

func (c *compiler) columns(ch *Change, list []cql.ColumnDef) error {
	for _, d := range list {
		if d.Mask != nil {
			return at(d.Name, "Masked columns are not part of this release of nodedb: %s", d.Name.Name)
		}
		def := schema.ColumnDef{Name: d.Name.Name, Type: d.Type.String(), Kind: schema.Regular, Position: -1}
		if d.Static {
			def.Kind = schema.Static
		}
		if ch.Op != schema.CreateType && ch.Op != schema.AlterType && isCounter(d.Type) {
			return at(d.Type, "Counters are not part of this release of nodedb: column %s cannot be of type counter; a bigint holds a number that is written whole", d.Name.Name)
		}
		ch.note(d.Name.Name, d.Name.Pos)
		ch.note("TYPE "+d.Name.Name, d.Type.Pos)
		ch.Columns = append(ch.Columns, def)
	}
	return nil
}

func (c *compiler) createTable(ch *Change, st *cql.CreateTable) error {
	ch.Op, ch.IfExists = schema.CreateTable, st.IfNotExists
	if err := c.named(ch, st.Table); err != nil {
		return err
	}
	if st.CompactStorage {
		return at(st.Table, "COMPACT STORAGE tables are not allowed: leave it out")
	}
	if err := c.tableOptions(ch, st.Options); err != nil {
		return err
	}
	_, given := ch.Options["id"]
	ch.AssignID = !given
	if err := c.columns(ch, st.Columns); err != nil {
		return err
	}
	if len(st.PartitionKey) == 0 {
		return at(st, "No PRIMARY KEY specified for table '%s' (exactly one required)", st.Table.Name)
	}
	for i, id := range st.PartitionKey {
		if err := keyColumn(ch, st, id, schema.PartitionKey, i); err != nil {
			return err
		}
	}
	for i, id := range st.Clustering {
		if err := keyColumn(ch, st, id, schema.Clustering, i); err != nil {
			return err
		}
	}
	return clusteringOrder(ch, st)
}

func keyColumn(ch *Change, st *cql.CreateTable, id cql.Ident, kind schema.ColumnKind, position int) error {
	i := slices.IndexFunc(ch.Columns, func(d schema.ColumnDef) bool { return d.Name == id.Name })
	if i < 0 {
		return at(id, "Unknown column '%s' referenced in PRIMARY KEY for table '%s'%s", id.Name, st.Table.Name, meant(id.Name, declared(ch)))
	}
	switch d := &ch.Columns[i]; d.Kind {
	case schema.Static:
		return at(id, "Static column '%s' cannot be part of the PRIMARY KEY", id.Name)
	case schema.Regular:
		d.Kind, d.Position = kind, position
		return nil
	}
	return at(id, "Duplicate column '%s' in PRIMARY KEY clause for table '%s'", id.Name, st.Table.Name)
}

// isCounter reports a column's type that is counter, by its CQL name or its class.
func isCounter(n *cql.TypeName) bool {
	t, err := types.Parse(n.String(), func(string, string) (*types.Type, error) { return types.IntType, nil })
	return err == nil && t.Kind == types.Counter
}

func declared(ch *Change) (list []string) {
	for _, d := range ch.Columns {
		list = append(list, d.Name)
	}
	return list
}

func clusteringOrder(ch *Change, st *cql.CreateTable) error {
	var seen []string
	for _, o := range st.Order {
		name := o.Column.Name
		switch {
		case slices.Contains(seen, name):
			return at(o.Column, "Duplicate column '%s' in CLUSTERING ORDER BY clause for table '%s'", name, st.Table.Name)
		case !slices.ContainsFunc(st.Clustering, func(id cql.Ident) bool { return id.Name == name }):
			return at(o.Column, "Only clustering key columns can be defined in CLUSTERING ORDER directive: [%s] are not clustering columns", name)
		}
		seen = append(seen, name)
	}
	for i, o := range st.Order {
		if want := st.Clustering[i].Name; o.Column.Name != want {
			for _, later := range st.Order {
				if later.Column.Name == want {
					return at(o.Column, "The order of columns in the CLUSTERING ORDER directive must match that of the clustering columns (%s must appear before %s)", want, o.Column.Name)
				}
			}
			return at(o.Column, "Missing CLUSTERING ORDER for column %s", want)
		}
		j := slices.IndexFunc(ch.Columns, func(d schema.ColumnDef) bool { return d.Name == o.Column.Name })
		ch.Columns[j].Desc = o.Desc
	}
	return nil
}

func (c *compiler) alterTable(ch *Change, st *cql.AlterTable) error {
	ch.Op, ch.IfExists = schema.AlterTable, st.IfExists
	if err := c.named(ch, st.Table); err != nil {
		return err
	}
	switch {
	case st.DropMask || (st.Alter != nil && st.Alter.Mask != nil):
		return at(st, "Masked columns are not part of this release of nodedb")
	case st.Alter != nil:
		return at(st.Alter.Name, "Altering column types is no longer supported")
	case st.DropCompact:
		return at(st, "Cannot DROP COMPACT STORAGE on table without COMPACT STORAGE")
	}
	ch.IfColumn = st.AddIfNotExists || st.DropIfExists || st.RenameIfExists
	for _, id := range st.Drop {
		ch.note(id.Name, id.Pos)
		ch.Dropped = append(ch.Dropped, id.Name)
	}
	for _, r := range st.Rename {
		ch.note(r.To.Name, r.To.Pos)
		ch.note(r.From.Name, r.From.Pos)
		ch.Renamed = append(ch.Renamed, [2]string{r.From.Name, r.To.Name})
	}
	if err := c.columns(ch, st.Add); err != nil {
		return err
	}
	return c.tableOptions(ch, st.Options)
}

func (c *compiler) alterType(ch *Change, st *cql.AlterType) error {
	ch.Op, ch.IfExists = schema.AlterType, st.IfExists
	if st.Alter != nil {
		return at(st.Alter.Name, "Altering field types is no longer supported")
	}
	ch.IfColumn = st.AddIfNotExists || st.RenameIfExists
	for _, r := range st.Rename {
		ch.note(r.To.Name, r.To.Pos)
		ch.note(r.From.Name, r.From.Pos)
		ch.Renamed = append(ch.Renamed, [2]string{r.From.Name, r.To.Name})
	}
	if err := c.named(ch, st.Type); err != nil {
		return err
	}
	return c.columns(ch, st.Add)
}
