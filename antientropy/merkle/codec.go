package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// The bytes of intervals, sums and hashes (uvarints, 8-byte words little-endian). Bounds are written against the bound before them, since most
// differ little: tokens ascend, and cuts inside a partition share its key.
//
//	intervals | n | n x interval |
//	interval  | Lower bound | Upper bound | pieces: 2*Even, or 2*len(Cuts)+1 | Cuts |
//	bound     | kind u8 | token minus the token before, mod 2^64 | [key length, key] | [clustering length, clustering] |
//	          kind 0 BehindToken, 1 BehindPartition, 2 BehindRow, 3 BehindRow of the partition of the bound before: clustering only
//	sums      | n | n x (items, [hash 8 bytes if items > 0]) |
//	lists     | n | n x (length, length x hash 8 bytes) |
const (
	// MaxIntervals bounds the intervals of a message, and MaxPieces their pieces together.
	MaxIntervals = 1 << 12
	MaxPieces    = 1 << 16
	// MaxHashes bounds the hashes of a message.
	MaxHashes = 1 << 18

	sameKey = 3 // BehindRow without token and key
)

// AppendBound writes a bound against the one before it.
func AppendBound(dst []byte, b, before *Bound) []byte {
	if b.Kind == BehindRow && before.Kind == BehindRow && b.Token == before.Token && bytes.Equal(b.Key, before.Key) {
		return appendBytes(append(dst, sameKey), b.Clustering)
	}
	dst = binary.AppendUvarint(append(dst, byte(b.Kind)), uint64(b.Token)-uint64(before.Token))
	if b.Kind >= BehindPartition {
		dst = appendBytes(dst, b.Key)
	}
	if b.Kind == BehindRow {
		dst = appendBytes(dst, b.Clustering)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// origin is the bound before the first.
var origin = AtToken(vnodes.MinToken)

// AppendIntervals writes intervals, which should ascend.
func AppendIntervals(dst []byte, ivs []Interval) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ivs)))
	before := &origin
	for i := range ivs {
		iv := &ivs[i]
		dst = AppendBound(dst, &iv.Lower, before)
		dst = AppendBound(dst, &iv.Upper, &iv.Lower)
		before = &iv.Upper
		if iv.Even > 1 {
			dst = binary.AppendUvarint(dst, uint64(iv.Even)<<1)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(iv.Cuts))<<1|1)
		last := &iv.Lower
		for j := range iv.Cuts {
			dst = AppendBound(dst, &iv.Cuts[j], last)
			last = &iv.Cuts[j]
		}
	}
	return dst
}

// AppendSums writes sums.
func AppendSums(dst []byte, sums []Sum) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(sums)))
	for _, s := range sums {
		if dst = binary.AppendUvarint(dst, s.Items); s.Items > 0 {
			dst = binary.LittleEndian.AppendUint64(dst, s.Hash)
		}
	}
	return dst
}

// AppendLists writes lists of hashes.
func AppendLists(dst []byte, lists [][]uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(lists)))
	for _, l := range lists {
		dst = binary.AppendUvarint(dst, uint64(len(l)))
		for _, h := range l {
			dst = binary.LittleEndian.AppendUint64(dst, h)
		}
	}
	return dst
}

// decoder reads; the first failure sticks.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("cut short")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("no number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of things that take at least size bytes each, at most limit.
func (d *decoder) count(size int, limit uint64) int {
	n := d.uvarint()
	if n > limit || n*uint64(size) > uint64(len(d.b)) {
		d.fail("%d things, at most %d are allowed", n, min(limit, uint64(len(d.b)/size)))
		return 0
	}
	return int(n)
}

// bytes gives a view, never nil.
func (d *decoder) bytes(limit int) []byte {
	n := d.count(1, uint64(limit))
	v := d.b[:n:n]
	d.b = d.b[n:]
	if v == nil {
		v = []byte{}
	}
	return v
}

