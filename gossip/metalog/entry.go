package metalog

import (
	"fmt"

	"nodedb/vnodes"
)

// EntryKind. Only append to this list: it is stored.
type EntryKind uint8

const (
	// EntryFound is epoch 1: the cluster's id, name, first members with tokens, voters.
	EntryFound EntryKind = iota + 1
	// EntryAddMember adds a member in StateWaiting; refused for a used address or removed id.
	EntryAddMember
	// EntrySetState moves a member to its next state. Going to StateJoining it carries the tokens; Propose chooses them
	// (ChooseTokens) if there are none. Only one member may be in a moving state at a time; others wait.
	EntrySetState
	// EntryRemoveMember removes it for good (its id goes to Removed).
	EntryRemoveMember
	// EntryVoters adds or drops one voter.
	EntryVoters
	// EntrySchema is a schema.Change.
	EntrySchema
	// EntryAddress records that a member (Host) restarted at another address (Node.Address).
	EntryAddress
)

var kindNames = [...]string{"", "found", "add member", "set state", "remove member", "voters", "schema", "address"}

// String is the kind's name in logs.
func (k EntryKind) String() string {
	if int(k) < len(kindNames) && k != 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Entry is one step of the state machine, as proposed.
type Entry struct {
	Kind   EntryKind
	ID     [16]byte    // proposal id: a duplicate is a no-op. Propose gives one if it is zero
	Node   vnodes.Node // AddMember; SetState: ID, State, Tokens, expected former state in From; Address: Address
	From   vnodes.NodeState
	Host   vnodes.HostID // RemoveMember, Voters, Address
	Drop   bool          // Voters
	Change []byte        // Schema: schema.Change bytes
	Found  *Founding
}

// Founding is the first entry. The voters are its first nodes, up to MaxVoters.
type Founding struct {
	ClusterID [16]byte
	Name      string
	Nodes     []vnodes.Node // with tokens
}

// entryVersion is the first byte of an entry.
//
//	offset  bytes  what
//	     0      1  version, 1
//	     1      1  kind
//	     2     16  proposal id
//	    18         by kind:
//	               found          cluster id (16), name, count of nodes, nodes
//	               add member     node
//	               set state      host id (16), from (1), to (1), tokens
//	               remove member  host id (16)
//	               voters         host id (16), drop (1: 0 or 1)
//	               schema         length, bytes of the change (query/schema has their diagram)
//	               address        host id (16), address
//
//	node:    host id (16), address, DC, rack, weight, state (1), tokens
//	tokens:  count, then 8 bytes each, big-endian
//	Texts are their length and their bytes; counts, lengths and the weight are uvarints.
const entryVersion = 1

// Append writes the entry's bytes; DecodeEntry reads them.
func (e *Entry) Append(dst []byte) []byte {
	dst = append(dst, entryVersion, byte(e.Kind))
	dst = append(dst, e.ID[:]...)
	switch e.Kind {
	case EntryFound:
		dst = append(dst, e.Found.ClusterID[:]...)
		dst = appendText(dst, e.Found.Name)
		dst = appendNumber(dst, uint64(len(e.Found.Nodes)))
		for i := range e.Found.Nodes {
			dst = appendNode(dst, &e.Found.Nodes[i])
		}
	case EntryAddMember:
		dst = appendNode(dst, &e.Node)
	case EntrySetState:
		dst = append(append(dst, e.Node.ID[:]...), byte(e.From), byte(e.Node.State))
		dst = appendTokens(dst, e.Node.Tokens)
	case EntryRemoveMember:
		dst = append(dst, e.Host[:]...)
	case EntryVoters:
		dst = appendBool(append(dst, e.Host[:]...), e.Drop)
	case EntrySchema:
		dst = appendText(dst, string(e.Change))
	case EntryAddress:
		dst = appendText(append(dst, e.Host[:]...), e.Node.Address)
	}
	return dst
}

// DecodeEntry reads an entry. Errors wrap ErrUnknown (a newer nodedb wrote it) or ErrCorrupt.
func DecodeEntry(b []byte) (*Entry, error) {
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != entryVersion {
		return nil, fmt.Errorf("%w: entry of version %d, this nodedb knows %d", ErrUnknown, v, entryVersion)
	}
	e := &Entry{Kind: EntryKind(r.byte()), ID: r.id()}
	switch e.Kind {
	case EntryFound:
		e.Found = &Founding{ClusterID: r.id(), Name: r.text()}
		for n := r.count(); n > 0 && r.err == nil; n-- {
			e.Found.Nodes = append(e.Found.Nodes, r.node())
		}
	case EntryAddMember:
		e.Node = r.node()
	case EntrySetState:
		e.Node.ID, e.From, e.Node.State = r.id(), r.state(), r.state()
		e.Node.Tokens = r.tokens()
	case EntryRemoveMember:
		e.Host = r.id()
	case EntryVoters:
		e.Host, e.Drop = r.id(), r.bool()
	case EntrySchema:
		e.Change = []byte(r.text())
	case EntryAddress:
		e.Host, e.Node.Address = r.id(), r.text()
	default:
		if r.err == nil {
			return nil, fmt.Errorf("%w: entry of %s", ErrUnknown, e.Kind)
		}
	}
	return e, r.end("entry")
}
