package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/zstd"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/config"
	"nodedb/node/demo"
	"nodedb/node/disk"
	"nodedb/node/proc"
	"nodedb/query/wire"
)

// startNode runs a node in this process, its disk in memory, and gives its CQL address. The second number of the address keeps two runs on one machine apart.
func startNode(t *testing.T, last int) string {
	t.Helper()
	c := config.Default()
	c.Listen, c.Data = fmt.Sprintf("127.%d.71.%d", 100+os.Getpid()%100, last), "data"
	n, err := node.Start(t.Context(), node.Options{
		Config: c, FS: disk.Crashable(), Logger: slog.New(slog.DiscardHandler), Release: "test", Progress: func(string) {}, Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return net.JoinHostPort(c.Listen, strconv.Itoa(c.NativeTransportPort))
}

// ask gives the rows of a statement.
func ask(t *testing.T, addr, cql string) []string {
	t.Helper()
	c, err := wire.Dial(t.Context(), addr, wire.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rows, err := proc.Ask(t.Context(), c, consistency.Quorum, cql)
	if err != nil {
		t.Fatalf("%s: %v", cql, err)
	}
	return rows
}

// TestRun: every workload of numbered rows runs to the last operation on a real node with all answers right, in both protocols, and what was to be written is there.
func TestRun(t *testing.T) {
	addr := startNode(t, 1)
	numbered := slices.DeleteFunc(Names(), func(name string) bool { w, err := find(name); return err != nil || w.Table.fill != nil })
	for v, names := range map[wire.Version][]string{wire.V4: numbered, wire.V5: {"a", "partition", "batch", "logged"}} {
		r, err := Run(t.Context(), Options{
			Hosts: []string{addr}, Workloads: names, Version: v, Conns: int(v) - 3, InFlight: []int{16}, Ops: 100, Rows: 1000, Seconds: time.Minute,
		})
		if err != nil {
			t.Fatalf("v%d: %v", v, err)
		}
		if len(r.Results) != len(names) {
			t.Fatalf("%d results", len(r.Results))
		}
		for i, res := range r.Results {
			if res.Workload != names[i] || res.Ops != 100 || res.Latency.Count != 100 || res.OpsPerSec <= 0 || res.ClientCPU <= 0 {
				t.Errorf("v%d: %+v", v, res)
			}
		}
		for table, rows := range map[string]string{"lists": "2000", "rows": "2000"} { // 100 batches of 10 rows each
			if got := ask(t, addr, "SELECT count(*) FROM nodedb_bench."+table); !reflect.DeepEqual(got, []string{rows}) {
				t.Errorf("v%d: %s has %v rows, want %s", v, table, got, rows)
			}
		}
	}
}

// TestGocql: the same through gocql, which finds wrong reads too.
func TestGocql(t *testing.T) {
	addr := startNode(t, 6)
	o := Options{Hosts: []string{addr}, Driver: driverGocql, Workloads: []string{"insert", "read", "f", "e", "partition", "batch", "logged"}, Conns: 2, InFlight: []int{8},
		Ops: 50, Rows: 200, Seconds: time.Minute}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range r.Results {
		if res.Ops != 50 || res.Latency.Count != 50 {
			t.Errorf("%+v", res)
		}
	}
	o.Workloads, o.Ops, o.Version = []string{"read"}, 500, wire.V5
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for id := range 100 { // of 200: 500 reads of random ones would miss a single row once in twelve runs
		ask(t, addr, fmt.Sprintf("DELETE FROM nodedb_bench.rows WHERE id = %d", id))
	}
	o.Keep = true
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrWrong) {
		t.Errorf("rows that are gone: %v", err)
	}
}

// someFlights are the first n flights of the year.
func someFlights(t *testing.T, n int) fs.FS {
	t.Helper()
	in, done, err := demo.OpenFlights(os.DirFS("../../testdata/nycflights13"))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var packed bytes.Buffer
	out, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(in)
	for range n + 1 {
		lines.Scan()
		fmt.Fprintln(out, lines.Text())
	}
	if err := errors.Join(lines.Err(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"flights.csv.zst": {Data: packed.Bytes()}}
}

// TestFlights: the file is loaded, and queries over all of it give what the file says, by both drivers, over several pages; a flight that is gone is noticed by each.
func TestFlights(t *testing.T) {
	addr := startNode(t, 7)
	o := Options{Hosts: []string{addr}, Workloads: []string{"load"}, Files: someFlights(t, 12_000), Ops: 2, Seconds: time.Minute}
	r, err := Run(t.Context(), o)
	if err != nil || r.Results[0].Ops != 12_000 {
		t.Fatalf("%v, %+v", err, r)
	}
	queries := []string{"count", "group", "paged"}
	for _, driver := range drivers {
		o.Keep, o.Driver, o.Workloads = true, driver, queries
		if _, err := Run(t.Context(), o); err != nil {
			t.Errorf("%s: %v", driver, err)
		}
	}
	ask(t, addr, "DELETE FROM nodedb_bench.flights WHERE origin = 'EWR' AND day = '2013-01-01' AND sched_dep_time = 515 AND carrier = 'UA' AND flight = 1545")
	for _, name := range queries {
		o.Workloads = []string{name}
		if _, err := Run(t.Context(), o); !errors.Is(err, ErrWrong) {
			t.Errorf("%s of 11,999: %v", name, err)
		}
	}
	o.Files = nil
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrOptions) {
		t.Errorf("without files: %v", err)
	}
}

// TestFindsTheServer: without being told, it knows which process listens, here this one.
func TestFindsTheServer(t *testing.T) {
	addr := startNode(t, 2)
	r, err := Run(t.Context(), Options{Hosts: []string{addr}, Workloads: []string{"insert"}, Ops: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Pids, []int{os.Getpid()}) || r.Results[0].ServerCPU <= 0 || r.Results[0].ServerRSS < 1<<20 {
		t.Errorf("%+v", r)
	}
}

// TestWrongReads: a row that is gone, another row's value, a changed value: each read of them is an error, and so is the run.
func TestWrongReads(t *testing.T) {
	addr := startNode(t, 3)
	run := func(workload string, keep bool) (*Report, error) {
		return Run(t.Context(), Options{Hosts: []string{addr}, Workloads: []string{workload}, Ops: 500, Rows: 100, Keep: keep})
	}
	for name, c := range map[string]struct{ workload, cql, want string }{
		"gone":      {"read", "DELETE FROM nodedb_bench.rows WHERE id = 7", "0 rows instead of 1"},
		"cut":       {"read", "UPDATE nodedb_bench.rows SET v = 0x00 WHERE id = 7", "a value of 1 bytes"},
		"null":      {"read", "UPDATE nodedb_bench.rows SET v = null WHERE id = 7", "a value of 0 bytes"},
		"one short": {"partition", "DELETE FROM nodedb_bench.parts WHERE p = 0 AND c = 99", "99 rows instead of 100"},
		"first":     {"partition", "DELETE FROM nodedb_bench.parts WHERE p = 0 AND c = 0", "has key"},
	} {
		if _, err := run(c.workload, false); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ask(t, addr, c.cql)
		r, err := run(c.workload, true)
		if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), c.want) || r.Results[0].Wrong == 0 {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	if _, err := run("read", false); err != nil {
		t.Fatal(err)
	}
	other := strings.TrimSpace(ask(t, addr, "SELECT v FROM nodedb_bench.rows WHERE id = 8")[0])
	ask(t, addr, "UPDATE nodedb_bench.rows SET v = "+other+" WHERE id = 7")
	if _, err := run("read", true); !errors.Is(err, ErrWrong) {
		t.Errorf("another row's value: %v", err)
	}
}

// TestRate: an open loop begins exactly as many operations as its rate and time say, also over several connections.
func TestRate(t *testing.T) {
	addr := startNode(t, 4)
	r, err := Run(t.Context(), Options{Hosts: []string{addr}, Workloads: []string{"read"}, Rate: 1000, Seconds: 500 * time.Millisecond, Conns: 2, Rows: 100})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Results[0].Ops; n < 499 || n > 502 {
		t.Errorf("%d operations at 1000 a second in half a second", n)
	}
}

// TestCurve: each number in flight gives a result of its own, on the same rows, even where there are more connections.
func TestCurve(t *testing.T) {
	addr := startNode(t, 8)
	r, err := Run(t.Context(), Options{Hosts: []string{addr}, Workloads: []string{"insert", "d"}, InFlight: []int{1, 8}, Conns: 4, Ops: 300, Rows: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, res := range r.Results {
		got = append(got, fmt.Sprint(res.Workload, " ", res.InFlight, " ", res.Ops))
	}
	if want := []string{"insert 1 300", "insert 8 300", "d 1 300", "d 8 300"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if n := ask(t, addr, "SELECT count(*) FROM nodedb_bench.rows"); n[0] != "700" {
		t.Errorf("%s rows", n)
	}
}

// TestServerErrors: a table that is not there, and a server that is not there, are errors that say so.
func TestServerErrors(t *testing.T) {
	addr := startNode(t, 5)
	_, err := Run(t.Context(), Options{Hosts: []string{addr}, Workloads: []string{"read"}, Keep: true})
	if !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "nodedb_bench") {
		t.Error(err)
	}
	if _, err = Run(t.Context(), Options{Hosts: []string{"127.250.1.1"}, Workloads: []string{"read"}}); !errors.Is(err, ErrServer) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r, err := Run(ctx, Options{Hosts: []string{addr}, Workloads: []string{"insert"}, Seconds: time.Hour}); !errors.Is(err, context.DeadlineExceeded) ||
		len(r.Results) != 1 || r.Results[0].Ops == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Workloads: []string{"insert"}}
	if _, err := good.withDefaults(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		`no workload "x": want one of insert`: func(o *Options) { o.Workloads = []string{"x"} },
		"no workload named":                   func(o *Options) { o.Workloads = nil },
		`no driver "x"`:                       func(o *Options) { o.Driver = "x" },
		"no protocol v3":                      func(o *Options) { o.Version = 3 },
		"5000 connections":                    func(o *Options) { o.Conns = 5000 },
		"[8 0] in flight: want 1 to 32768":    func(o *Options) { o.InFlight = []int{8, 0} },
		"can't be negative":                   func(o *Options) { o.Rate = -1 },
		"at most 10000000":                    func(o *Options) { o.Rate = 1e9 },
		"want 1 to":                           func(o *Options) { o.Rows = -1 },
		`no distribution of keys "x"`:         func(o *Options) { o.Keys = "x" },
		"replication factor -1":               func(o *Options) { o.Replication = -1 },
		"no name of a keyspace":               func(o *Options) { o.Keyspace = `a"b` },
	} {
		o := good
		change(&o)
		_, named := o.workloads()
		_, err := o.withDefaults()
		if err = errors.Join(err, named); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
