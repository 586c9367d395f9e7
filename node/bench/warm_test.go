package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// cooling are the µs CPU an insert of a Cassandra that had just started, in windows of 10 s on two busy cores. It halts on the way, and one window was disturbed.
var cooling = []float64{590.9, 307.5, 260.0, 205.6, 218.7, 187.2, 134.9, 109.3, 239.8, 106.7, 89.4, 70.9, 70.5, 64.8, 64.3, 73.1, 78.8, 70.3}

// TestSteady: a cost is steady when it has stopped falling, not when it halts, nor while it falls slowly, and a window that something else disturbed doesn't matter.
func TestSteady(t *testing.T) {
	for n := range cooling {
		if steady(cooling[:n]) {
			t.Errorf("after %d windows of a JVM that was still getting faster", n)
		}
	}
	falling := []float64{100}
	for range 20 {
		falling = append(falling, falling[len(falling)-1]*0.98)
	}
	for _, c := range []struct {
		costs []float64
		want  bool
	}{
		{cooling, true},
		{nil, false},
		{[]float64{50, 50, 50, 50}, false}, // too soon to tell
		{[]float64{50, 50, 50, 50, 50}, true},
		{[]float64{500, 50, 50, 50, 50}, false},
		{[]float64{500, 50, 50, 50, 50, 50}, true},
		{[]float64{50, 90, 48, 51, 55}, true},
		{[]float64{50, 90, 47, 51, 55}, false},
		{falling, false},
		{make([]float64, 6), false}, // where CPU is not known
	} {
		if got := steady(c.costs); got != c.want {
			t.Errorf("%.1f: %v", c.costs, got)
		}
	}
}

// TestWarmUntil: windows go on until the cost is steady or the time is used up, whichever is first, and end where nothing goes well.
func TestWarmUntil(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name    string
		most    time.Duration
		costs   []float64 // 0: a window in which nothing went well; less: an error
		windows int
		want    string
	}{
		{"steady", time.Hour, cooling, 18, "w 180 s, steady (590.9 to 70.3 µs)"},
		{"not steady", 75 * time.Second, cooling, 8, "w 75 s, NOT STEADY (590.9 to 109.3 µs)"},
		{"short", 15 * time.Second, cooling, 2, "w 15 s, too short to tell (590.9 to 307.5 µs)"},
		{"none", 0, cooling, 0, "w 0 s, too short to tell"},
		{"nothing goes well", time.Hour, []float64{9, 9, 0, 9}, 2, "w 20 s, too short to tell (9.0 to 9.0 µs)"},
		{"error", time.Hour, []float64{9, -1, 9}, 1, "w 10 s, too short to tell"},
	} {
		w, n := Warming{Workload: "w"}, 0
		err := w.until(c.most, func(d time.Duration) (*Result, error) {
			cost := c.costs[n]
			n++
			switch {
			case cost < 0:
				return nil, failed
			case cost == 0:
				return &Result{Failed: 1}, nil
			}
			return &Result{Ops: 1, Seconds: d.Seconds(), ServerCPU: cost}, nil
		})
		if errors.Is(err, failed) != slices.Contains(c.costs[:n], -1) || len(w.Windows) != c.windows || w.String() != c.want {
			t.Errorf("%s: %d windows, %q, %v", c.name, len(w.Windows), w.String(), err)
		}
	}
}

// TestPrintWarmed: a line for each life of a system.
func TestPrintWarmed(t *testing.T) {
	var out strings.Builder
	long := []float64{3, 2, 2, 2, 2, 2, 2}
	c := Comparison{Warmed: []Warming{{"nodedb", "insert", 10, false, []float64{3}}, {"nodedb", "read", 10, false, nil}, {"peer", "insert", 70, true, long}}}
	c.printWarmed(&out)
	want := "warmed before, nodedb: insert 10 s, too short to tell; read 10 s, too short to tell\nwarmed before, peer: insert 70 s, steady (3.0 to 2.0 µs)\n"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
}
