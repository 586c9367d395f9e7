package row

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nodedb/vnodes"

	"pgregory.net/rapid"
)

func drawBytes(t *rapid.T, label string) []byte {
	return []byte(rapid.SampledFrom([]string{"", "k", "key", strings.Repeat("k", 200)}).Draw(t, label))
}

func drawPosition(t *rapid.T) *Position {
	p := &Position{
		Token:     vnodes.Token(rapid.Int64().Draw(t, "token")),
		Key:       drawBytes(t, "key"),
		Inclusive: rapid.Bool().Draw(t, "inclusive"),
		Done:      rapid.Bool().Draw(t, "done"),
	}
	if rapid.Bool().Draw(t, "has clustering") {
		p.Clustering = drawBytes(t, "clustering")
	}
	return p
}

func TestPositionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPosition(t)
		encoded := p.Append(nil)
		got, rest, err := DecodePosition(append(encoded, "behind"...))
		if err != nil || string(rest) != "behind" {
			t.Fatalf("rest %q: %v", rest, err)
		}
		if fmt.Sprintf("%#v", got.Clustering == nil) != fmt.Sprintf("%#v", p.Clustering == nil) || !bytes.Equal(got.Append(nil), encoded) ||
			got.Token != p.Token || !bytes.Equal(got.Key, p.Key) || !bytes.Equal(got.Clustering, p.Clustering) ||
			got.Inclusive != p.Inclusive || got.Done != p.Done {
			t.Fatalf("got %+v want %+v", got, *p)
		}
	})
}

func TestMutationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mutation{Storage: StorageID(rapid.Uint32().Draw(t, "storage")), Token: vnodes.Token(rapid.Int64().Draw(t, "token")), Key: drawBytes(t, "key")}
		if h := drawHeader(t).build(); len(h) > 0 {
			m.Header = h
		}
		var want []Entry
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			e := Entry{drawBytes(t, "clustering"), drawFacts(t).build()}
			m.Rows = append(m.Rows, e)
			if len(e.Fragment) > 0 {
				want = append(want, e)
			}
		}
		encoded := m.Append(nil)
		if len(encoded) != m.Size() || m.CheckSize() != nil {
			t.Fatalf("size %d, wrote %d, %v", m.Size(), len(encoded), m.CheckSize())
		}
		got, rest, err := DecodeMutation(append(encoded, "behind"...))
		if err != nil || string(rest) != "behind" {
			t.Fatalf("rest %q: %v", rest, err)
		}
		m.Rows = want
		if fmt.Sprintf("%x", got) != fmt.Sprintf("%x", m) || !bytes.Equal(got.Append(nil), encoded) {
			t.Fatalf("got %x want %x", got, m)
		}
		for n := range len(encoded) {
			if _, _, err := DecodeMutation(encoded[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d of %d: %v", n, len(encoded), err)
			}
		}
	})
}

// The bounds themselves are accepted; one byte more is refused, by writer and reader alike.
func TestMutationLimits(t *testing.T) {
	value := func(n int) []byte {
		var b Builder
		b.Add(Cell{Column: 1, Timestamp: 1, Value: make([]byte, n)})
		return b.Append(nil)
	}
	exact := func(key, value []byte) Mutation { return Mutation{Key: key, Rows: []Entry{{nil, value}}} }
	over := exact(nil, nil)
	over.Rows[0].Fragment = value(MaxMutationBytes)
	extra := over.Size() - MaxMutationBytes
	for _, test := range []struct {
		name string
		m    Mutation
		ok   bool
	}{
		{"largest key", exact(make([]byte, MaxKeyBytes), value(1)), true},
		{"key too long", exact(make([]byte, MaxKeyBytes+1), value(1)), false},
		{"largest clustering key", Mutation{Rows: []Entry{{make([]byte, MaxClusteringBytes), value(1)}}}, true},
		{"clustering key too long", Mutation{Rows: []Entry{{make([]byte, MaxClusteringBytes+1), value(1)}}}, false},
		{"largest mutation", exact(nil, value(MaxMutationBytes-extra)), true},
		{"mutation too large", exact(nil, value(MaxMutationBytes-extra+1)), false},
	} {
		err := test.m.CheckSize()
		_, _, decodeErr := DecodeMutation(test.m.Append(nil))
		if (err == nil) != test.ok || (decodeErr == nil) != test.ok {
			t.Errorf("%s (%d bytes): CheckSize %v, DecodeMutation %v", test.name, test.m.Size(), err, decodeErr)
		}
		if !test.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v is not ErrTooLarge", test.name, err)
		}
	}
}

