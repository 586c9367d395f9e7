//go:build planted

package planted

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
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
	record  = flag.Bool("record", false, "write what caught each bug to testdata/sightings, and, of all bugs, the table to node/sim/PLANTED.md")
)

// TestPlanted looks for each planted bug with the test that caught it before, and if that doesn't now with every suite that its code is linked into: the bug's own
// package first, then the others, the small ones before the large. Then it asks the seeds of node/sim's family that caught it before. What catches a bug has to pass without
// it. It fails if a bug is missed.
func TestPlanted(t *testing.T) {
	if *only == "list" {
		for _, b := range fault.Bugs {
			fmt.Printf("%-45s %s\n", b.Name, b.Mistake)
		}
		return
	}
	at, on := planted(t), commit(t)
	var bugs []fault.Bug
	for _, b := range fault.Bugs {
		if *only == "" || slices.Contains(strings.Split(*only, ","), b.Name) {
			bugs = append(bugs, b)
		}
	}
	if len(bugs) == 0 {
		t.Fatalf("no planted bug is called %q; -bug list names them", *only)
	}
	known, err := readSightings()
	if err != nil {
		t.Fatal(err)
	}
	suites, sim := list(t)
	if err := sim.compiled(); err != nil {
		t.Fatal(err)
	}
	searched, err := toSearch(sim)
	if err != nil {
		t.Fatal(err)
	}
	free := &control{sim: sim, searched: searched, ok: map[place]bool{}}
	fmt.Print(head)
	caught := make([]verdict, len(bugs))
	next := make(chan int)
	var all sync.WaitGroup
	for range *runners {
		all.Go(func() {
			for i := range next {
				name := bugs[i].Name
				if caught[i] = again(t, name, known[name], suites); caught[i].suite == "" {
					caught[i] = hunt(t, name, at[name][0], suites)
				}
				caught[i].simulated = free.simulate(name, known[name])
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
	if *record {
		save(t, on, known, bugs, caught)
	}
}

// commit names what is tested, for the record; "-dirty" behind it says that files were changed since.
func commit(t *testing.T) string {
	if !*record {
		return ""
	}
	cmd := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("git describe: ", err)
	}
	return strings.TrimSpace(string(out))
}

// verdict is what became of one bug.
type verdict struct {
	suite, test string // "": no suite caught it
	how         string
	after       time.Duration // of that test, or of its suite where nothing was known
	simulated   *simulated
}

const head = "| bug | the mistake | caught by | after | caught in simulation by |\n|---|---|---|---|---|\n"

func (v *verdict) row(b fault.Bug) string {
	by, after := fmt.Sprintf("`%s` %s%s", v.suite, v.test, v.how), fmt.Sprintf("%.1f s", v.after.Seconds())
	if v.suite == "" {
		by, after = "**missed**", ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", b.Name, b.Mistake, by, after, v.simulated)
}

// document is node/sim/PLANTED.md.
const document = `# Planted bugs

%d mistakes that the tag "planted" compiles into the product, one at a time (node/fault/bugs.go), and what fails on each. %d are missed, %d are caught
in simulation. All of this file is written, at commit %s, by

    go test ./node/sim/planted -tags planted -run TestPlanted -timeout 0 -v -record

Each bug meets the test that caught it when it was last recorded (planted/testdata/sightings). If that is silent now, or there is none, it meets the tests of its own package, then
those of every package that links it, small ones first, until one fails and fails again by itself; each suite passes first with the tag and no bug. Then whole nodes run in
simulation, in the family that caught the bug when it was last recorded, seed by seed from the first until one fails ("after 3 seeds": the third did). What fails has to pass without the
bug. -search looks in all families (or -families) for the bugs that no seed has caught yet, with so many seeds as -seeds says; with -bug NAME,… -record keeps what caught these and leaves
this table alone. Some never will be: what a family doesn't do (found a cluster under faults, conditions) has tests that go for it. Times are those of a shared machine.

%s%s`

func report(t *testing.T, bugs []fault.Bug, caught []verdict) {
	missed, bySeeds := summary(caught)
	for i := range bugs {
		if caught[i].missed() {
			t.Errorf("%s: nothing caught it", bugs[i].Name)
		}
	}
	fmt.Printf("\n%d of %d planted bugs caught, %d missed; %d in simulation\n", len(bugs)-missed, len(bugs), missed, bySeeds)
}

func (v *verdict) missed() bool { return v.suite == "" && v.simulated.why == "" }

func summary(caught []verdict) (missed, bySeeds int) {
	for i := range caught {
		if caught[i].missed() {
			missed++
		}
		if caught[i].simulated.why != "" {
			bySeeds++
		}
	}
	return missed, bySeeds
}

// save writes the sightings, and the document unless -bug chose some: a table of those would pass for one of all.
func save(t *testing.T, on string, now map[string]sighting, bugs []fault.Bug, caught []verdict) {
	var table strings.Builder
	for i := range bugs {
		table.WriteString(caught[i].row(bugs[i]))
		k := caught[i].simulated.sighting
		k.suite, k.test = caught[i].suite, top(caught[i].test)
		now[bugs[i].Name] = k
	}
	if err := writeSightings(now); err != nil {
		t.Error(err)
	}
	if len(bugs) != len(fault.Bugs) {
		return
	}
	missed, bySeeds := summary(caught)
	text := fmt.Sprintf(document, len(bugs), missed, bySeeds, on, head, table.String())
	if err := os.WriteFile(root+"/node/sim/PLANTED.md", []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// top is a test without its subtests, and alone matches just that.
func top(test string) string   { name, _, _ := strings.Cut(test, "/"); return name }
func alone(test string) string { return "^" + top(test) + "$" }

// again runs the test that caught a bug when it was last recorded: it has to fail, and to pass without the bug.
func again(t *testing.T, bug string, known sighting, suites []*suite) (v verdict) {
	i := slices.IndexFunc(suites, func(s *suite) bool { return s.folder == known.suite })
	if i < 0 {
		return v
	}
	if err := suites[i].compiled(); err != nil {
		t.Error(err)
		return v
	}
	o := suites[i].run(bug, alone(known.test))
	if o.test == "" || suites[i].run("", alone(known.test)).test != "" {
		return v
	}
	return verdict{suite: known.suite, test: o.test, how: o.how, after: o.took}
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
			if again, control := s.run(bug, alone(o.test)), s.run("", alone(o.test)); again.test == "" || control.test != "" {
				fmt.Printf("(%s: %s of %s failed once; again with the bug: %q, without: %q)\n", bug, o.test, s.folder, again.test, control.test)
				continue
			}
			v.suite, v.test, v.how, v.after = s.folder, o.test, o.how, o.took
			return v
		}
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
