package metalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"nodedb/coordinator/paxos"
	"nodedb/node/fault"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// entry founds a cluster of nodes, which are in the order of their addresses. Tokens are shared out evenly.
func (f *founder) entry(nodes []vnodes.Node) *Entry {
	seed, _ := hashSet(f.set)
	founding := &Founding{ClusterID: f.log.o.NewID(), Name: f.log.o.Name}
	for _, n := range nodes {
		n.State = vnodes.StateNormal
		n.Tokens = vnodes.ChooseTokens(vnodes.NewRing(1, founding.Nodes), n.DC, n.Weight, seed)
		founding.Nodes = append(founding.Nodes, n)
	}
	return &Entry{Kind: EntryFound, ID: f.log.o.NewID(), Found: founding}
}

// voterOf makes an address a voter of the founding round.
func voterOf(address string) (id vnodes.HostID) {
	h1, h2 := vnodes.Hash128([]byte(address))
	binary.BigEndian.PutUint64(id[:8], h1)
	binary.BigEndian.PutUint64(id[8:], h2)
	return id
}

// foundAnswer is one address' answer in one phase.
type foundAnswer struct {
	address string
	step    uint8
	vote    foundVote
	err     error
}

// found runs one founding round with those present.
func (f *founder) found(ctx context.Context, present []vnodes.Node) {
	f.highest = max(f.highest+1, uint64(f.log.o.Now().UnixMicro()))
	voters := make([]vnodes.HostID, len(f.set))
	for i, address := range f.set {
		voters[i] = voterOf(address)
	}
	if fault.Planted("metalog/founds-by-a-minority") {
		voters = []vnodes.HostID{voterOf(f.self)}
	}
	b := paxos.Ballot{Time: f.highest, Node: f.log.o.Self}
	round := paxos.NewRound(b, voters, f.entry(present).Append(nil))
	answers := make(chan foundAnswer, 2*len(f.set))
	f.send(answers, foundPrepare, b, nil)
	for round.Phase() == paxos.Preparing || round.Phase() == paxos.Accepting {
		select {
		case a := <-answers:
			if takeFounding(round, a) {
				f.send(answers, foundAccept, b, round.Value())
			}
		case <-ctx.Done():
			return
		case <-f.log.ctx.Done():
			return
		}
	}
	f.highest = max(f.highest, round.Highest().Time)
	if round.Phase() != paxos.Decided {
		f.trouble = fmt.Sprintf("a founding round was %s", round.Phase())
		f.pause()
		return
	}
	f.decided(round.Value())
}

// pause waits longer with each failure; half of it is random, so that contenders part.
func (f *founder) pause() {
	d := min(maxBackoff, 4*minBackoff<<min(f.losses, 10))
	f.losses++
	f.nextTry = time.Now().Add(d/2 + time.Duration(f.log.o.Jitter(int64(d/2))))
}

// takeFounding gives an answer to the round; true: it is time to send accepts.
func takeFounding(round *paxos.Round, a foundAnswer) bool {
	before, from := round.Phase(), voterOf(a.address)
	if (a.step == foundAccept) != (before != paxos.Preparing) {
		return false // of the phase before
	}
	switch {
	case a.err != nil || a.vote.NotForMe:
		round.OnUnreachable(from)
	case a.step == foundPrepare:
		round.OnPromise(from, a.vote.promise())
	default:
		round.OnAccepted(from, a.vote.OK, a.vote.Promised.ballot())
	}
	return before == paxos.Preparing && round.Phase() == paxos.Accepting
}

// send asks every address of the set, this node without the network.
func (f *founder) send(answers chan<- foundAnswer, step uint8, b paxos.Ballot, value []byte) {
	m := &foundAsk{Step: step, Set: f.set, Ballot: toBallot(b), Value: value}
	body := encode(m)
	for _, address := range f.set {
		a := foundAnswer{address: address, step: step}
		if address == f.self {
			a.err = f.log.own(func() error {
				v, err := f.log.foundStep(m)
				if err == nil {
					a.vote = *v
				}
				return err
			})
			answers <- a
			continue
		}
		f.log.o.Transport.Send(&rpc.Call{To: rpc.Peer{Addr: address}, Verb: rpc.VerbFound, Body: body, Timeout: callTimeout, Done: func(raw []byte, err error) {
			if a.err = err; err == nil {
				a.err = decode(raw, &a.vote)
			}
			answers <- a
		}})
	}
}

