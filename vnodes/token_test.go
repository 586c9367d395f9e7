package vnodes

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestRangeContains(t *testing.T) {
	for _, c := range []struct {
		r    Range
		t    Token
		want bool
	}{
		{Range{1, 5}, 1, false}, {Range{1, 5}, 2, true}, {Range{1, 5}, 5, true}, {Range{1, 5}, 6, false},
		{Range{5, 1}, 5, false}, {Range{5, 1}, 6, true}, {Range{5, 1}, MinToken, true}, {Range{5, 1}, 1, true}, {Range{5, 1}, 2, false},
		{Range{3, 3}, 3, true}, {Range{3, 3}, MaxToken, true},
		{Range{MinToken, MaxToken}, MaxToken, true}, {Range{MinToken, MaxToken}, 0, true},
	} {
		if got := c.r.Contains(c.t); got != c.want {
			t.Errorf("%v contains %d: %v, want %v", c.r, c.t, got, c.want)
		}
	}
}

func TestHostIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h, back HostID
		copy(h[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		text, _ := h.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != h {
			t.Fatalf("%s: %v, %v", text, back, err)
		}
	})
	for _, bad := range []string{"", "x", "6f1a0000-0000-0000-0000-00000000000g", "6f1a00000000-0000-0000-0000-00000000000a"} {
		if _, err := ParseHostID(bad); !errors.Is(err, ErrHostID) {
			t.Errorf("ParseHostID(%q): %v", bad, err)
		}
	}
}

func FuzzParseHostID(f *testing.F) {
	f.Add("6f1a0000-0000-0000-0000-00000000000a")
	f.Add("----")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHostID(s)
		if err != nil {
			return
		}
		if back, err := ParseHostID(h.String()); err != nil || back != h {
			t.Fatalf("%q reads as %v, which doesn't read back: %v", s, h, err)
		}
	})
}
