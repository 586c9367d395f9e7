package paxos

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of DecodeAcceptor.
var (
	// ErrVersion says that the bytes were written by a newer nodedb.
	ErrVersion = errors.New("paxos: acceptor state of an unknown version")
	// ErrCorrupt says that the bytes are no acceptor state.
	ErrCorrupt = errors.New("paxos: corrupt acceptor state")
)

// acceptorVersion is the first byte of an acceptor's state.
//
//	offset  bytes  what
//	     0      1  version, 1
//	     1     24  promised: time (8, big-endian), proposer's host id (16)
//	    25      1  1 if something was accepted, else 0 and the end
//	    26     24  accepted under: as promised
//	    50    1-5  length of the value (uvarint)
//	     …      n  value, to the end
const acceptorVersion = 1

const ballotBytes = 24

// Append writes the acceptor's state (versioned); DecodeAcceptor reads it.
func (a *Acceptor) Append(dst []byte) []byte {
	dst = append(dst, acceptorVersion)
	dst = a.Promised.Append(dst)
	if a.Accepted == nil {
		return append(dst, 0)
	}
	dst = a.Accepted.Ballot.Append(append(dst, 1))
	dst = binary.AppendUvarint(dst, uint64(len(a.Accepted.Value)))
	return append(dst, a.Accepted.Value...)
}

// Append writes the ballot's 24 bytes: time, big-endian, then the host id.
func (b Ballot) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.Time)
	return append(dst, b.Node[:]...)
}

// DecodeBallot reads the ballot that b starts with, and gives what follows it.
func DecodeBallot(b []byte) (ballot Ballot, rest []byte, err error) {
	if len(b) < ballotBytes {
		return ballot, nil, fmt.Errorf("%w: %d bytes, a ballot takes %d", ErrCorrupt, len(b), ballotBytes)
	}
	ballot.Time = binary.BigEndian.Uint64(b)
	copy(ballot.Node[:], b[8:])
	return ballot, b[ballotBytes:], nil
}

// DecodeAcceptor reads Append's bytes; the value is copied. Errors wrap ErrVersion or ErrCorrupt.
func DecodeAcceptor(b []byte) (*Acceptor, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if b[0] != acceptorVersion {
		return nil, fmt.Errorf("%w: %d, this nodedb knows %d", ErrVersion, b[0], acceptorVersion)
	}
	a := &Acceptor{}
	var err error
	if a.Promised, b, err = DecodeBallot(b[1:]); err != nil {
		return nil, err
	}
	if len(b) == 1 && b[0] == 0 {
		return a, nil
	}
	if len(b) == 0 || b[0] != 1 {
		return nil, fmt.Errorf("%w: want 0 and the end, or 1 and what was accepted", ErrCorrupt)
	}
	a.Accepted = &Accepted{}
	if a.Accepted.Ballot, b, err = DecodeBallot(b[1:]); err != nil {
		return nil, err
	}
	if a.Promised.Less(a.Accepted.Ballot) {
		return nil, fmt.Errorf("%w: accepted under a higher ballot than the promised one", ErrCorrupt)
	}
	length, n := binary.Uvarint(b)
	if n <= 0 || length != uint64(len(b)-n) || len(binary.AppendUvarint(nil, length)) != n {
		return nil, fmt.Errorf("%w: the value's length doesn't fit the bytes left", ErrCorrupt)
	}
	a.Accepted.Value = append([]byte{}, b[n:]...)
	return a, nil
}
