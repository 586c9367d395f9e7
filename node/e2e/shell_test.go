package e2e

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"nodedb/node/proc"
)

// shellRun runs `nodedb shell` without a terminal.
func shellRun(t *testing.T, n *proc.Node, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return shellAt(t, n.Address, stdin, args...)
}

func shellAt(t *testing.T, host, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, wait), binary, append([]string{"shell", host}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// shellOutput is what one SELECT prints in each format, to the byte.
var shellOutput = map[string]string{
	"table": "\n" +
		" k |  c | at                              | name       |    v | raw\n" +
		"---+----+---------------------------------+------------+------+------\n" +
		" 1 | -1 | 2013-07-04 12:00:00.000000+0000 | a, \"b\" | c | null | 0xff\n" +
		" 1 | 10 | null                            |            |  NaN | null\n" +
		"\n(2 rows)\n",
	"vertical": "\n@ Row 1\n" +
		"------+---------------------------------\n" +
		" k    | 1\n c    | -1\n at   | 2013-07-04 12:00:00.000000+0000\n name | a, \"b\" | c\n v    | null\n raw  | 0xff\n" +
		"\n@ Row 2\n" +
		"------+------\n" +
		" k    | 1\n c    | 10\n at   | null\n name | \n v    | NaN\n raw  | null\n" +
		"\n(2 rows)\n",
	"csv": "k,c,at,name,v,raw\r\n" +
		"1,-1,2013-07-04 12:00:00.000000+0000,\"a, \"\"b\"\" | c\",,0xff\r\n" +
		"1,10,,\"\",NaN,\r\n",
	"json": "[\n" +
		`{"k": 1, "c": -1, "at": "2013-07-04 12:00:00.000Z", "name": "a, \"b\" | c", "v": null, "raw": "0xff"},` + "\n" +
		`{"k": 1, "c": 10, "at": null, "name": "", "v": "NaN", "raw": null}` + "\n]\n",
	"ndjson": `{"k": 1, "c": -1, "at": "2013-07-04 12:00:00.000Z", "name": "a, \"b\" | c", "v": null, "raw": "0xff"}` + "\n" +
		`{"k": 1, "c": 10, "at": null, "name": "", "v": "NaN", "raw": null}` + "\n",
	"markdown": "| k | c | at | name | v | raw |\n" +
		"| ---: | ---: | --- | --- | ---: | --- |\n" +
		"| 1 | -1 | 2013-07-04 12:00:00.000000+0000 | a, \"b\" \\| c | null | 0xff |\n" +
		"| 1 | 10 | null |  | NaN | null |\n",
}

// TestShell runs scripts against a node: exact bytes in every format, and the exit codes that scripts rely on.
func TestShell(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	setup := writeFile(t, "setup.cql", []byte("-- a script with comments\nCREATE KEYSPACE sh WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};\n"+
		"USE sh;\nCREATE TABLE t (k int, c int, at timestamp, name text, v double, raw blob, PRIMARY KEY (k, c));\n"+
		"/* two\n lines */ INSERT INTO t (k, c, at, name, raw)\n  VALUES (1, -1, '2013-07-04T12:00:00Z', 'a, \"b\" | c', 0xff);\nINSERT INTO t (k, c, name, v) VALUES (1, 10, '', NaN)"))
	if out, errs, status := shellRun(t, n, "", "-f", setup); status != 0 || out != "" {
		t.Fatalf("setup: status %d: %s%s", status, out, errs)
	}
	const ask = "SELECT k, c, at, name, v, raw FROM sh.t WHERE k = 1"
	for format, want := range shellOutput {
		for way, args := range map[string][]string{"-e": {"-e", ask}, "-f": {"-f", writeFile(t, "q.cql", []byte(ask+";\n"))}, "pipe": nil} {
			stdin := ""
			if args == nil {
				stdin = ask + ";"
			}
			out, errs, status := shellRun(t, n, stdin, append(args, "--format", format)...)
			if status != 0 || errs != "" {
				t.Errorf("%s by %s: status %d: %s", format, way, status, errs)
			}
			if out != want {
				t.Errorf("%s by %s:\n%q\nwant\n%q", format, way, out, want)
			}
		}
	}
	if out, _, status := shellRun(t, n, "", "--format", "json", "-e", "SELECT k FROM sh.t WHERE k = 2; SELECT k FROM sh.t LIMIT 1"); status != 0 || out != "[]\n[\n{\"k\": 1}\n]\n" {
		t.Errorf("status %d: %q", status, out)
	}
}

// TestShellExitCodes: 1 for no connection, 2 for a statement that failed (named by its line; the others are run), 64 for wrong usage.
func TestShellExitCodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := c.Nodes[0]
	script := writeFile(t, "script.cql", []byte("SELECT key FROM system.local;\n\nSELECT nothing\n  FROM system.local;\nSELECT\n  key FRM system.local;\nSELECT key AS again FROM system.local;\n"))
	nobody := strings.TrimSuffix(n.Address, ".1") + ".9"
	for _, tc := range []struct {
		name   string
		host   string
		args   []string
		status int
		stdout string
		stderr []string
	}{
		{"good", n.Address, []string{"-e", "SELECT key FROM system.local", "--format", "csv"}, 0, "key\r\nlocal\r\n", nil},
		{"bad statements", n.Address, []string{"-f", script, "--format", "csv"}, 2, "key\r\nlocal\r\nagain\r\nlocal\r\n",
			[]string{script + ":3", "nothing", script + ":6", "FRM", "^"}},
		{"bad line of -e", n.Address, []string{"-e", "SELECT key FROM system.local;\nSELECT 1 FRM x"}, 2, "*", []string{"line 2"}},
		{"no such file", n.Address, []string{"-f", script + ".none"}, 2, "", []string{script + ".none"}},
		{"nobody listens", nobody, []string{"-e", "SELECT key FROM system.local"}, 1, "", []string{nobody + ":9042", "refused"}},
		{"another port", n.Address, []string{"8181", "-e", "SELECT key FROM system.local"}, 1, "", []string{n.Address + ":8181"}},
		{"no such format", n.Address, []string{"--format", "xml", "-e", "SELECT key FROM system.local"}, 64, "", []string{"xml", "ndjson"}},
		{"-e and -f", n.Address, []string{"-e", "x", "-f", script}, 64, "", []string{"-e and -f"}},
		{"three arguments", n.Address, []string{"9042", "more"}, 64, "", []string{"more"}},
		{"unknown flag", n.Address, []string{"--colour"}, 64, "", []string{"colour"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, errs, status := shellAt(t, tc.host, "", tc.args...)
			if status != tc.status || tc.stdout != "*" && out != tc.stdout {
				t.Errorf("status %d, want %d; printed %q, want %q; %s", status, tc.status, out, tc.stdout, errs)
			}
			for _, w := range tc.stderr {
				if !strings.Contains(errs, w) {
					t.Errorf("no %q in: %s", w, errs)
				}
			}
		})
	}
}
