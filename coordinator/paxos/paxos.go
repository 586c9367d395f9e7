// Package paxos is single-decree Paxos, pure: the acceptor and the proposer's round, used by the metadata log and by
// lightweight transactions. No I/O, no clock, no randomness: ballots come from the caller. It may import vnodes. Start
// reading at Acceptor.
package paxos

import (
	"bytes"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// Ballot orders proposals: by Time, then by proposer. The zero Ballot is smaller than all others and is never promised.
type Ballot struct {
	Time uint64
	Node vnodes.HostID
}

// Less orders ballots.
func (b Ballot) Less(o Ballot) bool {
	if b.Time != o.Time {
		return b.Time < o.Time
	}
	return bytes.Compare(b.Node[:], o.Node[:]) < 0
}

// Accepted is a value with the ballot under which it was accepted.
type Accepted struct {
	Ballot Ballot
	Value  []byte
}

// Acceptor is the durable state of one instance at one node. Store Append's bytes, synced, before the answer leaves.
//
// Safety rests on three invariants (Lamport, "Paxos Made Simple", section 2.2):
//
//	P1  Promised never falls, and nothing is accepted under a ballot below it.
//	P2  A ballot is promised once. A proposer whose clock went back may use a ballot again; it gets no second majority for
//	    it, so that under one ballot one value is proposed. (That is stricter than the paper, which asks for unique ballots.)
//	P3  Accepted is what was accepted last, which is what was accepted under the highest ballot.
type Acceptor struct {
	Promised Ballot
	Accepted *Accepted
}

// Promise answers a prepare.
type Promise struct {
	OK       bool
	Promised Ballot    // the one that stands in the way, when refused
	Accepted *Accepted // what was accepted before
}

// Prepare promises b, or refuses because as high a ballot was promised before; changed says whether the state must be
// stored. A prepare that arrives twice is refused the second time (P2); the proposer goes by the first answer it gets.
func (a *Acceptor) Prepare(b Ballot) (p Promise, changed bool) {
	if !a.Promised.Less(b) {
		return Promise{Promised: a.Promised, Accepted: a.Accepted}, false
	}
	a.Promised = b
	return Promise{OK: true, Promised: b, Accepted: a.Accepted}, !fault.Planted("paxos/promise-not-stored")
}

// Accept takes a value under b unless a higher ballot was promised. It keeps value. The same accept again is granted
// again.
func (a *Acceptor) Accept(b Ballot, value []byte) (ok bool, promised Ballot, changed bool) {
	if b.Less(a.Promised) && !fault.Planted("paxos/accepts-below-promise") || b == (Ballot{}) {
		return false, a.Promised, false
	}
	if a.Accepted != nil && a.Accepted.Ballot == b {
		// Another value under one ballot can't come from a correct proposer (P2): never change one's word.
		return bytes.Equal(a.Accepted.Value, value), a.Promised, false
	}
	a.Promised = b
	a.Accepted = &Accepted{Ballot: b, Value: value}
	return true, b, true
}
