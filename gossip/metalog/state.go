package metalog

import (
	"bytes"
	"fmt"
	"slices"

	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Member of the cluster.
type Member struct {
	vnodes.Node
	Joined  uint64 // epoch
	Applied uint64 // reserved
}

// State is the cluster's metadata after entry Epoch. Immutable.
type State struct {
	Generation uint64 // recovery generation
	Epoch      uint64
	ClusterID  [16]byte
	Name       string
	Members    []Member // by host id
	Voters     []vnodes.HostID
	RingEpoch  uint64 // last entry that changed members, addresses, states or tokens
	Ring       *vnodes.Ring
	Catalog    *schema.Catalog
	Removed    []vnodes.HostID // never admitted again

	recent []proposal // the last keepEntries, oldest first: by this a duplicate is known
}

// proposal is an entry that was decided, and whether it changed something.
type proposal struct {
	id [16]byte
	ok bool
}

// Member finds a member.
func (s *State) Member(id vnodes.HostID) (*Member, bool) {
	i, ok := s.search(id)
	if !ok {
		return nil, false
	}
	return &s.Members[i], true
}

func (s *State) search(id vnodes.HostID) (int, bool) {
	return slices.BinarySearchFunc(s.Members, id, func(m Member, id vnodes.HostID) int { return bytes.Compare(m.ID[:], id[:]) })
}

// IsVoter reports whether id is a voter.
func (s *State) IsVoter(id vnodes.HostID) bool { return slices.Contains(s.Voters, id) }

// seen finds a proposal among the recent ones.
func (s *State) seen(id [16]byte) (ok, found bool) {
	for i := range s.recent {
		if s.recent[i].id == id {
			return s.recent[i].ok, true
		}
	}
	return false, false
}

// withRing completes a state whose topology changed. The ring is built here, and not for each of many entries that are
// replayed.
func (s *State) withRing() *State {
	if s.Ring == nil {
		nodes := make([]vnodes.Node, len(s.Members))
		for i := range s.Members {
			nodes[i] = s.Members[i].Node
		}
		s.Ring = vnodes.NewRing(s.RingEpoch, nodes)
	}
	return s
}

// NextVoter gives the entry that makes a normal member a voter, as long as there are fewer than MaxVoters; false when
// nothing is to be done. Of several it takes one of a rack that has the fewest voters, then the one that joined first.
func NextVoter(s *State) (Entry, bool) {
	if len(s.Voters) >= MaxVoters {
		return Entry{}, false
	}
	inRack := map[[2]string]int{}
	for _, id := range s.Voters {
		if m, ok := s.Member(id); ok {
			inRack[[2]string{m.DC, m.Rack}]++
		}
	}
	var best *Member
	for i := range s.Members {
		m := &s.Members[i]
		if m.State != vnodes.StateNormal || s.IsVoter(m.ID) {
			continue
		}
		if best == nil || less(inRack, m, best) {
			best = m
		}
	}
	if best == nil {
		return Entry{}, false
	}
	return Entry{Kind: EntryVoters, Host: best.ID}, true
}

func less(inRack map[[2]string]int, a, b *Member) bool {
	if x, y := inRack[[2]string{a.DC, a.Rack}], inRack[[2]string{b.DC, b.Rack}]; x != y {
		return x < y
	}
	return a.Joined < b.Joined
}

// stateVersion is the first byte of a snapshot.
//
//	offset  bytes  what
//	     0      1  version, 1
//	     1         generation, epoch, ring epoch (uvarints)
//	     …     16  cluster id
//	     …         name
//	     …         count of members, then for each: node (as in an entry), joined, applied (uvarints)
//	     …         count of voters, 16 bytes each
//	     …         count of removed host ids, 16 bytes each
//	     …         count of recent proposals, for each: id (16), 1 if it changed something else 0
//	     …         length and bytes of the catalog (query/schema has their diagram)
const stateVersion = 1

// Append writes the whole state, canonical: equal states have equal bytes. DecodeState reads it.
func (s *State) Append(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = appendNumber(appendNumber(appendNumber(dst, s.Generation), s.Epoch), s.RingEpoch)
	dst = appendText(append(dst, s.ClusterID[:]...), s.Name)
	dst = appendNumber(dst, uint64(len(s.Members)))
	for i := range s.Members {
		m := &s.Members[i]
		dst = appendNumber(appendNumber(appendNode(dst, &m.Node), m.Joined), m.Applied)
	}
	for _, list := range [][]vnodes.HostID{s.Voters, s.Removed} {
		dst = appendNumber(dst, uint64(len(list)))
		for _, id := range list {
			dst = append(dst, id[:]...)
		}
	}
	dst = appendNumber(dst, uint64(len(s.recent)))
	for i := range s.recent {
		dst = appendBool(append(dst, s.recent[i].id[:]...), s.recent[i].ok)
	}
	return appendText(dst, string(s.Catalog.Append(nil)))
}

// DecodeState reads a snapshot, and builds the ring. Errors wrap ErrUnknown or ErrCorrupt.
func DecodeState(b []byte) (*State, error) {
	const anyNumber = 1<<64 - 1
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != stateVersion {
		return nil, fmt.Errorf("%w: snapshot of version %d, this nodedb knows %d", ErrUnknown, v, stateVersion)
	}
	s := &State{Generation: r.number(anyNumber), Epoch: r.number(anyNumber), RingEpoch: r.number(anyNumber), ClusterID: r.id(), Name: r.text()}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m := Member{Node: r.node(), Joined: r.number(anyNumber), Applied: r.number(anyNumber)}
		if k := len(s.Members); k > 0 && bytes.Compare(s.Members[k-1].ID[:], m.ID[:]) >= 0 {
			r.fail("order of members")
		}
		s.Members = append(s.Members, m)
	}
	for _, list := range []*[]vnodes.HostID{&s.Voters, &s.Removed} {
		for n := r.count(); n > 0 && r.err == nil; n-- {
			*list = append(*list, r.id())
		}
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		s.recent = append(s.recent, proposal{r.id(), r.bool()})
	}
	catalog := r.text()
	if err := r.end("snapshot"); err != nil {
		return nil, err
	}
	var err error
	if s.Catalog, err = schema.DecodeCatalog([]byte(catalog)); err != nil {
		return nil, fmt.Errorf("%w: snapshot of epoch %d: %w", ErrUnknown, s.Epoch, err)
	}
	return s.withRing(), nil
}
