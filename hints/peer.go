package hints

import (
	"io"
	"time"

	"nodedb/node/fault"
	"nodedb/vnodes"
)

// file is what a segment needs of disk.FS's files.
type file interface {
	io.Writer
	io.Closer
	Sync() error
}

// segment is one file of a peer's log. Guarded by Store.mu.
type segment struct {
	seq      uint64
	size     int64 // synced bytes; what lies behind is not there
	records  int64 // in size
	issued   int64 // of them, before the cursor
	settled  int64 // of them, no longer pending
	newestMs int64 // when its youngest record was created
	damaged  bool  // bytes went bad while it was in use: it is kept aside, not removed
}

// queued is a hint that waits for the writer.
type queued struct {
	record []byte
	done   func(error)
}

// entryState of a hint in the window. failed and waiting differ so that a hint is tried once in a replay.
type entryState uint8

const (
	inFlight entryState = iota
	settled             // applied, obsolete, expired or given up: not pending any more
	failed              // in this replay
	waiting             // to be sent again
)

// entry is a hint at or behind the acked position that was issued once.
type entry struct {
	seg   *segment
	off   int64
	end   int64
	state entryState
}

// batch is what goes in one Deliver.
type batch struct {
	entries   []*entry
	mutations [][]byte
	bytes     int64 // of the records
	left      int   // entries without an answer
}

// Bounds of a replay.
const (
	// maxBatch bounds the hints in one Deliver.
	maxBatch = 1024
	// maxWindow bounds the entries behind the acked position: how far others go ahead of one that keeps failing.
	maxWindow = 4096
	// maxRefused is how many hints fail before a replay does, unless the peer took many more.
	maxRefused = 4
	// saveEvery bounds the bytes that a crash makes a replay deliver again, beside the window.
	saveEvery = 1 << 20
	// firstBackoff doubles with each replay that fails, up to maxBackoff; the next tick after it tries again.
	firstBackoff = ReplayInterval / 2
	maxBackoff   = time.Minute
)

// peer is the log of one host. Guarded by Store.mu but for id, kick, and what is the writer's.
type peer struct {
	id   vnodes.HostID
	kick chan struct{} // capacity 1: its replay should look again

	segments []*segment // ascending; the last may be the active one
	bytes    int64      // of segments and queue
	pending  int64
	queue    []queued
	dirty    bool // is in Store.mu.dirty
	saveNow  bool // the position is worth saving
	unsaved  int64

	acked    position // everything before was delivered or dropped
	cursor   position // everything before was issued
	window   []*entry // issued and at or behind acked, in order
	waiting  int      // entries in that state
	inFlight int      // batches
	inBytes  int64    // of them

	replaying  bool
	unreadable bool // this replay could not read its segment
	shed       bool // the peer shed since the last look
	begun      time.Time
	took       int64 // hints the peer took in this replay
	refused    int   // hints that failed in this replay
	backoff    time.Duration
	notBefore  time.Time

	forgotten chan struct{} // not nil: the peer was removed; closed when its files are gone
	forgetErr error         // set before forgotten is closed

	// The writer's own:
	active  *segment // appended to; nil: the next hint begins one
	file    file     // of active
	newName bool     // active's directory entry is not synced yet
	nextSeq uint64

	abandoned *segment // its last write failed; nil: none
}

func newPeer(id vnodes.HostID) *peer { return &peer{id: id, kick: make(chan struct{}, 1), nextSeq: 1} }

// current is the segment that the cursor is in, with records behind it; the cursor moves into it. nil: everything was issued.
func (p *peer) current() *segment {
	for _, seg := range p.segments {
		if seg.seq < p.cursor.seq {
			continue
		}
		if seg.seq > p.cursor.seq {
			p.cursor = position{seg.seq, headerBytes}
		}
		if p.cursor.offset < seg.size {
			return seg
		}
	}
	return nil
}

// settle takes an entry off what is pending.
func (p *peer) settle(e *entry) {
	e.state = settled
	e.seg.settled++
	p.pending--
}

// advance moves the acked position over the settled entries in front. It reports whether the writer has something to do about it.
func (p *peer) advance() (worthSaving bool) {
	for len(p.window) > 0 && p.window[0].state == settled {
		e := p.window[0]
		p.acked = position{e.seg.seq, e.end}
		p.unsaved += e.end - e.off
		p.window = p.window[1:]
	}
	if p.unsaved >= saveEvery {
		p.saveNow = true
	}
	return p.saveNow || (len(p.segments) > 0 && p.delivered(p.segments[0]))
}

// delivered reports whether a segment holds nothing any more that is pending.
func (p *peer) delivered(seg *segment) bool {
	if fault.Planted("hints/segment-removed-when-sent") {
		return seg.size > headerBytes && !p.cursor.before(position{seg.seq, seg.size})
	}
	return seg.size > headerBytes && !p.acked.before(position{seg.seq, seg.size})
}

// takeDelivered removes from segments those that hold nothing pending, the active one too: the next hint begins another.
func (p *peer) takeDelivered() (done []*segment) {
	for len(p.segments) > 0 && p.delivered(p.segments[0]) {
		done = append(done, p.segments[0])
		p.bytes -= p.segments[0].size
		p.segments = p.segments[1:]
	}
	return done
}

// expireBefore drops whole segments that hold nothing younger than cutoffMs. It gives the number of hints that were pending in them.
// REQUIRES: the peer is not replaying.
func (p *peer) expireBefore(cutoffMs int64) (expired int64) {
	for _, seg := range p.segments {
		if seg.records == 0 || seg.newestMs > cutoffMs {
			break
		}
		if p.delivered(seg) {
			continue
		}
		left := seg.records - seg.settled
		expired += left
		p.pending -= left
		seg.settled, seg.issued = seg.records, seg.records
		for len(p.window) > 0 && p.window[0].seg == seg {
			p.window = p.window[1:]
		}
		p.acked = position{seg.seq, seg.size}
		if p.cursor.before(p.acked) {
			p.cursor = p.acked
		}
	}
	return expired
}
