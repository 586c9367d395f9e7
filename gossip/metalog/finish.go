package metalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/coordinator/paxos"
)

// An epoch's value that some voter accepted may be the decision, or become it in the next round that meets it. Were
// that the round of the next change, hours later, then a TRUNCATE that its client was told had failed would take the
// rows of those hours. So whoever knows of such a value plays rounds until the epoch is decided: the voters that
// accepted it, and a proposer that gives up after it offered it. When nothing is open, nothing runs.

// open is a value that was accepted, or offered, for an epoch that isn't decided here yet.
type open struct {
	epoch uint64
	value []byte
}

// wakeFinisher has the finisher look whether something is open.
func (l *Log) wakeFinisher() {
	select {
	case l.unfinished <- struct{}{}:
	default:
	}
}

// leave notes the value that a proposer of this node gave up on.
func (l *Log) leave(o open) {
	if o.epoch == 0 {
		return
	}
	l.mu.Lock()
	l.mu.left = o
	l.mu.Unlock()
	l.wakeFinisher()
}

// open gives what has to be finished for the next epoch: what this voter has accepted, else what a proposer has left.
func (l *Log) open() (o open, found bool, err error) {
	err = l.own(func() error {
		st := l.state.Load()
		if st == nil {
			return nil
		}
		o.epoch = st.Epoch + 1
		if st.IsVoter(l.o.Self) {
			a, err := l.acceptor(o.epoch)
			if err != nil {
				return err
			}
			if a.Accepted != nil {
				o.value, found = a.Accepted.Value, true
				return nil
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.mu.left.epoch == o.epoch {
			o.value, found = l.mu.left.value, true
		}
		return nil
	})
	return o, found, err
}

// finisher sees to it that what is open gets decided.
func (l *Log) finisher() {
	for {
		select {
		case <-l.unfinished:
			l.finish()
		case <-l.ctx.Done():
			return
		}
	}
}

// finish plays rounds for open epochs until there are none. The first comes after a pause, in which the proposer itself
// is usually done; half of each pause is random, so that voters part.
func (l *Log) finish() {
	var highest paxos.Ballot
	var last open
	for pause := minFinishPause; ; pause = min(2*pause, maxFinishPause) {
		o, found, err := l.open()
		if errors.Is(err, ErrClosed) || err == nil && !found {
			return
		}
		if o.epoch != last.epoch || !bytes.Equal(o.value, last.value) { // somebody is at work on it
			last, pause = o, minFinishPause
		}
		if !l.sleep(l.ctx, pause/2+time.Duration(l.o.Jitter(int64(pause/2)))) {
			return
		}
		if now, still, _ := l.open(); !still || now.epoch != o.epoch {
			continue
		}
		if highest, err = l.finishOne(o, highest); err != nil {
			l.logger.Info("a change that was begun is not decided yet", "epoch", o.epoch, "why", err)
		}
	}
}

// finishOne plays one round for an open epoch, with its value unless the voters have another.
func (l *Log) finishOne(o open, highest paxos.Ballot) (paxos.Ballot, error) {
	select {
	case l.proposing <- struct{}{}:
		defer func() { <-l.proposing }()
	case <-l.ctx.Done():
		return highest, ErrClosed
	}
	st := l.state.Load()
	if st.Epoch+1 != o.epoch {
		return highest, nil
	}
	r := newRound(l, st, l.ballotAbove(highest), o.value)
	r.worthwhile = func() bool { return true }
	end, err := r.play(l.ctx)
	highest = maxBallot(highest, r.paxos.Highest())
	if err == nil && end == lost {
		err = fmt.Errorf("%w; no answer from: %v", errLostRound, r.missing())
	}
	return highest, err
}

var errLostRound = errors.New("metadata log: a majority did not agree to the round")

// CatchUp returns once this node has applied everything that was decided before the call, as a majority of the voters
// confirms; it finishes what was begun. When ctx ends first the error (ErrNoQuorum names the voters that are missing)
// says so, and what the voters that answered know is applied.
func (l *Log) CatchUp(ctx context.Context) error {
	if l.state.Load() == nil {
		return ErrNoCluster
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	p := &proposer{log: l}
	defer func() { l.leave(p.left) }()
	select {
	case l.proposing <- struct{}{}:
		defer func() { <-l.proposing }()
	case <-ctx.Done():
		return fmt.Errorf("metadata log: waiting for this node's changes: %w", l.whyEnded(ctx))
	}
	for {
		st := l.state.Load()
		end, err := p.look(ctx, st)
		switch {
		case err != nil:
			return err
		case end == settled:
			return l.awaitApplied(ctx, st.Epoch)
		case end == advanced:
			p.losses = 0
			continue
		}
		if !l.sleep(ctx, p.backoff()) {
			return p.ended(ctx)
		}
	}
}

// look plays a round that proposes nothing: it ends settled if st is the newest state.
func (p *proposer) look(ctx context.Context, st *State) (ending, error) {
	return p.play(ctx, st, nil, func() bool { return false })
}

// awaitApplied waits until OnApply of an epoch that is visible here has returned.
func (l *Log) awaitApplied(ctx context.Context, epoch uint64) error {
	for applied, changed := l.applied(); applied < epoch; applied, changed = l.applied() {
		select {
		case <-changed:
		case <-ctx.Done():
			return l.whyEnded(ctx)
		}
	}
	return nil
}
