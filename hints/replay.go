package hints

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"nodedb/node/fault"
)

// ready lists the peers that could be sent to, if they are alive: who has waited longest first.
func (s *Store) ready() (peers []*peer) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.mu.peers {
		if p.pending > 0 && !p.replaying && !now.Before(p.notBefore) {
			peers = append(peers, p)
		}
	}
	slices.SortFunc(peers, func(a, b *peer) int { return cmp.Or(a.begun.Compare(b.begun), bytes.Compare(a.id[:], b.id[:])) })
	return peers
}

// begin claims a peer for a replay, if there is room for one more.
func (s *Store) begin(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.replaying || p.forgotten != nil || s.mu.active >= maxReplays {
		return false
	}
	s.mu.active++
	p.replaying, p.unreadable, p.shed, p.took, p.refused, p.waiting, p.begun = true, false, false, 0, 0, 0, time.Now()
	for _, e := range p.window {
		if e.state == failed || e.state == waiting {
			e.state = waiting
			p.waiting++
		}
	}
	return true
}

// expire drops segments in which every hint is too old, of peers that nobody is sending to.
func (s *Store) expire() {
	cutoff := s.cutoffMs()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.mu.peers {
		if p.replaying {
			continue
		}
		if n := p.expireBefore(cutoff); n > 0 {
			s.stats.expired.Add(n)
			s.lose(id, n)
			s.o.Logger.Warn("hints expired, their replica is left to repair", "host_id", id, "hints", n)
			s.markDirty(p)
		}
	}
}

// cutoffMs is the creation time at or before which hints are too old.
func (s *Store) cutoffMs() int64 { return s.o.Now().Add(-s.o.MaxAge).UnixMilli() }

// step is what a replay does next.
type step struct {
	kind stepKind
	shed bool     // the peer has shed hints since the step before
	old  []*entry // of one segment, to be sent again; none: hints not issued before
	seg  *segment
	off  int64 // of the first
	size int64 // synced bytes of seg
	room int   // how many hints
}

type stepKind uint8

const (
	stepEnd  stepKind = iota // drained, failed or forgotten
	stepWait                 // for a kick
	stepSend
)

// replay sends one peer's hints until none is left, too many fail, the peer dies or ctx ends. Hints are issued in order, up to
// Options.InFlight batches at a time.
func (s *Store) replay(ctx context.Context, p *peer) {
	r := reader{store: s, peer: p}
	defer r.close()
	g := newGovernor(s.o.BytesPerSecond, s.o.BatchBytes, time.Now(), s.look())
	for ctx.Err() == nil {
		next := s.next(p, s.o.Alive(p.id))
		if next.shed {
			g.shed(time.Now())
		}
		switch next.kind {
		case stepEnd:
			return
		case stepWait:
			select {
			case <-ctx.Done():
			case <-p.kick:
			}
		case stepSend:
			now := time.Now()
			if g.due(now) {
				usual := s.usual.Load()
				s.usual.CompareAndSwap(usual, g.observe(now, s.look(), usual))
			}
			if delay := g.delay(now); delay > 0 {
				pause(ctx, delay)
				continue // the peer may have died, or be forgotten
			}
			if b := s.gather(p, &r, &next, g.batch()); b != nil {
				g.sent(now, b.bytes)
				s.o.Deliver(p.id, b.mutations, func(i int, err error) { s.answered(p, b, i, err) })
			}
		}
	}
	s.mu.Lock()
	p.replaying = false
	s.mu.Unlock()
}

// pause waits; a kick does not end it.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// next decides what a replay does next.
func (s *Store) next(p *peer, alive bool) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.forgotten != nil {
		p.replaying = false
		return step{kind: stepEnd}
	}
	shed := p.shed
	p.shed = false
	busy := p.inFlight >= s.o.InFlight || p.inBytes >= MaxInFlightBytes
	if alive && !p.giveUp() && !busy {
		if old := p.firstWaiting(); len(old) > 0 {
			return step{stepSend, shed, old, old[0].seg, old[0].off, old[0].seg.size, len(old)}
		}
		if seg := p.current(); seg != nil && len(p.window) < maxWindow {
			return step{stepSend, shed, nil, seg, p.cursor.offset, seg.size, min(maxBatch, maxWindow-len(p.window))}
		}
	}
	if p.inFlight > 0 {
		return step{kind: stepWait, shed: shed}
	}
	s.end(p)
	return step{kind: stepEnd}
}

