// Package trace keeps what traced requests did, step by step, for system_traces. A request that isn't traced has a nil Span, and each step of it costs
// one predictable branch. It imports nothing of nodedb. Start reading at Recorder.
package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of a Recorder and of a session.
const (
	MaxSessions = 1000      // the oldest go first
	MaxEvents   = 256       // of one session; later ones are dropped
	MaxAge      = time.Hour // since its begin; older sessions go when new ones come, and are not shown
	maxActivity = 1024      // bytes of an event's text
)

// ID names a session: a traced request. Zero: not traced.
type ID = [16]byte

// Session is a traced request, as system_traces.sessions shows it.
type Session struct {
	ID          ID
	Client      netip.AddrPort
	Coordinator netip.AddrPort
	Command     string // QUERY
	Request     string // what was done, in words
	Parameters  map[string]string
	StartedAt   time.Time
	Begun       bool // false: only events came
	Ended       bool
	Duration    time.Duration // once it ended
	Events      []Event
}

// Event is one step, as system_traces.events shows it.
type Event struct {
	At       time.Time // by the clock of the node where it happened
	Activity string
	Source   netip.AddrPort // the node where it happened
	Elapsed  time.Duration  // there, since the request came
	Thread   string         // the part of the node that did it
}

// Recorder keeps the sessions of requests that this node coordinates. Safe for concurrent use; a nil one records nothing.
//
// Replicas collect their steps in a Span of their own (Collect), whose bytes travel in their answer, and the coordinator takes them in (Span.Merge). So
// everything is seen from the node that coordinated, as soon as it has answered, and an untraced request costs no message, no byte and no allocation.
// Drivers may ask any node for a trace: share tells the others of a session when it ends, and they take it in (Take). What comes later (a replica that
// wasn't waited for) is seen on the coordinating node only. Rejected: asking all nodes whenever system_traces is read, which drivers do again and again.
type Recorder struct {
	self  netip.AddrPort
	now   func() time.Time
	share func(Session) // nil: others aren't told

	mu struct {
		sync.Mutex
		sessions map[ID]*session
		order    []ID // by age; all of them are in sessions
	}
}

type session struct {
	Session
	first time.Time // when this node heard of it
}

// New makes a recorder for the node at self. now gives the time; share, which may be nil, gets every session that ended here, and End waits for it.
func New(self netip.AddrPort, now func() time.Time, share func(Session)) *Recorder {
	r := &Recorder{self: self, now: now, share: share}
	r.mu.sessions = make(map[ID]*session)
	return r
}

// Begin tells what request a session is. Events may have come before.
func (r *Recorder) Begin(s Session) {
	if r == nil || s.ID == (ID{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.session(s.ID)
	s.Events, s.Coordinator, s.Begun = t.Events, r.self, true
	if s.StartedAt.IsZero() {
		s.StartedAt = t.first
	}
	t.Session, t.first = s, s.StartedAt
}

// End says how long the request took, since its begin. Drivers poll for it.
func (r *Recorder) End(id ID) {
	if r == nil || id == (ID{}) {
		return
	}
	r.mu.Lock()
	t := r.session(id)
	t.Duration, t.Ended = r.now().Sub(t.first), true
	s := t.Session
	s.Events = slices.Clone(s.Events)
	r.mu.Unlock()
	if r.share != nil && s.Begun {
		r.share(s)
	}
}

// Take keeps a session that ended on another node. One that this node knows already stays as it is.
func (r *Recorder) Take(s Session) {
	if s.ID == (ID{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.mu.sessions[s.ID]; known {
		return
	}
	s.Events = s.Events[:min(len(s.Events), MaxEvents)]
	r.session(s.ID).Session = s
}

// session gives a session, a new one in place of the oldest where it must. REQUIRES: mu is held.
func (r *Recorder) session(id ID) *session {
	if t, ok := r.mu.sessions[id]; ok {
		return t
	}
	now := r.now()
	for len(r.mu.order) > 0 && (len(r.mu.order) >= MaxSessions || now.Sub(r.mu.sessions[r.mu.order[0]].first) > MaxAge) {
		delete(r.mu.sessions, r.mu.order[0])
		r.mu.order = r.mu.order[1:]
	}
	t := &session{Session: Session{ID: id}, first: now}
	r.mu.sessions[id], r.mu.order = t, append(r.mu.order, id)
	return t
}

// Sessions copies what is kept, the oldest first. A session's parameters are shared and must not be changed.
func (r *Recorder) Sessions() []Session {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	all := make([]Session, 0, len(r.mu.order))
	for _, id := range r.mu.order {
		if t := r.mu.sessions[id]; now.Sub(t.first) <= MaxAge {
			s := t.Session
			s.Events = slices.Clone(s.Events)
			all = append(all, s)
		}
	}
	return all
}

// add keeps events of a session.
func (r *Recorder) add(id ID, events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.session(id)
	t.Events = append(t.Events, events[:min(len(events), MaxEvents-len(t.Events))]...)
}

// Span takes one request's steps on one node. All methods of a nil one do nothing.
type Span struct {
	recorder *Recorder // nil: collected here
	id       ID
	thread   string
	begun    time.Time
	now      func() time.Time

	mu     sync.Mutex
	events []Event
}

// Span gives the span of a session that this node coordinates, nil for a zero id. thread names the part of the node that works.
func (r *Recorder) Span(id ID, thread string) *Span {
	if id == (ID{}) || r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Span{recorder: r, id: id, thread: thread, begun: r.session(id).first, now: r.now}
}

// Collect begins the span of a request of another coordinator, nil for a zero id.
func Collect(id ID, thread string, now func() time.Time) *Span {
	if id == (ID{}) {
		return nil
	}
	return &Span{id: id, thread: thread, begun: now(), now: now}
}

// Add adds a step. Callers that would have to compute the arguments guard them: if span != nil.
func (s *Span) Add(activity string) {
	if s != nil {
		s.add(activity)
	}
}

// Addf is Add with a format. Its arguments may be allocated before the branch: guard it on hot paths.
func (s *Span) Addf(format string, args ...any) {
	if s != nil {
		s.add(fmt.Sprintf(format, args...))
	}
}

func (s *Span) add(activity string) {
	now := s.now()
	e := Event{At: now, Activity: activity[:min(len(activity), maxActivity)], Elapsed: now.Sub(s.begun), Thread: s.thread}
	if s.recorder != nil {
		e.Source = s.recorder.self
		s.recorder.add(s.id, e)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) < MaxEvents {
		s.events = append(s.events, e)
	}
}

// On gives the same span for another part of the node.
func (s *Span) On(thread string) *Span {
	if s == nil || s.recorder == nil {
		return s
	}
	return &Span{recorder: s.recorder, id: s.id, thread: thread, begun: s.begun, now: s.now}
}

// Merge takes in what a replica collected (Bytes). What is malformed is told as an event: a trace is no reason to fail a request.
func (s *Span) Merge(from string, body []byte) {
	if s == nil || s.recorder == nil || len(body) == 0 {
		return
	}
	events, err := Decode(body)
	if err != nil {
		s.Addf("The events of %s can't be read: %v", from, err)
		return
	}
	address, _ := netip.ParseAddr(from)
	for i := range events {
		events[i].Source = netip.AddrPortFrom(address, s.recorder.self.Port())
	}
	s.recorder.add(s.id, events...)
}

// Bytes encodes what was collected; nil for a nil span.
func (s *Span) Bytes() []byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Encode(nil, s.events)
}
