package storage

import (
	"sync/atomic"

	"nodedb/node/metrics"
)

// counters are the engine's figures.
type counters struct {
	writes, refused, collapses, reads, entries atomic.Uint64
	stalls                                     metrics.Counter
}

func (c *counters) register(r *metrics.Registry) {
	show := func(name, help string, v *atomic.Uint64) {
		r.CounterFunc(name, help, func() float64 { return float64(v.Load()) })
	}
	show("nodedb_storage_writes_total", "Calls of Apply that became visible.", &c.writes)
	show("nodedb_storage_refused_writes_total", "Calls of Apply refused: dropped table, full disk, too large.", &c.refused)
	show("nodedb_storage_hot_collapses_total", "Hot keys whose chain of operands was put as one value.", &c.collapses)
	show("nodedb_storage_reads_total", "Pages read.", &c.reads)
	show("nodedb_storage_entries_total", "Rows and partition headers looked at by reads, dead ones included.", &c.entries)
	c.stalls = r.Counter("nodedb_storage_write_stalls_total", "Times that writes waited for flushes or compactions.")
}
