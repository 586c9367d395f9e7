// Package coordinator is the request path: it finds replicas, sends in parallel, counts answers against the consistency level, merges and
// repairs reads, and leaves hints. Subpackage replica is the other side of its verbs. It may import everything of rank 0 to 2 and speaks to gossip, hints
// and storage through interfaces of its own. Start reading at Coordinator.
package coordinator

import (
	"context"
	"fmt"

	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/schema"
)

// Write is a mutation and the table it goes to.
type Write struct {
	Table    *schema.Table
	Mutation row.Mutation
}

// WriteKind is what WriteTimeout errors name.
type WriteKind string

const (
	WriteSimple        WriteKind = "SIMPLE"
	WriteBatch         WriteKind = "BATCH"
	WriteUnloggedBatch WriteKind = "UNLOGGED_BATCH"
)

// WriteRequest is one statement's (or unlogged batch's) mutations. Several for one partition of one table are best merged into one.
type WriteRequest struct {
	Level  consistency.Level
	Kind   WriteKind
	Writes []Write
	Trace  [16]byte
}

// ReadRequest reads one partition (Spec.Key set) or a token range (Key nil; it may span many owners: the coordinator goes through them in token order until
// the page is full).
type ReadRequest struct {
	Level consistency.Level
	Table *schema.Table
	Spec  storage.ReadSpec
	Trace [16]byte
}

// Unavailable: too few live replicas; nothing was written.
type Unavailable struct {
	Level           consistency.Level
	Required, Alive int
}

func (e *Unavailable) Error() string {
	return fmt.Sprintf("Cannot achieve consistency level %s: %d replicas are required, %d are alive", e.Level, e.Required, e.Alive)
}

// Timeout: the level was not met in time.
type Timeout struct {
	Write              bool
	Kind               WriteKind
	Level              consistency.Level
	Received, BlockFor int
	DataPresent        bool
}

func (e *Timeout) Error() string {
	return fmt.Sprintf("Operation timed out: %d of %d replicas answered at %s", e.Received, e.BlockFor, e.Level)
}

// Failure: too many replicas failed.
type Failure struct {
	Write                      bool
	Kind                       WriteKind
	Level                      consistency.Level
	Received, BlockFor, Failed int
	DataPresent                bool
	Reason                     string // the first failure's text
}

func (e *Failure) Error() string {
	return fmt.Sprintf("Operation failed: %d replicas failed, %d of %d answered at %s: %s", e.Failed, e.Received, e.BlockFor, e.Level, e.Reason)
}

// Overloaded: shed before anything was done.
type Overloaded struct{ What string }

func (e *Overloaded) Error() string { return "Overloaded: " + e.What }

// Coordinator runs requests. Its methods call done exactly once, from any goroutine; done must not block.
type Coordinator struct{}

// Write applies the request's mutations at its level. ctx's deadline bounds it (write_request_timeout otherwise).
func (c *Coordinator) Write(ctx context.Context, r *WriteRequest, done func(error)) {
	panic("contract")
}

// Read gives one page; it may be short, or empty with a stop. The page's bytes are the callee's to keep.
func (c *Coordinator) Read(ctx context.Context, r *ReadRequest, done func(page []byte, err error)) {
	panic("contract")
}
