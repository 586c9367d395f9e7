package exec

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"

	"nodedb/node/row"
	"nodedb/query/plan"
	"nodedb/query/wire"
)

// pageState is where a SELECT goes on. Its bytes are opaque to clients and good on any node:
//
//	| version u8 = 1 | statement u64 | flags u8 | left uvarint | emitted uvarint | position | checksum u32 |
//
//	statement  hash of the text, its keyspace and the bound values: a state of another statement is refused
//	flags      bit 0: the position's partition has shown live rows already; bit 1: left counts (there is a LIMIT)
//	left       rows that LIMIT still allows
//	emitted    rows of the position's partition given so far, for PER PARTITION LIMIT
//	checksum   CRC-32C of all before it
const pageVersion = 1

const (
	pageSawRow = 1 << iota
	pageLimited
)

// MaxPageState bounds a page state's bytes: a position has a partition key and a clustering key of at most 64 KiB each,
// which escaping may double.
const MaxPageState = 400 << 10

type pageState struct {
	statement uint64
	sawRow    bool
	left      int // -1: no limit
	emitted   int
	position  row.Position
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *pageState) append(dst []byte) []byte {
	from := len(dst)
	dst = binary.BigEndian.AppendUint64(append(dst, pageVersion), s.statement)
	var flags byte
	if s.sawRow {
		flags |= pageSawRow
	}
	if s.left >= 0 {
		flags |= pageLimited
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(max(s.left, 0)))
	dst = binary.AppendUvarint(dst, uint64(s.emitted))
	dst = s.position.Append(dst)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func badState(why string) error {
	return wire.Errorf(wire.CodeInvalid, "Invalid value for the paging state: %s. Give back exactly what the page before carried, or none to begin anew", why)
}

// decodePageState reads a state and checks that it belongs to the statement. The position aliases b.
func decodePageState(b []byte, statement uint64) (*pageState, error) {
	if len(b) < 14 || len(b) > MaxPageState {
		return nil, badState("its length is wrong")
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, badState("its bytes are damaged")
	}
	if body[0] != pageVersion {
		return nil, badState("it is of another version of nodedb")
	}
	s := &pageState{statement: binary.BigEndian.Uint64(body[1:]), left: -1}
	if s.statement != statement {
		return nil, badState("it belongs to another statement, or to other bound values")
	}
	flags, rest := body[9], body[10:]
	left, n := binary.Uvarint(rest)
	if flags > 3 || n <= 0 || left > 1<<31 {
		return nil, badState("its bytes are damaged")
	}
	emitted, m := binary.Uvarint(rest[n:])
	if m <= 0 || emitted > 1<<62 {
		return nil, badState("its bytes are damaged")
	}
	s.sawRow, s.emitted = flags&pageSawRow != 0, int(emitted)
	if flags&pageLimited != 0 {
		s.left = int(left)
	}
	var err error
	if s.position, rest, err = row.DecodePosition(rest[n+m:]); err != nil || len(rest) > 0 {
		return nil, badState("its bytes are damaged")
	}
	return s, nil
}

// statementHash ties page states to a statement and its values.
func statementHash(p *plan.Plan, env *plan.Env) uint64 {
	if len(env.Values) == 0 {
		return p.Hash
	}
	d := xxhash.New()
	var b []byte
	b = binary.BigEndian.AppendUint64(b, p.Hash)
	for i, v := range env.Values {
		n := int64(len(v))
		if v == nil {
			n = -1
		}
		if env.Unset != nil && env.Unset[i] {
			n = -2
		}
		b = binary.BigEndian.AppendUint64(b, uint64(n))
		b = append(b, v...)
	}
	d.Write(b)
	return d.Sum64()
}
