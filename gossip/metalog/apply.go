package metalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"nodedb/node/fault"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Apply is the state machine: the state after s once e was decided as the next entry. It is pure and deterministic;
// what it does for a given entry may never change between versions of nodedb, or nodes would part ways.
//
// The next state always has the next epoch. An entry that is invalid changes nothing else, and err says why: it wraps
// ErrInvalid, ErrAddressUsed or schema's sentinels. A duplicate of a recent entry changes nothing. Where the topology
// changed, Ring is nil: the caller completes the state. s is nil before the founding entry. A nil next with ErrUnknown
// means that this nodedb can't go on.
func Apply(s *State, e *Entry) (next *State, target schema.Target, err error) {
	if s == nil {
		next, err = found(e)
		return next, target, err
	}
	ok, duplicate := s.seen(e.ID)
	if !duplicate || fault.Planted("metalog/entry-applied-twice") {
		next, target, err = change(s, e)
		if next == nil && err == nil {
			return nil, target, fmt.Errorf("%w: entry %d is of %s", ErrUnknown, s.Epoch+1, e.Kind)
		}
		if err != nil && isUnknown(err) {
			return nil, target, err
		}
		ok = err == nil
	} else if !ok {
		err = fmt.Errorf("%w: the same proposal was refused before", ErrInvalid)
	}
	if next == nil || err != nil {
		unchanged := *s
		next = &unchanged
	}
	next.Epoch = s.Epoch + 1
	next.recent = remember(s.recent, proposal{e.ID, ok})
	return next, target, err
}

// remember adds to a list that is kept as long as entries are. The backing array is shared by the states of one node,
// never overwritten.
func remember(recent []proposal, p proposal) []proposal {
	if len(recent) >= keepEntries {
		recent = recent[len(recent)-keepEntries+1:]
	}
	return append(recent[:len(recent):len(recent)], p)
}

