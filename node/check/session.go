package check

import (
	"context"
	"math/rand/v2"
	"time"

	"nodedb/coordinator/consistency"
)

// Session is one client session. It does one statement at a time.
type Session struct {
	id      int
	suite   *Suite
	rand    *rand.Rand
	clients []Client
	at      int   // the client it goes through, modulo their number
	stamp   int64 // last timestamp of its own, µs
}

func newSession(s *Suite, id int) *Session {
	return &Session{id: id, suite: s, rand: rand.New(rand.NewPCG(s.o.Seed, uint64(id))), at: id}
}

// hops says that the session goes from node to node, and so stamps its writes itself.
func (s *Session) hops() bool { return s.id%2 == 0 }

// work does steps until the context ends, or Options.Steps of them.
func (s *Session) work(ctx context.Context) {
	for n := 0; ctx.Err() == nil && (s.suite.o.Steps == 0 || n < s.suite.o.Steps); n++ {
		s.pause(ctx)
		if ctx.Err() != nil {
			return
		}
		turn := s.suite.turns[s.rand.IntN(len(s.suite.turns))]
		s.suite.workloads[turn].step(ctx, s)
	}
}

// pause is the think time: between half and one and a half of Options.Think, odd nanoseconds, so that two sessions never wake at one instant of
// virtual time.
func (s *Session) pause(ctx context.Context) {
	if s.suite.o.Think > 0 {
		s.sleep(ctx, s.suite.o.Think/2+time.Duration(s.rand.Int64N(int64(s.suite.o.Think))))
	}
}

func (s *Session) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d | 1)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// write runs a statement that changes something, at the suite's level (but see Options.Vary), stamped if the session hops.
func (s *Session) write(ctx context.Context, key, cql string) Outcome {
	return s.writeAt(ctx, key, cql, s.writeLevel())
}

// writeAt is write at a level.
func (s *Session) writeAt(ctx context.Context, key, cql string, level consistency.Level) Outcome {
	st := &Statement{CQL: cql, Level: level}
	if s.hops() {
		s.stamp = max(s.stamp+1, time.Now().UnixMicro())
		st.Timestamp = s.stamp
	}
	outcome := s.do(ctx, key, st).Outcome
	if outcome == Done && st.Level == consistency.One && s.suite.o.Level != consistency.One {
		return Unknown // reads at the suite's level may see it or not
	}
	return outcome
}

// odd is how many writes go at the suite's level for one that doesn't.
const odd = 8

func (s *Session) writeLevel() consistency.Level {
	if s.suite.o.Vary && s.rand.IntN(odd) == 0 {
		return []consistency.Level{consistency.All, consistency.One}[s.rand.IntN(2)]
	}
	return s.suite.o.Level
}

// read runs a SELECT whose answer is one page; ok is false if there was none.
func (s *Session) read(ctx context.Context, key, cql string) (rows []string, ok bool) {
	r := s.do(ctx, key, &Statement{CQL: cql, Level: s.suite.o.Read})
	return r.Rows, r.Outcome == Done
}

// do runs a statement through the node the session is at, and moves on to another if that fails, or at times, when it hops.
func (s *Session) do(ctx context.Context, key string, st *Statement) Result {
	at := s.at % len(s.clients)
	s.suite.history.add(Event{Session: s.id, Client: at, Key: key, Begin: true, Statement: st})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.suite.o.Timeout)
	defer cancel()
	r := s.clients[at].Run(ctx, st)
	s.suite.history.add(Event{Session: s.id, Client: at, Key: key, Statement: st, Result: r})
	if s.hops() && (r.Outcome != Done || s.rand.IntN(4) == 0) {
		s.at += 1 + s.rand.IntN(len(s.clients))
	}
	return r
}

// insist repeats a statement that may be repeated until it is done, or was tried too often.
func (s *Session) insist(ctx context.Context, key string, st *Statement) Result {
	for attempt := 1; ; attempt++ {
		r := s.do(ctx, key, st)
		if r.Outcome == Done || attempt == finalAttempts || ctx.Err() != nil {
			return r
		}
		s.sleep(ctx, finalPause)
	}
}

// pageAttempts bounds how often one page of a scan is asked for before the scan is given up.
const pageAttempts = 8

// scan reads all pages of a SELECT, whoever fails meanwhile; ok is false if one never came.
func (s *Session) scan(ctx context.Context, key string, st Statement) (rows []string, ok bool) {
	for {
		page, ok := s.page(ctx, key, st)
		if !ok {
			return nil, false
		}
		rows = append(rows, page.Rows...)
		if st.PageState = page.PageState; st.PageState == nil {
			return rows, true
		}
	}
}

// page asks for one page until it is there: after a failure through the next node, whoever the session is.
func (s *Session) page(ctx context.Context, key string, st Statement) (Result, bool) {
	for range pageAttempts {
		r := s.do(ctx, key, &st)
		if r.Outcome == Done {
			return r, true
		}
		if ctx.Err() != nil {
			return r, false
		}
		s.at++
		s.sleep(ctx, finalPause+time.Duration(2*s.id)) // sessions that a crash stopped at one instant don't go on at one
	}
	return Result{}, false
}

// readAll is a final read, of all pages. A failure is a violation.
func (s *Session) readAll(ctx context.Context, workload, cql string) (rows []string, ok bool) {
	st := Statement{CQL: cql, Level: s.suite.o.Read, PageSize: finalPage}
	for {
		page := st
		r := s.insist(ctx, "final "+workload, &page)
		if r.Outcome != Done {
			s.suite.violation(workload, RuleUnreadable, cql, r.Err.Error())
			return nil, false
		}
		rows = append(rows, r.Rows...)
		if st.PageState = r.PageState; st.PageState == nil {
			return rows, true
		}
	}
}
