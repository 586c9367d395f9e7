package paxos

import (
	"bytes"
	"slices"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// Phase of a round.
type Phase uint8

const (
	Preparing Phase = iota
	Accepting
	Decided
	Refused // a higher ballot was seen: Highest() says which; start again above it
	Failed  // a majority can't be reached any more
)

var phaseNames = [...]string{"preparing", "accepting", "decided", "refused", "failed"}

// String is the phase's name.
func (p Phase) String() string { return phaseNames[p] }

// Round is a proposer's round over a fixed list of voters: it prepares, then has a value accepted, which is its own
// unless some voter had accepted another. A round that a minority refuses goes on with the majority.
//
// The driver sends prepares to all voters at the start, accepts to all when the phase becomes Accepting, and calls
// OnUnreachable for requests of the current phase only.
type Round struct {
	ballot  Ballot
	voters  []vnodes.HostID
	own     []byte
	phase   Phase
	sent    bool      // the accept phase was reached: answers are those to accepts
	highest Ballot    // of any answer
	adopted *Accepted // what must be finished: of the promises, the one accepted under the highest ballot
	answers []reply   // of voters, in the current phase
}

// reply is what is known of a voter in one phase.
type reply uint8

const (
	silent reply = iota
	unreachable
	refusing
	granted
)

// NewRound begins a round that would propose value unless it must finish somebody else's. It keeps voters and value.
func NewRound(b Ballot, voters []vnodes.HostID, value []byte) *Round {
	r := &Round{ballot: b, voters: voters, own: value, highest: b, answers: make([]reply, len(voters))}
	if len(voters) == 0 {
		r.phase = Failed
	}
	return r
}

// OnPromise takes the answer to a prepare and gives the phase after it. In any order, duplicates included: a voter's
// first answer counts.
func (r *Round) OnPromise(from vnodes.HostID, p Promise) Phase {
	i := slices.Index(r.voters, from)
	if i < 0 || r.phase != Preparing || r.answers[i] > unreachable {
		return r.phase
	}
	r.note(p.Promised)
	if !p.OK {
		r.answers[i] = refusing
		return r.settle()
	}
	r.answers[i] = granted
	if p.Accepted != nil && (r.adopted == nil || r.adopted.Ballot.Less(p.Accepted.Ballot)) {
		r.adopted = p.Accepted
	}
	if r.settle() == Preparing && r.count(granted) >= r.majority() {
		r.phase, r.sent = Accepting, true
		clear(r.answers)
	}
	return r.phase
}

// OnAccepted takes the answer to an accept. A late one may still decide a round that was given up.
func (r *Round) OnAccepted(from vnodes.HostID, ok bool, promised Ballot) Phase {
	i := slices.Index(r.voters, from)
	if i < 0 || !r.sent || r.answers[i] > unreachable {
		return r.phase
	}
	r.note(promised)
	if !ok {
		r.answers[i] = refusing
		return r.settle()
	}
	r.answers[i] = granted
	return r.settle()
}

// OnUnreachable takes that a request of the current phase went unanswered.
func (r *Round) OnUnreachable(from vnodes.HostID) Phase {
	if i := slices.Index(r.voters, from); i >= 0 && r.answers[i] == silent {
		r.answers[i] = unreachable
		return r.settle()
	}
	return r.phase
}

// settle sees whether a majority has accepted, or can't be reached any more.
func (r *Round) settle() Phase {
	switch {
	case r.sent && r.count(granted) >= r.majority():
		r.phase = Decided
	case r.phase == Preparing || r.phase == Accepting:
		r.giveUp()
	}
	return r.phase
}

func (r *Round) giveUp() {
	lost := r.count(unreachable)
	refused := r.count(refusing)
	switch spare := len(r.voters) - r.majority(); {
	case lost > spare:
		r.phase = Failed
	case lost+refused > spare:
		r.phase = Refused
	}
}

func (r *Round) count(what reply) (n int) {
	for _, a := range r.answers {
		if a == what {
			n++
		}
	}
	return n
}

func (r *Round) majority() int { return len(r.voters)/2 + 1 }

func (r *Round) note(b Ballot) {
	if r.highest.Less(b) {
		r.highest = b
	}
}

// Phase is where the round stands.
func (r *Round) Phase() Phase { return r.phase }

// Ballot is the round's own.
func (r *Round) Ballot() Ballot { return r.ballot }

// Value is what is proposed: to be trusted from Accepting on.
func (r *Round) Value() []byte {
	if r.adopted != nil && !fault.Planted("paxos/proposes-its-own") {
		return r.adopted.Value
	}
	return r.own
}

// Mine says whether Value is the caller's (also when an earlier round of the caller had it accepted).
func (r *Round) Mine() bool { return r.adopted == nil || bytes.Equal(r.adopted.Value, r.own) }

// Highest is the highest ballot seen, at least the round's own.
func (r *Round) Highest() Ballot { return r.highest }
