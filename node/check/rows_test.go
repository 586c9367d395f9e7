package check

import (
	"strconv"
	"testing"
	"time"
)

func TestDeletesExplain(t *testing.T) {
	insert := func(c, n int) op { return op{kind: opInsert, c: c, n: n} }
	for _, tc := range []struct {
		name string
		play func(p *partition)
		read []string
		ok   bool
	}{
		{"nothing", func(*partition) {}, nil, true},
		{"a row", func(p *partition) { p.wrote(insert(1, 1), Done) }, []string{"1|1|1"}, true},
		{"a row is lost", func(p *partition) { p.wrote(insert(1, 1), Done) }, nil, false},
		{"a deleted row", func(p *partition) { p.wrote(insert(1, 1), Done); p.wrote(op{kind: opDeleteRow, c: 1}, Done) }, nil, true},
		{"a deleted row is back", func(p *partition) { p.wrote(insert(1, 1), Done); p.wrote(op{kind: opDeleteRow, c: 1}, Done) }, []string{"1|1|1"}, false},
		{"written again", func(p *partition) {
			p.wrote(insert(1, 1), Done)
			p.wrote(op{kind: opDeleteRow, c: 1}, Done)
			p.wrote(op{kind: opInsertA, c: 1, n: 3}, Done)
		}, []string{"1|3|null"}, true},
		{"written again, with a cell from before", func(p *partition) {
			p.wrote(insert(1, 1), Done)
			p.wrote(op{kind: opDeleteRow, c: 1}, Done)
			p.wrote(op{kind: opInsertA, c: 1, n: 3}, Done)
		}, []string{"1|3|1"}, false},
		{"an unknown delete took effect", func(p *partition) { p.wrote(insert(1, 1), Done); p.wrote(op{kind: opDeletePartition}, Unknown) }, nil, true},
		{"an unknown delete did not", func(p *partition) { p.wrote(insert(1, 1), Done); p.wrote(op{kind: opDeletePartition}, Unknown) }, []string{"1|1|1"}, true},
		{"an unknown range delete did half", func(p *partition) {
			p.wrote(insert(1, 1), Done)
			p.wrote(insert(2, 2), Done)
			p.wrote(op{kind: opDeleteRange, c: 1, to: 3}, Unknown)
		}, []string{"2|2|2"}, false},
		{"a late unknown write is older than the delete", func(p *partition) { p.wrote(insert(1, 1), Unknown); p.wrote(op{kind: opDeleteRow, c: 1}, Done) },
			[]string{"1|1|1"}, false},
		{"of two unknown writes the older", func(p *partition) { p.wrote(insert(1, 1), Unknown); p.wrote(insert(1, 2), Unknown) }, []string{"1|1|1"}, true},
		{"a range ends before its end", func(p *partition) {
			p.wrote(insert(2, 1), Done)
			p.wrote(insert(3, 2), Done)
			p.wrote(op{kind: opDeleteRange, c: 1, to: 3}, Done)
		}, []string{"3|2|2"}, true},
		{"a refused write", func(p *partition) { p.wrote(insert(1, 1), Refused) }, []string{"1|1|1"}, false},
		{"a cell deleted", func(p *partition) { p.wrote(insert(1, 1), Done); p.wrote(op{kind: opDeleteCell, c: 1}, Done) }, []string{"1|null|1"}, true},
		{"only a cell, deleted with nothing else", func(p *partition) {
			p.wrote(op{kind: opUpdateB, c: 1, n: 4}, Done)
			p.wrote(op{kind: opDeleteRow, c: 1}, Done)
		}, nil, true},
		{"a row marker alone", func(p *partition) {
			p.wrote(op{kind: opInsertA, c: 0, n: 1}, Done)
			p.wrote(op{kind: opDeleteCell, c: 0}, Done)
		}, []string{"0|null|null"}, true},
	} {
		p := &partition{}
		tc.play(p)
		if got := p.explains(tc.read); got != tc.ok {
			t.Errorf("%s: %q explained: %v, want %v; %s", tc.name, tc.read, got, tc.ok, p.account())
		}
	}
}

func TestStaticsRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		rows []string
		n    int
		ok   bool
	}{
		{"nothing", nil, 0, true},
		{"the static alone", []string{"4|null|null"}, 4, true},
		{"with its row", []string{"2|2|2"}, 2, true},
		{"with older rows", []string{"5|1|1", "5|2|5"}, 5, true},
		{"alone, with older rows", []string{"8|1|7", "8|2|5"}, 8, true},
		{"without its row", []string{"5|1|1"}, 0, false},
		{"its row is an older one", []string{"5|2|2"}, 0, false},
		{"two values", []string{"4|1|1", "5|2|5"}, 0, false},
		{"a newer row", []string{"4|2|5"}, 0, false},
		{"a row that nobody wrote", []string{"5|1|5"}, 0, false},
	} {
		n, why := readStatic(tc.rows)
		if (why == "") != tc.ok || tc.ok && n != tc.n {
			t.Errorf("%s: %d, %q", tc.name, n, why)
		}
	}
}

