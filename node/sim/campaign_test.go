package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"nodedb/node/check"
)

const (
	// workerMark begins a worker's line about a seed.
	workerMark = "SIM "
	// chunk is how many seeds a worker does before another process takes over.
	chunk = 10
	// seedTimeout is how long a seed may take in real time, on a busy machine, before it counts as hung.
	seedTimeout = 3 * time.Minute
	// shownOutput is how much of a worker's output is shown when it ended early, in bytes.
	shownOutput = 4000
	// shrinkRuns bounds the runs that shrink one failure, and shrinkSeeds how many failures are shrunk.
	shrinkRuns, shrinkSeeds = 24, 3
	progressEvery           = 10 * time.Second
)

// tally is what a campaign knows of one family.
type tally struct {
	reports []*report
	failed  []*report
}

// effort is a campaign.
type effort struct {
	begun time.Time
	total uint64
	mu    struct {
		sync.Mutex
		tallies map[string]*tally
		done    uint64
		said    time.Time
	}
}

// campaign runs seeds on all processors and prints a table; it returns the exit code.
func campaign() int {
	e := &effort{begun: time.Now(), total: *seeds * uint64(len(chosen()))}
	e.mu.tallies = map[string]*tally{}
	type job struct {
		family      *family
		first, many uint64
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range max(1, runtime.NumCPU()) {
		workers.Go(func() {
			for j := range jobs {
				e.add(j.family, runWorker(j.family.name, j.first, j.many, *drop, *steps))
			}
		})
	}
	for _, f := range chosen() {
		for s := *seed; s < *seed+*seeds; s += chunk {
			jobs <- job{f, s, min(chunk, *seed+*seeds-s)}
		}
	}
	close(jobs)
	workers.Wait()
	return e.summary()
}

// runWorker runs seeds in a process of their own. One that ends early gives its last seed as failed, with what it printed.
func runWorker(name string, first, many uint64, drop string, steps int) (list []*report) {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(many)*seedTimeout)
	defer cancel()
	err := startStill(ctx, []string{"-test.run=^TestSeeds$", "-test.timeout=0", "-worker", "-family", name, "-seed", fmt.Sprint(first), "-seeds", fmt.Sprint(many),
		"-twice", fmt.Sprint(*twice), "-drop", drop, "-steps", fmt.Sprint(steps)}, &out)
	for line := range strings.Lines(out.String()) {
		if text, ok := strings.CutPrefix(line, workerMark); ok {
			r := &report{}
			if json.Unmarshal([]byte(text), r) == nil {
				list = append(list, r)
			}
		}
	}
	if n := uint64(len(list)); n < many {
		text := out.String()
		list = append(list, &report{Family: name, Seed: first + n, Drop: drop, Steps: steps,
			Failures: []string{fmt.Sprintf("it ended early: %v\n%s", err, text[max(0, len(text)-shownOutput):])}})
		if n+1 < many {
			list = append(list, runWorker(name, first+n+1, many-n-1, drop, steps)...)
		}
	}
	return list
}

func (e *effort) add(f *family, list []*report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.mu.tallies[f.name]
	if t == nil {
		t = &tally{}
		e.mu.tallies[f.name] = t
	}
	t.reports = append(t.reports, list...)
	e.mu.done += uint64(len(list))
	for _, r := range list {
		if len(r.Failures) > 0 {
			t.failed = append(t.failed, r)
			fmt.Printf("FAILED %s seed %d: %s\n  repeat: %s\n", r.Family, r.Seed, strings.Join(r.Failures, "\n"), r.command())
		}
	}
	if time.Since(e.mu.said) > progressEvery {
		e.mu.said = time.Now()
		fmt.Printf("%s: %d of %d seeds, in %s\n", time.Since(e.begun).Round(time.Second), e.mu.done, e.total, f.name)
	}
}

// summary shrinks the first failures and prints the table.
func (e *effort) summary() (code int) {
	shrunk := 0
	for _, f := range chosen() {
		for _, r := range e.mu.tallies[f.name].failed {
			code = 1
			if shrunk++; shrunk <= shrinkSeeds {
				fmt.Printf("shrunk %s seed %d: %s\n", r.Family, r.Seed, shrink(r).command())
			}
		}
	}
	fmt.Println("\n| family | FAULTS | seeds | twice | seconds | CPU s | acked | refused | unknown | failed | met |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range chosen() {
		fmt.Println(e.mu.tallies[f.name].row(f))
	}
	for _, f := range chosen() {
		e.mu.tallies[f.name].rows(f)
	}
	fmt.Printf("%s in all\n", time.Since(e.begun).Round(time.Second))
	return code
}

