package sim

import (
	"slices"
	"strings"
	"sync"
	"time"

	"nodedb/node/check"
)

// Row 10 of FAULTS.md: what a partition into a majority and a minority has to show.
const (
	// settleAfter is how long the majority may take until it succeeds again.
	settleAfter = 10 * time.Second
	// mostFailed is how many statements of the majority may fail after that, in a hundred.
	mostFailed = 1
	// enough statements of the majority have to have been tried for a share to mean something. In how many seeds they were is shown: kindJudged.
	enough = 100
)

// halves watches a partition from its clients' side. Statements that begin while it lasts count.
type halves struct {
	w  *world
	mu struct {
		sync.Mutex
		begun, until time.Time
		minority     []int
		tried        int // by the majority, once it may take no longer to settle
		failed       int // of these
		acked        int // by the minority
	}
}

// split begins to watch.
func (h *halves) split(f *fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.begun, h.mu.until, h.mu.minority = time.Now(), time.Now().Add(f.last), f.who
}

// told takes a statement's outcome. One that ends after the partition says nothing of it, nor one that asks for no quorum.
func (h *halves) told(i int, begun time.Time, s *check.Statement, outcome check.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Level != h.w.conf.level || changesSchema(s.CQL) || !begun.After(h.mu.begun) || !time.Now().Before(h.mu.until) {
		return
	}
	if slices.Contains(h.mu.minority, i) {
		if outcome == check.Done {
			h.mu.acked++
		}
		return
	}
	if begun.Sub(h.mu.begun) > settleAfter {
		h.mu.tried++
		if outcome != check.Done {
			h.mu.failed++
		}
	}
}

// changesSchema: such a statement goes by the voters' majority, and one that changes nothing (IF NOT EXISTS) by nobody's.
func changesSchema(cql string) bool {
	return strings.HasPrefix(cql, "CREATE") || strings.HasPrefix(cql, "DROP") || strings.HasPrefix(cql, "ALTER")
}

// judge says what was wrong.
func (h *halves) judge() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.w.history.say("partition: %d of %d statements of the majority failed, %d of the minority succeeded", h.mu.failed, h.mu.tried, h.mu.acked)
	if h.mu.acked > 0 {
		h.w.fail("a minority acknowledged %d statements at %s", h.mu.acked, h.w.conf.level)
	}
	if h.mu.tried < enough {
		h.w.history.say("partition: too few of the majority for a verdict")
		return
	}
	h.w.met(kindJudged)
	if h.mu.failed*100 > h.mu.tried*mostFailed {
		h.w.fail("%d of %d statements failed in the majority, %v after the partition", h.mu.failed, h.mu.tried, settleAfter)
	}
}
