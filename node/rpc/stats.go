package rpc

import "sync/atomic"

// Stats counts what a transport did since it was started.
type Stats struct {
	Calls      atomic.Int64 // sent, or queued for a dial
	TimedOut   atomic.Int64 // calls that ended with ErrTimeout
	Lost       atomic.Int64 // calls that ended with their connection, or found none
	Overloaded atomic.Int64 // calls refused here: too many in flight, or too many bytes waiting
	Requests   atomic.Int64 // of others, that arrived
	Shed       atomic.Int64 // of those, answered CodeOverloaded
	Expired    atomic.Int64 // of those, answered CodeExpired
	Dials      atomic.Int64 // attempts to connect
	Inbound    atomic.Int64 // connections that others have open now
	BytesIn    atomic.Int64
	BytesOut   atomic.Int64
}

// Stats gives the live counters.
func (t *TCP) Stats() *Stats { return &t.stats }

// refused counts a request that was answered without being run.
func (s *Stats) refused(code Code) {
	switch code {
	case CodeOverloaded:
		s.Shed.Add(1)
	case CodeExpired:
		s.Expired.Add(1)
	}
}
