package hints

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"nodedb/vnodes"
)

// maxCorrupt bounds the damaged segments that are kept aside for people to look at; the oldest go first.
const maxCorrupt = 8

// Open reads the segments that are there; a torn tail is cut, a corrupt record in the middle is counted and its segment kept aside
// (renamed to .corrupt), the good records stay.
func Open(o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{o: o, work: make(chan struct{}, 1), due: make(chan struct{}, 1), writerDone: make(chan struct{})}
	s.mu.peers, s.mu.lost = map[vnodes.HostID]*peer{}, map[vnodes.HostID]int64{}
	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("hints: make %s: %w", o.Dir, err)
	}
	if err := s.loadAll(); err != nil {
		return nil, err
	}
	s.show(o.Metrics)
	go s.write()
	return s, nil
}

// makeDir makes the directory, and sees that a crash leaves it: every ancestor is synced, for MkdirAll may have made those too.
func (s *Store) makeDir() error {
	if err := s.o.FS.MkdirAll(s.o.Dir, 0o755); err != nil {
		return err
	}
	for dir := s.o.Dir; ; {
		parent := s.o.FS.PathDir(dir)
		if parent == dir {
			return nil
		}
		if err := s.sync(parent); err != nil && !errors.Is(err, os.ErrPermission) { // not one that was made here then
			return err
		}
		dir = parent
	}
}

// found is what a directory holds of one peer.
type found struct {
	segments []uint64
	progress bool
}

// loadAll reads the directory. Nobody else sees the store yet: mu is not needed.
func (s *Store) loadAll() error {
	names, err := s.o.FS.List(s.o.Dir)
	if err != nil {
		return fmt.Errorf("hints: list %s: %w", s.o.Dir, err)
	}
	peers := map[vnodes.HostID]*found{}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := s.o.FS.Remove(s.o.FS.PathJoin(s.o.Dir, name)); err != nil {
				return fmt.Errorf("hints: remove a file that a crash left: %w", err)
			}
			continue
		}
		id, seq, isSegment, ok := parseName(name)
		if !ok {
			continue
		}
		if peers[id] == nil {
			peers[id] = &found{}
		}
		if isSegment {
			peers[id].segments = append(peers[id].segments, seq)
		} else {
			peers[id].progress = true
		}
	}
	for id, f := range peers {
		slices.Sort(f.segments)
		if err := s.loadPeer(id, f); err != nil {
			return err
		}
	}
	return nil
}

// parseName reads the name of a segment or progress file.
func parseName(name string) (id vnodes.HostID, seq uint64, isSegment, ok bool) {
	if text, found := strings.CutSuffix(name, progressSuffix); found {
		id, err := vnodes.ParseHostID(text)
		return id, 0, false, err == nil
	}
	text, found := strings.CutSuffix(name, segmentSuffix)
	if !found || len(text) != 36+1+16 || text[36] != '-' {
		return id, 0, false, false
	}
	id, err := vnodes.ParseHostID(text[:36])
	seq, errSeq := strconv.ParseUint(text[37:], 16, 64)
	return id, seq, true, err == nil && errSeq == nil && seq > 0
}

func (s *Store) loadPeer(id vnodes.HostID, f *found) error {
	p := newPeer(id)
	if f.progress {
		b, err := s.readFile(s.progressPath(id))
		if err != nil {
			return fmt.Errorf("hints: read %s: %w", s.progressPath(id), err)
		}
		p.acked, err = decodeProgress(b)
		if errors.Is(err, ErrVersion) {
			return fmt.Errorf("%s: %w", s.progressPath(id), err)
		}
		if err != nil {
			s.o.Logger.Warn("hints: a replay begins again", "file", s.progressPath(id), "error", err)
		}
	}
	p.nextSeq = p.acked.seq + 1
	for i, seq := range f.segments {
		p.nextSeq = seq + 1
		seg, err := s.loadSegment(p, seq, i == len(f.segments)-1)
		if err != nil {
			return fmt.Errorf("hints: %s: %w", s.segmentPath(id, seq), err)
		}
		if seg != nil {
			p.segments = append(p.segments, seg)
			p.bytes += seg.size
			p.pending += seg.records - seg.settled
		}
	}
	p.nextSeq = max(p.nextSeq, p.acked.seq+1)
	p.cursor = p.acked
	s.mu.peers[id] = p
	return nil
}

