package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"nodedb/coordinator/readrepair"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// Checksum is what this node itself holds of a table: equal on replicas that hold the same.
type Checksum struct {
	Partitions int    `json:"partitions"`
	Rows       int    `json:"rows"` // with tombstones
	Digest     string `json:"digest"`
}

// ErrNoTable says that a table does not exist.
var ErrNoTable = errors.New("no such table")

// Checksum reads this node's own copy of a whole table.
func (n *Node) Checksum(ctx context.Context, keyspace, name string) (Checksum, error) {
	t, ok := n.cluster.Catalog().Table(keyspace, name)
	if !ok {
		return Checksum{}, fmt.Errorf("%s.%s: %w", keyspace, name, ErrNoTable)
	}
	return n.checksum(ctx, storage.ReadSpec{Storage: t.Storage, Range: vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken},
		Now: n.clock.Seconds(), ByteLimit: streamPage})
}

// checksum reads what the spec says, page by page.
func (n *Node) checksum(ctx context.Context, spec storage.ReadSpec) (sum Checksum, err error) {
	var chain, buf, last []byte
	for {
		page, err := n.engine.Read(ctx, &spec, buf)
		if err != nil {
			return sum, err
		}
		stop, err := sum.count(page, last)
		if err != nil {
			return sum, err
		}
		d := readrepair.Digest(page)
		chain = append(chain, d[:]...)
		if stop == nil {
			break
		}
		buf, spec.After = page, clonePosition(stop)
		last = spec.After.Key
	}
	d := readrepair.Digest(chain)
	sum.Digest = hex.EncodeToString(d[:])
	return sum, nil
}

func clonePosition(p *row.Position) *row.Position {
	c := *p
	c.Key = append([]byte(nil), p.Key...)
	if p.Clustering != nil {
		c.Clustering = append([]byte{}, p.Clustering...)
	}
	return &c
}

// count adds a page; last is the partition that the page before it stopped in.
func (sum *Checksum) count(page, last []byte) (*row.Position, error) {
	var r row.PageReader
	r.Reset(page)
	for {
		ev, err := r.Next()
		if err != nil {
			return nil, err
		}
		switch ev {
		case row.PageEnd:
			return r.Stop(), nil
		case row.PagePartition:
			if !bytes.Equal(r.Key, last) {
				sum.Partitions++
			}
		case row.PageRow:
			sum.Rows++
		}
	}
}

// RangeChecksum is what this node itself holds of one range of a table.
type RangeChecksum struct {
	Range vnodes.Range
	Checksum
}

// RangeChecksums reads this node's own copy of the ranges of a table that it owns, as of a time in unix seconds (for what expires).
func (n *Node) RangeChecksums(ctx context.Context, keyspace, name string, now int64) ([]RangeChecksum, error) {
	view := n.cluster.View()
	t, ok := view.Catalog.Table(keyspace, name)
	if !ok {
		return nil, fmt.Errorf("%s.%s: %w", keyspace, name, ErrNoTable)
	}
	place, _, _ := view.Placement(keyspace)
	var sums []RangeChecksum
	for _, rr := range place.Ranges() {
		if rr.Replicas.Contains(n.cluster.self) {
			sum, err := n.checksum(ctx, storage.ReadSpec{Storage: t.Storage, Range: rr.Range, Now: now, ByteLimit: streamPage})
			if err != nil {
				return nil, err
			}
			sums = append(sums, RangeChecksum{rr.Range, sum})
		}
	}
	return sums, nil
}

// Metadata is the newest metadata entry applied here, and a digest of the state it led to: members, ring and schema. Equal epochs have equal digests.
func (n *Node) Metadata() (epoch uint64, digest string) {
	st := n.log.State()
	d := readrepair.Digest(st.Append(nil))
	return st.Epoch, hex.EncodeToString(d[:])
}
