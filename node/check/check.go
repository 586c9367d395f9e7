// Package check is the proof's other half: sessions that write and read CQL while things fail, the history of what they were told, and the judgement
// whether it can be true. One suite runs in simulation (node/sim: virtual time, one process) and on real processes (node/e2e). It knows no node: it
// may import coordinator/consistency and query/wire, for levels and error codes. Start reading at Suite.
package check

import (
	"context"
	"errors"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// Client runs CQL through one node: in simulation the node's query engine in process, on real processes a connection. Safe for concurrent use.
type Client interface {
	// Run runs a statement, or one page of it. It returns within the context's time, and when its node dies, with Outcome Unknown. It doesn't retry.
	Run(ctx context.Context, s *Statement) Result
}

// Statement is one request.
type Statement struct {
	CQL       string
	Level     consistency.Level
	PageSize  int    // rows; 0: not paged
	PageState []byte // from the result of the page before, which may have come through another node
	Timestamp int64  // µs; 0: the coordinator's
}

// Result of a statement.
type Result struct {
	Rows      []string // values as cqlsh prints them, joined by |
	PageState []byte   // nil: this was the last page
	Outcome   Outcome
	Err       error // nil exactly if Done
}

// Outcome is what a session may conclude from an answer.
type Outcome uint8

const (
	// Done: the statement took effect, at its level.
	Done Outcome = iota
	// Refused: it surely has no effect, now or later.
	Refused
	// Unknown: it may have taken effect, or take effect any time later, or never.
	Unknown
)

func (o Outcome) String() string { return [...]string{"done", "refused", "unknown"}[o] }

// OutcomeOf says what an error means: Refused for codes that promise that nothing happened, otherwise Unknown. What isn't a *wire.Error came from the
// connection: the request may have been sent.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Done
	}
	var e *wire.Error
	if !errors.As(err, &e) {
		return Unknown
	}
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeOverloaded, wire.CodeBootstrapping, wire.CodeSyntax, wire.CodeUnauthorized, wire.CodeInvalid, wire.CodeConfig,
		wire.CodeAlreadyExists, wire.CodeUnprepared, wire.CodeCredentials, wire.CodeProtocol:
		return Refused
	}
	return Unknown
}

// Failed is the result of a statement that ended in an error.
func Failed(err error) Result { return Result{Outcome: OutcomeOf(err), Err: err} }
