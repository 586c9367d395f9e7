package cql

import "testing"

var benchStatements = []string{
	"SELECT dest, air_time FROM nyc.flights WHERE origin = ? AND day = ? AND sched_dep_time > ? LIMIT 100",
	"INSERT INTO nyc.flights (origin, day, sched_dep_time, carrier, flight, dest) VALUES ('EWR', '2013-01-01', '2013-01-01T05:15:00Z', 'UA', 1545, 'IAH') USING TTL 3600",
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := Parse(benchStatements[i%len(benchStatements)]); err != nil {
			b.Fatal(err)
		}
	}
}
