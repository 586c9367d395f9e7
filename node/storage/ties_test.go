package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// tiedMutations all write row "k"/"c", its partition's header and a counter at one timestamp, each another way.
func tiedMutations() []row.Mutation {
	const ts = 10
	fragment := func(cells ...row.Cell) []byte {
		var b row.Builder
		for _, c := range cells {
			c.Timestamp = ts
			b.Add(c)
		}
		return b.Append(nil)
	}
	header := func(change func(*row.Header)) row.Mutation {
		h := row.EmptyHeader
		change(&h)
		return headerMutation(testTable, "k", h)
	}
	var rows []row.Mutation
	for _, f := range [][]byte{
		fragment(row.Cell{Column: row.Marker}),
		fragment(row.Cell{Column: 1, Value: []byte("a")}),
		fragment(row.Cell{Column: 1, Value: []byte("b")}, row.Cell{Column: 2, Kind: row.Tombstone}),
		fragment(row.Cell{Column: 1, Value: []byte("z"), Expiry: testNow + 5, TTL: 10}),
		fragment(row.Cell{Column: 1, Value: []byte("y"), Expiry: testNow + 9, TTL: 10}),
		fragment(row.Cell{Column: 2, Value: []byte("x")}, row.Cell{Column: 3, Path: []byte("p"), Value: []byte("1")}),
		fragment(row.Cell{Column: 3, Kind: row.ComplexTombstone}, row.Cell{Column: 3, Path: []byte("q"), Value: []byte("2")}),
	} {
		rows = append(rows, rowMutation(testTable, "k", "c", f))
	}
	return append(rows,
		header(func(h *row.Header) { h.Static = fragment(row.Cell{Column: 4, Value: []byte("s")}) }),
		header(func(h *row.Header) { h.Static = fragment(row.Cell{Column: 4, Value: []byte("t")}) }),
		header(func(h *row.Header) {
			h.Ranges = []row.RangeDeletion{{Start: []byte("d"), End: []byte("f"), Timestamp: ts}}
		}),
		header(func(h *row.Header) {
			h.Ranges = []row.RangeDeletion{{Start: []byte("e"), End: []byte("g"), Timestamp: ts}}
		}))
}

// TestEqualTimestamps (FAULTS row 18) applies the same writes of one timestamp in many orders, each often enough to be collapsed as a hot key, with flushes and compactions in
// between: all stores answer with identical bytes.
func TestEqualTimestamps(t *testing.T) {
	ms := tiedMutations()
	orders := max(40, *clones/20)
	rng := rand.New(rand.NewPCG(*seed, 18))
	var want []byte
	collapsed := int64(0)
	for n := range orders {
		e := openTest(t, disk.Crashable())
		order := rng.Perm(len(ms))
		var extra []int
		for range hotWrites * rng.IntN(3) { // the same again: idempotent, and hot
			extra = append(extra, rng.IntN(len(ms)))
		}
		for i, m := range append(order, extra...) {
			apply(t, e, ms[m])
			switch {
			case n%4 == 1 && i%5 == 4:
				check(t, e.db.Flush())
			case n%4 == 2 && i%7 == 6:
				check(t, e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false))
			}
		}
		spec := partition(testTable, "k")
		page, err := e.Read(context.Background(), &spec, nil)
		check(t, err)
		if want == nil {
			want = page
		}
		if !bytes.Equal(page, want) {
			t.Fatalf("seed %d, order %v then %v:\n got %q\nwant %q", *seed, order, extra, page, want)
		}
		collapsed += int64(len(extra) / hotWrites)
		check(t, e.Close())
	}
	if rows, _ := parsePage(t, want); len(rows) != 2 || fmt.Sprint(values(rows)) != "[k/c=y]" {
		t.Errorf("got %q", rows) // the later expiry wins over live, and over the larger value
	}
	reportRow(t, 18, "%d orders of %d writes of one timestamp, about %d collapses of hot keys: identical bytes", orders, len(ms), collapsed)
}
