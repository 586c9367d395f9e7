package readrepair

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"nodedb/node/row"
	"nodedb/vnodes"

	"pgregory.net/rapid"
)

// The twin: replicas are maps of places, the request reads a list of all points there could be, and where one stops is an index in it.

type twinKey struct {
	token vnodes.Token
	key   string
}

// replica holds encoded headers and rows, as storage would.
type replica struct {
	headers map[twinKey][]byte
	rows    map[twinKey]map[string][]byte
}

func newReplica() *replica {
	return &replica{map[twinKey][]byte{}, map[twinKey]map[string][]byte{}}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func (r *replica) apply(m row.Mutation) {
	k := twinKey{m.Token, string(m.Key)}
	r.headers[k] = must(row.MergeHeaders(nil, r.headers[k], m.Header))
	if r.rows[k] == nil {
		r.rows[k] = map[string][]byte{}
	}
	for _, e := range m.Rows {
		r.rows[k][string(e.Clustering)] = must(row.Merge(nil, r.rows[k][string(e.Clustering)], e.Fragment))
	}
}

var (
	twinTokens      = []vnodes.Token{-5, 7}
	twinKeys        = []string{"a", "b"}
	twinClusterings = []string{"", "c", "cc", "d"}
)

// point is a place where a scan can stop. What lies before it was read.
type point struct {
	at         twinKey
	stop       row.Position
	header     bool   // the point stands right behind the partition's header
	behindRow  bool   // or right behind this row
	clustering string // of the row
}

// points lists the places of a scan in order.
func points(reverse bool) (all []point) {
	clusterings := slices.Clone(twinClusterings)
	if reverse {
		slices.Reverse(clusterings)
	}
	for _, token := range twinTokens {
		for _, key := range twinKeys {
			at := twinKey{token, key}
			position := row.Position{Token: token, Key: []byte(key)}
			all = append(all, point{at: at, stop: position})
			for i, clustering := range clusterings {
				position.Clustering, position.Inclusive = []byte(clustering), true
				all = append(all, point{at: at, stop: position, header: i == 0})
				position.Inclusive = false
				all = append(all, point{at: at, stop: position, behindRow: true, clustering: clustering})
			}
			all = append(all, point{at: at, stop: row.Position{Token: token, Key: []byte(key), Done: true}})
		}
		all = append(all, point{at: twinKey{token, "~"}, stop: row.Position{Token: token, Done: true}})
	}
	return all
}

// page reads the replica up to point number stop; len(points) is everything.
func (r *replica) page(reverse bool, stop int) []byte {
	all := points(reverse)
	var w row.PageWriter
	w.Reset(nil)
	header := row.EmptyHeader
	for i, p := range all {
		if i > stop {
			break
		}
		switch {
		case p.header:
			w.Partition(p.at.token, []byte(p.at.key), r.headers[p.at])
			header, _ = row.DecodeHeader(r.headers[p.at])
		case p.behindRow:
			w.Row([]byte(p.clustering), row.Shadow(nil, r.rows[p.at][p.clustering], header.Covering([]byte(p.clustering))))
		}
	}
	if stop < len(all) {
		return w.Finish(&all[stop].stop)
	}
	return w.Finish(nil)
}

func drawFragment(t *rapid.T) []byte {
	var b row.Builder
	if rapid.IntRange(0, 5).Draw(t, "row deletion") == 0 {
		b.Delete(rapid.Int64Range(1, 9).Draw(t, "row deleted at"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "cells") {
		c := row.Cell{
			Column:    row.ColumnID(rapid.IntRange(0, 3).Draw(t, "column")),
			Kind:      rapid.SampledFrom([]row.Kind{row.Live, row.Live, row.Tombstone, row.ComplexTombstone, row.Counter}).Draw(t, "kind"),
			Timestamp: rapid.Int64Range(1, 9).Draw(t, "timestamp"),
			Value:     []byte{byte(rapid.IntRange(0, 2).Draw(t, "value"))},
		}
		if c.Kind == row.Counter {
			c.Value = row.AppendShard(nil, row.Shard{Incarnation: rapid.Uint64Range(1, 2).Draw(t, "shard"), Clock: c.Timestamp})
		}
		b.Add(c)
	}
	return b.Append(nil)
}

func drawMutation(t *rapid.T) row.Mutation {
	m := row.Mutation{
		Storage: 3,
		Token:   rapid.SampledFrom(twinTokens).Draw(t, "token"),
		Key:     []byte(rapid.SampledFrom(twinKeys).Draw(t, "key")),
	}
	if rapid.IntRange(0, 3).Draw(t, "header") == 0 {
		h := row.Header{Deletion: rapid.SampledFrom([]int64{row.NoDeletion, row.NoDeletion, 2, 5}).Draw(t, "deletion")}
		if rapid.Bool().Draw(t, "range") {
			h.Ranges = []row.RangeDeletion{{
				Start:     []byte(rapid.SampledFrom(twinClusterings).Draw(t, "start")),
				End:       []byte(rapid.SampledFrom(twinClusterings).Draw(t, "end")),
				Timestamp: rapid.Int64Range(1, 9).Draw(t, "range at"),
			}}
		}
		if rapid.Bool().Draw(t, "static") {
			h.Static = drawFragment(t)
		}
		m.Header = h.Append(nil)
	}
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		m.Rows = append(m.Rows, row.Entry{Clustering: []byte(rapid.SampledFrom(twinClusterings).Draw(t, "clustering")), Fragment: drawFragment(t)})
	}
	return m
}

// cluster is replicas that each got a random part of the writes, and one that got all.
func drawCluster(t *rapid.T) (replicas []*replica, whole *replica) {
	whole = newReplica()
	for range rapid.IntRange(1, 5).Draw(t, "replicas") {
		replicas = append(replicas, newReplica())
	}
	for range rapid.IntRange(0, 8).Draw(t, "mutations") {
		m := drawMutation(t)
		if rapid.Bool().Draw(t, "everywhere") {
			for _, r := range replicas {
				r.apply(m)
			}
			whole.apply(m)
			continue
		}
		for i, r := range replicas {
			if rapid.Bool().Draw(t, fmt.Sprintf("to %d", i)) {
				r.apply(m)
				whole.apply(m)
			}
		}
	}
	return replicas, whole
}

// The merge is what one replica with all the writes would have answered, up to the lowest stop; a repair brings each replica to that
// page, and only who differs from it gets one.
func TestMergeAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reverse := rapid.Bool().Draw(t, "reverse")
		replicas, whole := drawCluster(t)
		end := len(points(reverse))
		lowest := end
		var pages [][]byte
		for _, r := range replicas {
			stop := end
			if rapid.Bool().Draw(t, "stops") {
				stop = rapid.IntRange(0, end-1).Draw(t, "stop")
			}
			lowest = min(lowest, stop)
			pages = append(pages, r.page(reverse, stop))
		}
		answer, err := Merge(3, pages, reverse)
		if err != nil {
			t.Fatal(err)
		}
		want := whole.page(reverse, lowest)
		if !bytes.Equal(answer.Page, want) {
			t.Fatalf("merged\n%swant\n%s", describe(answer.Page), describe(want))
		}
		for i, r := range replicas {
			agreed := bytes.Equal(r.page(reverse, lowest), want)
			if agreed != (len(answer.Repairs[i]) == 0) {
				t.Fatalf("replica %d: agreed %v, %d repairs", i, agreed, len(answer.Repairs[i]))
			}
			for _, m := range answer.Repairs[i] {
				decoded, rest, err := row.DecodeMutation(m.Append(nil))
				if err != nil || len(rest) > 0 || m.Storage != 3 {
					t.Fatalf("repair %+v: %v", m, err)
				}
				r.apply(decoded)
			}
			if got := r.page(reverse, lowest); !bytes.Equal(got, want) {
				t.Fatalf("replica %d after its repair\n%swant\n%s", i, describe(got), describe(want))
			}
		}
	})
}

