package check

import "testing"

// TestLoggedGroups: sessions that begin their groups at the same moment, in another order in each partition, leave groups of partitions that belong together. By the
// order in which they were made two whole groups looked torn: [39 40 40] and [40 39 39].
func TestLoggedGroups(t *testing.T) {
	w := newLogged(&Suite{o: Options{Sessions: 2}})
	sessions := []*Session{{id: 0}, {id: 1}}
	for p := range w.parts {
		for i := range sessions {
			w.parts[p].own(sessions[(i+p)%2])
		}
	}
	groups := w.groups()
	if len(groups) != len(sessions) {
		t.Fatalf("%d groups", len(groups))
	}
	for i, group := range groups {
		for p, v := range group {
			if want := i * keySpan; v.key != want {
				t.Errorf("group %d, partition %d: its key is %d, want %d", i, p, v.key, want)
			}
		}
	}
}
