package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// naiveCRC24 is the polynomial division bit by bit.
func naiveCRC24(b []byte) uint32 {
	crc := uint32(crc24Init)
	for _, c := range b {
		for bit := 7; bit >= 0; bit-- {
			top := crc >> 23 & 1
			crc = crc << 1 & 0xFFFFFF
			if top != uint32(c>>bit&1) {
				crc ^= crc24Poly & 0xFFFFFF
			}
		}
	}
	return crc
}

func TestChecksums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		if got, want := crc24(b), naiveCRC24(b); got != want {
			t.Fatalf("CRC24 %06x, want %06x", got, want)
		}
		whole := crc32.ChecksumIEEE(append([]byte{0xFA, 0x2D, 0x55, 0xCA}, b...))
		if got := payloadCRC(b); got != whole {
			t.Fatalf("CRC32 %08x, want %08x", got, whole)
		}
	})
}

// TestSegmentBytes holds the layout of a self-contained segment with one READY frame.
func TestSegmentBytes(t *testing.T) {
	frame := EndFrame(BeginFrame(nil, Header{Version: V5, Response: true, Op: OpReady}), 0)
	got, _ := appendSegment(nil, frame, true, NoCompression, nil)
	want := "090002" + hex.EncodeToString(appendUint24(nil, naiveCRC24([]byte{9, 0, 2}))) + hex.EncodeToString(frame) +
		hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(append([]byte{0xFA, 0x2D, 0x55, 0xCA}, frame...))))
	if hex.EncodeToString(got) != want {
		t.Fatalf("got %x, want %s", got, want)
	}
}

// mode is a way to put frames on the wire.
type mode struct {
	name        string
	compression Compression
	segmented   bool
}

var modes = []mode{
	{"plain", NoCompression, false}, {"lz4", LZ4, false}, {"snappy", Snappy, false}, {"segments", NoCompression, true}, {"lz4 segments", LZ4, true},
}

// encode puts a frame for each body on the wire.
func (m mode) encode(bodies [][]byte) []byte {
	var out, scratch []byte
	for i, body := range bodies {
		start := len(out)
		out = append(BeginFrame(out, Header{Version: V5, Stream: int16(i), Op: OpQuery}), body...)
		out = EndFrame(out, start)
		if !m.segmented {
			out, scratch = compressFrame(out, start, m.compression, scratch)
		}
	}
	if m.segmented {
		out, _ = appendSegments(nil, out, m.compression, nil)
	}
	return out
}

func (m mode) reader(src io.Reader, limit int) *FrameReader {
	r := NewFrameReader(src, limit)
	r.Compress(m.compression)
	if m.segmented {
		r.Segmented()
	}
	return r
}

func randomBody(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(4)) // compressible
	}
	return b
}

// TestFrameReader: frames of all sizes come out as they went in, whichever way and in whatever pieces they travel, and bodies that were
// given out stay as they are.
func TestFrameReader(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var bodies [][]byte
	for _, n := range []int{0, 1, 100, 511, 512, 4087, 5000, 65536, 131062, 131063, 131071, 131072, 300000, 0, 7, 1 << 20} {
		bodies = append(bodies, randomBody(r, n))
	}
	for range 500 {
		bodies = append(bodies, randomBody(r, r.IntN(400)))
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			stream := m.encode(bodies)
			for _, src := range []io.Reader{bytes.NewReader(stream), iotest.HalfReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
				f := m.reader(src, 1<<20)
				var got [][]byte
				for range bodies {
					h, body, err := f.Next()
					if err != nil {
						t.Fatal(len(got), err)
					}
					if h.Op != OpQuery || int(h.Stream) != len(got) || h.Length != len(body) && h.Flags&FlagCompressed != 0 {
						t.Fatalf("%+v", h)
					}
					got = append(got, body)
				}
				if _, _, err := f.Next(); err != io.EOF {
					t.Fatalf("at the end: %v", err)
				}
				for i := range bodies {
					if !bytes.Equal(got[i], bodies[i]) {
						t.Fatalf("body %d of %d bytes differs", i, len(bodies[i]))
					}
				}
			}
		})
	}
}

