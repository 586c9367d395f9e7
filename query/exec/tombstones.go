package exec

import (
	"fmt"
	"net/netip"

	"nodedb/query/wire"
)

// reasonTombstones is the failure code of section 9 for reads that met too many tombstones.
const reasonTombstones = 0x0001

// buried counts tombstones that the walk has met, and fails it beyond the threshold. Those are rows that were deleted or have expired, and deletions of ranges: each was
// read, sent and merged like a row, and is none. Where rows are counted that is done by replicas (storage.ReadSpec.Count), and nothing is held against it.
func (w *walk) buried(n int) error {
	if w.sel.Counts {
		return nil
	}
	w.tombstones += n
	if most := w.r.x.guards.TombstonesFail; most <= 0 || w.tombstones <= most {
		return nil
	}
	e := wire.Errorf(wire.CodeReadFailure, "The page meets more than %d tombstones (deleted or expired rows) on its way through %s.%s: name fewer rows, or raise "+
		"tombstone_failure_threshold", w.r.x.guards.TombstonesFail, w.sel.Table.Keyspace, w.sel.Table.Name)
	e.Consistency, e.BlockFor, e.Failures = uint16(w.r.params.Level), 1, 1
	topology := w.r.x.cluster.Topology()
	for i := range topology.Nodes {
		if n := &topology.Nodes[i]; n.ID == topology.Self {
			if a, err := netip.ParseAddr(n.Address); err == nil {
				e.Reasons = append(e.Reasons, wire.FailureReason{Address: a, Code: reasonTombstones})
			}
		}
	}
	return e
}

// warnOfTombstones warns of many that the walk has met.
func (w *walk) warnOfTombstones() {
	if most := w.r.x.guards.TombstonesWarn; most > 0 && w.tombstones > most {
		w.r.warnings = append(w.r.warnings, fmt.Sprintf("Read %d live rows and %d tombstone cells for query on %s.%s (see tombstone_warn_threshold)",
			w.o.count, w.tombstones, w.sel.Table.Keyspace, w.sel.Table.Name))
	}
}
