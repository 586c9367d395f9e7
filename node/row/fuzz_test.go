package row

import (
	"bytes"
	"testing"
)

// seeds are fragments that use every feature of the layout.
func seeds() map[string][]byte {
	build := func(f facts) []byte { return f.build() }
	long := bytes.Repeat([]byte("v"), 70000)
	return map[string][]byte{
		"empty":          nil,
		"insert":         benchRow(1_700_000_000_000_000, 3),
		"row-tombstone":  build(facts{deletions: []int64{5}}),
		"deleted-before": build(facts{[]int64{5}, []Cell{{Column: 1, Timestamp: 6, Value: []byte("x")}}}),
		"tombstone":      build(facts{nil, []Cell{{Column: 1, Kind: Tombstone, Timestamp: 6}, {Column: 2, Timestamp: 9, Value: []byte("x")}}}),
		"expiring": build(facts{nil, []Cell{
			{Timestamp: 6, Expiry: 1_700_000_100, TTL: 100}, {Column: 1, Timestamp: 6, Expiry: 1_700_000_100, TTL: 100, Value: []byte("x")},
			{Column: 2, Timestamp: 6, Expiry: 1_700_000_050, TTL: 50, Value: []byte("y")}, {Column: 3, Timestamp: 2, Value: []byte("z")},
		}}),
		"collection": build(facts{nil, []Cell{
			{Timestamp: 6}, {Column: 1, Kind: ComplexTombstone, Timestamp: 5}, {Column: 1, Timestamp: 6, Path: []byte("a"), Value: []byte("1")},
			{Column: 1, Timestamp: 6, Path: []byte("b"), Value: []byte("2")}, {Column: 1, Kind: Tombstone, Timestamp: 7, Path: []byte("c")},
		}}),
		"counter": build(facts{nil, []Cell{{Column: 1, Kind: Counter, Value: AppendShard(AppendShard(nil,
			Shard{Host: [16]byte{2}, Incarnation: 1, Clock: 9, Sum: -3}), Shard{Host: [16]byte{1}, Incarnation: 1, Clock: 7, Sum: 5})}}}),
		"wide-columns":   build(facts{nil, []Cell{{Column: 1, Timestamp: 6, Value: []byte("x")}, {Column: 300, Timestamp: 6, Value: []byte("y")}}}),
		"offsets-2-byte": build(facts{nil, []Cell{{Column: 1, Timestamp: 6, Value: long[:300]}}}),
		"offsets-4-byte": build(facts{nil, []Cell{{Column: 1, Timestamp: 6, Value: long}, {Column: 2, Timestamp: 6, Value: []byte("x")}}}),
	}
}

func seedHeaders() map[string][]byte {
	one := Header{Deletion: 5, Static: seeds()["deleted-before"]}
	two := Header{Deletion: NoDeletion, Ranges: []RangeDeletion{{[]byte("a"), []byte("c"), 5}, {[]byte("b"), nil, 6}}}
	return map[string][]byte{"deletion-static": one.Append(nil), "ranges": two.Append(nil), "empty": nil}
}

func seedMutation() []byte {
	m := Mutation{Storage: 7, Token: -8, Key: []byte("key"), Header: seedHeaders()["ranges"], Rows: []Entry{
		{[]byte("c1"), seeds()["insert"]}, {[]byte("c2"), seeds()["expiring"]},
	}}
	return m.Append(nil)
}

func seedPage(stop *Position) []byte {
	var w PageWriter
	w.Reset(nil)
	w.Partition(-8, []byte("key"), seedHeaders()["ranges"])
	w.Row([]byte("c1"), seeds()["insert"])
	w.Row([]byte("c2"), seeds()["row-tombstone"])
	w.Partition(9, []byte("nothing"), nil)
	w.Partition(10, []byte("other"), nil)
	w.Row(nil, seeds()["counter"])
	return w.Finish(stop)
}

func seedPosition() *Position {
	return &Position{Token: 10, Key: []byte("other"), Clustering: []byte{}, Inclusive: true}
}

