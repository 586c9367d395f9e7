package hints

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata/hints: only when a format gets a new version")

// The bytes of the formats as they are on disks out there.
func TestGoldens(t *testing.T) {
	segment := appendHeader(nil, host(7))
	segment = appendRecord(segment, 1_700_000_000_123, []byte("mutation"))
	segment = appendRecord(segment, 1_700_000_000_456, []byte{0})
	for name, b := range map[string][]byte{
		"segment":  segment,
		"progress": position{3, 4711}.append(nil),
	} {
		path := filepath.Join("..", "testdata", "hints", name+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.Dump(b); got != string(want) {
			t.Errorf("%s: bytes are\n%swant\n%s", name, got, want)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		created := rapid.Int64().Draw(t, "created")
		mutation := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "mutation")
		encoded := appendRecord([]byte("before"), created, mutation)[len("before"):]
		r, err := decodeRecord(append(encoded, "behind"...))
		if err != nil || r.createdMs != created || !bytes.Equal(r.mutation, mutation) || r.size() != int64(len(encoded)) {
			t.Fatalf("got %+v, %v", r, err)
		}
		if createdMs(encoded) != created {
			t.Fatalf("createdMs gives %d, want %d", createdMs(encoded), created)
		}
		at := rapid.IntRange(0, len(encoded)-1).Draw(t, "at")
		encoded[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeRecord(encoded); err == nil {
			t.Fatalf("a flipped bit at %d went unseen", at)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, 5, []byte("mutation")))
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		if again := appendRecord(nil, r.createdMs, r.mutation); !bytes.Equal(again, b[:r.size()]) {
			t.Fatalf("accepted %x, but it encodes as %x", b[:r.size()], again)
		}
	})
}

// Whatever a segment's bytes are, scan gives records that are there, ascending and apart.
func FuzzScan(f *testing.F) {
	segment := appendHeader(nil, host(7))
	for _, m := range []string{"first", "second", "third"} {
		segment = appendRecord(segment, 5, []byte(m))
	}
	f.Add(segment)
	damaged := bytes.Clone(segment)
	damaged[headerBytes+20] ^= 1
	f.Add(damaged)
	f.Add(segment[:len(segment)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scan(b)
		end := int64(headerBytes)
		for _, r := range s.records {
			if r.start < end || r.end > int64(len(b)) {
				t.Fatalf("record from %d to %d behind one that ends at %d, of %d bytes", r.start, r.end, end, len(b))
			}
			decoded, err := decodeRecord(b[r.start:r.end])
			if err != nil || decoded.createdMs != r.createdMs {
				t.Fatalf("record at %d: %v", r.start, err)
			}
			end = r.end
		}
		if s.end != end {
			t.Fatalf("sound up to %d, but the last record ends at %d", s.end, end)
		}
	})
}

func FuzzDecodeProgress(f *testing.F) {
	f.Add(position{3, 4711}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProgress(b)
		if err != nil {
			if p != (position{}) {
				t.Fatalf("%+v beside %v", p, err)
			}
			return
		}
		if again := p.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, but it encodes as %x", b, again)
		}
	})
}

func FuzzCheckHeader(f *testing.F) {
	f.Add(appendHeader(nil, host(7)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := checkHeader(b, host(7)); err == nil && !bytes.HasPrefix(b, appendHeader(nil, host(7))) {
			t.Fatalf("accepted %x", b)
		} else if err != nil && !errors.Is(err, errShort) && !errors.Is(err, errHeader) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}
