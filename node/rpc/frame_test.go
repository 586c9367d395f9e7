package rpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"nodedb/vnodes"

	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

// samples are one frame of each kind; their bytes are held by testdata/rpc/frames.golden.
func samples() map[string][]byte {
	id := Identity{HostID: vnodes.HostID{1, 2, 3}, ClusterName: "demo", ClusterID: [16]byte{9, 8}}
	return map[string][]byte{
		"preamble": appendPreamble(nil),
		"hello":    appendHello(nil, &helloFrame{Identity: id, addr: "10.0.0.1:7000"}),
		"request":  appendRequest(nil, 7<<32|5, &Call{Verb: VerbWrite, Body: []byte("body")}, 1500*time.Microsecond),
		"traced":   appendRequest(nil, 1, &Call{Verb: VerbRead, Trace: [16]byte{0xaa, 15: 0xbb}}, time.Hour),
		"response": appendResponse(nil, 7<<32|5, 0, 0, []byte("answer")),
		"error":    appendResponse(nil, 2, CodeNotOwner, 42, []byte("not mine")),
		"ping":     appendBare(nil, kindPing),
		"pong":     appendBare(nil, kindPong),
	}
}

func TestFrameGoldens(t *testing.T) {
	var b strings.Builder
	all := samples()
	for _, name := range []string{"preamble", "hello", "request", "traced", "response", "error", "ping", "pong"} {
		b.WriteString(name + " " + hex.EncodeToString(all[name]) + "\n")
	}
	path := filepath.Join("..", "..", "testdata", "rpc", "frames.golden")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the bytes of frames changed; nodes of two versions must still understand each other. Got:\n%s", b.String())
	}
}

func TestFramesDecode(t *testing.T) {
	all := samples()
	var f frame
	if err := decodeFrame(all["request"], &f); err != nil || f.id != 7<<32|5 || Verb(f.code) != VerbWrite || f.left != 2*time.Millisecond ||
		string(f.body) != "body" {
		t.Errorf("request: %+v, %v", f, err)
	}
	if err := decodeFrame(all["traced"], &f); err != nil || f.trace != [16]byte{0xaa, 15: 0xbb} || f.left != time.Hour || len(f.body) != 0 {
		t.Errorf("traced: %+v, %v", f, err)
	}
	if err := decodeFrame(all["error"], &f); err != nil || Code(f.code) != CodeNotOwner || f.epoch != 42 || string(f.body) != "not mine" {
		t.Errorf("error: %+v, %v", f, err)
	}
	if err := decodeFrame(all["hello"], &f); err != nil {
		t.Fatal(err)
	}
	h, err := decodeHello(f.body)
	if err != nil || h.addr != "10.0.0.1:7000" || h.ClusterName != "demo" || h.ClusterID != [16]byte{9, 8} {
		t.Errorf("hello: %+v, %v", h, err)
	}
}

// Every single flipped bit of a frame is noticed.
func TestEveryBitFlipIsNoticed(t *testing.T) {
	for name, b := range samples() {
		if name == "preamble" {
			continue
		}
		for i := range len(b) * 8 {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			var f frame
			if decodeFrame(bad, &f) == nil {
				t.Errorf("%s: bit %d flipped and not noticed", name, i)
			}
		}
	}
}

