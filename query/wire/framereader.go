package wire

import (
	"errors"
	"fmt"
	"io"
)

// Sizes of the reader's buffer, in bytes. It starts small, since most connections idle, and grows with what arrives.
const (
	minSlabBytes = 4 << 10
	maxSlabBytes = 64 << 10
)

// FrameReader reads frames from a connection. Bodies alias its buffer and may be kept: the buffer is never written twice, it is replaced when it
// is used up (a kept body keeps at most 64 KiB, or its own size, alive). Not safe for concurrent use.
//
// A length field alone allocates nothing: the buffer grows as the bytes arrive.
type FrameReader struct {
	src         io.Reader
	limit       int // of a body, in bytes
	compression Compression
	segmented   bool

	buf  []byte
	r, w int // buf[r:w] is what has been read and not been given out
	slab int

	payload []byte // segmented: whole frames not given out yet
	large   []byte // segmented: the parts that have come of a frame that is larger than a segment
	skip    int    // segmented: bytes still to come of a frame over the limit
}

// NewFrameReader reads from src frames with bodies of at most limit bytes.
func NewFrameReader(src io.Reader, limit int) *FrameReader {
	return &FrameReader{src: src, limit: min(limit, MaxFrameBytes), slab: minSlabBytes}
}

// Compress says that STARTUP agreed on a compression.
func (f *FrameReader) Compress(c Compression) { f.compression = c }

// Segmented says that from here on frames come in v5 segments.
func (f *FrameReader) Segmented() { f.segmented = true }

// Next gives the next frame, its body uncompressed. A clean end is io.EOF. The header is given with these errors too: ErrVersion (nothing after
// the header has been read), and ErrTooLarge (the body has been skipped: one can go on). After any other error one can't.
func (f *FrameReader) Next() (Header, []byte, error) {
	var h Header
	var body []byte
	var err error
	if f.segmented {
		h, body, err = f.nextSegmented()
	} else {
		h, body, err = f.nextPlain()
	}
	if err != nil || h.Flags&FlagCompressed == 0 || f.segmented {
		return h, body, err
	}
	body, err = decompressBody(body, f.compression, f.limit)
	h.Flags &^= FlagCompressed
	h.Length = len(body)
	return h, body, err
}

// Buffered reports whether a frame or a part of one has been read already: whether Next may give a frame without waiting for the network.
func (f *FrameReader) Buffered() bool {
	if len(f.payload) > 0 {
		return true
	}
	b := f.buf[f.r:f.w]
	if !f.segmented {
		return len(b) >= HeaderBytes && len(b) >= frameBytes(b)
	}
	n := segmentHeaderBytes(f.compression)
	if len(b) < n {
		return false
	}
	h, err := decodeSegmentHeader(b, f.compression)
	return err == nil && h.selfContained && len(b) >= n+h.size+crcPayloadBytes
}

func (f *FrameReader) nextPlain() (Header, []byte, error) {
	if err := f.fill(HeaderBytes); err != nil {
		return Header{}, nil, err
	}
	h, err := decodeKnownHeader(f.buf[f.r:])
	if err != nil {
		return h, nil, err
	}
	f.r += HeaderBytes
	if h.Length > f.limit {
		if err := f.discard(h.Length); err != nil {
			return h, nil, err
		}
		return h, nil, tooLarge(uint64(h.Length), f.limit)
	}
	if err := f.fill(h.Length); err != nil {
		return h, nil, unexpected(err)
	}
	return h, f.take(h.Length), nil
}

// decodeKnownHeader decodes the header of a version spoken here. Older versions have another header, so nothing after it can be read.
func decodeKnownHeader(b []byte) (Header, error) {
	h, err := DecodeHeader(b)
	if h.Version < MinVersion || h.Version > MaxVersion {
		return h, fmt.Errorf("%w (%d); supported versions are (4/v4, 5/v5)", ErrVersion, h.Version)
	}
	if err == nil && h.Length > MaxFrameBytes {
		err = fmt.Errorf("%w: a body of %d bytes", ErrMalformed, h.Length)
	}
	return h, err
}

