package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/query/wire"
)

func TestOutcomeOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Outcome
	}{
		{nil, Done}, {errors.New("connection reset"), Unknown}, {context.DeadlineExceeded, Unknown},
		{wire.Errorf(wire.CodeUnavailable, ""), Refused}, {wire.Errorf(wire.CodeOverloaded, ""), Refused}, {wire.Errorf(wire.CodeAlreadyExists, ""), Refused},
		{wire.Errorf(wire.CodeWriteTimeout, ""), Unknown}, {wire.Errorf(wire.CodeWriteFailure, ""), Unknown}, {wire.Errorf(wire.CodeServer, ""), Unknown},
	} {
		if got := OutcomeOf(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}

// liar is a client that acknowledges everything, after a while, and keeps nothing.
type liar struct{ delay time.Duration }

func (l liar) Run(_ context.Context, s *Statement) Result {
	time.Sleep(l.delay + time.Duration(len(s.CQL))*time.Microsecond + 1)
	return Result{}
}

// play runs a whole suite against liars in virtual time.
func play(t *testing.T, seed uint64) (hash string, found []Violation) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Seed: seed, Think: 10 * time.Millisecond, Steps: 150, Reread: true, Workloads: append(Names(), AskedFor()...)})
		clients := []Client{liar{time.Millisecond}, liar{2 * time.Millisecond}, liar{3 * time.Millisecond}}
		if err := s.Setup(t.Context(), clients[0]); err != nil {
			t.Fatal(err)
		}
		s.Run(t.Context(), clients)
		found = s.Check(t.Context(), clients[0])
		hash = s.History().Hash()
	})
	return hash, found
}

// TestNothingKept: a cluster that acknowledges and keeps nothing is caught by every workload, and a violation shows what happened to the key.
func TestNothingKept(t *testing.T) {
	_, found := play(t, 1)
	caught := map[string]string{}
	for _, v := range found {
		caught[v.Workload] = v.Text
	}
	for _, name := range slices.DeleteFunc(append(Names(), AskedFor()...), func(name string) bool { return name == "graves" }) { // there nothing is what has to be
		if caught[name] == "" {
			t.Errorf("%s found nothing wrong", name)
		}
	}
	if text := caught["registers"]; !strings.Contains(text, "UPDATE check.registers SET n = ") || !strings.Contains(text, "done") {
		t.Errorf("the violation doesn't show the key's history: %s", text)
	}
}

// TestASeedIsAHistory: in virtual time the same seed asks the same at the same moments.
func TestASeedIsAHistory(t *testing.T) {
	one, _ := play(t, 7)
	again, _ := play(t, 7)
	other, _ := play(t, 8)
	if one != again || one == other {
		t.Errorf("seed 7: %s and %s; seed 8: %s", one, again, other)
	}
}

// rules plays a judge on a fresh suite and gives the rules that were broken, in order.
func rules(play func(s *Suite)) string {
	s := New(Options{})
	play(s)
	var out []string
	for _, v := range s.mu.violations {
		out = append(out, v.Rule)
	}
	return strings.Join(out, " ")
}

// judged is one hand-made history, and the rules that it breaks: none if it must be accepted.
type judged struct {
	name string
	play func(s *Suite)
	want string
}

func judge(t *testing.T, table []judged) {
	t.Helper()
	for _, tc := range table {
		if got := rules(tc.play); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRegistersJudge(t *testing.T) {
	two := func(s *Suite) (*registers, *versions) { // 1 and 2 of key 9, acknowledged
		v := newVersions(9)
		v.wrote(v.next(), Done)
		v.wrote(v.next(), Done)
		return newRegisters(s, "registers", ""), v
	}
	judge(t, []judged{
		{"the last", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), []string{"2|value 2 of 9"}) }, ""},
		{"the first", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), []string{"1|value 1 of 9"}) }, "stale"},
		{"none", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), nil) }, "stale"},
		{"two rows", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), []string{"2|value 2 of 9", "2|value 2 of 9"}) }, "invented"},
		{"cells of two writes", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), []string{"2|value 1 of 9"}) }, "invented"},
		{"another key's", func(s *Suite) { w, v := two(s); w.judge(v, v.begin(), []string{"2|value 2 of 8"}) }, "invented"},
	})
}

