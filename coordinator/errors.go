package coordinator

import (
	"errors"
	"fmt"

	"nodedb/coordinator/consistency"
	"nodedb/node/rpc"
)

// ErrNoKeyspace says that a request's keyspace is gone.
var ErrNoKeyspace = errors.New("keyspace does not exist")

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

// isOverload reports whether a replica shed a request unexecuted.
func isOverload(err error) bool {
	var re *rpc.RemoteError
	return errors.As(err, &re) && re.Code == rpc.CodeOverloaded
}
