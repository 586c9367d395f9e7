package coordinator

import (
	"time"

	"nodedb/node/trace"
	"nodedb/vnodes"
)

// traceAnswer tells a trace of one replica's outcome.
func traceAnswer(s *trace.Span, n *vnodes.Node, what string, sent time.Time, err error) {
	switch {
	case s == nil:
	case err != nil:
		s.Addf("%s failed on /%s after %v: %v", what, n.Address, time.Since(sent).Round(time.Microsecond), err)
	default:
		s.Addf("%s answered by /%s after %v", what, n.Address, time.Since(sent).Round(time.Microsecond))
	}
}

// traceEnd tells a trace how a request ended.
func traceEnd(s *trace.Span, what string, err error) {
	switch {
	case s == nil:
	case err != nil:
		s.Addf("The %s failed: %v", what, err)
	default:
		s.Addf("The %s is answered", what)
	}
}

// traceReplicas tells a trace which replicas a request is for.
func traceReplicas(s *trace.Span, what string, nodes []*vnodes.Node) {
	if s == nil {
		return
	}
	list := ""
	for _, n := range nodes {
		list += " /" + n.Address
	}
	s.Addf("%s%s", what, list)
}

// readKind is what a replica is asked for.
func readKind(digest bool) string {
	if digest {
		return "DIGEST"
	}
	return "DATA"
}
