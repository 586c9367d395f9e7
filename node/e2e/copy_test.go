package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

// flightColumns are those of the CSV of the flights.
const flightColumns = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"

// createFlights makes a table of the flights, of a row each.
func createFlights(t *testing.T, c *proc.Cluster, table string) {
	t.Helper()
	kinds := map[string]string{"carrier": "text", "tailnum": "text", "origin": "text", "dest": "text", "time_hour": "timestamp"}
	def := "CREATE TABLE " + table + " ("
	for _, name := range strings.Split(flightColumns, ",") {
		kind := kinds[name]
		if kind == "" {
			kind = "int"
		}
		def += name + " " + kind + ", "
	}
	exec1(t, dial(t, c.Nodes[0]), def+"PRIMARY KEY ((origin, month, day), sched_dep_time, carrier, flight))")
}

// TestShellCopy brings the flights into a table by the shell's COPY FROM and out by COPY TO, as TestClients does by cqlsh's: the same rows, whatever their
// order. It takes a few; with -clients shell, or all, all of them.
func TestShellCopy(t *testing.T) {
	t.Parallel()
	lines := 2000
	if run, short := clientAsked("shell"); run && !short {
		lines = 0
	}
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE sh"+simpleRF3)
	createFlights(t, c, "sh.flights")
	source, copied := flightsFile(t, lines), filepath.Join(t.TempDir(), "copy.csv")
	want := checksumOf(t, source)
	const options = " WITH HEADER = true AND NULL = 'NA'"
	began := time.Now()
	copyByShell(t, c, "COPY sh.flights ("+flightColumns+") FROM '"+source+"'"+options)
	loaded := time.Now()
	if got := ask(t, c.Nodes[1], consistency.Quorum, "SELECT count(*) FROM sh.flights"); !slices.Equal(got, []string{strconv.Itoa(want.rows)}) {
		t.Errorf("%v rows in the table, want %d", got, want.rows)
	}
	counted := time.Now()
	copyByShell(t, c, "COPY sh.flights ("+flightColumns+") TO '"+copied+"'"+options)
	exported := time.Now()
	if got := checksumOf(t, copied); got != want {
		t.Errorf("%d rows came out, %d went in; or they are others", got.rows, want.rows)
	}
	t.Logf("COPY FROM %d rows in %.1f s, COPY TO in %.1f s, checksums equal", want.rows, loaded.Sub(began).Seconds(), exported.Sub(counted).Seconds())
}

// copyTimeout of one COPY.
const copyTimeout = 5 * time.Minute

func copyByShell(t *testing.T, c *proc.Cluster, statement string) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, copyTimeout), binary, "shell", c.Nodes[0].Address, "-e", "CONSISTENCY QUORUM; "+statement)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
}

// contents is what a CSV file of flights holds: rows, without the header, and a sum over their hashes that is the same in any order of them.
type contents struct {
	rows int
	sum  [sha256.Size]byte
}

func checksumOf(t *testing.T, file string) (c contents) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil || len(records) < 1 || strings.Join(records[0], ",") != flightColumns {
		t.Fatalf("%s: %v, or its header isn't the flights'", file, err)
	}
	for _, r := range records[1:] {
		at := &r[len(r)-1] // the shell writes a moment in a form of its own
		for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05.999999-0700"} {
			if moment, err := time.Parse(form, *at); err == nil {
				*at = moment.UTC().Format(time.RFC3339)
			}
		}
		c.rows++
		for i, b := range sha256.Sum256([]byte(strings.Join(r, "\x00"))) {
			c.sum[i] += b // no carry: each byte is a sum of its own
		}
	}
	return c
}
