package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

var (
	seeds  = flag.Uint64("seeds", 0, "seeds of each family; 0: a few, as in plain go test")
	seed   = flag.Uint64("seed", 1, "the first seed")
	only   = flag.String("family", "", "one family; default all")
	twice  = flag.Uint64("twice", 0, "run one in so many seeds twice, and compare the histories; 0: none")
	traced = flag.String("trace", "", "write the history of the last seed to this file")
)

// TestMain starts the test again with one processor and without preemption: goroutines then run in an order that only they decide.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("NODEDB_SIM") == "" {
		self, err := os.Executable()
		if err == nil {
			err = syscall.Exec(self, os.Args, append(os.Environ(), "NODEDB_SIM=1", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"))
		}
		fmt.Fprintln(os.Stderr, "start again with one processor:", err)
		os.Exit(1)
	}
	debug.SetGCPercent(-1) // see world.settle
	os.Exit(m.Run())
}

func TestSeeds(t *testing.T) {
	count := max(1, *seeds)
	for _, f := range families {
		if *only != "" && f.name != *only {
			continue
		}
		for s := *seed; s < *seed+count; s++ {
			begun := time.Now()
			r := simulate(t, scenario{family: f, seed: s, short: *seeds == 0}, *traced != "")
			if *traced != "" {
				out, err := os.Create(*traced)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.history.write(out); err != nil {
					t.Error(err)
				}
				out.Close()
			}
			t.Logf("%s seed %d: %.2fs, %v virtual, %d messages, %d acked, %d refused, %d unknown, met %v, hash %x", f.name, s, time.Since(begun).Seconds(),
				r.Virtual, r.Messages, r.Acked, r.Refused, r.Unknown, r.Met, r.Hash)
			for _, why := range r.Failures {
				t.Errorf("%s seed %d: %s", f.name, s, why)
			}
			runtime.GC()
			if *twice > 0 && s%*twice == 0 {
				again := simulate(t, scenario{family: f, seed: s}, *traced != "")
				if d := difference(r.history, again.history); d != "" {
					t.Errorf("%s seed %d isn't reproducible: %s", f.name, s, d)
				}
				runtime.GC()
			}
		}
	}
}
