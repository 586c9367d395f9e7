package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// describer says who answers DESCRIBE.
type describer uint8

const (
	describerUnknown describer = iota
	describerServer            // Cassandra 4 and later, nodedb
	describerShell             // the shell computes it from system_schema
)

// describe shows what DESCRIBE is asked for: by the server where that can, else computed here from system_schema.
func (s *shell) describe(ctx context.Context, line string) error {
	parsed, err := cql.Parse(line)
	if err != nil {
		return fmt.Errorf("%w; HELP DESCRIBE tells more", err)
	}
	if err := s.connected(ctx); err != nil {
		return err
	}
	if s.describes == describerUnknown {
		s.describes = s.probeDescribe(ctx)
	}
	d := parsed.Statement.(*cql.Describe)
	if s.describes == describerServer {
		err = s.describeByServer(ctx, d, line)
	} else {
		err = s.describeHere(ctx, d)
	}
	if err == nil {
		s.out.WriteByte('\n')
	}
	return err
}

// probeDescribe finds out whether the server knows DESCRIBE.
func (s *shell) probeDescribe(ctx context.Context) describer {
	_, err := s.conn.Query(ctx, "DESCRIBE CLUSTER", s.params())
	var answered *wire.Error
	switch {
	case err == nil:
		return describerServer
	case errors.As(err, &answered):
		return describerShell
	}
	return describerUnknown
}

// describeByServer shows the server's answer: rows of keyspace_name, type, name and perhaps create_statement.
func (s *shell) describeByServer(ctx context.Context, d *cql.Describe, line string) error {
	columns, rows, err := s.rows(ctx, line)
	if err != nil {
		return err
	}
	if d.What == "CLUSTER" {
		for _, r := range rows {
			s.describeCluster(text(columns, r, "cluster"), text(columns, r, "partitioner"), text(columns, r, "snitch"))
		}
		return nil
	}
	if !slices.ContainsFunc(columns, func(c wire.Column) bool { return c.Name == "create_statement" }) {
		var items []item
		for _, r := range rows {
			items = append(items, item{unquoted(text(columns, r, "keyspace_name")), unquoted(text(columns, r, "name"))})
		}
		s.list(items, d.What == "KEYSPACES")
		return nil
	}
	for _, r := range rows {
		fmt.Fprintf(s.out, "\n%s\n", text(columns, r, "create_statement"))
	}
	return nil
}

// unquoted is the name that a server has quoted where CQL needs it.
func unquoted(name string) string {
	if len(name) < 2 || name[0] != '"' || name[len(name)-1] != '"' {
		return name
	}
	return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
}

func (s *shell) describeCluster(cluster, partitioner, snitch string) {
	fmt.Fprintf(s.out, "\nCluster: %s\nPartitioner: %s\n", cluster, partitioner[strings.LastIndexByte(partitioner, '.')+1:])
	if snitch != "" {
		fmt.Fprintf(s.out, "Snitch: %s\n", snitch[strings.LastIndexByte(snitch, '.')+1:])
	}
}

// item is one name of a list.
type item struct{ keyspace, name string }

// listWidth is how wide a list of names gets.
const listWidth = 80

// list shows names in columns, by keyspace.
func (s *shell) list(items []item, flat bool) {
	slices.SortFunc(items, func(a, b item) int {
		return strings.Compare(a.keyspace+"\x00"+a.name, b.keyspace+"\x00"+b.name)
	})
	if len(items) == 0 {
		s.out.WriteString("\n<empty>\n")
	}
	for i := 0; i < len(items); {
		end := i
		for end < len(items) && (flat || items[end].keyspace == items[i].keyspace) {
			end++
		}
		if !flat {
			head := "Keyspace " + quote(items[i].keyspace)
			fmt.Fprintf(s.out, "\n%s\n%s", head, strings.Repeat("-", len(head)))
		}
		s.out.WriteByte('\n')
		s.columnsOf(items[i:end])
		i = end
	}
}

// columnsOf writes names side by side.
func (s *shell) columnsOf(items []item) {
	width := 0
	for _, it := range items {
		width = max(width, len(quote(it.name))+2)
	}
	perLine := max(1, listWidth/width)
	for i, it := range items {
		name := quote(it.name)
		if i%perLine == perLine-1 || i == len(items)-1 {
			s.out.WriteString(name + "\n")
		} else {
			s.out.WriteString(name + strings.Repeat(" ", width-len(name)))
		}
	}
}

