// Package exec runs plans over the interface Cluster. It may import everything of lower ranks and query/plan. Start
// reading at Cluster.
package exec

import (
	"context"

	"nodedb/coordinator"
	"nodedb/query/schema"
	"nodedb/query/virtual"
)

// Cluster is what a plan runs on: the coordinator, the catalog and the metadata log, wired in node.
type Cluster interface {
	// Catalog is the newest schema applied here. Lock-free.
	Catalog() *schema.Catalog
	Write(ctx context.Context, r *coordinator.WriteRequest, done func(error))
	Read(ctx context.Context, r *coordinator.ReadRequest, done func(page []byte, err error))
	// ChangeSchema has a change decided; it returns when it is applied here and live nodes have had a moment to apply
	// it. A zero Target: nothing to do. The warning is for the client, "" without: it names the nodes that have not
	// applied the change yet.
	ChangeSchema(ctx context.Context, ch *schema.Change) (target schema.Target, warning string, err error)
	// Timestamp stamps a write (µs, hybrid logical clock); Seconds is now for TTLs.
	Timestamp() int64
	Seconds() int64
	// Topology describes the cluster for system.local and system.peers.
	Topology() virtual.Topology
}

// nowReader is a Cluster that may have a page at hand: appended to buf[:0]. False: it has to be asked for by Read. The request is the caller's again.
type nowReader interface {
	ReadNow(r *coordinator.ReadRequest, buf []byte) (page []byte, ok bool)
}
