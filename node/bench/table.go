package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// fieldBytes is the size of every value, as YCSB has it.
const fieldBytes = 100

// Table is a table whose rows are numbered from 0: a row's number gives its key, its key gives its values. Key columns come first, then the fields.
type Table struct {
	Name    string
	Keys    []string // columns and their types, in the key's order
	Primary string   // of PRIMARY KEY (…), and what follows the columns
	Fields  []string
	Type    string // of all fields: blob or text
	// key appends the key columns of row n to buf, and says where each ends.
	key func(buf []byte, n int64) (out []byte, ends [maxKeys]int)
	// perPartition rows that follow each other lie in one partition, in clustering order; 0: a row is a partition.
	perPartition int64

	// A table whose rows are not numbered: its statements, with %s for its name; what makes it; what writes its rows.
	fixed []string
	make  func(keyspace string) string
	fill  func(ctx context.Context, o *Options) (rows int64, err error)
}

const maxKeys = 2

// The statements of a table, by their place in what statements gives. Updates of a field each come last.
const (
	insertRow     = iota
	readRow       // by the whole key
	readToken     // rows from the token of a key on, so many
	readPartition // all of it, by its first key column
	readSlice     // of a partition, from a clustering key on, so many
	readFirst     // of a partition, so many
	updateField
)

func (t *Table) create(keyspace string) string {
	if t.make != nil {
		return t.make(`"` + keyspace + `"`)
	}
	columns := slices.Clone(t.Keys)
	for _, f := range t.Fields {
		columns = append(columns, f+" "+t.Type)
	}
	return fmt.Sprintf(`CREATE TABLE "%s".%s (%s, PRIMARY KEY %s`, keyspace, t.Name, strings.Join(columns, ", "), t.Primary)
}

// keyNames are the key columns without their types.
func (t *Table) keyNames() []string {
	names := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		names[i], _, _ = strings.Cut(k, " ")
	}
	return names
}

// statements gives the statements of the table, by number; "" where the table's key has no use for one.
func (t *Table) statements(keyspace string) []string {
	name := fmt.Sprintf(`"%s".%s`, keyspace, t.Name)
	if t.fixed != nil {
		list := make([]string, len(t.fixed))
		for i, cql := range t.fixed {
			list[i] = fmt.Sprintf(cql, name)
		}
		return list
	}
	keys := t.keyNames()
	all := append(slices.Clone(keys), t.Fields...)
	selected := "SELECT " + strings.Join(all, ", ") + " FROM " + name + " WHERE "
	whole := strings.Join(keys, " = ? AND ") + " = ?"
	list := make([]string, updateField, updateField+len(t.Fields))
	list[insertRow] = fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", name, strings.Join(all, ", "), strings.Repeat(", ?", len(all)-1))
	list[readRow] = selected + whole
	if len(keys) == 1 {
		list[readToken] = fmt.Sprintf("%stoken(%s) >= token(?) LIMIT ?", selected, keys[0])
	} else {
		list[readPartition] = selected + keys[0] + " = ?"
		list[readSlice] = fmt.Sprintf("%s%s = ? AND %s >= ? LIMIT ?", selected, keys[0], keys[1])
		list[readFirst] = selected + keys[0] + " = ? LIMIT ?"
	}
	for _, f := range t.Fields {
		list = append(list, fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s", name, f, whole))
	}
	return list
}

// The tables. Two workloads that share one make it anew each.
var (
	rowsTable = &Table{Name: "rows", Keys: []string{"id bigint"}, Primary: "(id))", Fields: []string{"v"}, Type: "blob", key: numberKey}
	userTable = &Table{Name: "usertable", Keys: []string{"y_id text"}, Primary: "(y_id))", Fields: ycsbFields(), Type: "text", key: userKey}
	scanTable = partitioned("parts", 100)
	wideTable = partitioned("wide", 10_000)
	listTable = partitioned("lists", batchRows)
	// seriesTable: reading n is of sensor n % sensors; the newest come first.
	seriesTable = &Table{
		Name: "series", Keys: []string{"sensor bigint", "at timestamp"}, Primary: "(sensor, at)) WITH CLUSTERING ORDER BY (at DESC)",
		Fields: []string{"v"}, Type: "blob", key: seriesKey,
	}
)

// sensors of the time series, and what is between two readings of one, in ms.
const (
	sensors       = 1000
	readingMillis = 1000
	seriesStart   = 1_600_000_000_000 // ms since 1970
)

func ycsbFields() []string {
	fields := make([]string, 10)
	for i := range fields {
		fields[i] = fmt.Sprint("field", i)
	}
	return fields
}

func partitioned(name string, rows int64) *Table {
	return &Table{
		Name: name, Keys: []string{"p bigint", "c bigint"}, Primary: "(p, c))", Fields: []string{"v"}, Type: "blob", perPartition: rows,
		key: func(buf []byte, n int64) ([]byte, [maxKeys]int) { return pairKey(buf, n/rows, n%rows) },
	}
}

func numberKey(buf []byte, n int64) ([]byte, [maxKeys]int) {
	return binary.BigEndian.AppendUint64(buf, uint64(n)), [maxKeys]int{8}
}

func pairKey(buf []byte, first, second int64) ([]byte, [maxKeys]int) {
	buf = binary.BigEndian.AppendUint64(buf, uint64(first))
	return binary.BigEndian.AppendUint64(buf, uint64(second)), [maxKeys]int{8, 16}
}

// userKey is YCSB's: "user" and a hash of the number, so that neighbours are not.
func userKey(buf []byte, n int64) ([]byte, [maxKeys]int) {
	at := len(buf)
	buf = fmt.Appendf(buf, "user%020d", mix(uint64(n)))
	return buf, [maxKeys]int{len(buf) - at}
}

func seriesKey(buf []byte, n int64) ([]byte, [maxKeys]int) {
	return pairKey(buf, n%sensors, seriesStart+n/sensors*readingMillis)
}
