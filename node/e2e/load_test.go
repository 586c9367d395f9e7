package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

const loadTable = "(k int PRIMARY KEY, day date, v double, note text)"

// newLoadTable makes an empty table and gives its name.
func newLoadTable(t *testing.T, n *proc.Node, name string) string {
	t.Helper()
	exec1(t, dial(t, n), "CREATE TABLE l."+name+" "+loadTable)
	return "l." + name
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

// TestLoad brings the same three rows in by every format, and by standard input; twice, which changes nothing.
func TestLoad(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	exec1(t, dial(t, n), "CREATE KEYSPACE l WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	want := []string{"1|2013-01-01|1.5|a, \"b\"", "2|null|-0.25|x", "3|2013-12-31|null|"}
	const (
		asCSV    = "k,day,v,note\n1,2013-01-01,1.5,\"a, \"\"b\"\"\"\n2,NA,-0.25,x\n3,2013-12-31,NA,\n"
		headless = "\"a, \"\"b\"\"\",1,2013-01-01,1.5\nx,2,NA,-0.25\n,3,2013-12-31,NA\n"
		asTSV    = "k\tday\tv\tnote\n1\t2013-01-01\t1.5\ta, \"b\"\n2\tNA\t-0.25\tx\n3\t2013-12-31\tNA\t\n"
		asNDJSON = `{"k": 1, "day": "2013-01-01", "v": 1.5, "note": "a, \"b\""}` + "\n" + `{"v": -0.25, "k": 2, "note": "x"}` + "\n" +
			`{"k": 3, "day": "2013-12-31", "v": null, "note": ""}` + "\n"
	)
	for i, tc := range []struct {
		name  string
		file  string // "" for standard input
		bytes []byte
		args  []string
	}{
		{"csv", "a.csv", []byte(asCSV), []string{"--null", "NA"}},
		{"csv with CRLF", "a.csv", []byte(strings.ReplaceAll(asCSV, "\n", "\r\n")), []string{"--null", "NA"}},
		{"columns", "a.csv", []byte(headless), []string{"--null", "NA", "--columns", "note,k,day,v"}},
		{"delimiter", "a.csv", []byte("k;day;v;note\n1;2013-01-01;1.5;\"a, \"\"b\"\"\"\n2;;-0.25;x\n3;2013-12-31;;\n"), []string{"--delimiter", ";"}},
		{"tsv", "a.tsv", []byte(asTSV), []string{"--null", "NA"}},
		{"ndjson", "a.ndjson", []byte(asNDJSON), nil},
		{"csv.gz", "a.csv.gz", gzipped(t, asCSV), []string{"--null", "NA"}},
		{"tsv.zst", "a.tsv.zst", zstded(t, asTSV), []string{"--null", "NA"}},
		{"ndjson.zst", "a.ndjson.zst", zstded(t, asNDJSON), nil},
		{"any name by --format", "rows.data", []byte(asNDJSON), []string{"--format", "ndjson"}},
		{"standard input", "", []byte(asCSV), []string{"--format", "csv", "--null", "NA"}},
		{"standard input, gzipped", "", gzipped(t, asTSV), []string{"--format", "tsv", "--null", "NA"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := newLoadTable(t, n, "t"+itoa(i))
			for range 2 {
				out, status := runLoad(t, n, table, tc.file, tc.bytes, tc.args)
				if status != 0 || !strings.Contains(out, table+": 3 rows, 0 rejects") {
					t.Fatalf("status %d: %s", status, out)
				}
				wantRows(t, ask(t, n, consistency.One, "SELECT k, day, v, note FROM "+table), want)
			}
			if sum := replica(t, n, "l", "t"+itoa(i)); sum.Rows != 3 || sum.Partitions != 3 {
				t.Errorf("the node holds %+v", sum)
			}
		})
	}
}

// runLoad runs `nodedb load`; its current folder is one of its own.
func runLoad(t *testing.T, n *proc.Node, table, file string, content []byte, args []string) (output string, status int) {
	t.Helper()
	path := "-"
	cmd := exec.CommandContext(deadline(t, wait), binary)
	if file == "" {
		cmd.Stdin = bytes.NewReader(content)
	} else {
		path = writeFile(t, file, content)
	}
	cmd.Args, cmd.Dir = append(append(cmd.Args, "load", path, n.Address, "--table", table), args...), t.TempDir()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestLoadRejects: every malformed row is kept as it was and explained by row, line, column and value; the good ones are there; put right, the
// rejects load.
func TestLoadRejects(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	exec1(t, dial(t, n), "CREATE KEYSPACE l WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	table := newLoadTable(t, n, "rejects")
	file := writeFile(t, "in.csv", []byte("k,day,v,note\n"+
		"1,2013-01-01,1,good\n"+
		"x,2013-01-01,2,\"a note\nof two lines\"\n"+
		"3,2013-02-30,3,no such day\n"+
		"4,2013-01-04\n"+
		"5,2013-01-05,five,no number\n"+
		"6,2013-01-06,6,a \"quote\n"+
		",2013-01-07,7,no key\n"+
		"2147483648,2013-01-08,8,too big\n"+
		"9,2013-01-09,9,good as well\n"))
	out, status := run(t, nil, "load", file, "--table", table, n.Address)
	if status != 2 || !strings.Contains(out, table+": 2 rows, 7 rejects") || !strings.Contains(out, file+".rejects") {
		t.Errorf("status %d: %s", status, out)
	}
	wantRows(t, ask(t, n, consistency.One, "SELECT k, note FROM "+table), []string{"1|good", "9|good as well"})
	rejects, err := os.ReadFile(file + ".rejects")
	if err != nil {
		t.Fatal(err)
	}
	if want := "k,day,v,note\nx,2013-01-01,2,\"a note\nof two lines\"\n3,2013-02-30,3,no such day\n4,2013-01-04\n5,2013-01-05,five,no number\n" +
		"6,2013-01-06,6,a \"quote\n,2013-01-07,7,no key\n2147483648,2013-01-08,8,too big\n"; string(rejects) != want {
		t.Errorf("rejects:\n%s\nwant:\n%s", rejects, want)
	}
	wantReasons(t, file+".rejects.errors", [][]string{
		{"row", "line", "column", "value", "reason"}, {"2", "3", "k", "x", "integer"}, {"3", "5", "day", "2013-02-30", "date"},
		{"4", "6", "", "", "2 fields and not 4"}, {"5", "7", "v", "five", "number"}, {"6", "8", "", "", "quote inside"},
		{"7", "9", "k", "", "cannot be null"}, {"8", "10", "k", "2147483648", "range"},
	})
	fixed := string(rejects)
	for _, fix := range []string{"x,2013|2,2013", "02-30|02-28", "01-04\n|01-04,4,\n", "five|5", "a \"quote|a quote", "\n,2013|\n7,2013", "2147483648|8"} {
		was, is, _ := strings.Cut(fix, "|")
		fixed = strings.Replace(fixed, was, is, 1)
	}
	if out, status := runLoad(t, n, table, "fixed.csv", []byte(fixed), nil); status != 0 {
		t.Errorf("the rejects, put right: status %d: %s", status, out)
	}
	got := ask(t, n, consistency.One, "SELECT k FROM "+table)
	wantRows(t, got, strings.Fields("1 2 3 4 5 6 7 8 9"))
}

// wantReasons compares a file of reasons; of the last field a part is enough.
func wantReasons(t *testing.T, path string, want [][]string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil || len(rows) != len(want) {
		t.Fatalf("%v:\n%s", err, raw)
	}
	for i, w := range want {
		if last := len(w) - 1; len(rows[i]) != len(w) || !slices.Equal(rows[i][:last], w[:last]) || !strings.Contains(rows[i][last], w[last]) {
			t.Errorf("reason %q, want %q", rows[i], w)
		}
	}
}

// TestLoadRefuses: what can't be begun says so, and writes nothing.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	exec1(t, dial(t, n), "CREATE KEYSPACE l WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	table := newLoadTable(t, n, "t")
	good := writeFile(t, "good.csv", []byte("k,note\n1,x\n"))
	nobody := strings.TrimSuffix(n.Address, ".1") + ".9"
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no file", []string{filepath.Join(t.TempDir(), "none.csv"), "--table", table, n.Address}, 1, "none.csv"},
		{"no table", []string{good, "--table", "l.none", n.Address}, 1, "l.none"},
		{"no such column", []string{writeFile(t, "bad.csv", []byte("k,color\n1,x\n")), "--table", table, n.Address}, 1, "color"},
		{"no key", []string{writeFile(t, "bad.csv", []byte("note\nx\n")), "--table", table, n.Address}, 1, "k"},
		{"no format", []string{writeFile(t, "data", []byte("k\n1\n")), "--table", table, n.Address}, 64, "--format"},
		{"no --table", []string{good, n.Address}, 64, "--table"},
		{"nobody there", []string{good, "--table", table, nobody}, 1, nobody},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, status := run(t, nil, append([]string{"load"}, tc.args...)...)
			if status != tc.status || !strings.Contains(out, tc.want) {
				t.Errorf("status %d, want %d and %q: %s", status, tc.status, tc.want, out)
			}
		})
	}
	wantRows(t, ask(t, n, consistency.One, "SELECT k FROM "+table), nil)
}
