package metalog

import (
	"fmt"
	"slices"

	"nodedb/coordinator/paxos"
	"nodedb/vnodes"
)

// founderVote is this node's Paxos acceptor in the founding of one set.
//
// A vote is kept for ever for each set that was ever voted on: a node whose list changes to another and back must not
// have forgotten its promises. Once it has accepted a value for a set it is bound to that set, because that founding
// may have succeeded.
type founderVote struct {
	set      []string
	acceptor paxos.Acceptor
}

// founderVersion is the first byte of a stored founder's vote.
//
//	offset  bytes  what
//	     0      1  version, 1
//	     1         count of addresses, then each: length, bytes
//	     …         length and bytes of the acceptor (coordinator/paxos has their diagram)
const founderVersion = 1

func (v *founderVote) append(dst []byte) []byte {
	dst = appendNumber(append(dst, founderVersion), uint64(len(v.set)))
	for _, address := range v.set {
		dst = appendText(dst, address)
	}
	return appendText(dst, string(v.acceptor.Append(nil)))
}

func decodeFounderVote(b []byte) (*founderVote, error) {
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != founderVersion {
		return nil, fmt.Errorf("%w: founding vote of version %d, this nodedb knows %d", ErrUnknown, v, founderVersion)
	}
	v := &founderVote{}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		v.set = append(v.set, r.text())
	}
	raw := r.text()
	if err := r.end("founding vote"); err != nil {
		return nil, err
	}
	a, err := paxos.DecodeAcceptor([]byte(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: founding vote: %w", ErrCorrupt, err)
	}
	v.acceptor = *a
	return v, nil
}

// keyFounding names the vote of a set by a hash: the set may be long.
func keyFounding(set []string) string {
	h1, h2 := hashSet(set)
	return fmt.Sprintf("%s%016x%016x", prefixFounding, h1, h2)
}

func hashSet(set []string) (uint64, uint64) {
	var text []byte
	for _, address := range set {
		text = appendText(text, address)
	}
	return vnodes.Hash128(text)
}

// founderVotes reads all votes.
func (l *Log) founderVotes() (votes []*founderVote, err error) {
	var bad error
	err = l.o.Store.ScanSystem(prefixFounding, func(_ string, value []byte) bool {
		v, err := decodeFounderVote(value)
		if bad = err; err == nil {
			votes = append(votes, v)
		}
		return err == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("metadata log: read founding votes: %w", err)
	}
	return votes, nil
}

// foundVote lets change work on the vote for a set, and returns once the result is durable. Run by the log's goroutine.
func (l *Log) foundVote(set []string, change func(a *paxos.Acceptor) bool) error {
	key := keyFounding(set)
	raw, err := l.o.Store.GetSystem(key)
	v := &founderVote{set: set}
	if err == nil && raw != nil {
		v, err = decodeFounderVote(raw)
	}
	if err == nil && !slices.Equal(v.set, set) {
		err = fmt.Errorf("%w: the vote stored for %v is for %v", ErrCorrupt, set, v.set)
	}
	if err != nil {
		return l.halt(fmt.Errorf("metadata log: read founding vote: %w", err))
	}
	if !change(&v.acceptor) {
		return nil
	}
	if err := l.o.Store.PutSystemMeta(map[string][]byte{key: v.append(nil)}); err != nil {
		return fmt.Errorf("metadata log: store founding vote: %w", err)
	}
	return nil
}
