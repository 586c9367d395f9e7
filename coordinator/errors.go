package coordinator

import (
	"errors"
	"fmt"
	"strings"

	"nodedb/coordinator/consistency"
	"nodedb/node/rpc"
)

// ErrNoKeyspace says that a request's keyspace is gone.
var ErrNoKeyspace = errors.New("keyspace does not exist")

// Unavailable: too few live replicas; nothing was written.
type Unavailable struct {
	Level           consistency.Level
	Required, Alive int
	BatchLog        bool // no other node is up that could keep the batch
}

func (e *Unavailable) Error() string {
	if e.BatchLog {
		return "Cannot keep the batch: no other node is up to hold its batch log. Start the nodes that are down (nodedb status names them), or send an UNLOGGED batch"
	}
	text := fmt.Sprintf("Cannot achieve consistency level %s: %d replicas are required, %d are alive", e.Level, e.Required, e.Alive)
	if e.Required > 1 {
		return text + ". Start the nodes that are down (nodedb status names them), or ask at a lower level; a keyspace with more replicas than there are nodes " +
			"needs fewer of them"
	}
	return text + ". Start the nodes that are down (nodedb status names them)"
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
	text := fmt.Sprintf("Operation timed out: %d of %d replicas answered at %s", e.Received, e.BlockFor, e.Level)
	if e.Write {
		return text + ". The write may be done or not: repeat it with the same timestamp, or read what is there"
	}
	return text + ". Nothing was changed: ask again, for less at a time (a page size, a LIMIT) if that is slow too"
}

// Failure: too many replicas failed.
type Failure struct {
	Write                      bool
	Kind                       WriteKind
	Level                      consistency.Level
	Received, BlockFor, Failed int
	DataPresent                bool
	Reason                     string   // the first failure's text
	Nodes                      []string // addresses of all replicas that failed: Failed counts those the level waits for
}

func (e *Failure) Error() string {
	where := ""
	if len(e.Nodes) > 0 {
		where = " (" + strings.Join(e.Nodes, ", ") + ", whose logs say more)"
	}
	return fmt.Sprintf("Operation failed: %d replicas failed%s, %d of %d answered at %s: %s", e.Failed, where, e.Received, e.BlockFor, e.Level, e.Reason)
}

// Overloaded: shed before anything was done.
type Overloaded struct{ What string }

func (e *Overloaded) Error() string { return "Overloaded: " + e.What }

// ClockSkew: this node's clock differs too much from the others' to stamp writes; nothing was written.
type ClockSkew struct{ Why error }

func (e *ClockSkew) Error() string {
	return fmt.Sprintf("Nothing was written: %v. Set its clock by NTP; until then write through another node", e.Why)
}

func (e *ClockSkew) Unwrap() error { return e.Why }

// moved reports whether a replica refused because the ring (or schema) went on, and the epoch to catch up with.
func moved(err error) (epoch uint64, ok bool) {
	var re *rpc.RemoteError
	if errors.As(err, &re) && re.Code == rpc.CodeNotOwner {
		return re.Epoch, true
	}
	return 0, false
}

// isTimeout reports whether a replica's outcome is unknown rather than refused.
func isTimeout(err error) bool {
	var re *rpc.RemoteError
	if errors.As(err, &re) {
		return re.Code == rpc.CodeExpired
	}
	return errors.Is(err, rpc.ErrTimeout) || errors.Is(err, rpc.ErrUnreachable) || errors.Is(err, rpc.ErrClosed)
}

// wantsHint reports whether a replica that failed so should get the mutation later.
func wantsHint(err error) bool {
	var re *rpc.RemoteError
	if errors.As(err, &re) {
		switch re.Code {
		case rpc.CodeDropped, rpc.CodeInvalid, rpc.CodeNotOwner:
			return false
		}
	}
	return true
}

// isClockRefusal reports whether a replica found the coordinator's clock too far ahead of its own.
func isClockRefusal(err error) bool {
	var re *rpc.RemoteError
	return errors.As(err, &re) && re.Code == rpc.CodeClock
}

// isOverload reports whether a replica shed a request unexecuted.
func isOverload(err error) bool {
	var re *rpc.RemoteError
	return errors.As(err, &re) && re.Code == rpc.CodeOverloaded
}
