package metalog

import (
	"context"
	"errors"
	"fmt"

	"nodedb/node/rpc"
)

// Heard tells that a peer has an epoch; when it is newer, entries are pulled from it in the background. It doesn't
// block.
func (l *Log) Heard(from rpc.Peer, epoch uint64) {
	l.mu.Lock()
	news := epoch > l.mu.newest && epoch > l.mu.applied
	if news {
		l.mu.newest, l.mu.ahead = epoch, from
	}
	l.mu.Unlock()
	if news {
		l.wakePuller()
	}
}

func (l *Log) wakePuller() {
	select {
	case l.behind <- struct{}{}:
	default:
	}
}

// WaitFor returns when epoch is applied, pulling from peer if needed.
func (l *Log) WaitFor(ctx context.Context, from rpc.Peer, epoch uint64) error {
	for {
		applied, changed := l.applied()
		if applied >= epoch {
			return nil
		}
		if l.state.Load() == nil {
			return ErrNoCluster
		}
		l.Heard(from, epoch)
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("metadata log: epoch %d did not get here in time (this node is at %d): %w", epoch, applied, ctx.Err())
		case <-l.ctx.Done():
			return ErrClosed
		}
	}
}

// pull is the puller's loop: as long as somebody is said to be ahead, ask there, or else the voters, one after the
// other.
func (l *Log) pull() {
	for {
		select {
		case <-l.behind:
		case <-l.ctx.Done():
			return
		}
		for attempt := 0; ; attempt++ {
			from, ok := l.ahead()
			if !ok {
				break
			}
			if attempt > 0 {
				from = l.otherThan(from, attempt)
			}
			err := l.pullFrom(l.ctx, from)
			if err == nil {
				attempt = -1
				continue
			}
			if attempt%10 == 9 {
				l.logger.Warn("this node is behind the metadata log and can't catch up yet", "asked", from.Addr, "why", err)
			}
			if errors.Is(err, ErrClosed) || !l.sleep(l.ctx, min(maxBackoff, pullRetry<<min(attempt, 5))) {
				return
			}
		}
	}
}

// ahead gives who is said to know more than this node.
func (l *Log) ahead() (rpc.Peer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.ahead, l.mu.newest > l.mu.applied
}

// otherThan picks a voter to ask instead of one that didn't help, and that one again in its turn.
func (l *Log) otherThan(from rpc.Peer, attempt int) rpc.Peer {
	st := l.state.Load()
	if st == nil || attempt%(len(st.Voters)+1) == 0 {
		return from
	}
	m, ok := st.Member(st.Voters[attempt%(len(st.Voters)+1)-1])
	if !ok || m.ID == l.o.Self {
		return from
	}
	return l.peer(&m.Node)
}

// errNothingNew says that a peer knows no more than this node.
var errNothingNew = errors.New("metadata log: the peer knows nothing newer")

// pullFrom fetches one page from a peer and applies it.
func (l *Log) pullFrom(ctx context.Context, from rpc.Peer) error {
	st := l.state.Load()
	if st == nil {
		return ErrNoCluster
	}
	p := &page{}
	if err := l.call(ctx, from, rpc.VerbMetaPull, callTimeout, encode(&pull{Generation: st.Generation, From: st.Epoch + 1}), p); err != nil {
		return err
	}
	if p.Newest <= st.Epoch {
		return errNothingNew
	}
	if err := l.own(func() error { return l.take(p) }); err != nil {
		return err
	}
	if l.state.Load().Epoch == st.Epoch {
		return errNothingNew
	}
	return nil
}
