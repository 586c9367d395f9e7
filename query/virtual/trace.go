package virtual

import (
	"encoding/binary"
	"net/netip"
	"time"

	"nodedb/node/trace"
)

// Tracer is a Source that has a recorder: its traces are what system_traces shows.
type Tracer interface{ Traces() *trace.Recorder }

func (e *emitter) traces() []trace.Session {
	if t, ok := e.src.(Tracer); ok {
		return t.Traces().Sessions()
	}
	return nil
}

func sessionRows(e *emitter) error {
	for _, t := range e.traces() {
		if !t.Begun {
			continue
		}
		f := fields{
			"session_id": uuid(t.ID), "client": address(t.Client), "coordinator": address(t.Coordinator), "coordinator_port": integer(int32(t.Coordinator.Port())),
			"command": text(t.Command), "request": text(t.Request), "parameters": textMap(t.Parameters), "started_at": bigint(t.StartedAt.UnixMilli()),
		}
		if t.Ended {
			f["duration"] = micros(t.Duration)
		}
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}

func eventRows(e *emitter) error {
	for _, t := range e.traces() {
		for i, ev := range t.Events {
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
