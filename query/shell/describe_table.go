package shell

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// describeType shows CREATE TYPE.
func (s *shell) describeType(ctx context.Context, keyspace, name string) error {
	columns, rows, err := s.rows(ctx, fmt.Sprintf("SELECT field_names, field_types FROM system_schema.types WHERE keyspace_name = %s AND type_name = %s",
		cql.QuoteString(keyspace), cql.QuoteString(name)))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("type %s.%s: %w", keyspace, name, errNotFound)
	}
	fields := elements(columns[0].Type, rows[0][0])
	fieldTypes := elements(columns[1].Type, rows[0][1])
	fmt.Fprintf(s.out, "\nCREATE TYPE %s.%s (\n", quote(keyspace), quote(name))
	for i := range min(len(fields), len(fieldTypes)) {
		end := ","
		if i == len(fields)-1 {
			end = ""
		}
		fmt.Fprintf(s.out, "    %s %s%s\n", quote(fields[i]), fieldTypes[i], end)
	}
	s.out.WriteString(");\n")
	return nil
}

// elements are the texts of a list<text>.
func elements(t *types.Type, value []byte) []string {
	if value == nil || t.Kind != types.List || len(t.Elems) != 1 {
		return nil
	}
	var all []string
	d := wire.NewDecoder(value)
	for range d.Int() {
		if e := d.Bytes(); d.Err() == nil {
			all = append(all, string(e))
		}
	}
	return all
}

// tableColumn is a row of system_schema.columns.
type tableColumn struct {
	name, kind, typ, order string
	position               int
}

// describeTable shows CREATE TABLE.
func (s *shell) describeTable(ctx context.Context, keyspace, name string) error {
	where := fmt.Sprintf(" WHERE keyspace_name = %s AND table_name = %s", cql.QuoteString(keyspace), cql.QuoteString(name))
	options, rows, err := s.rows(ctx, "SELECT * FROM system_schema.tables"+where)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("table %s.%s: %w", keyspace, name, errNotFound)
	}
	columns, defs, err := s.rows(ctx, "SELECT column_name, clustering_order, kind, position, type FROM system_schema.columns"+where)
	if err != nil {
		return err
	}
	var cols []tableColumn
	for _, r := range defs {
		cols = append(cols, tableColumn{
			name: text(columns, r, "column_name"), kind: text(columns, r, "kind"), typ: text(columns, r, "type"),
			order: text(columns, r, "clustering_order"), position: number(columns, r, "position"),
		})
	}
	slices.SortFunc(cols, func(a, b tableColumn) int {
		return cmp.Or(cmp.Compare(kindRank[a.kind], kindRank[b.kind]), cmp.Compare(a.position, b.position), strings.Compare(a.name, b.name))
	})
	fmt.Fprintf(s.out, "\nCREATE TABLE %s.%s (\n%s)%s;\n", quote(keyspace), quote(name), columnLines(cols), tableOptions(cols, options, rows[0]))
	return nil
}

// kindRank orders columns as CREATE TABLE shows them.
var kindRank = map[string]int{"partition_key": 0, "clustering": 1, "static": 2, "regular": 2}

// columnLines writes the columns and the key.
func columnLines(cols []tableColumn) string {
	var b strings.Builder
	var partition, clustering []string
	for _, c := range cols {
		static := ""
		switch c.kind {
		case "partition_key":
			partition = append(partition, quote(c.name))
		case "clustering":
			clustering = append(clustering, quote(c.name))
		case "static":
			static = " static"
		}
		fmt.Fprintf(&b, "    %s %s%s,\n", quote(c.name), c.typ, static)
	}
	key := strings.Join(partition, ", ")
	if len(partition) > 1 {
		key = "(" + key + ")"
	}
	fmt.Fprintf(&b, "    PRIMARY KEY (%s)\n", strings.Join(append([]string{key}, clustering...), ", "))
	return b.String()
}

// notOptions are the columns of system_schema.tables that are no options of CREATE TABLE.
var notOptions = map[string]bool{
	"keyspace_name": true, "table_name": true, "id": true, "flags": true, "extensions": true, "dclocal_read_repair_chance": true, "read_repair_chance": true,
}

// tableOptions writes WITH and what follows it.
func tableOptions(cols []tableColumn, columns []wire.Column, row [][]byte) string {
	var options, order []string
	for _, c := range cols {
		if c.kind == "clustering" {
			order = append(order, quote(c.name)+" "+strings.ToUpper(c.order))
		}
	}
	for i, c := range columns {
		if !notOptions[c.Name] && row[i] != nil {
			options = append(options, quote(c.Name)+" = "+literal(c.Type, row[i]))
		}
	}
	slices.Sort(options)
	if len(order) > 0 {
		options = append([]string{"CLUSTERING ORDER BY (" + strings.Join(order, ", ") + ")"}, options...)
	}
	if len(options) == 0 {
		return ""
	}
	return " WITH " + strings.Join(options, "\n    AND ")
}
