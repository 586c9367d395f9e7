package stream

import (
	"context"
	"slices"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/fault"
)

const (
	// batchPieces is how many differing pieces are cut finer at a time.
	batchPieces = 256
	// maxLeaves bounds the differing pieces that wait to settle.
	maxLeaves = 8192
	// maxListed is how many items a piece may have whose hashes are listed at once, with those of other pieces.
	maxListed = 4096
	// maxGained bounds the intervals in which this node gained something; more are joined to one.
	maxGained = 8192
)

// pair is this node and one peer.
type pair struct {
	s      *Session
	peer   Peer
	remote remote
	scan   scanner
	leaves []leaf
	found  uint64            // leaves so far
	latest time.Time         // when the newest of leaves was found to differ
	gained []merkle.Interval // where something was fetched

	partitions      distinct // that differed
	rows            uint64   // and rows
	fetched, pushed uint64
}

// piece is an interval that differs.
type piece struct {
	iv          merkle.Interval
	own, theirs merkle.Sum
	heads       bool // the headers in it were exchanged
}

// leaf is a piece that is not cut any more.
type leaf struct {
	iv          merkle.Interval
	own, theirs uint64 // items
}

// large reports whether a leaf is moved window by window: one side has little or nothing there, the other much.
func (l *leaf) large() bool { return max(l.own, l.theirs) > merkle.LeafItems }

// count adds a pair's figures.
func (p *pair) count(out *Outcome) {
	out.Rows += p.rows
	out.Differed += p.found
	out.Partitions += p.partitions.count
	out.Fetched += p.fetched
	out.Pushed += p.pushed
	out.Sent += p.remote.sent
	out.Received += p.remote.received
	out.Scanned += p.scan.read
}

// compare goes through the whole range.
func (p *pair) compare(ctx context.Context, own []merkle.Sum) error {
	iv := merkle.OfRange(p.s.Range, len(own))
	theirs, err := p.remote.sums(ctx, []merkle.Interval{iv})
	if err != nil {
		return err
	}
	return p.descend(ctx, differing(nil, &iv, own, theirs, false))
}

// again compares intervals in which this node gained something.
func (p *pair) again(ctx context.Context, gained []merkle.Interval) error {
	own := make([]merkle.Sum, len(gained))
	for i := range gained {
		_, err := p.scan.scan(ctx, &gained[i], func(it *item) bool {
			add(&own[i], it)
			return true
		})
		if err != nil {
			return &ownError{err}
		}
	}
	theirs, err := p.remote.sums(ctx, gained)
	if err != nil {
		return err
	}
	var frontier []piece
	for i := range gained {
		frontier = differing(frontier, &gained[i], own[i:i+1], theirs[i:i+1], false)
	}
	return p.descend(ctx, frontier)
}

// differing appends the pieces of an interval whose sums differ.
func differing(to []piece, iv *merkle.Interval, own, theirs []merkle.Sum, heads bool) []piece {
	for i := range own {
		if !own[i].Equal(theirs[i]) && !(fault.Planted("stream/last-piece-left-out") && len(own) > 1 && i == len(own)-1) {
			to = append(to, piece{iv: iv.Piece(i), own: own[i], theirs: theirs[i], heads: heads})
		}
	}
	return to
}

// descend cuts differing pieces finer, depth first and in order, until they are leaves.
func (p *pair) descend(ctx context.Context, frontier []piece) error {
	stack := [][]piece{frontier}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		batch := top[:min(batchPieces, len(top))]
		if stack[len(stack)-1] = top[len(batch):]; len(batch) == len(top) {
			stack = stack[:len(stack)-1]
		}
		inner := p.split(batch)
		if len(p.leaves) >= maxLeaves {
			if err := p.settle(ctx); err != nil {
				return err
			}
		}
		finer, err := p.refine(ctx, inner)
		if err != nil {
			return err
		}
		if len(finer) > 0 {
			stack = append(stack, finer)
		}
	}
	return p.settle(ctx)
}

// split takes the leaves out of a batch and gives the rest.
func (p *pair) split(batch []piece) (inner []piece) {
	for _, q := range batch {
		small := max(q.own.Items, q.theirs.Items) <= merkle.LeafItems
		oneSided := q.own.Items == 0 || q.theirs.Items == 0
		if !small && !oneSided {
			inner = append(inner, q)
			continue
		}
		p.leaf(q.iv, q.own, q.theirs)
	}
	return inner
}

