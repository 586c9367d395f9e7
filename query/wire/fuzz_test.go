package wire

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzRequest: no body makes a request decoder panic, and what decodes encodes and decodes again.
func FuzzRequest(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(m.append(nil, V4), byte(4))
		f.Add(m.append(nil, V5), byte(5))
	}
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		v := V4
		if version == 5 {
			v = V5
		}
		var q, q2 Query
		if q.Decode(body, v) == nil {
			if err := q2.Decode(q.AppendBody(nil, v), v); err != nil || q2.CQL != q.CQL || len(q2.Values) != len(q.Values) {
				t.Fatalf("QUERY %+v: again: %+v, %v", q, q2, err)
			}
		}
		var e, e2 Execute
		if e.Decode(body, v) == nil {
			if err := e2.Decode(e.AppendBody(nil, v), v); err != nil || !bytes.Equal(e2.ID, e.ID) {
				t.Fatalf("EXECUTE %+v: again: %+v, %v", e, e2, err)
			}
		}
		var b, b2 Batch
		if b.Decode(body, v) == nil {
			if err := b2.Decode(b.AppendBody(nil, v), v); err != nil || len(b2.Statements) != len(b.Statements) {
				t.Fatalf("BATCH %+v: again: %+v, %v", b, b2, err)
			}
		}
		_ = new(Prepare).Decode(body, v)
		_ = new(Startup).Decode(body)
		_ = new(Register).Decode(body)
		_ = new(AuthResponse).Decode(body)
	})
}

// FuzzResponse: no body makes a response decoder panic, or give more rows than its bytes can hold.
func FuzzResponse(f *testing.F) {
	for _, m := range sampleMessages() {
		for _, op := range []Opcode{OpResult, OpError, OpSupported, OpEvent} {
			f.Add(m.append(nil, V4), byte(4), byte(0), byte(op))
			f.Add(m.append(nil, V5), byte(5), byte(0), byte(op))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, version, flags, op byte) {
		r := Response{Header: Header{Version: Version(version), Flags: Flags(flags), Op: Opcode(op)}, Body: body}
		if res, err := r.Result(sampleColumns); err == nil {
			rows := 0
			for res.Next() {
				rows++
			}
			if rows*4 > len(body) || (res.Err() == nil && rows != res.RowCount) {
				t.Fatalf("%d rows of %d in %d bytes", rows, res.RowCount, len(body))
			}
		}
		_, _ = r.Supported()
		_, _ = DecodeEvent(body)
		_, _ = DecodeError(body, Version(version))
	})
}

// FuzzFrames: no stream of bytes makes the frame reader panic, loop, or give a body over the limit.
func FuzzFrames(f *testing.F) {
	for i, m := range modes {
		f.Add(m.encode([][]byte{{1}, bytes.Repeat([]byte("ab"), 400), {}}), byte(i))
	}
	for i, m := range modes {
		if m.segmented {
			f.Add(inPieces(modes[0].encode([][]byte{bytes.Repeat([]byte("abc"), 100)}), m.compression), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, which byte) {
		const limit = 512
		r := modes[int(which)%len(modes)].reader(bytes.NewReader(stream), limit)
		for range len(stream) + 1 {
			_, body, err := r.Next()
			if len(body) > limit {
				t.Fatalf("a body of %d bytes", len(body))
			}
			if err != nil && !isTooLarge(err) {
				return
			}
		}
		t.Fatal("more frames than bytes")
	})
}

// inPieces puts a frame on the wire as one is that is too large for a segment, but in small ones: the engine that mutates them takes its time for each byte.
func inPieces(frame []byte, c Compression) (stream []byte) {
	for part := range slices.Chunk(frame, 100) {
		stream, _ = appendSegment(stream, part, false, c, nil)
	}
	return stream
}
