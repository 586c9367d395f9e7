package virtual

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// Bounds of a TraceLog.
const (
	maxTraces      = 1024 // sessions kept; the oldest go first
	maxTraceEvents = 256  // of one session; later ones are dropped
)

// Tracer is a Source that has a TraceLog: its traces are what system_traces shows.
type Tracer interface{ Traces() *TraceLog }

// TraceSession is a traced request, as system_traces.sessions shows it.
type TraceSession struct {
	ID          [16]byte
	Client      netip.AddrPort
	Coordinator netip.AddrPort
	Command     string // QUERY
	Request     string // what was done, in words
	Parameters  map[string]string
	StartedAt   time.Time
}

// TraceEvent is one step of it, as system_traces.events shows it.
type TraceEvent struct {
	At       time.Time
	Activity string
	Source   netip.AddrPort // the node where it happened
	Elapsed  time.Duration  // there, since the request came
	Thread   string
}

// TraceLog keeps the newest traces of requests that this node coordinated. Safe for concurrent use.
type TraceLog struct {
	mu     sync.Mutex
	traces map[[16]byte]*trace
	order  [][16]byte // by age; a ring once it is full
	next   int
}

type trace struct {
	TraceSession
	begun, ended bool
	duration     time.Duration
	events       []TraceEvent
}

// NewTraceLog makes an empty one.
func NewTraceLog() *TraceLog { return &TraceLog{traces: make(map[[16]byte]*trace)} }

// Begin tells what request a trace is of. Events may have come before.
func (l *TraceLog) Begin(s TraceSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trace(s.ID)
	t.TraceSession, t.begun = s, true
}

// Event adds a step to a trace.
func (l *TraceLog) Event(id [16]byte, e TraceEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.trace(id); len(t.events) < maxTraceEvents {
		t.events = append(t.events, e)
	}
}

// End says how long the request took. Drivers wait for it.
func (l *TraceLog) End(id [16]byte, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trace(id)
	t.duration, t.ended = took, true
}

// trace gives a trace, a new one in place of the oldest where it must. REQUIRES: mu is held.
func (l *TraceLog) trace(id [16]byte) *trace {
	if t, ok := l.traces[id]; ok {
		return t
	}
	if len(l.order) < maxTraces {
		l.order = append(l.order, id)
	} else {
		delete(l.traces, l.order[l.next])
		l.order[l.next] = id
		l.next = (l.next + 1) % maxTraces
	}
	t := &trace{TraceSession: TraceSession{ID: id}}
	l.traces[id] = t
	return t
}

// snapshot copies what is kept, so that rows are emitted without the lock.
func (l *TraceLog) snapshot() []trace {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]trace, 0, len(l.traces))
	for _, t := range l.traces {
		c := *t
		c.events = append([]TraceEvent(nil), t.events...)
		all = append(all, c)
	}
	return all
}

func (e *emitter) traces() []trace {
	if t, ok := e.src.(Tracer); ok && t.Traces() != nil {
		return t.Traces().snapshot()
	}
	return nil
}

func sessionRows(e *emitter) error {
	for _, t := range e.traces() {
		if !t.begun {
			continue
		}
		f := fields{
			"session_id": uuid(t.ID), "client": address(t.Client), "coordinator": address(t.Coordinator), "coordinator_port": integer(int32(t.Coordinator.Port())),
			"command": text(t.Command), "request": text(t.Request), "parameters": textMap(t.Parameters), "started_at": bigint(t.StartedAt.UnixMilli()),
		}
		if t.ended {
			f["duration"] = micros(t.duration)
		}
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}

func eventRows(e *emitter) error {
	for _, t := range e.traces() {
		for i, ev := range t.events {
			err := e.row(fields{
				"session_id": uuid(t.ID), "event_id": eventID(ev.At, i), "activity": text(ev.Activity), "source": address(ev.Source),
				"source_port": integer(int32(ev.Source.Port())), "source_elapsed": micros(ev.Elapsed), "thread": text(ev.Thread),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func micros(d time.Duration) []byte { return integer(int32(min(d.Microseconds(), 1<<31-1))) }

func address(a netip.AddrPort) []byte { return a.Addr().Unmap().AsSlice() }

// gregorian is the time between the epoch of time-based UUIDs, 15 October 1582, and Unix's, in 100 ns.
const gregorian = 0x01B21DD213814000

// eventID is a time-based UUID of the event's time; its number within the trace makes it unique and keeps the order within one tick.
func eventID(at time.Time, number int) []byte {
	ticks := uint64(at.UnixNano()/100) + gregorian
	id := binary.BigEndian.AppendUint32(make([]byte, 0, 16), uint32(ticks))
	id = binary.BigEndian.AppendUint16(id, uint16(ticks>>32))
	id = binary.BigEndian.AppendUint16(id, uint16(ticks>>48)&0x0FFF|0x1000)
	return binary.BigEndian.AppendUint64(id, 0x8000_0000_0000_0000|uint64(number))
}
