package load

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// column of the table.
type column struct {
	name     string
	kind     string // partition_key, clustering, static, regular
	position int32
}

func (c column) isKey() bool { return c.kind == "partition_key" || c.kind == "clustering" }

// tableColumns asks for a table's columns: partition key, clustering, then the others by name, as SELECT * has them.
func tableColumns(ctx context.Context, conn Conn, keyspace, table string) ([]column, error) {
	res, err := conn.Query(ctx, "SELECT column_name, kind, position FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?",
		&wire.Params{Consistency: 1, Values: [][]byte{[]byte(keyspace), []byte(table)}})
	if err != nil {
		return nil, fmt.Errorf("%w %s.%s: its columns: %w", ErrTable, keyspace, table, err)
	}
	var columns []column
	for res.Next() {
		if row := res.Row(); len(row) == 3 {
			columns = append(columns, column{string(row[0]), string(row[1]), types.Int32(row[2])})
		}
	}
	if err := res.Err(); err != nil {
		return nil, fmt.Errorf("%w %s.%s: its columns: %w", ErrTable, keyspace, table, err)
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%w %s.%s: there is no such table", ErrTable, keyspace, table)
	}
	rank := map[string]int{"partition_key": 0, "clustering": 1}
	sort.Slice(columns, func(i, j int) bool {
		a, b := columns[i], columns[j]
		ra, okA := rank[a.kind]
		rb, okB := rank[b.kind]
		switch {
		case okA != okB:
			return okA
		case ra != rb:
			return ra < rb
		case okA:
			return a.position < b.position
		}
		return a.name < b.name
	})
	return columns, nil
}

// statement is the INSERT of a load and what its markers are.
type statement struct {
	cql     string
	columns []column      // of the markers, in order; the last marker is the timestamp
	types   []*types.Type // of the markers, without the timestamp
}

func newStatement(keyspace, table string, columns []column, ttl int32) *statement {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c.name)
	}
	using := "TIMESTAMP ?"
	if ttl > 0 {
		using = fmt.Sprintf("TTL %d AND TIMESTAMP ?", ttl)
	}
	return &statement{columns: columns, cql: fmt.Sprintf("INSERT INTO %s.%s (%s) VALUES (%s) USING %s", quote(keyspace), quote(table),
		strings.Join(names, ", "), strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", "), using)}
}

// adopt takes the markers' types from a node that prepared the statement.
func (s *statement) adopt(p *wire.Prepared) error {
	if len(p.Markers) != len(s.columns)+1 {
		return fmt.Errorf("%w: the node sees %d values in %q, not %d", ErrTable, len(p.Markers), s.cql, len(s.columns)+1)
	}
	s.types = make([]*types.Type, len(s.columns))
	for i := range s.columns {
		s.types[i] = p.Markers[i].Type
	}
	return nil
}

// layout says where each field of a record goes.
type layout struct {
	names   []string // of the fields, for messages
	columns []column // of the statement, in the order of its markers
	bind    []int    // of each field: its marker, or -1
	derived []int    // of each derived value: its marker, or -1
}

// arrange matches the names of fields, and of derived columns, with the table's columns.
func arrange(all []column, fields, derived []string, skipUnknown bool) (*layout, error) {
	a := &layout{names: fields, bind: make([]int, len(fields)), derived: make([]int, len(derived))}
	marker := map[string]int{}
	place := func(name string) (int, error) {
		c, ok := findColumn(all, name)
		if !ok {
			if skipUnknown || name == "" || name == "-" {
				return -1, nil
			}
			return -1, fmt.Errorf("%w: it has no column %q; it has %s", ErrTable, name, columnNames(all))
		}
		if _, again := marker[c.name]; again {
			return -1, fmt.Errorf("%w: the column %q is given twice", ErrTable, name)
		}
		marker[c.name] = len(a.columns)
		a.columns = append(a.columns, c)
		return len(a.columns) - 1, nil
	}
	var err error
	replaced := map[string]bool{}
	for i, name := range derived {
		if a.derived[i], err = place(name); err != nil {
			return nil, err
		}
		replaced[name] = true
	}
	for i, name := range fields {
		if a.bind[i] = -1; replaced[name] {
			continue
		}
		if a.bind[i], err = place(name); err != nil {
			return nil, err
		}
	}
	return a, a.checkKey(all)
}

func (a *layout) checkKey(all []column) error {
	given := map[string]bool{}
	for _, c := range a.columns {
		given[c.name] = true
	}
	var missing []string
	for _, c := range all {
		if c.isKey() && !given[c.name] {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: the input has no field for %s of the primary key; its fields are %s", ErrTable, strings.Join(missing, ", "),
			strings.Join(a.names, ", "))
	}
	return nil
}

// findColumn finds a column by its name as given, without blanks around it, or in lower case.
func findColumn(all []column, name string) (column, bool) {
	name = strings.TrimSpace(name)
	for _, want := range []string{name, strings.ToLower(name)} {
		for _, c := range all {
			if c.name == want {
				return c, true
			}
		}
	}
	return column{}, false
}

func columnNames(all []column) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// errNull says that a key column has no value.
var errNull = errors.New("a column of the primary key cannot be null")
