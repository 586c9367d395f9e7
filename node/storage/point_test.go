package storage

import (
	"cmp"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// TestPointsAreSought reads single rows by slices that hold one key each, forward and backward, on disk and in memory.
func TestPointsAreSought(t *testing.T) {
	for _, id := range []row.StorageID{testTable, memoryTable} {
		e := openTest(t, disk.Crashable())
		for _, c := range []string{"a", "b", "b\x01", "c"} {
			apply(t, e, insert(id, "k", c, 1, "v"+c))
		}
		for _, reverse := range []bool{false, true} {
			spec := partition(id, "k")
			spec.Reverse = reverse
			spec.Slices = []Slice{{[]byte("a"), []byte("a\x00")}, {[]byte("aa"), []byte("aa\x00")}, {[]byte("b"), []byte("b\x00")}, {[]byte("c"), []byte("c\x00")}}
			want := []string{"k/a=va", "k/b=vb", "k/c=vc"}
			if reverse {
				slices.Reverse(want)
			}
			if got := values(readAll(t, e, spec)); !slices.Equal(got, want) {
				t.Errorf("storage %d, reverse %v: %q, want %q", id, reverse, got, want)
			}
		}
		check(t, e.Close())
	}
}

// TestAPointReadDoesNotWalkAHotRowsVersions: the versions of a hot row that lie in memory are stepped over only by
// whoever goes on behind it.
func TestAPointReadDoesNotWalkAHotRowsVersions(t *testing.T) {
	e := openTest(t, disk.Crashable())
	for i := range int64(1000) {
		apply(t, e, insert(testTable, "k", "", i, "v"))
	}
	table := e.tables.Load().kinds[testTable]
	table.headers.Store(true) // else one row takes no iterator
	steps := func(points []Slice) int {
		spec := partition(testTable, "k")
		spec.Slices = points
		r := reader{ctx: t.Context(), spec: &spec}
		r.w.Reset(nil)
		r.setLimits()
		_, err := r.setBounds()
		check(t, err)
		check(t, r.open(e.db, table))
		check(t, r.readPartition(e.db, table))
		stats := r.disk.it.Stats()
		check(t, r.cur.close())
		return stats.ForwardStepCount[pebble.InternalIterCall]
	}
	if n := steps([]Slice{{[]byte{}, []byte{0}}}); n > 4*hotWrites {
		t.Errorf("a point read took %d steps inside the store", n)
	}
	if n := steps(nil); n < 900 {
		t.Errorf("a read to the partition's end took only %d steps: this test measures nothing", n)
	}
	check(t, e.Close())
}

// A read that leaves a partition early and ends inside another one goes on between them.
func TestReadHeadsUntilARow(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer e.Close()
	for _, key := range []string{"a", "b", "c"} {
		for _, c := range []string{"1", "2", "3"} {
			apply(t, e, insert(testTable, key, c, 5, "v"))
		}
	}
	keys := []string{"a", "b", "c"}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(tokenOf([]byte(a)), tokenOf([]byte(b))) })
	got := values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, NoRows: true, Now: testNow,
		Until: &row.Position{Token: tokenOf([]byte(keys[1])), Key: []byte(keys[1]), Clustering: []byte("2")}}))
	if want := []string{keys[0] + "/1=v", keys[1] + "/1=v"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
