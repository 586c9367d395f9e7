package stream

import (
	"context"
	"fmt"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// Session compares one token range of one table between this node and the other owners, and makes them equal.
//
// Outline (DESIGN.md has the reasons):
//
//	root     this node reads its range once and cuts it into even pieces; each peer answers the sums of the same pieces
//	descend  a piece that differs is cut finer: evenly by tokens, or inside large partitions at this node's own rows (pair.go)
//	settle   pieces of a few items wait a moment, since a write on its way makes replicas differ too
//	exchange hashes of their items are compared; what this node lacks is fetched and written here, then what the peer lacks is pushed (exchange.go)
//
// Peers are compared one after the other, and what was fetched from a later one is compared again with the earlier ones. So at the end all that any of
// them held when the session began is durable on all that answered.
//
// Invariants:
//  1. A session only ever adds: it writes merged rows with their own timestamps through the replica's ordinary write path, owners only.
//  2. Headers are moved before the rows of their partitions, which they may delete: else rows would be moved that are deleted on arrival.
//  3. Memory is bounded: MaxRoot sums of a range, maxLeaves intervals, and what one message brings.
type Session struct {
	Table row.StorageID
	Range vnodes.Range // does not wrap
	Needs uint64       // newest metadata entry depended on
	Ring  uint64       // entry that last changed the ring
	Now   int64        // unix seconds

	Store     Store
	Transport rpc.Transport
	// Apply writes mutations on this node's own replica; done: durably.
	Apply  func(needs, ring uint64, mutations [][]byte, done func(error))
	Pace   *Pace
	Settle time.Duration // how long a write on its way is given
	// Report is told of each difference, and nothing is moved; nil: what differs is moved.
	Report func(Difference)
}

// Peer is another owner of the range.
type Peer struct {
	ID   vnodes.HostID
	Addr rpc.Peer
}

// Difference is a header or row that is not the same on this node and a peer.
type Difference struct {
	Peer       vnodes.HostID
	Token      vnodes.Token
	Key        []byte
	Clustering []byte // nil: the partition's header (its deletions and statics)
	Here       bool   // this node holds something there
	There      bool   // the peer does
}

// Outcome is what became of a session.
type Outcome struct {
	Items      uint64 // that this node holds
	Rows       uint64 // rows and headers that differed, counted for each peer that differed from this node
	Partitions uint64 // of those
	// Differed counts pieces that differed at a first look, also those that were equal, or written to, at the next. Where it is not zero a session that only
	// looks has seen no agreement: what one owner held may have been overwritten, in part, before the second look.
	Differed uint64
	Fetched  uint64 // rows and headers written here
	Pushed   uint64 // and to peers
	Sent     uint64 // bytes of messages
	Received uint64
	Scanned  uint64 // bytes read here
	// Failed has the peers that could not be compared to the end, and why.
	Failed map[vnodes.HostID]error
}

// Agreed reports whether all that each owner held at the beginning is now held by all.
func (o *Outcome) Agreed() bool { return len(o.Failed) == 0 }

// Run compares with each peer. A peer that fails is left out and named in the outcome; an error means that this node itself can't go on.
func (s *Session) Run(ctx context.Context, peers []Peer) (*Outcome, error) {
	out := &Outcome{Failed: map[vnodes.HostID]error{}}
	pairs := make([]*pair, 0, len(peers))
	local := scanner{store: s.Store, table: s.Table, now: s.Now, pace: s.Pace, left: -1}
	defer func() {
		out.Scanned += local.read
		for _, p := range pairs {
			p.count(out)
		}
	}()
	var root []merkle.Sum
	for _, peer := range peers {
		var err error
		if root == nil {
			if root, err = s.root(ctx, &local, out); err != nil {
				return out, err
			}
		}
		p := &pair{s: s, peer: peer, remote: remote{s: s, peer: peer.Addr}, scan: scanner{store: s.Store, table: s.Table, now: s.Now, pace: s.Pace, left: -1}}
		pairs = append(pairs, p)
		if err := p.compare(ctx, root); err != nil {
			if err := s.blame(ctx, out, peer, err); err != nil {
				return out, err
			}
		}
		if len(p.gained) == 0 || fault.Planted("stream/earlier-peers-not-compared-again") {
			continue
		}
		root = nil // it has changed
		for _, earlier := range pairs[:len(pairs)-1] {
			if out.Failed[earlier.peer.ID] != nil {
				continue
			}
			if err := earlier.again(ctx, p.gained); err != nil {
				if err := s.blame(ctx, out, earlier.peer, err); err != nil {
					return out, err
				}
			}
		}
	}
	return out, nil
}

// ownError is a failure of this node's own replica.
type ownError struct{ err error }

func (e *ownError) Error() string { return "this node: " + e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// blame notes a peer's failure, or gives it back where it is not the peer's.
func (s *Session) blame(ctx context.Context, out *Outcome, peer Peer, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if own, ok := err.(*ownError); ok {
		return own
	}
	out.Failed[peer.ID] = err
	return nil
}

// root reads this node's range and gives the sums of its first cut.
func (s *Session) root(ctx context.Context, local *scanner, out *Outcome) ([]merkle.Sum, error) {
	iv := merkle.OfRange(s.Range, merkle.MaxRoot)
	var parts []merkle.Part // those that hold anything: most ranges are small
	walker := iv.Walk(0)
	_, err := local.scan(ctx, &iv, func(it *item) bool {
		piece := walker.Piece(it.token, it.key, it.clustering)
		if len(parts) == 0 || parts[len(parts)-1].Piece != piece {
			parts = append(parts, merkle.Part{Piece: piece})
		}
		add(&parts[len(parts)-1].Sum, it)
		return true
	})
	if err != nil {
		return nil, &ownError{err}
	}
	var all merkle.Sum
	for i := range parts {
		all.Join(parts[i].Sum)
	}
	out.Items = all.Items
	return merkle.Fold(parts, merkle.MaxRoot, merkle.RootPieces(all)), nil
}

// apply writes here and waits until it is durable.
func (s *Session) apply(ctx context.Context, mutations [][]byte) error {
	if len(mutations) == 0 {
		return nil
	}
	ch := make(chan error, 1)
	s.Apply(s.Needs, s.Ring, mutations, func(err error) { ch <- err })
	select {
	case err := <-ch:
		if err != nil {
			return &ownError{fmt.Errorf("write what a peer had: %w", err)}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
