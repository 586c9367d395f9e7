package metalog

import (
	"context"
	"errors"
	"fmt"

	"nodedb/coordinator/paxos"
	"nodedb/node/rpc"
)

// register sets the handlers. They decode on the connection's reader and leave the rest to the log's goroutine.
func (l *Log) register() {
	t := l.o.Transport
	t.Handle(rpc.VerbHello, l.handleHello)
	t.Handle(rpc.VerbFound, l.handleFound)
	t.Handle(rpc.VerbMetaPrepare, func(in *rpc.Inbound) { l.handleAsk(in, l.prepare) })
	t.Handle(rpc.VerbMetaAccept, func(in *rpc.Inbound) { l.handleAsk(in, l.accept) })
	t.Handle(rpc.VerbMetaPull, l.handlePull)
	t.Handle(rpc.VerbMetaLearn, l.handleLearn)
	t.Handle(rpc.VerbMetaPropose, l.handlePropose)
}

// serve runs a task of a request and replies with what it gives.
func (l *Log) serve(in *rpc.Inbound, task func() (any, error)) {
	err := l.do(func() {
		err := l.stopped()
		var answer any
		if err == nil {
			answer, err = task()
		}
		if err != nil {
			in.Reply(nil, refuse(err))
			return
		}
		in.Reply(encode(answer), nil)
	})
	if err != nil {
		in.Reply(nil, refuse(err))
	}
}

// sameGeneration refuses requests from before or after a recovery.
func (l *Log) sameGeneration(generation uint64) error {
	st := l.state.Load()
	if st == nil {
		return ErrNoCluster
	}
	if st.Generation != generation {
		return fmt.Errorf("metadata log: this node is at recovery generation %d, the request at %d", st.Generation, generation)
	}
	return nil
}

func (l *Log) handleAsk(in *rpc.Inbound, vote func(*ask) (*vote, error)) {
	m := &ask{}
	if err := decode(in.Body, m); err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	if st := l.state.Load(); st != nil && m.Epoch > st.Epoch+1 {
		l.Heard(in.From, m.Epoch-1)
	}
	l.serve(in, func() (any, error) {
		if err := l.sameGeneration(m.Generation); err != nil {
			return nil, err
		}
		return vote(m)
	})
}

// prepare and accept are the acceptor's side of an epoch's Paxos instance. Whether this node is a voter is the
// proposer's to know: it counts only those of the state before the epoch. Run by the log's goroutine.
func (l *Log) prepare(m *ask) (*vote, error) {
	if v, err := l.known(m); v != nil || err != nil {
		return v, err
	}
	v := &vote{}
	err := l.vote(m.Epoch, func(a *paxos.Acceptor) bool {
		p, changed := a.Prepare(m.Ballot.ballot())
		v.OK, v.Promised, v.Accepted = p.OK, toBallot(p.Promised), toWire(p.Accepted)
		return changed
	})
	return v, err
}

func (l *Log) accept(m *ask) (*vote, error) {
	if v, err := l.known(m); v != nil || err != nil {
		return v, err
	}
	if len(m.Value) == 0 || len(m.Value) > maxEntryBytes {
		return nil, fmt.Errorf("%w: an entry of %d bytes; want 1 to %d", ErrCorrupt, len(m.Value), maxEntryBytes)
	}
	v := &vote{}
	err := l.vote(m.Epoch, func(a *paxos.Acceptor) (changed bool) {
		var promised paxos.Ballot
		v.OK, promised, changed = a.Accept(m.Ballot.ballot(), m.Value)
		v.Promised = toBallot(promised)
		return changed
	})
	if err == nil && v.OK {
		l.wakeFinisher()
	}
	return v, err
}

// known answers for an epoch that is decided with what was decided, from there on.
func (l *Log) known(m *ask) (*vote, error) {
	if st := l.state.Load(); m.Epoch > st.Epoch {
		return nil, nil
	}
	p, err := l.page(m.Epoch)
	return &vote{Known: p}, err
}

func (l *Log) handlePull(in *rpc.Inbound) {
	m := &pull{}
	if err := decode(in.Body, m); err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	l.serve(in, func() (any, error) {
		st := l.state.Load()
		if m.Whole && st != nil {
			return &page{Newest: st.Epoch, Snapshot: st.Append(nil)}, nil
		}
		if err := l.sameGeneration(m.Generation); err != nil {
			return nil, err
		}
		return l.page(max(1, m.From))
	})
}

func (l *Log) handleLearn(in *rpc.Inbound) {
	m := &learn{}
	if err := decode(in.Body, m); err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	from := in.From
	l.serve(in, func() (any, error) {
		if err := l.sameGeneration(m.Generation); err != nil {
			return nil, err
		}
		if at := l.state.Load().Epoch; m.Epoch > at+1 {
			l.Heard(from, m.Epoch)
			return struct{}{}, nil
		}
		return struct{}{}, l.apply(m.Epoch, m.Entry)
	})
}

// handlePropose proposes a new member for a node that can't yet.
func (l *Log) handlePropose(in *rpc.Inbound) {
	e, err := DecodeEntry(in.Body)
	switch {
	case err == nil && e.Kind != EntryAddMember:
		err = fmt.Errorf("%w: an entry of %s; only new members are proposed for others", ErrCorrupt, e.Kind)
	case err == nil && l.stopped() != nil:
		err = l.stopped()
	}
	if err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	select {
	case l.proxied <- struct{}{}:
	default:
		in.Reply(nil, refuse(ErrOverloaded))
		return
	}
	l.spawn(func() {
		defer func() { <-l.proxied }()
		ctx, cancel := context.WithDeadline(l.ctx, in.Deadline)
		defer cancel()
		_, _, err := l.Propose(ctx, e)
		in.Reply(encode(toVerdict(err)), nil)
	}, func() { <-l.proxied; in.Reply(nil, refuse(ErrClosed)) })
}

func toVerdict(err error) verdict {
	switch {
	case err == nil:
		return verdict{}
	case errors.Is(err, ErrAddressUsed):
		return verdict{verdictAddressUsed, err.Error()}
	case errors.Is(err, ErrRemoved):
		return verdict{verdictRemoved, err.Error()}
	case errors.Is(err, ErrInvalid):
		return verdict{verdictInvalid, err.Error()}
	}
	return verdict{verdictFailed, err.Error()}
}
