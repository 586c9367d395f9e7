package load

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"nodedb/query/types"
	"nodedb/query/wire"
)

var flights = []string{"origin partition_key text", "day partition_key date", "dep clustering int", "carrier clustering text",
	"delay regular double", "note regular text", "tags regular list<text>"}

func options(t testing.TB, s *server, input string) Options {
	return Options{Hosts: []string{s.Addr().String()}, Table: "ks.t", Input: strings.NewReader(input), Format: CSV,
		Rejects: filepath.Join(t.TempDir(), "in.rejects")}
}

func mustLoad(t testing.TB, o Options, rows, rejects int64) Summary {
	t.Helper()
	sum, err := Run(t.Context(), o)
	if err != nil || sum.Rows != rows || sum.Rejects != rejects {
		t.Fatalf("%v, %v; want %d rows and %d rejects", sum, err, rows, rejects)
	}
	return sum
}

func wantRows(t testing.TB, s *server, want ...string) {
	t.Helper()
	got := s.dump()
	for _, w := range want {
		if !got[w] {
			t.Errorf("no row %q", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows and not %d: %q", len(got), len(want), slices.Sorted(maps.Keys(got)))
	}
}

func TestLoadCSV(t *testing.T) {
	s := newServer(t, flights...)
	o := options(t, s, "carrier,origin,Day,dep,delay,note,tags\nUA,EWR,2013-01-01,517,2.5,,\"['a', 'b']\"\nAA,JFK,2013-01-02,NA,1,x,\nAA,JFK,2013-01-02,7,NA,\"NA\",\n")
	na := "NA"
	o.Null = &na
	sum := mustLoad(t, o, 2, 1)
	// Null is no cell at all; the empty text is one; in quotes NA is a text.
	wantRows(t, s, "origin=EWR day=2013-01-01 dep=517 carrier=UA delay=2.5 note= tags=['a', 'b']", "origin=JFK day=2013-01-02 dep=7 carrier=AA note=NA")
	wantFile(t, sum.RejectsFile, "carrier,origin,Day,dep,delay,note,tags\nAA,JFK,2013-01-02,NA,1,x,\n")
	wantFile(t, sum.RejectsFile+".errors", "row,line,column,value,reason\n2,3,dep,\"\",a column of the primary key cannot be null\n")
}

func wantFile(t testing.TB, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s has\n%s\nwant\n%s\n%v", path, got, want, err)
	}
}

// Every malformed row is told with its number, line, column, value and reason, and the others are loaded.
func TestRejects(t *testing.T) {
	s := newServer(t, flights...)
	s.mu.fault = func(_ int, rows []map[string][]byte) *wire.Error {
		for _, r := range rows {
			if string(r["note"]) == "poison" {
				return wire.Errorf(wire.CodeInvalid, "poisonous")
			}
		}
		return nil
	}
	in := "origin,day,dep,carrier,delay,note\n" +
		"EWR,2013-01-01,1,UA,1,good\n" +
		"EWR,2013-02-30,1,UA,1,bad day\n" +
		"EWR,2013-01-01,2,UA,1,poison\n" +
		"EWR,2013-01-01,x,UA,1,\"two\nlines\"\n" +
		"EWR,2013-01-01,3\n" +
		"EWR,2013-01-01,4,UA,1,bare\" quote\n" +
		"EWR,2013-01-01,5,UA,1e999,big\n" +
		"EWR,2013-01-01,6,UA,6,good\n"
	sum := mustLoad(t, options(t, s, in), 2, 6)
	wantRows(t, s, "origin=EWR day=2013-01-01 dep=1 carrier=UA delay=1 note=good", "origin=EWR day=2013-01-01 dep=6 carrier=UA delay=6 note=good")
	f, err := os.Open(sum.RejectsFile + ".errors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	want := [][]string{{"2", "3", "day", "2013-02-30", "not a date"}, {"3", "4", "", "", "poisonous"}, {"4", "5", "dep", "x", "not an integer"},
		{"5", "7", "", "", "has 3 fields and not 6"}, {"6", "8", "", "", "a quote inside"}, {"7", "9", "delay", "1e999", "beyond the range"}}
	for i, w := range want {
		if got := rows[i+1]; !slices.Equal(got[:4], w[:4]) || !strings.Contains(got[4], w[4]) {
			t.Errorf("reject %q, want %q", got, w)
		}
	}
	// Put right, the rejects load as they are.
	raw, err := os.ReadFile(sum.RejectsFile)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.fault = nil
	for _, fix := range [][2]string{{"02-30", "02-28"}, {",x,", ",9,"}, {"01,3\n", "01,3,UA,,\n"}, {"bare\" quote", "bare"}, {"1e999", "9"}} {
		raw = bytes.Replace(raw, []byte(fix[0]), []byte(fix[1]), 1)
	}
	mustLoad(t, options(t, s, string(raw)), 6, 0)
	if _, err := os.Stat(sum.RejectsFile); err != nil {
		t.Errorf("the first load's rejects are gone: %v", err)
	}
}

// Rejects of an earlier load do not stay when there are none any more.
func TestStaleRejects(t *testing.T) {
	s := newServer(t, flights...)
	o := options(t, s, "origin,day,dep,carrier\nEWR,x,1,UA\n")
	mustLoad(t, o, 0, 1)
	o.Input = strings.NewReader("origin,day,dep,carrier\nEWR,2013-01-01,1,UA\n")
	mustLoad(t, o, 1, 0)
	for _, path := range []string{o.Rejects, o.Rejects + ".errors"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLoadNDJSON(t *testing.T) {
	s := newServer(t, flights...)
	in := `{"origin": "EWR", "day": "2013-01-01", "dep": 5, "Carrier": "UA", "delay": "NaN", "tags": ["x"], "note": null}` + "\n\n" +
		`{"origin": "EWR", "day": "2013-01-01", "dep": 5.5, "carrier": "UA"}` + "\n" +
		`{"origin": "EWR", "day": "2013-01-01", "carrier": "UA"}` + "\n" +
		`{"origin": "EWR", "speed": 1}` + "\n" + `[1]` + "\n" + `{"origin": ` + "\n" + "null"
	o := options(t, s, in)
	o.Format = NDJSON
	sum := mustLoad(t, o, 1, 6)
	wantRows(t, s, "origin=EWR day=2013-01-01 dep=5 carrier=UA delay=NaN tags=['x']")
	errorsFile, _ := os.ReadFile(sum.RejectsFile + ".errors")
	for _, want := range []string{"2,3,dep,5.5,", "3,4,dep,\"\",", "4,5,speed,1,", "5,6,\"\",\"\",the line is no JSON object", "7,8,\"\",\"\",the line is no JSON object: null"} {
		if !bytes.Contains(errorsFile, []byte("\n"+want)) {
			t.Errorf("no %q among\n%s", want, errorsFile)
		}
	}
}

// Columns may be derived and replace fields; others are left out.
func TestDerive(t *testing.T) {
	s := newServer(t, flights...)
	o := options(t, s, "year,month,day,origin,dep,carrier\n2013,1,2,EWR,5,UA\n2013,x,2,EWR,5,UA\n")
	o.SkipUnknown = true
	o.Derive = func(header []string) ([]string, func([]string) ([]string, error)) {
		return []string{"day"}, func(r []string) ([]string, error) {
			if r[1] == "x" {
				return nil, errors.New("no month")
			}
			return []string{fmt.Sprintf("%s-%02s-%02s", r[0], r[1], r[2])}, nil
		}
	}
	mustLoad(t, o, 1, 1)
	wantRows(t, s, "origin=EWR day=2013-01-02 dep=5 carrier=UA")
}

func TestColumnsAndHeaders(t *testing.T) {
	data := "EWR,2013-01-01,5,UA\n"
	for _, c := range []struct {
		name    string
		header  Header
		columns []string
		in      string
	}{
		{"columns, no header", HeaderAuto, []string{"origin", "day", "dep", "carrier"}, data},
		{"columns, header skipped", HeaderYes, []string{"origin", "day", "dep", "carrier"}, "a,b,c,d\n" + data},
		{"table's order", HeaderNo, nil, "EWR,2013-01-01,5,UA,,,\n"},
		{"a field skipped", HeaderAuto, []string{"-", "origin", "day", "dep", "carrier"}, "x," + data},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, flights...)
			o := options(t, s, c.in)
			o.Header, o.Columns = c.header, c.columns
			mustLoad(t, o, 1, 0)
			if got := s.dump(); !got["origin=EWR day=2013-01-01 dep=5 carrier=UA"] && !got["origin=EWR day=2013-01-01 dep=5 carrier=UA note="] {
				t.Errorf("rows are %v", got)
			}
		})
	}
}

