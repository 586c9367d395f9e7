package storage

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/vnodes"
)

func TestHotSlotsGoToTheMajority(t *testing.T) {
	var h hotKeys
	hot, cold := uint64(0x1111_0000_0100_0000), uint64(0x2222_0000_0100_0000) // one slot
	if (hot>>8)%hotSlots != (cold>>8)%hotSlots {
		t.Fatal("the two keys have different slots")
	}
	collapses := 0
	for i := range 300 {
		if h.count(hot) {
			collapses++
		}
		if i%3 == 0 && h.count(cold) {
			t.Error("the cold key was called hot")
		}
	}
	// Of 300 writes 100 are taken back: 200/16, give or take the changes of hands.
	if collapses < 10 || collapses > 14 {
		t.Errorf("%d collapses", collapses)
	}
	var spread hotKeys
	for i := range 200_000 { // unique keys: nothing is hot
		if spread.count(xxhash.Sum64String(fmt.Sprint(i))) {
			t.Fatal("a key written once was called hot")
		}
	}
}

// TestHotRowLosesNothing has many writers write cells of one row, and its header, while collapses run.
func TestHotRowLosesNothing(t *testing.T) {
	const writers, each = 8, 200
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				column := row.ColumnID(1 + w*each + i)
				var b row.Builder
				b.Add(row.Cell{Column: column, Timestamp: int64(i + 1), Value: []byte{byte(w)}})
				m := rowMutation(testTable, "k", "a", b.Append(nil))
				h := row.EmptyHeader
				h.Static = b.Append(nil)
				m.Header = h.Append(nil)
				if err := applyErr(e, m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rows := readAll(t, e, partition(testTable, "k"))
	if len(rows) != 2 {
		t.Fatalf("got %d entries, want a header and a row", len(rows))
	}
	h, err := row.DecodeHeader([]byte(rows[0].header))
	check(t, err)
	if n, s := row.View(rows[1].row).Len(), h.Static.Len(); n != writers*each || s != writers*each {
		t.Errorf("the row has %d cells, the static row %d, want %d", n, s, writers*each)
	}
	if n := e.counts.collapses.Load(); n < 2*writers*each/hotWrites/2 {
		t.Errorf("only %d collapses", n)
	}
}

// TestHotRowChainIsBounded looks at what lies in the memtable: a read of a row written a thousand times merges few
// operands.
func TestHotRowChainIsBounded(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	for i := range 1000 {
		apply(t, e, insert(testTable, "k", "a", int64(i+1), fmt.Sprint(i)))
	}
	if n := e.counts.collapses.Load(); n < 1000/hotWrites-1 {
		t.Errorf("%d collapses of 1000 writes", n)
	}
	if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 1 || got[0] != "k/a=999" {
		t.Errorf("got %q", got)
	}
}

// TestDeletedRangeStaysDeletedUnderCollapses: a collapse that read before a DeleteRange must not put its value after
// it.
func TestDeletedRangeStaysDeletedUnderCollapses(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	token := tokenOf([]byte("k"))
	deleted := make(chan error, 1)
	disable, err := fault.Enable("storage/collapse-read", func() error {
		go func() { deleted <- e.DeleteRange(testTable, vnodes.Range{Start: token - 1, End: token}) }()
		for range 10_000 { // it has to wait; where it does not, it is done before these are over
			runtime.Gosched()
		}
		return nil
	})
	check(t, err)
	defer disable()
	for i := range hotWrites {
		apply(t, e, insert(testTable, "k", "a", int64(i+1), "v"))
	}
	check(t, <-deleted)
	if rows := readAll(t, e, partition(testTable, "k")); len(rows) != 0 {
		t.Errorf("a deleted row is back: %q", rows)
	}
}

// TestAWriteAdmittedBeforeADropIsRefused: between its admission and its commit its table goes.
func TestAWriteAdmittedBeforeADropIsRefused(t *testing.T) {
	e := openTest(t, disk.Crashable())
	defer func() { check(t, e.Close()) }()
	disable, err := fault.Enable("storage/before-commit", func() error {
		return errors.Join(e.SetTables(nil, 10), e.dropAbsent())
	})
	check(t, err)
	defer disable()
	if err := applyErr(e, insert(testTable, "k", "a", 1, "v")); !errors.Is(err, ErrDropped) {
		t.Errorf("the write gave %v", err)
	}
	if n := stored(t, e, testTable); n != 0 {
		t.Errorf("%d keys are left of a dropped table", n)
	}
}
