package native

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"

	"github.com/google/uuid"

	"nodedb/node/trace"
	"nodedb/query/wire"
)

// beginTrace begins the session of a request that wants to be traced.
func (r *request) beginTrace() {
	traces := r.conn.server.o.Traces
	if !r.params.Trace || traces == nil {
		return
	}
	r.params.TraceID = uuid.New()
	s := trace.Session{ID: r.params.TraceID, Command: "QUERY", Client: addrPort(r.conn.nc.RemoteAddr())}
	s.Parameters = map[string]string{"consistency_level": r.params.Level.String(), "serial_consistency_level": r.params.Serial.String()}
	if r.params.PageSize > 0 {
		s.Parameters["page_size"] = strconv.Itoa(r.params.PageSize)
	}
	values := r.params.Values
	switch r.header.Op {
	case wire.OpQuery:
		s.Request, s.Parameters["query"] = "Execute CQL3 query", r.query.CQL
	case wire.OpExecute:
		s.Request = "Execute CQL3 prepared query"
		s.Parameters["prepared_id"] = hex.EncodeToString(r.id[:])
	default:
		s.Request, s.Parameters["statements"] = "Execute batch of CQL3 queries", strconv.Itoa(len(r.sts))
	}
	for i, v := range values[:min(len(values), maxTracedValues)] {
		s.Parameters["bound_var_"+strconv.Itoa(i)] = traced(v)
	}
	traces.Begin(s)
}

// What a trace shows of bound values.
const (
	maxTracedValues = 32
	maxTracedValue  = 64 // bytes of one
)

// traced shows a value's bytes: the door doesn't know its type.
func traced(v []byte) string {
	switch {
	case v == nil:
		return "null"
	case len(v) > maxTracedValue:
		return "0x" + hex.EncodeToString(v[:maxTracedValue]) + "..."
	}
	return "0x" + hex.EncodeToString(v)
}

// endTrace ends it, before the answer goes: drivers ask for it at once.
func (r *request) endTrace(err error) {
	if !r.params.Trace {
		return
	}
	traces := r.conn.server.o.Traces
	if err != nil {
		traces.Span(r.params.TraceID, "native").Addf("Answering an error: %v", err)
	}
	traces.End(r.params.TraceID)
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