// What cannot begin says why, and writes nothing.
func TestCannotBegin(t *testing.T) {
	s := newServer(t, flights...)
	for _, c := range []struct {
		name   string
		change func(*Options)
		kind   error
		says   string
	}{
		{"no such table", func(o *Options) { o.Table = "ks.u" }, ErrTable, "no such table"},
		{"no keyspace", func(o *Options) { o.Table = "t" }, ErrOptions, "KEYSPACE.TABLE"},
		{"unknown column", func(o *Options) { o.Input = strings.NewReader("origin,speed\n") }, ErrTable, `no column "speed"; it has origin, day, dep`},
		{"twice", func(o *Options) { o.Input = strings.NewReader("origin,ORIGIN\n") }, ErrTable, "given twice"},
		{"key missing", func(o *Options) { o.Input = strings.NewReader("origin,dep\n") }, ErrTable, "day, carrier of the primary key"},
		{"empty", func(o *Options) { o.Input = strings.NewReader("") }, ErrInput, "should name the columns"},
		{"no such file", func(o *Options) { o.Input, o.File = nil, "/nonexistent/x.csv" }, ErrInput, "/nonexistent/x.csv"},
		{"format unknown", func(o *Options) { o.Format, o.Name = "", "x.dat" }, ErrOptions, "--format"},
		{"odd delimiter", func(o *Options) { o.Delimiter = '"' }, ErrOptions, "delimiter"},
		{"nobody there", func(o *Options) { o.Hosts = []string{"127.93.1.1:1"} }, ErrStopped, "127.93.1.1:1"},
	} {
		o := options(t, s, "origin,day,dep,carrier\nEWR,2013-01-01,5,UA\n")
		c.change(&o)
		_, err := Run(t.Context(), o)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	if got := s.dump(); len(got) > 0 {
		t.Errorf("rows were written: %v", got)
	}
}

// many gives rows of a few partitions.
func many(rows int) string {
	var b strings.Builder
	b.WriteString("origin,day,dep,carrier,delay\n")
	for i := range rows {
		fmt.Fprintf(&b, "P%d,2013-01-%02d,%d,UA,%d\n", i%3, 1+i/1000%28, i, i)
	}
	return b.String()
}

func TestBatches(t *testing.T) {
	s := newServer(t, flights...)
	mustLoad(t, options(t, s, many(5000)), 5000, 0)
	if n := len(s.dump()); n != 5000 {
		t.Errorf("%d rows", n)
	}
	if s.mu.requests > 200 || s.mu.widest > DefaultBatchRows {
		t.Errorf("%d requests, %d rows in one", s.mu.requests, s.mu.widest)
	}
	one := newServer(t, flights...)
	o := options(t, one, many(100))
	o.BatchRows = 1
	mustLoad(t, o, 100, 0)
	if one.mu.batches != 0 || one.mu.requests != 100 {
		t.Errorf("%d batches, %d requests", one.mu.batches, one.mu.requests)
	}
}

// Of a repeated row the last one in the file holds, whole, however requests overtake each other.
func TestLastRowWins(t *testing.T) {
	s := newServer(t, flights...)
	in := "origin,day,dep,carrier,delay,note\n"
	for i := range 2000 {
		in += fmt.Sprintf("EWR,2013-01-01,1,UA,%d,n%d\n", i, i)
	}
	mustLoad(t, options(t, s, in), 2000, 0)
	wantRows(t, s, "origin=EWR day=2013-01-01 dep=1 carrier=UA delay=1999 note=n1999")
}

// Errors that pass, a forgotten statement and lost connections are outlived; every row arrives.
func TestRetries(t *testing.T) {
	s := newServer(t, flights...)
	codes := []wire.ErrorCode{wire.CodeOverloaded, wire.CodeUnavailable, wire.CodeWriteTimeout, wire.CodeServer, wire.CodeBootstrapping,
		wire.CodeReadTimeout, wire.CodeWriteFailure}
	seen := map[int32]bool{}
	s.mu.fault = func(_ int, rows []map[string][]byte) *wire.Error {
		dep := types.Int32(rows[0]["dep"])
		if seen[dep] {
			return nil
		}
		seen[dep] = true
		switch {
		case dep == 100:
			clear(s.mu.statements)
		case dep == 300:
			for _, c := range s.mu.conns {
				c.Close()
			}
		case dep%7 == 0:
			return wire.Errorf(codes[int(dep)/7%len(codes)], "for now")
		}
		return nil
	}
	o := options(t, s, many(600))
	o.BatchRows = 1 // a batch that is refused is split, which would hide an error that is not retried
	sum := mustLoad(t, o, 600, 0)
	if len(s.dump()) != 600 || sum.Retries == 0 {
		t.Errorf("%d rows, %d retries", len(s.dump()), sum.Retries)
	}
}

// A cluster that stays away ends the load with an error, and rows read but not written are among the rejects.
func TestGivesUp(t *testing.T) {
	s := newServer(t, flights...)
	s.mu.fault = func(n int, _ []map[string][]byte) *wire.Error {
		if n > 3 {
			return wire.Errorf(wire.CodeUnavailable, "no replicas")
		}
		return nil
	}
	o := options(t, s, many(3000))
	o.Attempts, o.BatchRows = 3, 10
	sum, err := Run(t.Context(), o)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "no replicas") || !strings.Contains(err.Error(), "line ") {
		t.Errorf("the load ended with %v", err)
	}
	checkAccounted(t, s, sum, 3000)
}

