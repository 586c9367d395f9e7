package paxos

import (
	"flag"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// worlds bounds each exploration: go test ./coordinator/paxos -run EveryOrder -worlds 20000000 -v -timeout 0
var worlds = flag.Int("worlds", 8_000, "most worlds that an exploration of every order visits")

// world is a whole small system: everything that will ever happen follows from it. Messages that were sent stay on the
// wire, so that each may arrive at any time, again, or never.
type world struct {
	acceptors []Acceptor
	rounds    []Round
	wire      []wired // answers; requests are always on the wire once their phase was reached
	granted   []uint8 // by round: the acceptors that ever accepted its value
}

// wired is an answer on the wire.
type wired struct {
	round, acceptor int
	accept          bool
	promise         Promise
	ok              bool
	promised        Ballot
}

// short encodes a ballot of these small worlds.
func short(b Ballot) byte { return byte(b.Time)<<4 | b.Node[15] }

func appendAccepted(dst []byte, a *Accepted) []byte {
	if a == nil {
		return append(dst, 0, 0)
	}
	return append(dst, short(a.Ballot), a.Value[0])
}

func flags(list ...bool) (b byte) {
	for i, on := range list {
		if on {
			b |= 1 << i
		}
	}
	return b
}

func (m *wired) key() string {
	b := []byte{byte(m.round), byte(m.acceptor), flags(m.accept, m.ok, m.promise.OK), short(m.promised), short(m.promise.Promised)}
	return string(appendAccepted(b, m.promise.Accepted))
}

// dead reports whether an answer can't change its round any more.
func (w *world) dead(m *wired) bool {
	r := &w.rounds[m.round]
	return m.accept != r.sent || r.answers[m.acceptor] > unreachable || !m.accept && r.phase != Preparing
}

func (w *world) clone() *world {
	c := &world{slices.Clone(w.acceptors), slices.Clone(w.rounds), slices.Clone(w.wire), slices.Clone(w.granted)}
	for i := range c.rounds {
		c.rounds[i].answers = slices.Clone(c.rounds[i].answers)
	}
	return c
}

func (w *world) key() string {
	b := make([]byte, 0, 64)
	for i := range w.acceptors {
		b = appendAccepted(append(b, short(w.acceptors[i].Promised)), w.acceptors[i].Accepted)
	}
	for i := range w.rounds {
		r := &w.rounds[i]
		b = appendAccepted(append(b, byte(r.phase), flags(r.sent), w.granted[i]), r.adopted)
		for _, a := range r.answers {
			b = append(b, byte(a))
		}
	}
	w.wire = slices.DeleteFunc(w.wire, func(m wired) bool { return w.dead(&m) })
	keys := make([]string, len(w.wire))
	for i := range w.wire {
		keys[i] = w.wire[i].key()
	}
	slices.Sort(keys)
	return string(b) + strings.Join(keys, "")
}

// explorer visits every world that can be reached.
type explorer struct {
	seen   map[string]struct{}
	limit  int
	forget bool // planted: a crash loses what was promised and not accepted
	wrong  string
	todo   []*world
}

// next adds the worlds one step away.
func (e *explorer) next(w *world) {
	for r := range w.rounds {
		for a := range w.acceptors {
			e.request(w, r, a, false)
			if w.rounds[r].sent {
				e.request(w, r, a, true)
			}
		}
	}
	for i := range w.wire {
		c, m := w.clone(), w.wire[i]
		if m.accept {
			c.rounds[m.round].OnAccepted(host(m.acceptor+1), m.ok, m.promised)
		} else {
			c.rounds[m.round].OnPromise(host(m.acceptor+1), m.promise)
		}
		e.visit(c)
	}
	for a := range w.acceptors {
		if e.forget {
			c := w.clone()
			c.acceptors[a].Promised = Ballot{}
			if acc := c.acceptors[a].Accepted; acc != nil {
				c.acceptors[a].Promised = acc.Ballot
			}
			e.visit(c)
		}
	}
}

// request has an acceptor answer a round's prepare or accept.
func (e *explorer) request(w *world, r, a int, accept bool) {
	c := w.clone()
	m, round := wired{round: r, acceptor: a, accept: accept}, &c.rounds[r]
	if accept {
		m.ok, m.promised, _ = c.acceptors[a].Accept(round.Ballot(), round.Value())
		if m.ok {
			c.granted[r] |= 1 << a
		}
	} else {
		m.promise, _ = c.acceptors[a].Prepare(round.Ballot())
	}
	key := m.key()
	if !slices.ContainsFunc(c.wire, func(o wired) bool { return o.key() == key }) {
		c.wire = append(c.wire, m)
	}
	e.visit(c)
}

func (e *explorer) visit(w *world) {
	key := w.key()
	if _, again := e.seen[key]; again || len(e.seen) >= e.limit || e.wrong != "" {
		return
	}
	e.seen[key] = struct{}{}
	chosen := ""
	for r := range w.rounds {
		if bits.OnesCount8(w.granted[r]) <= len(w.acceptors)/2 && w.rounds[r].Phase() != Decided {
			continue
		}
		value := string(w.rounds[r].Value())
		if chosen != "" && chosen != value {
			e.wrong = key
		}
		chosen = value
	}
	e.todo = append(e.todo, w)
}

func explore(acceptors int, ballots []Ballot, limit int, forget bool) *explorer {
	w := &world{acceptors: make([]Acceptor, acceptors), granted: make([]uint8, len(ballots))}
	for i, b := range ballots {
		w.rounds = append(w.rounds, *NewRound(b, hosts(acceptors), []byte{'x' + byte(i)}))
	}
	e := &explorer{seen: map[string]struct{}{}, limit: limit, forget: forget}
	e.visit(w)
	for len(e.todo) > 0 && e.wrong == "" && len(e.seen) < limit {
		w := e.todo[len(e.todo)-1]
		e.todo = e.todo[:len(e.todo)-1]
		e.next(w)
	}
	return e
}

// Every order, loss and duplication of two rounds' messages among up to three acceptors: never two values. A crash keeps
// what was answered, so it is no step of its own. A voter that forgets promises has to be noticed: else this shows nothing.
func TestEveryOrderOfTwoRounds(t *testing.T) {
	for _, c := range []struct {
		name      string
		acceptors int
		ballots   []Ballot
		notices   bool // a promise that is forgotten: under one ballot an acceptor's own word stands in the way
	}{
		{"two proposers, two acceptors", 2, []Ballot{{1, host(1)}, {2, host(2)}}, true},
		{"a ballot used again, two acceptors", 2, []Ballot{{1, host(1)}, {1, host(1)}}, false},
		{"two proposers, three acceptors", 3, []Ballot{{1, host(1)}, {2, host(2)}}, true},
		{"a ballot used again, three acceptors", 3, []Ballot{{1, host(1)}, {1, host(1)}}, false},
	} {
		e := explore(c.acceptors, c.ballots, *worlds, false)
		if e.wrong != "" {
			t.Errorf("%s: two values: %q", c.name, e.wrong)
		}
		t.Logf("%s: %d worlds, all of them: %v", c.name, len(e.seen), len(e.seen) < *worlds)
		f := explore(c.acceptors, c.ballots, *worlds, true)
		if (f.wrong != "") != c.notices {
			t.Errorf("%s: voters forget promises; noticed: %v, in %d worlds", c.name, f.wrong != "", len(f.seen))
		}
	}
}
