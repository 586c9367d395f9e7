package hints

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// Fault points of the writer.
var (
	writeFault = fault.New("hints/write")
	syncFault  = fault.New("hints/sync")
	saveFault  = fault.New("hints/before-progress") // a replay's progress is not saved yet
)

// job is what the writer has to do for one peer.
type job struct {
	peer      *peer
	batch     []queued
	save      bool
	remove    []*segment
	forgotten bool
}

// write is the writer: the only goroutine that changes files. It ends once the store is closed and nothing is left to do.
func (s *Store) write() {
	defer close(s.writerDone)
	for range s.work {
		for {
			j, more := s.nextJob()
			if !more {
				break
			}
			s.perform(j)
		}
		s.mu.Lock()
		end := s.mu.closed && len(s.mu.dirty) == 0
		s.mu.Unlock()
		if end {
			return
		}
	}
}

func (s *Store) nextJob() (j job, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.dirty) == 0 {
		return job{}, false
	}
	p := s.mu.dirty[0]
	s.mu.dirty = s.mu.dirty[1:]
	p.dirty = false
	j = job{peer: p, forgotten: p.forgotten != nil, remove: p.takeDelivered()}
	j.batch, p.queue = p.queue, nil
	j.save, p.saveNow = p.saveNow || len(j.remove) > 0, false
	return j, true
}

func (s *Store) perform(j job) {
	if j.forgotten {
		s.release(j.peer, j.batch, ErrObsolete)
		j.peer.forgetErr = s.forgetFiles(j.peer)
		close(j.peer.forgotten)
		return
	}
	if j.save {
		err := s.savePosition(j.peer)
		if errors.Is(err, errSync) {
			err = s.fail(s.progressPath(j.peer.id), err)
		}
		if err != nil {
			// Hints may be delivered twice after a crash. Segments go all the same: on a full disk it is they that make room.
			s.o.Logger.Warn("hints: the progress of a replay was not saved", "host_id", j.peer.id, "error", err)
		}
	}
	for _, seg := range j.remove {
		s.removeSegment(j.peer, seg)
	}
	for len(j.batch) > 0 {
		n, err := s.appendSome(j.peer, j.batch)
		if err != nil {
			s.release(j.peer, j.batch, err)
			return
		}
		j.batch = j.batch[n:]
	}
}

// release tells the callers of hints that were not kept.
func (s *Store) release(p *peer, batch []queued, err error) {
	size := int64(0)
	for _, q := range batch {
		size += int64(len(q.record))
	}
	s.mu.Lock()
	p.bytes -= size
	s.mu.queued -= size
	if p.forgotten == nil {
		s.stats.unwritten.Add(int64(len(batch)))
		s.lose(p.id, int64(len(batch)))
	}
	s.mu.Unlock()
	for _, q := range batch {
		q.done(err)
	}
}

// appendSome appends as much of a batch as goes into the active segment, syncs it, and acknowledges it.
func (s *Store) appendSome(p *peer, batch []queued) (n int, err error) {
	if err := s.rotate(p); err != nil {
		return 0, err
	}
	size := p.active.size
	var buf []byte
	for n < len(batch) && (n == 0 || size+int64(len(batch[n].record)) <= s.o.Segment) {
		buf = append(buf, batch[n].record...)
		size += int64(len(batch[n].record))
		n++
	}
	if err := s.appendSynced(p, buf); err != nil {
		return 0, err
	}
	s.mu.Lock()
	p.active.size = size
	p.active.records += int64(n)
	for _, q := range batch[:n] {
		p.active.newestMs = max(p.active.newestMs, createdMs(q.record))
	}
	p.pending += int64(n)
	s.mu.queued -= int64(len(buf))
	s.mu.Unlock()
	s.stats.added.Add(int64(n))
	for _, q := range batch[:n] {
		q.done(nil)
	}
	return n, nil
}

// appendSynced writes to the active segment and syncs it, the first time its directory entry too. After an error the segment is not
// appended to any more: what lies behind its synced size is unknown.
func (s *Store) appendSynced(p *peer, b []byte) error {
	name := s.segmentPath(p.id, p.active.seq)
	err := writeFault.Hit()
	if err == nil {
		_, err = p.file.Write(b)
	}
	if err != nil {
		s.abandon(p)
		return fmt.Errorf("hints: write to %s: %w", name, err)
	}
	err = syncFault.Hit()
	if err == nil && !fault.Planted("hints/no-fsync") {
		err = p.file.Sync()
	}
	if err == nil && p.newName {
		err = s.syncDir()
	}
	if err != nil {
		s.abandon(p)
		return s.fail(name, err)
	}
	p.newName = false
	return nil
}

// rotate sees that there is an active segment with room.
func (s *Store) rotate(p *peer) error {
	s.mu.Lock()
	err := s.mu.failed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if p.active != nil && p.active.size < s.o.Segment {
		return nil
	}
	if err := p.closeActive(); err != nil {
		return err
	}
	seg := &segment{seq: p.nextSeq, size: headerBytes}
	name := s.segmentPath(p.id, seg.seq)
	f, err := s.o.FS.Create(name, "hints")
	if err != nil {
		return fmt.Errorf("hints: create %s: %w", name, err)
	}
	if _, err := f.Write(appendHeader(nil, p.id)); err != nil {
		f.Close()
		s.o.FS.Remove(name)
		return fmt.Errorf("hints: write to %s: %w", name, err)
	}
	p.nextSeq++
	if err := s.cutTail(p); err != nil { // the store has stopped: nothing is acknowledged any more
		return errors.Join(err, f.Close())
	}
	s.mu.Lock()
	p.active, p.file, p.newName = seg, f, true
	p.segments = append(p.segments, seg)
	p.bytes += headerBytes
	s.mu.Unlock()
	return nil
}

