package demo

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// question is a query and its answer, computed from the CSV files by plain loops: never by nodedb.
type question struct {
	about  string
	cql    string
	answer []string // one line a row, values joined by |, sorted unless ordered
	order  bool     // the order of rows is part of the answer
}

// flight is what the questions need of one CSV record. Numbers that are NA are absent.
type flight struct {
	origin, day, carrier, dest string
	sched, number, distance    int
	depDelay                   *int
}

// facts is the data set in memory, as the CSV has it.
type facts struct {
	flights  []flight
	weather  map[string][]hour // by origin
	planes   map[string]string // tailnum → model
	airlines int
}

type hour struct {
	at          time.Time
	temp        *float64
	temperature string
}

func number(s string) *int {
	if s == "NA" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil
	}
	return &n
}

// readFacts reads the files.
func readFacts(files fs.FS) (*facts, error) {
	f := &facts{weather: map[string][]hour{}, planes: map[string]string{}}
	err := records(files, "flights.csv.zst", func(field func(string) string) {
		f.flights = append(f.flights, flight{
			origin: strings.Clone(field("origin")), day: dayOf(field("year"), field("month"), field("day")),
			carrier: strings.Clone(field("carrier")), dest: strings.Clone(field("dest")), sched: *number(field("sched_dep_time")),
			number: *number(field("flight")), distance: *number(field("distance")), depDelay: number(field("dep_delay")),
		})
	})
	if err != nil {
		return nil, err
	}
	err = records(files, "weather.csv.zst", func(field func(string) string) {
		at, _ := time.Parse(time.RFC3339, field("time_hour"))
		h := hour{at: at, temperature: strings.Clone(field("temp"))}
		if t, err := strconv.ParseFloat(h.temperature, 64); err == nil {
			h.temp = &t
		}
		origin := strings.Clone(field("origin"))
		f.weather[origin] = append(f.weather[origin], h)
	})
	if err != nil {
		return nil, err
	}
	err = records(files, "planes.csv", func(field func(string) string) {
		f.planes[strings.Clone(field("tailnum"))] = strings.Clone(field("model"))
	})
	if err != nil {
		return nil, err
	}
	return f, records(files, "airlines.csv", func(func(string) string) { f.airlines++ })
}

// where counts and collects the flights that a predicate takes, in key order (sched_dep_time, carrier, flight).
func (f *facts) where(take func(*flight) bool) []flight {
	var out []flight
	for i := range f.flights {
		if take(&f.flights[i]) {
			out = append(out, f.flights[i])
		}
	}
	slices.SortFunc(out, func(a, b flight) int {
		return cmp.Or(cmp.Compare(a.sched, b.sched), cmp.Compare(a.carrier, b.carrier), cmp.Compare(a.number, b.number))
	})
	return out
}

func (f *flight) line() string {
	return fmt.Sprintf("%d|%s|%d|%s", f.sched, f.carrier, f.number, f.dest)
}

func lines(fs []flight) []string {
	out := make([]string, len(fs))
	for i := range fs {
		out[i] = fs[i].line()
	}
	return out
}

func count(n int) []string { return []string{strconv.Itoa(n)} }

