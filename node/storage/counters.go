package storage

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/metrics"
)

// counters are the engine's figures.
type counters struct {
	writes, refused, collapses, reads, entries, doubts atomic.Uint64
	stalls                                             metrics.Counter
}

func (e *Engine) showCounts(r *metrics.Registry) {
	c := &e.counts
	show := func(name, help string, v *atomic.Uint64) {
		r.CounterFunc(name, help, func() float64 { return float64(v.Load()) })
	}
	show("nodedb_storage_writes_total", "Calls of Apply that became visible.", &c.writes)
	show("nodedb_storage_refused_writes_total", "Calls of Apply refused: dropped table, full disk, too large.", &c.refused)
	show("nodedb_storage_slowed_writes_total", "Calls of Apply that waited because flushes or compactions are behind.", &e.pace.slept)
	show("nodedb_storage_hot_collapses_total", "Hot keys whose chain of operands was put as one value.", &c.collapses)
	show("nodedb_storage_reads_total", "Pages read, but for those that the row cache gave.", &c.reads)
	show("nodedb_storage_entries_total", "Rows and partition headers looked at by reads, dead ones included.", &c.entries)
	show("nodedb_storage_reads_in_doubt_total", "Pages that waited until what they show was synced.", &c.doubts)
}

// show shows the row cache's figures.
func (c *rowCache) show(r *metrics.Registry) {
	r.CounterFunc("nodedb_storage_row_cache_hits_total", "Rows that the row cache gave.", func() float64 {
		hits, _, _ := c.figures()
		return float64(hits)
	})
	r.CounterFunc("nodedb_storage_row_cache_misses_total", "Times that the row cache was asked for a row in vain; a read may ask twice.", func() float64 {
		_, misses, _ := c.figures()
		return float64(misses)
	})
	r.GaugeFunc("nodedb_storage_row_cache_bytes", "Rows in the row cache, old ones included.", func() float64 {
		_, _, bytes := c.figures()
		return float64(bytes)
	})
}

// showPebble shows Pebble's own figures. Each is asked for at a scrape only.
func (e *Engine) showPebble(r *metrics.Registry) {
	show := func(name, help string, value func(*pebble.Metrics) float64) {
		r.GaugeFunc(name, help, func() float64 {
			if e.enter() != nil {
				return 0
			}
			defer e.leave()
			return value(e.db.Metrics())
		})
	}
	show("nodedb_storage_disk_bytes", "What the store takes on disk.", func(m *pebble.Metrics) float64 { return float64(m.DiskSpaceUsage()) })
	show("nodedb_storage_memtable_bytes", "Memtables, flushing ones included.", func(m *pebble.Metrics) float64 { return float64(m.MemTable.Size) })
	show("nodedb_storage_cache_bytes", "The block cache.", func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Size) })
	show("nodedb_storage_cache_hits", "Block cache hits since the start.", func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Hits) })
	show("nodedb_storage_cache_misses", "Block cache misses since the start.", func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Misses) })
	show("nodedb_storage_read_amplification", "Sorted runs that a read may look into.", func(m *pebble.Metrics) float64 { return float64(m.ReadAmp()) })
	show("nodedb_storage_written_bytes", "What was written to disk since the start: log, flushes and compactions.", func(m *pebble.Metrics) float64 {
		n := m.WAL.BytesWritten
		for i := range m.Levels {
			n += m.Levels[i].TableBytesFlushed + m.Levels[i].TableBytesCompacted
		}
		return float64(n)
	})
	show("nodedb_storage_compaction_debt_bytes", "Bytes that compactions are behind.", func(m *pebble.Metrics) float64 {
		return float64(m.Compact.EstimatedDebt)
	})
}
