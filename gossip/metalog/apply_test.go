package metalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nodedb/query/schema"
	"nodedb/vnodes"

	"pgregory.net/rapid"
)

func host(i int) vnodes.HostID { return vnodes.HostID{15: byte(i)} }

// proposalID makes ids that differ.
func proposalID(i int) (id [16]byte) {
	id[0], id[14], id[15] = 1, byte(i>>8), byte(i)
	return id
}

// founded is a state with normal members 1 to n of two tokens each.
func founded(t interface{ Fatal(...any) }, n int) *State {
	f := &Founding{ClusterID: [16]byte{7}, Name: "test"}
	for i := 1; i <= n; i++ {
		f.Nodes = append(f.Nodes, vnodes.Node{ID: host(i), Address: ip(i), DC: "dc", Rack: "r", Weight: 2,
			Tokens: []vnodes.Token{vnodes.Token(i * 100), vnodes.Token(i*100 + 50)}})
	}
	s, _, err := Apply(nil, &Entry{Kind: EntryFound, ID: proposalID(0), Found: f})
	if err != nil {
		t.Fatal(err)
	}
	return s.withRing()
}

func setStateOf(i int, from, to vnodes.NodeState, tokens ...vnodes.Token) Entry {
	return Entry{Kind: EntrySetState, Node: vnodes.Node{ID: host(i), State: to, Tokens: tokens}, From: from}
}

func newMember(i int, at string) Entry {
	return Entry{Kind: EntryAddMember, Node: vnodes.Node{ID: host(i), Address: at, DC: "dc", Rack: "r", Weight: 2}}
}

// story is a list of entries on a cluster of three; the last one's verdict is looked at.
type story struct {
	entries []Entry
	err     error
	says    string
}

