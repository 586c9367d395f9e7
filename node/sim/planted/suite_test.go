//go:build planted

package planted

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nodedb/node/fault"
)

// skipped are packages whose tests look at the source, or would run themselves.
var skipped = map[string]bool{"nodedb/node/house": true, "nodedb/node/sim/planted": true}

// suite is one package's tests, compiled with the tag.
type suite struct {
	folder, binary string
	links          map[string]bool // the packages that are linked in
	rapid          bool            // has pgregory.net/rapid's flags

	compiled func() error  // compiles it, when it is first needed
	ready    func() error  // runs it without a bug, which it has to pass, when it is first needed as a whole
	clean    time.Duration // what that took

	one sync.Mutex // real processes: one run at a time
}

// list finds the packages that have tests; nothing is compiled yet. sim is the one that takes seeds.
func list(t *testing.T) (suites []*suite, sim *suite) {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "planted", "-test", "-f", `{{.ImportPath}}	{{join .Deps " "}}`, "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.TempDir(), "nodedb-planted") // kept: linking is what takes longest, and most of it need not be done again
	for line := range strings.Lines(string(out)) {
		name, deps, _ := strings.Cut(strings.TrimSpace(line), "\t")
		path, isTest := strings.CutSuffix(name, ".test")
		if !isTest || skipped[path] {
			continue
		}
		folder := strings.TrimPrefix(path, "nodedb/")
		s := &suite{folder: folder, binary: filepath.Join(dir, strings.ReplaceAll(folder, "/", "-")), links: map[string]bool{}}
		s.compiled, s.ready = sync.OnceValue(s.build), sync.OnceValue(s.pass)
		for _, dep := range strings.Fields(deps) {
			s.links[dep] = true
		}
		s.links["nodedb/node"] = s.links["nodedb/node"] || folder == "node/e2e" // what it builds has all
		s.rapid = s.links["pgregory.net/rapid"]
		if folder == "node/sim" {
			sim = s
		} else {
			suites = append(suites, s)
		}
	}
	return suites, sim
}

// pass runs the suite without a bug.
func (s *suite) pass() error {
	if err := s.compiled(); err != nil {
		return err
	}
	o := s.run("", "")
	if s.clean = o.took; o.test != "" {
		return fmt.Errorf("%s fails without a planted bug: %s%s\n%s", s.folder, o.test, o.how, o.text)
	}
	fmt.Printf("(%s passes without a bug in %.1f s)\n", s.folder, s.clean.Seconds())
	return nil
}

func (s *suite) build() error {
	cmd := exec.Command("go", "test", "-c", "-tags", "planted", "-ldflags", "-s -w", "-o", s.binary, "./"+s.folder)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", s.folder, err, out)
	}
	return nil
}

// outcome of a run: test is the first that failed, "" if all passed.
type outcome struct {
	test, how string
	took      time.Duration
	text      string // the end of what it printed
}

// limit is when a run counts as hung: far beyond what it takes without a bug, on a machine that others use, too.
func (s *suite) limit() time.Duration { return 10*s.clean + 2*time.Minute }

// run runs the suite, or those of its tests that match, with one bug or none.
func (s *suite) run(bug, match string) outcome {
	limit := s.limit()
	args := []string{"-test.v", "-test.failfast", "-test.timeout", limit.String()}
	if s.rapid {
		args = append(args, "-rapid.nofailfile")
	}
	if match != "" {
		args = append(args, "-test.run", match)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir = filepath.Join(root, s.folder)
	cmd.Env = append(os.Environ(), fault.Environment+"="+bug)
	if s.folder == "node/e2e" { // it builds nodedb itself
		s.one.Lock()
		defer s.one.Unlock()
		cmd.Env = append(cmd.Env, "GOFLAGS="+os.Getenv("GOFLAGS")+" -tags=planted")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a hung run goes with all that it started
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	err := cmd.Run()
	o := outcome{took: time.Since(begun)}
	if err != nil {
		o.test, o.how = blame(out.String())
		o.text = out.String()[max(0, out.Len()-4000):]
	}
	return o
}

// blame finds the test that failed in what a run printed: the innermost that says so, or the one that ran when the process ended.
func blame(out string) (test, how string) {
	running := "(no test)"
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "=== RUN "); ok {
			running = strings.TrimSpace(name)
		}
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			if len(name) > len(test) {
				test = name
			}
		}
	}
	switch {
	case strings.Contains(out, "panic: test timed out"):
		return running, " (hung)"
	case test != "":
		return test, ""
	}
	return running, " (crashed)"
}