// TestTooLarge: a frame over the limit is told and skipped, and the next one is read.
func TestTooLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1001, 100_000, 400_000} {
		for _, m := range modes {
			stream := m.encode([][]byte{{1}, randomBody(r, n), {2}})
			f := m.reader(bytes.NewReader(stream), 1000)
			if _, body, err := f.Next(); err != nil || body[0] != 1 {
				t.Fatal(m.name, err)
			}
			if h, _, err := f.Next(); !errors.Is(err, ErrTooLarge) || h.Stream != 1 {
				t.Fatal(m.name, n, h, err)
			}
			if _, body, err := f.Next(); err != nil || body[0] != 2 {
				t.Fatal(m.name, n, err)
			}
		}
	}
}

// TestTornStream: a stream that ends or is damaged anywhere gives an error; with checksums, no byte is ever taken wrongly.
func TestTornStream(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	bodies := [][]byte{randomBody(r, 30), randomBody(r, 700)}
	for _, m := range modes {
		stream := m.encode(bodies)
		for n := range stream {
			f := m.reader(bytes.NewReader(stream[:n]), 1000)
			var err error
			for err == nil {
				_, _, err = f.Next()
			}
			if err == io.EOF && n > 0 && n != HeaderBytes+30 {
				t.Fatalf("%s cut at %d: %v", m.name, n, err)
			}
			if !m.segmented {
				continue
			}
			bad := bytes.Clone(stream)
			bad[n] ^= 1 << r.IntN(8)
			f = m.reader(bytes.NewReader(bad), 1000)
			for _, want := range bodies {
				_, body, err := f.Next()
				if err == nil && !bytes.Equal(body, want) {
					t.Fatalf("%s damaged at %d: got another body", m.name, n)
				}
			}
		}
	}
}

func TestUnknownVersion(t *testing.T) {
	for _, v := range []Version{0, 3, 6, 65, 66} {
		f := NewFrameReader(bytes.NewReader(Header{Version: v, Stream: 5, Op: OpOptions}.Append(nil)), 1000)
		if h, _, err := f.Next(); !errors.Is(err, ErrVersion) || h.Version != v || h.Stream != 5 {
			t.Errorf("version %d: %+v %v", v, h, err)
		}
	}
}

// TestBombs: what claims to be huge, in a few bytes, costs a few bytes.
func TestBombs(t *testing.T) {
	lz4Bomb := append(AppendInt(nil, 250<<20), bytes.Repeat([]byte{0xFF}, 1000)...)
	snappyBomb := append(binary.AppendUvarint(nil, 250<<20), bytes.Repeat([]byte{0xFE}, 1000)...)
	for _, tc := range []struct {
		m mode
		b []byte
	}{{modes[1], frameOf(lz4Bomb, FlagCompressed)}, {modes[2], frameOf(snappyBomb, FlagCompressed)}, {modes[0], frameOf(nil, 0)},
		{modes[0], Header{Version: V4, Op: OpQuery, Length: MaxFrameBytes}.Append(nil)}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f := tc.m.reader(bytes.NewReader(tc.b), MaxFrameBytes)
		_, _, err := f.Next()
		runtime.ReadMemStats(&after)
		if len(tc.b) > HeaderBytes && err == nil {
			t.Errorf("%s: a bomb was taken", tc.m.name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", tc.m.name, n)
		}
	}
}

func frameOf(body []byte, f Flags) []byte {
	return append(Header{Version: V4, Flags: f, Op: OpQuery, Length: len(body)}.Append(nil), body...)
}

func TestBuffered(t *testing.T) {
	for _, m := range modes {
		stream := m.encode([][]byte{{1}, {2}})
		f := m.reader(bytes.NewReader(stream), 1000)
		if f.Buffered() {
			t.Errorf("%s: buffered before anything was read", m.name)
		}
		_, _, err := f.Next()
		if err != nil || !f.Buffered() {
			t.Errorf("%s: the second frame isn't buffered (%v)", m.name, err)
		}
		if _, _, err := f.Next(); err != nil || f.Buffered() {
			t.Errorf("%s: still buffered (%v)", m.name, err)
		}
	}
}

func isTooLarge(err error) bool { return errors.Is(err, ErrTooLarge) }
