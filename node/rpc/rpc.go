// Package rpc carries node-to-node verbs: length-prefixed frames with request ids over long-lived multiplexed TCP
// connections. Subpackage simnet is the same Transport over a faulty network in memory. It may import vnodes,
// node/metrics, node/fault. Start reading at Transport.
package rpc

import (
	"errors"
	"time"

	"nodedb/vnodes"
)

// Verb says what a request asks for. Only append to this list: it is on the wire.
type Verb uint8

const (
	// VerbPing answers with an empty body.
	VerbPing Verb = iota + 1
	// VerbHello tells who one is (also to nodes without a cluster yet): see gossip/metalog's founding.
	VerbHello
	// VerbFound carries founding votes.
	VerbFound
	// VerbMetaPrepare, VerbMetaAccept, VerbMetaLearn, VerbMetaPull are the metadata log's.
	VerbMetaPrepare
	VerbMetaAccept
	VerbMetaLearn
	VerbMetaPull
	// VerbMetaPropose asks a member to propose for the sender (a joining node).
	VerbMetaPropose
	// VerbWrite applies mutations on a replica.
	VerbWrite
	// VerbRead reads a page or its digest on a replica.
	VerbRead
	// VerbStream pulls a page of a token range, merged, for a range move.
	VerbStream
	// VerbStatus asks for load and hints of a node.
	VerbStatus
	// VerbApplied asks which metadata epoch a node has applied, its older requests ended.
	VerbApplied
	// VerbPaxosPrepare and what follows are for lightweight transactions.
	VerbPaxosPrepare
	VerbPaxosAccept
	VerbPaxosCommit
	// VerbTree and VerbRepair are anti-entropy's.
	VerbTree
	VerbRepair
	// VerbTrace tells of a traced request that the sender coordinated.
	VerbTrace
	// VerbRepairRun begins, follows and ends a repair that a person asked for, and asks for anti-entropy's records.
	VerbRepairRun
	// VerbBatchLog keeps a logged batch until VerbBatchDone says that it was written.
	VerbBatchLog
	VerbBatchDone
)

// Errors of a call. Remote failures come back as *RemoteError.
var (
	ErrTimeout     = errors.New("rpc: timed out")
	ErrUnreachable = errors.New("rpc: peer unreachable")
	ErrOverloaded  = errors.New("rpc: too many requests in flight to peer")
	ErrTooLarge    = errors.New("rpc: message larger than the limit")
	ErrWrongPeer   = errors.New("rpc: another host id, or another cluster, answers at this address")
	ErrClosed      = errors.New("rpc: closed")
)

// Code says why a remote handler failed. Only append to this list: it is on the wire.
type Code uint8

const (
	// CodeInternal is any other failure.
	CodeInternal Code = iota + 1
	// CodeOverloaded: shed before it ran.
	CodeOverloaded
	// CodeNotOwner: the replica doesn't own the token at its newer epoch.
	CodeNotOwner
	// CodeStale: the replica lacks the epoch named and could not get it in time.
	CodeStale
	// CodeDropped: the storage id is no more.
	CodeDropped
	// CodeDiskFull: writes are refused.
	CodeDiskFull
	// CodeInvalid: the request is malformed.
	CodeInvalid
	// CodeNotReady: no cluster yet, or shutting down.
	CodeNotReady
	// CodeNoHandler: the verb is unknown here.
	CodeNoHandler
	// CodeExpired: the deadline had passed; the request was not run.
	CodeExpired
	// CodeClock: a timestamp is out of bounds.
	CodeClock
)

// RemoteError is a handler's failure as the caller sees it.
type RemoteError struct {
	Code    Code
	Message string
	Epoch   uint64 // the replica's epoch, with CodeNotOwner and CodeStale
}

func (e *RemoteError) Error() string { return e.Message }

// Peer is where a request goes. With a zero ID whoever answers at the address will do (founding).
type Peer struct {
	ID   vnodes.HostID
	Addr string // host:port
}

// Inbound is one request at the receiver. Reply must be called exactly once, from any goroutine; Body is valid until then.
type Inbound struct {
	From     Peer // ID is zero for a peer without an identity yet
	Verb     Verb
	Body     []byte
	Deadline time.Time
	Trace    [16]byte // zero: not traced
	Reply    func(body []byte, err error)
}

// Handler runs a request. It is called on the connection's reader: it must not block; long work goes to a worker of its
// own. A *RemoteError passed to Reply travels as it is; any other error becomes CodeInternal.
type Handler func(in *Inbound)

// Call is one outgoing request.
type Call struct {
	To      Peer
	Verb    Verb
	Body    []byte // the transport copies it before Send returns
	Timeout time.Duration
	Trace   [16]byte
	// Done is called exactly once, from any goroutine, with the answer or the error. It must not block. body is valid
	// only during the call.
	Done func(body []byte, err error)
}

// Transport moves requests between nodes.
type Transport interface {
	// Send starts a call; it never blocks on the network.
	Send(c *Call)
	// Handle sets the handler of a verb; all verbs before Serve.
	Handle(v Verb, h Handler)
}

// Identity is what a connection's hello says of a node; it may change once, when a cluster is founded or joined.
type Identity struct {
	HostID      vnodes.HostID
	ClusterName string
	ClusterID   [16]byte // zero: none yet; then only VerbHello, VerbFound, VerbMetaPropose, VerbMetaPull and VerbPing pass
}
