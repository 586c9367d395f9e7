// Package paxos is single-decree Paxos, pure: the acceptor and the proposer's round, used by the metadata log and by lightweight
// transactions. No I/O, no clock, no randomness: ballots come from the caller. It may import vnodes. Start reading at Acceptor.
package paxos

import "nodedb/vnodes"

// Ballot orders proposals: by Time, then by proposer. The zero Ballot is smaller than all others.
type Ballot struct {
	Time uint64
	Node vnodes.HostID
}

// Less orders ballots.
func (b Ballot) Less(o Ballot) bool { panic("contract") }

// Accepted is a value with the ballot under which it was accepted.
type Accepted struct {
	Ballot Ballot
	Value  []byte
}

// Acceptor is the durable state of one instance at one node. Store Append's bytes, synced, before the answer leaves.
type Acceptor struct {
	Promised Ballot
	Accepted *Accepted
}

// Prepare promises b, or refuses because of a higher promise; changed says whether the state must be stored.
func (a *Acceptor) Prepare(b Ballot) (p Promise, changed bool) { panic("contract") }

// Accept takes a value under b unless a higher ballot was promised.
func (a *Acceptor) Accept(b Ballot, value []byte) (ok bool, promised Ballot, changed bool) {
	panic("contract")
}

// Append writes the acceptor's state (versioned); DecodeAcceptor reads it.
func (a *Acceptor) Append(dst []byte) []byte     { panic("contract") }
func DecodeAcceptor(b []byte) (*Acceptor, error) { panic("contract") }

// Promise answers a prepare.
type Promise struct {
	OK       bool
	Promised Ballot    // the higher one, when refused
	Accepted *Accepted // what was accepted before
}

// Round is a proposer's round over a fixed list of voters.
type Round struct{}

// Phase of a round.
type Phase uint8

const (
	Preparing Phase = iota
	Accepting
	Decided
	Refused // a higher ballot was seen: Highest() says which; start again above it
	Failed  // a majority can't be reached any more
)

// NewRound begins a round that would propose value unless it must finish somebody else's.
func NewRound(b Ballot, voters []vnodes.HostID, value []byte) *Round { panic("contract") }

// OnPromise, OnAccepted and OnUnreachable take answers in any order, duplicates included, and give the phase after them.
func (r *Round) OnPromise(from vnodes.HostID, p Promise) Phase                 { panic("contract") }
func (r *Round) OnAccepted(from vnodes.HostID, ok bool, promised Ballot) Phase { panic("contract") }
func (r *Round) OnUnreachable(from vnodes.HostID) Phase                        { panic("contract") }

// Phase is where the round stands. Value is what is (or must be) proposed; Mine says whether it is the caller's.
func (r *Round) Phase() Phase    { panic("contract") }
func (r *Round) Value() []byte   { panic("contract") }
func (r *Round) Mine() bool      { panic("contract") }
func (r *Round) Highest() Ballot { panic("contract") }
