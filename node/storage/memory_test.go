package storage

import (
	"fmt"
	"runtime"
	"testing"

	"nodedb/node/row"
)

// TestMemoryRangeReadsStandStill: a cursor over a range sees what was there when it was made, and keeps nobody out.
func TestMemoryRangeReadsStandStill(t *testing.T) {
	table := newMemTable()
	write := func(n int) {
		table.apply([]row.Mutation{insert(memoryTable, fmt.Sprintf("k%04d", n), "a", 1, "v")}, memoryTable)
	}
	for n := range 3 * memChunk {
		write(2 * n)
	}
	lower, upper := appendRangeBounds(nil, nil, memoryTable, everything)
	c := newMemCursor(table, lower, upper, false)
	seen := 0
	for ok := c.seekGE(lower); ok; ok = c.next() {
		write(2*seen + 1)
		seen++
	}
	check(t, c.close())
	if seen != 3*memChunk {
		t.Errorf("the cursor saw %d items, want the %d that were there", seen, 3*memChunk)
	}
}

// TestMemoryWritersWaitForPartitionReads: a page of one partition must not see half a batch.
func TestMemoryWritersWaitForPartitionReads(t *testing.T) {
	table := newMemTable()
	m := insert(memoryTable, "k", "a", 1, "v")
	table.apply([]row.Mutation{m}, memoryTable)
	prefix := appendPrefix(nil, memoryTable, m.Token, m.Key)
	c := newMemCursor(table, prefix, appendPrefixEnd(nil, prefix), true)
	written := make(chan struct{})
	go func() {
		table.apply([]row.Mutation{insert(memoryTable, "k", "b", 1, "v")}, memoryTable)
		close(written)
	}()
	for range 1000 { // a writer that does not wait is done before these are over
		runtime.Gosched()
	}
	seen := 0
	for ok := c.seekGE(prefix); ok; ok = c.next() {
		seen++
	}
	check(t, c.close())
	<-written
	if seen != 1 {
		t.Errorf("the cursor saw %d rows, want the one that was there", seen)
	}
}