// giveUp reports whether a replay has failed. A few hints may: one that its peer refuses must not hold up those behind it.
func (p *peer) giveUp() bool {
	return p.unreadable || p.refused >= maxRefused && int64(p.refused) > p.took/maxRefused
}

// firstWaiting gives the oldest hints that are to be sent again: of one segment, a batch at most.
func (p *peer) firstWaiting() (old []*entry) {
	if p.waiting == 0 {
		return nil
	}
	for _, e := range p.window {
		if e.state != waiting {
			continue
		}
		if len(old) == maxBatch || len(old) > 0 && e.seg != old[0].seg {
			break
		}
		old = append(old, e)
	}
	return old
}

// end closes a replay in which nothing is in flight any more. REQUIRES: mu.
func (s *Store) end(p *peer) {
	p.replaying, p.saveNow = false, true
	if p.refused > 0 || p.unreadable {
		p.backoff = min(max(2*p.backoff, firstBackoff), maxBackoff)
		p.notBefore = time.Now().Add(p.backoff)
	}
	p.advance()
	s.markDirty(p)
	s.o.Logger.Info("hints replayed", "host_id", p.id, "delivered", p.took, "failed", p.refused, "pending", p.pending)
}

// gather reads a batch of at most so many bytes, but at least one hint, and issues it. nil: there is none, the first could not be read or all
// are too old.
func (s *Store) gather(p *peer, r *reader, at *step, limit int64) *batch {
	var records []record
	size := int64(0)
	for i, off := 0, at.off; i < at.room && off < at.size; i++ {
		var old *entry
		if at.old != nil {
			old = at.old[i]
			off = old.off
		}
		rec, err := r.read(at.seg, off, at.size)
		if err != nil && i == 0 {
			s.unreadable(p, place{at.seg, off, at.size, old}, err)
			return nil
		}
		if size += rec.size(); err != nil || i > 0 && size > limit {
			break // a bad one is the first of the next batch
		}
		off += rec.size()
		records = append(records, rec)
	}
	return s.issue(p, at, records)
}

// issue puts hints into the window, and settles those that are too old.
func (s *Store) issue(p *peer, at *step, records []record) *batch {
	cutoff := s.cutoffMs()
	b := &batch{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		rec := &records[i]
		var e *entry
		if at.old != nil {
			e = at.old[i]
			p.waiting--
		} else {
			e = &entry{seg: at.seg, off: p.cursor.offset, end: p.cursor.offset + rec.size()}
			p.window = append(p.window, e)
			p.cursor.offset = e.end
			at.seg.issued++
		}
		if rec.createdMs <= cutoff && !fault.Planted("hints/expired-still-sent") {
			p.settle(e)
			s.stats.expired.Add(1)
			s.lose(p.id, 1)
			continue
		}
		e.state = inFlight
		b.entries, b.mutations, b.bytes = append(b.entries, e), append(b.mutations, rec.mutation), b.bytes+rec.size()
	}
	s.advance(p)
	if len(b.entries) == 0 {
		return nil
	}
	b.left = len(b.entries)
	if fault.Planted("hints/progress-before-delivery") {
		p.acked, p.saveNow = p.cursor, true
		s.markDirty(p)
	}
	p.inFlight++
	p.inBytes += b.bytes
	return b
}

// advance moves a peer's acked position. REQUIRES: mu.
func (s *Store) advance(p *peer) {
	if p.advance() {
		s.markDirty(p)
	}
}

// answered takes the outcome of one hint's delivery.
func (s *Store) answered(p *peer, b *batch, i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := b.entries[i]
	if e == nil {
		return // called twice
	}
	b.entries[i] = nil
	if b.left--; b.left == 0 {
		p.inFlight--
		p.inBytes -= b.bytes
		signal(p.kick)
	}
	switch {
	case err == nil || errors.Is(err, ErrObsolete):
		p.settle(e)
		p.took, p.backoff = p.took+1, 0
		if err == nil {
			s.stats.delivered.Add(1)
		} else {
			s.stats.obsolete.Add(1)
		}
		s.advance(p)
	case errors.Is(err, ErrRefused):
		p.settle(e)
		s.stats.dropped.Add(1)
		s.lose(p.id, 1)
		s.o.Logger.Warn("a hint is dropped: its replica can never take it", "host_id", p.id, "why", err)
		s.advance(p)
	case errors.Is(err, ErrOverloaded):
		e.state, p.shed = waiting, true
		p.waiting++
		s.stats.shed.Add(1)
	default:
		e.state = failed
		p.refused++
		s.stats.failures.Add(1)
		s.o.Logger.Debug("hint not delivered", "host_id", p.id, "error", err)
	}
}

