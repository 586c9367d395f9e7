package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nodedb/node/proc"
)

var (
	clientsFlag = flag.String("clients", "", "programs with Cassandra's own drivers that drive a cluster: a comma list of gocql, python, cqlsh, node, java, rust, shell; all: every one. "+
		"smoke: their short form; alone, of those that can be installed here, and the others are skipped")
	clientsDir = flag.String("clients-dir", filepath.Join(os.TempDir(), "nodedb-clients"), "where drivers are installed and those programs built; kept for the next run")
)

// clients are those programs, each in a folder of clients: what it needs on the machine, how its driver is installed (once, while the files that pin versions
// stay the same), how it is built, and run. {dir} stands for a copy of its folder in -clients-dir.
var clients = []client{
	python("python", "suite.py"),
	python("cqlsh", "cqlsh_suite.py"),
	{
		name: "node", folder: "node", tools: []string{"node", "npm"}, pins: []string{"package-lock.json"},
		install: [][]string{{"npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"}},
		run:     []string{"node", "{dir}/suite.js"},
	},
	{
		name: "java", folder: "java", tools: []string{"java", "javac", "mvn"}, pins: []string{"pom.xml"},
		install: [][]string{{"mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory={dir}/lib", "-DincludeScope=runtime"}},
		build: [][]string{{"sh", "-c", "javac -nowarn -processor com.datastax.oss.driver.internal.mapper.processor.MapperProcessor -cp '{dir}/lib/*' " +
			"-d '{dir}/classes' '{dir}'/src/*.java"}},
		run: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "{dir}/classes:{dir}/lib/*", "Suite"},
	},
	{
		name: "rust", folder: "rust", tools: []string{"cargo"}, pins: []string{"Cargo.toml", "Cargo.lock"},
		install: [][]string{{"sh", "-c", cargoSource}, {"sh", "-c", cargoLock}, {"cargo", "fetch", "-q", "--locked", "--manifest-path", "locked/Cargo.toml"}},
		build:   [][]string{{"sh", "-c", cargoLock}, {"cargo", "build", "-q", "--locked", "--offline", "--manifest-path", "locked/Cargo.toml", "--target-dir", "target"}},
		run:     []string{"{dir}/target/debug/suite"},
	},
}

// Cargo.lock says of every package where it came from, and here it may not name a registry: those lines are left out of the file that is kept, and put
// back from what cargo writes on this machine. With them `--locked` holds cargo to versions and checksums.
const (
	cargoSource = "mkdir -p fresh/src && cp Cargo.toml fresh && cp src/main.rs fresh/src && cargo generate-lockfile -q --manifest-path fresh/Cargo.toml && " +
		"grep -m1 '^source = ' fresh/Cargo.lock >source"
	cargoLock = "mkdir -p locked && awk 'NR == FNR {source = $0; next} /^checksum = / {print source} {print}' source Cargo.lock >locked/Cargo.lock && " +
		"cp -rp Cargo.toml src locked"
)

type client struct {
	name    string
	folder  string
	tools   []string // programs that must be there
	pins    []string // files that pin versions
	install [][]string
	build   [][]string
	run     []string
	env     []string
}

// python is a program that runs in a virtual environment of its own.
func python(name, program string) client {
	return client{
		name: name, folder: "python", tools: []string{"python3"}, pins: []string{"requirements.txt"},
		install: [][]string{
			{"python3", "-m", "venv", "{dir}/venv"},
			{"{dir}/venv/bin/pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:",
				"--no-binary", "pure-sasl", "-r", "{dir}/requirements.txt"},
		},
		run: []string{"{dir}/venv/bin/python", "-u", "{dir}/" + program},
		env: []string{"CQLENG_ALLOW_SCHEMA_MANAGEMENT=1"},
	}
}

// Bounds of what a client's program may take.
const (
	installTimeout = 4 * time.Minute
	smokeTimeout   = 8 * time.Minute // twenty times what it takes on a quiet machine: only who hangs ends by it
	suiteTimeout   = 20 * time.Minute
)

// clientAsked says whether -clients names a client, and whether its short form is wanted.
func clientAsked(name string) (run, short bool) {
	list := strings.Split(*clientsFlag, ",")
	short = slices.Contains(list, "smoke")
	return slices.Contains(list, "all") || slices.Contains(list, name) || short && len(list) == 1, short
}

// TestClients runs existing drivers, unmodified, against three nodes of their own. A program says what it checks on its standard output:
//
//	check NAME     begins a check, which goes on until
//	ok             it held, or
//	fail TEXT      it didn't
//	figure TEXT    something that was counted or measured
//	do COMMAND     asks for something that only the test can do (see clientRun.do); its answer is a line on the program's standard input
//	end            nothing is left to check
//
// Other lines, and its standard error, are shown when it fails.
func TestClients(t *testing.T) {
	for _, name := range strings.Split(*clientsFlag, ",") {
		known := slices.ContainsFunc(clients, func(c client) bool { return c.name == name })
		if !known && !slices.Contains([]string{"", "all", "smoke", "gocql", "shell"}, name) {
			t.Fatalf("-clients %s: no such client", name)
		}
	}
	t.Run("gocql", func(t *testing.T) {
		t.Parallel()
		run, short := clientAsked("gocql")
		runGocql(t, run && !short)
	})
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			run, short := clientAsked(c.name)
			if !run {
				t.Skip("needs a driver from a registry: run it with -clients " + c.name)
			}
			t.Parallel()
			c.prepare(t, *clientsFlag == "smoke")
			runClient(t, &c, short)
		})
	}
}

