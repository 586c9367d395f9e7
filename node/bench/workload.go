package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Workload is a mix of operations on a table.
type Workload struct {
	Name  string
	About string
	Table *Table
	Rows  int64  // written before it is measured
	Keys  string // how rows are drawn
	Mix   []Share
	// InFlight is the most that is under way at once, whatever the options say; 0: as they say.
	InFlight int
	// Write writes a row before it is measured; nil: insert.
	Write *kind
}

// Share is how many of a hundred operations are of a kind.
type Share struct {
	Percent int
	Kind    *kind
}

// kind is one kind of operation: begin fills the first call; step checks an answer, and may fill the next call.
type kind struct {
	name  string
	begin func(o *op)
	step  func(o *op, a answer) (again bool, err error)
}

// Sizes of the workloads.
const (
	batchRows   = 10  // rows of a batch
	sliceRows   = 100 // of a slice of a wide row, and of the newest readings of a sensor
	maxScanRows = 100 // of YCSB E, as YCSB has it
)

// Workloads are all there are. YCSB's are those of its core package: A to F, 10 fields of 100 bytes, updates of one field.
var Workloads = []*Workload{
	{"insert", "insert rows of 100 bytes", rowsTable, 0, uniform, []Share{{100, insert}}, 0, nil},
	{"insert1k", "insert rows of 1 KB, YCSB's", userTable, 0, uniform, []Share{{100, insert}}, 0, nil},
	{"read", "read one row of 100 bytes", rowsTable, 100_000, uniform, []Share{{100, read}}, 0, nil},
	{"a", "YCSB A: half reads, half updates", userTable, 100_000, zipfian, []Share{{50, read}, {50, update}}, 0, nil},
	{"b", "YCSB B: 95% reads, 5% updates", userTable, 100_000, zipfian, []Share{{95, read}, {5, update}}, 0, nil},
	{"c", "YCSB C: reads", userTable, 100_000, zipfian, []Share{{100, read}}, 0, nil},
	{"d", "YCSB D: 95% reads of the latest rows, 5% inserts", userTable, 100_000, latest, []Share{{95, read}, {5, insert}}, 0, nil},
	{"e", "YCSB E: 95% scans of 1 to 100 rows, 5% inserts", userTable, 100_000, zipfian, []Share{{95, scan}, {5, insert}}, 0, nil},
	{"f", "YCSB F: half reads, half read-modify-writes", userTable, 100_000, zipfian, []Share{{50, read}, {50, modify}}, 0, nil},
	{"partition", "read partitions of 100 rows whole", scanTable, 100_000, uniform, []Share{{100, partition}}, 0, nil},
	{"wide", "partitions of 10,000 rows: half slices of 100 rows, half inserts", wideTable, 100_000, uniform, []Share{{50, slice}, {50, insert}}, 0, nil},
	{"series", "1,000 sensors: 90% new readings, 10% the newest 100 of one", seriesTable, 100_000, uniform, []Share{{90, insert}, {10, newest}}, 0, nil},
	{"batch", "unlogged batches of 10 rows of one partition", listTable, 0, uniform, []Share{{100, batch}}, 0, nil},
	{"logged", "logged batches of 10 rows of as many partitions", rowsTable, 0, uniform, []Share{{100, logged}}, 0, nil},
	{"load", "write all 336,776 flights from CSV, as `nodedb load` does; an operation is a row", flightsTable, 0, "", nil, 0, nil},
	{"count", "count(*) of all flights", flightsTable, 0, "", []Share{{100, count}}, 1, nil},
	{"group", "all flights, GROUP BY origin, day", flightsTable, 0, "", []Share{{100, group}}, 1, nil},
	{"paged", "two columns of all flights, in pages of 5,000 rows", flightsTable, 0, "", []Share{{100, paged}}, 1, nil},
}

// Names are the workloads' names.
func Names() []string {
	names := make([]string, len(Workloads))
	for i, w := range Workloads {
		names[i] = w.Name
	}
	return names
}

func find(name string) (*Workload, error) {
	for _, w := range Workloads {
		if w.Name == name {
			return w, nil
		}
	}
	return nil, fmt.Errorf("%w: no workload %q: want one of %s", ErrOptions, name, strings.Join(Names(), ", "))
}

