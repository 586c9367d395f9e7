package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/row"
	"nodedb/node/rpc"
)

const (
	// callTimeout bounds one request; who answers stops reading long before (maxHeld).
	callTimeout = 30 * time.Second
	// shedRetries is how often a request that was shed is tried again, after shedWait, doubled each time.
	shedRetries = 6
	shedWait    = 100 * time.Millisecond
	// requestBytes is about how much one request says; more intervals go in another.
	requestBytes = 1 << 20
)

// remote is one peer as a session sees it.
type remote struct {
	s              *Session
	peer           rpc.Peer
	sent, received uint64 // bytes of bodies
}

// call sends a request and waits. One that was shed is tried again.
func (r *remote) call(ctx context.Context, verb rpc.Verb, q *Request) (*Reply, error) {
	q.Version, q.Needs, q.Ring, q.Storage, q.Now = messageVersion, r.s.Needs, r.s.Ring, r.s.Table, r.s.Now
	body, err := encode(q)
	if err != nil {
		return nil, err
	}
	wait := shedWait
	for try := 0; ; try++ {
		answer, err := r.send(ctx, verb, body)
		if err == nil {
			if q.Op == OpPush || q.Op == OpRecord {
				return nil, nil
			}
			return decodeReply(answer)
		}
		if !shed(err) || try == shedRetries {
			return nil, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// shed reports whether a request was refused unexecuted, for now.
func shed(err error) bool {
	var re *rpc.RemoteError
	return errors.Is(err, rpc.ErrOverloaded) || errors.As(err, &re) && re.Code == rpc.CodeOverloaded
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *remote) send(ctx context.Context, verb rpc.Verb, body []byte) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ch := make(chan result, 1)
	r.sent += uint64(len(body))
	r.s.Transport.Send(&rpc.Call{To: r.peer, Verb: verb, Body: body, Timeout: callTimeout, Done: func(body []byte, err error) {
		ch <- result{bytes.Clone(body), err}
	}})
	select {
	case got := <-ch:
		r.received += uint64(len(got.body))
		return got.body, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pages asks for everything about intervals, in as many requests as it takes. take gets each answer and the piece (OpSums) or interval its first
// entry is of.
func (r *remote) pages(ctx context.Context, verb rpc.Verb, q Request, things int, take func(from int, p *Reply) (got int, err error)) error {
	for {
		from := q.Skip
		p, err := r.call(ctx, verb, &q)
		if err != nil {
			return err
		}
		got, err := take(from, p)
		if err != nil {
			return err
		}
		if p.Skip < 0 {
			if q.Op != OpFetch && got != things-from {
				return fmt.Errorf("an answer about %d of %d", got, things-from)
			}
			return nil
		}
		if p.Skip < from || p.Skip > things || (p.Skip == from && (len(p.After) == 0 || bytes.Equal(p.After, q.After))) {
			return fmt.Errorf("an answer that gets nowhere: at %d of %d", p.Skip, things)
		}
		q.Skip, q.After = p.Skip, p.After
	}
}

// sums asks for the sums of the intervals' pieces, one behind the other.
func (r *remote) sums(ctx context.Context, ivs []merkle.Interval) ([]merkle.Sum, error) {
	var all []merkle.Sum
	err := chunks(ivs, func(part []merkle.Interval, encoded []byte, _ int) error {
		things := 0
		for i := range part {
			things += part[i].Pieces()
		}
		sums := make([]merkle.Sum, things)
		err := r.pages(ctx, rpc.VerbTree, Request{Op: OpSums, Intervals: encoded}, things, func(from int, p *Reply) (int, error) {
			got, err := merkle.DecodeSums(p.Sums)
			if err == nil && from+len(got) > things {
				err = fmt.Errorf("an answer of %d sums from %d of %d", len(got), from, things)
			}
			if err != nil {
				return 0, err
			}
			for i := range got {
				sums[from+i].Join(got[i])
			}
			return len(got), nil
		})
		all = append(all, sums...)
		return err
	})
	return all, err
}

// lists asks for the hashes of the intervals' items.
func (r *remote) lists(ctx context.Context, ivs []merkle.Interval, heads bool) ([][]uint64, error) {
	var all [][]uint64
	err := chunks(ivs, func(part []merkle.Interval, encoded []byte, _ int) error {
		lists := make([][]uint64, len(part))
		q := Request{Op: OpLists, Intervals: encoded, Heads: heads}
		err := r.pages(ctx, rpc.VerbTree, q, len(part), func(from int, p *Reply) (int, error) {
			got, err := merkle.DecodeLists(p.Lists)
			if err == nil && from+len(got) > len(part) {
				err = fmt.Errorf("an answer of %d lists from %d of %d", len(got), from, len(part))
			}
			if err != nil {
				return 0, err
			}
			for i := range got {
				lists[from+i] = append(lists[from+i], got[i]...)
			}
			return len(got), nil
		})
		all = append(all, lists...)
		return err
	})
	return all, err
}

// window asks for the hashes of the first items of an interval, as many as one answer brings, and gives where it ends.
func (r *remote) window(ctx context.Context, iv *merkle.Interval, heads bool) (hashes []uint64, end merkle.Bound, err error) {
	q := Request{Op: OpLists, Intervals: merkle.AppendIntervals(nil, []merkle.Interval{*iv}), Heads: heads}
	p, err := r.call(ctx, rpc.VerbTree, &q)
	if err != nil {
		return nil, end, err
	}
	lists, err := merkle.DecodeLists(p.Lists)
	if err == nil && len(lists) != 1 {
		err = fmt.Errorf("an answer of %d lists for one interval", len(lists))
	}
	if err != nil {
		return nil, end, err
	}
	if p.Skip < 0 {
		return lists[0], iv.Upper, nil
	}
	end, err = merkle.DecodeBound(p.After)
	if err == nil && (end.Compare(&iv.Lower) <= 0 || end.Compare(&iv.Upper) > 0) {
		err = errors.New("an answer that ends outside its interval")
	}
	return lists[0], end, err
}

// fetch asks for the items wanted of each interval, and gives them to take as they come. A nil want is everything.
func (r *remote) fetch(ctx context.Context, ivs []merkle.Interval, want [][]uint64, heads bool, take func([][]byte) error) error {
	return chunks(ivs, func(part []merkle.Interval, encoded []byte, first int) error {
		q := Request{Op: OpFetch, Intervals: encoded, Heads: heads}
		if want != nil {
			q.Want = merkle.AppendLists(nil, want[first:first+len(part)])
		}
		return r.pages(ctx, rpc.VerbRepair, q, len(part), func(_ int, p *Reply) (int, error) {
			for i, m := range p.Mutations {
				if err := checkMutation(m, r.s.Table); err != nil {
					return 0, fmt.Errorf("mutation %d of an answer: %w", i, err)
				}
			}
			return 0, take(p.Mutations)
		})
	})
}

func checkMutation(b []byte, table row.StorageID) error {
	m, rest, err := row.DecodeMutation(b)
	if err == nil && (len(rest) > 0 || m.Storage != table) {
		err = fmt.Errorf("not one for storage %d", table)
	}
	return err
}

// push has mutations applied; nil: durably.
func (r *remote) push(ctx context.Context, mutations [][]byte) error {
	if len(mutations) == 0 {
		return nil
	}
	_, err := r.call(ctx, rpc.VerbRepair, &Request{Op: OpPush, Mutations: mutations})
	return err
}

// chunks cuts intervals into messages.
func chunks(ivs []merkle.Interval, send func(part []merkle.Interval, encoded []byte, first int) error) error {
	for first := 0; first < len(ivs); {
		n, size, pieces := 0, 0, 0
		for ; first+n < len(ivs) && n < merkle.MaxIntervals && (n == 0 || size < requestBytes); n++ {
			iv := &ivs[first+n]
			if pieces += iv.Pieces(); pieces > merkle.MaxPieces {
				break
			}
			size += sizeOf(iv)
		}
		part := ivs[first : first+n]
		if err := send(part, merkle.AppendIntervals(nil, part), first); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// sizeOf is about what an interval takes in a message.
func sizeOf(iv *merkle.Interval) int {
	size := 32 + len(iv.Lower.Key) + len(iv.Lower.Clustering) + len(iv.Upper.Key) + len(iv.Upper.Clustering)
	for i := range iv.Cuts {
		size += 4 + len(iv.Cuts[i].Key) + len(iv.Cuts[i].Clustering)
	}
	return size
}