// rebuild writes what a view shows with a Builder.
func rebuild(v View) []byte {
	var b Builder
	b.Delete(v.Deletion())
	for i := range v.Len() {
		b.Add(v.At(i))
	}
	return b.Append(nil)
}

// useView calls everything there is; nothing may panic once Check has passed.
func useView(t *testing.T, v View) {
	v.LiveAt(5)
	v.MaxTimestamp()
	for i := range v.Len() {
		c := v.At(i)
		v.Find(c.Column)
		if from, to := v.Span(c.Column); i < from || i >= to {
			t.Fatalf("cell %d of column %d is not in its span %d to %d", i, c.Column, from, to)
		}
		if c.Kind == Counter {
			CounterSum(c.Value)
		}
		if err := View(Shadow(nil, v, c.Timestamp)).Check(); err != nil {
			t.Fatalf("shadow: %v", err)
		}
	}
	if merged, err := Merge(nil, v, v); err != nil || !bytes.Equal(merged, v) {
		t.Fatalf("merged with itself %x, was %x: %v", merged, []byte(v), err)
	}
}

// Check accepts exactly what Builder writes: it passes if and only if the bytes are what a Builder makes of what they show.
func FuzzViewCheck(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v := View(b)
		if err := v.Check(); err != nil {
			return
		}
		if again := rebuild(v); !bytes.Equal(again, b) {
			t.Fatalf("Check accepts %x, but Builder writes %x", b, again)
		}
		useView(t, v)
	})
}

func FuzzDecodeHeader(f *testing.F) {
	for _, seed := range seedHeaders() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHeader(b)
		if err != nil {
			return
		}
		if again := h.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, but it encodes as %x", b, again)
		}
		h.Covering(b)
		useView(t, h.Static)
		if merged, err := MergeHeaders(nil, b, b); err != nil || !bytes.Equal(merged, b) {
			t.Fatalf("merged with itself %x, was %x: %v", merged, b, err)
		}
	})
}

func FuzzDecodeMutation(f *testing.F) {
	f.Add(seedMutation())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, rest, err := DecodeMutation(b)
		if err != nil {
			return
		}
		if again := append(m.Append(nil), rest...); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, but it encodes as %x", b, again)
		}
		for _, e := range m.Rows {
			useView(t, e.Fragment)
		}
	})
}

func FuzzPageReader(f *testing.F) {
	f.Add(seedPage(nil))
	f.Add(seedPage(seedPosition()))
	f.Fuzz(func(t *testing.T, page []byte) {
		checked := CheckPage(page) == nil
		var r PageReader
		r.Reset(page)
		var w PageWriter
		w.Reset(nil)
		canonical := len(page) > 0
		rowsOf, headerOf := 0, []byte(nil)
		for {
			event, err := r.Next()
			if err != nil {
				if checked {
					t.Fatalf("CheckPage accepts, Next does not: %v", err)
				}
				return
			}
			if event != PageRow && event != PageCount && rowsOf == 0 && w.empty > 0 && headerOf == nil {
				canonical = false // a partition without content
			}
			switch event {
			case PagePartition:
				w.Partition(r.Token, r.Key, r.HeaderBytes)
				rowsOf, headerOf = 0, r.HeaderBytes
			case PageRow:
				w.Row(r.Clustering, r.Row)
				rowsOf++
				if checked {
					useView(t, r.Row)
				}
			case PageCount:
				w.Count(r.Count)
				rowsOf++
			case PageEnd:
				if again := w.Finish(r.Stop()); canonical && !bytes.Equal(again, page) {
					t.Fatalf("read %x, written again %x", page, again)
				}
				return
			}
		}
	})
}

func FuzzDecodePosition(f *testing.F) {
	f.Add(seedPosition().Append(nil))
	f.Add((&Position{Done: true}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, rest, err := DecodePosition(b)
		if err != nil {
			return
		}
		if again := append(p.Append(nil), rest...); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, but it encodes as %x", b, again)
		}
	})
}
