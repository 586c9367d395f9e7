package exec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"nodedb/coordinator"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/query/wire"
)

// wireError gives an error its CQL code. This is the one place where codes are chosen for what lower packages answer.
func wireError(err error) error {
	var (
		we          *wire.Error
		unavailable *coordinator.Unavailable
		timeout     *coordinator.Timeout
		failure     *coordinator.Failure
		overloaded  *coordinator.Overloaded
		skew        *coordinator.ClockSkew
	)
	switch {
	case errors.As(err, &we):
		return we
	case errors.As(err, &unavailable):
		e := wire.Errorf(wire.CodeUnavailable, "%v", err)
		e.Consistency, e.Required, e.Alive = uint16(unavailable.Level), int32(unavailable.Required), int32(unavailable.Alive)
		return e
	case errors.As(err, &timeout):
		return timeoutError(timeout, err)
	case errors.As(err, &failure):
		return failureError(failure, err)
	case errors.As(err, &overloaded), errors.As(err, &skew): // drivers go on to another node
		return wire.Errorf(wire.CodeOverloaded, "%v", err)
	case errors.Is(err, coordinator.ErrNoKeyspace), errors.Is(err, storage.ErrDropped):
		return wire.Errorf(wire.CodeInvalid, "%v", err)
	case errors.Is(err, storage.ErrTooLarge), errors.Is(err, row.ErrTooLarge):
		return wire.Errorf(wire.CodeInvalid, "%v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.Errorf(wire.CodeServer, "The request ended before its answer: %v", err)
	}
	return schemaError(err)
}

// InStatement says which statement of a batch an error is about; i counts from 0. Codes and their fields stay.
func InStatement(i, statements int, err error) error {
	var we *wire.Error
	if statements < 2 || !errors.As(err, &we) {
		return err
	}
	e := *we
	e.Message += fmt.Sprintf(", in statement %d of the batch", i+1)
	return &e
}

func timeoutError(t *coordinator.Timeout, err error) error {
	code := wire.CodeReadTimeout
	if t.Write {
		code = wire.CodeWriteTimeout
	}
	e := wire.Errorf(code, "%v", err)
	e.Consistency, e.Received, e.BlockFor = uint16(t.Level), int32(t.Received), int32(t.BlockFor)
	e.WriteType, e.DataPresent = string(t.Kind), t.DataPresent
	return e
}

func failureError(f *coordinator.Failure, err error) error {
	code := wire.CodeReadFailure
	if f.Write {
		code = wire.CodeWriteFailure
	}
	e := wire.Errorf(code, "%v", err)
	e.Consistency, e.Received, e.BlockFor, e.Failures = uint16(f.Level), int32(f.Received), int32(f.BlockFor), int32(f.Failed)
	e.WriteType, e.DataPresent = string(f.Kind), f.DataPresent
	for _, n := range f.Nodes {
		if a, err := netip.ParseAddr(n); err == nil {
			e.Reasons = append(e.Reasons, wire.FailureReason{Address: a, Code: reasonUnknown})
		}
	}
	return e
}

// reasonUnknown is the failure code of section 9 that fits what replicas fail of here: none of the others (indexes, …) exists.
const reasonUnknown = 0x0000

// schemaError maps what schema.Apply and the metadata log answer.
func schemaError(err error) error {
	var se *schema.Error
	if errors.As(err, &se) && se.Kind == schema.ErrExists && se.Keyspace != "" {
		e := wire.Errorf(wire.CodeAlreadyExists, "%s", se.Msg)
		e.Keyspace, e.Table = se.Keyspace, se.Table
		return e
	}
	text := err.Error()
	if se != nil {
		text = se.Msg
	}
	switch {
	case errors.Is(err, schema.ErrSyntax):
		return wire.Errorf(wire.CodeSyntax, "%s", text)
	case errors.Is(err, schema.ErrConfig):
		return wire.Errorf(wire.CodeConfig, "%s", text)
	case errors.Is(err, schema.ErrInvalid), errors.Is(err, schema.ErrNotFound), errors.Is(err, schema.ErrExists):
		return wire.Errorf(wire.CodeInvalid, "%s", text)
	}
	return wire.Errorf(wire.CodeServer, "%s", text)
}