func TestAppendsJudge(t *testing.T) {
	with := func(s *Suite, o ...Outcome) *appends {
		w := newAppends(s)
		w.issued[1] = o
		return w
	}
	row := func(n int) string {
		return []string{"1|0|row 0 of session 1", "1|1|row 1 of session 1", "1|2|row 2 of session 1"}[n]
	}
	judge(t, []judged{
		{"all there", func(s *Suite) { with(s, Done, Done).judge(1, 0, 2, []string{row(0), row(1)}) }, ""},
		{"unknown there", func(s *Suite) { with(s, Done, Unknown).judge(1, 0, 2, []string{row(0), row(1)}) }, ""},
		{"unknown not there", func(s *Suite) { with(s, Done, Unknown).judge(1, 0, 2, []string{row(0)}) }, ""},
		{"lost", func(s *Suite) { with(s, Done, Done).judge(1, 0, 2, []string{row(0)}) }, "lost"},
		{"refused there", func(s *Suite) { with(s, Done, Refused).judge(1, 0, 2, []string{row(0), row(1)}) }, "refused"},
		{"never written", func(s *Suite) { with(s, Done, Done).judge(1, 0, 2, []string{row(0), row(1), row(2)}) }, "invented"},
		{"another text", func(s *Suite) { with(s, Done).judge(1, 0, 1, []string{"1|0|row 9 of session 1"}) }, "invented lost"},
		{"twice", func(s *Suite) { with(s, Done).judge(1, 0, 1, []string{row(0), row(0)}) }, "twice"},
	})
}

func TestBatchesJudge(t *testing.T) {
	two := func(s *Suite, rows ...string) {
		v := newVersions(3)
		v.wrote(v.next(), Done)
		v.wrote(v.next(), Unknown)
		newBatches(s).judge(v, v.begin(), rows)
	}
	first, second := wantBatch(1), wantBatch(2)
	if len(first) != batchRows+1 || len(second) != batchRows {
		t.Fatalf("%q, %q", first, second)
	}
	judge(t, []judged{
		{"the acknowledged one", func(s *Suite) { two(s, first...) }, ""},
		{"the unknown one", func(s *Suite) { two(s, second...) }, ""},
		{"none", func(s *Suite) { two(s) }, "stale"},
		{"half of each", func(s *Suite) { two(s, append(second[:2:2], first[2:]...)...) }, "torn"},
		{"a row is missing", func(s *Suite) { two(s, second[1:]...) }, "torn"},
		{"the row that the second deletes is there", func(s *Suite) { two(s, append(second[:batchRows:batchRows], "5|1")...) }, "torn"},
	})
}

func TestLoggedJudge(t *testing.T) {
	last := func(numbers ...string) func(s *Suite) { // what each partition of a group gives in the end
		return func(s *Suite) {
			w := newLogged(s)
			writer, reader := newSession(s, 0), newSession(s, 1)
			for _, o := range []Outcome{Done, Unknown, Refused} {
				for p := range w.parts {
					v := w.parts[p].own(writer)
					w.parts[p].wrote(writer, v, v.next(), o)
				}
			}
			reader.clients = []Client{table{numbers}}
			w.final(context.Background(), reader)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		judge(t, []judged{
			{"the acknowledged one", last("1", "1", "1"), ""},
			{"the unknown one, whole", last("2", "2", "2"), ""},
			{"the unknown one, in part", last("2", "1", "2"), "torn"},
			{"none", last("", "", ""), "stale stale stale"},
			{"the refused one", last("3", "3", "3"), "refused refused refused"},
		})
	})
}

// table is a client that gives each of the partitions of a group one number.
type table struct{ numbers []string }

func (c table) Run(_ context.Context, s *Statement) Result {
	p := loggedParts - 1
	if i := strings.Index(s.CQL, " AND p = "); i >= 0 {
		p = int(s.CQL[len(s.CQL)-1] - '0')
	}
	if c.numbers[p] == "" {
		return Result{}
	}
	return Result{Rows: []string{c.numbers[p]}}
}

func TestCollectionsJudge(t *testing.T) {
	one, two, three := element(0, 1), element(1, 1), element(2, 1)
	with := func(s *Suite, rows ...string) {
		w := newCollections(s)
		for session := range w.count {
			w.count[session] = 3
		}
		w.note(one, Done)
		w.note(two, Unknown)
		w.note(three, Refused)
		w.judge(0, w.acked(0), rows)
	}
	judge(t, []judged{
		{"acknowledged", func(s *Suite) { with(s, "{1}|{1: 2}") }, ""},
		{"with the unknown", func(s *Suite) { with(s, "{1, 100001}|{1: 2, 100001: 100002}") }, ""},
		{"no row", func(s *Suite) { with(s) }, "lost lost"},
		{"not in the map", func(s *Suite) { with(s, "{1}|null") }, "lost"},
		{"refused", func(s *Suite) { with(s, "{1, 200001}|{1: 2}") }, "refused"},
		{"never added", func(s *Suite) { with(s, "{1, 4}|{1: 2}") }, "invented"},
		{"another value", func(s *Suite) { with(s, "{1}|{1: 3}") }, "invented"},
		{"twice", func(s *Suite) { with(s, "{1, 1}|{1: 2}") }, "twice"},
	})
}