// clientRun is one program at work.
type clientRun struct {
	cluster *proc.Cluster
	lines   chan string
	answers io.Writer
	log     []string
	checks  int

	owned, all float64 // counters when the program began to count
}

// runClient starts a cluster and the program, and makes a subtest of each of its checks.
func runClient(t *testing.T, c *client, short bool) {
	t.Helper()
	r := &clientRun{cluster: startCluster(t, 3), lines: make(chan string)}
	form, timeout := "all", suiteTimeout
	if short {
		form, timeout = "smoke", smokeTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	cmd := c.command(ctx, t, append(slices.Clone(c.run), r.cluster.Nodes[0].Address, form)...)
	ended := r.start(t, cmd)
	finished := r.follow(t)
	err := ended()
	if err != nil || !finished || t.Failed() {
		t.Errorf("the program ended with %v after %d checks; it wrote:\n%s", err, r.checks, strings.Join(r.log, "\n"))
	}
	t.Logf("%s: %d checks in %.1f s", c.name, r.checks, time.Since(began).Seconds())
}

// start starts the program. What it gives back waits until it ended.
func (r *clientRun) start(t *testing.T, cmd *exec.Cmd) (ended func() error) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, inOut := io.Pipe()
	cmd.Stdout, cmd.Stderr, r.answers = inOut, inOut, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
		_, _ = io.Copy(io.Discard, out) // a line too long ends the scan, and must not block the program
	}()
	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		_ = inOut.Close()
	}()
	return func() error {
		for line := range r.lines {
			r.log = append(r.log, line)
		}
		return <-exited
	}
}

// follow reads what the program says, to its end. True: nothing was left to check.
func (r *clientRun) follow(t *testing.T) bool {
	t.Helper()
	for line := range r.lines {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "check":
			r.checks++
			t.Run(rest, r.check)
		case "end":
			return true
		default:
			r.other(t, line)
		}
	}
	return false
}

// check is one check, from its beginning to its outcome.
func (r *clientRun) check(t *testing.T) {
	for line := range r.lines {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "ok":
			return
		case "fail":
			t.Error(rest)
			return
		default:
			r.other(t, line)
		}
	}
	t.Error("the program ended within this check")
}

func (r *clientRun) other(t *testing.T, line string) {
	t.Helper()
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "figure":
		t.Log(rest)
	case "do":
		answer, err := r.do(t, strings.Fields(rest))
		if err != nil {
			t.Errorf("%s: %v", rest, err)
			answer = "error " + err.Error()
		}
		fmt.Fprintln(r.answers, answer)
	default:
		r.log = append(r.log, line)
	}
}

// do does what a program asks for:
//
//	kill N     kill -9 of node N, from 1
//	start N    starts it again, until it and the others see each other
//	add        starts one more node, which joins
//	count      counts requests of one partition from now on
//	share      answers, and holds to leastShare, which share of them came to an owner of the partition
//	flights N  writes N lines of the flights to a CSV file and answers its name; N 0: all
func (r *clientRun) do(t *testing.T, command []string) (string, error) {
	t.Helper()
	n := 0
	if len(command) == 2 {
		n, _ = strconv.Atoi(command[1])
	}
	nodes := r.cluster.Nodes
	switch command[0] {
	case "kill":
		return "ok", nodes[n-1].Kill()
	case "start":
		start(t, r.cluster, nodes[n-1])
		return "ok", nil
	case "add":
		_, err := r.cluster.Add(deadline(t, time.Minute))
		return "ok", err
	case "count":
		r.owned, r.all = r.counted(t)
		return "ok", nil
	case "share":
		return r.share(t)
	case "flights":
		return flightsFile(t, n), nil
	}
	return "", fmt.Errorf("no such command")
}

// leastShare of requests that a token-aware driver has to bring to an owner.
const leastShare = 0.99

func (r *clientRun) share(t *testing.T) (string, error) {
	t.Helper()
	owned, all := r.counted(t)
	owned, all = owned-r.owned, all-r.all
	t.Logf("token-aware: %.0f of %.0f requests came to an owner, %.2f%%", owned, all, 100*owned/all)
	if all == 0 || owned/all < leastShare {
		t.Errorf("want at least %.0f%%", 100*leastShare)
	}
	return fmt.Sprintf("ok %.0f %.0f", owned, all), nil
}

// counted sums the requests of one partition over all nodes: those that came to an owner, and all.
func (r *clientRun) counted(t *testing.T) (owned, all float64) {
	t.Helper()
	return counter(t, r.cluster, "nodedb_coordinator_owned_total"),
		counter(t, r.cluster, "nodedb_coordinator_reads_total") + counter(t, r.cluster, "nodedb_coordinator_writes_total")
}