// stories are the rules, and how they are broken.
func stories() map[string]story {
	const (
		normal, joining, joiningRead = vnodes.StateNormal, vnodes.StateJoining, vnodes.StateJoiningRead
		leaving, leavingRead         = vnodes.StateLeaving, vnodes.StateLeavingRead
		waiting                      = vnodes.StateWaiting
	)
	add4, add5 := newMember(4, ip(4)), newMember(5, ip(5))
	join4 := setStateOf(4, waiting, joining, 1, 2)
	remove := func(i int) Entry { return Entry{Kind: EntryRemoveMember, Host: host(i)} }
	voter := func(i int, drop bool) Entry { return Entry{Kind: EntryVoters, Host: host(i), Drop: drop} }
	list := func(es ...Entry) []Entry { return es }
	return map[string]story{
		"add":                          {list(add4), nil, ""},
		"add twice":                    {list(add4, newMember(4, ip(9))), ErrInvalid, "member already"},
		"used address":                 {list(newMember(4, ip(2))), ErrAddressUsed, host(2).String()},
		"no rack":                      {list(Entry{Kind: EntryAddMember, Node: vnodes.Node{ID: host(4), Address: ip(4), DC: "dc", Weight: 2}}), ErrInvalid, "rack"},
		"no tokens wanted":             {list(Entry{Kind: EntryAddMember, Node: vnodes.Node{ID: host(4), Address: ip(4), DC: "dc", Rack: "r"}}), ErrInvalid, "num_tokens is 0"},
		"removed id":                   {list(add4, remove(4), add4), ErrRemoved, "wipe"},
		"address of a removed":         {list(add4, remove(4), newMember(5, ip(4))), nil, ""},
		"join":                         {list(add4, join4), nil, ""},
		"join without tokens":          {list(add4, setStateOf(4, waiting, joining)), ErrInvalid, "0 tokens for a member that asked for 2"},
		"join with a used token":       {list(add4, setStateOf(4, waiting, joining, 1, 100)), ErrInvalid, "token 100 belongs to " + ip(1)},
		"join with equal tokens":       {list(add4, setStateOf(4, waiting, joining, 5, 5)), ErrInvalid, "ascend"},
		"join with the least token":    {list(add4, setStateOf(4, waiting, joining, vnodes.MinToken, 5)), ErrInvalid, "smallest"},
		"another joins meanwhile":      {list(add4, add5, join4, setStateOf(5, waiting, joining, 3, 4)), ErrInvalid, ip(4) + " is joining; " + ip(5) + " waits in line"},
		"another leaves meanwhile":     {list(add4, join4, setStateOf(1, normal, leaving)), ErrInvalid, "waits in line"},
		"joined":                       {list(add4, join4, setStateOf(4, joining, joiningRead), setStateOf(4, joiningRead, normal)), nil, ""},
		"step left out":                {list(add4, join4, setStateOf(4, joining, normal)), ErrInvalid, "can't go from joining to normal"},
		"wrong former state":           {list(add4, setStateOf(4, joining, joiningRead)), ErrInvalid, "is waiting, not joining"},
		"join rolled back":             {list(add4, join4, setStateOf(4, joining, waiting), add5, setStateOf(5, waiting, joining, 1, 2)), nil, ""},
		"late join rolled back":        {list(add4, join4, setStateOf(4, joining, joiningRead), setStateOf(4, joiningRead, joining), setStateOf(4, joining, waiting)), nil, ""},
		"rolled back in one step":      {list(add4, join4, setStateOf(4, joining, joiningRead), setStateOf(4, joiningRead, waiting)), ErrInvalid, "can't go from"},
		"a step back and forth":        {list(add4, join4, setStateOf(4, joining, joiningRead), setStateOf(4, joiningRead, joining), setStateOf(4, joining, joiningRead)), nil, ""},
		"joiner removed":               {list(add4, join4, remove(4)), nil, ""},
		"late joiner removed":          {list(add4, join4, setStateOf(4, joining, joiningRead), remove(4)), ErrInvalid, "set it back to joining first"},
		"late joiner removed in steps": {list(add4, join4, setStateOf(4, joining, joiningRead), setStateOf(4, joiningRead, joining), remove(4)), nil, ""},
		"normal removed":               {list(remove(1)), ErrInvalid, "has to leave first"},
		"leaving removed":              {list(setStateOf(1, normal, leaving), remove(1)), ErrInvalid, "has to leave first"},
		"left":                         {list(setStateOf(1, normal, leaving), setStateOf(1, leaving, leavingRead), remove(1)), nil, ""},
		"leave called off":             {list(setStateOf(1, normal, leaving), setStateOf(1, leaving, normal)), nil, ""},
		"late leave called off":        {list(setStateOf(1, normal, leaving), setStateOf(1, leaving, leavingRead), setStateOf(1, leavingRead, leaving), setStateOf(1, leaving, normal)), nil, ""},
		"leave called off in one step": {list(setStateOf(1, normal, leaving), setStateOf(1, leaving, leavingRead), setStateOf(1, leavingRead, normal)), ErrInvalid, "can't go from"},
		"stranger moves":               {list(setStateOf(9, normal, leaving)), ErrInvalid, "no member"},
		"stranger removed":             {list(remove(9)), ErrInvalid, "no member"},
		"voter dropped":                {list(voter(1, true)), nil, ""},
		"voter dropped twice":          {list(voter(1, true), voter(1, true)), ErrInvalid, "no voter"},
		"last voter dropped":           {list(voter(1, true), voter(2, true), voter(3, true)), ErrInvalid, "only voter"},
		"voter again":                  {list(voter(1, true), voter(1, false)), nil, ""},
		"voter twice":                  {list(voter(1, false)), ErrInvalid, "a voter already"},
		"waiting voter":                {list(add4, voter(4, false)), ErrInvalid, "only normal members vote"},
		"strange voter":                {list(voter(9, false)), ErrInvalid, "no member"},
		"address":                      {list(Entry{Kind: EntryAddress, Host: host(1), Node: vnodes.Node{Address: ip(9)}}), nil, ""},
		"address of another":           {list(Entry{Kind: EntryAddress, Host: host(1), Node: vnodes.Node{Address: ip(2)}}), ErrAddressUsed, ip(2)},
		"empty address":                {list(Entry{Kind: EntryAddress, Host: host(1)}), ErrInvalid, "empty address"},
		"founded again":                {list(Entry{Kind: EntryFound, Found: &Founding{}}), ErrInvalid, "founded already"},
		"keyspace":                     {list(*keyspace("a")), nil, ""},
		"keyspace twice":               {list(*keyspace("a"), *keyspace("a")), schema.ErrExists, `existing keyspace "a"`},
		"only voter removed":           {list(voter(2, true), voter(3, true), setStateOf(1, normal, leaving), setStateOf(1, leaving, leavingRead), remove(1)), ErrInvalid, "only voter"},
		"unreadable schema change":     {list(Entry{Kind: EntrySchema, Change: []byte{99}}), ErrUnknown, "epoch 2"},
		"unknown kind of entry":        {list(Entry{Kind: 99}), ErrUnknown, "kind 99"},
		"tokens of a leaver are used":  {list(setStateOf(1, normal, leaving), setStateOf(1, leaving, leavingRead), add4, setStateOf(4, waiting, joining, 100, 101)), ErrInvalid, ""},
	}
}

