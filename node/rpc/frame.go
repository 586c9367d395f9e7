package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A connection begins, in both directions, with a preamble and a hello frame; then the dialler sends requests and
// pings, and the acceptor responses and pongs. Either may send another hello when its identity changes. Integers are
// little-endian.
//
//	preamble   | 'N' 'D' 'B' 'R' | version u8 |
//
//	frame      0        4        8      9      10      11  12        20
//	           | length | crc32c | kind | code | flags | 0 | id u64  | rest …
//
//	length  u32: bytes of the whole frame, these four included
//	crc32c  u32: Castagnoli, over everything behind it
//	kind    what the frame is; code is a request's verb, or a response's Code (0: done)
//	id      of the request; 0 in hello, ping and pong
//
//	request    | timeout u32, ms left | trace 16 B, where flags has 1 | body |
//	response   | epoch u64 | body, or the error's text |
//	hello      | host id 16 B | cluster id 16 B | name length u8, name | address length u8, address |
const (
	protocolVersion = 1
	preambleSize    = 5
	headerSize      = 20
	requestSize     = headerSize + 4
	traceSize       = 16
	responseSize    = headerSize + 8
	maxHelloSize    = headerSize + 32 + 2 + 255 + 255
)

var magic = [4]byte{'N', 'D', 'B', 'R'}

// Kinds of frames. Only append to this list: it is on the wire.
const (
	kindHello byte = iota + 1
	kindRequest
	kindResponse
	kindPing
	kindPong
)

const flagTrace byte = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of a connection; it is closed. They reach callers wrapped in ErrUnreachable.
var (
	errMagic   = errors.New("not a nodedb node: wrong first bytes")
	errVersion = errors.New("another version of the protocol between nodes")
	errFrame   = errors.New("malformed frame")
	errCRC     = errors.New("frame damaged on the way: checksum differs")
	errSilent  = errors.New("nothing heard for too long")
	errIdle    = errors.New("connection not used for a while")
	errBacklog = errors.New("peer does not read its responses")
)

// frame is a decoded frame; body and what hello holds alias the read buffer.
type frame struct {
	kind  byte
	code  byte
	id    uint64
	left  time.Duration // request
	trace [16]byte      // request
	epoch uint64        // response
	body  []byte        // request, response
}

// helloFrame is what a peer says of itself.
type helloFrame struct {
	Identity
	addr string // where it listens
}

func appendPreamble(dst []byte) []byte {
	return append(append(dst, magic[:]...), protocolVersion)
}

// checkPreamble reads the first preambleSize bytes of a connection.
func checkPreamble(b []byte) error {
	if [4]byte(b[:4]) != magic {
		return errMagic
	}
	if b[4] != protocolVersion {
		return fmt.Errorf("%w: it speaks %d, this node %d; run the same nodedb on both", errVersion, b[4], protocolVersion)
	}
	return nil
}

// beginFrame appends a header whose length and checksum endFrame fills in.
func beginFrame(dst []byte, kind, code, flags byte, id uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, kind, code, flags, 0)
	return binary.LittleEndian.AppendUint64(dst, id)
}

// endFrame completes the frame that begins at start.
func endFrame(dst []byte, start int) []byte {
	f := dst[start:]
	binary.LittleEndian.PutUint32(f, uint32(len(f)))
	binary.LittleEndian.PutUint32(f[4:], crc32.Checksum(f[8:], castagnoli))
	return dst
}

func appendRequest(dst []byte, id uint64, c *Call, left time.Duration) []byte {
	start := len(dst)
	var flags byte
	if c.Trace != [16]byte{} {
		flags = flagTrace
	}
	dst = beginFrame(dst, kindRequest, byte(c.Verb), flags, id)
	dst = binary.LittleEndian.AppendUint32(dst, leftMillis(left))
	if flags&flagTrace != 0 {
		dst = append(dst, c.Trace[:]...)
	}
	return endFrame(append(dst, c.Body...), start)
}

