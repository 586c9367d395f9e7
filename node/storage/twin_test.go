package storage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// twin keeps every fragment ever written and knows nothing of keys, seeks or chains.
type twin map[string]*twinPartition

type twinPartition struct {
	headers [][]byte
	rows    map[string][][]byte
}

func (w twin) apply(m row.Mutation) {
	p := w[string(m.Key)]
	if p == nil {
		p = &twinPartition{rows: make(map[string][][]byte)}
		w[string(m.Key)] = p
	}
	if len(m.Header) > 0 {
		p.headers = append(p.headers, m.Header)
	}
	for _, r := range m.Rows {
		p.rows[string(r.Clustering)] = append(p.rows[string(r.Clustering)], r.Fragment)
	}
}

func (w twin) deleteRange(r vnodes.Range) {
	maps.DeleteFunc(w, func(key string, _ *twinPartition) bool { return r.Contains(tokenOf([]byte(key))) })
}

// keys gives the partitions in token and key order.
func (w twin) keys() []string {
	return slices.SortedFunc(maps.Keys(w), func(a, b string) int {
		return cmp.Or(cmp.Compare(tokenOf([]byte(a)), tokenOf([]byte(b))), cmp.Compare(a, b))
	})
}

// twinReader reads one page, by looking at everything.
type twinReader struct {
	spec       *ReadSpec
	w          row.PageWriter
	rows, work int
	counted    int
	stop       *row.Position
}

func (w twin) read(spec ReadSpec) []byte {
	spec.ByteLimit, spec.WorkLimit = cmp.Or(spec.ByteLimit, 1<<20), cmp.Or(spec.WorkLimit, 100_000)
	r := &twinReader{spec: &spec}
	r.w.Reset(nil)
	for _, key := range w.keys() {
		token := tokenOf([]byte(key))
		switch {
		case r.stop != nil:
		case spec.Key != nil && key != string(spec.Key):
		case spec.Key == nil && !spec.Range.Contains(token):
		case spec.Key == nil && spec.Until != nil && comparePlaces(token, key, spec.Until) > 0:
		case spec.After != nil && comparePlaces(token, key, spec.After) < 0:
		case spec.After != nil && spec.After.Done && comparePlaces(token, key, spec.After) == 0:
		default:
			r.partition(token, key, w[key])
			r.w.Count(r.counted) // where it stopped
			r.counted = 0
		}
	}
	return r.w.Finish(r.stop)
}

func comparePlaces(token vnodes.Token, key string, p *row.Position) int {
	return cmp.Or(cmp.Compare(token, p.Token), cmp.Compare(key, string(p.Key)))
}

func (r *twinReader) full() bool {
	return (r.spec.RowLimit > 0 && r.rows >= r.spec.RowLimit) || r.w.Len() >= r.spec.ByteLimit || r.work >= r.spec.WorkLimit
}

func (r *twinReader) partition(token vnodes.Token, key string, p *twinPartition) {
	header := must(row.MergeHeaders(nil, p.headers...))
	h := must(row.DecodeHeader(header))
	r.w.Partition(token, []byte(key), header)
	if len(header) > 0 {
		r.work++
	}
	resumed := r.spec.After != nil && comparePlaces(token, key, r.spec.After) == 0 && r.spec.After.Clustering != nil
	clusterings := slices.Sorted(maps.Keys(p.rows))
	clusterings = slices.DeleteFunc(clusterings, func(c string) bool { return r.behindEnd(token, key, c) })
	if r.spec.Reverse {
		slices.Reverse(clusterings)
	}
	static, live := h.Static.LiveAt(r.spec.Now), 0
	limit := r.spec.PartitionRows
	if r.spec.NoRows {
		limit = 1
	}
	for _, c := range clusterings {
		if (r.spec.NoRows && static) || !r.wanted(c, resumed) {
			continue
		}
		r.work++
		v := row.Shadow(nil, must(row.Merge(nil, p.rows[c]...)), h.Covering([]byte(c)))
		if !r.spec.Count {
			r.w.Row([]byte(c), v)
		}
		if row.View(v).LiveAt(r.spec.Now) {
			live++
			r.rows++
			if r.spec.Count {
				r.counted++
			}
		}
		if r.full() {
			if c != "" || r.spec.Key == nil {
				r.stop = &row.Position{Token: token, Key: []byte(key), Clustering: []byte(c), Done: c == ""}
			}
			return
		}
		if limit > 0 && live >= limit {
			break
		}
	}
	r.w.Count(r.counted)
	r.counted = 0
	if static && live == 0 && !resumed {
		r.rows++
	}
	if r.full() && r.spec.Key == nil && (len(clusterings) > 0 || len(header) > 0) {
		r.stop = &row.Position{Token: token, Key: []byte(key), Done: true}
	}
}