func TestApplyRules(t *testing.T) {
	for name, c := range stories() {
		t.Run(name, func(t *testing.T) {
			s := founded(t, 3)
			var err error
			for i := range c.entries {
				if err != nil {
					t.Fatalf("entry %d before the last: %v", i-1, err)
				}
				c.entries[i].ID = proposalID(i + 1)
				var next *State
				if next, _, err = Apply(s, &c.entries[i]); next != nil {
					s = next.withRing()
				}
			}
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
		})
	}
}

func TestLastNormalMemberStays(t *testing.T) {
	e := setStateOf(1, vnodes.StateNormal, vnodes.StateLeaving)
	if _, _, err := Apply(founded(t, 1), &e); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "last normal member") {
		t.Error(err)
	}
}

// A duplicate is a no-op with the first one's verdict, as long as proposals are remembered.
func TestDuplicates(t *testing.T) {
	s := founded(t, 3)
	good, bad := newMember(4, ip(4)), newMember(5, ip(1))
	good.ID, bad.ID = proposalID(1), proposalID(2)
	apply := func(e *Entry) error {
		next, _, err := Apply(s, e)
		s = next.withRing()
		return err
	}
	if apply(&good) != nil || apply(&bad) == nil {
		t.Fatal("the first time")
	}
	gone := Entry{Kind: EntryRemoveMember, ID: proposalID(3), Host: host(4)}
	if err := apply(&gone); err != nil {
		t.Fatal(err)
	}
	before := s
	if err := apply(&good); err != nil || len(s.Members) != 3 || s.Ring != before.Ring || s.Epoch != before.Epoch+1 {
		t.Errorf("duplicate of an applied entry: %v, %d members", err, len(s.Members))
	}
	if err := apply(&bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("duplicate of a refused entry: %v", err)
	}
	for i := range keepEntries {
		e := Entry{Kind: EntryVoters, ID: proposalID(100 + i), Host: host(3), Drop: i%2 == 0}
		if err := apply(&e); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.recent) != keepEntries {
		t.Errorf("%d proposals are remembered", len(s.recent))
	}
	if _, seen := s.seen(good.ID); seen {
		t.Error("an old proposal is still remembered")
	}
}

func TestNextVoter(t *testing.T) {
	s := founded(t, 9)
	if len(s.Voters) != MaxVoters {
		t.Fatalf("%d voters", len(s.Voters))
	}
	if _, ok := NextVoter(s); ok {
		t.Error("an eighth voter")
	}
	s.Voters = s.Voters[:2]
	s.Members[7].Rack = "other"
	if e, ok := NextVoter(s); !ok || e.Host != host(8) {
		t.Errorf("%+v; want the node of the rack without a voter", e)
	}
	s.Members[7].State = vnodes.StateLeaving
	if e, ok := NextVoter(s); !ok || e.Host != host(3) {
		t.Errorf("%+v; want the first normal one", e)
	}
	if _, ok := NextVoter(founded(t, 3)); ok {
		t.Error("a fourth voter of three members")
	}
}