func TestExpiryJudge(t *testing.T) {
	with := func(s *Suite, o Outcome, began, ended time.Duration, rows ...string) {
		w := newExpiry(s)
		w.rows[0] = []mortal{{outcome: o, live: 10, death: 20}}
		w.judge(0, 0, began, ended, rows)
	}
	judge(t, []judged{
		{"alive", func(s *Suite) { with(s, Done, 5, 9, "0|0") }, ""},
		{"gone too early", func(s *Suite) { with(s, Done, 5, 9) }, "lost"},
		{"between, there", func(s *Suite) { with(s, Done, 9, 11, "0|0") }, ""},
		{"between, gone", func(s *Suite) { with(s, Done, 9, 11) }, ""},
		{"gone", func(s *Suite) { with(s, Done, 21, 22) }, ""},
		{"there for too long", func(s *Suite) { with(s, Done, 21, 22, "0|0") }, "undead"},
		{"unknown, there", func(s *Suite) { with(s, Unknown, 21, 22, "0|0") }, ""},
		{"unknown, never there", func(s *Suite) { with(s, Unknown, 5, 9) }, ""},
		{"refused, there", func(s *Suite) { with(s, Refused, 5, 9, "0|0") }, "refused"},
		{"another", func(s *Suite) { with(s, Done, 5, 9, "0|0", "1|1") }, "invented"},
	})
}

func TestScansJudge(t *testing.T) {
	var all []string
	for p := range 2 {
		for i := range stableRows {
			all = append(all, stable(p, i))
		}
	}
	without := append(append([]string(nil), all[:7]...), all[8:]...)
	for _, tc := range []struct {
		name string
		rows []string
		want string
	}{
		{"all", all, ""},
		{"with rows that come and go", append([]string{"0|1|-1", "1|7|-1"}, all...), ""},
		{"one is missing", without, "lost"},
		{"one twice", append([]string{all[3]}, all...), "twice"},
		{"one twice instead of another", append([]string{all[3]}, without...), "twice"},
		{"a row that comes and goes, twice", append([]string{"0|1|-1", "0|1|-1"}, all...), "twice"},
		{"another partition's", append([]string{stable(2, 0)}, all...), "invented"},
		{"another value", append([]string{"0|1|5"}, all...), "invented"},
	} {
		if rule, why := judgeScan(0, 2, tc.rows); rule != tc.want {
			t.Errorf("%s: %q (%s), want %q", tc.name, rule, why, tc.want)
		}
	}
}

func TestTiesExplain(t *testing.T) {
	last := tieRange - 1 // b is last minus a
	rows := func(a, b int) []string { return []string{itoa(a) + "|" + itoa(b)} }
	for _, tc := range []struct {
		name   string
		writes []tied
		rows   []string
		ok     bool
	}{
		{"none", nil, nil, true},
		{"one", []tied{{value: 5}}, rows(5, last-5), true},
		{"the larger value of each cell", []tied{{value: 5}, {value: 7}}, rows(7, last-5), true},
		{"the row of the larger a", []tied{{value: 5}, {value: 7}}, rows(7, last-7), false},
		{"the smaller", []tied{{value: 5}, {value: 7}}, rows(5, last-5), false},
		{"none of them", []tied{{value: 5}, {value: 7}}, nil, false},
		{"a later timestamp wins over a larger value", []tied{{value: 7}, {level: 1, value: 5}}, rows(5, last-5), true},
		{"a later timestamp loses", []tied{{value: 7}, {level: 1, value: 5}}, rows(7, last-7), false},
		{"a tombstone wins", []tied{{value: 7}, {gone: true}}, nil, true},
		{"a tombstone loses", []tied{{value: 7}, {gone: true}}, rows(7, last-7), false},
		{"an older tombstone", []tied{{gone: true}, {level: 1, value: 7}}, rows(7, last-7), true},
		{"an unknown write took effect", []tied{{value: 5}, {value: 7, outcome: Unknown}}, rows(7, last-5), true},
		{"an unknown write did not", []tied{{value: 5}, {value: 7, outcome: Unknown}}, rows(5, last-5), true},
		{"an unknown tombstone", []tied{{value: 5}, {gone: true, outcome: Unknown}}, nil, true},
		{"a refused write", []tied{{value: 5}, {value: 7, outcome: Refused}}, rows(7, last-5), false},
	} {
		if why := (&tie{writes: tc.writes}).explains(tc.rows, false); (why == "") != tc.ok {
			t.Errorf("%s: %s", tc.name, why)
		}
	}
}

func TestSchemasJudge(t *testing.T) {
	for _, tc := range []struct {
		name            string
		known           name
		before          string // what another node said of all
		tables, columns []string
		want            string
	}{
		{"made", name{done: 1, id: "7", columns: []string{"c"}}, "", []string{"t|7"}, []string{"t|c"}, ""},
		{"lost", name{done: 1}, "", nil, nil, "lost"},
		{"made by two", name{done: 2}, "", []string{"t|7"}, nil, "twice"},
		{"two ids", name{done: 1}, "", []string{"t|7", "t|8"}, nil, "twice"},
		{"another id", name{done: 1, id: "7"}, "", []string{"t|8"}, nil, "differs"},
		{"two names with one id", name{done: 1}, "", []string{"t|7", "u|7"}, nil, "twice"},
		{"unknown, there", name{unknown: 1}, "", []string{"t|7"}, nil, ""},
		{"unknown, not there", name{unknown: 1}, "", nil, nil, ""},
		{"refused, there", name{}, "", []string{"t|7"}, nil, "refused"},
		{"a column is lost", name{done: 1, columns: []string{"c"}}, "", []string{"t|7"}, []string{"t|k"}, "lost"},
		{"the same as before", name{done: 1}, "t|7\nt|k", []string{"t|7"}, []string{"t|k"}, ""},
		{"another than before", name{done: 1}, "t|7\nt|v", []string{"t|7"}, []string{"t|k"}, "differs"},
	} {
		w := newSchemas(New(Options{}))
		*w.known("t") = tc.known
		w.mu.first = tc.before
		rule := ""
		if wrong := w.judge(tc.tables, tc.columns); len(wrong) > 0 {
			rule = wrong[0][0]
		}
		if rule != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, rule, tc.want)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
