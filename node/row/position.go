package row

import "nodedb/vnodes"

// Position is a place in (token, partition key, clustering key) order from which a scan goes on.
type Position struct {
	Token      vnodes.Token
	Key        []byte
	Clustering []byte // nil: before the partition's first row (its header not read yet)
	// Inclusive says that the row at Clustering itself is still to come. (Without it: strictly after.)
	Inclusive bool
	// Done says that the whole partition was read: go on with the next one. With an empty Key: all partitions of Token were read.
	Done bool
}

// The bytes of a position (little-endian). A clustering key of no bytes is a place, a nil one is not:
//
//	| version u8 = 1 | flags u8 | token i64 | key length uvarint, key | [clustering length uvarint, clustering] |
//
//	flags  bit 0 Inclusive, bit 1 Done, bit 2 clustering
const (
	positionVersion = 1

	positionInclusive  = 1 << 0
	positionDone       = 1 << 1
	positionClustering = 1 << 2
	positionKnown      = positionInclusive | positionDone | positionClustering
)

// Append writes the position's bytes. Page states carry it.
func (p *Position) Append(dst []byte) []byte {
	flags := byte(0)
	if p.Inclusive {
		flags |= positionInclusive
	}
	if p.Done {
		flags |= positionDone
	}
	if p.Clustering != nil {
		flags |= positionClustering
	}
	dst = append(dst, positionVersion, flags)
	dst = le.AppendUint64(dst, uint64(p.Token))
	dst = appendBytes(dst, p.Key)
	if p.Clustering != nil {
		dst = appendBytes(dst, p.Clustering)
	}
	return dst
}

// DecodePosition reads a position and gives what follows it. It aliases b.
func DecodePosition(b []byte) (p Position, rest []byte, err error) {
	if len(b) < 10 {
		return Position{}, nil, corrupt("position of %d bytes", len(b))
	}
	if err := checkVersion(b[0], positionVersion, "position"); err != nil {
		return Position{}, nil, err
	}
	flags := b[1]
	if flags&^positionKnown != 0 {
		return Position{}, nil, corrupt("flags %#x of a position", flags)
	}
	p.Inclusive, p.Done = flags&positionInclusive != 0, flags&positionDone != 0
	p.Token = vnodes.Token(le.Uint64(b[2:]))
	if p.Key, b, err = takeBytes(b[10:], MaxKeyBytes, "partition key"); err != nil {
		return Position{}, nil, err
	}
	if flags&positionClustering != 0 {
		if p.Clustering, b, err = takeBytes(b, MaxClusteringBytes, "clustering key"); err != nil {
			return Position{}, nil, err
		}
	}
	return p, b, nil
}
