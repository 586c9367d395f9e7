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
	only   = flag.String("family", "", "families, joined by commas; default all")
	twice  = flag.Uint64("twice", 0, "run one in so many seeds twice, and compare the histories; 0: none")
	traced = flag.String("story", "", "write the history of the last seed to this file")
	drop   = flag.String("drop", "", "numbers of faults to leave out, joined by commas")
	steps  = flag.Int("steps", 0, "operations of each session; 0: as many as fit")
	worker = flag.Bool("worker", false, "a campaign's child: one line of JSON a seed")
)

// TestMain runs the tests in a child in which goroutines run in an order that only they decide, or a campaign in many.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case os.Getenv(childEnv) != "":
		if err := waitGate(); err != nil {
			fmt.Fprintln(os.Stderr, "sim: the parent is gone:", err)
			os.Exit(1)
		}
		debug.SetGCPercent(-1) // see world.settle
		os.Exit(m.Run())
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

// TestSeeds runs seeds of the families.
func TestSeeds(t *testing.T) {
	for _, f := range chosen() {
		for s := *seed; s < *seed+max(1, *seeds); s++ {
			r := runSeed(t, scenario{family: f, seed: s, drop: numbers(*drop), steps: *steps, short: *seeds == 0})
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

// runSeed runs a scenario, perhaps twice.
func runSeed(t *testing.T, s scenario) *report {
	begun, used := time.Now(), cpuSeconds()
	logs := *traced != ""
	r := simulate(t, s, logs)
	r.Drop, r.Steps = *drop, s.steps
	runtime.GC()
	if *twice > 0 && s.seed%*twice == 0 && !s.family.memberlist {
		again := simulate(t, s, logs)
		r.Twice = true
		if again.Hash != r.Hash {
			r.Failures = append(r.Failures, "it does not repeat itself: "+difference(r.history, again.history))
		}
		runtime.GC()
	}
	r.Seconds, r.CPU = time.Since(begun).Seconds(), cpuSeconds()-used // both runs
	if logs {
		if err := r.history.save(*traced); err != nil {
			t.Error(err)
		}
	}
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

// TestRegressions runs the seeds that once failed: testdata/regressions, a line each: family, seed, what it found.
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
		r := simulate(t, scenario{family: familyOf(parts[0]), seed: n}, false)
		for _, why := range r.Failures {
			t.Errorf("%s: %s", lines.Text(), why)
		}
		runtime.GC()
	}
}
