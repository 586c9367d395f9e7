//go:build planted

package planted

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/node/fault"
)

var (
	only   = flag.String("bug", "", "the planted bug to run, or several, with commas between; list: name them all")
	e2e    = flag.Bool("e2e", true, "let real processes look for what nothing else catches")
	record = flag.Bool("record", false, "write the table to node/sim/PLANTED.md")
)

// runners is how many bugs are looked for at once; a suite is about one core's work.
const runners = 2

// TestPlanted looks for each planted bug with every suite that its code is linked into: the bug's own package first, then the others, the cheap
// ones before the dear. First all of them have to pass without a bug. It fails if a bug is missed.
func TestPlanted(t *testing.T) {
	if *only == "list" {
		for _, b := range fault.Bugs {
			fmt.Printf("%-45s %s\n", b.Name, b.Mistake)
		}
		return
	}
	at := planted(t)
	var bugs []fault.Bug
	folders := map[string]bool{}
	for _, b := range fault.Bugs {
		if *only == "" || slices.Contains(strings.Split(*only, ","), b.Name) {
			bugs = append(bugs, b)
			folders[at[b.Name][0]] = true
		}
	}
	if len(bugs) == 0 {
		t.Fatalf("no planted bug is called %q; -bug list names them", *only)
	}
	suites := build(t, folders)
	passClean(t, suites)
	fmt.Print(head)
	caught := make([]verdict, len(bugs))
	next := make(chan int)
	var all sync.WaitGroup
	for range runners {
		all.Go(func() {
			for i := range next {
				caught[i] = hunt(bugs[i].Name, at[bugs[i].Name][0], suites)
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
}

const head = "| bug | the mistake | caught by | after | suites that saw nothing first |\n|---|---|---|---|---|\n"

func (v *verdict) row(b fault.Bug) string {
	by, after := fmt.Sprintf("`%s` %s%s", v.suite, v.test, v.how), fmt.Sprintf("%.1f s", v.after.Seconds())
	if v.suite == "" {
		by, after = "**missed**", ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d |\n", b.Name, b.Mistake, by, after, v.passed)
}

func report(t *testing.T, bugs []fault.Bug, caught []verdict) {
	var table strings.Builder
	missed := 0
	for i := range bugs {
		table.WriteString(caught[i].row(bugs[i]))
		if caught[i].suite == "" {
			missed++
			t.Errorf("%s: no suite caught it", bugs[i].Name)
		}
	}
	fmt.Printf("\n%d of %d planted bugs caught, %d missed\n", len(bugs)-missed, len(bugs), missed)
	if *record {
		text := fmt.Sprintf("# Planted bugs\n\n%d mistakes that the tag `planted` compiles into the product, one at a time, and the test that fails on each. %d are missed.\n"+
			"Written by `go test ./node/sim/planted -tags planted -run TestPlanted -timeout 0 -v -record`: each bug meets the tests of its own package first,\n"+
			"then those of every package that links it, cheap ones first, until one fails; that test passes again without the bug.\n\n%s%s", len(bugs), missed, head, table.String())
		if err := os.WriteFile(root+"/node/sim/PLANTED.md", []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// tries bounds how often a suite is run again whose failure proved nothing.
const tries = 3

// hunt runs suites with the bug until one catches it: the test that failed has to fail again by itself, and to pass without the bug.
func hunt(bug, folder string, suites []*suite) (v verdict) {
	for _, s := range inOrder(suites, folder) {
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

// inOrder gives the suites that link a folder's package: its own first, the others by what they take.
func inOrder(suites []*suite, folder string) (order []*suite) {
	for _, s := range suites {
		if s.links["nodedb/"+folder] {
			order = append(order, s)
		}
	}
	cost := func(s *suite) time.Duration {
		if s.folder == folder {
			return 0
		}
		return s.clean
	}
	slices.SortStableFunc(order, func(a, b *suite) int { return int(cost(a) - cost(b)) })
	return order
}
