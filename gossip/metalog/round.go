package metalog

import (
	"context"
	"errors"
	"fmt"

	"nodedb/coordinator/paxos"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// metaRound drives a Paxos round for one epoch over the network.
type metaRound struct {
	log     *Log
	state   *State // the one before the epoch
	paxos   *paxos.Round
	answers chan answer             // room for every answer there can be: one a voter and phase
	spoke   map[vnodes.HostID]bool  // voters that gave any answer
	silent  map[vnodes.HostID]error // why others didn't
	offered bool                    // accepts of our own value were sent
	asked   bool                    // accepts of any value were sent
	// worthwhile says, when the round could propose our own value, whether that would do anything.
	worthwhile func() bool
}

// answer is a voter's, in one phase.
type answer struct {
	from   vnodes.HostID
	accept bool
	vote   vote
	err    error
}

func newRound(l *Log, st *State, b paxos.Ballot, value []byte) *metaRound {
	return &metaRound{
		log: l, state: st, paxos: paxos.NewRound(b, st.Voters, value), answers: make(chan answer, 2*len(st.Voters)),
		spoke: map[vnodes.HostID]bool{}, silent: map[vnodes.HostID]error{},
	}
}

// play runs the round to its end. An error is the end of ctx or of the log.
func (r *metaRound) play(ctx context.Context) (ending, error) {
	r.send(rpc.VerbMetaPrepare, nil)
	for {
		applied, changed := r.log.applied()
		if applied > r.state.Epoch {
			return advanced, nil // somebody else's round ended first
		}
		select {
		case a := <-r.answers:
			if end, over, err := r.take(a); over || err != nil {
				return end, err
			}
		case <-changed:
		case <-ctx.Done():
			return lost, ctx.Err()
		}
	}
}

// take gives an answer to the round, and does what follows.
func (r *metaRound) take(a answer) (end ending, over bool, err error) {
	before := r.paxos.Phase()
	if a.accept != (before != paxos.Preparing) {
		return lost, false, nil // of the phase before
	}
	if a.err == nil {
		r.spoke[a.from] = true
	}
	switch {
	case a.err != nil:
		r.silent[a.from] = a.err
		r.paxos.OnUnreachable(a.from)
	case a.vote.Known != nil:
		return r.catchUp(a)
	case a.accept:
		r.paxos.OnAccepted(a.from, a.vote.OK, a.vote.Promised.ballot())
	default:
		r.paxos.OnPromise(a.from, a.vote.promise())
	}
	switch phase := r.paxos.Phase(); {
	case phase == paxos.Accepting && before == paxos.Preparing:
		return r.offer()
	case phase == paxos.Decided:
		return r.decided()
	case phase == paxos.Refused || phase == paxos.Failed:
		return lost, true, nil
	}
	return lost, false, nil
}

// catchUp applies what a voter knows to be decided for the epoch. Should it fail, the voter counts as not reached.
func (r *metaRound) catchUp(a answer) (ending, bool, error) {
	err := r.log.own(func() error { return r.log.take(a.vote.Known) })
	if errors.Is(err, ErrClosed) {
		return lost, true, err
	}
	if err != nil || r.log.state.Load().Epoch == r.state.Epoch {
		r.silent[a.from] = err
		delete(r.spoke, a.from)
		r.paxos.OnUnreachable(a.from)
		return lost, r.paxos.Phase() == paxos.Failed, nil
	}
	return advanced, true, nil
}

// offer sends the accepts, unless nobody's value has to be finished and our own would do nothing: then the promises of
// a majority have shown that no later epoch is decided.
func (r *metaRound) offer() (ending, bool, error) {
	if r.paxos.Mine() {
		if !r.worthwhile() {
			return settled, true, nil
		}
		r.offered = true
	}
	r.asked = true
	r.send(rpc.VerbMetaAccept, r.paxos.Value())
	return lost, false, nil
}

// decided applies the value here and tells the others.
func (r *metaRound) decided() (ending, bool, error) {
	epoch, value := r.state.Epoch+1, r.paxos.Value()
	if err := r.log.own(func() error { return r.log.apply(epoch, value) }); err != nil {
		return lost, true, fmt.Errorf("metadata log: entry %d is decided, but this node can't take it: %w", epoch, err)
	}
	body := encode(&learn{r.state.Generation, epoch, value})
	for i := range r.state.Members {
		if m := &r.state.Members[i].Node; m.ID != r.log.o.Self {
			r.log.o.Transport.Send(&rpc.Call{To: r.log.peer(m), Verb: rpc.VerbMetaLearn, Body: body, Timeout: callTimeout, Done: func([]byte, error) {}})
		}
	}
	return advanced, true, nil
}

// send asks every voter; this node, if it is one, without the network.
func (r *metaRound) send(verb rpc.Verb, value []byte) {
	m := &ask{Generation: r.state.Generation, Epoch: r.state.Epoch + 1, Ballot: toBallot(r.paxos.Ballot()), Value: value}
	body := encode(m)
	accept := verb == rpc.VerbMetaAccept
	for _, id := range r.state.Voters {
		a := answer{from: id, accept: accept}
		if id == r.log.o.Self {
			r.askSelf(m, a)
			continue
		}
		voter, ok := r.state.Member(id)
		if !ok {
			continue // can't be: voters are members
		}
		r.log.o.Transport.Send(&rpc.Call{To: r.log.peer(&voter.Node), Verb: verb, Body: body, Timeout: callTimeout, Done: func(b []byte, err error) {
			if a.err = err; err == nil {
				a.err = decode(b, &a.vote)
			}
			r.answers <- a
		}})
	}
}

func (r *metaRound) askSelf(m *ask, a answer) {
	answerTo := r.log.prepare
	if a.accept {
		answerTo = r.log.accept
	}
	err := r.log.queue(func() {
		var v *vote
		if a.err = r.log.stopped(); a.err == nil {
			v, a.err = answerTo(m)
		}
		if v != nil {
			a.vote = *v
		}
		r.answers <- a
	}, maxTasks+spareTasks)
	if err != nil {
		a.err = err
		r.answers <- a
	}
}

// missing describes the voters that didn't answer.
func (r *metaRound) missing() []string {
	var list []string
	for i := range r.state.Members {
		m := &r.state.Members[i].Node
		if !r.state.IsVoter(m.ID) || r.spoke[m.ID] {
			continue
		}
		err := r.silent[m.ID]
		if err == nil {
			err = errNoAnswer
		}
		list = append(list, describe(m, err))
	}
	return list
}

var errNoAnswer = errors.New("no answer yet")