// behindEnd reports whether a row lies behind Until.
func (r *twinReader) behindEnd(token vnodes.Token, key, c string) bool {
	u := r.spec.Until
	return r.spec.Key == nil && u != nil && !u.Done && comparePlaces(token, key, u) == 0 && c > string(u.Clustering)
}

// wanted reports whether the slices and the position ask for a row.
func (r *twinReader) wanted(c string, resumed bool) bool {
	in := len(r.spec.Slices) == 0
	for _, s := range r.spec.Slices {
		in = in || (c >= string(s.Start) && (s.End == nil || c < string(s.End)))
	}
	if !in || !resumed {
		return in
	}
	order := cmp.Compare(c, string(r.spec.After.Clustering))
	if r.spec.Reverse {
		order = -order
	}
	return order > 0 || (order == 0 && r.spec.After.Inclusive)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Places that collide: keys that are prefixes of one another, with bytes that the key layout escapes; few timestamps,
// so that they tie.
var (
	twinKeys        = []string{"a", "a\x00", "a\x00\x01", "a\x00\xff", "a\x01", "\x00", "b", "c", "\xff\xff", "n"}
	twinClusterings = []string{"a", "a\x00", "b", "c", "d", "da", "e", "f\xff", "g"}
)

// drawMutation draws a write to one partition: any kind of cell and tombstone.
func drawMutation(t *rapid.T) row.Mutation {
	key := rapid.SampledFrom(twinKeys).Draw(t, "key")
	m := row.Mutation{Token: tokenOf([]byte(key)), Key: []byte(key)}
	if rapid.IntRange(0, 3).Draw(t, "with header") == 0 {
		h := drawHeader(t)
		m.Header = h.Append(nil)
	}
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		c := rapid.SampledFrom(twinClusterings).Draw(t, "clustering")
		if key == "n" {
			c = "" // a table without clustering columns
		}
		if f := drawRow(t); len(f) > 0 && !slices.ContainsFunc(m.Rows, func(e row.Entry) bool { return string(e.Clustering) == c }) {
			m.Rows = append(m.Rows, row.Entry{Clustering: []byte(c), Fragment: f})
		}
	}
	return m
}

func drawTimestamp(t *rapid.T) int64 { return rapid.Int64Range(1, 12).Draw(t, "timestamp") }

func drawHeader(t *rapid.T) row.Header {
	h := row.EmptyHeader
	switch rapid.IntRange(0, 2).Draw(t, "kind of header") {
	case 0:
		h.Deletion = drawTimestamp(t)
	case 1:
		start := rapid.SampledFrom(twinClusterings).Draw(t, "start")
		end := []byte(rapid.SampledFrom(twinClusterings).Draw(t, "end"))
		if string(end) <= start {
			end = nil
		}
		h.Ranges = []row.RangeDeletion{{Start: []byte(start), End: end, Timestamp: drawTimestamp(t)}}
	case 2:
		h.Static = drawRow(t)
	}
	return h
}

