package trace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden in testdata/trace")

var self = netip.MustParseAddrPort("127.70.0.1:7000")

// clock is a clock that stands still until it is moved.
type clock struct{ at time.Time }

func newClock() *clock                { return &clock{time.UnixMilli(1_700_000_000_000)} }
func (c *clock) now() time.Time       { return c.at }
func (c *clock) move(d time.Duration) { c.at = c.at.Add(d) }

func id(n int) ID { return ID{0: 0xAB, 14: byte(n >> 8), 15: byte(n)} }

// only gives the one session there is.
func only(t *testing.T, r *Recorder) Session {
	t.Helper()
	all := r.Sessions()
	if len(all) != 1 {
		t.Fatalf("%d sessions, want 1", len(all))
	}
	return all[0]
}

func activities(s Session) (out []string) {
	for _, e := range s.Events {
		out = append(out, fmt.Sprintf("%s %s %v %s", e.Source.Addr(), e.Thread, e.Elapsed, e.Activity))
	}
	return out
}

// TestSession: a session's steps on two nodes, from its begin to its end, in the order in which the coordinator learns of them.
func TestSession(t *testing.T) {
	c := newClock()
	var shared []Session
	r := New(self, c.now, func(s Session) { shared = append(shared, s) })
	r.Begin(Session{ID: id(1), Command: "QUERY", Coordinator: netip.MustParseAddrPort("1.2.3.4:5")})
	span := r.Span(id(1), "coordinator")
	c.move(10 * time.Microsecond)
	span.Addf("Sending to %s", "/127.70.0.2")
	far := Collect(id(1), "replica", c.now)
	c.move(5 * time.Microsecond)
	far.Add("Applied")
	span.On("replica").Add("Reading")
	span.Merge("127.70.0.2", far.Bytes())
	if s := only(t, r); !s.Begun || s.Ended || len(shared) != 0 {
		t.Errorf("before its end: %+v, shared %v", s, shared)
	}
	r.End(id(1))
	span.Merge("127.70.0.3", far.Bytes())
	s := only(t, r)
	want := []string{"127.70.0.1 coordinator 10µs Sending to /127.70.0.2", "127.70.0.1 replica 15µs Reading", "127.70.0.2 replica 5µs Applied",
		"127.70.0.3 replica 5µs Applied"}
	if got := activities(s); !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	if !s.Ended || s.Duration != 15*time.Microsecond || s.Coordinator != self || !s.StartedAt.Equal(newClock().at) || s.Events[2].Source.Port() != 7000 {
		t.Errorf("%+v", s)
	}
	if len(shared) != 1 || len(shared[0].Events) != 3 || shared[0].Duration != s.Duration {
		t.Fatalf("shared %+v", shared)
	}
	other := New(netip.MustParseAddrPort("127.70.0.9:7000"), c.now, nil)
	other.Take(shared[0])
	if got := only(t, other); !reflect.DeepEqual(got, shared[0]) {
		t.Errorf("another node took\n%+v, want\n%+v", got, shared[0])
	}
	r.Take(Session{ID: id(1)})
	if got := only(t, r); len(got.Events) != 4 {
		t.Errorf("a session known here was replaced: %+v", got)
	}
}

// TestEventsBeforeBegin: the engine may work before the door has told what the request is.
func TestEventsBeforeBegin(t *testing.T) {
	c := newClock()
	r := New(self, c.now, nil)
	span := r.Span(id(1), "query")
	c.move(time.Microsecond)
	span.Add("Parsing")
	r.Begin(Session{ID: id(1), Request: "Execute CQL3 query"})
	if s := only(t, r); len(s.Events) != 1 || s.Request == "" || !s.StartedAt.Equal(newClock().at) {
		t.Errorf("%+v", s)
	}
}

