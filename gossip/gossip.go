// Package gossip is membership over memberlist: who is alive, and the newest metadata epoch. It decides nothing. Subpackage metalog holds the
// cluster's metadata. It may import vnodes, node/rpc, node/metrics, node/fault. Start reading at Members.
package gossip

import (
	"log/slog"

	"nodedb/vnodes"
)

// Store keeps the peer list across restarts.
type Store interface {
	GetSystem(key string) ([]byte, error)
	PutPeers(value []byte) error
}

// Options of Start.
type Options struct {
	Self      vnodes.HostID
	Address   string   // IP that others reach us at
	Port      int      // gossip port (7001 by default: TCP and UDP)
	ClusterID [16]byte // memberlist's label: others are not heard
	Seeds     []string // IPs: last known peers and the metadata log's members
	Store     Store
	Logger    *slog.Logger
	// OnChange tells that a node came up or went down (not called for oneself), from one goroutine, in order.
	OnChange func(id vnodes.HostID, address string, up bool)
	// OnEpoch tells that a peer has seen a metadata epoch.
	OnEpoch func(id vnodes.HostID, epoch uint64)
	// Members gives the current addresses of the metadata log's members: the re-join loop tries those that are not seen.
	Members func() map[vnodes.HostID]string
}

// Members is the local view of who is alive.
type Members struct{}

// Start joins the gossip and keeps re-joining members that are not seen, every few seconds, for ever.
func Start(o Options) (*Members, error) { panic("contract") }

// Alive reports whether id is believed up (oneself is). O(1), lock-free reads.
func (m *Members) Alive(id vnodes.HostID) bool { panic("contract") }

// SetEpoch spreads the newest epoch we applied.
func (m *Members) SetEpoch(epoch uint64) { panic("contract") }

// Leave says goodbye (others see us as down at once), then stops.
func (m *Members) Leave() error { panic("contract") }

// Stop stops without a goodbye.
func (m *Members) Stop() error { panic("contract") }
