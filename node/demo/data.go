package demo

import (
	"encoding/csv"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Keyspace of the demo; its replication factor is three, or the number of nodes if that is less.
const Keyspace = "nyc"

// dataset is one file and the table it goes to.
type dataset struct {
	table string
	file  string
	rows  int
	ddl   string
}

// datasets are loaded in this order. The keys show what composite keys are for: flights of one airport and day lie together, in scheduled
// order; weather of one airport is a time series; the others are looked up by their key.
var datasets = []dataset{
	{"airlines", "airlines.csv", 16, `CREATE TABLE nyc.airlines (carrier text PRIMARY KEY, name text)`},
	{"airports", "airports.csv", 1458, `CREATE TABLE nyc.airports (
		faa text PRIMARY KEY, name text, lat double, lon double, alt int, tz int, dst text, tzone text)`},
	{"planes", "planes.csv", 3322, `CREATE TABLE nyc.planes (
		tailnum text PRIMARY KEY, year int, type text, manufacturer text, model text, engines int, seats int, speed int, engine text)`},
	{"weather", "weather.csv.zst", 26115, `CREATE TABLE nyc.weather (
		origin text, time_hour timestamp, year int, month int, day int, hour int, temp double, dewp double, humid double, wind_dir int,
		wind_speed double, wind_gust double, precip double, pressure double, visib double, PRIMARY KEY ((origin), time_hour))`},
	{"flights", "flights.csv.zst", 336776, `CREATE TABLE nyc.flights (
		origin text, day date, sched_dep_time int, carrier text, flight int, tailnum text, dest text, dep_time int, dep_delay int,
		sched_arr_time int, arr_time int, arr_delay int, air_time int, distance int, hour int, minute int, time_hour timestamp,
		PRIMARY KEY ((origin, day), sched_dep_time, carrier, flight))`},
}

// FlightsTable is the statement that makes the table of flights, KEYSPACE.flights.
func FlightsTable(keyspace string) string {
	for _, d := range datasets {
		if d.table == "flights" {
			return strings.Replace(d.ddl, Keyspace+".", keyspace+".", 1)
		}
	}
	panic("no data set of flights")
}

// OpenFlights gives the flights as CSV; DeriveDay makes their column day.
func OpenFlights(files fs.FS) (csv io.Reader, done func(), err error) {
	return open(files, "flights.csv.zst")
}

// open gives a data file's bytes, decompressed.
func open(files fs.FS, name string) (io.Reader, func(), error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasSuffix(name, ".zst") {
		return f, func() { _ = f.Close() }, nil
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, nil, err
	}
	return z, func() { z.Close(); _ = f.Close() }, nil
}

// dayOf writes a date from its parts.
func dayOf(year, month, day string) string { return fmt.Sprintf("%s-%02s-%02s", year, month, day) }

// records reads a data file and calls each with a function that gives a field of the record by name.
func records(files fs.FS, name string, each func(field func(string) string)) error {
	in, done, err := open(files, name)
	if err != nil {
		return err
	}
	defer done()
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i, h := range header {
		at[strings.Clone(h)] = i
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		each(func(column string) string { return record[at[column]] })
	}
}
