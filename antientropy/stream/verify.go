package stream

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/cespare/xxhash/v2"

	"nodedb/antientropy/merkle"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// distinct counts different things by their hashes; beyond maxDistinct of them one that comes again, not in a row, is counted again.
type distinct struct {
	count, last uint64
	seen        map[uint64]struct{}
}

const maxDistinct = 1 << 16

// add reports whether a thing is new.
func (d *distinct) add(hash uint64) bool {
	if _, again := d.seen[hash]; again || (d.count > 0 && hash == d.last) {
		return false
	}
	if d.seen == nil {
		d.seen = map[uint64]struct{}{}
	}
	if len(d.seen) < maxDistinct {
		d.seen[hash] = struct{}{}
	}
	d.last = hash
	d.count++
	return true
}

// differed counts a place that differs; places has those of the same exchange, nil: none comes twice.
func (p *pair) differed(token vnodes.Token, key, clustering []byte, places *distinct) {
	partition := uint64(token) ^ xxhash.Sum64(key)
	p.partitions.add(partition)
	kind := uint64(1)
	if clustering == nil {
		kind = 2
	}
	if places == nil || places.add(partition*31+xxhash.Sum64(clustering)*4+kind) {
		p.rows++
	}
}

// verify reports what differs in small intervals twice, a moment apart.
func (p *pair) verify(ctx context.Context, ivs []merkle.Interval) error {
	if len(ivs) == 0 {
		return nil
	}
	before, err := p.remote.lists(ctx, ivs, false)
	if err != nil {
		return err
	}
	diffs := make([]*diff, len(ivs))
	for i := range ivs {
		if diffs[i], err = p.diff(ctx, &ivs[i], before[i], false); err != nil {
			return err
		}
	}
	if err := sleep(ctx, p.s.Settle); err != nil {
		return err
	}
	lists, err := p.remote.lists(ctx, ivs, false)
	if err != nil {
		return err
	}
	return p.report(ctx, ivs, lists, diffs)
}

// report tells of each difference in the intervals; where there is an earlier look, only of those that were there then.
func (p *pair) report(ctx context.Context, ivs []merkle.Interval, theirs [][]uint64, earlier []*diff) error {
	for i := range ivs {
		d, err := p.diff(ctx, &ivs[i], theirs[i], false)
		if err != nil {
			return err
		}
		if earlier != nil {
			d.keep(earlier[i])
		}
		if len(d.missing)+len(d.extra) == 0 {
			continue
		}
		if err := p.reportOne(ctx, &ivs[i], d, earlier != nil); err != nil {
			return err
		}
	}
	return nil
}

// keep drops what was not so before.
func (d *diff) keep(before *diff) {
	d.missing = slices.DeleteFunc(d.missing, func(h uint64) bool { return !slices.Contains(before.missing, h) })
	d.extra = slices.DeleteFunc(d.extra, func(h uint64) bool { return !slices.Contains(before.extra, h) })
}

// reportOne finds the places of what differs in one interval.
func (p *pair) reportOne(ctx context.Context, iv *merkle.Interval, d *diff, listed bool) error {
	found := map[string]*Difference{}
	at := func(token vnodes.Token, key, clustering []byte) *Difference {
		b := merkle.Bound{Kind: merkle.BehindPartition, Token: token, Key: key}
		if clustering != nil {
			b.Kind, b.Clustering = merkle.BehindRow, clustering
		}
		place := string(merkle.EncodeBound(&b))
		if found[place] == nil {
			found[place] = &Difference{Peer: p.peer.ID, Token: token, Key: slices.Clone(key), Clustering: slices.Clone(clustering)}
		}
		return found[place]
	}
	err := p.visit(ctx, iv, false, func(it *item) {
		_, there := d.theirs[it.hash]
		if !there && (!listed || slices.Contains(d.extra, it.hash)) {
			at(it.token, it.key, it.clustering).Here = true
		}
	})
	if err == nil && len(d.missing) > 0 {
		err = p.remote.fetch(ctx, []merkle.Interval{*iv}, [][]uint64{d.missing}, false, func(mutations [][]byte) error {
			return eachPlace(mutations, func(token vnodes.Token, key, clustering []byte) { at(token, key, clustering).There = true })
		})
	}
	if err != nil {
		return err
	}
	all := make([]*Difference, 0, len(found))
	for _, f := range found {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *Difference) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), bytes.Compare(a.Key, b.Key), bytes.Compare(a.Clustering, b.Clustering))
	})
	for _, f := range all {
		p.differed(f.Token, f.Key, f.Clustering, nil)
		p.s.Report(*f)
	}
	return nil
}

// eachPlace visits the places of mutations: a header has a nil clustering key.
func eachPlace(mutations [][]byte, f func(token vnodes.Token, key, clustering []byte)) error {
	for _, b := range mutations {
		m, _, err := row.DecodeMutation(b)
		if err != nil {
			return err
		}
		if len(m.Header) > 0 {
			f(m.Token, m.Key, nil)
		}
		for _, e := range m.Rows {
			f(m.Token, m.Key, append([]byte{}, e.Clustering...))
		}
	}
	return nil
}
