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
	CodeCDCWriteFailure ErrorCode = 0x1600 // v5
	CodeCASUnknown      ErrorCode = 0x1700 // v5: a conditional write timed out and may have been applied
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
	Reasons            []FailureReason // v5: one for each failure
	Contentions        uint16          // v5: WriteTimeout of a CAS
	DataPresent        bool
	WriteType          string
	Keyspace, Table    string   // AlreadyExists; FunctionFailure: the keyspace
	Function           string   // FunctionFailure
	ArgTypes           []string // FunctionFailure: CQL types
	ID                 [16]byte // Unprepared
}

// Error is the message alone: who prints it decides whether to show the code's name (Code.String).
func (e *Error) Error() string { return e.Message }

// Errorf makes an error of a code.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

var codeNames = map[ErrorCode]string{
	CodeServer: "server error", CodeProtocol: "protocol error", CodeCredentials: "bad credentials", CodeUnavailable: "unavailable",
	CodeOverloaded: "overloaded", CodeBootstrapping: "bootstrapping", CodeTruncate: "truncate error", CodeWriteTimeout: "write timeout",
	CodeReadTimeout: "read timeout", CodeReadFailure: "read failure", CodeFunctionFailure: "function failure",
	CodeWriteFailure: "write failure", CodeCDCWriteFailure: "CDC write failure", CodeCASUnknown: "conditional write of unknown outcome",
	CodeSyntax: "syntax error", CodeUnauthorized: "unauthorized", CodeInvalid: "invalid request", CodeConfig: "configuration error",
	CodeAlreadyExists: "already exists", CodeUnprepared: "unprepared",
}

// String is the code's name for people.
func (c ErrorCode) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("error 0x%04X", int32(c))
}
