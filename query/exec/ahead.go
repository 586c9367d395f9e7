package exec

import (
	"runtime"

	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// maxAhead bounds how many pages of one statement are read at the same time.
const maxAhead = 8

// ahead reads a range of tokens for an aggregate, which needs all of it, on several cores or nodes at the same time. The first page is read alone: most
// tables have no other. How many tokens it spans says how many make a page, and the rest of the range is cut into parts of about that, of twice as many
// where a part took one page and of half as many where it took more; some of them are read at the same time, and given in order.
//
// Invariant: parts are neighbours: the current one ends where the first of the queue begins, the last of the queue ends at next.
type ahead struct {
	w     *walk
	most  int          // pages read at the same time
	span  uint64       // tokens of the next part
	least uint64       // and of any
	pages int          // of the current part
	begun vnodes.Token // where the first page began
	first bool         // it was read
	part  vnodes.Token // where the current part ends
	next  vnodes.Token
	end   vnodes.Token
	queue []part
}

// part is a part whose first page is being read.
type part struct {
	reading
	end vnodes.Token
}

// readAhead has the range of spec read ahead, where that is of use.
func (w *walk) readAhead(spec *storage.ReadSpec) {
	if most := min(runtime.GOMAXPROCS(0), maxAhead); w.sel.Grouped && most > 1 {
		w.ahead = &ahead{w: w, most: most, begun: spec.Range.Start, part: spec.Range.End, next: spec.Range.End, end: spec.Range.End}
		if w.after != nil {
			w.ahead.begun = w.after.Token
		}
	}
}

// fetch gives the next page: of the current part, or the first of the next one. spec says where the walk is.
func (a *ahead) fetch(spec *storage.ReadSpec) ([]byte, error) {
	if !a.first {
		a.first = true
		return a.w.await(a.w.begin(spec))
	}
	if a.span == 0 {
		a.cut(spec.After.Token)
	}
	if len(a.queue) > 0 && endsAt(spec.After, a.part) {
		a.learn()
		p := a.queue[0]
		a.queue = a.queue[1:]
		a.part = p.end
		a.fill(spec)
		return a.w.await(p.reading)
	}
	a.pages++
	rest := *spec
	rest.Range.End = a.part
	r := a.w.begin(&rest)
	a.fill(spec)
	return a.w.await(r)
}

// cut makes parts of what lies behind the first page, which ended at a token.
func (a *ahead) cut(at vnodes.Token) {
	a.least = max(uint64(at-a.begun), uint64(a.end-at)/maxParts, 1)
	a.span = a.least
	a.part = a.behind(at)
	a.next = a.part
}

// maxParts bounds how many parts a range is cut into: a first page that one partition fills says nothing of the others.
const maxParts = 1 << 16

// learn makes the next parts longer or shorter by how many pages the current one took.
func (a *ahead) learn() {
	if a.span /= 2; a.pages <= 1 {
		a.span *= 4
	}
	a.span = max(a.least, min(a.span, uint64(a.end-a.next)/uint64(a.most))) // the last parts keep all cores busy
	a.pages = 1
}

// behind gives the end of a part that begins at a token.
func (a *ahead) behind(at vnodes.Token) vnodes.Token {
	if uint64(a.end-at) <= a.span {
		return a.end
	}
	return at + vnodes.Token(a.span)
}

// fill begins to read parts, as many as may be read at the same time, beside the current one.
func (a *ahead) fill(spec *storage.ReadSpec) {
	for len(a.queue) < a.most-1 && a.next < a.end {
		s := *spec
		s.After, s.Range = nil, vnodes.Range{Start: a.next, End: a.behind(a.next)}
		a.queue = append(a.queue, part{a.w.begin(&s), s.Range.End})
		a.next = s.Range.End
	}
}

// partEnd is where the walk goes on behind a page that its part ends with; nil: nowhere, the range ends.
func (a *ahead) partEnd() *row.Position {
	if a.part == a.end {
		return nil
	}
	return &row.Position{Token: a.part, Done: true}
}

// endsAt reports whether a position is the end of a token.
func endsAt(p *row.Position, at vnodes.Token) bool { return p.Done && len(p.Key) == 0 && p.Token == at }

// drain waits for what was read in vain.
func (a *ahead) drain() {
	if a == nil {
		return
	}
	for _, p := range a.queue {
		_, _ = p.wait.wait()
		if p.in != nil {
			a.w.r.x.rooms.leave(p.in, false)
		}
	}
	a.queue = nil
}