func (p *pair) leaf(iv merkle.Interval, own, theirs merkle.Sum) {
	p.latest = time.Now()
	p.found++
	p.leaves = append(p.leaves, leaf{iv, own.Items, theirs.Items})
}

// refine cuts each piece, compares its parts, and gives those that differ.
func (p *pair) refine(ctx context.Context, batch []piece) ([]piece, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	if err := p.exchangeHeads(ctx, batch); err != nil {
		return nil, err
	}
	ivs := make([]merkle.Interval, len(batch))
	own := make([][]merkle.Sum, len(batch))
	for i := range batch {
		var err error
		if ivs[i], own[i], err = p.cut(ctx, &batch[i]); err != nil {
			return nil, &ownError{err}
		}
	}
	theirs, err := p.remote.sums(ctx, ivs)
	if err != nil {
		return nil, err
	}
	var finer []piece
	for i := range ivs {
		n := ivs[i].Pieces()
		if n > 1 {
			finer = differing(finer, &ivs[i], own[i], theirs[:n], batch[i].heads)
		} else if !own[i][0].Equal(theirs[0]) { // it can't be cut: its items are compared one by one, however many
			p.leaf(ivs[i], own[i][0], theirs[0])
		}
		theirs = theirs[n:]
	}
	return finer, nil
}

// byPlace reports whether a piece is to be cut at rows rather than by tokens.
func (q *piece) byPlace() bool {
	even := merkle.EvenPieces(q.own)
	width := uint64(q.iv.Upper.Token) - uint64(q.iv.Lower.Token)
	return even == 0 || !q.iv.Tokens() || width < 2*uint64(even)
}

// exchangeHeads makes the headers equal in pieces that are about to be cut inside partitions.
func (p *pair) exchangeHeads(ctx context.Context, batch []piece) error {
	if p.s.Report != nil {
		return nil
	}
	var ivs []merkle.Interval
	for i := range batch {
		q := &batch[i]
		if q.heads || !q.byPlace() {
			continue
		}
		q.heads = true
		if q.theirs.Items <= maxListed {
			ivs = append(ivs, q.iv)
		} else if err := p.windows(ctx, &q.iv, true); err != nil {
			return err
		}
	}
	return p.exchange(ctx, ivs, true)
}

// cut cuts a piece finer and reads this node's own sums of its parts.
func (p *pair) cut(ctx context.Context, q *piece) (iv merkle.Interval, sums []merkle.Sum, err error) {
	iv = merkle.Interval{Lower: q.iv.Lower, Upper: q.iv.Upper}
	if q.byPlace() {
		return p.cutByPlace(ctx, iv, (q.own.Items+merkle.Fanout-1)/merkle.Fanout)
	}
	iv.Even = merkle.EvenPieces(q.own)
	sums = make([]merkle.Sum, iv.Even)
	walker := iv.Walk(0)
	_, err = p.scan.scan(ctx, &iv, func(it *item) bool {
		add(&sums[walker.Piece(it.token, it.key, it.clustering)], it)
		return true
	})
	return iv, sums, err
}

// cutByPlace cuts behind every so many items. A cut behind a header waits for what comes next: there is no place between it and its first row.
func (p *pair) cutByPlace(ctx context.Context, iv merkle.Interval, each uint64) (merkle.Interval, []merkle.Sum, error) {
	sums := make([]merkle.Sum, 1, merkle.Fanout)
	var last item
	var key, clustering []byte
	whole := iv
	_, err := p.scan.scan(ctx, &whole, func(it *item) bool {
		here := len(sums) - 1
		if sums[here].Items >= each && len(sums) < merkle.Fanout {
			b := merkle.Bound{Kind: merkle.BehindRow, Token: last.token, Key: slices.Clone(key), Clustering: append([]byte{}, clustering...)}
			if last.header() {
				b.Kind, b.Clustering = merkle.BehindPartition, nil
			}
			if !last.header() || it.first {
				iv.Cuts = append(iv.Cuts, b)
				sums = append(sums, merkle.Sum{})
				here++
			}
		}
		add(&sums[here], it)
		last = *it
		key, clustering = append(key[:0], it.key...), append(clustering[:0], it.clustering...)
		return true
	})
	return iv, sums, err
}
