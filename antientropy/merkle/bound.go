package merkle

import (
	"bytes"
	"cmp"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// BoundKind says behind what a bound lies. Only append to this list: it is on the wire.
type BoundKind uint8

const (
	// BehindToken lies behind all partitions of Token.
	BehindToken BoundKind = iota
	// BehindPartition lies behind the partition Key of Token.
	BehindPartition
	// BehindRow lies behind the row Clustering of that partition, and so behind its header.
	BehindRow
)

// Bound is a place between items.
type Bound struct {
	Kind       BoundKind
	Token      vnodes.Token
	Key        []byte // of BehindPartition and BehindRow
	Clustering []byte // of BehindRow
}

// AtToken is the bound behind a token.
func AtToken(t vnodes.Token) Bound { return Bound{Token: t} }

// Compare says which of two bounds comes first. (Two that have no item between them may differ.)
func (b *Bound) Compare(o *Bound) int {
	if order := cmp.Compare(b.Token, o.Token); order != 0 {
		return order
	}
	if b.Kind == BehindToken || o.Kind == BehindToken {
		return cmp.Compare(o.Kind, b.Kind) // BehindToken is the last of its token
	}
	if order := bytes.Compare(b.Key, o.Key); order != 0 {
		return order
	}
	if b.Kind != o.Kind {
		return cmp.Compare(o.Kind, b.Kind) // BehindPartition is the last of its partition
	}
	return bytes.Compare(b.Clustering, o.Clustering)
}

// Before reports whether an item lies behind the bound. A header has a nil clustering key.
func (b *Bound) Before(token vnodes.Token, key, clustering []byte) bool {
	if token != b.Token || b.Kind == BehindToken {
		return token > b.Token
	}
	if order := bytes.Compare(key, b.Key); order != 0 || b.Kind == BehindPartition {
		return order > 0
	}
	return bytes.Compare(clustering, b.Clustering) > 0
}

// Position is where a read that begins behind the bound goes on, or one that ends there ends; nil for a whole token, which a range says.
func (b *Bound) Position() *row.Position {
	switch b.Kind {
	case BehindPartition:
		return &row.Position{Token: b.Token, Key: b.Key, Done: true}
	case BehindRow:
		return &row.Position{Token: b.Token, Key: b.Key, Clustering: append([]byte{}, b.Clustering...)}
	}
	return nil
}

// AtPosition is the bound of a page's stop, in copies. A page never stops between a header and its first row.
func AtPosition(p *row.Position) Bound {
	switch {
	case p.Done && len(p.Key) == 0:
		return AtToken(p.Token)
	case p.Done || p.Clustering == nil:
		return Bound{Kind: BehindPartition, Token: p.Token, Key: bytes.Clone(p.Key)}
	}
	return Bound{Kind: BehindRow, Token: p.Token, Key: bytes.Clone(p.Key), Clustering: append([]byte{}, p.Clustering...)}
}
