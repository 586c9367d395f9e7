package paxos

import (
	"slices"
	"testing"

	"nodedb/vnodes"

	"pgregory.net/rapid"
)

// message is on the wire: a request to an acceptor, or its answer.
type message struct {
	round    *Round // whose it is
	ballot   Ballot
	acceptor int
	accept   bool // of the accept phase
	value    []byte
	answer   bool
	promise  Promise
	ok       bool
	promised Ballot
}

// model is a cluster of acceptors with durable states, proposers that start rounds whenever they like and even use ballots again, and
// a network that delivers in any order, again, or never.
type model struct {
	live    []*Acceptor // in memory
	durable [][]byte    // what was stored
	wire    []message
	rounds  []*Round
	// granted says which acceptors ever accepted a value under a ballot.
	granted map[Ballot]map[string]map[int]bool
	chosen  []byte
}

func (m *model) propose(t *rapid.T) {
	b := Ballot{Time: rapid.Uint64Range(1, 12).Draw(t, "time"), Node: host(rapid.IntRange(1, 3).Draw(t, "proposer"))}
	value := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "value")
	voters := hosts(len(m.live))
	r := NewRound(b, voters, []byte(value))
	m.rounds = append(m.rounds, r)
	for i := range m.live {
		m.wire = append(m.wire, message{round: r, ballot: b, acceptor: i})
	}
}

func (m *model) deliver(t *rapid.T) {
	if len(m.wire) == 0 {
		t.Skip("nothing on the wire")
	}
	i := rapid.IntRange(0, len(m.wire)-1).Draw(t, "message")
	msg := m.wire[i]
	switch rapid.IntRange(0, 9).Draw(t, "fate") {
	case 0: // delivered, and once more later
	case 1: // lost; its sender may find out
		m.wire = slices.Delete(m.wire, i, i+1)
		if rapid.Bool().Draw(t, "noticed") {
			msg.round.OnUnreachable(host(msg.acceptor + 1))
		}
		return
	default:
		m.wire = slices.Delete(m.wire, i, i+1)
	}
	if !msg.answer {
		m.request(t, msg)
		return
	}
	before := msg.round.Phase()
	if msg.accept {
		msg.round.OnAccepted(host(msg.acceptor+1), msg.ok, msg.promised)
	} else {
		msg.round.OnPromise(host(msg.acceptor+1), msg.promise)
	}
	if before == Preparing && msg.round.Phase() == Accepting {
		for i := range m.live {
			m.wire = append(m.wire, message{round: msg.round, ballot: msg.ballot, acceptor: i, accept: true, value: msg.round.Value()})
		}
	}
}

// request runs an acceptor: what changed is stored before the answer leaves; a crash in between loses the answer only.
func (m *model) request(t *rapid.T, msg message) {
	a, changed := m.live[msg.acceptor], false
	if msg.accept {
		msg.ok, msg.promised, changed = a.Accept(msg.ballot, msg.value)
	} else {
		msg.promise, changed = a.Prepare(msg.ballot)
	}
	if changed {
		m.durable[msg.acceptor] = a.Append(nil)
	}
	if msg.accept && msg.ok {
		m.accepted(t, msg)
	}
	msg.answer = true
	m.wire = append(m.wire, msg)
}

// accepted checks what matters: once a majority has accepted a value under one ballot it is chosen, and no other ever is.
func (m *model) accepted(t *rapid.T, msg message) {
	values := m.granted[msg.ballot]
	if values == nil {
		values = map[string]map[int]bool{}
		m.granted[msg.ballot] = values
	}
	who := values[string(msg.value)]
	if who == nil {
		who = map[int]bool{}
		values[string(msg.value)] = who
	}
	who[msg.acceptor] = true
	if len(who) > len(m.live)/2 {
		m.choose(t, msg.value)
	}
}

func (m *model) choose(t *rapid.T, value []byte) {
	if m.chosen == nil {
		m.chosen = value
	}
	if string(m.chosen) != string(value) {
		t.Fatalf("two values were decided: %s and %s", m.chosen, value)
	}
}

func (m *model) crash(t *rapid.T) {
	i := rapid.IntRange(0, len(m.live)-1).Draw(t, "acceptor")
	m.live[i] = &Acceptor{}
	if m.durable[i] != nil {
		var err error
		if m.live[i], err = DecodeAcceptor(m.durable[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *model) check(t *rapid.T) {
	for _, r := range m.rounds {
		if r.Phase() == Decided {
			m.choose(t, r.Value())
		}
	}
}

func newModel(n int) *model {
	return &model{live: make([]*Acceptor, n), durable: make([][]byte, n), granted: map[Ballot]map[string]map[int]bool{}}
}

func TestNeverTwoDecisions(t *testing.T) {
	decided := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.IntRange(1, 5).Draw(t, "acceptors"))
		for i := range m.live {
			m.live[i] = &Acceptor{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"propose": m.propose, "crash": m.crash,
			"deliver": m.deliver, "deliver 2": m.deliver, "deliver 3": m.deliver, "deliver 4": m.deliver, "deliver 5": m.deliver,
			"": m.check,
		})
		if m.chosen != nil {
			decided++
		}
	})
	if decided == 0 {
		t.Error("no run decided anything: the model tests nothing")
	}
	t.Logf("%d runs decided a value", decided)
}

// With a quiet network any round decides, whatever went on before: it finishes what may have been decided.
func TestQuietRoundDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.IntRange(1, 5).Draw(t, "acceptors"))
		for i := range m.live {
			m.live[i] = &Acceptor{}
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if len(m.wire) == 0 || rapid.IntRange(0, 7).Draw(t, "propose") == 0 {
				m.propose(t)
			} else {
				m.deliver(t)
			}
		}
		r := NewRound(Ballot{Time: 100, Node: vnodes.HostID{15: 9}}, hosts(len(m.live)), []byte("mine"))
		for i, a := range m.live {
			p, _ := a.Prepare(r.ballot)
			r.OnPromise(host(i+1), p)
		}
		for i, a := range m.live {
			ok, promised, _ := a.Accept(r.ballot, r.Value())
			r.OnAccepted(host(i+1), ok, promised)
		}
		if r.Phase() != Decided {
			t.Fatalf("%v", r.Phase())
		}
		m.choose(t, r.Value())
	})
}
