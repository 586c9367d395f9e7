package readrepair

import (
	"bytes"
	"cmp"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// order is the order in which a request reads: token, key, header, rows; reverse flips the rows of a partition only.
type order struct{ reverse bool }

func comparePartitions(tokenA vnodes.Token, keyA []byte, tokenB vnodes.Token, keyB []byte) int {
	if tokenA != tokenB {
		return cmp.Compare(tokenA, tokenB)
	}
	return bytes.Compare(keyA, keyB)
}

func (o order) compareRows(a, b []byte) int {
	if o.reverse {
		a, b = b, a
	}
	return bytes.Compare(a, b)
}

// stage says how far into its partition a position is.
func stage(p *row.Position) int {
	switch {
	case p.Done:
		return 2
	case p.Clustering != nil:
		return 1 // the header was read, and rows up to there
	}
	return 0 // before the header
}

// endsToken reports whether p stands behind all partitions of its token.
func endsToken(p *row.Position) bool { return p.Done && len(p.Key) == 0 }

// comparePositions says which of two positions comes first.
func (o order) comparePositions(a, b *row.Position) int {
	if a.Token == b.Token && endsToken(a) != endsToken(b) {
		if endsToken(a) {
			return 1
		}
		return -1
	}
	if order := comparePartitions(a.Token, a.Key, b.Token, b.Key); order != 0 {
		return order
	}
	if order := cmp.Compare(stage(a), stage(b)); order != 0 || stage(a) != 1 {
		return order
	}
	if order := o.compareRows(a.Clustering, b.Clustering); order != 0 || a.Inclusive == b.Inclusive {
		return order
	}
	if a.Inclusive { // before the row itself
		return -1
	}
	return 1
}

// compareStop says where a partition lies: below 0 before the stop's, 0 it is the stop's, above 0 behind it.
func compareStop(token vnodes.Token, key []byte, stop *row.Position) int {
	if token == stop.Token && endsToken(stop) {
		return -1
	}
	return comparePartitions(token, key, stop.Token, stop.Key)
}

// headerBefore reports whether a replica that stopped at stop (nil: nowhere) has read the partition's header.
func (o order) headerBefore(token vnodes.Token, key []byte, stop *row.Position) bool {
	if stop == nil {
		return true
	}
	order := compareStop(token, key, stop)
	return order < 0 || (order == 0 && stage(stop) > 0)
}

// rowBefore reports whether a replica that stopped at stop (nil: nowhere) has read the row.
func (o order) rowBefore(token vnodes.Token, key, clustering []byte, stop *row.Position) bool {
	if stop == nil {
		return true
	}
	if order := compareStop(token, key, stop); order != 0 {
		return order < 0
	}
	if stage(stop) != 1 {
		return stage(stop) == 2
	}
	order := o.compareRows(clustering, stop.Clustering)
	return order < 0 || (order == 0 && !stop.Inclusive)
}
