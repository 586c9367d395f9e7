package node

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"nodedb/node/storage"
	"nodedb/vnodes"
)

// Keys in the system key space. Only append to this list: they are on disk.
const (
	keyHostID  = "node/host_id"
	keyCeiling = "node/clock_ceiling"
	keyPeers   = "gossip/peers"
)

// system is the store's system key space as the clock, gossip and the metadata log want it. Identity lies in the store itself, so that a
// wiped directory is a new node.
type system struct{ engine *storage.Engine }

// GetSystem and ScanSystem read it.
func (s system) GetSystem(key string) ([]byte, error) { return s.engine.GetSystem(key) }

// ScanSystem calls f for the entries with a prefix, in key order, until it returns false.
func (s system) ScanSystem(prefix string, f func(key string, value []byte) bool) error {
	return s.engine.ScanSystem(prefix, f)
}

// PutSystemMeta stores the metadata log's entries, synced and atomic.
func (s system) PutSystemMeta(pairs map[string][]byte) error {
	list := make([]storage.Pair, 0, len(pairs))
	for _, k := range slices.Sorted(maps.Keys(pairs)) { // the same bytes each time, for who repeats a run
		list = append(list, storage.Pair{Key: k, Value: pairs[k]})
	}
	return s.engine.PutSystem(list...)
}

// PutPeers stores gossip's peer list.
func (s system) PutPeers(value []byte) error {
	return s.engine.PutSystem(storage.Pair{Key: keyPeers, Value: value})
}

// hostID reads this node's id, or makes one.
func (s system) hostID(newID func() [16]byte) (vnodes.HostID, error) {
	raw, err := s.engine.GetSystem(keyHostID)
	if err != nil {
		return vnodes.HostID{}, err
	}
	if raw == nil {
		id := vnodes.HostID(newID())
		return id, s.engine.PutSystem(storage.Pair{Key: keyHostID, Value: id[:]})
	}
	if len(raw) != len(vnodes.HostID{}) {
		return vnodes.HostID{}, fmt.Errorf("stored host id has %d bytes: %w", len(raw), storage.ErrCorrupt)
	}
	return vnodes.HostID(raw), nil
}

// ceiling reads what the clock stored last, in µs.
func (s system) ceiling() (int64, error) {
	raw, err := s.engine.GetSystem(keyCeiling)
	if err != nil || raw == nil {
		return 0, err
	}
	if len(raw) != 8 {
		return 0, fmt.Errorf("stored clock ceiling has %d bytes: %w", len(raw), storage.ErrCorrupt)
	}
	return int64(binary.BigEndian.Uint64(raw)), nil
}

func (s system) putCeiling(us int64) error {
	return s.engine.PutSystem(storage.Pair{Key: keyCeiling, Value: binary.BigEndian.AppendUint64(nil, uint64(us))})
}
