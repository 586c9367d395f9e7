package row

import (
	"encoding/binary"

	"nodedb/vnodes"
)

// Entry is one row of a mutation: its encoded clustering key and a fragment.
type Entry struct {
	Clustering []byte
	Fragment   []byte
}

// Mutation is a write to one partition: opaque bytes to transport, hints and streams.
type Mutation struct {
	Storage StorageID
	Token   vnodes.Token
	Key     []byte // serialized partition key, as CQL routing keys are
	Header  []byte // encoded header fragment, or nil
	Rows    []Entry
}

// The bytes of a mutation (little-endian):
//
//	| version u8 = 1 | storage u32 | token i64 | key length uvarint, key | header length uvarint, header |
//	| n uvarint | n x (clustering length uvarint, clustering, fragment length uvarint, fragment) |
//
// No fragment is empty. The end follows from the lengths, so mutations can stand one behind the other.
const (
	mutationVersion  = 1
	mutationFixed    = 13 // version, storage, token
	minFragmentBytes = 11 // a row tombstone alone; a row with a cell takes 13
	minEntryBytes    = 2 + minFragmentBytes
)

// Append writes the mutation's bytes (versioned). Rows without content are left out. It does not check the limits: see Size.
func (m *Mutation) Append(dst []byte) []byte {
	dst = append(dst, mutationVersion)
	dst = le.AppendUint32(dst, uint32(m.Storage))
	dst = le.AppendUint64(dst, uint64(m.Token))
	dst = appendBytes(dst, m.Key)
	dst = appendBytes(dst, m.Header)
	dst = binary.AppendUvarint(dst, uint64(m.entries()))
	for i := range m.Rows {
		if len(m.Rows[i].Fragment) > 0 {
			dst = appendBytes(dst, m.Rows[i].Clustering)
			dst = appendBytes(dst, m.Rows[i].Fragment)
		}
	}
	return dst
}

// MutationPlace reads from a mutation's bytes where it goes, and looks at nothing else.
func MutationPlace(b []byte) (StorageID, vnodes.Token, error) {
	if len(b) < mutationFixed || b[0] != mutationVersion {
		_, _, err := DecodeMutation(b) // says what is wrong
		return 0, 0, err
	}
	return StorageID(le.Uint32(b[1:])), vnodes.Token(le.Uint64(b[5:])), nil
}

// entries is the number of rows with content.
func (m *Mutation) entries() (n int) {
	for i := range m.Rows {
		if len(m.Rows[i].Fragment) > 0 {
			n++
		}
	}
	return n
}

// Size is the number of bytes that Append writes.
func (m *Mutation) Size() int {
	size := mutationFixed + sizeBytes(m.Key) + sizeBytes(m.Header) + uvarintLen(uint64(m.entries()))
	for i := range m.Rows {
		if len(m.Rows[i].Fragment) > 0 {
			size += sizeBytes(m.Rows[i].Clustering) + sizeBytes(m.Rows[i].Fragment)
		}
	}
	return size
}

func sizeBytes(b []byte) int { return uvarintLen(uint64(len(b))) + len(b) }

// CheckSize gives an ErrTooLarge that says what exceeds MaxMutationBytes, MaxKeyBytes or MaxClusteringBytes: others would refuse to decode it.
func (m *Mutation) CheckSize() error {
	if len(m.Key) > MaxKeyBytes {
		return tooLarge("partition key", len(m.Key), MaxKeyBytes)
	}
	for i := range m.Rows {
		if n := len(m.Rows[i].Clustering); n > MaxClusteringBytes {
			return tooLarge("clustering key", n, MaxClusteringBytes)
		}
	}
	if size := m.Size(); size > MaxMutationBytes {
		return tooLarge("mutation", size, MaxMutationBytes)
	}
	return nil
}

// DecodeMutation reads one mutation in place and gives what follows it. It checks fragments too: its input is not trusted. (That Token is
// the key's token is for the caller to know.)
func DecodeMutation(b []byte) (m Mutation, rest []byte, err error) {
	rest, err = m.Decode(b)
	return m, rest, err
}

// Decode is DecodeMutation that reuses the room of m.Rows: without it a batch of mutations allocates once for each.
func (m *Mutation) Decode(b []byte) (rest []byte, err error) {
	*m = Mutation{Rows: m.Rows[:0]}
	rows := m.Rows
	if rest, err = m.read(b); err != nil {
		*m = Mutation{Rows: rows[:0]}
		return nil, err
	}
	if read := len(b) - len(rest); read > MaxMutationBytes {
		*m = Mutation{Rows: rows[:0]}
		return nil, tooLarge("mutation", read, MaxMutationBytes)
	}
	return rest, nil
}

func (m *Mutation) read(b []byte) (rest []byte, err error) {
	if len(b) < mutationFixed {
		return nil, corrupt("mutation of %d bytes", len(b))
	}
	if err := checkVersion(b[0], mutationVersion, "mutation"); err != nil {
		return nil, err
	}
	m.Storage, m.Token = StorageID(le.Uint32(b[1:])), vnodes.Token(le.Uint64(b[5:]))
	if m.Key, b, err = takeBytes(b[mutationFixed:], MaxKeyBytes, "partition key"); err != nil {
		return nil, err
	}
	if m.Header, b, err = takeBytes(b, MaxMutationBytes, "partition header"); err != nil {
		return nil, err
	}
	if len(m.Header) == 0 {
		m.Header = nil
	} else if _, err := DecodeHeader(m.Header); err != nil {
		return nil, err
	}
	return m.readRows(b)
}

func (m *Mutation) readRows(b []byte) (rest []byte, err error) {
	n, size := uvarint(b)
	b = b[size:]
	if size == 0 || n > uint64(len(b)/minEntryBytes) {
		return nil, corrupt("number of rows in a mutation")
	}
	if uint64(cap(m.Rows)) < n {
		m.Rows = make([]Entry, 0, n)
	}
	for range n {
		var e Entry
		if e.Clustering, b, err = takeBytes(b, MaxClusteringBytes, "clustering key"); err != nil {
			return nil, err
		}
		if e.Fragment, b, err = takeBytes(b, MaxMutationBytes, "row"); err != nil {
			return nil, err
		}
		if len(e.Fragment) == 0 {
			return nil, corrupt("row without content in a mutation")
		}
		if err := View(e.Fragment).Check(); err != nil {
			return nil, err
		}
		m.Rows = append(m.Rows, e)
	}
	return b, nil
}