// The reader gives the same frames however the stream is cut, and views of retained chunks stay as they were.
func TestReaderCutsAnyStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want [][]byte
		for range rapid.IntRange(1, 30).Draw(t, "frames") {
			n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(chunkSize-100, chunkSize+100), rapid.IntRange(0, 5*chunkSize)).Draw(t, "size")
			body := bytes.Repeat([]byte{byte(len(want)), byte(n)}, n/2)
			want = append(want, body)
			stream = appendResponse(stream, uint64(len(want)), 0, 0, body)
		}
		var src io.Reader = bytes.NewReader(stream)
		switch rapid.IntRange(0, 2).Draw(t, "cut") {
		case 1:
			src = iotest.HalfReader(src)
		case 2:
			src = iotest.DataErrReader(src)
		}
		fr := newFrameReader(src, 32<<20)
		var got [][]byte
		var kept []*chunk
		for {
			var f frame
			if err := fr.next(&f); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			fr.chunk.retain()
			kept = append(kept, fr.chunk)
			got = append(got, f.body)
		}
		if len(got) != len(want) {
			t.Fatalf("%d frames of %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d differs", i)
			}
			kept[i].release()
		}
		fr.close()
		if held := fr.held.Load(); held != 0 {
			t.Fatalf("%d bytes still held", held)
		}
	})
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"a length less than a header", []byte{5, 0, 0, 0, 1}, errFrame},
		{"a length over the limit", []byte{0, 0, 0, 0xff}, ErrTooLarge},
		{"a frame cut short", samples()["request"][:26], io.ErrUnexpectedEOF},
		{"an unknown kind", endFrame(beginFrame(nil, 99, 0, 0, 0), 0), errFrame},
		{"an unknown flag", endFrame(append(beginFrame(nil, kindRequest, 1, 2, 0), 0, 0, 0, 0), 0), errFrame},
		{"a request without its timeout", endFrame(beginFrame(nil, kindRequest, 1, 0, 0), 0), errFrame},
		{"a response without its epoch", endFrame(beginFrame(nil, kindResponse, 1, 0, 0), 0), errFrame},
	} {
		var f frame
		if err := newFrameReader(bytes.NewReader(c.in), 1<<20).next(&f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A length alone allocates nothing: memory follows the bytes that came.
func TestLargeLengthAllocatesLittle(t *testing.T) {
	in := make([]byte, chunkSize+1)
	in[3] = 1
	fr := newFrameReader(bytes.NewReader(in), 32<<20)
	var f frame
	if err := fr.next(&f); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if held := fr.held.Load(); held > 4*chunkSize {
		t.Fatalf("a 16 MiB length of which %d bytes came holds %d bytes", len(in), held)
	}
}

func FuzzFrames(f *testing.F) {
	var all []byte
	for _, b := range samples() {
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Add([]byte{24, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := newFrameReader(bytes.NewReader(b), 1<<20)
		defer fr.close()
		for {
			var fm frame
			if err := fr.next(&fm); err != nil {
				return
			}
			checkDecoded(t, &fm)
		}
	})
}

// FuzzBodies gets past the checksum: the fuzzed bytes are what it covers.
func FuzzBodies(f *testing.F) {
	for name, b := range samples() {
		if name != "preamble" {
			f.Add(b[8:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := endFrame(append(make([]byte, 8), b...), 0)
		var fm frame
		if decodeFrame(raw, &fm) == nil {
			checkDecoded(t, &fm)
		}
	})
}

// checkDecoded holds that what was understood is written the same again.
func checkDecoded(t *testing.T, f *frame) {
	switch f.kind {
	case kindRequest:
		var again frame
		c := Call{Verb: Verb(f.code), Body: f.body, Trace: f.trace}
		if err := decodeFrame(appendRequest(nil, f.id, &c, f.left), &again); err != nil || again.left != f.left || again.id != f.id ||
			again.trace != f.trace || !bytes.Equal(again.body, f.body) {
			t.Fatalf("request %+v became %+v, %v", f, again, err)
		}
	case kindResponse:
		var again frame
		if err := decodeFrame(appendResponse(nil, f.id, Code(f.code), f.epoch, f.body), &again); err != nil || again.id != f.id ||
			again.epoch != f.epoch || !bytes.Equal(again.body, f.body) {
			t.Fatalf("response %+v became %+v, %v", f, again, err)
		}
	case kindHello:
		h, err := decodeHello(f.body)
		if err != nil {
			return
		}
		var again frame
		if err := decodeFrame(appendHello(nil, &h), &again); err != nil {
			t.Fatal(err)
		}
		if back, err := decodeHello(again.body); err != nil || back != h {
			t.Fatalf("hello %+v became %+v, %v", h, back, err)
		}
	}
}
