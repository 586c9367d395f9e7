//go:build planted

package planted

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/node/fault"
)

var (
	only    = flag.String("bug", "", "the planted bug to run, or several, with commas between; list: name them all")
	e2e     = flag.Bool("e2e", true, "let real processes look for what nothing else catches")
	runners = flag.Int("runners", 2, "how many bugs are looked for at once; a suite is about one core's work")
	record  = flag.Bool("record", false, "write the table to node/sim/PLANTED.md")
)

// TestPlanted looks for each planted bug with every suite that its code is linked into: the bug's own package first, then the others, the
// small ones before the large, and then with seeds of node/sim. A suite has to pass without a bug first. It fails if a bug is missed.
func TestPlanted(t *testing.T) {
	if *only == "list" {
		for _, b := range fault.Bugs {
			fmt.Printf("%-45s %s\n", b.Name, b.Mistake)
		}
		return
	}
	at := planted(t)
	var bugs []fault.Bug
	for _, b := range fault.Bugs {
		if *only == "" || slices.Contains(strings.Split(*only, ","), b.Name) {
			bugs = append(bugs, b)
		}
	}
	if len(bugs) == 0 {
		t.Fatalf("no planted bug is called %q; -bug list names them", *only)
	}
	suites, sim := list(t)
	clean := map[string]bool{}
	if *seeds > 0 {
		if err := sim.ready(); err != nil {
			t.Fatal(err)
		}
		clean = failsClean(sim)
	}
	fmt.Print(head)
	caught := make([]verdict, len(bugs))
	next := make(chan int)
	var all sync.WaitGroup
	for range *runners {
		all.Go(func() {
			for i := range next {
				caught[i] = hunt(t, bugs[i].Name, at[bugs[i].Name][0], suites)
				if *seeds > 0 {
					caught[i].simulated = simulate(sim, bugs[i].Name, clean)
				}
				fmt.Print(caught[i].row(bugs[i]))
			}
		})
	}
	for i := range bugs {
		next <- i
	}
	close(next)
	all.Wait()
	report(t, bugs, caught)
}

// verdict is what became of one bug.
type verdict struct {
	suite, test string // "": no suite caught it
	how         string
	after       time.Duration // of that suite
	passed      int           // suites that saw nothing before
	simulated   simulated
}

const head = "| bug | the mistake | caught by | after | suites that saw nothing before | caught by simulation after |\n|---|---|---|---|---|---|\n"

func (v *verdict) row(b fault.Bug) string {
	by, after := fmt.Sprintf("`%s` %s%s", v.suite, v.test, v.how), fmt.Sprintf("%.1f s", v.after.Seconds())
	if v.suite == "" {
		by, after = "**missed**", ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d | %s |\n", b.Name, b.Mistake, by, after, v.passed, &v.simulated)
}

// document is node/sim/PLANTED.md.
const document = `# Planted bugs

%d mistakes that the tag "planted" compiles into the product, one at a time (node/fault/bugs.go), and what fails on each. %d are missed.
Written by

    go test ./node/sim/planted -tags planted -run TestPlanted -timeout 0 -v -record

Each bug meets the tests of its own package first, then those of every package that links it, small ones first, until one fails; that test has to fail
again by itself and to pass without the bug. Real processes (node/e2e) come last. Then whole nodes run in simulation until a seed fails that passes
without the bug: %d bugs are caught so, by up to %d seeds of each family (%s). What a simulation of that size
does not catch is caught by a test that goes for it; more seeds are -seeds N. Each suite passes first with the tag and no bug. Times are those of a shared machine.

%s%s`

func report(t *testing.T, bugs []fault.Bug, caught []verdict) {
	var table strings.Builder
	missed, bySeeds := 0, 0
	for i := range bugs {
		table.WriteString(caught[i].row(bugs[i]))
		if caught[i].simulated.family != "" {
			bySeeds++
		}
		if caught[i].suite == "" && caught[i].simulated.family == "" {
			missed++
			t.Errorf("%s: no suite caught it", bugs[i].Name)
		}
	}
	fmt.Printf("\n%d of %d planted bugs caught, %d missed; %d by simulation\n", len(bugs)-missed, len(bugs), missed, bySeeds)
	if *record {
		text := fmt.Sprintf(document, len(bugs), missed, bySeeds, *seeds, *families, head, table.String())
		if err := os.WriteFile(root+"/node/sim/PLANTED.md", []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// tries bounds how often a suite is run again whose failure proved nothing.
const tries = 3

// hunt runs suites with the bug until one catches it: the test that failed has to fail again by itself, and to pass without the bug.
func hunt(t *testing.T, bug, folder string, suites []*suite) (v verdict) {
	for _, s := range inOrder(suites, folder) {
		if err := s.ready(); err != nil {
			t.Error(err)
			continue
		}
		for range tries {
			o := s.run(bug, "")
			if o.test == "" {
				break
			}
			top, _, _ := strings.Cut(o.test, "/")
			if again, control := s.run(bug, "^"+top+"$"), s.run("", "^"+top+"$"); again.test == "" || control.test != "" {
				fmt.Printf("(%s: %s of %s failed once; again with the bug: %q, without: %q)\n", bug, o.test, s.folder, again.test, control.test)
				continue
			}
			v.suite, v.test, v.how, v.after = s.folder, o.test, o.how, o.took
			return v
		}
		v.passed++
	}
	return v
}

// inOrder gives the suites that link a folder's package: its own first, the others by how much they link, and real processes last.
func inOrder(suites []*suite, folder string) (order []*suite) {
	for _, s := range suites {
		if s.links["nodedb/"+folder] && (*e2e || s.folder != "node/e2e") {
			order = append(order, s)
		}
	}
	cost := func(s *suite) int {
		switch s.folder {
		case folder:
			return 0
		case "node/e2e":
			return math.MaxInt
		}
		return len(s.links)
	}
	slices.SortStableFunc(order, func(a, b *suite) int { return cmp.Compare(cost(a), cost(b)) })
	return order
}
