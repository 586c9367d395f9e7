package paxos

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"nodedb/vnodes"

	"github.com/cockroachdb/datadriven"
)

func host(n int) vnodes.HostID { return vnodes.HostID{15: byte(n)} }

func hosts(n int) (list []vnodes.HostID) {
	for i := range n {
		list = append(list, host(i+1))
	}
	return list
}

func text(b Ballot) string { return fmt.Sprintf("%d.%d", b.Time, b.Node[15]) }

func textAccepted(a *Accepted) string {
	if a == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s under %s", a.Value, text(a.Ballot))
}

// transcript plays testdata/paxos: acceptors 1..n, and proposers that send to the acceptors named.
type transcript struct {
	acceptors []*Acceptor
	rounds    map[int]*Round
}

func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "../../testdata/paxos", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".txt") {
			t.Skip("not a transcript")
		}
		tr := &transcript{rounds: map[int]*Round{}}
		datadriven.RunTest(t, path, tr.run)
	})
}

func (tr *transcript) run(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	switch d.Cmd {
	case "acceptors":
		var n int
		d.ScanArgs(t, "n", &n)
		tr.acceptors = nil
		for range n {
			tr.acceptors = append(tr.acceptors, &Acceptor{})
		}
	case "propose":
		var p, time int
		var value string
		d.ScanArgs(t, "p", &p)
		d.ScanArgs(t, "time", &time)
		d.ScanArgs(t, "value", &value)
		b := Ballot{Time: uint64(time), Node: host(p)}
		tr.rounds[p] = NewRound(b, hosts(len(tr.acceptors)), []byte(value))
		fmt.Fprintf(&out, "proposer %d begins %s for %s\n", p, text(b), value)
	case "prepare", "accept", "unreachable":
		tr.send(t, d, &out)
	case "state":
		for i, a := range tr.acceptors {
			fmt.Fprintf(&out, "acceptor %d: promised %s, accepted %s\n", i+1, text(a.Promised), textAccepted(a.Accepted))
		}
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return out.String()
}

func (tr *transcript) send(t *testing.T, d *datadriven.TestData, out *strings.Builder) {
	var p int
	d.ScanArgs(t, "p", &p)
	to, _ := d.Arg("to")
	r := tr.rounds[p]
	for i := range to.Vals {
		var n int
		to.Scan(t, i, &n)
		a, lost := tr.acceptors[n-1], d.HasArg("lost")
		switch d.Cmd {
		case "prepare":
			answer, _ := a.Prepare(r.Ballot())
			fmt.Fprintf(out, "%d: ok %v, promised %s, accepted %s\n", n, answer.OK, text(answer.Promised), textAccepted(answer.Accepted))
			if !lost {
				r.OnPromise(host(n), answer)
			}
		case "accept":
			ok, promised, _ := a.Accept(r.Ballot(), r.Value())
			fmt.Fprintf(out, "%d: ok %v, promised %s\n", n, ok, text(promised))
			if !lost {
				r.OnAccepted(host(n), ok, promised)
			}
		case "unreachable":
			r.OnUnreachable(host(n))
		}
	}
	fmt.Fprintf(out, "proposer %d is %s", p, r.Phase())
	switch r.Phase() {
	case Accepting, Decided:
		fmt.Fprintf(out, " on %s (its own: %v)", r.Value(), r.Mine())
	case Refused:
		fmt.Fprintf(out, ", saw %s", text(r.Highest()))
	}
	out.WriteString("\n")
}

func TestBallotOrder(t *testing.T) {
	order := []Ballot{{}, {0, host(1)}, {1, host(0)}, {1, host(2)}, {1, vnodes.HostID{0: 1}}, {2, host(0)}}
	for i, a := range order {
		for k, b := range order {
			if a.Less(b) != (i < k) {
				t.Errorf("%v < %v: %v", a, b, a.Less(b))
			}
		}
	}
}

func TestZeroBallotIsNeverGranted(t *testing.T) {
	a := &Acceptor{}
	if p, changed := a.Prepare(Ballot{}); p.OK || changed {
		t.Error("promised")
	}
	if ok, _, changed := a.Accept(Ballot{}, []byte("x")); ok || changed {
		t.Error("accepted")
	}
}

// An acceptor keeps its word against a proposer that uses one ballot for two values.
func TestOneBallotOneValue(t *testing.T) {
	a, b := &Acceptor{}, Ballot{3, host(1)}
	a.Accept(b, []byte("x"))
	if ok, _, changed := a.Accept(b, []byte("x")); !ok || changed {
		t.Error("the same accept again was refused, or stored again")
	}
	if ok, _, _ := a.Accept(b, []byte("y")); ok || string(a.Accepted.Value) != "x" {
		t.Error("another value under the same ballot was accepted")
	}
}

func TestRoundWithoutVoters(t *testing.T) {
	if p := NewRound(Ballot{1, host(1)}, nil, nil).Phase(); p != Failed {
		t.Error(p)
	}
}

// Strangers and second answers don't count.
func TestRoundCountsVotersOnce(t *testing.T) {
	b := Ballot{1, host(1)}
	r := NewRound(b, hosts(3), []byte("x"))
	yes := Promise{OK: true, Promised: b}
	r.OnPromise(host(9), yes)
	r.OnPromise(host(1), yes)
	if r.OnPromise(host(1), yes) != Preparing {
		t.Error("one voter's promise counted twice, or a stranger's did")
	}
	r.OnPromise(host(1), Promise{Promised: Ballot{5, host(2)}}) // the answer to a repeated prepare
	r.OnPromise(host(2), yes)
	if r.Phase() != Accepting {
		t.Error("a voter's second answer undid its promise")
	}
	r.OnAccepted(host(9), true, b)
	r.OnAccepted(host(1), true, b)
	if r.OnAccepted(host(1), true, b) != Accepting {
		t.Error("one voter's acceptance counted twice, or a stranger's did")
	}
	r.OnUnreachable(host(2))
	if r.OnUnreachable(host(3)) != Failed {
		t.Error("two of three unreachable, and it goes on")
	}
	if r.OnAccepted(host(3), true, b) != Decided {
		t.Error("a late acceptance is a fact, and was ignored")
	}
}

var sampleStates = map[string]*Acceptor{
	"empty":    {},
	"promised": {Promised: Ballot{Time: 0x0102030405060708, Node: host(7)}},
	"accepted": {Promised: Ballot{9, host(7)}, Accepted: &Accepted{Ballot: Ballot{8, host(2)}, Value: []byte("a value")}},
	"no value": {Promised: Ballot{9, host(7)}, Accepted: &Accepted{Ballot: Ballot{9, host(7)}, Value: []byte{}}},
}

// testdata/paxos/acceptor.golden holds the bytes of version 1.
func TestAcceptorGolden(t *testing.T) {
	golden, err := os.ReadFile("../../testdata/paxos/acceptor.golden")
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
		if got := sampleStates[name].Append(nil); !bytes.Equal(got, raw) {
			t.Errorf("%s: wrote %x, want %x", name, got, raw)
		}
		a, err := DecodeAcceptor(raw)
		if err != nil || !bytes.Equal(a.Append(nil), raw) {
			t.Errorf("%s: read %+v, %v", name, a, err)
		}
	}
	if seen != len(sampleStates) {
		t.Errorf("%d of %d states in the golden file", seen, len(sampleStates))
	}
}

func TestDecodeAcceptorRefuses(t *testing.T) {
	full := sampleStates["accepted"].Append(nil)
	for n := range full {
		if _, err := DecodeAcceptor(full[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, err := DecodeAcceptor(append(full, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("trailing byte: %v", err)
	}
	if _, err := DecodeAcceptor(append([]byte{2}, full[1:]...)); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
	below := &Acceptor{Promised: Ballot{1, host(1)}, Accepted: &Accepted{Ballot: Ballot{2, host(1)}}}
	if _, err := DecodeAcceptor(below.Append(nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("accepted above promised: %v", err)
	}
}

func FuzzDecodeAcceptor(f *testing.F) {
	for _, a := range sampleStates {
		f.Add(a.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAcceptor(b)
		if err != nil {
			return
		}
		if !bytes.Equal(a.Append(nil), b) {
			t.Fatalf("%x reads as %+v, which is written otherwise", b, a)
		}
	})
}