// decided tells the others, and takes the founding as epoch 1 if this node is one of its members. If it isn't (another
// node's round had to be finished), the cluster is there all the same, and will be joined.
func (f *founder) decided(value []byte) {
	m := &foundAsk{Step: foundLearn, Set: f.set, Value: value}
	if err := f.log.own(func() error { _, err := f.log.foundStep(m); return err }); err != nil {
		f.trouble = err.Error()
	}
	body := encode(m)
	for address := range f.views {
		f.log.o.Transport.Send(&rpc.Call{To: rpc.Peer{Addr: address}, Verb: rpc.VerbFound, Body: body, Timeout: callTimeout, Done: func([]byte, error) {}})
	}
	f.pause()
}

func (l *Log) handleFound(in *rpc.Inbound) {
	m := &foundAsk{}
	if err := decode(in.Body, m); err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	l.serve(in, func() (any, error) { return l.foundStep(m) })
}

// foundStep is the acceptor's side of the founding round. Run by the log's goroutine.
func (l *Log) foundStep(m *foundAsk) (*foundVote, error) {
	f := l.founder.Load()
	if f == nil || l.state.Load() != nil || !slices.Equal(f.set, m.Set) {
		return &foundVote{NotForMe: true}, nil
	}
	var e *Entry
	if m.Step != foundPrepare {
		var err error
		if e, err = DecodeEntry(m.Value); err != nil {
			return nil, err
		}
		if e.Kind != EntryFound || e.Found.Name != l.o.Name {
			return &foundVote{NotForMe: true}, nil
		}
	}
	v := &foundVote{}
	switch m.Step {
	case foundPrepare:
		return v, l.foundVote(m.Set, func(a *paxos.Acceptor) bool {
			p, changed := a.Prepare(m.Ballot.ballot())
			v.OK, v.Promised, v.Accepted = p.OK, toBallot(p.Promised), toWire(p.Accepted)
			return changed
		})
	case foundAccept:
		return v, l.foundVote(m.Set, func(a *paxos.Acceptor) bool {
			ok, promised, changed := a.Accept(m.Ballot.ballot(), m.Value)
			v.OK, v.Promised = ok, toBallot(promised)
			return changed
		})
	case foundLearn:
		if !slices.ContainsFunc(e.Found.Nodes, func(n vnodes.Node) bool { return n.ID == l.o.Self }) {
			return v, nil
		}
		return v, l.apply(1, m.Value)
	}
	return nil, fmt.Errorf("%w: founding step %d", ErrUnknown, m.Step)
}

// join takes the cluster's state from a member, once it contains this node; if it doesn't, it asks to be added first.
// What fails is tried again later.
func (f *founder) join(ctx context.Context, address string, h *hello) error {
	err := f.joinVia(ctx, rpc.Peer{ID: h.Host, Addr: address})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrOtherName), errors.Is(err, ErrRemoved), errors.Is(err, ErrClosed), errors.Is(err, ErrUnknown):
		return err
	}
	f.trouble = fmt.Sprintf("joining through %s: %v", address, err)
	f.pause()
	return nil
}

func (f *founder) joinVia(ctx context.Context, to rpc.Peer) error {
	raw, joined, err := f.fetch(ctx, to)
	if err != nil {
		return err
	}
	if !joined {
		if f.addition == nil {
			f.addition = &Entry{Kind: EntryAddMember, ID: f.log.o.NewID(), Node: f.log.o.Node}
		}
		v := verdict{}
		if err := f.log.call(ctx, to, rpc.VerbMetaPropose, joinTimeout, f.addition.Append(nil), &v); err != nil {
			return err
		}
		switch v.Code {
		case verdictOK:
		case verdictRemoved:
			return fmt.Errorf("%w (%s)", ErrRemoved, f.log.o.Self)
		default:
			return errors.New(v.Message)
		}
		if raw, joined, err = f.fetch(ctx, to); err != nil {
			return err
		}
		if !joined {
			return fmt.Errorf("%s does not know yet that this node was added", to.Addr)
		}
	}
	return f.log.own(func() error { return f.log.install(raw) })
}

// fetch gets a member's whole state, and whether this node is in it.
func (f *founder) fetch(ctx context.Context, from rpc.Peer) (raw []byte, joined bool, err error) {
	p := &page{}
	if err := f.log.call(ctx, from, rpc.VerbMetaPull, joinTimeout, encode(&pull{Whole: true}), p); err != nil {
		return nil, false, err
	}
	st, err := DecodeState(p.Snapshot)
	if err != nil {
		return nil, false, fmt.Errorf("the state of %s: %w", from.Addr, err)
	}
	if st.Name != f.log.o.Name {
		return nil, false, fmt.Errorf("%w: the node at %s has cluster_name %q, this one %q", ErrOtherName, from.Addr, st.Name, f.log.o.Name)
	}
	if slices.Contains(st.Removed, f.log.o.Self) {
		return nil, false, fmt.Errorf("%w (%s)", ErrRemoved, f.log.o.Self)
	}
	_, joined = st.Member(f.log.o.Self)
	return p.Snapshot, joined, nil
}