// questions are asked of every node, before and after the disasters.
func (f *facts) questions() []question {
	partition := func(origin, day string) func(*flight) bool {
		return func(x *flight) bool { return x.origin == origin && x.day == day }
	}
	const columns = "SELECT sched_dep_time, carrier, flight, dest FROM nyc.flights WHERE "
	return []question{
		{"all flights of the year", "SELECT count(*) FROM nyc.flights", count(len(f.flights)), false},
		{"one partition: JFK on the 4th of July", "SELECT count(*) FROM nyc.flights WHERE origin = 'JFK' AND day = '2013-07-04'",
			count(len(f.where(partition("JFK", "2013-07-04")))), false},
		{"flights an airport and day", "SELECT origin, day, count(*) FROM nyc.flights GROUP BY origin, day", f.perDay(), false},
		{"shortest, longest and total distance, delays known, of a day",
			"SELECT min(distance), max(distance), sum(distance), count(dep_delay) FROM nyc.flights WHERE origin = 'LGA' AND day = '2013-12-24'",
			distances(f.where(partition("LGA", "2013-12-24"))), false},
		{"a slice: departures between 6 and 9", columns + "origin = 'EWR' AND day = '2013-01-01' AND sched_dep_time >= 600 AND sched_dep_time < 900",
			lines(f.where(func(x *flight) bool { return partition("EWR", "2013-01-01")(x) && x.sched >= 600 && x.sched < 900 })), true},
		{"the last five of a day, backwards", columns + "origin = 'JFK' AND day = '2013-11-27' ORDER BY sched_dep_time DESC LIMIT 5",
			lastFive(f.where(partition("JFK", "2013-11-27"))), true},
		{"a slice over two clustering columns", columns + "origin = 'LGA' AND day = '2013-05-05' AND (sched_dep_time, carrier) > (1900, 'DL')",
			lines(f.where(func(x *flight) bool {
				return partition("LGA", "2013-05-05")(x) && (x.sched > 1900 || x.sched == 1900 && x.carrier > "DL")
			})), true},
		{"the first two flights of each airport", columns + "origin IN ('EWR', 'JFK', 'LGA') AND day = '2013-02-08' PER PARTITION LIMIT 2",
			f.firstTwo("2013-02-08"), false},
		{"a filter on a column that is no key", "SELECT count(*) FROM nyc.flights WHERE dest = 'HNL' ALLOW FILTERING",
			count(len(f.where(func(x *flight) bool { return x.dest == "HNL" }))), false},
		{"a time series: October's warmest hour at JFK",
			"SELECT max(temp) FROM nyc.weather WHERE origin = 'JFK' AND time_hour >= '2013-10-01T00:00:00Z' AND time_hour < '2013-11-01T00:00:00Z'",
			f.warmest("JFK", "2013-10-01", "2013-11-01"), false},
		{"a lookup by key", "SELECT model FROM nyc.planes WHERE tailnum = 'N14228'", []string{f.planes["N14228"]}, false},
		{"partitions of a table", "SELECT DISTINCT origin, day FROM nyc.flights", f.partitions(), false},
	}
}

func (f *facts) perDay() []string {
	n := map[string]int{}
	for i := range f.flights {
		n[f.flights[i].origin+"|"+f.flights[i].day]++
	}
	var out []string
	for k, v := range n {
		out = append(out, fmt.Sprintf("%s|%d", k, v))
	}
	return out
}

func (f *facts) partitions() []string {
	seen := map[string]bool{}
	var out []string
	for i := range f.flights {
		if k := f.flights[i].origin + "|" + f.flights[i].day; !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

func distances(fs []flight) []string {
	low, high, sum, known := fs[0].distance, fs[0].distance, 0, 0
	for i := range fs {
		low, high, sum = min(low, fs[i].distance), max(high, fs[i].distance), sum+fs[i].distance
		if fs[i].depDelay != nil {
			known++
		}
	}
	return []string{fmt.Sprintf("%d|%d|%d|%d", low, high, sum, known)}
}

// lastFive gives a day's last five in descending key order.
func lastFive(fs []flight) []string {
	out := lines(fs[len(fs)-5:])
	slices.Reverse(out)
	return out
}

func (f *facts) firstTwo(day string) []string {
	var out []string
	for _, origin := range []string{"EWR", "JFK", "LGA"} {
		out = append(out, lines(f.where(func(x *flight) bool { return x.origin == origin && x.day == day }))[:2]...)
	}
	return out
}

func (f *facts) warmest(origin, from, to string) []string {
	best := hour{}
	for _, h := range f.weather[origin] {
		day := h.at.Format(time.DateOnly)
		if h.temp != nil && day >= from && day < to && (best.temp == nil || *h.temp > *best.temp) {
			best = h
		}
	}
	return []string{best.temperature}
}
