package bench

import (
	"testing"
	"time"
)

// TestResting: a server has rested when it used next to nothing for nine seconds in a row, whatever it did before.
func TestResting(t *testing.T) {
	for _, c := range []struct {
		name      string
		processes int
		cpu       []int // ms in each second
		want      int   // seconds until it has rested; 0: not in these
	}{
		{"idle", 1, []int{0, 0, 0, 0, 0, 0, 0, 0, 0}, 9},
		{"busy, then idle", 1, []int{900, 900, 30, 0, 0, 0, 79, 0, 0, 0, 0}, 11},
		{"a flush on the way", 1, []int{0, 0, 0, 0, 0, 0, 81, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
		{"never", 1, []int{90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90}, 0},
		{"three", 3, []int{200, 200, 200, 200, 200, 200, 200, 200, 200}, 9},
	} {
		var r resting
		got := 0
		for i, ms := range c.cpu {
			if r.window(time.Second, time.Duration(ms)*time.Millisecond, c.processes) {
				got = i + 1
				break
			}
		}
		if got != c.want {
			t.Errorf("%s: rested after %d s, want %d", c.name, got, c.want)
		}
	}
}
