//go:build planted

package planted

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"nodedb/node/fault"
)

var (
	seeds    = flag.Int("seeds", 2, "seeds of a family of node/sim that look for a bug; more where one of those behind caught it last")
	search   = flag.Bool("search", false, "look also for bugs that no seed has caught yet, in all families")
	families = flag.String("families", "", "families of node/sim that -search goes through; default all")
)

// seedLimit is when a seed counts as hung: a hundred times what one takes, on a machine that others use, too.
const seedLimit = 3 * time.Minute

// sightings keeps what the last run with -record learned, a line a bug: its name, the suite and the test that caught it ("-": none), and the family and seed
// that did, which is how many it took ("-", and how many seeds did not).
const sightings = "testdata/sightings"

// sighting is what earlier runs say of a bug.
type sighting struct {
	suite, test string // "": no suite has caught it
	family      string // "": no seed has caught it
	seed        int
	tried       int // seeds that did not
}

// nothing stands for an empty word.
const nothing = "-"

func readSightings() (map[string]sighting, error) {
	raw, err := os.ReadFile(sightings)
	if err != nil {
		return nil, err
	}
	known := map[string]sighting{}
	for line := range strings.Lines(string(raw)) {
		var bug string
		var k sighting
		if _, err := fmt.Sscan(line, &bug, &k.suite, &k.test, &k.family, &k.seed); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", sightings, line, err)
		}
		if k.suite == nothing {
			k.suite, k.test = "", ""
		}
		if k.family == nothing {
			k.family, k.seed, k.tried = "", 0, k.seed
		}
		known[bug] = k
	}
	return known, nil
}

func writeSightings(known map[string]sighting) error {
	var text strings.Builder
	for _, bug := range slices.Sorted(maps.Keys(known)) {
		k := known[bug]
		if k.family == "" {
			k.seed = k.tried
		}
		fmt.Fprintln(&text, bug, cmp.Or(k.suite, nothing), cmp.Or(k.test, nothing), cmp.Or(k.family, nothing), k.seed)
	}
	return os.WriteFile(sightings, []byte(text.String()), 0o644)
}

// place is one run of the simulation.
type place struct {
	family string
	seed   int
}

// places are where to look for a bug: the family that caught it, from its first seed on, so that the number of the one that catches it says how many it took; and
// those behind it, since a change of the product changes what a seed means. Then, if -search says so, other families.
func (k sighting) places(searched []string) (list []place) {
	through := func(family string, many int) {
		for seed := 1; seed <= many; seed++ {
			list = append(list, place{family, seed})
		}
	}
	if k.family != "" {
		through(k.family, max(*seeds, k.seed))
	}
	for _, family := range searched {
		if family != k.family {
			through(family, *seeds)
		}
	}
	return list
}

// toSearch gives the families that -search goes through, as the flags say.
func toSearch(sim *suite) ([]string, error) {
	switch {
	case !*search:
		return nil, nil
	case *families != "":
		return strings.Split(*families, ","), nil
	}
	out, err := exec.Command(sim.binary, "-family", "list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s -family list: %w", sim.folder, err)
	}
	return strings.Fields(string(out)), nil
}

// simulated is what the simulation made of one bug.
type simulated struct {
	sighting
	why  string        // "": known from earlier runs alone
	ran  int           // seeds, the one that failed included
	took time.Duration // by the seed that failed
}

func (s *simulated) String() string {
	switch {
	case s.why != "":
		return fmt.Sprintf("%s, after %s: %s, %.0f s", s.family, several(s.seed), s.why, s.took.Seconds())
	case s.family != "":
		return fmt.Sprintf("once by %s, seed %d; not in %d seeds now", s.family, s.seed, s.ran)
	case s.tried > 0:
		return fmt.Sprintf("not in %d seeds", s.tried)
	}
	return "not asked"
}

func several(seeds int) string {
	if seeds == 1 {
		return "1 seed"
	}
	return fmt.Sprintf("%d seeds", seeds)
}

// simulate runs seeds of whole nodes with a bug until one fails that passes without it.
func (c *control) simulate(bug string, known sighting) *simulated {
	v := &simulated{sighting: known}
	for _, p := range known.places(c.searched) {
		v.ran++
		begun := time.Now()
		why, ok := runSeed(c.sim, bug, p)
		took := time.Since(begun)
		if !ok && c.passes(p) {
			v.family, v.seed, v.tried, v.why, v.took = p.family, p.seed, 0, why, took
			return v
		}
	}
	v.tried = max(v.tried, v.ran)
	return v
}

// control runs seeds without a bug: those that fail then, too, prove nothing.
type control struct {
	sim      *suite
	searched []string // families, for bugs that no seed has caught
	mu       sync.Mutex
	ok       map[place]bool
}

func (c *control) passes(p place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok, asked := c.ok[p]
	if !asked {
		var why string
		if why, ok = runSeed(c.sim, "", p); !ok {
			fmt.Printf("(node/sim: %s seed %d fails without a planted bug: %s)\n", p.family, p.seed, why)
		}
		c.ok[p] = ok
	}
	return ok
}

// failure is a line of node/sim that says what a seed violated.
var failure = regexp.MustCompile(`^\s+sim_test\.go:\d+: \S+ seed \d+: (.*)`)

// maxWhy bounds the reason shown, in bytes.
const maxWhy = 70

// runSeed runs one seed; it ends the run at the first line that says what went wrong.
func runSeed(s *suite, bug string, p place) (why string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), seedLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, "-test.v", "-test.run", "^TestSeeds$", "-test.timeout", "0", "-family", p.family, "-seeds", "1", "-seed", strconv.Itoa(p.seed))
	cmd.Dir = filepath.Join(root, s.folder)
	cmd.Env = append(os.Environ(), fault.Environment+"="+bug)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err.Error(), false
	}
	lines, last := bufio.NewScanner(out), ""
	for lines.Scan() {
		line := lines.Text()
		if m := failure.FindStringSubmatch(line); m != nil && !strings.Contains(line, " virtual, ") && why == "" {
			why = m[1]
			cancel()
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "_test.go:") {
			last = strings.TrimSpace(line)
		}
	}
	err = cmd.Wait()
	switch {
	case why == "" && err == nil:
		return "", true
	case why == "" && ctx.Err() != nil:
		why = "hung"
	case why == "":
		why = last
	}
	why = strings.ReplaceAll(why, "|", "/")
	return why[:min(len(why), maxWhy)], false
}
