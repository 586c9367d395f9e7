// Package consistency is quorum arithmetic: how many answers a level needs, from where, and whether they came. It is pure. It may import
// vnodes. Start reading at Tracker.
package consistency

import "nodedb/vnodes"

// Level is a consistency level, numbered as in the CQL binary protocol.
type Level uint16

const (
	Any Level = iota
	One
	Two
	Three
	Quorum
	All
	LocalQuorum
	EachQuorum
	Serial
	LocalSerial
	LocalOne
)

// ParseLevel reads a name, in any case.
func ParseLevel(s string) (Level, error) { panic("contract") }

// String is the name in capitals.
func (l Level) String() string { panic("contract") }

// Tracker counts answers of one request until its level is met, or can't be any more. During a range move the level is met on old and on new owners,
// counted separately. Not safe for concurrent use.
type Tracker struct{}

// NewWrite tracks a write to all of r.Write(). alive says who may be sent to. Hints count only for ANY.
func NewWrite(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) (*Tracker, error) {
	panic("contract")
}

// NewRead tracks a read from r.Read().
func NewRead(l Level, r *vnodes.Replicas, rep vnodes.Replication, localDC string) (*Tracker, error) {
	panic("contract")
}

// Available reports whether the live replicas can meet the level; if not, how many are required and alive (for the Unavailable error).
func (t *Tracker) Available(alive func(vnodes.HostID) bool) (required, live int, ok bool) {
	panic("contract")
}

// Eligible reports whether an answer of id counts for the level (LOCAL_* levels count only the local DC's).
func (t *Tracker) Eligible(id vnodes.HostID) bool { panic("contract") }

// Ack counts an answer; a second one of the same node, or one of a stranger, counts nothing.
func (t *Tracker) Ack(id vnodes.HostID) { panic("contract") }

// Fail counts a failure: id will not answer.
func (t *Tracker) Fail(id vnodes.HostID) { panic("contract") }

// Met reports whether the level is met. Hopeless: too many failed for it to be met ever.
func (t *Tracker) Met() bool      { panic("contract") }
func (t *Tracker) Hopeless() bool { panic("contract") }

// Counts gives what a timeout error says: answers received, failures, answers required.
func (t *Tracker) Counts() (received, failed, required int) { panic("contract") }
