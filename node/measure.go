package node

import "sync/atomic"

// cassandraRelease is the version drivers see in system.local: it decides what else they ask for. It is the release that cqlsh 6.2 was made for, so
// that it doesn't warn; the language is that of all of 5.0.
const cassandraRelease = "5.0.0"

// measure registers this node's counters.
func (n *Node) measure() {
	s := n.coordinator.Stats()
	for _, c := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"nodedb_coordinator_writes_total", "Write requests coordinated.", &s.Writes},
		{"nodedb_coordinator_logged_batches_total", "Batches coordinated that went by the batch log.", &s.Batches},
		{"nodedb_coordinator_reads_total", "Reads of one partition coordinated.", &s.Reads},
		{"nodedb_coordinator_owned_total", "Writes, and reads of one partition, that came to an owner: what token-aware clients reach.", &s.Owned},
		{"nodedb_coordinator_range_reads_total", "Pages of token ranges coordinated.", &s.Ranges},
		{"nodedb_coordinator_hinted_total", "Mutations kept as hints for replicas that missed them.", &s.Hinted},
		{"nodedb_coordinator_digest_mismatches_total", "Reads whose replicas differed.", &s.Mismatches},
		{"nodedb_coordinator_read_repairs_total", "Replicas repaired before a read was answered.", &s.Repaired},
		{"nodedb_coordinator_speculative_reads_total", "Reads that asked a spare replica.", &s.Speculated},
		{"nodedb_coordinator_retried_total", "Requests begun anew because the ring had moved.", &s.Retried},
		{"nodedb_coordinator_shed_total", "Requests refused because too many were in flight.", &s.Shed},
	} {
		n.metrics.CounterFunc(c.name, c.help, func() float64 { return float64(c.value.Load()) })
	}
	n.metrics.GaugeFunc("nodedb_storage_bytes", "Bytes the store takes on disk.", func() float64 { return float64(n.engine.DiskBytes()) })
	n.metrics.GaugeFunc("nodedb_hints_pending", "Hints that wait here to be delivered.", func() float64 {
		var sum int64
		for _, count := range n.hints.PendingAll() {
			sum += count
		}
		return float64(sum)
	})
	n.metrics.GaugeFunc("nodedb_clock_doubt", "1 while this machine's wall clock has jumped and is not followed.", func() float64 {
		return oneIf(n.clock.Doubt() != nil)
	})
	n.metrics.GaugeFunc("nodedb_clock_distrust", "1 while writes are refused because this node's clock differs from the others'.", func() float64 {
		return oneIf(n.clock.Trusted() != nil)
	})
	n.metrics.GaugeFunc("nodedb_metadata_epoch", "Newest metadata entry applied here.", func() float64 { return float64(n.cluster.View().Epoch) })
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