// describeHere computes the answer from system_schema.
func (s *shell) describeHere(ctx context.Context, d *cql.Describe) error {
	keyspace := d.Name.Keyspace
	if keyspace == "" {
		keyspace = s.keyspace
	}
	switch d.What {
	case "CLUSTER":
		columns, rows, err := s.rows(ctx, "SELECT cluster_name, partitioner FROM system.local")
		if err != nil || len(rows) == 0 {
			return err
		}
		s.describeCluster(text(columns, rows[0], "cluster_name"), text(columns, rows[0], "partitioner"), "")
		return nil
	case "KEYSPACES":
		return s.listOf(ctx, "SELECT keyspace_name FROM system_schema.keyspaces", "", true)
	case "TABLES":
		return s.listOf(ctx, "SELECT keyspace_name, table_name FROM system_schema.tables", s.keyspace, false)
	case "TYPES":
		return s.listOf(ctx, "SELECT keyspace_name, type_name FROM system_schema.types", s.keyspace, false)
	case "SCHEMA":
		return s.describeSchema(ctx, d.Full)
	case "KEYSPACE":
		if d.Name.Name != "" {
			keyspace = d.Name.Name
		}
		if keyspace == "" {
			return errors.New("there is no keyspace: USE one, or name it")
		}
		return s.describeKeyspace(ctx, keyspace, d.Only)
	case "TABLE":
		return s.describeTable(ctx, keyspace, d.Name.Name)
	case "TYPE":
		return s.describeType(ctx, keyspace, d.Name.Name)
	case "":
		return s.describeAny(ctx, d, keyspace)
	}
	return fmt.Errorf("this server doesn't answer DESCRIBE, and the shell itself can't describe %s", strings.ToLower(d.What))
}

// listOf lists the names that a statement gives, of one keyspace or ("") of all.
func (s *shell) listOf(ctx context.Context, statement, keyspace string, flat bool) error {
	_, rows, err := s.rows(ctx, statement)
	if err != nil {
		return err
	}
	var items []item
	for _, r := range rows {
		it := item{string(r[0]), string(r[len(r)-1])}
		if keyspace == "" || it.keyspace == keyspace {
			items = append(items, it)
		}
	}
	s.list(items, flat)
	return nil
}

// describeAny looks a name up among keyspaces, tables and types.
func (s *shell) describeAny(ctx context.Context, d *cql.Describe, keyspace string) error {
	if d.Name.Keyspace == "" {
		err := s.describeKeyspace(ctx, d.Name.Name, false)
		if !errors.Is(err, errNotFound) {
			return err
		}
	}
	err := s.describeTable(ctx, keyspace, d.Name.Name)
	if errors.Is(err, errNotFound) {
		err = s.describeType(ctx, keyspace, d.Name.Name)
	}
	if errors.Is(err, errNotFound) {
		return fmt.Errorf("%s is no keyspace, table or type", d.Name)
	}
	return err
}

var errNotFound = errors.New("not found")

// describeSchema shows all keyspaces, those of the system only when asked for in full.
func (s *shell) describeSchema(ctx context.Context, full bool) error {
	_, rows, err := s.rows(ctx, "SELECT keyspace_name FROM system_schema.keyspaces")
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b [][]byte) int { return strings.Compare(string(a[0]), string(b[0])) })
	for _, r := range rows {
		name := string(r[0])
		if !full && (name == "system" || strings.HasPrefix(name, "system_")) {
			continue
		}
		if err := s.describeKeyspace(ctx, name, false); err != nil {
			return err
		}
	}
	return nil
}

// literal writes a value as CQL.
func literal(t *types.Type, value []byte) string { return string(t.AppendLiteral(nil, value)) }

func (s *shell) describeKeyspace(ctx context.Context, keyspace string, only bool) error {
	columns, rows, err := s.rows(ctx, "SELECT * FROM system_schema.keyspaces WHERE keyspace_name = "+cql.QuoteString(keyspace))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("keyspace %s: %w", keyspace, errNotFound)
	}
	fmt.Fprintf(s.out, "\nCREATE KEYSPACE %s WITH replication = %s AND durable_writes = %s;\n", quote(keyspace),
		option(columns, rows[0], "replication"), option(columns, rows[0], "durable_writes"))
	if only {
		return nil
	}
	where := " WHERE keyspace_name = " + cql.QuoteString(keyspace)
	_, named, err := s.rows(ctx, "SELECT type_name FROM system_schema.types"+where)
	if err != nil {
		return err
	}
	for _, r := range named {
		if err := s.describeType(ctx, keyspace, string(r[0])); err != nil {
			return err
		}
	}
	_, named, err = s.rows(ctx, "SELECT table_name FROM system_schema.tables"+where)
	if err != nil {
		return err
	}
	for _, r := range named {
		if err := s.describeTable(ctx, keyspace, string(r[0])); err != nil {
			return err
		}
	}
	return nil
}

// option is a value of a named column as CQL; "null" when there is none.
func option(columns []wire.Column, row [][]byte, name string) string {
	for i, c := range columns {
		if c.Name == name {
			return literal(c.Type, row[i])
		}
	}
	return "null"
}