func (d *decoder) word() uint64 {
	if len(d.b) < 8 {
		d.fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) bound(before *Bound) Bound {
	kind := d.byte()
	if kind == sameKey {
		if before.Kind != BehindRow {
			d.fail("a bound that shares no key")
			return Bound{}
		}
		return Bound{Kind: BehindRow, Token: before.Token, Key: before.Key, Clustering: d.bytes(row.MaxClusteringBytes)}
	}
	if kind > sameKey {
		d.fail("bound of kind %d", kind)
		return Bound{}
	}
	b := Bound{Kind: BoundKind(kind), Token: vnodes.Token(uint64(before.Token) + d.uvarint())}
	if b.Kind >= BehindPartition {
		b.Key = d.bytes(row.MaxKeyBytes)
	}
	if b.Kind == BehindRow {
		b.Clustering = d.bytes(row.MaxClusteringBytes)
	}
	return b
}

func (d *decoder) interval(before *Bound) (iv Interval) {
	iv.Lower = d.bound(before)
	iv.Upper = d.bound(&iv.Lower)
	if d.err == nil && iv.Lower.Compare(&iv.Upper) >= 0 {
		d.fail("an interval that ends before it begins")
	}
	pieces := d.uvarint()
	if pieces&1 == 0 {
		if pieces>>1 < 2 || pieces>>1 > MaxRoot || !iv.Tokens() {
			d.fail("%d even parts", pieces>>1)
			return iv
		}
		iv.Even = int(pieces >> 1)
		return iv
	}
	if pieces>>1 > Fanout {
		d.fail("%d cuts", pieces>>1)
		return iv
	}
	last := &iv.Lower
	for range pieces >> 1 {
		iv.Cuts = append(iv.Cuts, d.bound(last))
		next := &iv.Cuts[len(iv.Cuts)-1]
		if d.err != nil || last.Compare(next) >= 0 || next.Compare(&iv.Upper) >= 0 {
			d.fail("cuts out of order")
			return iv
		}
		last = next
	}
	return iv
}

// DecodeIntervals reads intervals in place, checks every invariant of theirs, and that they ascend.
func DecodeIntervals(b []byte) ([]Interval, error) {
	d := decoder{b: b}
	n := d.count(4, MaxIntervals)
	ivs := make([]Interval, 0, min(n, 64))
	before, pieces := &origin, 0
	for range n {
		iv := d.interval(before)
		if d.err == nil && before.Compare(&iv.Lower) > 0 {
			d.fail("intervals out of order")
		}
		if pieces += iv.Pieces(); pieces > MaxPieces {
			d.fail("more than %d pieces", MaxPieces)
		}
		if d.err != nil {
			return nil, d.err
		}
		ivs = append(ivs, iv)
		upper := iv.Upper
		before = &upper
	}
	return ivs, d.end()
}

// end checks that nothing is left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes behind the end", len(d.b))
	}
	return d.err
}

// DecodeBound reads one bound that stands alone.
func DecodeBound(b []byte) (Bound, error) {
	d := decoder{b: b}
	bound := d.bound(&origin)
	return bound, d.end()
}

// EncodeBound writes one bound that stands alone.
func EncodeBound(b *Bound) []byte { return AppendBound(nil, b, &origin) }

// DecodeSums reads sums.
func DecodeSums(b []byte) ([]Sum, error) {
	d := decoder{b: b}
	sums := make([]Sum, d.count(1, MaxPieces))
	for i := range sums {
		if sums[i].Items = d.uvarint(); sums[i].Items > 0 {
			sums[i].Hash = d.word()
		}
	}
	return sums, d.end()
}

// DecodeLists reads lists of hashes.
func DecodeLists(b []byte) ([][]uint64, error) {
	d := decoder{b: b}
	lists := make([][]uint64, d.count(1, MaxIntervals))
	for i := range lists {
		n := d.count(8, MaxHashes)
		if n == 0 {
			continue
		}
		lists[i] = make([]uint64, n)
		for j := range lists[i] {
			lists[i][j] = d.word()
		}
	}
	return lists, d.end()
}
