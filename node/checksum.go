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
	spec := storage.ReadSpec{Storage: t.Storage, Range: vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}, Now: n.clock.Seconds(),
		ByteLimit: streamPage}
	var sum Checksum
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