// closeActive ends the active segment; it was synced.
func (p *peer) closeActive() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.active, p.file = nil, nil
	return err
}

// cutTail cuts what a failed write left behind an abandoned segment, once there is room on the disk again: Open would take it for damage. It gives an error
// only if a sync failed; another one costs no more than a warning.
func (s *Store) cutTail(p *peer) error {
	if p.abandoned == nil {
		return nil
	}
	name := s.segmentPath(p.id, p.abandoned.seq)
	b, err := s.readFile(name)
	if err == nil && int64(len(b)) > p.abandoned.size {
		err = s.replaceFile(name, b[:p.abandoned.size])
	}
	p.abandoned = nil
	if errors.Is(err, errSync) {
		return s.fail(name, err)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // delivered meanwhile
		s.o.Logger.Warn("hints: the tail of a failed write stays", "file", name, "error", err)
	}
	return nil
}

// abandon ends the active segment after an error. Without a record it goes altogether.
func (s *Store) abandon(p *peer) {
	seg := p.active
	p.closeActive()
	if seg.size > headerBytes {
		p.abandoned = seg
		return
	}
	s.mu.Lock()
	p.segments = p.segments[:len(p.segments)-1]
	p.bytes -= headerBytes
	s.mu.Unlock()
	s.o.FS.Remove(s.segmentPath(p.id, seg.seq))
}

// fail stops the store: a failed sync is never retried.
func (s *Store) fail(name string, err error) error {
	err = fmt.Errorf("%w of %s: %w", ErrFailed, name, err)
	s.mu.Lock()
	first := s.mu.failed == nil
	if first {
		s.mu.failed = err
	}
	s.mu.Unlock()
	if first {
		s.o.Logger.Error("hints: a sync failed, no hints are taken until a restart", "file", name, "error", err)
		if s.o.Fatal != nil {
			s.o.Fatal(err)
		}
	}
	return err
}

// removeSegment removes a delivered segment, or keeps it aside when its bytes had gone bad.
func (s *Store) removeSegment(p *peer, seg *segment) {
	if seg == p.active {
		p.closeActive()
	}
	name := s.segmentPath(p.id, seg.seq)
	var err error
	if seg.damaged {
		err = s.o.FS.Rename(name, name+corruptSuffix)
		s.pruneCorrupt()
	} else {
		err = s.o.FS.Remove(name)
	}
	if err != nil {
		s.o.Logger.Warn("hints: a delivered segment stays", "file", name, "error", err)
	}
}

// savePosition saves how far a peer's replay is.
func (s *Store) savePosition(p *peer) error {
	s.mu.Lock()
	acked, unsaved := p.acked, p.unsaved
	p.unsaved = 0
	s.mu.Unlock()
	if acked == (position{}) {
		return nil
	}
	err := saveFault.Hit()
	if err == nil {
		err = s.replaceFile(s.progressPath(p.id), acked.append(nil))
	}
	if err != nil {
		s.mu.Lock()
		p.unsaved += unsaved
		s.mu.Unlock()
	}
	return err
}

// replaceFile writes a file as a whole: after a crash it is the old or the new one.
func (s *Store) replaceFile(name string, b []byte) error {
	f, err := s.o.FS.Create(name+tmpSuffix, "hints")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = failedSync(f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		s.o.FS.Remove(name + tmpSuffix)
		return err
	}
	if err := s.o.FS.Rename(name+tmpSuffix, name); err != nil {
		return err
	}
	return s.syncDir()
}

func (s *Store) syncDir() error { return failedSync(s.sync(s.o.Dir)) }

// errSync marks the errors of syncs: they stop the store, wherever they come from.
var errSync = errors.New("sync failed")

func failedSync(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errSync, err)
}

func (s *Store) sync(name string) error {
	dir, err := s.o.FS.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// forgetFiles removes all files of a peer.
func (s *Store) forgetFiles(p *peer) error {
	errs := []error{p.closeActive()}
	names, err := s.o.FS.List(s.o.Dir)
	errs = append(errs, err)
	for _, name := range names {
		if strings.HasPrefix(name, p.id.String()) {
			errs = append(errs, s.o.FS.Remove(s.o.FS.PathJoin(s.o.Dir, name)))
		}
	}
	return errors.Join(append(errs, s.syncDir())...)
}

// Names of files.
const (
	segmentSuffix  = ".hints"
	progressSuffix = ".progress"
	corruptSuffix  = ".corrupt"
	tmpSuffix      = ".tmp"
)

func (s *Store) segmentPath(id vnodes.HostID, seq uint64) string {
	return s.o.FS.PathJoin(s.o.Dir, fmt.Sprintf("%s-%016x%s", id, seq, segmentSuffix))
}

func (s *Store) progressPath(id vnodes.HostID) string {
	return s.o.FS.PathJoin(s.o.Dir, id.String()+progressSuffix)
}