// checkAccounted holds that each row that was read is written or rejected, and none is both.
func checkAccounted(t *testing.T, s *server, sum Summary, most int) {
	t.Helper()
	raw, err := os.ReadFile(sum.RejectsFile)
	if err != nil {
		t.Fatal(err)
	}
	rejected := bytes.Count(raw, []byte{'\n'}) - 1 // without the header
	if int64(rejected) != sum.Rejects || len(s.dump()) != int(sum.Rows) || sum.Rows+sum.Rejects > int64(most) || sum.Rows == 0 || rejected == 0 {
		t.Errorf("%d in the file, %d on the server, %v", rejected, len(s.dump()), sum)
	}
}

func TestUnauthorizedEndsAtOnce(t *testing.T) {
	s := newServer(t, flights...)
	s.mu.fault = func(int, []map[string][]byte) *wire.Error {
		return wire.Errorf(wire.CodeUnauthorized, "may not MODIFY")
	}
	sum, err := Run(t.Context(), options(t, s, many(3000)))
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "may not MODIFY") || sum.Rows != 0 {
		t.Errorf("%v, %v", sum, err)
	}
}

// A cancelled load settles what is in flight, and ends.
func TestCancel(t *testing.T) {
	s := newServer(t, flights...)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	s.mu.fault = func(n int, _ []map[string][]byte) *wire.Error {
		if n == 10 {
			cancel(enough)
		}
		if n > 10 {
			return wire.Errorf(wire.CodeOverloaded, "busy")
		}
		return nil
	}
	o := options(t, s, many(100_000))
	o.BatchRows = 5
	sum, err := Run(ctx, o)
	if !errors.Is(err, ErrStopped) || !errors.Is(err, enough) {
		t.Errorf("the load ended with %v", err)
	}
	checkAccounted(t, s, sum, 100_000)
}

