package bench

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nodedb/node/demo"
	"nodedb/query/load"
)

// flightsPage is the page size of the queries over all flights, in rows: drivers' default.
const flightsPage = 5000

// flightsTable holds all flights of the demo. Its rows come from a file, and answers are checked against sums over it.
var flightsTable = &Table{
	Name: "flights", fixed: []string{
		`SELECT count(*) FROM %s`,
		`SELECT origin, day, count(*) FROM %s GROUP BY origin, day`,
		`SELECT dep_delay, distance FROM %s`,
	},
	make: demo.FlightsTable, fill: loadFlights,
}

// The statements of flightsTable.
const (
	countFlights = iota
	groupFlights
	pageFlights
)

// The queries over all flights: each is all its pages.
var (
	count = overFlights("count", countFlights, func(o *op, row [][]byte) error { return o.add(row[0], 8) },
		func(f *flightSums) (rows, sum int64) { return 1, f.rows })
	group = overFlights("group", groupFlights, func(o *op, row [][]byte) error { return o.add(row[2], 8) },
		func(f *flightSums) (rows, sum int64) { return f.groups, f.rows })
	paged = overFlights("paged read", pageFlights, func(o *op, row [][]byte) error { return o.add(row[1], 4) },
		func(f *flightSums) (rows, sum int64) { return f.rows, f.distance })
)

// overFlights makes a query whose rows are counted, and one column of them added up, over all pages.
func overFlights(name string, statement int, each func(o *op, row [][]byte) error, want func(*flightSums) (rows, sum int64)) *kind {
	return &kind{name, func(o *op) {
		o.call.statement, o.call.pageSize = statement, flightsPage
		o.rows, o.sum = 0, 0
	}, func(o *op, a answer) (bool, error) {
		for ; a.Next(); o.rows++ {
			if err := each(o, a.Row()); err != nil {
				return false, err
			}
		}
		if err := a.Err(); err != nil {
			return false, err
		}
		if o.call.pageState != nil {
			return true, nil
		}
		if rows, sum := want(o.w.run.flights); o.rows != rows || o.sum != sum {
			return false, fmt.Errorf("%w: %d rows of sum %d, want %d of %d", ErrWrong, o.rows, o.sum, rows, sum)
		}
		return false, nil
	}}
}

// add adds an integer of so many bytes to the sum.
func (o *op) add(value []byte, size int) error {
	if len(value) != size {
		return fmt.Errorf("%w: an integer of %d bytes, want %d", ErrWrong, len(value), size)
	}
	n := int64(0)
	if size == 4 {
		n = int64(int32(binary.BigEndian.Uint32(value)))
	} else {
		n = int64(binary.BigEndian.Uint64(value))
	}
	o.sum += n
	return nil
}

// flightSums are what queries over all flights have to give.
type flightSums struct {
	rows, groups, distance int64
}

// sumFlights reads the file.
func sumFlights(files fs.FS) (*flightSums, error) {
	in, done, err := demo.OpenFlights(files)
	if err != nil {
		return nil, err
	}
	defer done()
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, err
	}
	origin, month, day, distance := slices.Index(header, "origin"), slices.Index(header, "month"), slices.Index(header, "day"), slices.Index(header, "distance")
	sums, groups := &flightSums{}, map[[3]string]bool{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			sums.groups = int64(len(groups))
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		miles, err := strconv.ParseInt(record[distance], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("flight %d: distance: %w", sums.rows, err)
		}
		sums.rows++
		sums.distance += miles
		groups[[3]string{record[origin], record[month], record[day]}] = true // all of one year
	}
}

// loadFlights writes all flights, as `nodedb load` does, and gives how many.
func loadFlights(ctx context.Context, o *Options) (int64, error) {
	in, done, err := demo.OpenFlights(o.Files)
	if err != nil {
		return 0, err
	}
	defer done()
	dir, err := os.MkdirTemp("", "nodedb-bench-load-")
	if err != nil {
		return 0, err
	}
	null := "NA"
	s, err := load.Run(ctx, load.Options{
		Hosts: o.Hosts, Single: true, Table: `"` + o.Keyspace + `".flights`, Input: in, Name: "flights.csv", Format: load.CSV, SkipUnknown: true, Null: &null,
		Rejects: filepath.Join(dir, "rejects"), Consistency: uint16(o.Consistency), Derive: demo.DeriveDay,
	})
	if err == nil && s.Rejects > 0 {
		err = fmt.Errorf("%w refused %d flights", ErrServer, s.Rejects)
	}
	return s.Rows, errors.Join(err, os.RemoveAll(dir))
}

// writeFlights writes the flights as CSV whose fields are the table's columns, which it gives, joined by commas: for programs that can't derive a field from others.
func writeFlights(out io.Writer, files fs.FS) (columns string, err error) {
	in, done, err := demo.OpenFlights(files)
	if err != nil {
		return "", err
	}
	defer done()
	r, w := csv.NewReader(in), csv.NewWriter(out)
	header, err := r.Read()
	if err != nil {
		return "", err
	}
	noColumn := func(name string) bool { return name == "year" || name == "month" } // day is the date
	names := slices.DeleteFunc(slices.Clone(header), noColumn)
	day := slices.Index(names, "day")
	if err := w.Write(names); err != nil {
		return "", err
	}
	_, derive := demo.DeriveDay(header)
	for fields := []string(nil); ; fields = fields[:0] {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			w.Flush()
			return strings.Join(names, ","), w.Error()
		}
		if err != nil {
			return "", err
		}
		date, err := derive(record)
		if err != nil {
			return "", err
		}
		for i, v := range record {
			if !noColumn(header[i]) {
				fields = append(fields, v)
			}
		}
		fields[day] = date[0]
		if err := w.Write(fields); err != nil {
			return "", err
		}
	}
}

// measureLoad is the workload that writes a file: an operation is a row, and latencies are not known.
func measureLoad(ctx context.Context, o *Options, w *Workload) ([]Result, error) {
	m := meter{pids: o.Pids}
	begun, before := time.Now(), m.read()
	fill := w.Table.fill
	if o.Copy != nil {
		fill = o.Copy
	}
	rows, err := fill(ctx, o)
	if err != nil {
		return nil, err
	}
	wall, used := time.Since(begun), m.read().since(before)
	return []Result{{
		Workload: w.Name, InFlight: load.DefaultInFlight, Ops: rows, Seconds: wall.Seconds(), OpsPerSec: float64(rows) / wall.Seconds(), ServerCPU: perOp(used.server, rows),
		ClientCPU: perOp(used.client, rows), ServerRSS: m.resident(),
	}}, nil
}