func (f *FrameReader) nextSegmented() (Header, []byte, error) {
	for {
		if len(f.payload) > 0 {
			return f.nextInPayload()
		}
		h, done, err := f.readSegment()
		switch {
		case err != nil:
			f.large = nil
			return h, nil, err
		case done:
			body := f.large[HeaderBytes:]
			f.large = nil
			return h, body, nil
		}
	}
}

func (f *FrameReader) nextInPayload() (Header, []byte, error) {
	h, err := decodeKnownHeader(f.payload)
	if err != nil {
		return h, nil, err
	}
	end := HeaderBytes + h.Length
	if end > len(f.payload) {
		return h, nil, fmt.Errorf("%w: a frame of %d bytes in a segment that has %d left", ErrMalformed, end, len(f.payload))
	}
	body := f.payload[HeaderBytes:end:end]
	f.payload = f.payload[end:]
	if h.Length > f.limit {
		return h, nil, tooLarge(uint64(h.Length), f.limit)
	}
	return h, body, nil
}

// readSegment reads one segment. done says that it ended a large frame, which is in f.large.
func (f *FrameReader) readSegment() (h Header, done bool, err error) {
	headerBytes := segmentHeaderBytes(f.compression)
	if err := f.fill(headerBytes); err != nil {
		if len(f.large) > 0 || f.skip > 0 {
			err = unexpected(err)
		}
		return h, false, err
	}
	s, err := decodeSegmentHeader(f.buf[f.r:], f.compression)
	if err != nil {
		return h, false, err
	}
	f.r += headerBytes
	if err := f.fill(s.size + crcPayloadBytes); err != nil {
		return h, false, unexpected(err)
	}
	payload, err := decodeSegmentPayload(f.take(s.size+crcPayloadBytes), s)
	if err != nil {
		return h, false, err
	}
	if s.selfContained {
		if len(f.large) > 0 || f.skip > 0 {
			return h, false, fmt.Errorf("%w: a self-contained segment inside a large frame", ErrMalformed)
		}
		f.payload = payload
		return h, false, nil
	}
	return f.addPart(payload)
}

// addPart adds a part of a large frame.
func (f *FrameReader) addPart(part []byte) (h Header, done bool, err error) {
	if f.skip > 0 {
		f.skip -= min(len(part), f.skip)
		return h, false, nil
	}
	f.large = append(f.large, part...)
	if len(f.large) < HeaderBytes {
		return h, false, fmt.Errorf("%w: a large frame that begins with a segment of %d bytes", ErrMalformed, len(part))
	}
	if h, err = decodeKnownHeader(f.large); err != nil {
		return h, false, err
	}
	switch missing := HeaderBytes + h.Length - len(f.large); {
	case missing < 0:
		return h, false, fmt.Errorf("%w: %d bytes too many in the segments of a frame", ErrMalformed, -missing)
	case h.Length > f.limit:
		f.skip = missing
		return h, false, tooLarge(uint64(h.Length), f.limit)
	default:
		return h, missing == 0, nil
	}
}

func (f *FrameReader) take(n int) []byte {
	b := f.buf[f.r : f.r+n : f.r+n]
	f.r += n
	return b
}

// fill reads until n bytes are there to take.
func (f *FrameReader) fill(n int) error {
	for f.w-f.r < n {
		f.room(n)
		got, err := f.src.Read(f.buf[f.w:])
		f.w += got
		if err != nil && f.w-f.r < n {
			if errors.Is(err, io.EOF) && f.w > f.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// room makes room to read into. It never makes much more than has arrived, whatever n says.
func (f *FrameReader) room(n int) {
	have := f.w - f.r
	if f.w < len(f.buf) && (f.r == 0 || f.r+n <= len(f.buf)) {
		return
	}
	if f.slab < maxSlabBytes && len(f.buf) >= f.slab {
		f.slab *= 2 // a whole slab was used up: this connection is busy
	}
	next := make([]byte, max(f.slab, min(n, 2*have)))
	copy(next, f.buf[f.r:f.w])
	f.buf, f.r, f.w = next, 0, have
}

// discard skips n bytes.
func (f *FrameReader) discard(n int) error {
	here := min(n, f.w-f.r)
	f.r += here
	_, err := io.CopyN(io.Discard, f.src, int64(n-here))
	return unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
