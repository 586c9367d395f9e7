package storage

import "time"

const (
	// idleAfter is how long the log has to stay as it is, but for idleBytes, until what it holds is flushed.
	idleAfter = 5 * time.Second
	idleBytes = 1 << 20
	idleLook  = 2 * time.Second // between two looks at the log's size, at least
	// idleFlushBytes of the log are worth a flush: replaying less at a start takes no time that anybody notices.
	idleFlushBytes = 8 << 20
)

// idleFlush flushes a log that has come to rest. A process that is killed while nobody writes then starts as after a clean stop, rather than replay up to a memtable first.
type idleFlush struct {
	size   uint64 // bytes of the log, at since
	since  time.Time
	looked time.Time
}

// due reports whether to flush a log of so many bytes.
func (i *idleFlush) due(size uint64, now time.Time) bool {
	if size < i.size || size-i.size > idleBytes {
		i.size, i.since = size, now
		return false
	}
	if size < idleFlushBytes || now.Sub(i.since) < idleAfter {
		return false
	}
	i.size, i.since = 0, now
	return true
}

// look is called about once a second.
func (i *idleFlush) look(e *Engine) {
	now := time.Now()
	if now.Sub(i.looked) < idleLook || e.failed.Load() != nil || e.space.full.Load() {
		return
	}
	i.looked = now
	if i.due(e.db.Metrics().WAL.Size, now) {
		_, _ = e.db.AsyncFlush() // it is a courtesy
	}
}
