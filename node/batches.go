package node

import (
	"time"

	"nodedb/coordinator/batchlog"
)

const (
	// batchAfter and maxBatchAfter say when a batch is written again whose coordinator did not end it: so many times what a write may take, and a quarter of the
	// minute in which a batch has to be there as a whole.
	batchAfter    = 2
	maxBatchAfter = 15 * time.Second
)

// openBatchLog opens what this node keeps of others' logged batches.
func (n *Node) openBatchLog() (err error) {
	n.batches, err = batchlog.Open(batchlog.Options{
		Store: n.engine, Clock: n.clock,
		Deliver:        func(entry []byte, done func(error)) { n.coordinator.Redeliver(entry, done) }, // Run tells, when there is one
		After:          min(batchAfter*time.Duration(n.Config.WriteRequestTimeout), maxBatchAfter),
		BytesPerSecond: int64(n.Config.BatchlogReplayRate),
		Logger:         n.logger, Metrics: n.metrics,
	})
	return err
}
