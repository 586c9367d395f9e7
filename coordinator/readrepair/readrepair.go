// Package readrepair merges the pages that replicas answered, and says what each of them lacks. It is pure. It may import vnodes and
// node/row. Start reading at Merge.
package readrepair

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// Answer is the merge of several replicas' pages of one request. It aliases the pages.
type Answer struct {
	Page []byte // a page as row.PageReader reads it; its stop is the lowest position where any replica stopped early
	// Repairs has, for each input page, the mutations that its replica lacks of the merged page (none: it agrees).
	Repairs [][]row.Mutation
}

// MaxRepairBytes is where a repair of one partition is split into several mutations. One row is never split.
const MaxRepairBytes = 4 << 20

// Merge merges pages of one request to storage. reverse says the row order. Rows beyond the lowest early stop are left out: they are not final.
// Pages that are malformed or out of order give row.ErrCorrupt; equal pages are answered as they are, unread.
//
// The walk goes through all pages at once, place by place: a partition's header, then its rows in read order. A page is silent about a
// place before its stop only when its replica holds nothing there, so what is before every stop is final: headers and fragments of one
// place are merged, and rows are shadowed once more by the merged header, which may delete more than their own replica knew.
// A replica whose header or (then shadowed) row differs from the merged one is sent the merged one.
//
// REQUIRES: a page that goes on inside a partition repeats the partition's header, or a deletion that one replica lacks would be
// missed; and no page leaves rows out in the middle (PER PARTITION LIMIT and DISTINCT apply after the merge).
func Merge(storage row.StorageID, pages [][]byte, reverse bool) (*Answer, error) {
	answer := &Answer{Repairs: make([][]row.Mutation, len(pages))}
	if len(pages) == 0 {
		return answer, nil
	}
	if equal(pages) {
		answer.Page = pages[0]
		return answer, nil
	}
	w := walk{storage: storage, order: order{reverse}, cursors: make([]cursor, len(pages)), answer: answer}
	if err := w.start(pages); err != nil {
		return nil, err
	}
	for {
		more, err := w.partition()
		if err != nil {
			return nil, err
		}
		if !more {
			answer.Page = w.page.Finish(w.stop)
			return answer, nil
		}
	}
}

// Digest is the hash of a page's content, its stop included.
func Digest(page []byte) (digest [16]byte) {
	if fault.Planted("readrepair/digest-ignores-last-column") {
		page = page[:max(0, len(page)-4)]
	}
	a, b := vnodes.Hash128(page)
	binary.LittleEndian.PutUint64(digest[:], a)
	binary.LittleEndian.PutUint64(digest[8:], b)
	return digest
}

func equal(pages [][]byte) bool {
	for _, p := range pages[1:] {
		if !bytes.Equal(p, pages[0]) {
			return false
		}
	}
	return true
}

// walk is one merge.
type walk struct {
	storage row.StorageID
	order   order
	stop    *row.Position // the lowest of all pages; nil: all read everything
	cursors []cursor
	page    row.PageWriter
	answer  *Answer

	// Of the current partition:
	token       vnodes.Token
	key         []byte
	header      row.Header // merged
	headerBytes []byte
	here        []int // the cursors that have the partition
	repairs     []repair
	fragments   [][]byte // scratch: one place's
	arena       []byte   // holds merged fragments for page and repairs; only appended to
}

// start validates the pages and finds the lowest stop.
func (w *walk) start(pages [][]byte) error {
	size := 0
	for i, p := range pages {
		if err := row.CheckPage(p); err != nil {
			return fmt.Errorf("page of replica %d of %d: %w", i+1, len(pages), err)
		}
		stop, err := w.cursors[i].open(p)
		if err != nil {
			return err
		}
		if stop != nil && (w.stop == nil || (w.order.comparePositions(stop, w.stop) < 0) != fault.Planted("readrepair/stops-at-the-furthest")) {
			w.stop = stop
		}
		size = max(size, len(p))
	}
	w.repairs = make([]repair, len(pages))
	w.page.Reset(make([]byte, 0, size+size/8))
	return nil
}

// partition merges the next partition; false says that there is no more, or none before the stop.
func (w *walk) partition() (more bool, err error) {
	w.here = w.here[:0]
	for i := range w.cursors {
		c := &w.cursors[i]
		if c.event == row.PageEnd {
			continue
		}
		if len(w.here) > 0 {
			switch order := comparePartitions(c.reader.Token, c.reader.Key, w.token, w.key); {
			case order > 0:
				continue
			case order < 0:
				w.here = w.here[:0]
			}
		}
		w.token, w.key = c.reader.Token, c.reader.Key
		w.here = append(w.here, i)
	}
	if len(w.here) == 0 || !w.order.headerBefore(w.token, w.key, w.stop) {
		return false, nil
	}
	if err := w.mergeHeader(); err != nil {
		return false, err
	}
	return true, w.rows()
}

