package node

import (
	"context"
	"errors"
	"time"
)

// drainTimeout bounds how long a stopping node waits for requests in flight.
const drainTimeout = 10 * time.Second

// Close drains the node: the doors stop taking requests and finish those in flight, the others are told goodbye, and what is buffered is
// synced. It is also right for a node that started only in part.
func (n *Node) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	n.ready.Store(false)
	var errs []error
	errs = append(errs, n.doors.shutdown(ctx))
	n.stop()
	if n.gossip != nil {
		errs = append(errs, n.gossip.Leave())
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	n.background.Wait()
	if n.cluster != nil {
		n.cluster.waits.Wait()
	}
	if n.repairer != nil {
		n.repairer.Close()
	}
	if n.batches != nil {
		n.batches.Close()
	}
	if n.replica != nil {
		n.replica.Close()
	}
	if n.hints != nil {
		errs = append(errs, n.hints.Close())
	}
	if n.engine != nil {
		errs = append(errs, n.engine.Close())
	}
	return errors.Join(errs...)
}
