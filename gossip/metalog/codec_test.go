package metalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"nodedb/coordinator/paxos"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/metalog anew; look at the difference")

// samples are entries of every kind, and the other stored formats.
func samples() map[string][]byte {
	node := vnodes.Node{ID: host(1), Address: "10.0.0.1", DC: "dc1", Rack: "r1", Weight: 2, State: vnodes.StateNormal, Tokens: []vnodes.Token{-5, 7}}
	change := schema.Change{Op: schema.CreateKeyspace, Keyspace: "nyc", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "3"}}
	entries := map[string]*Entry{
		"found":         {Kind: EntryFound, ID: proposalID(1), Found: &Founding{ClusterID: [16]byte{9}, Name: "Test Cluster", Nodes: []vnodes.Node{node}}},
		"add-member":    {Kind: EntryAddMember, ID: proposalID(2), Node: vnodes.Node{ID: host(2), Address: "10.0.0.2", DC: "dc1", Rack: "r2", Weight: 256, State: vnodes.StateWaiting}},
		"set-state":     {Kind: EntrySetState, ID: proposalID(3), Node: vnodes.Node{ID: host(2), State: vnodes.StateJoining, Tokens: []vnodes.Token{vnodes.MaxToken}}, From: vnodes.StateWaiting},
		"remove-member": {Kind: EntryRemoveMember, ID: proposalID(4), Host: host(2)},
		"voter":         {Kind: EntryVoters, ID: proposalID(5), Host: host(3)},
		"voter-drop":    {Kind: EntryVoters, ID: proposalID(6), Host: host(3), Drop: true},
		"schema":        {Kind: EntrySchema, ID: proposalID(7), Change: change.Append(nil)},
		"address":       {Kind: EntryAddress, ID: proposalID(8), Host: host(1), Node: vnodes.Node{Address: "10.0.0.9"}},
	}
	all := map[string][]byte{}
	for name, e := range entries {
		all["entry-"+name] = e.Append(nil)
	}
	vote := &founderVote{set: []string{"10.0.0.1:7000", "10.0.0.2:7000"}}
	vote.acceptor.Prepare(paxos.Ballot{Time: 5, Node: host(1)})
	all["founding-vote"] = vote.append(nil)
	st, _, _ := Apply(nil, entries["found"])
	for _, name := range []string{"add-member", "schema", "remove-member"} {
		st, _, _ = Apply(st, entries[name])
	}
	all["snapshot"] = st.Append(nil)
	return all
}

// testdata/metalog holds the bytes of version 1 of everything stored.
func TestGoldenBytes(t *testing.T) {
	all := samples()
	const path = "../../testdata/metalog/golden.txt"
	if *rewriteGolden {
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&text, "%s: %x\n", name, all[name])
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(golden)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), ": ")
		raw, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if !bytes.Equal(all[name], raw) {
			t.Errorf("%s: wrote %x, want %x", name, all[name], raw)
		}
		if back, err := reread(name, raw); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%s: reads back as %x, %v", name, back, err)
		}
	}
	if seen != len(all) {
		t.Errorf("%d of %d formats in %s", seen, len(all), path)
	}
}

// reread decodes a stored format and writes it again.
func reread(name string, raw []byte) ([]byte, error) {
	switch {
	case name == "snapshot":
		s, err := DecodeState(raw)
		if err != nil {
			return nil, err
		}
		return s.Append(nil), nil
	case name == "founding-vote":
		v, err := decodeFounderVote(raw)
		if err != nil {
			return nil, err
		}
		return v.append(nil), nil
	}
	e, err := DecodeEntry(raw)
	if err != nil {
		return nil, err
	}
	return e.Append(nil), nil
}

// Cut short or with a byte too many, nothing reads; a newer version or kind is told apart from corruption.
func TestDecodersRefuse(t *testing.T) {
	for name, raw := range samples() {
		for n := range raw {
			if _, err := reread(name, raw[:n]); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknown) {
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
		if _, err := reread(name, append(slices.Clone(raw), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s and a byte: %v", name, err)
		}
		newer := slices.Clone(raw)
		newer[0]++
		if _, err := reread(name, newer); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s of version 2: %v", name, err)
		}
	}
	kind := (&Entry{Kind: EntryAddress + 1}).Append(nil)
	if _, err := DecodeEntry(kind); !errors.Is(err, ErrUnknown) {
		t.Errorf("a new kind: %v", err)
	}
}

func FuzzStoredFormats(f *testing.F) {
	for name, raw := range samples() {
		f.Add(name, raw)
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		back, err := reread(name, raw)
		if err == nil && !bytes.Equal(back, raw) {
			t.Fatalf("%s: %x reads, and is written as %x", name, raw, back)
		}
	})
}

// Messages come from the network: whatever they are, reading them is an error at worst.
func FuzzMessages(f *testing.F) {
	seed := func(ms ...any) {
		for _, m := range ms {
			f.Add(encode(m))
		}
	}
	b := ballot{5, host(1)}
	seed(&hello{Host: host(1), Set: []string{"a:1"}}, &ask{1, 2, b, []byte("v")}, &vote{OK: true, Accepted: &accept{b, []byte("v")}, Known: &page{First: 1, Entries: [][]byte{{1}}}},
		&pull{From: 3, Whole: true}, &learn{1, 2, []byte("e")}, &verdict{1, "no"}, &foundAsk{1, []string{"a:1"}, b, nil}, &foundVote{NotForMe: true})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, m := range []any{&hello{}, &ask{}, &vote{}, &page{}, &pull{}, &learn{}, &verdict{}, &foundAsk{}, &foundVote{}} {
			if err := decode(raw, m); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
