package hints

import (
	"sync/atomic"

	"nodedb/node/metrics"
)

// Stats counts since Open.
type Stats struct {
	Added     int64 // synced
	Delivered int64
	Expired   int64 // dropped at MaxAge
	Obsolete  int64 // dropped because Deliver said so
	Full      int64 // refused with ErrFull
	Busy      int64 // refused with ErrBusy
	Unwritten int64 // that the disk did not take
	Dropped   int64 // refused for good, or the peer was forgotten
	Failures  int64 // deliveries that failed
	Shed      int64 // hints that their replica had no room for, sent again later
	Corrupt   int64 // segments with a damaged record, set aside
	Torn      int64 // segments whose tail was cut
}

type stats struct {
	added, delivered, expired, obsolete, full, busy, unwritten, dropped, failures, shed, corrupt, torn atomic.Int64
}

// Stats gives the counters.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Added: c.added.Load(), Delivered: c.delivered.Load(), Expired: c.expired.Load(), Obsolete: c.obsolete.Load(),
		Full: c.full.Load(), Busy: c.busy.Load(), Unwritten: c.unwritten.Load(), Dropped: c.dropped.Load(), Failures: c.failures.Load(), Shed: c.shed.Load(),
		Corrupt: c.corrupt.Load(), Torn: c.torn.Load(),
	}
}

func (s *Store) show(r *metrics.Registry) {
	if r == nil {
		return
	}
	for _, m := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"nodedb_hints_added_total", "Hints stored and synced.", &s.stats.added},
		{"nodedb_hints_delivered_total", "Hints that their replica applied.", &s.stats.delivered},
		{"nodedb_hints_expired_total", "Hints dropped at the age limit, left to repair.", &s.stats.expired},
		{"nodedb_hints_obsolete_total", "Hints dropped because their table is gone.", &s.stats.obsolete},
		{"nodedb_hints_full_total", "Hints refused because their peer's reached the size limit, left to repair.", &s.stats.full},
		{"nodedb_hints_busy_total", "Hints refused because too many waited for the disk, left to repair.", &s.stats.busy},
		{"nodedb_hints_unwritten_total", "Hints that the disk did not take (full, or failed), left to repair.", &s.stats.unwritten},
		{"nodedb_hints_dropped_total", "Hints given up: their replica kept refusing them, or was removed.", &s.stats.dropped},
		{"nodedb_hints_failures_total", "Deliveries of hints that failed.", &s.stats.failures},
		{"nodedb_hints_shed_total", "Hints that their replica had no room for beside its requests, sent again later.", &s.stats.shed},
		{"nodedb_hints_corrupt_segments_total", "Segments with damaged records, set aside.", &s.stats.corrupt},
		{"nodedb_hints_torn_segments_total", "Segments whose tail a crash tore.", &s.stats.torn},
	} {
		r.CounterFunc(m.name, m.help, func() float64 { return float64(m.value.Load()) })
	}
}
