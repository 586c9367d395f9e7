package node

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
	"weak"
)

// TestHeapRest: a heap rests once nothing has loaded it for a while, and what it gave back it isn't asked for again.
func TestHeapRest(t *testing.T) {
	var rest heapRest
	var due []int
	for _, look := range []struct {
		second           int
		allocated, spare uint64 // MB
	}{
		{0, 50, 0}, // the start
		{2, 500, 40}, {4, 900, 40}, {6, 900, 40}, {8, 900, 40},
		{10, 900, 40}, // at rest for 6 s
		{12, 901, 1}, {30, 902, 2},
		{60, 903, 15}, // at rest, but it isn't worth it
		{62, 1000, 40}, {64, 1001, 40}, {66, 1003, 40}, {68, 1003, 40}, {70, 1003, 40},
		{72, 1003, 40}, // 6 s since the third: more than a node at rest allocates
	} {
		if rest.due(look.allocated<<20, look.spare<<20, time.Unix(int64(1000+look.second), 0)) {
			due = append(due, look.second)
		}
	}
	if got := fmt.Sprint(due); got != "[10 72]" {
		t.Errorf("due at %s", got)
	}
}

// TestGiveBack: what a load leaves, also in pools, goes back to the system.
func TestGiveBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no cycles but those of giveBack
	giveBack()
	var pool sync.Pool
	pooled := new([4 * restWorth]byte)
	held := weak.Make(pooled)
	pool.Put(pooled)
	pooled = nil
	if _, spare := heapFigures(); spare < restWorth {
		t.Fatalf("only %d bytes could go back", spare)
	}
	giveBack()
	if _, spare := heapFigures(); spare >= restWorth {
		t.Errorf("%d bytes could still go back", spare)
	}
	if held.Value() != nil {
		t.Error("the pool holds what it held")
	}
	runtime.KeepAlive(&pool)
}

// TestBoundGarbage: who sets GOGC has the last word.
func TestBoundGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer func() { slack = nil }()
	for _, set := range []struct {
		env  string
		want int
	}{{"50", 100}, {"", garbagePercent}} {
		t.Setenv("GOGC", set.env)
		BoundGarbage()
		if got := debug.SetGCPercent(100); got != set.want {
			t.Errorf("GOGC=%q: %d percent, want %d", set.env, got, set.want)
		}
	}
}
