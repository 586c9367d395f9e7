package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	seeds  = flag.Uint64("seeds", 0, "seeds of each family, over all processors; 0: one, and the regressions, as in plain go test")
	seed   = flag.Uint64("seed", 1, "the first seed")
	only   = flag.String("family", "", "families, joined by commas; default all; list: name them")
	twice  = flag.Uint64("twice", 0, "run one in so many seeds twice, and compare the histories; 0: none, but crash-one's in plain go test")
	traced = flag.String("story", "", "write the history of the one seed to this file")
	drop   = flag.String("drop", "", "numbers of faults to leave out, joined by commas")
	steps  = flag.Int("steps", 0, "operations of each session; 0: as many as fit")
	worker = flag.Bool("worker", false, "a campaign's child: one line of JSON a seed")
)

// still says that nothing but goroutines decides in which order they run: only then does a seed have to repeat itself.
var still bool

// TestMain runs the tests in a child in which goroutines run in an order that only they decide, or a campaign in many.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case *only == "list":
		for _, f := range families {
			fmt.Println(f.name)
		}
	case os.Getenv(childEnv) != "":
		var err error
		if still, err = waitGate(); err != nil {
			fmt.Fprintln(os.Stderr, "sim: the parent is gone:", err)
			os.Exit(1)
		}
		debug.SetGCPercent(-1) // see world.settle
		os.Exit(m.Run())
	case *seeds > 1 && *traced != "":
		fmt.Fprintln(os.Stderr, "sim: -story is of one seed: give -seeds 1, -seed and -family")
		os.Exit(2)
	case *seeds > 1:
		os.Exit(campaign())
	default:
		if err := startStill(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sim:", err)
			os.Exit(1)
		}
	}
}

// chosen gives the families asked for.
func chosen() (list []*family) {
	if *only == "" {
		return families
	}
	for name := range strings.SplitSeq(*only, ",") {
		f := familyOf(name)
		if f == nil {
			fmt.Fprintf(os.Stderr, "sim: no family is named %s\n", name)
			os.Exit(2)
		}
		list = append(list, f)
	}
	return list
}

// numbers reads -drop.
func numbers(text string) (list []int) {
	for part := range strings.SplitSeq(text, ",") {
		if n, err := strconv.Atoi(part); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// repeated is the family whose short seed plain go test runs twice.
const repeated = "crash-one"

// again says whether a seed is to be run twice.
func again(f *family, s uint64) bool {
	return !f.memberlist && (*twice > 0 && s%*twice == 0 || *seeds == 0 && f.name == repeated)
}

// TestSeeds runs seeds of the families.
func TestSeeds(t *testing.T) {
	for _, f := range chosen() {
		for s := *seed; s < *seed+max(1, *seeds); s++ {
			r := runSeed(t, scenario{family: f, seed: s, drop: numbers(*drop), steps: *steps, short: *seeds == 0, twice: again(f, s)})
			if *worker {
				line, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Printf("%s%s\n", workerMark, line)
				continue
			}
			t.Log(r)
			for _, why := range r.Failures {
				t.Errorf("%s seed %d: %s\nrepeat: %s", f.name, s, why, r.command())
			}
		}
	}
}

// runSeed runs a scenario as the flags say.
func runSeed(t *testing.T, s scenario) *report {
	r := run(t, s, *traced != "")
	r.Drop, r.Steps = *drop, s.steps
	if *traced != "" {
		if err := r.history.save(*traced); err != nil {
			t.Error(err)
		}
	}
	return r
}

// run runs a scenario, twice if that says so: then it fails unless both histories are the same.
func run(t *testing.T, s scenario, logs bool) *report {
	begun, used := time.Now(), cpuSeconds()
	r := simulate(t, s, logs)
	runtime.GC()
	if s.twice {
		second := simulate(t, s, logs)
		runtime.GC()
		switch r.Twice = true; {
		case second.Hash == r.Hash:
		case *seeds == 0 && !still: // a failure of the machine; a campaign is told of it all the same
			t.Log("it does not repeat itself, on a machine that lets nothing be stopped: ", difference(r.history, second.history))
		default:
			r.Failures = append(r.Failures, "it does not repeat itself: "+difference(r.history, second.history))
		}
	}
	r.Seconds, r.CPU = time.Since(begun).Seconds(), cpuSeconds()-used // of both runs
	return r
}

// cpuSeconds is what this process has used so far.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// TestRegressions runs the seeds that once failed: testdata/regressions, a line each: family, seed, "twice" if it is to be run again and has to repeat itself,
// what it found.
func TestRegressions(t *testing.T) {
	if *worker || *seeds > 0 {
		t.Skip("a campaign runs seeds only")
	}
	file, err := os.Open("testdata/regressions")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		parts := strings.Fields(lines.Text())
		if len(parts) == 0 || strings.HasPrefix(parts[0], "#") {
			continue
		}
		n, err := strconv.ParseUint(parts[1], 10, 64)
		if err != nil || familyOf(parts[0]) == nil {
			t.Fatalf("not a family and a seed: %q", lines.Text())
		}
		r := run(t, scenario{family: familyOf(parts[0]), seed: n, twice: len(parts) > 2 && parts[2] == "twice"}, false)
		for _, why := range r.Failures {
			t.Errorf("%s: %s", lines.Text(), why)
		}
	}
}