// leftMillis rounds up, so that a request with time left never arrives as an expired one.
func leftMillis(left time.Duration) uint32 {
	if left <= 0 {
		return 0
	}
	ms := (left + time.Millisecond - 1) / time.Millisecond
	return uint32(min(ms, 1<<32-1))
}

func appendResponse(dst []byte, id uint64, code Code, epoch uint64, body []byte) []byte {
	start := len(dst)
	dst = beginFrame(dst, kindResponse, byte(code), 0, id)
	dst = binary.LittleEndian.AppendUint64(dst, epoch)
	return endFrame(append(dst, body...), start)
}

// appendBare appends a ping or a pong.
func appendBare(dst []byte, kind byte) []byte {
	return endFrame(beginFrame(dst, kind, 0, 0, 0), len(dst))
}

// appendHello appends what we are. Names over 255 bytes were refused by Listen and SetIdentity.
func appendHello(dst []byte, h *helloFrame) []byte {
	start := len(dst)
	dst = beginFrame(dst, kindHello, 0, 0, 0)
	dst = append(dst, h.HostID[:]...)
	dst = append(dst, h.ClusterID[:]...)
	dst = append(append(dst, byte(len(h.ClusterName))), h.ClusterName...)
	dst = append(append(dst, byte(len(h.addr))), h.addr...)
	return endFrame(dst, start)
}

// frameLength reads the length of the frame that b begins with; 0 says that b is too short to tell.
func frameLength(b []byte, limit int) (int, error) {
	if len(b) < 4 {
		return 0, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n < headerSize {
		return 0, fmt.Errorf("%w: length %d is less than a header", errFrame, n)
	}
	if int64(n) > int64(limit) {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, n, limit)
	}
	return int(n), nil
}

// decodeFrame reads one whole frame.
func decodeFrame(b []byte, f *frame) error {
	if len(b) < headerSize || int64(binary.LittleEndian.Uint32(b)) != int64(len(b)) {
		return fmt.Errorf("%w: length", errFrame)
	}
	if crc32.Checksum(b[8:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return errCRC
	}
	*f = frame{kind: b[8], code: b[9], id: binary.LittleEndian.Uint64(b[12:])}
	flags, rest := b[10], b[headerSize:]
	switch f.kind {
	case kindRequest:
		return f.decodeRequest(flags, rest)
	case kindResponse:
		if len(rest) < responseSize-headerSize {
			return fmt.Errorf("%w: response of %d bytes", errFrame, len(b))
		}
		f.epoch, f.body = binary.LittleEndian.Uint64(rest), rest[8:]
	case kindHello, kindPing, kindPong:
		f.body = rest
	default:
		return fmt.Errorf("%w: unknown kind %d", errFrame, f.kind)
	}
	return nil
}

func (f *frame) decodeRequest(flags byte, rest []byte) error {
	need := requestSize - headerSize
	if flags&^flagTrace != 0 {
		return fmt.Errorf("%w: unknown flags %#x", errFrame, flags)
	}
	if flags&flagTrace != 0 {
		need += traceSize
	}
	if len(rest) < need {
		return fmt.Errorf("%w: request of %d bytes", errFrame, headerSize+len(rest))
	}
	f.left = time.Duration(binary.LittleEndian.Uint32(rest)) * time.Millisecond
	if flags&flagTrace != 0 {
		f.trace = [16]byte(rest[4:])
	}
	f.body = rest[need:]
	return nil
}

// decodeHello reads a hello's body. What follows the fields is left for later versions.
func decodeHello(b []byte) (helloFrame, error) {
	var h helloFrame
	if len(b) < 32 {
		return h, fmt.Errorf("%w: hello of %d bytes", errFrame, len(b))
	}
	h.HostID, h.ClusterID = [16]byte(b), [16]byte(b[16:])
	var err error
	b = b[32:]
	if h.ClusterName, b, err = shortString(b); err != nil {
		return h, err
	}
	h.addr, _, err = shortString(b)
	return h, err
}

func shortString(b []byte) (string, []byte, error) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, fmt.Errorf("%w: hello cut short", errFrame)
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}
