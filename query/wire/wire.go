// Package wire is the CQL binary protocol, both directions: frames, primitive values, messages, errors; and the lean pipelined client that shell,
// load and bench use. It may import query/types and node/metrics. Start reading at Frame.
package wire

import "fmt"

// ErrorCode as in the CQL binary protocol, section 9.
type ErrorCode int32

const (
	CodeServer          ErrorCode = 0x0000
	CodeProtocol        ErrorCode = 0x000A
	CodeCredentials     ErrorCode = 0x0100
	CodeUnavailable     ErrorCode = 0x1000
	CodeOverloaded      ErrorCode = 0x1001
	CodeBootstrapping   ErrorCode = 0x1002
	CodeTruncate        ErrorCode = 0x1003
	CodeWriteTimeout    ErrorCode = 0x1100
	CodeReadTimeout     ErrorCode = 0x1200
	CodeReadFailure     ErrorCode = 0x1300
	CodeFunctionFailure ErrorCode = 0x1400
	CodeWriteFailure    ErrorCode = 0x1500
	CodeSyntax          ErrorCode = 0x2000
	CodeUnauthorized    ErrorCode = 0x2100
	CodeInvalid         ErrorCode = 0x2200
	CodeConfig          ErrorCode = 0x2300
	CodeAlreadyExists   ErrorCode = 0x2400
	CodeUnprepared      ErrorCode = 0x2500
)

// Error is a CQL error with its code and the fields that the code carries.
type Error struct {
	Code    ErrorCode
	Message string

	Consistency        uint16 // Unavailable, timeouts, failures
	Required, Alive    int32  // Unavailable
	Received, BlockFor int32  // timeouts, failures
	Failures           int32
	DataPresent        bool
	WriteType          string
	Keyspace, Table    string   // AlreadyExists
	ID                 [16]byte // Unprepared
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an error of a code.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
