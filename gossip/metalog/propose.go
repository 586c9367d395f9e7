package metalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nodedb/coordinator/paxos"
	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// Propose has an entry decided and applied here, and returns the state right after it. ErrInvalid (wrapped with why)
// when it was decided, or already known, to be a no-op; ErrNoQuorum names the voters that are missing; ErrUncertain
// when ctx ends first. Schema errors wrap schema's sentinels. A schema change that IF [NOT] EXISTS makes a no-op takes
// no entry: the state is the newest one, the target zero.
//
// That a change is invalid is said only of the newest state: what this node has may be old, so the voters are asked
// first.
func (l *Log) Propose(ctx context.Context, e *Entry) (*State, schema.Target, error) {
	if l.state.Load() == nil {
		return nil, schema.Target{}, ErrNoCluster
	}
	p := &proposer{log: l, entry: *e}
	if p.entry.ID == ([16]byte{}) {
		p.entry.ID = l.o.NewID()
	}
	if err := p.check(); err != nil {
		return nil, schema.Target{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	select {
	case l.proposing <- struct{}{}:
		defer func() { <-l.proposing }()
	case <-ctx.Done():
		return nil, schema.Target{}, fmt.Errorf("metadata log: waiting for this node's other changes: %w", l.whyEnded(ctx))
	}
	p.result = l.await(p.entry.ID)
	defer l.forget(p.entry.ID)
	o := p.run(ctx)
	if o.err != nil {
		l.leave(p.left)
	}
	return o.state, o.target, o.err
}

// whyEnded tells the end of ctx from the end of the log.
func (l *Log) whyEnded(ctx context.Context) error {
	if l.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// proposer is one call of Propose: rounds, each for the epoch after the newest state known here, until the entry's fate
// is known.
type proposer struct {
	log     *Log
	entry   Entry
	result  <-chan outcome
	highest paxos.Ballot // seen in any round
	offered bool         // some voter may have accepted our entry
	verdict error        // what is wrong with the entry at the state of the last round
	quorate bool         // a majority answered in the last round
	silent  []string     // what is wrong with the voters that didn't
	heard   time.Time    // when a majority answered last
	losses  int          // rounds lost in a row
	left    open         // the last value that voters were asked to accept
}

// check refuses what can't become an entry at all.
func (p *proposer) check() error {
	e := &p.entry
	switch e.Kind {
	case EntryFound:
		return invalid("the cluster is founded already")
	case EntrySchema:
		if _, err := schema.DecodeChange(e.Change); err != nil {
			return invalid("%v", err)
		}
	}
	raw := e.Append(nil)
	if len(raw) > maxEntryBytes {
		return invalid("it takes %d bytes, at most %d are allowed", len(raw), maxEntryBytes)
	}
	if _, err := DecodeEntry(raw); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// ending is how a round ended.
type ending uint8

const (
	lost     ending = iota // to a higher ballot, or too few answer: try again after a pause
	advanced               // the epoch is decided and applied here: look again
	settled                // nothing was decided, and the entry has no effect on this state, which is the newest
)

func (p *proposer) run(ctx context.Context) outcome {
	p.heard = time.Now()
	for {
		st := p.log.state.Load()
		if o, known := p.known(ctx, st); known {
			return o
		}
		end, err := p.round(ctx, st)
		switch {
		case err != nil:
			return outcome{err: err}
		case end == settled:
			return outcome{state: st, err: p.verdict}
		case end == advanced:
			p.losses = 0
			continue
		case time.Since(p.heard) > quorumPatience:
			return outcome{err: p.noQuorum()}
		}
		if !p.log.sleep(ctx, p.backoff()) {
			return outcome{err: p.ended(ctx)}
		}
	}
}

// known gives the outcome once the entry is among the applied ones. It may have been before this call (a repeated
// proposal).
func (p *proposer) known(ctx context.Context, st *State) (outcome, bool) {
	ok, seen := st.seen(p.entry.ID)
	if seen {
		// The state is visible a little before OnApply has returned and the result is handed over.
		if p.log.awaitApplied(ctx, st.Epoch) != nil {
			return outcome{err: p.ended(ctx)}, true
		}
	}
	select {
	case o := <-p.result:
		return o, true
	default:
	}
	return seenOutcome(st, ok), seen
}

// backoff doubles with each lost round; half of it is random, so that contenders part.
func (p *proposer) backoff() time.Duration {
	d := min(maxBackoff, minBackoff<<min(p.losses, 10))
	p.losses++
	return d/2 + time.Duration(p.log.o.Jitter(int64(d/2)))
}

// ballotAbove gives one above all that were seen, and near the present, so that proposers leapfrog each other.
func (l *Log) ballotAbove(highest paxos.Ballot) paxos.Ballot {
	return paxos.Ballot{Time: max(highest.Time+1, uint64(l.o.Now().UnixMicro())), Node: l.o.Self}
}

// noQuorum names the voters that are missing.
func (p *proposer) noQuorum() error {
	yet := ""
	if p.offered {
		yet = "; the change may take effect yet"
	}
	return fmt.Errorf("%w; missing: %s%s", ErrNoQuorum, strings.Join(p.silent, ", "), yet)
}

// ended is the error when ctx is over.
func (p *proposer) ended(ctx context.Context) error {
	why := p.log.whyEnded(ctx)
	switch {
	case !p.quorate && len(p.silent) > 0:
		return fmt.Errorf("%w (%w)", p.noQuorum(), why)
	case p.offered:
		return fmt.Errorf("%w: %w", ErrUncertain, why)
	}
	return fmt.Errorf("metadata log: the change did not take effect: %w", why)
}

// entryAt is the entry as it is proposed at a state: a joining member's tokens are chosen for the ring as it is then.
func (p *proposer) entryAt(st *State) *Entry {
	e := p.entry
	if e.Kind != EntrySetState || e.From != vnodes.StateWaiting || e.Node.State != vnodes.StateJoining || len(e.Node.Tokens) > 0 {
		return &e
	}
	if m, ok := st.Member(e.Node.ID); ok {
		e.Node.Tokens = vnodes.ChooseTokens(st.Ring, m.DC, m.Weight, st.Epoch)
	}
	return &e
}

// round plays one Paxos round for the epoch after st.
func (p *proposer) round(ctx context.Context, st *State) (ending, error) {
	e := p.entryAt(st)
	next, _, invalid := Apply(st, e)
	if next != nil && invalid == nil {
		if err := p.heardResult(ctx, st, next); err != nil {
			return lost, err
		}
	}
	p.verdict = invalid
	return p.play(ctx, st, e.Append(nil), func() bool { return invalid == nil && effect(st, next) })
}

// play plays one round with a value, and keeps what was learned of the voters.
func (p *proposer) play(ctx context.Context, st *State, value []byte, worthwhile func() bool) (ending, error) {
	r := newRound(p.log, st, p.log.ballotAbove(p.highest), value)
	r.worthwhile = worthwhile
	end, err := r.play(ctx)
	p.highest = maxBallot(p.highest, r.paxos.Highest())
	p.offered = p.offered || r.offered
	if r.asked {
		p.left = open{st.Epoch + 1, r.paxos.Value()}
	}
	p.silent = r.missing()
	if p.quorate = len(r.spoke) > len(st.Voters)/2; p.quorate {
		p.heard = time.Now()
	}
	if err != nil && ctx.Err() != nil {
		return lost, p.ended(ctx)
	}
	return end, err
}

// effect reports whether next differs from st in more than the epoch; a schema change by IF [NOT] EXISTS may not.
func effect(st, next *State) bool {
	return next.Catalog != st.Catalog || next.RingEpoch != st.RingEpoch || !slices.Equal(next.Voters, st.Voters)
}

// heardResult holds a change of the voters back until a majority of the resulting list has just answered.
func (p *proposer) heardResult(ctx context.Context, st, next *State) error {
	if slices.Equal(st.Voters, next.Voters) {
		return nil
	}
	answers := make(chan answer, len(next.Voters))
	body := encode(&pull{Generation: st.Generation, From: st.Epoch + 1})
	waiting := 0
	count := 0
	for _, id := range next.Voters {
		if id == p.log.o.Self {
			count++
			continue
		}
		waiting++
		m, _ := next.Member(id)
		p.log.o.Transport.Send(&rpc.Call{To: p.log.peer(&m.Node), Verb: rpc.VerbMetaPull, Body: body, Timeout: callTimeout,
			Done: func(_ []byte, err error) { answers <- answer{from: id, err: err} }})
	}
	p.silent, p.quorate = nil, false
	for ; waiting > 0 && count <= len(next.Voters)/2; waiting-- {
		select {
		case a := <-answers:
			if a.err == nil {
				count++
				continue
			}
			m, _ := next.Member(a.from)
			p.silent = append(p.silent, describe(&m.Node, a.err))
		case <-ctx.Done():
			return p.ended(ctx)
		}
	}
	if count <= len(next.Voters)/2 {
		return fmt.Errorf("the voters would change: %w", p.noQuorum())
	}
	return nil
}

func describe(n *vnodes.Node, err error) string { return fmt.Sprintf("%s (%v)", n.Address, err) }

func maxBallot(a, b paxos.Ballot) paxos.Ballot {
	if a.Less(b) {
		return b
	}
	return a
}
