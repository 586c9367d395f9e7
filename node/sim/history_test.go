package sim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"nodedb/node/rpc/simnet"
)

// history is everything that happened in a run, in order: each message's fate, each statement, each fault. Two runs of one seed have the same, but for the
// order within one instant: goroutines that wake at one nanosecond are told apart by nothing.
type history struct {
	begun time.Time
	mu    struct {
		sync.Mutex
		entries []entry
		sum     uint64        // of all before instant
		instant time.Duration // the newest
		same    uint64        // sum of the hashes of its entries
	}
}

// entry is one event: of a message, or told in words.
type entry struct {
	at   time.Duration
	d    simnet.Delivery
	text string // "": d
}

func newHistory() *history {
	return &history{begun: time.Now()}
}

func (h *history) now() time.Duration { return time.Since(h.begun) }

// delivered adds a message's fate.
func (h *history) delivered(d simnet.Delivery) {
	h.add(entry{at: d.At.Sub(h.begun), d: d})
}

func (h *history) say(format string, args ...any) {
	h.add(entry{at: h.now(), text: fmt.Sprintf(format, args...)})
}

func (h *history) add(e entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.at != h.mu.instant {
		h.fold()
		h.mu.instant = e.at
	}
	h.mu.same += e.hash()
	h.mu.entries = append(h.mu.entries, e)
}

// hash covers all of an event but its time.
func (e *entry) hash() uint64 {
	b := make([]byte, 0, 128) // enough but for statements
	b = binary.LittleEndian.AppendUint64(b, e.d.Sum)
	b = append(b, byte(e.d.Verb))
	b = append(b, e.d.Fate...)
	b = append(b, 0)
	return xxhash.Sum64(append(b, e.text...))
}

// fold ends an instant. REQUIRES: mu.
func (h *history) fold() {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 24), h.mu.sum)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.mu.instant))
	h.mu.sum = xxhash.Sum64(binary.LittleEndian.AppendUint64(b, h.mu.same))
	h.mu.same = 0
}

// hash covers everything so far.
func (h *history) hash() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fold()
	return h.mu.sum
}

// ordered gives the events, sorted within each instant.
func (h *history) ordered() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := make([]string, len(h.mu.entries))
	begin := 0
	for i := range h.mu.entries {
		lines[i] = h.mu.entries[i].String()
		if i+1 == len(lines) || h.mu.entries[i+1].at != h.mu.entries[i].at {
			slices.Sort(lines[begin : i+1])
			begin = i + 1
		}
	}
	return lines
}

// String is an event in one line: virtual time, from, to, verb, fate; or words.
func (e *entry) String() string {
	if e.text != "" {
		return fmt.Sprintf("%14.9f  %s", e.at.Seconds(), e.text)
	}
	arrow := "->"
	if e.d.Response {
		arrow = "<-" // the answer to it
	}
	verb := e.d.Verb.String()
	switch e.d.Verb {
	case verbBeat:
		verb = "beat"
	case 0:
		verb = "gossip"
	}
	from, to := strings.TrimSuffix(e.d.From, ":7000"), strings.TrimSuffix(e.d.To, ":7000")
	if e.d.Response {
		from, to = to, from
	}
	return fmt.Sprintf("%14.9f  %s %s %s  %s %d B %s #%016x", e.at.Seconds(), from, arrow, to, verb, e.d.Size, e.d.Fate, e.d.Sum)
}

// write prints the history; heartbeats that went well are left out.
func (h *history) write(w io.Writer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.mu.entries {
		if e := &h.mu.entries[i]; e.text != "" || e.d.Verb != verbBeat || e.d.Fate != simnet.Delivered {
			if _, err := fmt.Fprintln(w, e.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// save writes the history to a file.
func (h *history) save(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(h.write(w), w.Flush(), f.Close())
}

// around is how many events before the first difference are shown.
const around = 12

// difference shows where two histories part; "" if they don't.
func difference(a, b *history) string {
	x, y := a.ordered(), b.ordered()
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	if i == len(x) && i == len(y) {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "the histories part at event %d of %d and %d:\n", i, len(x), len(y))
	for j := max(0, i-around); j < i; j++ {
		fmt.Fprintf(&out, "  both   %s\n", x[j])
	}
	for _, run := range []struct {
		name  string
		lines []string
	}{{"first ", x}, {"second", y}} {
		for j := i; j < min(i+around, len(run.lines)); j++ {
			fmt.Fprintf(&out, "  %s %s\n", run.name, run.lines[j])
		}
	}
	return out.String()
}
