package virtual

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"nodedb/query/schema"
	"nodedb/query/types"
)

// classPrefix is what Cassandra puts before the names of replication classes; drivers look for the full name.
const classPrefix = "org.apache.cassandra.locator."

// each goes through the keyspaces that system_schema tells of: the system ones that aren't virtual in Cassandra, and the catalog's.
func (e *emitter) each(f func(k *schema.Keyspace) error) error {
	for name, k := range keyspaces() {
		if virtualKeyspace(name) {
			continue
		}
		if err := f(k); err != nil {
			return err
		}
	}
	for _, k := range e.src.Catalog().Keyspaces {
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// eachTable goes through the tables of those keyspaces.
func (e *emitter) eachTable(f func(t *schema.Table) error) error {
	return e.each(func(k *schema.Keyspace) error { return tablesOf(k, f) })
}

func tablesOf(k *schema.Keyspace, f func(t *schema.Table) error) error {
	for _, t := range k.Tables {
		if err := f(t); err != nil {
			return err
		}
	}
	return nil
}

func keyspaceRows(e *emitter) error {
	return e.each(func(k *schema.Keyspace) error {
		replication := map[string]string{"class": k.Class}
		if !strings.Contains(k.Class, ".") {
			replication["class"] = classPrefix + k.Class
		}
		for name, value := range k.Options {
			replication[name] = value
		}
		return e.row(fields{"keyspace_name": text(k.Name), "durable_writes": boolean(k.DurableWrites), "replication": textMap(replication)})
	})
}

func tableRows(e *emitter) error {
	return e.eachTable(func(t *schema.Table) error {
		f, err := e.parameters(t)
		if err != nil {
			return err
		}
		f["keyspace_name"], f["table_name"], f["flags"] = text(t.Keyspace), text(t.Name), textSet([]string{"compound"})
		return e.row(f)
	})
}

// parameters are a table's options, the defaults where nothing was said, in every column that is named like an option.
func (e *emitter) parameters(t *schema.Table) (fields, error) {
	f := fields{"id": uuid(t.ID)}
	for _, c := range e.table.Regulars {
		switch {
		case c.Name == "extensions":
			f[c.Name] = textMap(extensions(t))
		case removed[c.Name]:
			f[c.Name] = double(0)
		case nullUnlessGiven[c.Name] && t.Options.Extra[c.Name] == "":
		case schema.KnownOption(c.Name) && c.Name != "id":
			value, err := parameter(c.Type, t.Options.Option(c.Name))
			if err != nil {
				return nil, fmt.Errorf("%s.%s: option %s: %w", t.Keyspace, t.Name, c.Name, err)
			}
			f[c.Name] = value
		}
	}
	return f, nil
}

// removed are options that Cassandra dropped and still shows.
var removed = map[string]bool{"read_repair_chance": true, "dclocal_read_repair_chance": true}

// nullUnlessGiven are options that Cassandra shows as null where nothing was said.
var nullUnlessGiven = map[string]bool{"allow_auto_snapshot": true, "cdc": true, "incremental_backups": true, "memtable": true}

// extensions tell of our own options, which drivers show without knowing them.
func extensions(t *schema.Table) map[string]string {
	if t.Options.Memory {
		return map[string]string{"memory": "true"}
	}
	return nil
}

// parameter turns an option as the catalog keeps it, a scalar or a map as JSON, into a value.
func parameter(t *types.Type, option string) ([]byte, error) {
	switch t.Kind {
	case types.Int:
		v, err := strconv.ParseInt(option, 10, 32)
		return integer(int32(v)), err
	case types.Double:
		v, err := strconv.ParseFloat(option, 64)
		return double(v), err
	case types.Boolean:
		v, err := strconv.ParseBool(option)
		return boolean(v), err
	case types.Map:
		m := make(map[string]string)
		err := json.Unmarshal([]byte(option), &m)
		return textMap(m), err
	default:
		return text(option), nil
	}
}

func columnRows(e *emitter) error { return e.eachTable(e.columnsOf) }

func (e *emitter) columnsOf(t *schema.Table) error {
	for _, c := range t.Columns {
		err := e.row(fields{
			"keyspace_name": text(t.Keyspace), "table_name": text(t.Name), "column_name": text(c.Name), "column_name_bytes": text(c.Name),
			"kind": text(c.Kind.String()), "position": integer(position(c)), "type": text(c.Type.String()), "clustering_order": text(clusteringOrder(c)),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func position(c *schema.Column) int32 {
	if c.Kind == schema.PartitionKey || c.Kind == schema.Clustering {
		return int32(c.Position)
	}
	return -1
}

func clusteringOrder(c *schema.Column) string {
	switch {
	case c.Kind != schema.Clustering:
		return "none"
	case c.Desc:
		return "desc"
	default:
		return "asc"
	}
}

func typeRows(e *emitter) error {
	return e.each(func(k *schema.Keyspace) error {
		for name, t := range k.Types {
			kinds := make([]string, len(t.Elems))
			for i, field := range t.Elems {
				kinds[i] = field.String()
			}
			err := e.row(fields{"keyspace_name": text(k.Name), "type_name": text(name), "field_names": textList(t.Fields), "field_types": textList(kinds)})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eachVirtual goes through the keyspaces that system_virtual_schema tells of.
func (e *emitter) eachVirtual(f func(k *schema.Keyspace) error) error {
	for name, k := range keyspaces() {
		if !virtualKeyspace(name) {
			continue
		}
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

func virtualKeyspaceRows(e *emitter) error {
	return e.eachVirtual(func(k *schema.Keyspace) error { return e.row(fields{"keyspace_name": text(k.Name)}) })
}

func virtualTableRows(e *emitter) error {
	return e.eachVirtual(func(k *schema.Keyspace) error {
		return tablesOf(k, func(t *schema.Table) error {
			return e.row(fields{"keyspace_name": text(t.Keyspace), "table_name": text(t.Name), "comment": text(t.Options.Comment)})
		})
	})
}

func virtualColumnRows(e *emitter) error {
	return e.eachVirtual(func(k *schema.Keyspace) error { return tablesOf(k, e.columnsOf) })
}