// drawPage writes a random page and tells what it holds.
func drawPage(t *rapid.T) (page []byte, want string) {
	var w PageWriter
	w.Reset([]byte("stale bytes"))
	var picker Picker
	picker.Reset([]ColumnID{2, 300, 1, 2})
	token := vnodes.Token(0)
	for range rapid.IntRange(0, 4).Draw(t, "partitions") {
		token++
		key, header := drawBytes(t, "key"), drawHeader(t).build()
		w.endRun()
		before := w.Len()
		w.Partition(token, key, header)
		partition, rows := fmt.Sprintf("partition %d %q %x\n", token, key, header), ""
		for i := range rapid.IntRange(0, 3).Draw(t, "rows") {
			fragment := drawFacts(t).build()
			clustering := []byte{byte(i)}
			if rapid.Bool().Draw(t, "plain") {
				fragment = drawPlain(t)
			}
			picked := rapid.Bool().Draw(t, "picked") && w.Pick(clustering, fragment, &picker)
			if !picked {
				w.Row(clustering, fragment)
			}
			if picked {
				values := pickedValues(fragment, picker.columns)
				rows += fmt.Sprintf("picked %x\n", values)
			} else if len(fragment) > 0 {
				rows += fmt.Sprintf("row %q %x\n", clustering, fragment)
			}
		}
		counted := rapid.SampledFrom([]int{0, 0, 1, 127, 128, 1 << 20}).Draw(t, "counted")
		w.Count(counted)
		if counted > 0 {
			rows += fmt.Sprintf("count %d\n", counted)
		}
		if len(header) > 0 || rows != "" {
			want += partition + rows
		} else if w.Len() != before {
			t.Fatalf("a partition without content took %d bytes", w.Len()-before)
		}
	}
	var stop *Position
	if rapid.Bool().Draw(t, "stopped") {
		stop = drawPosition(t)
		want += fmt.Sprintf("stop %x\n", stop.Append(nil))
	}
	return w.Finish(stop), want
}

// drawPlain gives a row of few shapes.
func drawPlain(t *rapid.T) []byte {
	var b Builder
	for _, c := range []ColumnID{1, 2, 300} {
		if rapid.Bool().Draw(t, "has") {
			b.Add(Cell{Column: c, Timestamp: 7, Value: drawBytes(t, "value")})
		}
	}
	return b.Append(nil)
}

// pickedValues is what a Picker has to give of a plain row.
func pickedValues(v View, columns []ColumnID) (b []byte) {
	for _, c := range columns {
		if cell, ok := v.Find(c); ok {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(cell.Value))), cell.Value...)
		} else {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
		}
	}
	return b
}

func pageString(page []byte) (s string, err error) {
	var r PageReader
	r.Reset(page)
	for {
		event, err := r.Next()
		if err != nil {
			return s, err
		}
		switch event {
		case PagePartition:
			s += fmt.Sprintf("partition %d %q %x\n", r.Token, r.Key, r.HeaderBytes)
		case PageRow:
			s += fmt.Sprintf("row %q %x\n", r.Clustering, []byte(r.Row))
		case PagePicked:
			for range r.Count {
				size := 0
				for range 4 {
					size += 4 + max(0, int(int32(binary.BigEndian.Uint32(r.Values[size:]))))
				}
				s += fmt.Sprintf("picked %x\n", r.Values[:size])
				r.Values = r.Values[size:]
			}
		case PageCount:
			s += fmt.Sprintf("count %d\n", r.Count)
		case PageEnd:
			if r.Stop() != nil {
				s += fmt.Sprintf("stop %x\n", r.Stop().Append(nil))
			}
			return s, nil
		}
	}
}

func TestPageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		page, want := drawPage(t)
		got, err := pageString(page)
		if err != nil || got != want {
			t.Fatalf("%v: got %s want %s", err, got, want)
		}
		if err := CheckPage(page); (err != nil) != strings.Contains(want, "picked") {
			t.Fatal(err)
		}
		for n := 1; n < len(page); n++ {
			if _, err := pageString(page[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d of %d: %v", n, len(page), err)
			}
		}
	})
}

func TestPageOrderOfEntries(t *testing.T) {
	row := (&Builder{deletion: 1, used: true}).Append(nil)
	entry := appendBytes(appendBytes([]byte{tagRow}, []byte("c")), row)
	for _, test := range []struct {
		name string
		page []byte
		want string
	}{
		{"nothing at all", nil, ""},
		{"a row before any partition", append([]byte{pageVersion}, entry...), "tag 2 in a page"},
		{"a count before any partition", []byte{pageVersion, tagCount, 1, tagEnd}, "tag 4 in a page"},
		{"picked rows before any partition", []byte{pageVersion, tagPicked, 1, tagEnd}, "tag 5 in a page"},
		{"an unknown tag", []byte{pageVersion, 9}, "tag 9 in a page"},
		{"a newer page", []byte{9, 0}, "unknown version 9 of a page, this nodedb knows 1"},
		{"bytes behind the end", []byte{pageVersion, tagEnd, 1}, "1 bytes behind the end of a page"},
	} {
		_, err := pageString(test.page)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// Reading allocates nothing a row.
func TestReadsDoNotAllocate(t *testing.T) {
	page := benchPage(1000)
	var r PageReader
	sum := 0
	read := func() {
		r.Reset(page)
		for {
			event, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if event == PageEnd {
				return
			}
			if event == PageRow {
				c, _ := r.Row.Find(7)
				sum += len(c.Value) + len(r.Row.At(3).Value)
				if !r.Row.LiveAt(1) || r.Row.MaxTimestamp() == NoDeletion || r.Row.Check() != nil {
					t.Fatal("row is dead")
				}
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(5, read); n != 0 {
		t.Errorf("a page of 1000 rows costs %v allocations, want 0", n)
	}
	one, other, dst := benchRow(1, 10), benchRow(2, 5), make([]byte, 0, 4096)
	merge := func() {
		if _, err := Merge(dst, one, other); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, merge); n >= 1 && !raceEnabled {
		t.Errorf("a merge of two rows costs %v allocations, want 0", n)
	}
}
