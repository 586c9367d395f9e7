// Package virtual is the system tables that are computed on the fly: system.*, system_schema.*, system_virtual_schema.* and what else drivers read
// at connect. It may import vnodes and query/schema. Start reading at Rows.
package virtual

import (
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Source is what the tables show.
type Source interface {
	Catalog() *schema.Catalog
	Topology() Topology
}

// Topology is the cluster as the system tables show it.
type Topology struct {
	ClusterName    string
	ReleaseVersion string
	Self           vnodes.HostID
	Nodes          []NodeInfo // all members, oneself included
	Ring           *vnodes.Ring
	NativePort     int
}

// NodeInfo is one member and what is known of it.
type NodeInfo struct {
	*vnodes.Node
	Up bool
}

// Keyspaces gives the system keyspaces with their (Virtual) tables. They take part in name lookup beside the catalog's and are read-only.
func Keyspaces() map[string]*schema.Keyspace { panic("contract") }

// Rows calls emit for every row of a system table: values in the order of t.Columns, nil is null. Rows come in no promised order.
func Rows(t *schema.Table, src Source, emit func(values [][]byte) error) error { panic("contract") }
