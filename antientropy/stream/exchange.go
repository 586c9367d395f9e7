package stream

import (
	"context"
	"slices"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// settle waits until the newest leaf was found to differ a moment ago, then moves what still differs.
func (p *pair) settle(ctx context.Context) error {
	if len(p.leaves) == 0 {
		return nil
	}
	if wait := p.s.Settle - time.Since(p.latest); wait > 0 {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	leaves := p.leaves
	p.leaves = nil
	slices.SortFunc(leaves, func(a, b leaf) int { return a.iv.Lower.Compare(&b.iv.Lower) })
	var small []merkle.Interval
	for i := range leaves {
		l := &leaves[i]
		var err error
		switch {
		case !l.large():
			small = append(small, l.iv)
		case l.own == 0 && p.s.Report == nil:
			err = p.fetchAll(ctx, l.iv)
		default:
			err = p.windows(ctx, &l.iv, false)
		}
		if err != nil {
			return err
		}
	}
	if p.s.Report != nil {
		return p.verify(ctx, small)
	}
	return p.exchange(ctx, small, false)
}

// windows goes through a large interval, as much at a time as one answer lists.
func (p *pair) windows(ctx context.Context, iv *merkle.Interval, heads bool) error {
	rest := *iv
	for rest.Lower.Compare(&rest.Upper) < 0 {
		hashes, end, err := p.remote.window(ctx, &rest, heads)
		if err != nil {
			return err
		}
		window := []merkle.Interval{{Lower: rest.Lower, Upper: end}}
		if p.s.Report != nil {
			err = p.report(ctx, window, [][]uint64{hashes}, nil)
		} else {
			err = p.move(ctx, window, [][]uint64{hashes}, heads)
		}
		if err != nil {
			return err
		}
		rest.Lower = end
	}
	return nil
}

// fetchAll brings everything of an interval in which this node holds nothing.
func (p *pair) fetchAll(ctx context.Context, iv merkle.Interval) error {
	p.gain(iv)
	return p.remote.fetch(ctx, []merkle.Interval{iv}, nil, false, func(mutations [][]byte) error {
		p.counted(mutations, nil)
		return p.s.apply(ctx, mutations)
	})
}

// exchange compares small intervals item by item and moves what differs: headers first, and the rows of their intervals are compared once more.
func (p *pair) exchange(ctx context.Context, ivs []merkle.Interval, heads bool) error {
	if len(ivs) == 0 {
		return nil
	}
	lists, err := p.remote.lists(ctx, ivs, heads)
	if err != nil || heads {
		if err == nil {
			err = p.move(ctx, ivs, lists, heads)
		}
		return err
	}
	var first []merkle.Interval
	var at []int
	for i := range ivs {
		d, err := p.diff(ctx, &ivs[i], lists[i], false)
		if err != nil {
			return err
		}
		if d.header() {
			first, at = append(first, ivs[i]), append(at, i)
		}
	}
	if len(first) > 0 {
		if err := p.exchange(ctx, first, true); err != nil {
			return err
		}
		again, err := p.remote.lists(ctx, first, false)
		if err != nil {
			return err
		}
		for i, j := range at {
			lists[j] = again[i]
		}
	}
	return p.move(ctx, ivs, lists, false)
}

// diff is how one interval differs. Of extra only the first maxListed are kept.
type diff struct {
	theirs  map[uint64]bool // the peer's hashes; true: this node has the item too
	missing []uint64        // of theirs, not here
	extra   []uint64        // here, not of theirs
}

func (d *diff) header() bool {
	return slices.ContainsFunc(d.missing, merkle.IsHeader) || slices.ContainsFunc(d.extra, merkle.IsHeader)
}

// diff holds this node's items of an interval against the peer's hashes.
func (p *pair) diff(ctx context.Context, iv *merkle.Interval, theirs []uint64, heads bool) (*diff, error) {
	d := &diff{theirs: make(map[uint64]bool, len(theirs))}
	for _, h := range theirs {
		d.theirs[h] = false
	}
	err := p.visit(ctx, iv, heads, func(it *item) {
		if _, there := d.theirs[it.hash]; there {
			d.theirs[it.hash] = true
		} else if len(d.extra) < maxListed {
			d.extra = append(d.extra, it.hash)
		}
	})
	for h, here := range d.theirs {
		if !here {
			d.missing = append(d.missing, h)
		}
	}
	slices.Sort(d.missing) // a map's order would make runs of a simulation differ
	return d, err
}

func (p *pair) visit(ctx context.Context, iv *merkle.Interval, heads bool, f func(*item)) error {
	p.scan.heads = heads
	_, err := p.scan.scan(ctx, iv, func(it *item) bool {
		f(it)
		return true
	})
	p.scan.heads = false
	if err != nil {
		return &ownError{err}
	}
	return nil
}

// move fetches what this node lacks and writes it here, then pushes what the peer lacks of the merge.
func (p *pair) move(ctx context.Context, ivs []merkle.Interval, theirs [][]uint64, heads bool) error {
	var lack lacking
	var differ []int
	diffs := make([]*diff, len(ivs))
	for i := range ivs {
		d, err := p.diff(ctx, &ivs[i], theirs[i], heads)
		if err != nil {
			return err
		}
		diffs[i] = d
		if len(d.missing) > 0 {
			lack.add(ivs[i], d.missing)
		}
		if len(d.missing)+len(d.extra) > 0 {
			differ = append(differ, i)
		}
	}
	places := &distinct{}
	if err := p.fetch(ctx, lack, heads, places); err != nil {
		return err
	}
	if fault.Planted("stream/repairs-one-way") {
		return nil
	}
	out := builder{table: p.s.Table}
	for _, i := range differ {
		if err := p.push(ctx, &ivs[i], diffs[i], heads, &out, places); err != nil {
			return err
		}
	}
	return p.remote.push(ctx, out.take())
}

// lacking is intervals and, for each, the hashes of the peer's items that this node lacks.
type lacking struct {
	ivs  []merkle.Interval
	want [][]uint64
}

func (l *lacking) add(iv merkle.Interval, want []uint64) {
	l.ivs, l.want = append(l.ivs, iv), append(l.want, want)
}

// fetchTries is how often items are asked for by their hashes, before everything of their intervals is.
const fetchTries = 3

// fetch brings what this node lacks and writes it here. An item that was written to since the peer listed it has another hash now, so its old one is
// not found: then the interval is listed anew, or this node would miss what the peer held.
func (p *pair) fetch(ctx context.Context, lack lacking, heads bool, places *distinct) error {
	for try := 0; len(lack.ivs) > 0; try++ {
		want, got := lack.want, map[uint64]bool{}
		if try == fetchTries {
			want = nil
		}
		err := p.remote.fetch(ctx, lack.ivs, want, heads, func(mutations [][]byte) error {
			p.counted(mutations, places)
			hashesOf(mutations, got)
			return p.s.apply(ctx, mutations)
		})
		if err != nil || want == nil {
			return err
		}
		if lack, err = p.undelivered(ctx, lack, got, heads); err != nil {
			return err
		}
	}
	return nil
}

// undelivered lists the intervals anew of which some item asked for did not come.
func (p *pair) undelivered(ctx context.Context, lack lacking, got map[uint64]bool, heads bool) (left lacking, err error) {
	var again []merkle.Interval
	for i, want := range lack.want {
		if slices.ContainsFunc(want, func(h uint64) bool { return !got[h] }) {
			again = append(again, lack.ivs[i])
		}
	}
	if len(again) == 0 {
		return left, nil
	}
	lists, err := p.remote.lists(ctx, again, heads)
	if err != nil {
		return left, err
	}
	for i := range again {
		d, err := p.diff(ctx, &again[i], lists[i], heads)
		if err != nil {
			return left, err
		}
		if len(d.missing) > 0 {
			left.add(again[i], d.missing)
		}
	}
	return left, nil
}

// hashesOf adds the hashes of the items of mutations; remote.fetch has checked them.
func hashesOf(mutations [][]byte, to map[uint64]bool) {
	for _, b := range mutations {
		m, _, err := row.DecodeMutation(b)
		if err != nil {
			continue
		}
		var h merkle.Hasher
		h.Partition(m.Token, m.Key)
		if len(m.Header) > 0 {
			to[h.Header(m.Header)] = true
		}
		for _, e := range m.Rows {
			to[h.Row(e.Clustering, e.Fragment)] = true
		}
	}
}

// had reports whether this node had an item when the interval was held against the peer's.
func (d *diff) had(hash uint64) bool { return d.theirs[hash] || slices.Contains(d.extra, hash) }

// push sends the peer the items of an interval that it did not list, and notes whether this node has gained some: not where it was sent older ones.
func (p *pair) push(ctx context.Context, iv *merkle.Interval, d *diff, heads bool, out *builder, places *distinct) error {
	var failed error
	gained := false
	p.scan.heads = heads
	_, err := p.scan.scan(ctx, iv, func(it *item) bool {
		gained = gained || len(d.missing) > 0 && !d.had(it.hash)
		if _, there := d.theirs[it.hash]; there {
			return true
		}
		out.add(it)
		p.pushed++
		p.differed(it.token, it.key, it.clustering, places)
		if out.bytes >= replyBytes {
			failed = p.remote.push(ctx, out.take())
		}
		return failed == nil
	})
	p.scan.heads = false
	if gained {
		p.gain(*iv)
	}
	if err != nil {
		return &ownError{err}
	}
	return failed
}

// gain notes where this node gained something.
func (p *pair) gain(ivs ...merkle.Interval) {
	p.gained = append(p.gained, ivs...)
	slices.SortFunc(p.gained, func(a, b merkle.Interval) int { return a.Lower.Compare(&b.Lower) })
	joined := p.gained[:1]
	for _, iv := range p.gained[1:] {
		last := &joined[len(joined)-1]
		switch {
		case iv.Lower.Compare(&last.Upper) >= 0 && len(joined) < maxGained:
			joined = append(joined, iv)
		case iv.Upper.Compare(&last.Upper) > 0:
			last.Upper = iv.Upper
		}
	}
	p.gained = joined
}

// counted counts what was fetched; remote.fetch has checked it.
func (p *pair) counted(mutations [][]byte, places *distinct) {
	_ = eachPlace(mutations, func(token vnodes.Token, key, clustering []byte) {
		p.fetched++
		p.differed(token, key, clustering, places)
	})
}
