// Package virtual is the system tables that are computed on the fly: system.*, system_schema.*, system_virtual_schema.* and what else drivers read
// at connect. It may import vnodes and query/schema. Start reading at Rows, then tables.go.
package virtual

import (
	"fmt"

	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Source is what the tables show. One that is an Estimator too fills system.size_estimates and table_estimates, a
// Tracer fills system_traces, a Repairer system_views.anti_entropy, and a Hoster system_views.clients and settings.
type Source interface {
	Catalog() *schema.Catalog
	Topology() Topology
}

// Estimator tells how much lies in a token range of a table on this node.
type Estimator interface {
	Estimate(table row.StorageID, r vnodes.Range) (partitions, meanPartitionBytes int64)
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

// CQLVersion is the version of the language that system.local and SUPPORTED name: Cassandra 5's.
const CQLVersion = "3.4.7"

// Partitioner is the class that drivers look for before they compute tokens.
const Partitioner = "org.apache.cassandra.dht.Murmur3Partitioner"

// storagePort is the port between nodes that system.local and peers_v2 show; no driver uses it.
const storagePort = 7000

// Keyspaces gives the system keyspaces with their (Virtual) tables. They take part in name lookup beside the catalog's and are read-only. The
// result is shared: callers must not change it.
func Keyspaces() map[string]*schema.Keyspace { return keyspaces() }

// rowsFunc emits a table's rows.
type rowsFunc func(e *emitter) error

// contents maps keyspace.table to its rows; tables that are not in it are empty.
var contents map[string]rowsFunc

func init() { // not in the declaration: the rows of system_schema go through keyspaces, which go through this map's keys
	contents = map[string]rowsFunc{
		"system.local":                  localRows,
		"system.peers":                  peerRows,
		"system.peers_v2":               peerV2Rows,
		"system.size_estimates":         sizeEstimateRows,
		"system.table_estimates":        tableEstimateRows,
		"system_schema.keyspaces":       keyspaceRows,
		"system_schema.tables":          tableRows,
		"system_schema.columns":         columnRows,
		"system_schema.types":           typeRows,
		"system_traces.events":          eventRows,
		"system_traces.sessions":        sessionRows,
		"system_views.anti_entropy":     antiEntropyRows,
		"system_views.clients":          clientRows,
		"system_views.settings":         settingRows,
		"system_virtual_schema.columns": virtualColumnRows,

		"system_virtual_schema.keyspaces": virtualKeyspaceRows,
		"system_virtual_schema.tables":    virtualTableRows,
	}
}

// Rows calls emit for every row of a system table: values in the order of t.Columns, nil is null. Rows come in no promised order. An error of
// emit ends it and is given back; another one is a mistake in this package.
func Rows(t *schema.Table, src Source, emit func(values [][]byte) error) error {
	f, ok := contents[t.Keyspace+"."+t.Name]
	if !ok {
		return nil
	}
	return f(&emitter{table: t, src: src, emit: emit})
}

// emitter puts named values into the order of a table's columns.
type emitter struct {
	table *schema.Table
	src   Source
	emit  func(values [][]byte) error
}

// fields is a row by column name; what is missing is null.
type fields map[string][]byte

// row emits one row. A field that the table lacks is an error, so that a test of every table finds a misspelt one.
func (e *emitter) row(f fields) error {
	values := make([][]byte, len(e.table.Columns))
	found := 0
	for i, c := range e.table.Columns {
		value, ok := f[c.Name]
		if ok {
			found++
		}
		values[i] = value
	}
	if found != len(f) {
		return fmt.Errorf("%s.%s: a row has a field that is no column: %v", e.table.Keyspace, e.table.Name, f)
	}
	return e.emit(values)
}
