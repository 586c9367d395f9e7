package shell

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// A trace is written after its statement was answered: the shell asks for it again and again, for so long.
const (
	traceWait  = 5 * time.Second
	traceEvery = 100 * time.Millisecond
)

func parseUUID(s string) ([16]byte, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, fmt.Errorf("%s is no trace id, which is a UUID", s)
	}
	return id, nil
}

// showTrace shows a tracing session as cqlsh does.
func (s *shell) showTrace(ctx context.Context, id [16]byte) error {
	session := uuid.UUID(id).String()
	columns, row, err := s.awaitTrace(ctx, session)
	if err != nil {
		return err
	}
	_, events, err := s.rows(ctx, "SELECT event_id, source, source_elapsed, activity, thread FROM system_traces.events WHERE session_id = "+session)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nTracing session: %s\n", session)
	f := &table{out: s.out, bare: true}
	f.begin([]wire.Column{
		{Name: "activity", Type: types.VarcharType}, {Name: "timestamp", Type: types.VarcharType}, {Name: "source", Type: types.VarcharType},
		{Name: "elapsed µs", Type: types.BigintType},
	})
	source := text(columns, row, "coordinator")
	started := text(columns, row, "started_at")
	f.row([][]byte{[]byte(text(columns, row, "request")), []byte(started), []byte(source), types.AppendInt64(nil, 0)})
	for _, e := range events {
		f.row([][]byte{e[3], []byte(timeOfUUID(e[0])), types.InetType.AppendText([]byte{}, e[1]), elapsed(e[2])})
	}
	f.row([][]byte{[]byte("Request complete"), nil, []byte(source), types.AppendInt64(nil, int64(number(columns, row, "duration")))})
	f.end()
	return s.out.WriteByte('\n')
}

// awaitTrace waits until the session has its duration, which is written last.
func (s *shell) awaitTrace(ctx context.Context, session string) ([]wire.Column, [][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, traceWait)
	defer cancel()
	for {
		columns, rows, err := s.rows(ctx, "SELECT * FROM system_traces.sessions WHERE session_id = "+session)
		if err != nil {
			return nil, nil, err
		}
		if len(rows) == 1 && text(columns, rows[0], "duration") != "" {
			return columns, rows[0], nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("the trace %s is not there after %v; SHOW SESSION %s asks again", session, traceWait, session)
		case <-time.After(traceEvery):
		}
	}
}

// elapsed widens an int to the bigint that the table shows.
func elapsed(value []byte) []byte {
	if len(value) != 4 {
		return nil
	}
	return types.AppendInt64(nil, int64(types.Int32(value)))
}

// timeOfUUID is the time in a timeuuid.
func timeOfUUID(value []byte) string {
	id, err := uuid.FromBytes(value)
	if err != nil || id.Version() != 1 {
		return ""
	}
	sec, nsec := id.Time().UnixTime()
	return time.Unix(sec, nsec).UTC().Format("15:04:05.000000")
}
