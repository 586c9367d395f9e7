package row

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Bytes that show the same content as a canonical row, or none, and that nobody writes: random damage seldom finds them.
func TestCheckRefuses(t *testing.T) {
	for _, test := range []struct{ name, canonical, other string }{
		{"number of cells in two bytes", "0100 01 0500000000000000 01 01 41", "0100 8100 0500000000000000 01 01 41"},
		{"offset of two bytes", "0100 01 0500000000000000 01 01 41", "0110 01 0500000000000000 01 0100 41"},
		{"column of two bytes", "0100 01 0500000000000000 01 01 41", "0108 01 0500000000000000 0100 01 41"},
		{"attributes that are all 0", "0100 01 0500000000000000 01 01 41", "0104 01 0500000000000000 01 01 00 41"},
		{"bytes behind", "0100 01 0500000000000000 01 01 41", "0100 01 0500000000000000 01 01 4142"},
		{"base that no cell has", "0100 01 0500000000000000 01 01 41", "0104 01 0400000000000000 01 02 04 0241"},
		{"timestamp equal to base", "0100 02 0500000000000000 0102 0102 4142", "0104 02 0500000000000000 0102 0103 0004 410042"},
		{"timestamp in two bytes", "0104 02 0500000000000000 0102 0103 0004 410242", "0104 02 0500000000000000 0102 0104 0004 41820042"},
		{"own expiry equal to the row's",
			"0106 02 0500000000000000 090000000000000001000000 0102 0102 0808 4142",
			"0106 02 0500000000000000 090000000000000001000000 0102 0104 0810 41000142"},
		{"expiry of never",
			"0106 01 0500000000000000 090000000000000001000000 01 01 08 41", "0106 01 0500000000000000 000000000000000001000000 01 01 08 41"},
		{"expiring tombstone", "0104 01 0500000000000000 01 00 01", "0106 01 0500000000000000 090000000000000001000000 01 00 09"},
		{"tombstone with a value", "0104 01 0500000000000000 01 00 01", "0104 01 0500000000000000 01 01 01 41"},
		{"path of no bytes", "0100 01 0500000000000000 01 01 41", "0104 01 0500000000000000 01 02 20 0041"},
		{"complex tombstone with a path", "0104 01 0500000000000000 01 00 02", "0104 01 0500000000000000 01 02 22 0141"},
		{"counter without shards", "0104 01 0500000000000000 01 00 01", "0104 01 0500000000000000 01 00 03"},
		{"row deletion at NoDeletion", "0101 00 0500000000000000", "0101 00 0000000000000080"},
		{"cell at the row deletion", "0101 01 0400000000000000 0500000000000000 01 01 41", "0101 01 0500000000000000 0500000000000000 01 01 41"},
		{"cells out of order", "0100 02 0500000000000000 0102 0102 4142", "0100 02 0500000000000000 0201 0102 4142"},
		{"one column twice", "0100 02 0500000000000000 0102 0102 4142", "0100 02 0500000000000000 0101 0102 4142"},
		{"offsets going back", "0100 02 0500000000000000 0102 0102 4142", "0100 02 0500000000000000 0102 0302 4142"},
		{"flags from the future", "0100 01 0500000000000000 01 01 41", "0140 01 0500000000000000 01 01 41"},
		{"attribute from the future", "0104 01 0500000000000000 01 00 01", "0104 01 0500000000000000 01 00 41"},
		{"no content in many bytes", "", "0100 00"},
	} {
		if err := View(unhex(t, test.canonical)).Check(); err != nil {
			t.Errorf("%s: the canonical row: %v", test.name, err)
		}
		if err := View(unhex(t, test.other)).Check(); err == nil {
			t.Errorf("%s: accepted %s", test.name, test.other)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Offsets take the least width that holds the end of the last body.
func TestOffsetWidths(t *testing.T) {
	for _, test := range []struct{ value, head int }{{255, 13}, {256, 14}, {65535, 14}, {65536, 16}} {
		row := plain(5, string(make([]byte, test.value)), 1)
		if got := len(row) - test.value; got != test.head {
			t.Errorf("a value of %d bytes has %d bytes beside it, want %d", test.value, got, test.head)
		}
		if err := View(row).Check(); err != nil {
			t.Error(err)
		}
	}
}