func drawRow(t *rapid.T) []byte {
	var b row.Builder
	if rapid.IntRange(0, 5).Draw(t, "row deletion") == 0 {
		b.Delete(drawTimestamp(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "cells") {
		c := row.Cell{Column: row.ColumnID(rapid.IntRange(0, 3).Draw(t, "column")), Timestamp: drawTimestamp(t)}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			c.Kind = row.Tombstone
		case 1:
			c.Expiry, c.TTL = testNow+rapid.Int64Range(-5, 5).Draw(t, "expiry"), 10
		}
		if c.Kind == row.Live && c.Column != row.Marker {
			c.Value = []byte(rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value"))
		}
		if c.Column == 3 {
			c.Path = []byte(rapid.SampledFrom([]string{"p", "q"}).Draw(t, "path"))
			if c.Kind == row.Tombstone && c.Timestamp%2 == 0 {
				c.Kind, c.Path = row.ComplexTombstone, nil
			}
		}
		b.Add(c)
	}
	return b.Append(nil)
}

func drawSpec(t *rapid.T) ReadSpec {
	small := func(name string) int { return rapid.SampledFrom([]int{0, 0, 1, 2, 5}).Draw(t, name) }
	s := ReadSpec{
		Range: everything, Now: testNow,
		NoRows: rapid.IntRange(0, 4).Draw(t, "no rows") == 0, Reverse: rapid.Bool().Draw(t, "reverse"), Count: rapid.IntRange(0, 3).Draw(t, "count") == 0,
		RowLimit: small("row limit"), PartitionRows: small("partition rows"), WorkLimit: small("work limit"),
		ByteLimit: rapid.SampledFrom([]int{0, 0, 1, 40, 200}).Draw(t, "byte limit"),
	}
	if rapid.Bool().Draw(t, "one partition") {
		s.Key = []byte(rapid.SampledFrom(twinKeys).Draw(t, "key"))
		s.Token = tokenOf(s.Key)
	} else {
		if r := drawRange(t); r.Start < r.End {
			s.Range = r
		}
		s.Until = drawUntil(t)
	}
	bounds := slices.Sorted(maps.Keys(rapid.MapOfN(rapid.SampledFrom(append(twinClusterings, "", "bb", "z")), rapid.Just(0), 0, 5).Draw(t, "bounds")))
	for ; len(bounds) > 1; bounds = bounds[2:] {
		s.Slices = append(s.Slices, Slice{Start: []byte(bounds[0]), End: []byte(bounds[1])})
	}
	if len(bounds) == 1 && bounds[0] != "" {
		s.Slices = append(s.Slices, Slice{Start: []byte(bounds[0])})
	}
	return s
}

// drawUntil draws where a range read ends, most often nowhere.
func drawUntil(t *rapid.T) *row.Position {
	if rapid.IntRange(0, 2).Draw(t, "with end") != 0 {
		return nil
	}
	key := rapid.SampledFrom(twinKeys).Draw(t, "until key")
	p := &row.Position{Token: tokenOf([]byte(key)), Key: []byte(key), Done: rapid.Bool().Draw(t, "whole partition")}
	if !p.Done {
		p.Clustering = []byte(rapid.SampledFrom(append(twinClusterings, "", "bb", "z")).Draw(t, "until clustering"))
	}
	return p
}

func drawRange(t *rapid.T) vnodes.Range {
	bound := rapid.OneOf(rapid.SampledFrom([]vnodes.Token{vnodes.MinToken, vnodes.MaxToken}),
		rapid.Map(rapid.SampledFrom(twinKeys), func(k string) vnodes.Token { return tokenOf([]byte(k)) }))
	return vnodes.Range{Start: bound.Draw(t, "start"), End: bound.Draw(t, "end")}
}

// drawAfter draws a position as a caller may bring it from anywhere: another replica's page, say.
func drawAfter(t *rapid.T, s *ReadSpec) {
	if rapid.IntRange(0, 2).Draw(t, "with position") != 0 {
		return
	}
	key := rapid.SampledFrom(twinKeys).Draw(t, "after key")
	if s.Key != nil {
		key = string(s.Key)
	}
	p := &row.Position{Token: tokenOf([]byte(key)), Key: []byte(key)}
	switch rapid.IntRange(0, 2).Draw(t, "kind of position") {
	case 0:
		p.Done = true
	case 1:
		p.Clustering = []byte(rapid.SampledFrom(twinClusterings).Draw(t, "after clustering"))
		p.Inclusive = rapid.Bool().Draw(t, "inclusive")
	}
	s.After = p
}

// TestEngineAgainstTwin writes the same to a table on disk, a memory table and the twin, and compares pages byte for
// byte.
func TestEngineAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := disk.Crashable()
		s := &twinState{t: t, fs: fs, e: openRapid(t, fs), disk: twin{}, memory: twin{}}
		defer func() { failRapid(t, s.e.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"write":        s.write,
			"write more":   s.write,
			"read":         s.read,
			"read again":   s.read,
			"read all":     s.readAll,
			"flush":        s.flush,
			"compact":      s.compact,
			"reopen":       s.reopen,
			"delete range": s.deleteRange,
		})
	})
}

