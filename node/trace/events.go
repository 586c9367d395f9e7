package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Events as a replica's answer carries them, little endian:
//
//	version u8 | count u16 | count × event
//	event: at i64, µs since 1970 | elapsed u32, µs | thread length u8, thread | activity length u16, activity
const version = 1

// eventSize is the least that an event takes.
const eventSize = 8 + 4 + 1 + 2

// ErrMalformed says that events can't be decoded.
var ErrMalformed = errors.New("malformed trace events")

// Encode appends events; their sources are not in it. At most MaxEvents are, and texts are cut to what their lengths can say.
func Encode(dst []byte, events []Event) []byte {
	events = events[:min(len(events), MaxEvents)]
	dst = binary.LittleEndian.AppendUint16(append(dst, version), uint16(len(events)))
	for i := range events {
		e := &events[i]
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.At.UnixMicro()))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(min(max(e.Elapsed.Microseconds(), 0), 1<<32-1)))
		thread, activity := e.Thread[:min(len(e.Thread), 255)], e.Activity[:min(len(e.Activity), maxActivity)]
		dst = append(append(dst, byte(len(thread))), thread...)
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(activity))), activity...)
	}
	return dst
}

// Decode reads events. Errors are ErrMalformed.
func Decode(body []byte) ([]Event, error) {
	if len(body) < 3 || body[0] != version {
		return nil, fmt.Errorf("%w: want version %d and a count", ErrMalformed, version)
	}
	n, body := int(binary.LittleEndian.Uint16(body[1:])), body[3:]
	if n > MaxEvents {
		return nil, fmt.Errorf("%w: %d events, at most %d are allowed", ErrMalformed, n, MaxEvents)
	}
	events := make([]Event, n)
	for i := range events {
		e := &events[i]
		if len(body) < eventSize {
			return nil, fmt.Errorf("%w: cut short in event %d of %d", ErrMalformed, i+1, n)
		}
		e.At = time.UnixMicro(int64(binary.LittleEndian.Uint64(body)))
		e.Elapsed = time.Duration(binary.LittleEndian.Uint32(body[8:])) * time.Microsecond
		thread, activity := int(body[12]), 0
		if len(body) >= eventSize+thread {
			activity = int(binary.LittleEndian.Uint16(body[13+thread:]))
		}
		if len(body) < eventSize+thread+activity || activity > maxActivity {
			return nil, fmt.Errorf("%w: event %d of %d has %d bytes of text, %d are left", ErrMalformed, i+1, n, thread+activity, len(body))
		}
		e.Thread, e.Activity = string(body[13:13+thread]), string(body[15+thread:15+thread+activity])
		body = body[eventSize+thread+activity:]
	}
	if len(body) != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last event", ErrMalformed, len(body))
	}
	return events, nil
}
