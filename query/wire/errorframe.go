package wire

import "net/netip"

// FailureReason says which replica failed and why (v5 READ_FAILURE and WRITE_FAILURE).
type FailureReason struct {
	Address netip.Addr
	Code    uint16
}

// Append appends the body of an ERROR: code [int], message [string], and the fields of the code (section 9).
func (e *Error) Append(dst []byte, v Version) []byte {
	dst = AppendInt(dst, int32(e.Code))
	dst = AppendString(dst, e.Message)
	switch e.Code {
	case CodeUnavailable:
		return AppendInt(AppendInt(AppendShort(dst, e.Consistency), e.Required), e.Alive)
	case CodeWriteTimeout:
		dst = AppendString(e.appendCounts(dst), e.WriteType)
		if v >= V5 && e.WriteType == "CAS" {
			dst = AppendShort(dst, e.Contentions)
		}
		return dst
	case CodeReadTimeout:
		return appendBool(e.appendCounts(dst), e.DataPresent)
	case CodeReadFailure:
		return appendBool(e.appendReasons(e.appendCounts(dst), v), e.DataPresent)
	case CodeWriteFailure:
		return AppendString(e.appendReasons(e.appendCounts(dst), v), e.WriteType)
	case CodeCASUnknown:
		return e.appendCounts(dst)
	case CodeFunctionFailure:
		return AppendStringList(AppendString(AppendString(dst, e.Keyspace), e.Function), e.ArgTypes)
	case CodeAlreadyExists:
		return AppendString(AppendString(dst, e.Keyspace), e.Table)
	case CodeUnprepared:
		return AppendShortBytes(dst, e.ID[:])
	default:
		return dst
	}
}

func (e *Error) appendCounts(dst []byte) []byte {
	return AppendInt(AppendInt(AppendShort(dst, e.Consistency), e.Received), e.BlockFor)
}

// appendReasons appends the number of failures, which in v5 is the size of a map from address to reason.
func (e *Error) appendReasons(dst []byte, v Version) []byte {
	if v < V5 {
		return AppendInt(dst, e.Failures)
	}
	dst = AppendInt(dst, int32(len(e.Reasons)))
	for _, r := range e.Reasons {
		dst = AppendShort(AppendInetAddr(dst, r.Address), r.Code)
	}
	return dst
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeError reads the body of an ERROR.
func DecodeError(body []byte, v Version) (*Error, error) {
	d := NewDecoder(body)
	e := &Error{Code: ErrorCode(d.Int()), Message: d.String()}
	switch e.Code {
	case CodeUnavailable:
		e.Consistency, e.Required, e.Alive = d.Short(), d.Int(), d.Int()
	case CodeWriteTimeout:
		e.decodeCounts(&d)
		e.WriteType = d.String()
		if v >= V5 && e.WriteType == "CAS" {
			e.Contentions = d.Short()
		}
	case CodeReadTimeout:
		e.decodeCounts(&d)
		e.DataPresent = d.Byte() != 0
	case CodeReadFailure:
		e.decodeReasons(&d, v)
		e.DataPresent = d.Byte() != 0
	case CodeWriteFailure:
		e.decodeReasons(&d, v)
		e.WriteType = d.String()
	case CodeCASUnknown:
		e.decodeCounts(&d)
	case CodeFunctionFailure:
		e.Keyspace, e.Function, e.ArgTypes = d.String(), d.String(), d.StringList()
	case CodeAlreadyExists:
		e.Keyspace, e.Table = d.String(), d.String()
	case CodeUnprepared:
		e.decodeID(&d)
	}
	if err := wrapDecode(OpError, d.Err()); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Error) decodeCounts(d *Decoder) {
	e.Consistency, e.Received, e.BlockFor = d.Short(), d.Int(), d.Int()
}

func (e *Error) decodeReasons(d *Decoder, v Version) {
	e.decodeCounts(d)
	if v < V5 {
		e.Failures = d.Int()
		return
	}
	n := d.fits(int(d.Int()), 7, "failure reasons")
	e.Failures = int32(n)
	for range n {
		e.Reasons = append(e.Reasons, FailureReason{Address: d.InetAddr(), Code: d.Short()})
	}
}

func (e *Error) decodeID(d *Decoder) {
	id := d.ShortBytes()
	if d.err == nil && len(id) != len(e.ID) {
		d.fail("a prepared id of %d bytes, want %d", len(id), len(e.ID))
	}
	copy(e.ID[:], id)
}
