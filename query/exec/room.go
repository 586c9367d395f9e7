package exec

import (
	"bytes"
	"sync"
	"sync/atomic"

	"nodedb/node/row"
	"nodedb/node/storage"
)

// roomSizes are for pages of up to so many rows; the largest takes a full page, which ends behind the row that takes it over 1 MiB. Of each size at most so
// many are in use at once, some 50 MiB together: more reads than that find memory of their own, as they did.
var roomSizes = [...]struct {
	rows, bytes int
	most        int32
}{{32, 64 << 10, 256}, {128, 256 << 10, 64}, {0, 1<<20 + 64<<10, 16}}

// rooms are memory for pages, used again: a page that grows from nothing is copied five times over until it is full, and the collector follows.
type rooms [len(roomSizes)]struct {
	free sync.Pool
	used atomic.Int32
}

// room is memory for one page.
type room struct {
	size  int
	bytes []byte
}

// take gives a room for a page, or nil.
func (p *rooms) take(spec *storage.ReadSpec) *room {
	if isPoint(spec) {
		return nil // a row needs none
	}
	size := 0
	for most := roomSizes[size].rows; most > 0 && (spec.RowLimit <= 0 || spec.RowLimit > most); most = roomSizes[size].rows {
		size++
	}
	if p[size].used.Add(1) > roomSizes[size].most {
		p[size].used.Add(-1)
		return nil
	}
	if r, ok := p[size].free.Get().(*room); ok {
		return r
	}
	return &room{size, make([]byte, 0, roomSizes[size].bytes)}
}

// isPoint reports whether a read is one of a single row.
func isPoint(spec *storage.ReadSpec) bool {
	return spec.Key != nil && len(spec.Slices) == 1 && len(spec.Slices[0].End) == len(spec.Slices[0].Start)+1 &&
		bytes.HasPrefix(spec.Slices[0].End, spec.Slices[0].Start)
}

// leave takes a room back. again: nobody else writes into it, now or later.
func (p *rooms) leave(r *room, again bool) {
	p[r.size].used.Add(-1)
	if again {
		p[r.size].free.Put(r)
	}
}

// holds reports whether a page lies in the room. If not, somebody may still be writing into it.
func (r *room) holds(page []byte) bool { return len(page) > 0 && &page[0] == &r.bytes[:1][0] }

// leaveRoom gives the room of the page back. REQUIRES: nothing that the walk gave or keeps lies in the page.
func (w *walk) leaveRoom() {
	if w.room != nil {
		w.r.x.rooms.leave(w.room, true)
		w.room = nil
	}
}

// moveOut leaves the room before another page is read: what the walk knows of the page is copied.
func (w *walk) moveOut() {
	if w.room == nil {
		return
	}
	if w.inside && w.statics { // they may still be asked for
		w.r.x.rooms.leave(w.room, false)
		w.room = nil
		return
	}
	r := &w.r.env.Row
	r.Static = row.View(nil).Index()
	if w.inside {
		w.key = bytes.Clone(w.key)
		if r.Key = w.key; w.wantKey {
			r.KeyValues, _ = w.sel.Table.SplitPartitionKey(r.KeyValues, w.key) // as in enter, where it could be split
		}
	}
	w.last.Key, w.last.Clustering = bytes.Clone(w.last.Key), bytes.Clone(w.last.Clustering)
	if w.after != nil {
		w.after.Key, w.after.Clustering = bytes.Clone(w.after.Key), bytes.Clone(w.after.Clustering)
	}
	w.leaveRoom()
}
