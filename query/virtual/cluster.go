package virtual

import (
	"strconv"

	"nodedb/query/schema"
	"nodedb/vnodes"
)

// localRows is the one row that tells of this node. Without a node of one's own yet there is none.
func localRows(e *emitter) error {
	top := e.src.Topology()
	for _, n := range top.Nodes {
		if n.ID != top.Self {
			continue
		}
		return e.row(fields{
			"key": text("local"), "bootstrapped": text("COMPLETED"), "cluster_name": text(top.ClusterName),
			"broadcast_address": inet(n.Address), "broadcast_port": integer(storagePort),
			"listen_address": inet(n.Address), "listen_port": integer(storagePort),
			"rpc_address": inet(n.Address), "rpc_port": integer(int32(top.NativePort)),
			"cql_version": text(CQLVersion), "native_protocol_version": text("5"), "partitioner": text(Partitioner),
			"data_center": text(n.DC), "rack": text(n.Rack), "host_id": uuid(n.ID), "tokens": tokenSet(n.Tokens),
			"release_version": text(top.ReleaseVersion), "schema_version": uuid(e.src.Catalog().Version),
		})
	}
	return nil
}

// peers gives the other nodes that clients may use: those that own ranges. Drivers drop rows without tokens anyway, and warn.
func (e *emitter) peers() []NodeInfo {
	top := e.src.Topology()
	var peers []NodeInfo
	for _, n := range top.Nodes {
		if n.ID != top.Self && ownsRanges(n.State) && len(n.Tokens) > 0 {
			peers = append(peers, n)
		}
	}
	return peers
}

func ownsRanges(s vnodes.NodeState) bool {
	return s != vnodes.StateJoining && s != vnodes.StateWaiting
}

func peerRows(e *emitter) error {
	for _, n := range e.peers() {
		f := e.peer(n)
		f["rpc_address"] = inet(n.Address)
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}

func peerV2Rows(e *emitter) error {
	port := e.src.Topology().NativePort
	for _, n := range e.peers() {
		f := e.peer(n)
		f["peer_port"], f["preferred_port"] = integer(storagePort), integer(storagePort)
		f["native_address"], f["native_port"] = inet(n.Address), integer(int32(port))
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}

// peer is what peers and peers_v2 have in common. The schema version is the one known here: the metadata log decides schema, and a peer that lags catches
// up before it answers a request at the newer epoch.
func (e *emitter) peer(n NodeInfo) fields {
	return fields{
		"peer": inet(n.Address), "preferred_ip": inet(n.Address), "data_center": text(n.DC), "rack": text(n.Rack), "host_id": uuid(n.ID),
		"release_version": text(e.src.Topology().ReleaseVersion), "schema_version": uuid(e.src.Catalog().Version), "tokens": tokenSet(n.Tokens),
	}
}

func tokenSet(tokens []vnodes.Token) []byte {
	list := make([]string, len(tokens))
	for i, t := range tokens {
		list[i] = tokenText(t)
	}
	return textSet(list)
}

func tokenText(t vnodes.Token) string { return strconv.FormatInt(int64(t), 10) }

// sizeEstimateRows tells of this node's primary ranges, as Spark and Trino read them to split a table.
func sizeEstimateRows(e *emitter) error {
	return e.estimates(func(t *schema.Table, r vnodes.Range) fields { return fields{} })
}

func tableEstimateRows(e *emitter) error {
	return e.estimates(func(t *schema.Table, r vnodes.Range) fields { return fields{"range_type": text("primary")} })
}

func (e *emitter) estimates(begin func(*schema.Table, vnodes.Range) fields) error {
	estimator, ok := e.src.(Estimator)
	top := e.src.Topology()
	if !ok || top.Ring == nil {
		return nil
	}
	for _, k := range e.src.Catalog().Keyspaces {
		for _, r := range top.Ring.Place(k.Replication).Ranges() {
			if owners := r.Replicas.Read(); len(owners) == 0 || owners[0].ID != top.Self {
				continue
			}
			for _, t := range k.Tables {
				f := begin(t, r.Range)
				partitions, bytes := estimator.Estimate(t.Storage, r.Range)
				f["keyspace_name"], f["table_name"] = text(k.Name), text(t.Name)
				f["range_start"], f["range_end"] = text(tokenText(r.Range.Start)), text(tokenText(r.Range.End))
				f["partitions_count"], f["mean_partition_size"] = bigint(partitions), bigint(bytes)
				if err := e.row(f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
