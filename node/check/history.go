package check

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"
)

const (
	// maxEvents is how many events a history keeps to be read; its hash covers all.
	maxEvents = 1 << 20
	// shownEvents is how many events of a key a violation shows: the last ones.
	shownEvents = 12
	// shownRows is how many rows of an answer an event's text has.
	shownRows = 4
)

// Event is the begin or the end of one statement.
type Event struct {
	At        time.Duration // since the suite was made
	Session   int
	Client    int // index of the client it went through
	Key       string
	Begin     bool
	Statement *Statement
	Result    Result // at the end
}

// String is the event in one line.
func (e *Event) String() string {
	if e.Begin {
		stamp := ""
		if e.Statement.Timestamp != 0 {
			stamp = fmt.Sprintf(" @%d", e.Statement.Timestamp)
		}
		return fmt.Sprintf("%14s session %d via %d: %s%s", e.At, e.Session, e.Client, e.Statement.CQL, stamp)
	}
	rows := e.Result.Rows
	more := ""
	if len(rows) > shownRows {
		more = fmt.Sprintf(" and %d more", len(rows)-shownRows)
		rows = rows[:shownRows]
	}
	text := ""
	if e.Result.Err != nil {
		text = ": " + e.Result.Err.Error()
	}
	return fmt.Sprintf("%14s session %d via %d: %s%s %q%s", e.At, e.Session, e.Client, e.Result.Outcome, text, rows, more)
}

// History is what the sessions asked and were told, in the order in which it happened. Safe for concurrent use.
type History struct {
	start time.Time
	mu    struct {
		sync.Mutex
		events []Event
		count  int
		sum    hash.Hash
		tally  [Unknown + 1]int
		reads  int // that were done
	}
}

func newHistory() *History {
	h := &History{start: time.Now()}
	h.mu.sum = sha256.New()
	return h
}

// Hash covers every event: its time, session, client, statement, outcome and rows, but not the text of errors. Two runs of one seed in virtual time
// have the same.
func (h *History) Hash() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%x", h.mu.sum.Sum(nil)[:16])
}

// Events gives the events kept: the first million.
func (h *History) Events() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.events[:len(h.mu.events):len(h.mu.events)]
}

// Counts gives how many statements ended how.
func (h *History) Counts() (done, refused, unknown int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.tally[Done], h.mu.tally[Refused], h.mu.tally[Unknown]
}

// Acked gives how many reads and how many other statements were done.
func (h *History) Acked() (reads, writes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.reads, h.mu.tally[Done] - h.mu.reads
}

func (h *History) add(e Event) {
	e.At = time.Since(h.start)
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(h.mu.sum, "%d %d %d %v %q %d\n", e.At, e.Session, e.Client, e.Begin, e.Statement.CQL, e.Statement.Timestamp)
	if !e.Begin {
		fmt.Fprintf(h.mu.sum, "%d %q\n", e.Result.Outcome, e.Result.Rows)
		h.mu.tally[e.Result.Outcome]++
		if e.Result.Outcome == Done && strings.HasPrefix(e.Statement.CQL, "SELECT") {
			h.mu.reads++
		}
	}
	if len(h.mu.events) < maxEvents {
		h.mu.events = append(h.mu.events, e)
	}
}

// about is the story of a key: its last events, a line each.
func (h *History) about(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for i := len(h.mu.events) - 1; i >= 0 && len(lines) < shownEvents; i-- {
		if e := &h.mu.events[i]; e.Key == key {
			lines = append([]string{e.String()}, lines...)
		}
	}
	return strings.Join(lines, "\n")
}
