package paxos

import (
	"math/rand/v2"
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

// model is a cluster of acceptors with durable states, proposers that start rounds whenever they like and even use
// ballots again, and a network that delivers in any order, again, or never.
type model struct {
	live    []*Acceptor // in memory
	durable [][]byte    // what was stored
	wire    []message
	rounds  []*Round
	// granted says which acceptors ever accepted a value under a ballot.
	granted map[Ballot]map[string]map[int]bool
	chosen  []byte
	// Few times and proposers make ballots that are used again.
	times, proposers int

	draw   func(what string, n int) int // 0 to n-1
	fatalf func(format string, args ...any)
}

func (m *model) propose() {
	b := Ballot{Time: uint64(1 + m.draw("time", m.times)), Node: host(1 + m.draw("proposer", m.proposers))}
	value := []string{"x", "y", "z"}[m.draw("value", 3)]
	voters := hosts(len(m.live))
	r := NewRound(b, voters, []byte(value))
	m.rounds = append(m.rounds, r)
	for i := range m.live {
		m.wire = append(m.wire, message{round: r, ballot: b, acceptor: i})
	}
}

func (m *model) deliver() {
	if len(m.wire) == 0 {
		return
	}
	i := m.draw("message", len(m.wire))
	msg := m.wire[i]
	switch m.draw("fate", 10) {
	case 0: // delivered, and once more later
	case 1: // lost; its sender may find out
		m.wire = slices.Delete(m.wire, i, i+1)
		if m.draw("noticed", 2) == 0 {
			msg.round.OnUnreachable(host(msg.acceptor + 1))
		}
		return
	default:
		m.wire = slices.Delete(m.wire, i, i+1)
	}
	if !msg.answer {
		m.request(msg)
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
func (m *model) request(msg message) {
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
		m.accepted(msg)
	}
	msg.answer = true
	m.wire = append(m.wire, msg)
}

// accepted checks what matters: once a majority has accepted a value under one ballot it is chosen, and no other ever
// is.
func (m *model) accepted(msg message) {
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
		m.choose(msg.value)
	}
}

func (m *model) choose(value []byte) {
	if m.chosen == nil {
		m.chosen = value
	}
	if string(m.chosen) != string(value) {
		m.fatalf("two values were decided: %s and %s", m.chosen, value)
	}
}

func (m *model) crash() {
	i := m.draw("acceptor", len(m.live))
	m.live[i] = &Acceptor{}
	if m.durable[i] != nil {
		var err error
		if m.live[i], err = DecodeAcceptor(m.durable[i]); err != nil {
			m.fatalf("%v", err)
		}
	}
}

func (m *model) check() {
	for _, r := range m.rounds {
		if r.Phase() == Decided {
			m.choose(r.Value())
		}
	}
}

func newModel(n int, draw func(string, int) int, fatalf func(string, ...any)) *model {
	m := &model{times: 8, proposers: 3, durable: make([][]byte, n), granted: map[Ballot]map[string]map[int]bool{}, draw: draw, fatalf: fatalf}
	for range n {
		m.live = append(m.live, &Acceptor{})
	}
	return m
}

// step does one random thing, and checks.
func (m *model) step() {
	switch what := m.draw("what", 20); {
	case what == 0:
		m.crash()
	case what < 3 || len(m.wire) == 0:
		m.propose()
	default:
		m.deliver()
	}
	m.check()
}

// drawer draws from rapid: what fails is made small.
func drawer(t *rapid.T) func(string, int) int {
	return func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
}

func TestNeverTwoDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.IntRange(1, 5).Draw(t, "acceptors"), drawer(t), t.Fatalf)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			m.step()
		}
	})
}

// The same with plain random numbers, which are less timid than rapid's.
func TestNeverTwoDecisionsInLongRuns(t *testing.T) {
	decided := 0
	const runs = 3000
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := newModel(1+int(seed%7/2)*2, func(_ string, n int) int { return rng.IntN(n) },
			func(format string, args ...any) { t.Fatalf("seed %d: "+format, append([]any{seed}, args...)...) })
		if seed%2 == 0 {
			m.times, m.proposers = 3, 1
		}
		for range 80 {
			m.step()
		}
		if m.chosen != nil {
			decided++
		}
	}
	if decided < runs/2 {
		t.Errorf("%d of %d runs decided something: the model tests too little", decided, runs)
	}
}

// With a quiet network any round decides, whatever went on before: it finishes what may have been decided.
func TestQuietRoundDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.IntRange(1, 5).Draw(t, "acceptors"), drawer(t), t.Fatalf)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			m.step()
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
		m.choose(r.Value())
	})
}
