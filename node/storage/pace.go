package storage

import (
	"sync/atomic"
	"time"
)

// Pebble takes writes at full speed until it has too many memtables to flush (stopWritesMemTables), or L0 is too deep (l0StopWrites), and then none at all until a flush or compaction
// is through: under load, and with little CPU left for it, a compaction of so deep an L0 takes many seconds. All writes that wait then time out, and reads
// in doubt with them. So writes are slowed down before, the more the nearer that is, until as much is written as is compacted. Whoever sends them waits
// a little longer for each, or hears of overload from the queue in front of Apply.
const (
	paceL0       = l0StopWrites / 2                        // sublevels of L0 from which on writes are slowed down
	paceMemory   = stopWritesMemTables / 2 * memTableBytes // bytes of memtables, likewise: one that is written to and one that is flushed
	stopMemory   = stopWritesMemTables * memTableBytes
	paceFastest  = 64 << 20 // bytes/s of batches where it begins, more than two cores take by CQL
	paceSlowest  = 1 << 20  // bytes/s: 512 rows of 1 KiB in half a second, when a write would wait two
	paceMostWait = time.Second
)

// pace slows writes down. Safe for concurrent use.
type pace struct {
	rate  atomic.Int64  // bytes/s; 0: as they come
	next  atomic.Int64  // when what was admitted so far is through, ns
	look  chan struct{} // there may be more or less to flush or compact, capacity 1
	slept atomic.Uint64
}

// changed is called when memtables or L0 have changed. It must not block.
func (p *pace) changed() {
	select {
	case p.look <- struct{}{}:
	default: // a look is due already
	}
}

// paceOf is the rate for so much that waits to be flushed and compacted. It falls with the square of what is left until writes stop: the last step, however long it
// takes, begins slowly.
func paceOf(sublevels int, memory uint64) (rate int64) {
	left := min(
		float64(l0StopWrites-sublevels)/(l0StopWrites-paceL0),
		(stopMemory-float64(memory))/(stopMemory-paceMemory))
	switch {
	case left >= 1:
		return 0
	case left <= 0:
		return paceSlowest
	}
	return max(paceSlowest, int64(paceFastest*left*left))
}

// watchPace sets the pace by how things are.
func (e *Engine) watchPace() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.pace.look:
		}
		if e.failed.Load() != nil {
			continue
		}
		m := e.db.Metrics()
		rate := paceOf(int(m.Levels[0].Sublevels), m.MemTable.Size)
		if before := e.pace.rate.Swap(rate); (before == 0) != (rate == 0) {
			message := "storage: flushes and compactions have caught up, writes are no longer slowed down"
			if rate != 0 {
				message = "storage: flushes or compactions are behind, writes are slowed down"
			}
			e.logger.Info(message, "l0_sublevels", m.Levels[0].Sublevels, "memtable_bytes", m.MemTable.Size)
		}
	}
}

// reserve gives how long a batch of so many bytes has to wait.
func (p *pace) reserve(size int, now time.Time) time.Duration {
	rate := p.rate.Load()
	if rate == 0 {
		return 0
	}
	cost := int64(float64(size) / float64(rate) * float64(time.Second))
	for {
		next := p.next.Load()
		begin := max(next, now.UnixNano())
		if p.next.CompareAndSwap(next, min(begin+cost, now.UnixNano()+int64(paceMostWait))) {
			return min(time.Duration(begin-now.UnixNano()), paceMostWait)
		}
	}
}

// await waits until a batch's turn.
func (p *pace) await(size int) {
	if p.rate.Load() == 0 || size == 0 {
		return
	}
	if wait := p.reserve(size, time.Now()); wait > 0 {
		p.slept.Add(1)
		time.Sleep(wait)
	}
}
