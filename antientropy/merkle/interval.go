package merkle

import (
	"math/bits"

	"nodedb/vnodes"
)

// Interval is the items behind Lower up to Upper, cut into pieces: a node of the tree, whose children are its pieces. A piece that differs
// becomes an interval of its own, cut finer.
//
// There are two ways to cut. Even cuts the tokens into equal parts: nothing has to be said but their number, and since tokens are hashes
// they hold about as many partitions each. Cuts names places, taken from the rows of the one who asks: that works inside one partition of
// millions of rows, where tokens say nothing.
//
// Invariant: Lower < Upper; Cuts ascend strictly between them; where Even is above 1 both bounds are whole tokens and there are no Cuts.
type Interval struct {
	Lower, Upper Bound
	Even         int // number of equal parts; 0 or 1: one, or as Cuts say
	Cuts         []Bound
}

// OfRange is the interval of a token range that does not wrap, in n parts.
func OfRange(r vnodes.Range, n int) Interval {
	return Interval{Lower: AtToken(r.Start), Upper: AtToken(r.End), Even: n}
}

// Pieces is the number of pieces.
func (iv *Interval) Pieces() int {
	if iv.Even > 1 {
		return iv.Even
	}
	return len(iv.Cuts) + 1
}

// End is where piece i ends.
func (iv *Interval) End(i int) Bound {
	switch {
	case i == iv.Pieces()-1:
		return iv.Upper
	case iv.Even > 1:
		width := uint64(iv.Upper.Token) - uint64(iv.Lower.Token)
		hi, lo := bits.Mul64(width, uint64(i+1))
		part, _ := bits.Div64(hi, lo, uint64(iv.Even))
		return AtToken(vnodes.Token(uint64(iv.Lower.Token) + part))
	}
	return iv.Cuts[i]
}

// Piece is piece i as an interval of its own, uncut. Even parts of few tokens may be empty: then Lower is Upper.
func (iv *Interval) Piece(i int) Interval {
	p := Interval{Lower: iv.Lower, Upper: iv.End(i)}
	if i > 0 {
		p.Lower = iv.End(i - 1)
	}
	return p
}

// Tokens reports whether the interval is of whole tokens, so that it can be cut evenly.
func (iv *Interval) Tokens() bool {
	return iv.Lower.Kind == BehindToken && iv.Upper.Kind == BehindToken
}

// Walker finds the pieces of items that come in order.
type Walker struct {
	iv    *Interval
	piece int
	end   Bound
}

// Walk begins at a piece.
func (iv *Interval) Walk(piece int) Walker { return Walker{iv, piece, iv.End(piece)} }

// Piece is the piece in which an item lies. Items must come in order, none before the piece that Walk began with.
func (w *Walker) Piece(token vnodes.Token, key, clustering []byte) int {
	if w.iv.Even > 1 {
		return w.iv.evenPiece(token)
	}
	for w.piece < w.iv.Pieces()-1 && w.end.Before(token, key, clustering) {
		w.piece++
		w.end = w.iv.End(w.piece)
	}
	return w.piece
}

// evenPiece is End's inverse: the first part whose end is not below the token. A range of few items would else cost a step for each of its thousands of parts.
func (iv *Interval) evenPiece(token vnodes.Token) int {
	if token >= iv.Upper.Token {
		return iv.Even - 1
	}
	width, offset := uint64(iv.Upper.Token)-uint64(iv.Lower.Token), uint64(token)-uint64(iv.Lower.Token)
	hi, lo := bits.Mul64(offset, uint64(iv.Even))
	lo, borrow := bits.Sub64(lo, 1, 0)
	piece, _ := bits.Div64(hi-borrow, lo, width) // the least for which offset*Even <= width*(piece+1)
	return int(piece)
}

// Part is the sum of one piece.
type Part struct {
	Piece int
	Sum   Sum
}

// Fold joins neighbours of even parts until there are n of them, from those that hold anything; both numbers are powers of two, and ends stay where they are.
func Fold(parts []Part, even, n int) []Sum {
	folded := make([]Sum, n)
	for i := range parts {
		folded[parts[i].Piece/(even/n)].Join(parts[i].Sum)
	}
	return folded
}

// Cut bounds.
const (
	// LeafItems is how many items a piece may have that is compared item by item.
	LeafItems = 16
	// Fanout is into how many pieces a differing piece is cut at most.
	Fanout = 16
	// RootItems is how many items a piece of the first cut has, on average.
	RootItems = 256
	// MaxRoot bounds the pieces of the first cut.
	MaxRoot = 1 << 14
	// evenItems is about how many items an even part shall have.
	evenItems = 6
)

// RootPieces says into how many parts a whole range is cut first: a power of two, no more than there are partitions to tell apart.
func RootPieces(s Sum) int {
	want := min(s.Items/RootItems, s.Partitions, MaxRoot)
	n := 1
	for uint64(n) < want {
		n *= 2
	}
	return n
}

// EvenPieces says into how many even parts a differing piece of whole tokens should be cut, or 0: its partitions are too few, so places
// inside them are needed.
func EvenPieces(s Sum) int {
	if s.Partitions < Fanout {
		return 0
	}
	n := 2
	for n < Fanout && uint64(n)*evenItems < s.Items {
		n *= 2
	}
	return n
}
