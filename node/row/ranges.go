package row

import (
	"bytes"
	"container/heap"
	"slices"
)

// normalised reports whether ranges are what normalise gives.
func normalised(ranges []RangeDeletion, deletion int64) bool {
	for i := range ranges {
		r := &ranges[i]
		if r.Timestamp <= deletion || !r.reaches(r.Start) {
			return false
		}
		if i == 0 {
			continue
		}
		before := &ranges[i-1]
		if before.End == nil {
			return false
		}
		order := bytes.Compare(before.End, r.Start)
		if order > 0 || (order == 0 && before.Timestamp == r.Timestamp) {
			return false
		}
	}
	return true
}

// normalise turns any range deletions into ascending, disjoint ones: the newest timestamp wins in each piece, pieces at or below
// deletion are dropped, and neighbours of one timestamp that touch are joined. It may reorder ranges. It sweeps over all bounds with a
// heap of the ranges that cover the place, the newest on top: O(n log n).
func normalise(ranges []RangeDeletion, deletion int64) []RangeDeletion {
	ranges = slices.DeleteFunc(ranges, func(r RangeDeletion) bool {
		return r.Timestamp <= deletion || !r.reaches(r.Start)
	})
	if normalised(ranges, deletion) {
		return ranges
	}
	slices.SortFunc(ranges, func(a, b RangeDeletion) int { return bytes.Compare(a.Start, b.Start) })
	bounds := make([][]byte, 0, 2*len(ranges))
	for _, r := range ranges {
		bounds = append(bounds, r.Start)
		if r.End != nil {
			bounds = append(bounds, r.End)
		}
	}
	slices.SortFunc(bounds, bytes.Compare)
	bounds = slices.CompactFunc(bounds, bytes.Equal)

	var pieces []RangeDeletion
	var active newestFirst
	for i, start := range bounds {
		for len(ranges) > 0 && bytes.Equal(ranges[0].Start, start) {
			heap.Push(&active, ranges[0])
			ranges = ranges[1:]
		}
		for len(active) > 0 && !active[0].reaches(start) {
			heap.Pop(&active)
		}
		if len(active) == 0 {
			continue
		}
		piece := RangeDeletion{Start: start, Timestamp: active[0].Timestamp}
		if i+1 < len(bounds) {
			piece.End = bounds[i+1]
		}
		pieces = appendPiece(pieces, piece)
	}
	return pieces
}

// appendPiece adds a piece, or extends the last one when it touches it and has its timestamp.
func appendPiece(pieces []RangeDeletion, piece RangeDeletion) []RangeDeletion {
	if len(pieces) > 0 {
		last := &pieces[len(pieces)-1]
		if last.Timestamp == piece.Timestamp && last.End != nil && bytes.Equal(last.End, piece.Start) {
			last.End = piece.End
			return pieces
		}
	}
	return append(pieces, piece)
}

// newestFirst is a heap of ranges.
type newestFirst []RangeDeletion

func (h newestFirst) Len() int           { return len(h) }
func (h newestFirst) Less(i, j int) bool { return h[i].Timestamp > h[j].Timestamp }
func (h newestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *newestFirst) Push(x any)        { *h = append(*h, x.(RangeDeletion)) }
func (h *newestFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