// place is where a record is read.
type place struct {
	seg  *segment
	off  int64
	size int64  // synced bytes of seg
	old  *entry // it was issued before
}

// unreadable goes over bytes that went bad since Open looked at them. Another error, such as too many open files, ends the replay: it
// says nothing about the hints.
func (s *Store) unreadable(p *peer, at place, reason error) {
	name := s.segmentPath(p.id, at.seg.seq)
	if damage(reason) {
		b, err := s.readFile(name)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			s.skipDamage(p, at, b, reason)
			return
		}
		reason = err
	}
	s.o.Logger.Error("hints: a segment could not be read, its replay is tried again later", "file", name, "error", reason)
	s.mu.Lock()
	p.unreadable = true
	s.mu.Unlock()
}

// damage reports whether an error says that bytes are wrong or gone.
func damage(err error) bool {
	return err == errShort || err == errLength || err == errChecksum || errors.Is(err, os.ErrNotExist)
}

// skipDamage goes on at the next good record of a segment's bytes. What was lost is left to repair.
func (s *Store) skipDamage(p *peer, at place, b []byte, reason error) {
	next, good := at.size, int64(0)
	for _, r := range scan(b[:min(at.size, int64(len(b)))]).records {
		if r.start > at.off {
			if good == 0 {
				next = r.start
			}
			good++
		}
	}
	s.stats.corrupt.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := int64(1)
	if e := at.old; e != nil {
		p.waiting--
		p.settle(e)
	} else {
		lost = at.seg.records - at.seg.issued - good
		at.seg.issued += lost
		at.seg.settled += lost
		p.pending -= lost
		p.window = append(p.window, &entry{seg: at.seg, off: at.off, end: next, state: settled})
		p.cursor.offset = next
	}
	at.seg.damaged = true
	s.stats.dropped.Add(lost)
	s.lose(p.id, max(lost, 1))
	s.o.Logger.Error("hints: a segment went bad, its replica is left to repair",
		"file", s.segmentPath(p.id, at.seg.seq), "offset", at.off, "hints", lost, "error", reason)
	s.advance(p)
}

// reader reads a peer's records in chunks. The records it gives keep their chunk alive.
type reader struct {
	store *Store
	peer  *peer
	seq   uint64
	file  interface {
		io.ReaderAt
		io.Closer
	}
	chunk []byte
	start int64 // of chunk
}

// chunkBytes is how much is read at once.
const chunkBytes = 256 << 10

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// read gives the record at off; size is where the segment's synced bytes end.
func (r *reader) read(seg *segment, off, size int64) (record, error) {
	if r.file == nil || r.seq != seg.seq {
		r.close()
		f, err := r.store.o.FS.Open(r.store.segmentPath(r.peer.id, seg.seq))
		if err != nil {
			return record{}, err
		}
		r.file, r.seq, r.chunk = f, seg.seq, nil
	}
	head, err := r.bytes(off, recordBytes, size)
	if err != nil {
		return record{}, err
	}
	length := int64(binary.LittleEndian.Uint32(head))
	if length == 0 || length > MaxHintBytes {
		return record{}, errLength
	}
	b, err := r.bytes(off, recordBytes+length, size)
	if err != nil {
		return record{}, err
	}
	return decodeRecord(b)
}

// bytes gives n bytes at off, from the chunk or a new one.
func (r *reader) bytes(off, n, size int64) ([]byte, error) {
	if off+n > size {
		return nil, errShort
	}
	if off < r.start || off+n > r.start+int64(len(r.chunk)) {
		chunk := make([]byte, min(max(n, chunkBytes), size-off))
		if got, err := r.file.ReadAt(chunk, off); got < len(chunk) {
			if err == nil || err == io.EOF {
				err = errShort
			}
			return nil, err
		}
		r.chunk, r.start = chunk, off
	}
	from := off - r.start
	return r.chunk[from : from+n : from+n], nil
}