// sums are the figures of a family's seeds.
type sums struct {
	acked, refused, unknown, again int
	seconds, cpu                   float64
	met                            string // the share of seeds that met each fault
}

func (t *tally) sums(f *family) (s sums) {
	met := map[kind]int{}
	for _, k := range f.meets {
		met[k] = 0 // to be shown if no seed met it
	}
	if f.watch {
		met[kindJudged] = 0
	}
	for _, r := range t.reports {
		s.acked, s.refused, s.unknown = s.acked+r.Acked, s.refused+r.Refused, s.unknown+r.Unknown
		s.seconds, s.cpu = s.seconds+r.Seconds, s.cpu+r.CPU
		if r.Twice {
			s.again++
		}
		for k := range r.Met {
			met[k]++
		}
	}
	var shares []string
	for k, n := range met {
		shares = append(shares, fmt.Sprintf("%s %d%%", k, 100*n/len(t.reports)))
	}
	slices.Sort(shares)
	s.met = strings.Join(shares, ", ")
	return s
}

// row is a family's line of the table.
func (t *tally) row(f *family) string {
	s := t.sums(f)
	return fmt.Sprintf("| %s | %s | %d | %d | %.0f | %.0f | %d | %d | %d | %d | %s |", f.name, f.row, len(t.reports), s.again, s.seconds, s.cpu, s.acked, s.refused,
		s.unknown, len(t.failed), s.met)
}

// rows prints the line that .ci/campaign gathers, for each of FAULTS.md's rows that the family is for: row, family, figures, verdict.
func (t *tally) rows(f *family) {
	s, verdict := t.sums(f), "ok"
	if len(t.failed) > 0 || len(t.reports) == 0 {
		verdict = "FAILED"
	}
	for number := range strings.SplitSeq(f.row, ", ") {
		fmt.Printf("row %s: sim/%s: %d seeds, %d of them twice, %d failed; %d acknowledged, %d refused, %d unknown; met %s; %.0f s of CPU: %s\n", number, f.name,
			len(t.reports), s.again, len(t.failed), s.acked, s.refused, s.unknown, s.met, s.cpu, verdict)
	}
}

// sortOf is what a failure is about, whatever keys, machines and times it names: of a violation workload and rule, else what stands before the colon.
func sortOf(failure string) string {
	what, more, _ := strings.Cut(failure, ": ")
	if slices.Contains(append(check.Names(), check.AskedFor()...), what) {
		rule, _, _ := strings.Cut(more, ": ")
		what += ": " + rule
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, what)
}

// alike reports whether a run failed in one of the ways in which another did.
func alike(r, other *report) bool {
	return slices.ContainsFunc(r.Failures, func(a string) bool {
		return slices.ContainsFunc(other.Failures, func(b string) bool { return sortOf(a) == sortOf(b) })
	})
}

// shrink leaves faults and operations out as long as a seed still fails in the same way.
func shrink(r *report) *report {
	best := r
	runs := 0
	try := func(drop string, steps int) bool {
		if runs++; runs > shrinkRuns {
			return false
		}
		next := runWorker(r.Family, r.Seed, 1, drop, steps)[0]
		if !alike(next, r) {
			return false
		}
		best = next
		return true
	}
	for i := range r.Faults {
		try(strings.Trim(best.Drop+","+fmt.Sprint(i), ","), best.Steps)
	}
	for n := 256; n > 1 && try(best.Drop, n); n /= 2 {
	}
	return best
}

// command repeats the run.
func (r *report) command() string {
	s := fmt.Sprintf("go test ./node/sim -run TestSeeds -timeout 0 -family %s -seed %d -seeds 1 -v", r.Family, r.Seed)
	if r.Drop != "" {
		s += " -drop " + r.Drop
	}
	if r.Steps > 0 {
		s += fmt.Sprintf(" -steps %d", r.Steps)
	}
	return s + " -story " + os.TempDir() + "/story"
}

// String is a run in one line.
func (r *report) String() string {
	return fmt.Sprintf("%s seed %d: %.2fs, %.2fs CPU, %v virtual, %d messages, %d acked (%d reads), %d refused, %d unknown, met %v, hash %x", r.Family, r.Seed, r.Seconds, r.CPU, r.Virtual,
		r.Messages, r.Acked, r.Reads, r.Refused, r.Unknown, r.Met, r.Hash)
}