// describe shows a page in words, for failures.
func describe(page []byte) (s string) {
	var r row.PageReader
	r.Reset(page)
	for {
		event, err := r.Next()
		switch {
		case err != nil:
			return s + err.Error()
		case event == row.PagePartition:
			s += fmt.Sprintf("partition %d %s header %x\n", r.Token, r.Key, r.HeaderBytes)
		case event == row.PageRow:
			s += fmt.Sprintf("  row %q %x\n", r.Clustering, []byte(r.Row))
		default:
			return s + fmt.Sprintf("stop %+v\n", r.Stop())
		}
	}
}

// Positions are in the order of the points they stand for, forward and reverse.
func TestComparePositions(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		all := points(reverse)
		for i := range all {
			for j := range all {
				got := order{reverse}.comparePositions(&all[i].stop, &all[j].stop)
				if (got < 0) != (i < j) || (got > 0) != (i > j) {
					t.Errorf("reverse %v: %+v and %+v compare as %d, want the order of %d and %d", reverse, all[i].stop, all[j].stop, got, i, j)
				}
			}
		}
	}
}

func onePartition(rows ...string) []byte {
	var b row.Builder
	b.Add(row.Cell{Timestamp: 5})
	fragment := b.Append(nil)
	var w row.PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("k"), nil)
	for _, r := range rows {
		w.Row([]byte(r), fragment)
	}
	return w.Finish(nil)
}

