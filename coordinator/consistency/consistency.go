// Package consistency is quorum arithmetic: how many answers a level needs, from where, and whether they came. It is
// pure. It may import vnodes. Start reading at Tracker.
package consistency

import (
	"errors"
	"fmt"
	"strings"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

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

// Errors.
var (
	// ErrUnknownLevel says that a name or number is no consistency level.
	ErrUnknownLevel = errors.New("unknown consistency level")
	// ErrLevelRefused says that a level has no meaning for this kind of request.
	ErrLevelRefused = errors.New("consistency level not supported here")
)

var names = [...]string{
	"ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL", "LOCAL_ONE",
}

// ParseLevel reads a name, in any case.
func ParseLevel(s string) (Level, error) {
	for i, name := range names {
		if strings.EqualFold(s, name) {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("%w %q: want one of %s", ErrUnknownLevel, s, strings.Join(names[:], ", "))
}

// String is the name in capitals.
func (l Level) String() string {
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("UNKNOWN(%d)", uint16(l))
}

// Local reports whether only the local DC's answers count.
func (l Level) Local() bool { return l == LocalOne || l == LocalQuorum || l == LocalSerial }

// IsSerial reports whether the level is one of lightweight transactions.
func (l Level) IsSerial() bool { return l == Serial || l == LocalSerial }

// required gives how many of side's owners must answer; dc is the DC they are counted in, "" for all.
//
// The replication's own numbers count, not how many owners there happen to be: were a quorum of 3 replicas on a cluster
// of one node 1, a second and a third node would make quorums that don't overlap with it.
func (l Level) required(side []*vnodes.Node, rep vnodes.Replication, dc string) int {
	factor := rep.Factor
	switch {
	case rep.Everywhere:
		factor = len(side)
	case len(rep.Datacenters) > 0 && dc != "":
		factor = rep.Datacenters[dc]
	case len(rep.Datacenters) > 0:
		factor = 0
		for _, n := range rep.Datacenters {
			factor += n
		}
	}
	switch l {
	case Any, One, LocalOne:
		return 1
	case Two:
		return 2
	case Three:
		return 3
	case All:
		return max(1, factor)
	}
	if fault.Planted("consistency/half-of-even-is-quorum") {
		return (factor + 1) / 2
	}
	return factor/2 + 1
}

// Alone reports whether the answer of one owner, self, meets a read's level: what a Tracker of NewRead would say once self has answered. readers are the
// owners that answer reads.
func Alone(l Level, readers []*vnodes.Node, rep vnodes.Replication, self vnodes.HostID, localDC string) bool {
	if l == Any || int(l) >= len(names) {
		return false
	}
	for _, n := range readers {
		if n.ID != self {
			continue
		}
		dc := ""
		switch {
		case l.Local() && n.DC != localDC:
			return false
		case l.Local():
			dc = localDC
		case l == EachQuorum && len(rep.Datacenters) > 0:
			if dc = n.DC; !onlyDC(rep, dc) {
				return false
			}
		}
		return l.required(readers, rep, dc) == 1
	}
	return false
}

// onlyDC reports whether all copies are in one DC.
func onlyDC(rep vnodes.Replication, dc string) bool {
	for other, n := range rep.Datacenters {
		if other != dc && n > 0 {
			return false
		}
	}
	return true
}