// loadSegment reads one segment. nil: it holds nothing pending, and is gone.
func (s *Store) loadSegment(p *peer, seq uint64, newest bool) (*segment, error) {
	name := s.segmentPath(p.id, seq)
	b, err := s.readFile(name)
	if err != nil {
		return nil, err
	}
	from := int64(0) // where what is pending begins
	if seq <= p.acked.seq {
		from = int64(len(b))
	}
	if seq == p.acked.seq {
		from = p.acked.offset
	}
	content := scanned{damaged: 1}
	switch err := checkHeader(b, p.id); {
	case errors.Is(err, ErrVersion):
		return nil, err
	case errors.Is(err, errShort) && newest:
		content = scanned{} // a crash while it was made
	case err == nil:
		content = scan(b)
	}
	torn := content.end < int64(len(b))
	if content.damaged > 0 || (torn && !newest) {
		return s.setAside(p, seq, b, content, from)
	}
	if torn {
		s.stats.torn.Add(1)
		s.lose(p.id, 1)
		s.o.Logger.Warn("hints: a crash tore a segment's tail, it is cut", "file", name, "from", content.end, "size", len(b))
	}
	seg := newSegment(seq, content, from)
	if seg.settled == seg.records {
		return nil, s.o.FS.Remove(name)
	}
	if torn {
		return seg, s.replaceFile(name, b[:content.end])
	}
	return seg, nil
}

// newSegment accounts for the records found; those before from were delivered.
func newSegment(seq uint64, content scanned, from int64) *segment {
	seg := &segment{seq: seq, size: content.end, records: int64(len(content.records))}
	for _, r := range content.records {
		seg.newestMs = max(seg.newestMs, r.createdMs)
		if r.start < from {
			seg.settled++
		}
	}
	seg.issued = seg.settled
	return seg
}

// setAside keeps a damaged segment's bytes as .corrupt, and goes on with a segment of its good records that are pending.
func (s *Store) setAside(p *peer, seq uint64, b []byte, content scanned, from int64) (*segment, error) {
	name := s.segmentPath(p.id, seq)
	s.stats.corrupt.Add(1)
	s.lose(p.id, int64(max(content.damaged, 1)))
	kept := scanned{end: headerBytes}
	good := appendHeader(nil, p.id)
	for _, r := range content.records {
		if r.start >= from {
			kept.records = append(kept.records, span{kept.end, kept.end + r.end - r.start, r.createdMs})
			kept.end += r.end - r.start
			good = append(good, b[r.start:r.end]...)
		}
	}
	s.o.Logger.Error("hints: a segment is damaged: it is set aside, its replica is left to repair",
		"file", name+corruptSuffix, "hints kept", len(kept.records))
	if err := s.replaceFile(name+corruptSuffix, b); err != nil {
		s.o.Logger.Warn("hints: the damaged segment could not be kept", "file", name+corruptSuffix, "error", err)
	}
	s.pruneCorrupt()
	if seq == p.acked.seq {
		// Offsets change: forget the old one first. A crash in between only delivers hints again.
		p.acked.offset = headerBytes
		if err := s.replaceFile(s.progressPath(p.id), p.acked.append(nil)); err != nil {
			return nil, err
		}
	}
	if len(kept.records) == 0 {
		return nil, s.o.FS.Remove(name)
	}
	return newSegment(seq, kept, 0), s.replaceFile(name, good)
}

// pruneCorrupt keeps the newest maxCorrupt damaged segments.
func (s *Store) pruneCorrupt() {
	names, err := s.o.FS.List(s.o.Dir)
	if err != nil {
		return
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, corruptSuffix) })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(s.modified(a), s.modified(b)) })
	for _, name := range names[:max(0, len(names)-maxCorrupt)] {
		s.o.FS.Remove(s.o.FS.PathJoin(s.o.Dir, name))
	}
}

func (s *Store) modified(name string) int64 {
	info, err := s.o.FS.Stat(s.o.FS.PathJoin(s.o.Dir, name))
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}

func (s *Store) readFile(name string) ([]byte, error) {
	f, err := s.o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, errors.Join(err, f.Close())
}

// createdMs is when an encoded record was created.
func createdMs(encoded []byte) int64 { return int64(binary.LittleEndian.Uint64(encoded[8:])) }