type twinState struct {
	t            *rapid.T
	fs           disk.FS
	e            *Engine
	disk, memory twin
}

func openRapid(t *rapid.T, fs disk.FS) *Engine {
	e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(err error) { t.Fatalf("fatal: %v", err) }})
	failRapid(t, err)
	failRapid(t, e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk, memoryTable: InMemory}, 10))
	return e
}

func failRapid(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (s *twinState) write(t *rapid.T) {
	var ms []row.Mutation
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		m := drawMutation(t)
		if len(m.Header) == 0 && len(m.Rows) == 0 {
			continue
		}
		s.disk.apply(m)
		s.memory.apply(m)
		m.Storage = testTable
		ms = append(ms, m)
		m.Storage = memoryTable
		ms = append(ms, m)
	}
	failRapid(t, applyErr(s.e, ms...))
}

func (s *twinState) read(t *rapid.T) {
	spec := drawSpec(t)
	drawAfter(t, &spec)
	s.compare(t, spec, testTable, s.disk)
	s.compare(t, spec, memoryTable, s.memory)
}

func (s *twinState) compare(t *rapid.T, spec ReadSpec, id row.StorageID, w twin) []byte {
	spec.Storage = id
	page, err := s.e.Read(context.Background(), &spec, nil)
	failRapid(t, err)
	if want := w.read(spec); !bytes.Equal(page, want) {
		t.Fatalf("table %d, spec %+v, after %+v:\n got %q\nwant %q", id, spec, spec.After, page, want)
	}
	return page
}