// TestBounds: the oldest sessions go, by number and by age, and a session keeps its first events.
func TestBounds(t *testing.T) {
	c := newClock()
	r := New(self, c.now, nil)
	for i := range 2*MaxSessions + 7 {
		r.Begin(Session{ID: id(i)})
		c.move(time.Millisecond)
	}
	all := r.Sessions()
	if len(all) != MaxSessions || all[0].ID != id(MaxSessions+7) || len(r.mu.sessions) != MaxSessions || len(r.mu.order) != MaxSessions {
		t.Fatalf("%d sessions from %x, %d in the map, %d in order", len(all), all[0].ID, len(r.mu.sessions), len(r.mu.order))
	}
	span := r.Span(all[5].ID, "t")
	for i := range 2 * MaxEvents {
		span.Add(fmt.Sprint(i))
	}
	span.Merge("127.70.0.2", Encode(nil, []Event{{Activity: "late"}}))
	if s := r.Sessions()[5]; len(s.Events) != MaxEvents || s.Events[MaxEvents-1].Activity != fmt.Sprint(MaxEvents-1) {
		t.Errorf("%d events", len(s.Events))
	}
	c.move(MaxAge - 500*time.Millisecond)
	if n := len(r.Sessions()); n == 0 || n >= MaxSessions {
		t.Errorf("%d sessions are younger than %v", n, MaxAge)
	}
	c.move(time.Second)
	if n := len(r.Sessions()); n != 0 {
		t.Errorf("%d sessions after %v", n, MaxAge)
	}
	r.Begin(Session{ID: id(1)})
	if len(r.mu.sessions) != 1 {
		t.Errorf("%d sessions are kept", len(r.mu.sessions))
	}
	long := r.Span(id(1), "t")
	long.Add(strings.Repeat("x", 10*maxActivity))
	if e := only(t, r).Events[0]; len(e.Activity) != maxActivity {
		t.Errorf("a text of %d bytes", len(e.Activity))
	}
	collected := Collect(id(1), "t", c.now)
	for range 2 * MaxEvents {
		collected.Add("x")
	}
	if events, err := Decode(collected.Bytes()); err != nil || len(events) != MaxEvents {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestUntraced: a request without an id, or on a node without a recorder, records nothing and allocates nothing.
func TestUntraced(t *testing.T) {
	c := newClock()
	r := New(self, c.now, func(Session) { t.Error("shared") })
	r.Begin(Session{})
	r.End(ID{})
	r.Take(Session{})
	var none *Recorder
	none.Begin(Session{ID: id(1)})
	none.End(id(1))
	if none.Sessions() != nil || len(r.Sessions()) != 0 {
		t.Error("something was recorded")
	}
	allocs := testing.AllocsPerRun(100, func() {
		for _, span := range []*Span{r.Span(ID{}, "x"), none.Span(id(1), "x"), Collect(ID{}, "x", time.Now)} {
			span.Add("x")
			span.Addf("x")
			span.On("y").Merge("z", nil)
			if span != nil || span.Bytes() != nil {
				t.Error("a span without a trace")
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestMergeMalformed: a trace is no reason to fail; what can't be read is told.
func TestMergeMalformed(t *testing.T) {
	r := New(self, newClock().now, nil)
	r.Span(id(1), "t").Merge("127.70.0.2", []byte{9})
	if s := only(t, r); len(s.Events) != 1 || !strings.Contains(s.Events[0].Activity, "127.70.0.2") {
		t.Errorf("%+v", s)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	r := New(self, time.Now, func(Session) {})
	var all sync.WaitGroup
	far := Collect(id(1), "replica", time.Now)
	for range 4 {
		all.Go(func() {
			for i := range 100 {
				r.Begin(Session{ID: id(i)})
				r.Span(id(i), "t").Add("x")
				far.Add("y")
				r.Span(id(i), "t").Merge("127.70.0.2", far.Bytes())
				r.End(id(i))
				r.Sessions()
			}
		})
	}
	all.Wait()
	if n := len(r.Sessions()); n != 100 {
		t.Errorf("%d sessions", n)
	}
}

func someEvents() []Event {
	return []Event{
		{At: time.UnixMicro(1_700_000_000_000_001), Activity: "READ message received from /127.70.0.1", Elapsed: 3 * time.Microsecond, Thread: "replica"},
		{At: time.UnixMicro(1_700_000_000_000_099), Activity: "Read 3 row(s) of 1 partition(s), 95 bytes", Elapsed: time.Hour, Thread: ""},
		{At: time.UnixMicro(-1)},
	}
}

// TestGolden holds the bytes that are on the wire.
func TestGolden(t *testing.T) {
	file := filepath.Join("..", "..", "testdata", "trace", "events.hex")
	got := hex.EncodeToString(Encode(nil, someEvents())) + "\n"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%v; got %s, want %s", err, got, want)
	}
	events, err := Decode(Encode(nil, someEvents()))
	if err != nil || !reflect.DeepEqual(events, someEvents()) {
		t.Errorf("%v, %v", events, err)
	}
}

func TestDecodeMalformed(t *testing.T) {
	good := Encode(nil, someEvents())
	for n := range len(good) {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(good), 0), {2, 0, 0}, {1, 0xFF, 0xFF}} {
		if _, err := Decode(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(nil, someEvents()))
	f.Add(Encode(nil, nil))
	f.Add([]byte{1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Decode(body)
		if err != nil {
			return
		}
		if again := Encode(nil, events); !bytes.Equal(again, body) {
			t.Errorf("%x became %x", body, again)
		}
	})
}