// drawEntry gives entries that make sense now and then.
func drawEntry(t *rapid.T, i int) *Entry {
	who := host(rapid.IntRange(1, 6).Draw(t, "who"))
	at := ip(rapid.IntRange(1, 7).Draw(t, "address"))
	state := rapid.Custom(func(t *rapid.T) vnodes.NodeState { return vnodes.NodeState(rapid.IntRange(0, 5).Draw(t, "state")) })
	e := &Entry{ID: proposalID(rapid.IntRange(max(0, i-3), i).Draw(t, "proposal"))}
	switch e.Kind = EntryKind(rapid.IntRange(2, 7).Draw(t, "kind")); e.Kind {
	case EntryAddMember:
		e.Node = vnodes.Node{ID: who, Address: at, DC: "dc", Rack: "r", Weight: rapid.IntRange(0, 2).Draw(t, "weight")}
	case EntrySetState:
		e.Node, e.From = vnodes.Node{ID: who, State: state.Draw(t, "to")}, state.Draw(t, "from")
		for range rapid.IntRange(0, 2).Draw(t, "tokens") {
			e.Node.Tokens = append(e.Node.Tokens, vnodes.Token(rapid.IntRange(0, 700).Draw(t, "token")))
		}
	case EntryRemoveMember:
		e.Host = who
	case EntryVoters:
		e.Host, e.Drop = who, rapid.Bool().Draw(t, "drop")
	case EntrySchema:
		e.Change = keyspace(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "keyspace")).Change
	case EntryAddress:
		e.Host, e.Node.Address = who, at
	}
	return e
}

// Whatever is decided: the epoch grows by one; what is refused changes nothing; the state stays sound; a state that
// went through a snapshot behaves as the original; and entries and states read back as they were written.
func TestApplyKeepsTheStateSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := founded(t, 3)
		for i := range rapid.IntRange(1, 25).Draw(t, "entries") {
			e := drawEntry(t, i+1)
			back, err := DecodeEntry(e.Append(nil))
			if err != nil || !bytes.Equal(back.Append(nil), e.Append(nil)) {
				t.Fatalf("%+v reads as %+v, %v", e, back, err)
			}
			copied, err := DecodeState(s.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			next, _, err := Apply(s, e)
			twin, _, twinErr := Apply(copied, back)
			if fmt.Sprint(err) != fmt.Sprint(twinErr) || !bytes.Equal(next.Append(nil), twin.Append(nil)) {
				t.Fatalf("a snapshot behaves otherwise: %v and %v", err, twinErr)
			}
			checkStep(t, s, next, err)
			s = next.withRing()
			checkState(t, s)
		}
	})
}

func checkStep(t *rapid.T, before, after *State, err error) {
	if after.Epoch != before.Epoch+1 {
		t.Fatalf("epoch %d after %d", after.Epoch, before.Epoch)
	}
	if (after.Ring == nil) != (after.RingEpoch == after.Epoch) {
		t.Fatalf("ring epoch %d at epoch %d, ring %v", after.RingEpoch, after.Epoch, after.Ring)
	}
	if err == nil {
		return
	}
	same := *after
	same.Epoch, same.recent = before.Epoch, before.recent
	if !bytes.Equal(same.Append(nil), before.Append(nil)) {
		t.Fatalf("refused (%v), and yet something changed", err)
	}
}

func checkState(t *rapid.T, s *State) {
	moving, addresses, tokens := 0, map[string]bool{}, map[vnodes.Token]bool{}
	for i := range s.Members {
		m := &s.Members[i]
		if m.State.Moving() {
			moving++
		}
		if addresses[m.Address] || slices.Contains(s.Removed, m.ID) {
			t.Fatalf("%s twice, or a removed member: %+v", m.Address, m)
		}
		addresses[m.Address] = true
		if want := m.Weight; m.State != vnodes.StateWaiting && len(m.Tokens) != want || m.State == vnodes.StateWaiting && len(m.Tokens) != 0 {
			t.Fatalf("%s with tokens %v", m.State, m.Tokens)
		}
		for _, tk := range m.Tokens {
			if tokens[tk] {
				t.Fatalf("token %d twice", tk)
			}
			tokens[tk] = true
		}
	}
	if moving > 1 {
		t.Fatalf("%d members move", moving)
	}
	if len(s.Voters) < 1 || len(s.Voters) > MaxVoters {
		t.Fatalf("voters %v", s.Voters)
	}
	for i, v := range s.Voters {
		if _, ok := s.Member(v); !ok || slices.Contains(s.Voters[:i], v) {
			t.Fatalf("voters %v", s.Voters)
		}
	}
	if len(s.Ring.Nodes()) != len(s.Members) || s.Ring.Epoch() != s.RingEpoch {
		t.Fatal("the ring is another's")
	}
}
