//go:build planted

package planted

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nodedb/node/fault"
)

var (
	seeds    = flag.Int("seeds", 3, "seeds of each family of node/sim that look for a bug; 0: none")
	families = flag.String("families", "mixed,handoff,repair,power,crash-all,partition,lossy,ties,ddl,holder", "families of node/sim, in this order")
)

// seedLimit is when a seed counts as hung: a hundred times what one takes, on a machine that others use, too.
const seedLimit = 3 * time.Minute

// simulated is what the simulation made of one bug.
type simulated struct {
	family string // "": it was not caught
	seed   int
	why    string
	ran    int // seeds, the one that failed included
	took   time.Duration
}

func (s *simulated) String() string {
	switch {
	case s.family != "":
		return fmt.Sprintf("seed %d (%s, seed %d: %s), %.0f s", s.ran, s.family, s.seed, s.why, s.took.Seconds())
	case s.ran > 0:
		return fmt.Sprintf("not in %d seeds", s.ran)
	}
	return "not asked"
}

// simulate runs seeds of whole nodes with a bug until one fails that passes without it.
func simulate(s *suite, bug string, clean map[string]bool) (v simulated) {
	begun := time.Now()
	for _, family := range strings.Split(*families, ",") {
		for seed := 1; seed <= *seeds; seed++ {
			v.ran++
			why, ok := runSeed(s, bug, family, seed)
			if ok || clean[fmt.Sprint(family, seed)] {
				continue
			}
			v.family, v.seed, v.why, v.took = family, seed, why, time.Since(begun)
			return v
		}
	}
	return v
}

// failsClean gives the seeds that fail without a planted bug: they prove nothing.
func failsClean(s *suite) map[string]bool {
	bad := map[string]bool{}
	for _, family := range strings.Split(*families, ",") {
		for seed := 1; seed <= *seeds; seed++ {
			if why, ok := runSeed(s, "", family, seed); !ok {
				bad[fmt.Sprint(family, seed)] = true
				fmt.Printf("node/sim: %s seed %d fails without a planted bug: %s\n", family, seed, why)
			}
		}
	}
	return bad
}

// failure is a line of node/sim that says what a seed violated.
var failure = regexp.MustCompile(`^\s+sim_test\.go:\d+: \S+ seed \d+: (.*)`)

// maxWhy bounds the reason shown, in bytes.
const maxWhy = 70

// runSeed runs one seed; it ends the run at the first line that says what went wrong.
func runSeed(s *suite, bug, family string, seed int) (why string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), seedLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, "-test.v", "-test.run", "^TestSeeds$", "-test.timeout", "0", "-family", family, "-seeds", "1", "-seed", strconv.Itoa(seed))
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
