package native

import (
	"net/netip"

	"nodedb/query"
	"nodedb/query/wire"
)

// NotifySchema tells registered clients of a schema change. Index DDL is TABLE UPDATED.
func (s *Server) NotifySchema(ch query.Change) {
	s.notify(&wire.Event{Type: wire.EventSchema, Schema: schemaChange(ch)})
}

// NotifyStatus tells registered clients that a node is up or down. The address is the one that clients use.
func (s *Server) NotifyStatus(address netip.AddrPort, up bool) {
	change := "DOWN"
	if up {
		change = "UP"
	}
	s.notify(&wire.Event{Type: wire.EventStatus, Change: change, Address: address})
}

// TopologyChange says what NotifyTopology tells.
type TopologyChange string

// The topology changes of the protocol.
const (
	NewNode     TopologyChange = "NEW_NODE"
	RemovedNode TopologyChange = "REMOVED_NODE"
	MovedNode   TopologyChange = "MOVED_NODE"
)

// NotifyTopology tells registered clients that a node joined, left or moved.
func (s *Server) NotifyTopology(address netip.AddrPort, change TopologyChange) {
	s.notify(&wire.Event{Type: wire.EventTopology, Change: string(change), Address: address})
}

// eventBit is a connection's interest in a type of event; 0: no such type.
func eventBit(name string) uint32 {
	switch name {
	case wire.EventTopology:
		return 1
	case wire.EventStatus:
		return 2
	case wire.EventSchema:
		return 4
	}
	return 0
}

// notify sends an event to who registered for it. A client that lets its answers pile up would miss it and be wrong from then on: it is cut
// off, and learns everything when it connects again.
func (s *Server) notify(e *wire.Event) {
	for _, c := range s.registered(eventBit(e.Type)) {
		if c.writer.Pending() > 2*s.o.MaxPendingBytes {
			c.nc.Close()
			continue
		}
		h := wire.Header{Version: c.version, Response: true, Stream: wire.EventStream, Op: wire.OpEvent}
		_ = c.writer.End(e.Append(c.writer.Begin(h))) // an error: the connection is ending
	}
}

func (s *Server) registered(bit uint32) (list []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		if c.events.Load()&bit != 0 {
			list = append(list, c)
		}
	}
	return list
}

func schemaChange(ch query.Change) wire.Change {
	return wire.Change{Kind: ch.Kind, Object: ch.Object, Keyspace: ch.Keyspace, Name: ch.Name}
}
