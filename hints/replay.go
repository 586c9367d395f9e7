package hints

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"
)

// ready lists the peers that could be sent to, if they are alive.
func (s *Store) ready() (peers []*peer) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.mu.peers {
		if p.pending > 0 && !p.replaying && !now.Before(p.notBefore) {
			peers = append(peers, p)
		}
	}
	return peers
}

// begin claims a peer for a replay.
func (s *Store) begin(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.replaying || p.forgotten != nil {
		return false
	}
	p.replaying, p.unreadable, p.took, p.refused, p.waiting = true, false, 0, 0, 0
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
	seg  *segment
	off  int64
	size int64  // synced bytes of seg
	old  *entry // to be tried again; nil: a hint not issued before
}

type stepKind uint8

const (
	stepEnd  stepKind = iota // drained, failed or forgotten
	stepWait                 // for a kick
	stepSend
)

// replay sends one peer's hints until none is left, too many fail or ctx ends. Hints are issued in order, up to Options.InFlight at a time.
func (s *Store) replay(ctx context.Context, p *peer) {
	r := reader{store: s, peer: p}
	defer r.close()
	pace := pace{perSecond: s.o.BytesPerSecond}
	for ctx.Err() == nil {
		next := s.next(p)
		switch next.kind {
		case stepEnd:
			return
		case stepWait:
			select {
			case <-ctx.Done():
			case <-p.kick:
			}
		case stepSend:
			rec, err := r.read(next.seg, next.off, next.size)
			if err != nil {
				s.unreadable(p, next, err)
				continue
			}
			size := rec.size()
			if e, live := s.issue(p, next, &rec); live && pace.wait(ctx, size) {
				s.o.Deliver(p.id, rec.mutation, func(err error) { s.answered(p, e, size, err) })
			}
		}
	}
	s.mu.Lock()
	p.replaying = false
	s.mu.Unlock()
}

// next decides what a replay does next.
func (s *Store) next(p *peer) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.forgotten != nil {
		p.replaying = false
		return step{kind: stepEnd}
	}
	busy := p.inFlight >= s.o.InFlight || p.inBytes >= MaxInFlightBytes
	if !p.giveUp() && !busy {
		if e := p.firstWaiting(); e != nil {
			return step{stepSend, e.seg, e.off, e.seg.size, e}
		}
		if seg := p.current(); seg != nil && len(p.window) < maxWindow {
			return step{stepSend, seg, p.cursor.offset, seg.size, nil}
		}
	}
	if p.inFlight > 0 {
		return step{kind: stepWait}
	}
	s.end(p)
	return step{kind: stepEnd}
}

// giveUp reports whether a replay has failed. A few hints may: one that its peer refuses must not hold up those behind it.
func (p *peer) giveUp() bool {
	return p.unreadable || p.refused >= maxRefused && int64(p.refused) > p.took/maxRefused
}

func (p *peer) firstWaiting() *entry {
	if p.waiting == 0 {
		return nil
	}
	for _, e := range p.window {
		if e.state == waiting {
			return e
		}
	}
	return nil
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

// issue puts a hint into the window, or settles it when it is too old.
func (s *Store) issue(p *peer, at step, rec *record) (e *entry, live bool) {
	expired := rec.createdMs <= s.cutoffMs()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = at.old; e != nil {
		p.waiting--
	} else {
		e = &entry{seg: at.seg, off: at.off, end: at.off + rec.size()}
		p.window = append(p.window, e)
		p.cursor.offset = e.end
		at.seg.issued++
	}
	if expired {
		p.settle(e)
		s.stats.expired.Add(1)
		s.lose(p.id, 1)
		s.advance(p)
		return nil, false
	}
	e.state = inFlight
	p.inFlight++
	p.inBytes += rec.size()
	return e, true
}

// advance moves a peer's acked position. REQUIRES: mu.
func (s *Store) advance(p *peer) {
	if p.advance() {
		s.markDirty(p)
	}
}

// answered takes the outcome of one delivery.
func (s *Store) answered(p *peer, e *entry, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.state != inFlight {
		return // called twice
	}
	p.inFlight--
	p.inBytes -= size
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
	default:
		e.state = failed
		p.refused++
		s.stats.failures.Add(1)
		s.o.Logger.Debug("hint not delivered", "host_id", p.id, "error", err)
	}
	signal(p.kick)
}

// unreadable goes over bytes that went bad since Open looked at them. Another error, such as too many open files, ends the replay: it
// says nothing about the hints.
func (s *Store) unreadable(p *peer, at step, reason error) {
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
func (s *Store) skipDamage(p *peer, at step, b []byte, reason error) {
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

// pace is a token bucket: bytes a second, with a burst of paceBurst.
type pace struct {
	perSecond int64
	next      time.Time // when the bucket is empty
}

// paceBurst is how much may be sent at once after a pause.
const paceBurst = 100 * time.Millisecond

// wait takes n bytes from the bucket, and waits until they are there; false when ctx ended first.
func (w *pace) wait(ctx context.Context, n int64) bool {
	now := time.Now()
	if earliest := now.Add(-paceBurst); w.next.Before(earliest) {
		w.next = earliest
	}
	w.next = w.next.Add(time.Duration(float64(n) / float64(w.perSecond) * float64(time.Second)))
	delay := w.next.Sub(now)
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
