package check

import (
	"fmt"
	"slices"
	"testing"
)

func TestEdgesJudge(t *testing.T) {
	var all []string
	for p := range edgePartitions {
		all = append(all, wantEdge(p)...)
	}
	without := func(row string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == row })
	}
	for _, tc := range []struct {
		name string
		rows []string
		want string
	}{
		{"the stable rows", all, ""},
		{"with a row that comes and goes", append(slices.Clone(all), "3|3|1|-1"), ""},
		{"statics alone are missing", without("1|1|null|null"), "lost"},
		{"a row is missing", without("3|3|2|3"), "lost"},
		{"statics alone twice", append(slices.Clone(all), "1|1|null|null"), "twice"},
		{"statics alone, of a partition with rows", append(slices.Clone(all), "3|3|null|null"), "invented"},
		{"a row where none was written", append(slices.Clone(all), "1|1|1|-1"), "invented"},
	} {
		if got, why := judgeEdges(tc.rows); got != tc.want {
			t.Errorf("%s: %q (%s), want %q", tc.name, got, why, tc.want)
		}
	}
}

func TestGravesJudge(t *testing.T) {
	judge(t, []judged{
		{"nothing", func(s *Suite) { newGraves(s).judge(7, nil) }, ""},
		{"the static is left", func(s *Suite) { newGraves(s).judge(7, []string{"7|null|null"}) }, "undead"},
	})
}

func TestBulkJudge(t *testing.T) {
	with := func(s *Suite, from, to int, issued ...Outcome) {
		w := newBulk(s)
		w.issued[1] = issued
		var rows []string
		for c := from; c < to; c++ {
			rows = append(rows, fmt.Sprintf("%d|%d", c, c/bulkRows))
		}
		w.judge(1, 0, rows)
	}
	judge(t, []judged{
		{"all there", func(s *Suite) { with(s, 0, 2*bulkRows, Done, Done) }, ""},
		{"unknown, there", func(s *Suite) { with(s, 0, 2*bulkRows, Done, Unknown) }, ""},
		{"unknown, not there", func(s *Suite) { with(s, 0, bulkRows, Done, Unknown) }, ""},
		{"lost", func(s *Suite) { with(s, 0, bulkRows, Done, Done) }, "lost"},
		{"half of one", func(s *Suite) { with(s, 0, bulkRows+1, Done, Unknown) }, "torn"},
		{"refused, there", func(s *Suite) { with(s, 0, 2*bulkRows, Done, Refused) }, "refused"},
		{"never written", func(s *Suite) { with(s, 0, 2*bulkRows, Done) }, "invented"},
	})
}