// found makes the first state.
func found(e *Entry) (*State, error) {
	if e.Kind != EntryFound || e.Found == nil || len(e.Found.Nodes) == 0 {
		return nil, fmt.Errorf("%w: epoch 1 has to found the cluster, got %s", ErrCorrupt, e.Kind)
	}
	s := &State{
		Epoch: 1, RingEpoch: 1, ClusterID: e.Found.ClusterID, Name: e.Found.Name, Catalog: schema.Empty(),
		recent: []proposal{{e.ID, true}},
	}
	for _, n := range e.Found.Nodes {
		n.State = vnodes.StateNormal
		s.Members = append(s.Members, Member{Node: n, Joined: 1})
		if len(s.Voters) < MaxVoters {
			s.Voters = append(s.Voters, n.ID)
		}
	}
	slices.SortFunc(s.Members, func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return s, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// change gives the state with e's effect. Nil and no error: the kind is unknown.
func change(s *State, e *Entry) (next *State, target schema.Target, err error) {
	switch e.Kind {
	case EntryFound:
		err = invalid("the cluster is founded already")
	case EntryAddMember:
		next, err = addMember(s, &e.Node)
	case EntrySetState:
		next, err = setState(s, &e.Node, e.From)
	case EntryRemoveMember:
		next, err = removeMember(s, e.Host)
	case EntryVoters:
		next, err = changeVoters(s, e.Host, e.Drop)
	case EntrySchema:
		return changeSchema(s, e.Change)
	case EntryAddress:
		next, err = changeAddress(s, e.Host, e.Node.Address)
	}
	return next, target, err
}

// topology copies the state for a change of its members: the ring has to be built again.
func (s *State) topology() *State {
	next := *s
	next.Members = slices.Clone(s.Members)
	next.Ring, next.RingEpoch = nil, s.Epoch+1
	return &next
}

func addMember(s *State, n *vnodes.Node) (*State, error) {
	i, member := s.search(n.ID)
	switch {
	case member:
		return nil, invalid("%s is a member already", n.ID)
	case slices.Contains(s.Removed, n.ID):
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, n.ID, ErrRemoved)
	case n.ID.IsZero() || n.Address == "" || n.DC == "" || n.Rack == "":
		return nil, invalid("a member needs a host id, an address, a datacenter and a rack; got %q, %q, %q, %q", n.ID, n.Address, n.DC, n.Rack)
	case n.Weight < 1 || n.Weight > maxTokens:
		return nil, invalid("num_tokens is %d; want 1 to %d", n.Weight, maxTokens)
	}
	if err := addressFree(s, n.ID, n.Address); err != nil {
		return nil, err
	}
	next := s.topology()
	added := *n
	added.State, added.Tokens = vnodes.StateWaiting, nil
	next.Members = slices.Insert(next.Members, i, Member{Node: added, Joined: s.Epoch + 1})
	return next, nil
}

func addressFree(s *State, id vnodes.HostID, address string) error {
	for i := range s.Members {
		if m := &s.Members[i]; m.Address == address && m.ID != id {
			return fmt.Errorf("%w (%s is %s)", ErrAddressUsed, address, m.ID)
		}
	}
	return nil
}

// nextStates are the legal steps of a member, the way there and the way back, one at a time: who is at most one step
// apart meets the others' reads and writes. From "read new" to "old only" in one step, those who still read the new
// owners alone would miss what is written to the old ones alone.
var nextStates = map[vnodes.NodeState][]vnodes.NodeState{
	vnodes.StateWaiting:     {vnodes.StateJoining},
	vnodes.StateJoining:     {vnodes.StateJoiningRead, vnodes.StateWaiting},
	vnodes.StateJoiningRead: {vnodes.StateNormal, vnodes.StateJoining},
	vnodes.StateNormal:      {vnodes.StateLeaving},
	vnodes.StateLeaving:     {vnodes.StateLeavingRead, vnodes.StateNormal},
	vnodes.StateLeavingRead: {vnodes.StateLeaving},
}

func setState(s *State, n *vnodes.Node, from vnodes.NodeState) (*State, error) {
	i, ok := s.search(n.ID)
	if !ok {
		return nil, invalid("%s is no member", n.ID)
	}
	m := &s.Members[i]
	if m.State != from {
		return nil, invalid("%s is %s, not %s", m.Address, m.State, from)
	}
	if !slices.Contains(nextStates[from], n.State) {
		return nil, invalid("%s can't go from %s to %s", m.Address, from, n.State)
	}
	if !from.Moving() {
		if err := mayMove(s, m); err != nil {
			return nil, err
		}
	}
	next := s.topology()
	changed := &next.Members[i]
	changed.State = n.State
	switch n.State {
	case vnodes.StateWaiting:
		changed.Tokens = nil
	case vnodes.StateJoining:
		if from != vnodes.StateWaiting {
			break // back a step: it keeps its tokens
		}
		if err := checkTokens(s, n.Tokens, m.Weight); err != nil {
			return nil, err
		}
		changed.Tokens = n.Tokens
	}
	return next, nil
}

// mayMove: one member moves at a time, and somebody has to keep the data.
func mayMove(s *State, m *Member) error {
	normal := 0
	for i := range s.Members {
		other := &s.Members[i]
		if other.State.Moving() {
			return invalid("%s is %s; %s waits in line until it is done", other.Address, other.State, m.Address)
		}
		if other.State == vnodes.StateNormal && other.ID != m.ID {
			normal++
		}
	}
	if m.State == vnodes.StateNormal && normal == 0 {
		return invalid("%s is the last normal member: there is nobody to take its ranges", m.Address)
	}
	return nil
}

func checkTokens(s *State, tokens []vnodes.Token, want int) error {
	if len(tokens) != want {
		return invalid("%d tokens for a member that asked for %d", len(tokens), want)
	}
	for i, t := range tokens {
		if t == vnodes.MinToken || i > 0 && tokens[i-1] >= t {
			return invalid("tokens have to ascend, and the smallest of all belongs to nobody")
		}
	}
	for i := range s.Members {
		for _, t := range s.Members[i].Tokens {
			if _, used := slices.BinarySearch(tokens, t); used {
				return invalid("token %d belongs to %s", t, s.Members[i].Address)
			}
		}
	}
	return nil
}

// removeMember drops one that holds no data any more, or none yet; it is no voter then either.
func removeMember(s *State, id vnodes.HostID) (*State, error) {
	i, ok := s.search(id)
	if !ok {
		return nil, invalid("%s is no member", id)
	}
	m := &s.Members[i]
	if m.State == vnodes.StateNormal || m.State == vnodes.StateLeaving {
		return nil, invalid("%s is %s: it has to leave first, so that its data moves", m.Address, m.State)
	}
	if m.State == vnodes.StateJoiningRead {
		return nil, invalid("%s is %s: set it back to %s first, and wait until the owners of its ranges have applied that, so that nobody reads from it any more",
			m.Address, m.State, vnodes.StateJoining)
	}
	next := s.topology()
	next.Members = slices.Delete(next.Members, i, i+1)
	next.Removed = append(s.Removed[:len(s.Removed):len(s.Removed)], id)
	if s.IsVoter(id) {
		dropped, err := changeVoters(s, id, true)
		if err != nil {
			return nil, err
		}
		next.Voters = dropped.Voters
	}
	return next, nil
}

func changeVoters(s *State, id vnodes.HostID, drop bool) (*State, error) {
	next := *s
	if drop {
		i := slices.Index(s.Voters, id)
		switch {
		case i < 0:
			return nil, invalid("%s is no voter", id)
		case len(s.Voters) == 1:
			return nil, invalid("%s is the only voter", id)
		}
		next.Voters = slices.Delete(slices.Clone(s.Voters), i, i+1)
		return &next, nil
	}
	m, ok := s.Member(id)
	switch {
	case !ok:
		return nil, invalid("%s is no member", id)
	case s.IsVoter(id):
		return nil, invalid("%s is a voter already", m.Address)
	case m.State != vnodes.StateNormal:
		return nil, invalid("%s is %s; only normal members vote", m.Address, m.State)
	case len(s.Voters) >= MaxVoters:
		return nil, invalid("there are %d voters already", len(s.Voters))
	}
	next.Voters = append(s.Voters[:len(s.Voters):len(s.Voters)], id)
	return &next, nil
}

func changeAddress(s *State, id vnodes.HostID, address string) (*State, error) {
	i, ok := s.search(id)
	switch {
	case !ok:
		return nil, invalid("%s is no member", id)
	case address == "":
		return nil, invalid("%s: an empty address", id)
	}
	if err := addressFree(s, id, address); err != nil {
		return nil, err
	}
	if s.Members[i].Address == address {
		unchanged := *s
		return &unchanged, nil
	}
	next := s.topology()
	next.Members[i].Address = address
	return next, nil
}

// changeSchema: what is wrong with the change itself is schema's to say. One that it can't read was written by a newer
// nodedb, since a proposer reads its own first.
func changeSchema(s *State, raw []byte) (*State, schema.Target, error) {
	ch, err := schema.DecodeChange(raw)
	if err != nil {
		return nil, schema.Target{}, fmt.Errorf("%w: schema change at epoch %d: %w", ErrUnknown, s.Epoch+1, err)
	}
	next := *s
	catalog, target, err := s.Catalog.Apply(ch, s.Epoch+1)
	if err != nil {
		return nil, target, err
	}
	if ch.Op == schema.AlterKeyspace {
		if err := mayReplicate(s, catalog, ch.Keyspace); err != nil {
			return nil, schema.Target{}, err
		}
	}
	next.Catalog = catalog
	return &next, target, nil
}

// mayReplicate refuses a replication under which some range of a keyspace with tables would have other owners: nothing moves the data to them, and reads
// would not find it.
func mayReplicate(s *State, catalog *schema.Catalog, keyspace string) error {
	was, ok := s.Catalog.Keyspace(keyspace)
	is, still := catalog.Keyspace(keyspace)
	if !ok || !still || len(was.Tables) == 0 {
		return nil
	}
	at := *s // its ring may not be built yet while stored entries are replayed
	ring := at.withRing().Ring
	before, after := ring.Place(was.Replication), ring.Place(is.Replication)
	for _, rr := range before.Ranges() {
		if !sameOwners(rr.Replicas.Write(), after.Replicas(rr.Range.End).Write()) {
			return fmt.Errorf("%w: the new replication of keyspace %s gives its data other owners, and this release does not move it to them: "+
				"drop its %d tables first, or create another keyspace and copy them", schema.ErrInvalid, keyspace, len(was.Tables))
		}
	}
	return nil
}

func sameOwners(a, b []*vnodes.Node) bool {
	if len(a) != len(b) {
		return false
	}
	for _, n := range a {
		if !slices.ContainsFunc(b, func(m *vnodes.Node) bool { return m.ID == n.ID }) {
			return false
		}
	}
	return true
}

func isUnknown(err error) bool { return errors.Is(err, ErrUnknown) }
