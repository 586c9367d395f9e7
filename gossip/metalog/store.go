package metalog

import (
	"fmt"
	"strconv"
	"strings"

	"nodedb/coordinator/paxos"
	"nodedb/node/fault"
	"nodedb/query/schema"
)

// Keys in the store. Only append to this list: they are on disk.
//
//	metalog/snapshot            the state at some epoch (State.Append)
//	metalog/entry/<epoch>       an entry, the epoch in 16 hex digits; contiguous up to the newest
//	metalog/acceptor/<epoch>    a Paxos acceptor of an epoch not decided yet, as far as known here
//	metalog/founding/<set>      this node's vote in the founding of a set (found_store.go)
const (
	keySnapshot    = "metalog/snapshot"
	prefixEntry    = "metalog/entry/"
	prefixAcceptor = "metalog/acceptor/"
	prefixFounding = "metalog/founding/"
)

func keyEntry(epoch uint64) string    { return fmt.Sprintf("%s%016x", prefixEntry, epoch) }
func keyAcceptor(epoch uint64) string { return fmt.Sprintf("%s%016x", prefixAcceptor, epoch) }

// load reads the snapshot and replays the entries after it.
func (l *Log) load() error {
	raw, err := l.o.Store.GetSystem(keySnapshot)
	if err != nil {
		return fmt.Errorf("metadata log: read snapshot: %w", err)
	}
	var st *State
	if raw != nil {
		if st, err = DecodeState(raw); err != nil {
			return fmt.Errorf("metadata log: stored %w", err)
		}
	}
	var bad error
	err = l.o.Store.ScanSystem(prefixEntry, func(key string, value []byte) bool {
		st, bad = l.replay(st, key, value)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("metadata log: read entries: %w", err)
	}
	if st != nil {
		l.state.Store(st.withRing())
		l.mu.applied = st.Epoch
	}
	return nil
}

// replay applies one stored entry, unless the snapshot has it.
func (l *Log) replay(st *State, key string, value []byte) (*State, error) {
	epoch, err := strconv.ParseUint(strings.TrimPrefix(key, prefixEntry), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: key %q", ErrCorrupt, key)
	}
	if l.core.first == 0 {
		l.core.first = epoch
	}
	at := uint64(0)
	if st != nil {
		at = st.Epoch
	}
	switch {
	case epoch <= at:
		return st, nil
	case epoch != at+1:
		return nil, fmt.Errorf("%w: entry %d follows epoch %d", ErrCorrupt, epoch, at)
	}
	e, err := DecodeEntry(value)
	if err != nil {
		return nil, fmt.Errorf("epoch %d: %w", epoch, err)
	}
	next, _, err := Apply(st, e)
	if next == nil {
		return nil, fmt.Errorf("epoch %d: %w", epoch, err)
	}
	return next, nil
}

// core is what only the log's goroutine touches.
type core struct {
	acceptors map[uint64]*paxos.Acceptor
	first     uint64 // the oldest entry kept; 0: none
}

// Fault points of a vote: made and not stored yet, where an error withholds it; and durable, where an error keeps it from being told.
var (
	beforeVote = fault.New("metalog/before-vote")
	afterVote  = fault.New("metalog/after-vote")
)

// vote lets change work on the acceptor of an epoch, and returns once the result is durable. Where the store fails (a
// full disk) nothing was promised, whatever reached the disk: the answer is an error. Run by the log's
// goroutine.
func (l *Log) vote(epoch uint64, change func(a *paxos.Acceptor) (changed bool)) error {
	a, err := l.acceptor(epoch)
	if err != nil {
		return err
	}
	next := *a // the old one stays, should the store fail
	if !change(&next) {
		return nil
	}
	if fault.Planted("metalog/vote-only-in-memory") {
		l.core.acceptors[epoch] = &next
		return nil
	}
	err = beforeVote.Hit()
	if err == nil {
		err = l.o.Store.PutSystemMeta(map[string][]byte{keyAcceptor(epoch): next.Append(nil)})
	}
	if err != nil {
		return fmt.Errorf("metadata log: store vote for epoch %d: %w", epoch, err)
	}
	l.core.acceptors[epoch] = &next
	return afterVote.Hit()
}

func (l *Log) acceptor(epoch uint64) (*paxos.Acceptor, error) {
	if a := l.core.acceptors[epoch]; a != nil {
		return a, nil
	}
	raw, err := l.o.Store.GetSystem(keyAcceptor(epoch))
	if err != nil {
		return nil, fmt.Errorf("metadata log: read vote for epoch %d: %w", epoch, err)
	}
	if raw == nil {
		return &paxos.Acceptor{}, nil
	}
	a, err := paxos.DecodeAcceptor(raw)
	if err != nil {
		return nil, l.halt(fmt.Errorf("metadata log: vote for epoch %d: %w", epoch, err))
	}
	l.core.acceptors[epoch] = a
	return a, nil
}

// apply makes a decided entry durable and then its state visible, if it is the next one; others are ignored. Run by the
// log's goroutine.
func (l *Log) apply(epoch uint64, raw []byte) error {
	st := l.state.Load()
	at := uint64(0)
	if st != nil {
		at = st.Epoch
	}
	if epoch != at+1 {
		return nil
	}
	e, err := DecodeEntry(raw)
	if err != nil {
		return l.halt(fmt.Errorf("metadata log: epoch %d: %w", epoch, err))
	}
	next, target, refused := Apply(st, e)
	if next == nil {
		return l.halt(fmt.Errorf("metadata log: epoch %d: %w", epoch, refused))
	}
	next.withRing()
	pairs := map[string][]byte{keyEntry(epoch): raw, keyAcceptor(epoch): nil}
	first := l.core.first
	if first == 0 {
		first = epoch
	}
	if epoch%snapshotEvery == 0 {
		pairs[keySnapshot] = next.Append(nil)
		for ; first+keepEntries <= epoch; first++ {
			pairs[keyEntry(first)] = nil
		}
	}
	if err := l.o.Store.PutSystemMeta(pairs); err != nil {
		return fmt.Errorf("metadata log: store entry %d: %w", epoch, err)
	}
	l.core.first = first
	delete(l.core.acceptors, epoch)
	l.publish(next, target, func() { l.settle(e.ID, outcome{next, target, refused}) })
	return nil
}

// install replaces the state by a newer one, from a peer. Run by the log's goroutine.
func (l *Log) install(raw []byte) error {
	next, err := DecodeState(raw)
	if err != nil {
		return err // the sender may be newer than this node; so may what it will send
	}
	st := l.state.Load()
	if st != nil && (next.ClusterID != st.ClusterID || next.Generation != st.Generation) {
		return fmt.Errorf("%w: the snapshot is of another cluster", ErrCorrupt)
	}
	if st != nil && next.Epoch <= st.Epoch {
		return nil
	}
	pairs := map[string][]byte{keySnapshot: raw}
	for _, prefix := range []string{prefixEntry, prefixAcceptor} {
		err = l.o.Store.ScanSystem(prefix, func(key string, _ []byte) bool {
			if epoch, err := strconv.ParseUint(strings.TrimPrefix(key, prefix), 16, 64); err == nil && epoch <= next.Epoch {
				pairs[key] = nil
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("metadata log: read %s: %w", prefix, err)
		}
	}
	if err := l.o.Store.PutSystemMeta(pairs); err != nil {
		return fmt.Errorf("metadata log: store snapshot of epoch %d: %w", next.Epoch, err)
	}
	l.core.first = 0
	clear(l.core.acceptors) // they are read again where still needed
	l.publish(next, schema.Target{}, func() {
		for _, p := range next.recent {
			l.settle(p.id, seenOutcome(next, p.ok))
		}
	})
	return nil
}

// page collects the entries from an epoch on, or the state if they are kept no more. Run by the log's goroutine.
func (l *Log) page(from uint64) (*page, error) {
	st := l.state.Load()
	p := &page{Newest: st.Epoch, First: from}
	if from > st.Epoch {
		return p, nil
	}
	if l.core.first == 0 || from < l.core.first {
		p.First, p.Snapshot = 0, st.Append(nil)
		return p, nil
	}
	for size := 0; from <= st.Epoch; from++ {
		raw, err := l.o.Store.GetSystem(keyEntry(from))
		switch {
		case err != nil:
			return nil, fmt.Errorf("metadata log: read entry %d: %w", from, err)
		case raw == nil:
			return nil, l.halt(fmt.Errorf("metadata log: %w: entry %d is missing", ErrCorrupt, from))
		}
		if size += len(raw); size > maxPullBytes && len(p.Entries) > 0 {
			break
		}
		p.Entries = append(p.Entries, raw)
	}
	return p, nil
}

// take applies what a peer knows. Run by the log's goroutine.
func (l *Log) take(p *page) error {
	if len(p.Snapshot) > 0 {
		return l.install(p.Snapshot)
	}
	for i, raw := range p.Entries {
		if err := l.apply(p.First+uint64(i), raw); err != nil {
			return err
		}
	}
	return nil
}
