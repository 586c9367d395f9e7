package antientropy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// Record is what is known of one range of one table.
type Record struct {
	Table    row.StorageID
	Range    vnodes.Range
	Owners   uint64    // fingerprint of those compared (ownersOf): an agreement is theirs, and no other owners'
	Agreed   time.Time // all that any owner held then was held by all; zero: never
	Compared time.Time // beginning of the last session; zero: none
	// Of the last session:
	Rows       uint64 // rows and headers that differed
	Partitions uint64
	Sent       uint64 // bytes, by the node that drove it
	Received   uint64
	Problem    string // why it ended without agreement; "": it agreed
	// Of all sessions:
	TotalRows, TotalSent, TotalReceived uint64
}

// The bytes of a record (little-endian, uvarints), stored under "antientropy/" and storage id and start in hexadecimal:
//
//	| version u8 = 2 | storage u32 | start i64 | end i64 | owners u64 | agreed i64 ms | compared i64 ms |
//	| rows | partitions | sent | received | total rows | total sent | total received | problem length, problem |
const (
	recordVersion = 2
	recordFixed   = 1 + 4 + 5*8
	// maxProblem bounds a problem's text, in bytes.
	maxProblem = 300

	recordPrefix = "antientropy/"
)

var errRecord = errors.New("antientropy: malformed record")

func (k taskKey) name() string {
	return fmt.Sprintf("%s%08x/%016x", recordPrefix, uint32(k.table), uint64(k.start)^1<<63)
}

// Append writes the record's bytes.
func (r *Record) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(append(dst, recordVersion), uint32(r.Table))
	for _, v := range []int64{int64(r.Range.Start), int64(r.Range.End), int64(r.Owners), millis(r.Agreed), millis(r.Compared)} {
		dst = le.AppendUint64(dst, uint64(v))
	}
	for _, v := range []uint64{r.Rows, r.Partitions, r.Sent, r.Received, r.TotalRows, r.TotalSent, r.TotalReceived} {
		dst = binary.AppendUvarint(dst, v)
	}
	problem := r.Problem[:min(len(r.Problem), maxProblem)]
	return append(binary.AppendUvarint(dst, uint64(len(problem))), problem...)
}

// DecodeRecord reads a record.
func DecodeRecord(b []byte) (r Record, err error) {
	if len(b) < recordFixed {
		return r, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	}
	if b[0] != recordVersion {
		return r, fmt.Errorf("%w: version %d, want %d", errRecord, b[0], recordVersion)
	}
	le := binary.LittleEndian
	r.Table = row.StorageID(le.Uint32(b[1:]))
	r.Range = vnodes.Range{Start: vnodes.Token(le.Uint64(b[5:])), End: vnodes.Token(le.Uint64(b[13:]))}
	r.Owners = le.Uint64(b[21:])
	r.Agreed, r.Compared = atMillis(int64(le.Uint64(b[29:]))), atMillis(int64(le.Uint64(b[37:])))
	b = b[recordFixed:]
	var length uint64
	for _, v := range []*uint64{&r.Rows, &r.Partitions, &r.Sent, &r.Received, &r.TotalRows, &r.TotalSent, &r.TotalReceived, &length} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return r, fmt.Errorf("%w: cut short", errRecord)
		}
		b = b[n:]
	}
	if length > maxProblem || length != uint64(len(b)) {
		return r, fmt.Errorf("%w: a text of %d bytes in %d", errRecord, length, len(b))
	}
	r.Problem = string(b)
	return r, nil
}

// ownersOf is a fingerprint of a range's owners, in ring order.
func ownersOf(owners []*vnodes.Node) uint64 {
	h := fnv.New64a()
	for _, n := range owners {
		h.Write(n.ID[:])
	}
	return h.Sum64()
}

// millis of the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// atMillis has one zero time, so that records compare with ==.
func atMillis(ms int64) time.Time {
	if t := time.UnixMilli(ms); ms != 0 && !t.IsZero() {
		return t
	}
	return time.Time{}
}

// load reads the stored records. One that can't be read is dropped: its range counts as never compared.
func (r *Repairer) load() error {
	r.mu.records = map[taskKey]Record{}
	return r.System.ScanSystem(recordPrefix, func(key string, value []byte) bool {
		rec, err := DecodeRecord(value)
		if err != nil {
			r.Logger.Warn("an anti-entropy record can't be read; its range counts as never compared", "key", key, "why", err)
			return true
		}
		r.mu.records[taskKey{rec.Table, rec.Range.Start}] = rec
		return true
	})
}

// store writes the records that changed. They are few and small, and only what they say of the past is lost if it fails.
func (r *Repairer) store() {
	r.mu.Lock()
	pairs := make([]storage.Pair, 0, len(r.mu.dirty))
	for k := range r.mu.dirty {
		p := storage.Pair{Key: k.name()}
		if t := r.mu.tasks[k]; t != nil {
			p.Value = t.record.Append(nil)
		}
		pairs = append(pairs, p)
	}
	clear(r.mu.dirty)
	r.mu.Unlock()
	slices.SortFunc(pairs, func(a, b storage.Pair) int { return strings.Compare(a.Key, b.Key) }) // so that runs of a simulation write the same
	if len(pairs) == 0 {
		return
	}
	if err := r.System.PutSystem(pairs...); err != nil && !errors.Is(err, storage.ErrClosed) {
		r.Logger.Warn("anti-entropy records not stored", "why", err)
	}
}

// keepTotals keeps what is known to have been moved: who drove the session may have lost that in a crash, or never have been told, and totals don't go back.
func (r *Record) keepTotals(before *Record) {
	r.TotalRows = max(r.TotalRows, before.TotalRows)
	r.TotalSent = max(r.TotalSent, before.TotalSent)
	r.TotalReceived = max(r.TotalReceived, before.TotalReceived)
}

// told takes another node's record of a range owned here.
func (r *Repairer) told(table row.StorageID, b []byte) error {
	rec, err := DecodeRecord(b)
	if err != nil || rec.Table != table {
		return &rpc.RemoteError{Code: rpc.CodeInvalid, Message: fmt.Sprintf("record of storage %d: %v", rec.Table, err)}
	}
	r.refresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.mu.tasks[taskKey{rec.Table, rec.Range.Start}]
	if t == nil || t.rng != rec.Range || t.record.Owners != rec.Owners || rec.Compared.Before(t.record.Compared) {
		return nil // of another ring or replication, or older
	}
	if rec.Agreed.Before(t.record.Agreed) {
		rec.Agreed = t.record.Agreed
	}
	rec.keepTotals(&t.record)
	t.record = rec
	if rec.Problem == "" {
		t.settled(rec.Compared, r.pause())
	}
	r.place(t)
	r.mu.dirty[t.key] = true
	return nil
}
