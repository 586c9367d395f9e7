package conform

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nodedb/node"
	"nodedb/node/config"
	"nodedb/node/disk"
)

var (
	record  = flag.Bool("record", false, "ask Cassandra (-peer) anew, and nodedb, and write testdata/conform")
	rewrite = flag.Bool("rewrite", false, "write nodedb's differing answers anew; a new difference is a mistake until somebody says why it is none")
	peer    = flag.String("peer", "127.0.0.1:9042", "where Cassandra 5.0.6 listens, for -record")
)

const folder = "../../testdata/conform"

// settings are the files that say how the node of a script is configured, by how the script's name begins. Cassandra reads the same lines.
var settings = map[string]string{"guardrails": folder + "/guardrails.yaml", "forbidden": folder + "/forbidden.yaml"}

// settingsOf gives a script's settings; "": those that nothing was said about.
func settingsOf(script string) string {
	kind, _, _ := strings.Cut(script, "_")
	return settings[kind]
}

// startNode runs a real node of a cluster of one with some settings, its disk in memory, and gives its CQL address.
func startNode(t *testing.T, settings string) string {
	t.Helper()
	c, err := config.Load(settings, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Data = fmt.Sprintf("127.45.%d.%d", 1+os.Getpid()%250, 1+len(settings)), "data"
	n, err := node.Start(t.Context(), node.Options{
		Config: c, FS: disk.Crashable(), Logger: slog.New(slog.DiscardHandler), Progress: func(string) {},
		Fatal: func(err error) { t.Errorf("the node stopped: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("%s:%d", c.Listen, c.NativeTransportPort)
}

// scripts are the names of all scripts, those made from tables too.
func scripts(t *testing.T) []string {
	files, err := filepath.Glob(folder + "/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".txt"))
	}
	for name := range Generated() {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// load reads a script. What comes from tables must be what was recorded, but when it is about to be.
func load(t *testing.T, name string) (steps []Step, file string) {
	t.Helper()
	file = filepath.Join(folder, name+".txt")
	text, err := os.ReadFile(file)
	if err != nil && !(*record && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	if steps, err = Parse(string(text)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	made, ok := Generated()[name]
	if ok && *record {
		return merge(made, steps), file
	}
	if ok && !slices.EqualFunc(made, steps, func(a, b Step) bool { return a.key() == b.key() }) {
		t.Fatalf("%s: the tables make other statements now: run go test ./query/conform -record -run 'Recorded/%s' -peer …", file, name)
	}
	return steps, file
}

// merge gives new steps the reasons that were found for the old ones.
func merge(steps, old []Step) []Step {
	reasons := map[string]string{}
	for i := range old {
		reasons[old[i].key()] = old[i].Reason
	}
	for i := range steps {
		steps[i].Reason = reasons[steps[i].key()]
	}
	return steps
}

// answers runs a script on a node that holds no keyspace but its own.
func answers(ctx context.Context, addr, name string, steps []Step) ([][]string, error) {
	r, err := NewRunner(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Wipe(ctx); err != nil {
		return nil, err
	}
	if err := r.Enter(ctx, name); err != nil {
		return nil, err
	}
	var all [][]string
	for i := range steps {
		a, err := r.Answer(ctx, &steps[i])
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// TestRecorded plays every script on a real node and holds its answers to those recorded from Cassandra, or to those that differ on purpose.
func TestRecorded(t *testing.T) {
	nodes := map[string]string{} // addresses, by settings
	var sum tally
	for _, name := range scripts(t) {
		addr, ok := nodes[settingsOf(name)]
		if !ok {
			addr = startNode(t, settingsOf(name))
			nodes[settingsOf(name)] = addr
		}
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			steps, file := load(t, name)
			if *record {
				all, err := answers(t.Context(), *peer, name, steps)
				if err != nil {
					t.Fatal(err)
				}
				for i := range steps {
					steps[i].Answer = all[i]
				}
			}
			all, err := answers(t.Context(), addr, name, steps)
			if err != nil {
				t.Fatal(err)
			}
			rows := map[string]bool{}
			for i := range steps {
				play(t, &steps[i], all[i], rows)
				if written(name, &steps[i]) {
					rows[keyOf(&steps[i])] = true
				}
			}
			one := count(steps)
			t.Logf("%s in %s", one, time.Since(began).Round(time.Millisecond))
			sum.add(one)
			if *record || *rewrite {
				if err := os.WriteFile(file, Append(nil, steps), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Logf("all: %s", sum)
}

// written says whether a step has written a row that reads otherwise on purpose.
func written(script string, s *Step) bool {
	if keyOf(s) == "" {
		return false
	}
	for _, e := range effects {
		if e.script.MatchString(script) && e.statement.MatchString(s.key()) {
			return true
		}
	}
	return s.Reason != "" && s.Reason != Words && s.Reason != Mistake
}

// play compares one answer with what was recorded; while recording, it corrects the record. rows are keys of rows that differ on purpose.
func play(t *testing.T, s *Step, got []string, rows map[string]bool) {
	verdict := Judge(s.Answer, got)
	reason := s.Reason
	switch {
	case verdict <= Placed:
		reason = ""
	case verdict == Worded:
		reason = Words
	case reason == "" || reason == Words || reason == Mistake:
		if reason = onPurpose(s, got); reason == "" && follows(s, got, rows) {
			reason = "follows"
		}
		if reason == "" {
			reason = Mistake
		}
	}
	if *record || *rewrite {
		s.Reason, s.Local = reason, nil
		if reason != "" {
			s.Local = got
		}
		return
	}
	want := s.Answer
	if s.Reason != "" {
		want = s.Local
	}
	if slices.Equal(want, got) || s.Reason == "" && verdict == Placed {
		return
	}
	t.Errorf("%s\n  got\n    %s\n  want (%s)\n    %s", s.Statement, strings.Join(got, "\n    "), s.Reason, strings.Join(want, "\n    "))
}

// tally counts the classes of a script's steps.
type tally struct {
	steps, same, worded, purpose, mistakes int
}

func (c *tally) add(o tally) {
	c.steps += o.steps
	c.same += o.same
	c.worded += o.worded
	c.purpose += o.purpose
	c.mistakes += o.mistakes
}

func (c tally) String() string {
	return fmt.Sprintf("%d statements: %d identical, %d in clearer words, %d different on purpose, %d by mistake", c.steps, c.same, c.worded, c.purpose, c.mistakes)
}

func count(steps []Step) tally {
	c := tally{steps: len(steps)}
	for i := range steps {
		switch steps[i].Reason {
		case "":
			c.same++
		case Words:
			c.worded++
		case Mistake:
			c.mistakes++
		default:
			c.purpose++
		}
	}
	return c
}

// TestScriptsReadBack: what is written is what is read, and each script has the form that recording gives it.
func TestScriptsReadBack(t *testing.T) {
	files, err := filepath.Glob(folder + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if !bytes.Equal(Append(nil, steps), text) && !*record {
			t.Errorf("%s: not as recording would write it", f)
		}
	}
}

// TestReasonsAreGiven: every difference on purpose is explained in query/CONFORMANCE.md, and nothing else is.
func TestReasonsAreGiven(t *testing.T) {
	text, err := os.ReadFile("../CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	_, list, _ := strings.Cut(string(text), "## Different on purpose")
	list, _, _ = strings.Cut(list, "\n## ")
	for line := range strings.Lines(list) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.Contains(cells[1], "`") {
			explained[strings.Trim(cells[1], " `")] = false
		}
	}
	for _, e := range effects {
		explained[e.reason] = true
	}
	for _, reason := range randomReasons {
		if _, ok := explained[reason]; !ok {
			t.Errorf("the reason %q is not in query/CONFORMANCE.md", reason)
		}
		explained[reason] = true
	}
	for _, name := range scripts(t) {
		steps, _ := load(t, name)
		for i := range steps {
			reason := steps[i].Reason
			if reason == "" || reason == Words || reason == Mistake {
				continue
			}
			if _, ok := explained[reason]; !ok {
				t.Errorf("%s: %s: the reason %q is not in query/CONFORMANCE.md", name, steps[i].Statement, reason)
			}
			explained[reason] = true
		}
	}
	for reason, used := range explained {
		if !used {
			t.Errorf("query/CONFORMANCE.md explains %q, which no script has", reason)
		}
	}
}

// TestSurvey: the survey in query/CONFORMANCE.md names scripts that exist, and leaves none out.
func TestSurvey(t *testing.T) {
	text, err := os.ReadFile("../CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	before, survey, _ := strings.Cut(string(text), "## Survey")
	_, beside, _ := strings.Cut(before, "## Protocol, clients and bad input")
	checkTests(t, beside)
	needed, named := map[string]bool{}, map[string]bool{} // needed: types_NAME doesn't stand for it
	for _, name := range scripts(t) {
		needed[name] = !strings.HasPrefix(name, "types_") || strings.Count(name, "_") > 1
	}
	for i, word := range strings.Split(survey, "`") {
		if i%2 == 0 || strings.ContainsAny(word, "./ ") || word == "types_NAME" || word == "-" {
			continue
		}
		if _, ok := needed[word]; !ok {
			t.Errorf("the survey names %q, which is no script", word)
		}
		named[word] = true
	}
	for name, need := range needed {
		if need && !named[name] {
			t.Errorf("the survey doesn't name the script %q", name)
		}
	}
}

// TestSystemViews: a node's own clients and settings are rows of system_views, in Cassandra's columns and under its names.
func TestSystemViews(t *testing.T) {
	r, err := NewRunner(t.Context(), startNode(t, settings["guardrails"]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Enter(t.Context(), "views"); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"SELECT address, connection_stage, driver_name, keyspace_name, protocol_version, request_count, ssl_enabled, username FROM system_views.clients",
			"system_views.clients: address inet | connection_stage text | driver_name text | keyspace_name text | protocol_version int | request_count bigint | ssl_enabled boolean | username text",
			"'127.0.0.1' | 'ready' | 'nodedb' | 'views' | 5 | 3 | false | 'anonymous'", "(1)"},
		{"SELECT value FROM system_views.settings WHERE name IN ('batch_size_warn_threshold', 'read_consistency_levels_warned', 'read_request_timeout')",
			"system_views.settings: value text", "'1KiB'", "'ALL'", "'5s'", "(3)"},
	} {
		statement, want := want[0], want[1:]
		got, err := r.Answer(t.Context(), &Step{Statement: statement})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n  got\n    %s\n  want\n    %s", statement, err, strings.Join(got, "\n    "), strings.Join(want, "\n    "))
		}
	}
}

// checkTests: the tests that a text names, as `FOLDER.TestName`, are there.
func checkTests(t *testing.T, text string) {
	t.Helper()
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		files, err := filepath.Glob("../../" + name[1] + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			source, err := os.ReadFile(file)
			return err == nil && bytes.Contains(source, []byte("\nfunc "+name[2]+"("))
		}) {
			t.Errorf("query/CONFORMANCE.md names %s.%s, which is no test", name[1], name[2])
		}
	}
}