// The kinds of operation.
var (
	insert = &kind{"insert", func(o *op) {
		o.row = o.w.run.space.next.Add(1) - 1
		o.call.statement = insertRow
		o.addRow(o.row)
	}, func(o *op, _ answer) (bool, error) {
		o.w.run.space.acknowledged(o.row)
		return false, nil
	}}

	read = &kind{"read", func(o *op) { o.point(readRow) }, func(o *op, a answer) (bool, error) { return false, o.exactly(a, 1) }}

	update = &kind{"update", func(o *op) {
		o.row = o.w.keys.draw()
		o.change()
	}, nothing}

	modify = &kind{"read-modify-write", func(o *op) { o.point(readRow) }, func(o *op, a answer) (bool, error) {
		if o.call.statement != readRow {
			return false, nil
		}
		if err := o.exactly(a, 1); err != nil {
			return false, err
		}
		o.change()
		return true, nil
	}}

	scan = &kind{"scan", func(o *op) {
		o.point(readToken)
		o.want = 1 + o.w.rng.IntN(maxScanRows)
		o.addInt(o.want)
	}, func(o *op, a answer) (bool, error) { return false, o.atMost(a) }}

	partition = &kind{"partition", func(o *op) {
		o.row = o.draw()
		o.row -= o.row % o.w.run.w.Table.perPartition
		o.call.statement = readPartition
		o.addKey(o.row, 1)
	}, func(o *op, a answer) (bool, error) { return false, o.exactly(a, int(o.w.run.w.Table.perPartition)) }}

	slice = &kind{"slice", func(o *op) {
		per := o.w.run.w.Table.perPartition
		o.row = o.draw()
		o.row -= max(0, o.row%per+sliceRows-per) // so that sliceRows follow in this partition
		o.call.statement = readSlice
		o.addKey(o.row, 2)
		o.addInt(sliceRows)
	}, func(o *op, a answer) (bool, error) { return false, o.exactly(a, sliceRows) }}

	newest = &kind{"newest", func(o *op) {
		o.row = o.draw()
		o.call.statement = readFirst
		o.addKey(o.row, 1)
		o.want = sliceRows
		o.addInt(sliceRows)
	}, func(o *op, a answer) (bool, error) { return false, o.atMost(a) }}

	batch = &kind{"batch", func(o *op) { o.many(false) }, nothing}

	logged = &kind{"logged batch", func(o *op) { o.many(true) }, nothing}
)

func nothing(*op, answer) (bool, error) { return false, nil }

// draw draws a row that is there.
func (o *op) draw() int64 {
	o.row = o.w.keys.draw()
	return o.row
}

// point asks for a row by its whole key.
func (o *op) point(statement int) {
	o.call.statement = statement
	o.addKey(o.draw(), len(o.w.run.w.Table.Keys))
}

// change updates one field of the row.
func (o *op) change() {
	field := o.w.rng.IntN(len(o.w.run.w.Table.Fields))
	o.call.statement = updateField + field
	o.buf, o.call.values = o.buf[:0], o.call.values[:0]
	var ends [maxKeys]int
	o.key, ends = o.w.run.w.Table.key(o.key[:0], o.row)
	o.addValue(field)
	at := 0
	for _, end := range ends[:len(o.w.run.w.Table.Keys)] {
		o.call.values = append(o.call.values, o.key[at:end])
		at = end
	}
}

// many inserts batchRows new rows at once.
func (o *op) many(logged bool) {
	o.call.statement, o.call.batch, o.call.logged = insertRow, batchRows, logged
	first := o.w.run.space.next.Add(batchRows) - batchRows
	for n := range int64(batchRows) {
		o.addRow(first + n)
	}
}

// addKey adds the first columns of a row's key to the call's values.
func (o *op) addKey(n int64, columns int) {
	at := len(o.buf)
	var ends [maxKeys]int
	o.buf, ends = o.w.run.w.Table.key(o.buf, n)
	begin := at
	for _, end := range ends[:columns] {
		o.call.values = append(o.call.values, o.buf[begin:at+end])
		begin = at + end
	}
}

func (o *op) addInt(n int) {
	at := len(o.buf)
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(n))
	o.call.values = append(o.call.values, o.buf[at:])
}

// addRow adds all columns of a row.
func (o *op) addRow(n int64) {
	t := o.w.run.w.Table
	o.addKey(n, len(t.Keys))
	o.key, _ = t.key(o.key[:0], n)
	for field := range t.Fields {
		o.addValue(field)
	}
}

// addValue adds a new value of a field of the row of o.key.
func (o *op) addValue(field int) {
	at := len(o.buf)
	o.buf = appendValue(o.buf, seedOf(o.key, field), o.w.rng.Uint64())
	o.call.values = append(o.call.values, o.buf[at:])
}

// exactly checks that an answer is the rows from o.row on, n of them.
func (o *op) exactly(a answer, n int) error {
	got := 0
	for ; a.Next(); got++ {
		if err := o.checkRow(a.Row()); err != nil {
			return err
		}
		if want, _ := o.w.run.w.Table.key(o.expect[:0], o.row+int64(got)); !bytes.Equal(o.key, want) {
			return fmt.Errorf("%w: row %d of the answer has key %x, want %x", ErrWrong, got, o.key, want)
		}
	}
	if err := a.Err(); err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("%w: %d rows instead of %d, from row number %d on", ErrWrong, got, n, o.row)
	}
	return nil
}

// atMost checks rows of any keys: at least one, since there is one, and at most o.want.
func (o *op) atMost(a answer) error {
	got := 0
	for ; a.Next(); got++ {
		if err := o.checkRow(a.Row()); err != nil {
			return err
		}
	}
	if err := a.Err(); err != nil {
		return err
	}
	if got < 1 || got > o.want {
		return fmt.Errorf("%w: %d rows, asked for %d", ErrWrong, got, o.want)
	}
	return nil
}

// checkRow checks a row's values against its key, which it leaves in o.key.
func (o *op) checkRow(values [][]byte) error {
	t := o.w.run.w.Table
	if len(values) != len(t.Keys)+len(t.Fields) {
		return fmt.Errorf("%w: %d columns", ErrWrong, len(values))
	}
	o.key = o.key[:0]
	for _, v := range values[:len(t.Keys)] {
		o.key = append(o.key, v...)
	}
	seed := seedOf(o.key, 0)
	for i, v := range values[len(t.Keys):] {
		if err := checkValue(v, seed+uint64(i)*fieldStep); err != nil {
			return fmt.Errorf("%s of key %x: %w", t.Fields[i], o.key, err)
		}
	}
	return nil
}