func TestMergeRefusesBadPages(t *testing.T) {
	good := onePartition("a", "b")
	twice := append(slices.Clone(good[:len(good)-1]), good[1:]...)
	for name, bad := range map[string][]byte{
		"rows out of order": onePartition("b", "a"),
		"one row twice":     onePartition("a", "a"),
		"partition twice":   twice,
		"cut":               good[:len(good)-1],
		"a row's own bytes": append(slices.Clone(good[:len(good)-2]), 7, 0),
	} {
		if _, err := Merge(1, [][]byte{good, bad}, false); !errors.Is(err, row.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

// Equal pages are the answer, byte for byte and without a copy.
func TestMergeOfEqualPages(t *testing.T) {
	page, same := onePartition("a", "b"), onePartition("a", "b")
	pages := [][]byte{page, same}
	answer, err := Merge(1, pages, false)
	if err != nil || &answer.Page[0] != &page[0] || len(answer.Repairs) != 2 || answer.Repairs[0] != nil || answer.Repairs[1] != nil {
		t.Errorf("got %+v, %v", answer, err)
	}
	if n := testing.AllocsPerRun(10, func() { Merge(1, pages, false) }); n > 2 {
		t.Errorf("%v allocations, want at most 2: the answer and its list of repairs", n)
	}
	if answer, err := Merge(1, nil, false); err != nil || len(answer.Page) != 0 || len(answer.Repairs) != 0 {
		t.Errorf("no pages: %+v, %v", answer, err)
	}
}

// A repair of one partition that outgrows MaxRepairBytes goes out in parts, all of which can be decoded.
func TestLargeRepairsAreSplit(t *testing.T) {
	var b row.Builder
	b.Add(row.Cell{Column: 1, Timestamp: 5, Value: make([]byte, 1<<20)})
	fragment := b.Append(nil)
	header := (&row.Header{Deletion: 3}).Append(nil)
	var w row.PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("k"), header)
	const rows = 9
	for i := range rows {
		w.Row([]byte{byte(i)}, fragment)
	}
	answer, err := Merge(1, [][]byte{w.Finish(nil), onePartition()}, false)
	if err != nil {
		t.Fatal(err)
	}
	got, headers := 0, 0
	for _, m := range answer.Repairs[1] {
		if m.Size() > MaxRepairBytes || m.CheckSize() != nil {
			t.Errorf("a repair of %d bytes, want at most %d", m.Size(), MaxRepairBytes)
		}
		got += len(m.Rows)
		if m.Header != nil {
			headers++
		}
	}
	if got != rows || headers != 1 || len(answer.Repairs[1]) != 3 || len(answer.Repairs[0]) != 0 {
		t.Errorf("%d rows and %d headers in %d repairs, want %d and 1 in 3", got, headers, len(answer.Repairs[1]), rows)
	}
}

// The hash covers content and stop, and its bytes are part of the protocol between versions: they are Murmur3's.
func TestDigest(t *testing.T) {
	page := onePartition("a")
	stopped, err := row.WithStop(slices.Clone(page), &row.Position{Token: 1, Done: true})
	if err != nil {
		t.Fatal(err)
	}
	if Digest(page) == Digest(stopped) || Digest(page) == Digest(onePartition("b")) || Digest(page) != Digest(onePartition("a")) {
		t.Error("digests do not tell pages apart")
	}
	const want = "029bbd41b3a7d8cb191dae486a901e5b" // both halves little-endian
	if got := fmt.Sprintf("%x", Digest([]byte("hello"))); got != want {
		t.Errorf("digest of hello is %s, want %s", got, want)
	}
}

// Who lacks only a deletion is sent only that: its rows follow from it.
func TestHeaderAloneRepairsCoveredRows(t *testing.T) {
	header := (&row.Header{Deletion: 9}).Append(nil)
	var w row.PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("k"), header)
	answer, err := Merge(1, [][]byte{w.Finish(nil), onePartition("a", "b")}, false)
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.Repairs[1]; len(r) != 1 || len(r[0].Rows) != 0 || !bytes.Equal(r[0].Header, header) {
		t.Errorf("repairs %+v, want the header alone", r)
	}

	// Half a row is covered: the merged row is what the replica has left of its own under the new header.
	var b row.Builder
	b.Add(row.Cell{Column: 1, Timestamp: 8})
	b.Add(row.Cell{Column: 2, Timestamp: 10})
	whole := b.Append(nil)
	var covered, uncovered row.PageWriter
	covered.Reset(nil)
	covered.Partition(1, []byte("k"), header)
	covered.Row([]byte("a"), row.Shadow(nil, whole, 9))
	uncovered.Reset(nil)
	uncovered.Partition(1, []byte("k"), nil)
	uncovered.Row([]byte("a"), whole)
	answer, err = Merge(1, [][]byte{covered.Finish(nil), uncovered.Finish(nil)}, false)
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.Repairs[1]; len(r) != 1 || len(r[0].Rows) != 0 || len(answer.Repairs[0]) != 0 {
		t.Errorf("repairs %+v, want the header alone for the second", answer.Repairs)
	}
}