// Rows go out when the input pauses, not only when a window is full.
func TestSlowInput(t *testing.T) {
	s := newServer(t, flights...)
	arrived := make(chan struct{}, 10)
	s.mu.fault = func(int, []map[string][]byte) *wire.Error { arrived <- struct{}{}; return nil }
	r, w := io.Pipe()
	o := options(t, s, "")
	o.Input = r
	done := make(chan error, 1)
	go func() { _, err := Run(t.Context(), o); done <- err }()
	for i := range 3 {
		if i == 0 {
			fmt.Fprint(w, "origin,day,dep,carrier\n")
		}
		fmt.Fprintf(w, "EWR,2013-01-01,%d,UA\n", i)
		<-arrived
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(s.dump()) != 3 {
		t.Errorf("rows are %v", s.dump())
	}
}

// An input that breaks ends the load with an error; what was read before is written.
func TestBrokenInput(t *testing.T) {
	s := newServer(t, flights...)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, many(20_000))
	z.Close()
	o := options(t, s, "")
	o.Input = bytes.NewReader(b.Bytes()[:b.Len()/2])
	sum, err := Run(t.Context(), o)
	if !errors.Is(err, ErrInput) || sum.Rows == 0 || int(sum.Rows) != len(s.dump()) {
		t.Errorf("%v, %v, %d rows on the server", sum, err, len(s.dump()))
	}
}

