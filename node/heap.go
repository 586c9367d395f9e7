package node

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage a node makes before it is collected: garbagePercent of what is alive and of the slack together, so 32 MB beside a small heap, and a quarter of
// a large one. A node's live heap is small at first, so without the slack the collector would run every few MB: twenty times a second at 20,000 requests a second.
// What makes it large are the row cache and pages, whose bytes the collector marks but does not look into: to let those double, as Go does, saves hardly a cycle,
// and costs as much memory again as the caches have.
const (
	garbagePercent = 25
	slackBytes     = 128 << 20
)

// slack is never touched: it takes address space, no memory. The collector counts it.
var slack []byte

// BoundGarbage is called once, by a process that is a node: before Start, which fills the heap. Who sets GOGC has the last word.
func BoundGarbage() {
	slack = make([]byte, slackBytes)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// After a load the heap's free memory goes back to the system. Go alone would keep most of it: it gives back what lies above its next goal, and at rest no cycle
// comes that would lower that. Caches stay as they are.
const (
	restLook  = 2 * time.Second
	restAfter = 6 * time.Second
	restBytes = 1 << 20 // allocated from one look to the next: more is a load. A node at rest has a tenth of that
	// restWorth is what giving back is worth a cycle for. A node at rest takes many minutes to make as much garbage.
	restWorth = 16 << 20
)

// heapRest knows when a heap has come to rest.
type heapRest struct {
	allocated uint64 // bytes since the process began, at the last look
	since     time.Time
}

// due is asked at each look: whether a heap of which so many bytes could go back, and which has allocated so many so far, is at rest and worth the work.
func (r *heapRest) due(allocated, spare uint64, now time.Time) bool {
	loaded := allocated-r.allocated > restBytes
	r.allocated = allocated
	if loaded || r.since.IsZero() {
		r.since = now
	}
	return now.Sub(r.since) >= restAfter && spare >= restWorth
}

// RestAfterLoad gives back what a load leaves, until ctx ends; then the channel is closed. A process that is a node calls it once, beside Start.
func RestAfterLoad(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		look := time.NewTicker(restLook)
		defer look.Stop()
		var rest heapRest
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-look.C:
				if allocated, spare := heapFigures(); rest.due(allocated, spare, now) {
					giveBack()
				}
			}
		}
	}()
	return ended
}

// giveBack collects twice, since pools let go of what they hold in the second cycle, and returns what is free to the system.
func giveBack() {
	runtime.GC()
	debug.FreeOSMemory()
}

// heapFigures gives the bytes that were allocated since the process began, and those that could go back to the system: free, or garbage.
func heapFigures() (allocated, spare uint64) {
	figures := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(figures)
	value := func(i int) uint64 { return figures[i].Value.Uint64() }
	return value(0), value(1) + value(2) - min(value(2), value(3))
}