// readAll checks that pages, one behind the other, give each row once, whatever the limits; and where rows are counted, each once.
func (s *twinState) readAll(t *rapid.T) {
	spec := drawSpec(t)
	spec.NoRows, spec.PartitionRows, spec.Storage = false, 0, testTable
	whole := spec
	whole.RowLimit, whole.ByteLimit, whole.WorkLimit = 0, 0, 0
	var got, want [][2]string
	whole.Count = false
	if !spec.Count && rapid.Bool().Draw(t, "picked") {
		s.readPicked(t, spec, whole)
		return
	}
	collect := func(page []byte, into *[][2]string) *row.Position {
		var r row.PageReader
		r.Reset(page)
		for {
			switch event, err := r.Next(); {
			case err != nil:
				t.Fatal(err)
			case event == row.PageEnd:
				return r.Stop()
			case spec.Count && event == row.PageCount:
				for range r.Count {
					*into = append(*into, [2]string{string(r.Key)})
				}
			case spec.Count && event == row.PageRow && r.Row.LiveAt(testNow):
				*into = append(*into, [2]string{string(r.Key)})
			case !spec.Count && event == row.PageRow:
				*into = append(*into, [2]string{string(r.Key) + "/" + string(r.Clustering), string(r.Row)})
			}
		}
	}
	collect(s.disk.read(whole), &want)
	for pages := 0; ; pages++ {
		if spec.After = collect(s.compare(t, spec, testTable, s.disk), &got); spec.After == nil {
			break
		}
		if pages > 1000 {
			t.Fatalf("the pages of %+v don't end", spec)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("spec %+v: pages give\n%q, want\n%q", spec, got, want)
	}
}

func (s *twinState) flush(t *rapid.T) { failRapid(t, s.e.db.Flush()) }

func (s *twinState) compact(t *rapid.T) {
	failRapid(t, s.e.db.Compact(context.Background(), []byte{0}, []byte{0xFF}, false))
}

func (s *twinState) reopen(t *rapid.T) {
	failRapid(t, s.e.Close())
	s.e, s.memory = openRapid(t, s.fs), twin{}
}

func (s *twinState) deleteRange(t *rapid.T) {
	r := drawRange(t)
	failRapid(t, s.e.DeleteRange(testTable, r))
	failRapid(t, s.e.DeleteRange(memoryTable, r))
	s.disk.deleteRange(r)
	s.memory.deleteRange(r)
}

// readPicked checks that pages of which columns are picked give each row's values once, in order, and tell where the last of them lies, whatever the limits.
func (s *twinState) readPicked(t *rapid.T, spec, whole ReadSpec) {
	spec.Columns = rapid.SliceOfN(rapid.SampledFrom([]row.ColumnID{0, 1, 2, 3, 300}), 1, 3).Draw(t, "columns")
	var got, want [][3]string // partition, clustering key where it is told, values
	collect := func(page []byte, into *[][3]string) (rows int, stop *row.Position) {
		var r row.PageReader
		r.Reset(page)
		for last := row.PageEnd; ; {
			event, err := r.Next()
			failRapid(t, err)
			switch event {
			case row.PageEnd:
				if spec.RowLimit > 0 && rows == spec.RowLimit && last == row.PagePicked {
					t.Fatalf("spec %+v: the row that the limit ends with is picked", spec)
				}
				return rows, r.Stop()
			case row.PageRow:
				if r.Row.LiveAt(testNow) {
					rows++
				}
				*into = append(*into, [3]string{string(r.Key), string(r.Clustering), pickedValues(r.Row, spec.Columns)})
			case row.PagePicked:
				rows += r.Count
				values := r.Values
				for n := range r.Count {
					size := valuesSize(values, len(spec.Columns))
					*into = append(*into, [3]string{string(r.Key), "?", string(values[:size])})
					if values = values[size:]; n == r.Count-1 {
						(*into)[len(*into)-1][1] = string(r.Clustering)
					}
				}
				if len(values) > 0 {
					t.Fatalf("%d bytes behind %d rows", len(values), r.Count)
				}
			}
			last = event
		}
	}
	collect(s.disk.read(whole), &want)
	for pages, stop := 0, (*row.Position)(nil); pages == 0 || stop != nil; pages++ {
		spec.After = stop
		spec.Storage = testTable
		page, err := s.e.Read(context.Background(), &spec, nil)
		failRapid(t, err)
		if _, stop = collect(page, &got); pages > 1000 {
			t.Fatalf("the pages of %+v don't end", spec)
		}
	}
	for i := range got {
		if i < len(want) && got[i][1] == "?" {
			got[i][1] = want[i][1]
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("spec %+v: pages give\n%q, want\n%q", spec, got, want)
	}
}

// pickedValues is what a row.Picker has to give of a row, as far as it is plain.
func pickedValues(v row.View, columns []row.ColumnID) string {
	var b []byte
	for _, c := range columns {
		cell, ok := v.Find(c)
		if !ok {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(cell.Value))), cell.Value...)
	}
	return string(b)
}

// valuesSize is how many bytes the first so many values take.
func valuesSize(b []byte, n int) (size int) {
	for range n {
		length := int32(binary.BigEndian.Uint32(b[size:]))
		size += 4 + max(0, int(length))
	}
	return size
}
