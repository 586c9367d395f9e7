package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of this package beside *Error, which is what a server answered. Decoders wrap ErrMalformed.
var (
	// ErrMalformed says that bytes are not a well-formed frame, segment or message.
	ErrMalformed = errors.New("malformed CQL frame")
	// ErrTooLarge says that a frame is larger than the limit in force.
	ErrTooLarge = errors.New("CQL frame too large")
	// ErrVersion says that a frame is of a protocol version that is not spoken here.
	ErrVersion = errors.New("invalid or unsupported protocol version")
	// ErrClosed says that the connection is closed.
	ErrClosed = errors.New("connection closed")
	// ErrBusy says that no request can be taken now: all streams are in use, or too many bytes wait to be sent.
	ErrBusy = errors.New("too many requests in flight on this connection")
	// ErrTimeout says that the server didn't answer in time.
	ErrTimeout = errors.New("no answer in time")
)

// Version is a version of the binary protocol.
type Version uint8

// The versions spoken here.
const (
	V4 Version = 4
	V5 Version = 5

	MinVersion = V4
	MaxVersion = V5
)

// Limits on sizes, in bytes.
const (
	HeaderBytes            = 9
	MaxFrameBytes          = 256 << 20 // a frame's body, as in Cassandra
	DefaultMaxRequestBytes = 16 << 20  // what a server takes unless told otherwise
	maxItems               = 1<<16 - 1 // of what a [short] counts
)

// Opcode says what message a frame carries. Only append to this list: it is the protocol's.
type Opcode uint8

// The opcodes of the protocol, section 2.4.
const (
	OpError         Opcode = 0x00
	OpStartup       Opcode = 0x01
	OpReady         Opcode = 0x02
	OpAuthenticate  Opcode = 0x03
	OpOptions       Opcode = 0x05
	OpSupported     Opcode = 0x06
	OpQuery         Opcode = 0x07
	OpResult        Opcode = 0x08
	OpPrepare       Opcode = 0x09
	OpExecute       Opcode = 0x0A
	OpRegister      Opcode = 0x0B
	OpEvent         Opcode = 0x0C
	OpBatch         Opcode = 0x0D
	OpAuthChallenge Opcode = 0x0E
	OpAuthResponse  Opcode = 0x0F
	OpAuthSuccess   Opcode = 0x10
)

var opcodeNames = [...]string{
	OpError: "ERROR", OpStartup: "STARTUP", OpReady: "READY", OpAuthenticate: "AUTHENTICATE", OpOptions: "OPTIONS",
	OpSupported: "SUPPORTED", OpQuery: "QUERY", OpResult: "RESULT", OpPrepare: "PREPARE", OpExecute: "EXECUTE",
	OpRegister: "REGISTER", OpEvent: "EVENT", OpBatch: "BATCH", OpAuthChallenge: "AUTH_CHALLENGE",
	OpAuthResponse: "AUTH_RESPONSE", OpAuthSuccess: "AUTH_SUCCESS",
}

// String is the opcode's name in the protocol's text.
func (o Opcode) String() string {
	if int(o) < len(opcodeNames) && opcodeNames[o] != "" {
		return opcodeNames[o]
	}
	return fmt.Sprintf("opcode 0x%02X", uint8(o))
}

// Flags of a frame, section 2.2.
type Flags uint8

// The flags of a frame.
const (
	FlagCompressed    Flags = 0x01 // v4 only: the body is compressed
	FlagTracing       Flags = 0x02 // request: trace it; response: the body begins with a trace id
	FlagCustomPayload Flags = 0x04
	FlagWarning       Flags = 0x08 // response only
	FlagUseBeta       Flags = 0x10 // accepted and ignored
)

// EventStream is the stream id of events, which answer no request.
const EventStream int16 = -1

// Header is the start of every frame:
//
//	0         1        2        4        5                 9
//	+---------+--------+--------+--------+-----------------+------
//	| version | flags  | stream | opcode | length of body  | body
//	+---------+--------+--------+--------+-----------------+------
//
// The version's top bit is set in responses. All integers are big-endian.
type Header struct {
	Version  Version
	Response bool
	Flags    Flags
	Stream   int16
	Op       Opcode
	Length   int // of the body, in bytes
}

// Append appends the header's 9 bytes.
func (h Header) Append(dst []byte) []byte {
	v := byte(h.Version)
	if h.Response {
		v |= 0x80
	}
	dst = append(dst, v, byte(h.Flags), byte(uint16(h.Stream)>>8), byte(h.Stream), byte(h.Op))
	return binary.BigEndian.AppendUint32(dst, uint32(h.Length))
}

// DecodeHeader reads a header from the first 9 bytes of b. It checks neither version nor length against limits: the caller knows them.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("%w: a header takes %d bytes, got %d", ErrMalformed, HeaderBytes, len(b))
	}
	h := Header{
		Version:  Version(b[0] & 0x7F),
		Response: b[0]&0x80 != 0,
		Flags:    Flags(b[1]),
		Stream:   int16(binary.BigEndian.Uint16(b[2:])),
		Op:       Opcode(b[4]),
	}
	n := binary.BigEndian.Uint32(b[5:])
	if n > 1<<31-1 {
		return h, fmt.Errorf("%w: negative body length %d", ErrMalformed, int32(n))
	}
	h.Length = int(n)
	return h, nil
}

// BeginFrame appends a header whose length EndFrame sets once the body is there.
func BeginFrame(dst []byte, h Header) []byte { return h.Append(dst) }

// EndFrame sets the length of the frame that begins at dst[start] and ends with dst.
func EndFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+5:], uint32(len(dst)-start-HeaderBytes))
	return dst
}