func TestCompressedFiles(t *testing.T) {
	var gz, zs bytes.Buffer
	z := gzip.NewWriter(&gz)
	fmt.Fprint(z, many(10))
	z.Close()
	zw, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(zw, strings.ReplaceAll(many(10), ",", "\t"))
	zw.Close()
	for name, content := range map[string][]byte{"a.csv.gz": gz.Bytes(), "a.tsv.zst": zs.Bytes(), "a.csv": []byte(many(10))} {
		s := newServer(t, flights...)
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := mustLoad(t, Options{Hosts: []string{s.Addr().String()}, Table: `ks."t"`, File: path}, 10, 0)
		if sum.Bytes != int64(len(content)) || len(s.dump()) != 10 {
			t.Errorf("%s: %v", name, sum)
		}
	}
}

// Load is spread over the nodes that the first one names, and goes on when one of them goes.
func TestSeveralHosts(t *testing.T) {
	a, b := newServer(t, flights...), newServer(t, flights...)
	a.mu.peers = []string{b.Addr().String()}
	seen := make(chan struct{}, 1<<16)
	b.mu.fault = func(int, []map[string][]byte) *wire.Error { seen <- struct{}{}; return nil }
	r, w := io.Pipe()
	o := options(t, a, "")
	o.Input, o.InFlight = r, 4
	done := make(chan error, 1)
	var sum Summary
	go func() { var err error; sum, err = Run(t.Context(), o); done <- err }()
	fmt.Fprint(w, "origin,day,dep,carrier\n")
	sent := 0
	line := func() { fmt.Fprintf(w, "EWR,2013-01-01,%d,UA\n", sent); sent++ }
	for len(seen) == 0 { // until the second node takes part
		line()
	}
	b.Close()
	b.drop()
	for range 100 {
		line()
	}
	w.Close()
	if err := <-done; err != nil || sum.Rows != int64(sent) || sum.Rejects != 0 {
		t.Fatalf("%v: %v, sent %d", sum, err, sent)
	}
	both := a.dump()
	maps.Copy(both, b.dump())
	if len(both) != sent {
		t.Errorf("%d rows on both, %d sent", len(both), sent)
	}
}

func BenchmarkLoad(b *testing.B) {
	s := newServer(b, flights...)
	in := many(10_000)
	var rows int64
	start := time.Now()
	for b.Loop() {
		sum, err := Run(b.Context(), options(b, s, in))
		if err != nil {
			b.Fatal(err)
		}
		rows += sum.Rows
	}
	b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "rows/s")
}

// Rows in flight are bounded by their bytes too; a row over the bound goes alone. All arrive.
func TestLargeRows(t *testing.T) {
	s := newServer(t, flights...)
	in := "origin,day,dep,carrier,note\n"
	for i := range 100 {
		in += fmt.Sprintf("P%d,2013-01-01,1,UA,%s\n", i, strings.Repeat("x", 1<<(i%17)))
	}
	o := options(t, s, in)
	o.Bytes = 20_000
	mustLoad(t, o, 100, 0)
	if n := len(s.dump()); n != 100 {
		t.Errorf("%d rows", n)
	}
}
