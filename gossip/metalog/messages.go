package metalog

import (
	"errors"
	"fmt"

	"nodedb/coordinator/paxos"
	"nodedb/node/rpc"
	"nodedb/vnodes"

	"github.com/vmihailenco/msgpack/v5"
)

// The messages of VerbHello, VerbFound and VerbMeta* are msgpack maps: a field that one side doesn't know is left out
// or skipped, so they can only grow. What they carry of entries and states has its own version.

// ballot is paxos.Ballot on the wire.
type ballot struct {
	Time uint64
	Node [16]byte
}

func toBallot(b paxos.Ballot) ballot  { return ballot{b.Time, b.Node} }
func (b ballot) ballot() paxos.Ballot { return paxos.Ballot{Time: b.Time, Node: b.Node} }

// accept is paxos.Accepted on the wire.
type accept struct {
	Ballot ballot
	Value  []byte
}

func toWire(a *paxos.Accepted) *accept {
	if a == nil {
		return nil
	}
	return &accept{toBallot(a.Ballot), a.Value}
}

func (a *accept) accepted() *paxos.Accepted {
	if a == nil {
		return nil
	}
	return &paxos.Accepted{Ballot: a.Ballot.ballot(), Value: a.Value}
}

// ask is VerbMetaPrepare's and VerbMetaAccept's request, for one epoch. A prepare has no value.
type ask struct {
	Generation uint64
	Epoch      uint64
	Ballot     ballot
	Value      []byte
}

// vote answers it: with what was decided, if the epoch is known here, else with the acceptor's word.
type vote struct {
	Known    *page
	OK       bool
	Promised ballot
	Accepted *accept
}

func (v *vote) promise() paxos.Promise {
	return paxos.Promise{OK: v.OK, Promised: v.Promised.ballot(), Accepted: v.Accepted.accepted()}
}

// page answers VerbMetaPull: entries from First on, or the whole state if they are not kept any more.
type page struct {
	Newest   uint64 // the sender's epoch
	First    uint64
	Entries  [][]byte
	Snapshot []byte
}

// pull asks for entries from From on, or (for a node that joins) for the whole state at any generation.
type pull struct {
	Generation uint64
	From       uint64
	Whole      bool
}

// learn is VerbMetaLearn's: an entry that was decided.
type learn struct {
	Generation uint64
	Epoch      uint64
	Entry      []byte
}

// verdict answers VerbMetaPropose. Only append to its codes.
type verdict struct {
	Code    uint8
	Message string
}

const (
	verdictOK uint8 = iota
	verdictInvalid
	verdictAddressUsed
	verdictRemoved
	verdictFailed // try again, here or elsewhere
)

// hello is VerbHello's, both ways: who one is, which cluster one belongs to, and which set one would found a cluster
// with.
type hello struct {
	Host    [16]byte
	Address string
	DC      string
	Rack    string
	Weight  int
	Name    string
	Cluster [16]byte // zero: none
	Epoch   uint64
	Set     []string // addresses with ports, ascending; empty: not founding (or in a cluster)
}

func (h *hello) clustered() bool { return h.Cluster != [16]byte{} }

func (h *hello) node() vnodes.Node {
	return vnodes.Node{ID: h.Host, Address: h.Address, DC: h.DC, Rack: h.Rack, Weight: h.Weight}
}

// foundAsk is VerbFound's: a step of the founding round among exactly Set.
type foundAsk struct {
	Step   uint8
	Set    []string
	Ballot ballot
	Value  []byte // an EntryFound
}

const (
	foundPrepare uint8 = iota + 1
	foundAccept
	foundLearn // Value is decided
)

// foundVote answers it. Not for me says that the receiver has another set, or a cluster.
type foundVote struct {
	NotForMe bool
	OK       bool
	Promised ballot
	Accepted *accept
}

func (v *foundVote) promise() paxos.Promise {
	return paxos.Promise{OK: v.OK, Promised: v.Promised.ballot(), Accepted: v.Accepted.accepted()}
}

// encode can't fail: the messages are plain data.
func encode(m any) []byte {
	b, err := msgpack.Marshal(m)
	if err != nil {
		panic("metalog: encode " + fmt.Sprintf("%T", m) + ": " + err.Error())
	}
	return b
}

// decode reads a message; errors wrap ErrCorrupt.
func decode(b []byte, m any) error {
	if err := msgpack.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrCorrupt, m, err)
	}
	return nil
}

// refuse turns an error into what travels.
func refuse(err error) error {
	code := rpc.CodeInternal
	switch {
	case errors.Is(err, ErrNoCluster), errors.Is(err, ErrClosed):
		code = rpc.CodeNotReady
	case errors.Is(err, ErrOverloaded):
		code = rpc.CodeOverloaded
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrUnknown):
		code = rpc.CodeInvalid
	}
	return &rpc.RemoteError{Code: code, Message: err.Error()}
}
