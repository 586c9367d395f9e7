package coordinator

import (
	"fmt"

	"nodedb/node/row"
)

// BatchID names a logged batch. It is never given again.
type BatchID [16]byte

// BatchMessage is VerbBatchLog's body: [version, clock, id, entry].
type BatchMessage struct {
	Clock int64 // the coordinator's hybrid clock, µs
	ID    BatchID
	Entry []byte
}

// batchEntryVersion begins an entry of the batch log.
const batchEntryVersion = 1

// MaxBatchBytes bounds an entry, and maxBatchMutations its mutations.
const (
	MaxBatchBytes     = 20 << 20
	maxBatchMutations = maxItems
)

// appendBatchEntry appends an entry's bytes, the same on disk and wire:
//
//	| version u8 = 1 | mutation | mutation | … |        at least one; each ends by itself (node/row, mutation.go)
func appendBatchEntry(dst []byte, mutations [][]byte) []byte {
	dst = append(dst, batchEntryVersion)
	for _, m := range mutations {
		dst = append(dst, m...)
	}
	return dst
}

// DecodeBatchEntry gives an entry's mutations, in place: they alias b. It checks them, so that nothing is kept that no replica takes.
func DecodeBatchEntry(b []byte) (mutations [][]byte, err error) {
	if len(b) < 2 || len(b) > MaxBatchBytes {
		return nil, fmt.Errorf("batch log entry of %d bytes, want 2 to %d", len(b), MaxBatchBytes)
	}
	if b[0] != batchEntryVersion {
		return nil, fmt.Errorf("batch log entry of version %d, want %d: written by a newer nodedb?", b[0], batchEntryVersion)
	}
	var m row.Mutation
	for rest := b[1:]; len(rest) > 0; {
		next, err := m.Decode(rest)
		if err != nil {
			return nil, fmt.Errorf("mutation %d of a batch log entry: %w", len(mutations)+1, err)
		}
		if len(mutations) == maxBatchMutations {
			return nil, fmt.Errorf("batch log entry of more than %d mutations", maxBatchMutations)
		}
		end := len(rest) - len(next)
		mutations = append(mutations, rest[:end:end])
		rest = next
	}
	return mutations, nil
}

func (m *BatchMessage) encodeTo(e *encoder) {
	e.uint(messageVersion)
	e.int(m.Clock)
	e.bytes(m.ID[:])
	e.bytes(m.Entry)
}

// DecodeBatch reads a BatchMessage in place: its entry aliases body.
func DecodeBatch(body []byte) (*BatchMessage, error) {
	d := newDecoder(body)
	m := &BatchMessage{Clock: d.int()}
	m.ID = d.batchID()
	m.Entry = d.bytes()
	return m, d.err
}

// encodeBatchDone writes VerbBatchDone's body: [version, [id…]].
func encodeBatchDone(e *encoder, ids []BatchID) {
	e.uint(messageVersion)
	e.array(len(ids))
	for i := range ids {
		e.bytes(ids[i][:])
	}
}

// DecodeBatchDone reads VerbBatchDone's body.
func DecodeBatchDone(body []byte) (ids []BatchID, err error) {
	d := newDecoder(body)
	n := d.array()
	for i := 0; i < n && d.err == nil; i++ {
		ids = append(ids, d.batchID())
	}
	return ids, d.err
}

func (d *decoder) batchID() (id BatchID) {
	if b := d.bytes(); d.err == nil && copy(id[:], b) != len(b) || len(b) != len(id) && d.err == nil {
		d.err = fmt.Errorf("batch id of %d bytes, want %d", len(b), len(id))
	}
	return id
}