// mergeHeader merges the headers of the current partition and says who lacks it.
func (w *walk) mergeHeader() error {
	w.fragments = w.fragments[:0]
	for _, i := range w.here {
		w.add(w.cursors[i].reader.HeaderBytes)
	}
	var err error
	if w.headerBytes, err = w.mergeFragments(row.MergeHeaders); err != nil {
		return err
	}
	if w.header, err = row.DecodeHeader(w.headerBytes); err != nil {
		return err
	}
	w.page.Partition(w.token, w.key, w.headerBytes)
	for i := range w.repairs {
		w.repairs[i].reset(!bytes.Equal(w.headerOf(i), w.headerBytes))
	}
	return nil
}

// headerOf is what replica i answered as the current partition's header: nothing where it does not have the partition.
func (w *walk) headerOf(i int) []byte {
	if c := &w.cursors[i]; c.at(w.token, w.key) {
		return c.reader.HeaderBytes
	}
	return nil
}

// rows merges the rows of the current partition and moves the cursors behind it.
func (w *walk) rows() error {
	for _, i := range w.here {
		if err := w.cursors[i].nextRow(w.order); err != nil {
			return err
		}
	}
	for {
		clustering, any := w.nextClustering()
		if !any {
			break
		}
		if w.order.rowBefore(w.token, w.key, clustering, w.stop) {
			if err := w.row(clustering); err != nil {
				return err
			}
		}
		for _, i := range w.here {
			if c := &w.cursors[i]; c.atRow(clustering) {
				if err := c.nextRow(w.order); err != nil {
					return err
				}
			}
		}
	}
	for i := range w.repairs {
		w.repairs[i].flush(w, i)
	}
	for _, i := range w.here {
		if err := w.cursors[i].checkOrder(w.token, w.key); err != nil {
			return err
		}
	}
	return nil
}

// nextClustering is the first place, in read order, where some cursor of the partition has a row.
func (w *walk) nextClustering() (clustering []byte, any bool) {
	for _, i := range w.here {
		if c := &w.cursors[i]; c.event == row.PageRow && (!any || w.order.compareRows(c.reader.Clustering, clustering) < 0) {
			clustering, any = c.reader.Clustering, true
		}
	}
	return clustering, any
}

// row merges one place, writes it, and says who lacks it.
func (w *walk) row(clustering []byte) error {
	w.fragments = w.fragments[:0]
	for _, i := range w.here {
		if c := &w.cursors[i]; c.atRow(clustering) {
			w.add(c.reader.Row)
		}
	}
	merged, err := w.mergeFragments(row.Merge)
	if err != nil {
		return err
	}
	covering := w.header.Covering(clustering)
	merged = w.shadow(merged, covering)
	if len(merged) == 0 {
		return nil // covered everywhere by the merged header, which its repairs carry
	}
	w.page.Row(clustering, merged)
	for i := range w.cursors {
		if c := &w.cursors[i]; c.at(w.token, w.key) && c.atRow(clustering) &&
			(bytes.Equal(c.reader.Row, merged) || bytes.Equal(w.shadow(c.reader.Row, covering), merged)) {
			continue
		}
		w.repairs[i].add(w, i, row.Entry{Clustering: clustering, Fragment: merged})
	}
	return nil
}

// shadow gives v without what covering deletes: v itself when that is nothing.
func (w *walk) shadow(v row.View, covering int64) row.View {
	if !v.CoveredBy(covering) || fault.Planted("readrepair/merged-deletion-covers-nothing") {
		return v
	}
	start := len(w.arena)
	w.arena = row.Shadow(w.arena, v, covering)
	return w.arena[start:len(w.arena):len(w.arena)]
}

// add collects a fragment of the current place unless one equal to it is there already: most replicas agree.
func (w *walk) add(fragment []byte) {
	for _, f := range w.fragments {
		if bytes.Equal(f, fragment) {
			return
		}
	}
	w.fragments = append(w.fragments, fragment)
}

// mergeFragments merges what add collected. One fragment is its own merge and not copied.
func (w *walk) mergeFragments(merge func([]byte, ...[]byte) ([]byte, error)) (merged []byte, err error) {
	if len(w.fragments) == 1 {
		return w.fragments[0], nil
	}
	start := len(w.arena)
	if w.arena, err = merge(w.arena, w.fragments...); err != nil {
		return nil, err
	}
	return w.arena[start:len(w.arena):len(w.arena)], nil
}
